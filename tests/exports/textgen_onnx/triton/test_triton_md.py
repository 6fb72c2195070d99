"""The client of docs/triton.md writes the same text as ``textgen sample``; its tables name every tensor."""

import re
import runpy
import sys
from pathlib import Path

import pytest

from textgen import api

PAGE = (Path(__file__).parents[4] / "docs" / "triton.md").read_text(encoding="utf-8")

PENALTY = "repetition-penalty(1.3) | temperature(0.9) | top-k(20) | multinomial"


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> Path:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    path: Path = tmp_path_factory.mktemp("client") / "client.py"
    path.write_text(code, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("prompt", "options"),
    [
        ("The quick brown fox\njumps over\nthe", {}),
        ("", {"cell": "lstm", "tokenizer": "char-eos", "sampler": PENALTY, "contexts": 60}),
        ("ju", {"tokenizer": "char-eos"}),
    ],
)
@pytest.mark.parametrize("length", [1, 150])
def test_the_client_writes_the_text_of_textgen_sample(
    make_run, serve, client, textgen, tmp_path, monkeypatch, capfd, prompt, options, length
):
    run, seed = make_run(tmp_path / "run", **options), 2**64 - 1
    arguments = ("--prompt", prompt, "--length", length, "--seed", seed)
    expected = textgen("sample", run.path, "--runtime", "numpy", *arguments).out
    folder = api.export(run.path, to="triton").folder
    server = serve(folder)
    with server.listening() as address:
        monkeypatch.setattr(sys, "argv", [str(client), address, str(folder), prompt, str(length), str(seed)])
        runpy.run_path(str(client), run_name="__main__")
    sys.stdout.flush()
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == (expected, "")
    assert server.models["textgen_sequence"].sequences == {}
