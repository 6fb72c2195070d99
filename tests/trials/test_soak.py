"""The trial of a server whose clients come and go, with few of them."""

import pytest

for needed in ("starlette", "uvicorn", "prometheus_client"):
    pytest.importorskip(needed)

from tests.trials.soak import trial  # noqa: E402


@pytest.mark.slow
def test_nothing_is_left_of_clients_and_no_text_is_lost(tmp_path, monkeypatch):
    monkeypatch.setenv("TEXTGEN_CACHE_DIR", str(tmp_path))
    failures, figures = trial(clients=200, seed=1, minutes=4)
    assert not failures, failures
    for kind in ("whole", "stream", "leaves a stream", "leaves", "half a request", "nothing", "killed"):
        assert f" {kind}" in figures[0]
