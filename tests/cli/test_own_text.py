"""Training on one's own text: from several files, pipes, tables and with labels."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from textgen.cli.corpora import app

QUICK = ["--model", "counting", "--batch-size", 4, "--set", "training.sample_every=0", "--set", "training.length=10"]
VERSE = "the cat sat on the mat\nand that was that\n" * 9


def plan(textgen, *arguments):
    shown = textgen("train", *arguments, *QUICK, "--dry-run")
    assert shown.code == 0, shown.err
    return json.loads(shown.out)


@pytest.fixture
def texts(tmp_path) -> Path:
    folder = Path("texts")
    folder.mkdir()
    for name in ("c2", "a", "c1"):
        (folder / f"{name}.txt").write_text(f"{name} {VERSE}")
    return folder


def test_what_a_short_list_is_advised_works(textgen):
    Path("few.txt").write_text("anna\nbert\ncarl\ndora\nemil\nfritz\ngreta\nhans\nida\n")
    command = ["train", "few.txt", "--model", "counting", "--epochs", 1]
    error = textgen(*command).error
    found = re.search(r"needs 101: use more text, or (--set .*), or if each of its lines .* own, (--set .*)$", error)
    assert found is not None
    for way in found.groups():
        assert textgen(*command, *way.split()).code == 0
    windows = [*command, "--set", "training.layout=windows"]
    error = textgen(*windows).error
    assert "corpus.layout" not in error
    assert textgen(*windows, *error.rpartition(", or ")[2].split()).code == 0


def test_several_files_folders_and_patterns(textgen, texts):
    planned = plan(textgen, "texts/a.txt", "texts/c*.txt")
    assert [Path(path).name for path in planned["settings"]["corpus"]["path"]] == ["a.txt", "c1.txt", "c2.txt"]
    assert (
        plan(textgen, "texts")["characters"]
        == planned["characters"]
        == sum(len(path.read_text()) for path in texts.iterdir())
    )
    listed = plan(textgen, "--corpus", "file", "--set", 'corpus.path=["texts/a.txt", "texts/c1.txt", "texts/c2.txt"]')
    assert listed["settings"]["corpus"] == planned["settings"]["corpus"]
    assert "give either the text file texts/a.txt or --corpus agnews" in (
        textgen("train", "texts/a.txt", "texts/c1.txt", "--corpus", "agnews").error
    )


def test_a_list_in_a_configuration(textgen, texts):
    Path("run.toml").write_text('[corpus]\nname = "file"\npath = ["texts/c2.txt", "texts/a.txt"]\n')
    planned = plan(textgen, "--config", "run.toml")
    assert [Path(path).name for path in planned["settings"]["corpus"]["path"]] == ["c2.txt", "a.txt"]


def test_standard_input_is_trained_on_evaluated_and_resumed(environment):
    def run(*arguments: object, given: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "textgen", *map(str, arguments)]
        return subprocess.run(command, input=given, env=environment, capture_output=True, text=True, check=False)

    trained = run("train", "-", *QUICK, "--epochs", 1, "--out", "run", given=VERSE)
    assert trained.returncode == 0, trained.stderr
    assert f"{len(VERSE)} characters" in trained.stderr
    assert run("train", "--resume", "run", "--epochs", 2).returncode == 0
    evaluated = run("evaluate", "run")
    assert evaluated.returncode == 0, evaluated.stderr


def test_process_substitution(process, environment):
    Path("verse.txt").write_text(VERSE)
    options = shlex.join(map(str, QUICK))
    script = f"{sys.executable} -m textgen train <(cat verse.txt) <(cat verse.txt) {options} --epochs 1 --out run"
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{len(VERSE)} characters" in done.stderr  # the same text twice is one file
    assert process("evaluate", "run").code == 0


def test_documents_of_several_lines_need_a_tokenizer_with_an_end(textgen):
    Path("poems.txt").write_text("One\nline\n\nTwo\nlines\n\n" * 20)
    options = [*QUICK, "--set", "training.drop_duplicates=false"]
    paragraphs = ["poems.txt", "--set", "corpus.layout=paragraphs", *options, "--epochs", 1]
    error = textgen("train", *paragraphs, "--tokenizer", "char-index").error
    assert "document 1 has several lines" in error
    assert error.endswith("use --tokenizer char-eos")
    assert textgen("train", *paragraphs, "--tokenizer", "char-eos", "--dry-run").code == 0
    assert textgen("train", *paragraphs, "--dry-run").code == 0
    lines = ["poems.txt", "--set", "corpus.layout=lines", *options, "--tokenizer", "char-index", "--dry-run"]
    assert textgen("train", *lines).code == 0


def test_the_commands_of_errors_and_notices_work(textgen):
    Path("my café.csv").write_bytes("id;title\n1;café\n2;thé\n3\n4;été\n".encode("latin-1") * 9)
    command = ["train", "my café.csv"]
    for _ in range(4):
        done = textgen(*command, "--dry-run", *QUICK, "--set", "training.held_out=0")
        if done.code == 0:
            break
        command = shlex.split(re.findall(r"textgen (train .*)", done.err)[-1])
    assert done.code == 0, done.err
    chosen = json.loads(done.out)["settings"]["corpus"]
    assert (chosen["encoding"], chosen["column"], chosen["on_bad_row"]) == ("latin-1", "title", "skip")
    assert (json.loads(done.out)["documents"], json.loads(done.out)["duplicates"]) == (4, 31)


def test_a_list_of_names_gets_a_command_for_lines(textgen):
    Path("names.txt").write_text("".join(f"Name {number}\n" for number in range(99)))
    done = textgen("train", "names.txt", *QUICK, "--dry-run")
    (command,) = re.findall(r"textgen train (\S+ --set corpus.layout=lines)$", done.err, re.MULTILINE)
    assert plan(textgen, *shlex.split(command))["documents"] == 99


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_mean_the_same_whatever_the_file_has(textgen, end):
    Path("verse.txt").write_bytes(VERSE.replace("\n", end).encode())
    assert textgen("train", "verse.txt", *QUICK, "--epochs", 1, "--out", "run").code == 0
    shown = textgen("sample", "run", "--prompt", "the cat", "--stop", "\n", "--length", 300, "--seed", 1)
    assert shown.code == 0
    assert "\r" not in shown.out
    assert shown.out.count("\n") == 1


def info(*arguments: object) -> str:
    shown = CliRunner().invoke(app, ["info", "file", *map(str, arguments)])
    assert shown.exit_code == 0, shown.exception
    return shown.stdout


def test_info_shows_what_was_recognised():
    rows = "class;text\nb;Größe\na;zwei\nc\na;drei\n"
    Path("rows.csv").write_bytes(rows.encode("utf-16"))
    chosen = ["--set", "corpus.path=rows.csv", "--set", "corpus.label=class", "--set", "corpus.on_bad_row=skip"]
    shown = info(*chosen).splitlines()
    for line in (
        "bad rows             1",
        "labels               a: 2",
        "labels               b: 1",
        'options              encoding="utf-16"',
        'options              delimiter=";"',
    ):
        assert line in shown
    facts = json.loads(info(*chosen, "--json"))
    assert (facts["documents"], facts["bad_rows"], facts["labels"]) == (3, 1, {"a": 2, "b": 1})
    assert facts["options"]["delimiter"] == ";"
    assert facts["options"]["format"] == "csv"


def test_info_of_several_files_lists_them(texts):
    facts = json.loads(info("--set", "corpus.path=texts", "--json"))
    assert [Path(file["path"]).name for file in facts["files"]] == ["a.txt", "c1.txt", "c2.txt"]


@pytest.mark.parametrize(
    "given",
    [
        ["more/*.txt", "--set", "corpus.label=filename"],
        ["more", "--set", "corpus.label=folder", "--set", "corpus.layout=stream"],
        ["my.txt", "--set", "corpus.label=class"],
        ["my.txt", "semi.csv"],
        ["my.txt", "semi.csv", "--set", "corpus.label=filename"],
        ["my.txt", "semi.csv", "--set", "corpus.column=title", "--set", "corpus.delimiter=;"],
        ["my.txt", "--set", "corpus.on_bad_row=skip", "--set", "corpus.delimiter=;"],
        ["semi.csv", "--set", "corpus.layout=files", "--set", "corpus.column=title"],
        ["semi.csv", "--set", "corpus.layout=paragraphs", "--set", "corpus.label=filename"],
        ["table.txt", "--set", "corpus.column=title"],
        ["folder/*", "--set", "corpus.label=filename"],
    ],
)
def test_commands_of_errors_about_options_work(textgen, given):
    for name in ("more", "folder"):
        Path(name).mkdir()
    for name in ("more/a.txt", "more/b.txt", "my.txt", "folder/c.txt"):
        Path(name).write_text(f"{name} {VERSE}")
    for name in ("semi.csv", "table.txt", "folder/d.csv"):
        Path(name).write_text("id;title\n" + "1;a longer title\n" * 30)
    error = textgen("train", *given, *QUICK).error
    (command,) = re.findall(r"textgen train (.*)$", error)
    assert plan(textgen, *shlex.split(command), "--set", "training.held_out=0")["characters"] > 0


def test_a_path_without_the_name_of_a_corpus_is_a_file(textgen, texts):
    Path("run.toml").write_text('[corpus]\npath = ["texts/c2.txt", "texts/a.txt"]\n')
    configured = plan(textgen, "--config", "run.toml")["settings"]["corpus"]
    assert (configured["name"], [Path(path).name for path in configured["path"]]) == ("file", ["c2.txt", "a.txt"])
    assert plan(textgen, "--set", "corpus.path=texts/a.txt")["settings"]["corpus"]["name"] == "file"
    assert plan(textgen, "texts/c1.txt", "--config", "run.toml")["settings"]["corpus"]["path"].endswith("c1.txt")


def test_a_text_that_is_named_twice_is_an_error(textgen, texts):
    error = textgen("train", "texts/a.txt", "--set", "corpus.path=texts/c1.txt", *QUICK).error
    assert error.endswith("give the text either by its name or by --set corpus.path=texts/c1.txt, not both")


def test_a_file_whose_name_is_that_of_standard_input(textgen):
    Path("-").write_text(VERSE)
    for given in (["./-"], ["--set", "corpus.path=./-"]):
        assert plan(textgen, *given)["settings"]["corpus"]["path"] == str(Path.cwd() / "-")


@pytest.mark.parametrize("name", [b"\xff.txt", b"."])
def test_a_name_that_is_not_utf_8_leaves_no_run(textgen, name):
    Path(os.fsdecode(b"\xff.txt")).write_text(VERSE)
    assert textgen("train", os.fsdecode(name), *QUICK).error.endswith(
        "\\xff.txt has a name that is not UTF-8; rename it"
    )
    assert not Path("runs").exists()


def test_standard_input_that_is_closed(environment):
    command = shlex.join([sys.executable, "-m", "textgen", "train", "-", *map(str, QUICK)])
    done = subprocess.run(
        ["bash", "-c", f"{command} <&-"], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (2, "textgen: error: standard input is closed; name a file or a pipe\n")
