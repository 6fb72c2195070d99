"""``textgen sample``."""

import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import textgen as library
from textgen.text.encoded import draw_documents


@pytest.fixture
def write(textgen, trained):
    """Texts of a run: ``write("documents", "--num", 3)``."""

    def call(run: str, *arguments: object) -> str:
        shown = textgen("sample", trained[run], "--seed", 7, *arguments)
        assert (shown.code, shown.err) == (0, "")
        text: str = shown.out
        return text

    return call


def test_texts_alone_go_to_stdout_and_the_seed_to_stderr(textgen, trained):
    shown = textgen("sample", trained["documents"], "--num", 3)
    assert len(shown.out.splitlines()) == 3
    found = re.fullmatch(r"seed (\d+); the same text again: --seed \1\n", shown.err)
    assert found is not None
    again = textgen("sample", trained["documents"], "--num", 3, "--seed", found[1])
    assert (again.out, again.err) == (shown.out, "")


def test_texts_are_those_of_the_library(write, trained):
    generator = library.load(trained["documents"])
    texts = generator.generate(["Ad", "Be"], num=2, length=9, temperature=0.7, seed=7)
    options = ["--prompt", "Ad", "--prompt", "Be", "--num", 2, "--length", 9, "--temperature", 0.7]
    assert write("documents", *options) == "".join(text + "\n" for text in texts)
    assert [text[:2] for text in texts] == ["Ad", "Ad", "Be", "Be"]


def test_prompts_come_from_a_file_too(write):
    Path("prompts.txt").write_bytes(b"\xef\xbb\xbfAd\r\n\r\nBe\n")
    expected = write("documents", "--prompt", "To", "--prompt", "Ad", "--prompt", "Be")
    assert write("documents", "--prompt", "To", "--prompts-file", "prompts.txt") == expected


def test_an_empty_prompt_draws_the_first_character(write):
    firsts = {line[0] for line in write("documents", "--prompt", "", "--num", 40).splitlines()}
    assert firsts <= set("ABDEMT")
    assert len(firsts) > 2


def test_texts_of_several_lines_are_separated_by_an_empty_line(write):
    texts = write("stream", "--prompt", "the", "--num", 2).split("\n\nthe")
    assert len(texts) == 2
    assert (len(texts[0]), len(texts[1])) == (63, 61)
    assert write("documents", "--ignore-eos", "--num", 2).count("\n\n") >= 1
    assert "\n\n" not in write("documents", "--num", 2)


def test_several_temperatures_give_one_block_each(write):
    options = ["--prompt", "Ad", "--prompt", "Be", "--num", 2]
    grid = write("documents", *options, "--temperature", 0.5, "--temperature", 1.5)
    blocks = [write("documents", *options, "--temperature", value) for value in (0.5, 1.5)]
    assert grid == f"--- temperature 0.5\n{blocks[0]}\n--- temperature 1.5\n{blocks[1]}"


@pytest.mark.parametrize(
    "options",
    [
        ["--num", 1],
        ["--num", 3],
        ["--num", 2, "--prompt", "Ad", "--prompt", "Be", "--temperature", 0.4, "--temperature", 1.3],
        ["--num", 2, "--ignore-eos", "--stop", "da", "--length", 30],
    ],
)
@pytest.mark.parametrize("run", ["documents", "stream"])
def test_streamed_text_is_the_same(write, run, options):
    if run == "stream":
        options = [{"Ad": "the", "Be": "mat", "da": "cat"}.get(option, option) for option in options]
    assert write(run, *options, "--stream") == write(run, *options)


def test_length_stop_and_eos_end_a_text(write):
    assert len(write("stream", "--prompt", "the", "--length", 25)) == len("the") + 25 + len("\n")
    stopped = write("stream", "--prompt", "the", "--stop", "mat", "--stop", "was", "--length", 200)
    assert "mat" not in stopped
    assert "was" not in stopped
    assert len(write("documents", "--ignore-eos", "--length", 50)) == 1 + 50 + len("\n")


def test_single_samplers_are_equivalent_to_a_chain(write):
    single = ["--top-k", 3, "--top-p", 0.9, "--min-p", 0.05, "--repetition-penalty", 1.2, "--temperature", 0.9]
    chain = "repetition-penalty(1.2) | temperature(0.9) | top-k(3) | top-p(0.9) | min-p(0.05) | multinomial"
    assert write("documents", "--num", 9, *single) == write("documents", "--num", 9, "--sampler", chain)
    first, second = write("stream", "--prompt", "the", "--sampler", "greedy", "--num", 2).split("\n\n")
    assert first + "\n" == second


def test_unknown_characters_of_a_prompt(textgen, trained, write):
    # The run of documents has a padding id that stands for unknown characters, the stream's vocabulary has none.
    replaced = textgen("sample", trained["documents"], "--prompt", "Aé", "--seed", 7)
    assert replaced == textgen("sample", trained["documents"], "--prompt", "Aé", "--on-unknown", "unk", "--seed", 7)
    assert "'é' (U+00E9)" in replaced.err
    error = textgen("sample", trained["stream"], "--prompt", "theé").error
    assert error.startswith("character 'é' (U+00E9) at position 3 is not in the vocabulary")
    for way in ("error", "unk"):
        assert textgen("sample", trained["stream"], "--prompt", "theé", "--on-unknown", way).error
    skipped = textgen("sample", trained["stream"], "--prompt", "theé", "--on-unknown", "skip", "--seed", 7)
    assert skipped.out.removeprefix("theé") == write("stream", "--prompt", "the").removeprefix("the")


@pytest.mark.parametrize("way", ["error", "skip"])
@pytest.mark.parametrize("options", [[], ["--stream"], ["--json"]])
def test_if_one_prompt_is_bad_nothing_is_written(textgen, trained, options, way):
    prompts = ["--prompt", "the", "--prompt", "é"]
    error = textgen("sample", trained["stream"], *prompts, "--on-unknown", way, *options).error
    assert "vocabulary" in error


@pytest.mark.parametrize(("seed", "printed"), [(2**53 - 1, 2**53 - 1), (2**53 + 1, str(2**53 + 1))])
def test_json_has_a_seed_as_text_where_javascript_would_round_it(textgen, trained, seed, printed):
    (row,) = json.loads(textgen("sample", trained["documents"], "--length", 9, "--seed", seed, "--json").out)
    assert row["seed"] == printed


def test_json_has_every_field(write, trained):
    options = ["--prompt", "Ad", "--num", 2, "--temperature", 0.5, "--temperature", 1.5]
    rows = json.loads(write("documents", *options, "--json"))
    plain = [line for line in write("documents", *options).splitlines() if line and "temperature" not in line]
    assert [row["prompt"] + row["text"] for row in rows] == plain
    assert [(row["seed"], row["row"]) for row in rows] == [(7, 0), (7, 1)] * 2
    assert [row["sampler"] for row in rows] == [f"temperature({t}) | multinomial" for t in (0.5, 0.5, 1.5, 1.5)]
    assert {row["finish_reason"] for row in rows} <= {"eos", "length"}
    generator = library.load(trained["documents"])
    for row in rows:
        assert generator.tokenizer.decode(row["ids"]).removesuffix("\n") == row["text"]
        assert row["log_probability"] == pytest.approx(log_probability(generator, row["prompt"], row["ids"]))


def log_probability(generator, prompt: str, ids: list[int]) -> float:
    """The log-probability of ids after a prompt, step by step."""
    state, total = generator.runtime.initial_state(1), 0.0
    read = [*generator.tokenizer.encode(prompt).tolist(), *ids]
    for position in range(len(read) - 1):
        logits, state = generator.runtime.step(np.array([read[position]], np.int32), state)
        if position >= len(read) - len(ids) - 1:
            exponents = [math.exp(float(value)) for value in logits[0]]
            total += math.log(exponents[read[position + 1]] / sum(exponents))
    return total


def test_novelty_is_the_share_of_texts_that_are_not_training_documents(textgen, trained, names):
    prompts = ["--prompt", "Tom", "--prompt", "Ada"]
    shown = textgen("sample", trained["documents"], *prompts, "--num", 25, "--seed", 1, "--novelty")
    texts, known = shown.out.splitlines(), names.read_text().split()
    held_out = {known[number] for number in draw_documents(len(known), 0.25, 0)}
    assert held_out & set(texts)  # which are new, although the corpus has them
    new = sum(text in held_out or text not in known for text in texts)
    assert 0 < new < 50
    assert shown.err == f"{new} of 50 ({new / 50:.0%}) are not training documents\n"


def test_novelty_of_a_stream_is_refused_before_any_text(textgen, trained):
    assert "trained on a stream" in textgen("sample", trained["stream"], "--novelty").error


def test_the_latest_run_is_taken_unless_one_is_named(textgen, trained):
    assert textgen("sample").error == "the folder runs has no runs; train one with: textgen train --corpus dinos-lite"
    shutil.copytree(trained["stream"], "runs/first")
    shutil.copytree(trained["documents"], "runs/second")
    Path("runs/second/textgen.json").touch()

    def seven(*run):
        return textgen("sample", *run, "--seed", 7).out

    assert seven() == seven("second") == seven("runs/second") == seven(trained["documents"])
    assert seven("first") == seven(trained["stream"]) != seven()


def test_stream_and_json_exclude_each_other(textgen, trained):
    assert "exclude each other" in textgen("sample", trained["stream"], "--stream", "--json").error


@pytest.mark.parametrize(
    ("layout", "text", "prompt"),
    [
        ("stream", "😀 smile\r\nnext — line\r\n" * 30, "😀"),
        ("lines", "naïve 😀\r\ne\u0301tude\r\n日本\r\n" * 8, "日"),
    ],
)
def test_any_unicode_text_is_supported(textgen, layout, text, prompt):
    Path("text.txt").write_bytes("\ufeff".encode() + text.encode())
    settings = ["--set", f"corpus.layout={layout}", "--set", "training.length=10", "--batch-size", 4]
    settings += ["--set", "training.drop_duplicates=false"]
    done = textgen("train", "text.txt", "--model", "counting", "--epochs", 4, *settings, "--out", "run")
    assert (done.code, done.out) == (0, "run\n")
    rows = json.loads(textgen("sample", "run", "--prompt", prompt, "--num", 4, "--seed", 2, "--json").out)
    assert {row["prompt"] for row in rows} == {prompt}
    # A byte-order mark is not part of the text, and a document that is a line has no line end.
    allowed = set(text) - (set("\r\n") if layout == "lines" else set())
    assert set("".join(row["text"] for row in rows)) <= allowed
    plain = textgen("sample", "run", "--prompt", prompt, "--num", 4, "--seed", 2).out
    gap = "\n\n" if layout == "stream" else "\n"
    assert plain == gap.join(prompt + row["text"] for row in rows) + "\n"
