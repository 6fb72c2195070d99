"""Runs, exports and ids that an earlier version recorded: the present one reads them, and writes the same ids.

``record.py`` wrote them.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import textgen

HERE = Path(__file__).parent
RECORDED: dict[str, Any] = json.loads((HERE / "recorded.json").read_text(encoding="utf-8"))
RUNS = sorted(RECORDED["runs"])


@pytest.fixture
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of the recorded run that the test names."""
    return Path(shutil.copytree(HERE / request.param, tmp_path / request.param))


@pytest.mark.parametrize("run", RUNS, indirect=True)
@pytest.mark.parametrize("chain", RECORDED["chains"])
@pytest.mark.parametrize(("folder", "runtime"), [(".", "numpy"), (".", "onnx"), ("onnx", "onnx")])
def test_the_recorded_ids_are_written_in_a_batch_and_streamed(run, chain, folder, runtime):
    recorded = RECORDED["runs"][run.name]["ids"][chain]
    generator = textgen.load(run / folder, runtime=runtime)
    prompts = RECORDED["prompts"]
    for seed in RECORDED["seeds"]:
        request = {"sampler": chain, "seed": seed, "length": RECORDED["length"]}
        batch = generator.sample(generator.request(prompts, **request))
        assert [list(generation.ids) for generation in batch] == recorded[str(seed)]
        for row, (prompt, whole) in enumerate(zip(prompts, batch, strict=True)):
            assert "".join(generator.stream(prompt, rows=[row], **request)) == whole.prompt + whole.text


@pytest.mark.parametrize("run", RUNS, indirect=True)
def test_a_recorded_run_is_whole(run, command_line):
    code, out, err = command_line("runs", "show", run)
    assert (code, err) == (0, "")
    assert "all as recorded" in out


@pytest.mark.parametrize("run", RUNS, indirect=True)
def test_a_recorded_run_can_be_exported_again(run):
    report = textgen.export(run, out=run.parent / "again")
    assert report.parity["max_logit_difference"] < 1e-4


@pytest.mark.keras
@pytest.mark.parametrize("run", RUNS, indirect=True)
def test_a_recorded_run_resumes_to_the_recorded_losses(run, command_line):
    expected = RECORDED["runs"][run.name]["resumed"]
    code, _, err = command_line("train", "--resume", run, "--epochs", expected["epoch"], "--data-dir", HERE)
    assert code == 0, err
    line = json.loads((run / "history.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    # Losses are sums, which each kind of processor adds in another order.
    assert {name: line[name] for name in expected} == pytest.approx(expected, rel=1e-4)


def test_the_recorded_files_are_small():
    files = [path for path in HERE.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")]
    assert sum(path.stat().st_size for path in files) < 200_000
