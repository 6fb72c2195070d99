"""``textgen corpora list|info|show|fetch``."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner, Result

from textgen.cli.corpora import app
from textgen.errors import CorpusError, OptionError, TextgenError, UnavailableError, UnknownNameError


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    monkeypatch.setenv("TEXTGEN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.delenv("TEXTGEN_DATA_DIR", raising=False)


@pytest.fixture
def names(tmp_path):
    """A file of three lines, as arguments."""
    path = tmp_path / "names.txt"
    path.write_text("Ed\nAdam\nBeatrix\n", encoding="utf-8")
    return ["file", "--set", f"corpus.path={path}", "--set", "corpus.layout=lines"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def succeed(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.stderr or result.exception
    return result.stdout


def fail(*arguments: object) -> Exception:
    result = run(*arguments)
    assert result.exit_code != 0
    assert result.stdout == ""
    assert isinstance(result.exception, TextgenError), result.exception
    assert "\n" not in str(result.exception)
    return result.exception


def test_list_prints_every_corpus_with_a_summary():
    rows = dict(line.split(maxsplit=1) for line in succeed("list").splitlines())
    assert set(rows) >= {"agnews", "dinos", "dinos-lite", "file", "shakespeare"}
    assert list(rows) == sorted(rows)
    assert {row["name"]: row["summary"] for row in json.loads(succeed("list", "--json"))} == rows


def test_list_imports_nothing_heavy():
    program = (
        "import sys\n"
        "from textgen.cli.corpora import app\n"
        "app(['list'], standalone_mode=False)\n"
        "heavy = {'tensorflow', 'keras', 'onnxruntime', 'pooch', 'matplotlib', 'textgen_corpora.cache'}\n"
        "print(*sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "shakespeare" in done.stdout
    assert done.stderr.split() == []


def test_info_counts_in_a_table_and_draws_lengths(names):
    assert succeed("info", *names).splitlines()[:8] == [
        "corpus               file",
        "layout               documents",
        "documents            3",
        "characters           13",
        "distinct characters  11",
        "shortest             2",
        "mean                 4.3",
        "longest              7",
    ]
    full = "█" * 55
    assert succeed("info", *names).splitlines()[-6:] == [
        f"2 1 {full}",
        "3 0",
        f"4 1 {full}",
        "5 0",
        "6 0",
        f"7 1 {full}",
    ]


def test_info_as_json_has_the_same_counts(names):
    facts = json.loads(succeed("info", *names, "--json"))
    assert (facts["documents"], facts["characters"], facts["distinct_characters"]) == (3, 13, len(set("EdAdamBeatrix")))
    assert (facts["shortest"], facts["mean"], facts["longest"]) == (2, 13 / 3, 7)
    assert sum(bar["documents"] for bar in facts["histogram"]) == 3
    assert [file["state"] for file in facts["files"]] == ["your own"]


def test_info_of_a_stream_has_no_document_lengths(data_dir):
    facts = json.loads(succeed("info", "shakespeare", "--data-dir", data_dir, "--json"))
    assert (facts["characters"], facts["distinct_characters"]) == (1_115_394, 65)
    assert not {"documents", "mean", "histogram"} & set(facts)
    assert facts["files"][0]["state"] == "published"
    assert "characters per document" not in succeed("info", "shakespeare", "--data-dir", data_dir)


def test_info_reports_a_file_that_differs_from_the_published_one(tmp_path):
    (tmp_path / "dinos.txt").write_text("Ed\nAdam")
    result = run("info", "dinos", "--data-dir", tmp_path)
    assert f"{tmp_path / 'dinos.txt'} (differs)" in result.stdout
    assert "differs from the published dinos.txt" in result.stderr


def test_options_are_passed_to_the_corpus(data_dir):
    options = ["--set", "corpus.split=test", "--set", "corpus.field=description", "--data-dir", data_dir]
    assert json.loads(succeed("info", "agnews", *options, "--json"))["longest"] == 830


def test_the_data_folder_may_come_from_the_environment(tmp_path, monkeypatch):
    (tmp_path / "dinos.txt").write_text("Ed\nAdam")
    monkeypatch.setenv("TEXTGEN_DATA_DIR", str(tmp_path))
    assert succeed("fetch", "dinos") == f"{tmp_path / 'dinos.txt'}\n"


def test_plot_writes_a_png(names, tmp_path):
    pytest.importorskip("matplotlib")
    assert "there is no folder" in str(fail("info", *names, "--plot", tmp_path / "plots" / "lengths.png"))
    (tmp_path / "plots").mkdir()
    succeed("info", *names, "--plot", tmp_path / "plots" / "lengths.png")
    assert (tmp_path / "plots" / "lengths.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert [path.name for path in (tmp_path / "plots").iterdir()] == ["lengths.png"]


def test_plot_without_matplotlib_says_what_to_install(names, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    error = fail("info", *names, "--plot", tmp_path / "lengths.png")
    assert isinstance(error, UnavailableError)
    assert 'pip install "textgen-rnn[plots]"' in str(error)
    assert not (tmp_path / "lengths.png").exists()


def test_a_plot_that_cannot_be_written_is_an_error(names, tmp_path):
    pytest.importorskip("matplotlib")
    (tmp_path / "folder.png").mkdir()
    assert "folder.png cannot be written" in str(fail("info", *names, "--plot", tmp_path / "folder.png"))
    assert list(tmp_path.glob(".*")) == []


def test_plot_of_a_stream_or_with_another_suffix_is_refused(names, tmp_path):
    assert "lengths.svg.png" in str(fail("info", *names, "--plot", tmp_path / "lengths.svg"))
    assert "one stream" in str(fail("info", *names[:3], "--plot", tmp_path / "lengths.png"))


def test_fetch_prints_only_paths_on_stdout(names):
    assert succeed("fetch", *names) == names[2].removeprefix("corpus.path=") + "\n"
    result = run("fetch", "dinos-lite")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "does not read files" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (["info", "shakespear"], UnknownNameError, "did you mean shakespeare"),
        (["fetch", "agnews", "--set", "corpus.fields=title"], OptionError, "did you mean field"),
        (["info", "dinos-lite", "--set", "model.units=3"], OptionError, "model.NAME"),
        (["info", "file"], OptionError, "corpus.path is required"),
        (["info", "file", "--set", "corpus.path=nowhere.txt"], CorpusError, "nowhere.txt does not exist"),
        (["info", "dinos", "--data-dir", "nowhere"], OptionError, "data folder nowhere is not a folder"),
    ],
)
def test_a_mistake_of_the_user_is_a_one_line_error(arguments, error, says):
    caught = fail(*arguments)
    assert isinstance(caught, error)
    assert says in str(caught)


def test_show_prints_the_beginning_the_ids_and_an_example(tmp_path):
    path = tmp_path / "letters.txt"
    path.write_text("abcdefg" * 60, encoding="utf-8")
    options = ["--set", "training.length=5", "--set", "training.layout=windows", "--set", "training.shuffle=false"]
    lines = succeed("show", path, "--tokenizer", "string-lookup", *options).splitlines()
    assert lines[lines.index("first characters") + 1].startswith("abcdefgabcdefg")
    assert lines[lines.index("ids") + 1].startswith("1 2 3 4 5 6 7 1 2")
    assert lines[-3:] == ["one of 63 examples, in 1 batch per epoch", "input  'abcde'", "target 'bcdef'"]
    assert lines[lines.index("ids") + 1].endswith(" …")
    assert "no.txt" in str(fail("show", tmp_path / "no.txt"))


def test_a_text_too_short_for_a_batch_is_shown_with_the_reason_instead_of_an_example(tmp_path):
    path = tmp_path / "short.txt"
    path.write_text("abc", encoding="utf-8")
    lines = succeed("show", path).splitlines()
    assert lines[lines.index("first characters") + 1] == "abc"
    assert lines[lines.index("ids") + 1] == "0 1 2"
    assert lines[-2] == "no example"
    assert "needs 101" in lines[-1]
