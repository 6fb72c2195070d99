"""Prompts as users have them: by file and by stdin, with any line ends, with characters that the model never saw."""

import io
import json
import subprocess
import sys
import unicodedata
from pathlib import Path
from types import SimpleNamespace

import pytest

import textgen as library
from textgen.errors import OptionError

CAFES = "café noir\nthé vert\nété\nnaïve été\n" * 20
KEEP = ("--set", "training.drop_duplicates=false")
CAFE, DECOMPOSED = "café", unicodedata.normalize("NFD", "café")


def train(textgen, path, text, *options):
    """A run of the counting model on a text."""
    Path(f"{path}.txt").write_bytes(text.encode())
    quick = ["--epochs", 2, "--batch-size", 4, "--set", "training.length=10", "--set", "generation.length=20"]
    done = textgen("train", f"{path}.txt", "--model", "counting", *quick, *options, "--out", path)
    assert (done.code, done.out) == (0, f"{path}\n"), done.err
    return path


def texts(textgen, run, *options):
    """The generations of a command, from its JSON, and what it printed on stderr."""
    shown = textgen("sample", run, "--seed", 7, "--json", *options)
    assert shown.code == 0, shown.err
    return json.loads(shown.out), shown.err


@pytest.fixture
def stdin(monkeypatch):
    """Puts bytes on stdin: ``stdin(b"the cat")``."""

    def put(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))

    return put


@pytest.mark.parametrize(
    ("content", "prompt"),
    [
        (b"the cat", "the cat"),
        (b"the cat\n", "the cat"),
        (b"the cat\n\n", "the cat\n"),
        (b"the cat\nsat on\n", "the cat\nsat on"),
        (b"the cat\r\nsat on\r\n", "the cat\nsat on"),
        (b"the cat\rsat on\r", "the cat\nsat on"),
        (b"\xef\xbb\xbfthe cat\n", "the cat"),
        ("the cat\r\nsat".encode("utf-16"), "the cat\nsat"),
        (b" the \n", " the "),
        (b"\n", ""),
    ],
)
def test_a_file_is_one_prompt_of_many_lines(textgen, trained, stdin, content, prompt):
    Path("prompt.txt").write_bytes(content)
    expected = texts(textgen, trained["stream"], "--prompt", prompt)
    assert expected[0][0]["prompt"] == prompt
    assert texts(textgen, trained["stream"], "--prompt-file", "prompt.txt") == expected
    stdin(content)
    assert texts(textgen, trained["stream"], "--prompt-file", "-") == expected


def test_prompts_of_files_follow_those_of_the_command_line(textgen, trained, stdin):
    Path("one.txt").write_text("the\ncat\n")
    stdin(b"mat\r\n\r\nwas\r\n")
    options = ["--prompt", "sat", "--prompt-file", "one.txt", "--prompts-file", "-"]
    found, _ = texts(textgen, trained["stream"], *options)
    assert [each["prompt"] for each in found] == ["sat", "the\ncat", "mat", "was"]


@pytest.mark.parametrize(
    ("options", "content", "error"),
    [
        (["--prompt-file", "none.txt"], b"", "the prompts in none.txt cannot be read: No such file or directory"),
        (["--prompt-file", "-"], b"", "stdin is empty; for a text without a prompt use --prompt ''"),
        (["--prompts-file", "-"], b"\n\n", "stdin has no prompts; write one per line"),
        (["--prompt-file", "-"], b"caf\xe9", "the prompts in stdin are not UTF-8 text at byte 3; save them as UTF-8"),
        (["--prompt-file", "-", "--prompts-file", "-"], b"the", "cannot both read stdin"),
        (["--prompts-file", "-", "--save-state", "state"], b"the\ncat", "--save-state keeps the state of a single"),
        (["--load-state", "nofile"], b"", "nofile does not exist; write one with: textgen sample --save-state nofile"),
    ],
)
def test_mistakes(textgen, trained, stdin, options, content, error):
    stdin(content)
    assert error in textgen("sample", trained["stream"], *options).error


def test_a_prompt_may_be_longer_than_an_argument_of_a_shell(textgen, trained, environment):
    prompt = "the cat sat on the mat\nand that was that\n" * 60_000
    command = [sys.executable, "-m", "textgen", "sample", str(trained["stream"]), "--seed", "7", "--length", "9"]
    done = subprocess.run(
        [*command, "--prompt-file", "-"], input=prompt.encode(), env=environment, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(prompt) > 2_000_000
    # The counting model looks two characters back.
    (expected,) = library.load(trained["stream"]).sample(
        library.load(trained["stream"]).request(prompt[-3:-1], seed=7, length=9)
    )
    assert done.stdout.decode() == prompt[:-1] + expected.text + "\n"


def test_an_empty_prompt_is_none(textgen, trained):
    assert texts(textgen, trained["documents"], "--prompt", "") == texts(textgen, trained["documents"])


@pytest.mark.parametrize("options", [["--prompt", "the\r\ncat"], ["--prompt", "the\rcat"]])
def test_line_ends_are_those_of_the_training_text(textgen, trained, options):
    assert texts(textgen, trained["stream"], *options) == texts(textgen, trained["stream"], "--prompt", "the\ncat")
    stop = texts(textgen, trained["stream"], "--prompt", "the", "--stop", "\n")
    assert stop[0][0]["finish_reason"] == "stop"
    assert texts(textgen, trained["stream"], "--prompt", "the", "--stop", "\r\n") == stop


def test_a_vocabulary_with_carriage_returns_keeps_them():
    tokenizer = library_tokenizer("char-index", ["a\r\nb"])
    assert library_as_in_training(tokenizer, "a\r\nb") == "a\r\nb"
    assert library_as_in_training(library_tokenizer("char-index", ["a\nb"]), "\ufeffa\r\nb") == "a\nb"


def library_tokenizer(name, fitted):
    from textgen.plugins.registry import plugins

    tokenizer = plugins().make("tokenizer", {"name": name})
    tokenizer.fit(fitted)
    return tokenizer


def library_as_in_training(tokenizer, text):
    from textgen.text.vocabulary import as_in_training

    return as_in_training(tokenizer, text)


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        (["--prompt", r"the\ncat"], r"type --prompt $'the\ncat', or put the prompt into a file: --prompt-file FILE"),
        (["--prompt", r"the\tcat"], r"the letter t, not a tab; in bash, type --prompt $'the\tcat'"),
        (["--stop", r"\n"], r"--stop has a backslash and the letter n, not a newline; in bash, type --stop $'\n'"),
        (["--stop", r"it's\n"], r"type --stop $'it\'s\n'"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("way", ["skip", "error"])
def test_a_typed_backslash_gets_a_hint(textgen, trained, options, advice, way):
    shown = textgen("sample", trained["stream"], "--seed", 1, "--on-unknown", way, *options)
    if way == "error" and "--prompt" in options:
        assert shown.error.startswith("character '\\\\' (U+005C) at position 3 is not in the vocabulary")
        assert advice in shown.error
    else:
        assert shown.code == 0
        assert advice in shown.err.splitlines()[0]


def test_a_hint_works_when_pasted_into_a_shell(textgen, trained, environment):
    hint = textgen("sample", trained["stream"], "--seed", 1, "--stop", r"it's\n").err.splitlines()[0]
    pasted = hint.partition("type ")[2]
    done = subprocess.run(
        ["bash", "-c", f"printf %s {pasted.removeprefix('--stop ')}"], capture_output=True, check=True
    )
    assert done.stdout == b"it's\n"


def test_a_model_of_texts_with_backslashes_gets_no_hint(textgen):
    run = train(textgen, "code", 'print("a\\n")\n' * 30)
    assert texts(textgen, run, "--prompt", r'"a\n')[1] == ""


def test_unknown_characters_are_reported_once_and_in_json(textgen, trained):
    options = ["--prompt", "Aéé☃", "--prompt", "éB", "--prompt", "Bo", "--num", 2]
    found, told = texts(textgen, trained["documents"], *options)
    assert told == (
        "textgen: parts of the prompt that are not in the vocabulary were replaced by the unknown id: "
        "'é' (U+00E9) 3 times, '☃' (U+2603)\n"
    )
    known = {"treatment": "unk", "composed": None}
    assert found[0]["unknown"] == found[1]["unknown"] == [
        {"character": "é", "position": 1, "count": 2, **known},
        {"character": "☃", "position": 3, "count": 1, **known},
    ]  # fmt: skip
    assert found[2]["unknown"] == [{"character": "é", "position": 0, "count": 1, **known}]
    assert found[4]["unknown"] == []

    found, told = texts(textgen, trained["documents"], *options, "--on-unknown", "skip")
    assert "were left out: 'é' (U+00E9) 3 times, '☃' (U+2603)\n" in told
    assert found[2]["unknown"] == [{"character": "é", "position": 0, "count": 1, "treatment": "skip", "composed": None}]

    shown = textgen("sample", trained["documents"], "--prompt", "Aé", "--seed", 7, "--stream")
    assert shown.err.count("U+00E9") == 1


def test_many_unknown_characters_are_one_short_line(textgen, trained):
    prompt = "A" + "".join(map(chr, range(0x4E00, 0x4E00 + 300))) * 100
    found, told = texts(textgen, trained["documents"], "--prompt", prompt)
    assert told.count("\n") == 1
    assert len(told) < 600
    assert told.endswith("and 290 others\n")
    assert len(found[0]["unknown"]) == 300
    assert {each["count"] for each in found[0]["unknown"]} == {100}


def test_unknown_characters_in_python(textgen, trained):
    (generation,) = library.load(trained["documents"]).sample(
        library.load(trained["documents"]).request("Aé", seed=1, length=3)
    )
    (unknown,) = generation.unknown
    assert (unknown.character, unknown.position, unknown.count, unknown.treatment) == ("é", 1, 1, "unk")
    assert isinstance(unknown, library.Unknown)


def test_a_decomposed_accent_is_offered_in_its_composed_form(textgen):
    run = train(textgen, "cafes", CAFES)
    error = textgen("sample", run, "--prompt", DECOMPOSED).error
    assert error == (
        "character '◌́' (U+0301) at position 4 is not in the vocabulary; the composed 'é' (U+00E9) is: "
        "use --normalize, in Python normalize=True, or use --on-unknown skip, in Python "
        'on_unknown="skip"'
    )
    composed = texts(textgen, run, "--prompt", CAFE, "--stop", "é")
    decomposed_stop = unicodedata.normalize("NFD", "é")
    assert texts(textgen, run, "--prompt", DECOMPOSED, "--stop", decomposed_stop, "--normalize") == composed
    assert library.load(run).generate(DECOMPOSED, seed=7, normalize=True, stop="é") == CAFE + composed[0][0]["text"]

    found, told = texts(textgen, run, "--prompt", DECOMPOSED, "--on-unknown", "skip")
    assert told.endswith(
        "were left out: '◌́' (U+0301); the composed 'é' (U+00E9) is in it: use --normalize, in Python normalize=True\n"
    )
    assert found[0]["unknown"][0]["composed"] == "é"


def test_prompts_of_a_run_whose_text_was_normalised_are_normalised(textgen):
    run = train(textgen, "cafes", CAFES)
    manifest = json.loads((Path(run) / "textgen.json").read_text())
    manifest["normalization"] = "NFC"
    (Path(run) / "textgen.json").write_text(json.dumps(manifest))
    assert texts(textgen, run, "--prompt", DECOMPOSED) == texts(textgen, run, "--prompt", CAFE)


@pytest.mark.parametrize(
    ("tokenizer", "ways"),
    [("char-index", "--on-unknown skip"), ("string-lookup", "--on-unknown skip or unk")],
)
def test_errors_suggest_only_what_the_tokenizer_has(textgen, tokenizer, ways):
    run = train(textgen, "cafes", CAFES, "--tokenizer", tokenizer, "--on-unknown", "error")
    error = textgen("sample", run, "--prompt", "ß").error
    assert f"remove it, or use {ways}, in Python " in error
    for way in ways.removeprefix("--on-unknown ").split(" or "):
        assert textgen("sample", run, "--prompt", "éß", "--on-unknown", way).code == 0


@pytest.mark.parametrize("stop", ["ß", "the endß"])
def test_a_stop_text_that_cannot_occur_is_reported(textgen, trained, stop):
    _, told = texts(textgen, trained["stream"], "--prompt", "the", "--stop", stop, "--stop", "mat")
    assert told == f"textgen: the stop text {stop!r} never occurs: the model cannot write 'ß' (U+00DF)\n"


def test_the_prompt_of_a_run_is_checked_at_training_time(textgen):
    Path("names.txt").write_text("Ada\nBo\nZoé\n" * 30, encoding="utf-8")
    command = ["train", "names.txt", "--model", "counting", "--set", "corpus.layout=lines", "--dry-run", *KEEP]
    shown = textgen(*command, "--set", "generation.prompt=Aß", "--set", "generation.stop=ß")
    assert shown.code == 0
    assert "parts of the prompt that are not in the vocabulary were replaced by the unknown id: 'ß'" in shown.err
    assert "the stop text 'ß' never occurs" in shown.err

    strict = [*command, "--on-unknown", "error"]
    error = textgen(*strict, "--set", "generation.prompt=ß").error
    assert error.startswith("generation.prompt: character 'ß' (U+00DF) at position 0 is not in the vocabulary; remove")
    assert error.endswith(", or choose another prompt: --set generation.prompt=TEXT")
    decomposed = unicodedata.normalize("NFD", "Zoé")
    error = textgen(*strict, "--set", f"generation.prompt={decomposed}").error
    assert "the composed 'é' (U+00E9) is: --set generation.prompt='Zoé', or use --on-unknown skip or unk" in error
    error = textgen(*strict, "--set", r"generation.prompt=A\nB").error
    assert r"in bash, type --set generation.prompt=$'A\nB'" in error


@pytest.mark.parametrize("prompt", ["[section]", "ROMEO: ", "{x}", " none", "none", "b\r\nR"])
def test_the_prompt_that_is_set_is_the_prompt_of_the_run(textgen, prompt):
    text = "ROMEO: [section] {x} none b\n" * 20
    run = train(textgen, "run", text, "--set", f"generation.prompt={prompt}", "--set", "generation.stop=none")
    found, told = texts(textgen, run)
    assert [each["prompt"] for each in found] == [prompt.replace("\r\n", "\n")]
    assert told == ""
    assert library.load(run).defaults.stop == ("none",)


def test_a_stop_text_of_a_configuration_needs_no_list(textgen):
    Path("run.toml").write_bytes(b'\xef\xbb\xbf[generation]\r\nstop = "END"\r\nprompt = "a"\r\n')
    run = train(textgen, "run", "a b END\n" * 40, "--config", "run.toml")
    assert library.load(run).defaults.stop == ("END",)
    assert all("END" not in each["text"] for each in texts(textgen, run, "--num", 5)[0])


@pytest.mark.parametrize("stream", [[], ["--stream"]])
def test_documents_of_several_lines_are_set_apart(textgen, stream):
    Path("poems.jsonl").write_text('{"text": "roses\\nare red"}\n{"text": "violets\\nare blue"}\n' * 20)
    run = train(textgen, "lines", "Ada\nBo\n" * 30, "--set", "corpus.layout=lines", *KEEP)
    poems = "poems"
    few = ("--epochs", 2, "--batch-size", 4, *KEEP)
    done = textgen("train", "poems.jsonl", "--model", "counting", *few, "--out", poems)
    assert done.code == 0, done.err
    for path, empty_lines in ((poems, True), (run, False)):
        blocks = (Path(path) / "samples.txt").read_text().split("--- epoch ")[1:]
        assert [("\n\n" in block) for block in blocks] == [empty_lines] * 2
    one, two = (
        text for text in textgen("sample", poems, "--prompt", "ro", "--num", 2, "--seed", 1, *stream).out.split("\n\n")
    )
    assert one.startswith("ro")
    assert two.startswith("ro")
    assert "\n\n" not in textgen("sample", run, "--num", 3, "--seed", 1, *stream).out
    assert textgen("sample", run, "--prompt", "A\nB", "--num", 2, "--seed", 1, *stream).out.count("\n\n") == 1


def test_a_path_that_is_set_is_taken_as_it_is(textgen):
    name = "[draft] {1} .txt"
    Path(name).write_text("the cat sat\n" * 9)
    assert (
        json.loads(textgen("corpora", "info", "file", "--set", f"corpus.path={name}", "--json").out)["characters"]
        == 108
    )


def test_an_unknown_option_of_a_request_suggests_others(textgen, trained):
    with pytest.raises(OptionError, match=r"a request has no option 'temprature'; did you mean temperature\?"):
        library.load(trained["stream"]).generate("the", temprature=0.5)  # type: ignore[call-overload]


def test_each_of_many_unknown_words_is_reported(textgen):
    run = train(textgen, "run", CAFES, "--tokenizer", "words", "--set", "tokenizer.rare=unk")
    words = [f"w{number}" for number in range(2000)]
    Path("prompt.txt").write_text(" ".join(words), encoding="utf-8")
    shown = textgen("sample", run, "--prompt-file", "prompt.txt", "--length", 5, "--json")
    (generation,) = json.loads(shown.out)
    assert [unknown["character"] for unknown in generation["unknown"]] == words
    assert [unknown["position"] for unknown in generation["unknown"]][:3] == [0, 3, 6]


@pytest.mark.parametrize("option", ["--prompt-file", "--prompts-file"])
def test_a_file_whose_name_is_that_of_stdin(textgen, trained, stdin, option):
    Path("-").write_text("the cat\n")
    stdin(b"mat")
    for given, prompt in (("./-", "the cat"), ("-", "mat")):
        done = textgen("sample", trained["stream"], option, given, "--length", 5, "--seed", 1)
        assert (done.code, done.out[: len(prompt)]) == (0, prompt)
