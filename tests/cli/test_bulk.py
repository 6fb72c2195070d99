"""``textgen sample --out``."""

import io
import json
import re
import sys
from pathlib import Path

import pytest

import textgen as library
from textgen.cli.sample.job import Pace

RUN = Path(__file__).parents[1] / "recorded" / "gru-names"


def records(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


@pytest.fixture
def write(command_line, monkeypatch, tmp_path):
    """A job of the command line, in a folder of its own: ``write("--num", 3)``."""
    (tmp_path / "jobs").mkdir()
    monkeypatch.chdir(tmp_path / "jobs")
    return lambda *options: command_line("sample", RUN, "--out", "names.jsonl", *options)


def test_the_path_goes_to_stdout_and_what_was_done_to_stderr(write):
    code, out, err = write("--num", 3, "--match", "^A", "--workers", 1)
    assert (code, out) == (0, "names.jsonl\n")
    found = re.search(r"3 texts of (\d+) drawn in [\d.]+ s\nseed (\d+); the same texts again: --seed \2\n\Z", err)
    assert found is not None
    written = records("names.jsonl")
    assert written[-1]["row"] == int(found[1]) - 1
    assert {record["seed"] for record in written} == {int(found[2])}
    assert write("--num", 3, "--match", "^A", "--workers", 1)[:2] == (0, "names.jsonl\n")  # with the seed of the job
    assert records("names.jsonl") == written


def test_options_of_texts_are_those_of_sample(write):
    options = ["--length", 5, "--temperature", 0.5, "--top-k", 9, "--stop", "a", "--seed", 3, "--prompt", "Ty"]
    assert write("--num", 4, *options, "--log-probability")[0] == 0
    generator = library.load(RUN)
    request = generator.request("Ty", num=4, length=5, temperature=0.5, top_k=9, stop="a", seed=3, score=True)
    assert [(record["text"], record["log_probability"]) for record in records("names.jsonl")] == [
        (each.text, each.log_probability) for each in generator.sample(request)
    ]


def test_prompts_may_come_from_stdin(write, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"Ty\nA\n"), encoding="utf-8"))
    assert write("--prompts-file", "-", "--seed", 3)[0] == 0
    assert [record["prompt"] for record in records("names.jsonl")] == ["Ty", "A"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--stream"], "--stream and --out exclude each other"),
        (["--json"], "--json and --out exclude each other"),
        (["--save-state", "x"], "--save-state and --out exclude each other"),
        (["--prompt", "%", "--on-unknown", "error"], "character '%' (U+0025) at position 0 is not in the vocabulary"),
        (["--prompts-file", "missing.csv"], "the prompts in missing.csv cannot be read: No such file or directory"),
        (["--set", "x=1"], "engine has no option 'x'"),
        (["--engine", "locl"], "unknown engine 'locl'; did you mean local?"),
    ],
)
def test_a_mistake_is_told_in_one_line(write, options, message):
    code, out, err = write(*options)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert not list(Path().iterdir())


@pytest.mark.parametrize("option", [["--unique"], ["--workers", 2], ["--column", "x"], ["--set", "a=1"]])
def test_options_of_jobs_need_a_file(command_line, option):
    code, out, err = command_line("sample", RUN, *option)
    assert (code, out) == (2, "")
    assert err == f"textgen: error: {option[0]} is for texts that are written to files; add --out NAME.jsonl\n"


def test_the_pace_is_that_since_the_start():
    times = iter([100.0, 110.0, 120.0])
    pace = Pace(lambda: next(times))
    assert pace.describe(5_000, 1_000_000) == ""
    assert pace.describe(25_000, 1_000_000) == "2,000 per second, 0:08:08 left"
    assert pace.describe(5_000, 1_000_000) == ""
