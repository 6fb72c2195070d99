import json
from pathlib import Path

import pytest


@pytest.fixture
def run(textgen, names) -> Path:
    textgen("train", names, "--model", "counting", "--set", "corpus.layout=lines", "--epochs", 1, "--out", "run")
    return Path("run")


@pytest.mark.parametrize("prompt", [["--prompt", "Ad"], []])
@pytest.mark.parametrize("stream", [["--stream"], []])
def test_a_text_in_two_parts_is_the_text_at_once(textgen, run, prompt, stream):
    common = ["--ignore-eos", "--repetition-penalty", 1.1, *stream]
    whole = textgen("sample", run, *prompt, "--length", 50, "--seed", 3, *common).out
    first = textgen("sample", run, *prompt, "--length", 20, "--seed", 3, *common, "--save-state", "a.state")
    second = textgen("sample", run, "--length", 30, *common, "--load-state", "a.state")
    assert (first.code, second.code) == (0, 0)
    assert first.out.removesuffix("\n") + second.out == whole


def test_json_is_the_same_with_a_state(textgen, run):
    arguments = ("sample", run, "--prompt", "Ad", "--seed", 3, "--json")
    assert textgen(*arguments, "--save-state", "a.state") == textgen(*arguments)
    assert Path("a.state").exists()


def test_a_text_that_ended_is_continued_after_its_end(textgen, run):
    whole = textgen("sample", run, "--prompt", "Ad", "--length", 50, "--seed", 3, "--ignore-eos").out
    first = textgen("sample", run, "--prompt", "Ad", "--length", 50, "--seed", 3, "--save-state", "a.state").out
    rest = textgen("sample", run, "--length", 5, "--ignore-eos", "--load-state", "a.state").out
    assert len(first) < len(whole)
    assert whole.startswith(first + rest.removesuffix("\n"))


def test_a_prompt_is_read_after_the_state(textgen, run):
    textgen("sample", run, "--prompt", "A", "--length", 5, "--seed", 3, "--ignore-eos", "--save-state", "a.state")
    after = textgen("sample", run, "--load-state", "a.state", "--prompt", "d", "--length", 5, "--ignore-eos", "--json")
    assert [(item["prompt"], item["seed"]) for item in json.loads(after.out)] == [("d", 3)]


def test_the_state_of_another_model_is_refused(textgen, run, names):
    textgen("sample", run, "--prompt", "A", "--seed", 3, "--save-state", "a.state")
    other = ["--model", "counting", "--set", "corpus.layout=lines", "--set", "model.smoothing=2", "--epochs", 2]
    textgen("train", names, *other, "--out", "other")
    assert "a.state is the state of another model" in textgen("sample", "other", "--load-state", "a.state").error


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (None, "a.state does not exist; write one with: textgen sample"),
        (b"no tensors", "a.state is not a readable safetensors file"),
    ],
)
def test_a_file_that_is_not_a_state_is_refused(textgen, run, content, error):
    if content is not None:
        Path("a.state").write_bytes(content)
    assert error in textgen("sample", run, "--load-state", "a.state").error


def test_only_the_state_of_a_single_text_can_be_saved(textgen, run):
    assert (
        "--save-state keeps the state of a single text"
        in textgen("sample", run, "--num", 2, "--save-state", "a.state").error
    )
    assert not Path("a.state").exists()
