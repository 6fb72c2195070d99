"""Which files a path stands for: several, patterns, folders, gzip, standard input and pipes."""

import errno
import glob
import gzip
import hashlib
import io
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest

from textgen.errors import CorpusError, OptionError, UnavailableError
from textgen.options import build_options
from textgen_corpora.file import File
from textgen_corpora.text_files import paths


def corpus(path: object, data_dir: Path | None = None, **options: object) -> File:
    return File(build_options(File.Options, {"path": path, **options}, where="corpus"), data_dir)


def text(path: object, **options: object) -> str:
    return "".join(corpus(path, None, **options).documents())


def settled_path(own: File) -> Path:
    path = own.settled_options.path
    assert isinstance(path, Path)
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory, with texts in folders, a hidden file and a picture."""
    here = tmp_path / "here"
    files = {
        "b.txt": b"b\n",
        "a.txt": b"a",
        "10.txt": b"10\n",
        "more/c.txt": b"c\n",
        "more/.hidden/d.txt": b"d\n",
        ".DS_Store": b"e\n",
        "picture.png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    }
    for name, content in files.items():
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_bytes(content)
    monkeypatch.chdir(here)
    return here


def test_several_files_in_their_order_each_on_a_new_line(folder):
    assert text(["b.txt", "a.txt", "more/c.txt"]) == "b\na\nc\n"
    assert text(("a.txt", Path("b.txt"))) == "a\nb\n"
    assert text(["a.txt"]) == "a"


def test_a_file_that_is_named_twice_is_read_once(folder):
    assert text(["b.txt", "*.txt", folder / "b.txt"]) == "b\n10\na"


def test_a_pattern_is_its_matches_sorted_by_name(folder):
    assert text("*.txt") == "10\na\nb\n"
    assert text("**/c*.txt") == "c\n"
    assert text("[ab].txt") == "a\nb\n"
    (folder / "[ab].txt").write_text("itself")
    assert text("[ab].txt") == "itself"
    (folder / "zoo").mkdir()
    for pattern in ("z*.txt", "z*"):
        with pytest.raises(CorpusError, match=f"no file matches {re.escape(pattern)}; check the pattern"):
            text(pattern)


def test_a_folder_is_its_text_files_and_those_of_its_folders(folder, capsys):
    assert text(".") == text(str(folder)) == "10\na\nb\nc\n"
    said = capsys.readouterr().err.splitlines()
    assert "textgen: .: 1 file is left out as not text, such as picture.png" in said
    assert [file.name for file in corpus(".").fetch()] == ["10.txt", "a.txt", "b.txt", "c.txt"]
    assert [source.file for source in corpus(".").provenance().sources] == ["10.txt", "a.txt", "b.txt", "c.txt"]


def test_utf_16_files_of_a_folder_are_text(tmp_path):
    (tmp_path / "a.txt").write_bytes("ab\n".encode("utf-16"))
    assert text(tmp_path) == "ab\n"


def test_the_settled_path_is_the_list_of_files(folder):
    settled = json.loads(json.dumps(corpus("*.txt").settled_options.model_dump(mode="json")))
    assert settled["path"] == [str(folder / name) for name in ("10.txt", "a.txt", "b.txt")]
    before = text("*.txt")
    (folder / "aa.txt").write_text("new")
    again = build_options(File.Options, settled, where="corpus")
    assert "".join(File(again).documents()) == before
    assert corpus("more").settled_options.path == folder / "more" / "c.txt"


def test_formats_follow_each_suffix_and_do_not_mix_with_text(folder):
    (folder / "t").mkdir()
    (folder / "t" / "x.csv").write_text("text\none\n")
    (folder / "t" / "y.jsonl").write_text('{"text": "two"}\n')
    assert list(corpus("t").documents()) == ["one", "two"]
    assert corpus("t").layout == "documents"
    with pytest.raises(OptionError, match=r"text and csv files cannot be one corpus.*set format"):
        text(["t/x.csv", "a.txt"])
    with pytest.raises(OptionError, match=r"text and csv and jsonl files cannot be one corpus.*10\.txt"):
        text(".")
    assert text(["t/x.csv", "a.txt"], format="text") == "text\none\na"


@pytest.mark.parametrize("path", ["t", "t/*", "t/**", "~/t"])
def test_files_of_folders_and_patterns_decide_the_format(folder, monkeypatch, path):
    monkeypatch.setenv("HOME", str(folder))
    (folder / "t").mkdir()
    (folder / "t" / "x.csv").write_text("class,title\na,one\n")
    own = corpus(path, column="title", label="class")
    assert own.layout == "documents"
    assert list(own.labelled_documents()) == [("a", "one")]
    with pytest.raises(OptionError, match=r"csv has documents.*x\.csv"):
        text(path, layout="stream")


@pytest.mark.parametrize("path", ["", [], [""], ["a.txt", ""]])
def test_a_path_must_name_something(path):
    with pytest.raises(OptionError, match=r"corpus\.path: name a file, a folder or a pattern"):
        corpus(path)


def test_gzip_is_recognised_by_its_content(tmp_path):
    (tmp_path / "titles.csv.gz").write_bytes(gzip.compress(b"id,text\n1,one\n2,two\n"))
    assert list(corpus(tmp_path / "titles.csv.gz").documents()) == ["one", "two"]
    assert corpus(tmp_path / "titles.csv.gz").settled_options.format == "csv"
    (tmp_path / "plain.txt").write_bytes(gzip.compress("é".encode("utf-16")))
    assert text(tmp_path / "plain.txt") == "é"
    assert text(tmp_path / "plain.txt", normalize="nfc") == "é"


def test_a_damaged_gzip_file_is_named(tmp_path):
    whole = gzip.compress(os.urandom(5000))
    for name, content in {"cut.gz": whole[:-20], "bad.gz": whole[:40] + b"xxxx" + whole[44:]}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CorpusError, match=f"{name} is compressed with gzip, but is cut short or damaged"):
            text(tmp_path / name, encoding="latin-1", drop_nul=True)


@pytest.mark.parametrize(
    ("magic", "kind"), [(b"PK\x03\x04", "ZIP archive"), (b"%PDF-1.4", "PDF"), (b"BZh9", "bzip2"), (b"PAR1", "Parquet")]
)
def test_files_of_other_programs_are_named(tmp_path, magic, kind):
    (tmp_path / "book").write_bytes(magic + b"....")
    with pytest.raises(CorpusError, match=f"book is .*{kind}.*; save its text as a file of plain text"):
        text(tmp_path / "book")


@pytest.fixture
def stdin(monkeypatch) -> Callable[[bytes], None]:
    def give(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content), isatty=lambda: False))

    return give


def test_standard_input_is_kept_by_its_hash(stdin, cache_dir):
    stdin(b"hello\n")
    own = corpus("-")
    assert "".join(own.documents()) == "".join(own.documents()) == "hello\n"
    kept = cache_dir / "texts" / (hashlib.sha256(b"hello\n").hexdigest() + ".txt")
    assert own.settled_options.path == kept
    assert kept.read_bytes() == b"hello\n"
    assert own.fetch() == [kept]
    assert list(kept.parent.iterdir()) == [kept]


def test_standard_input_may_be_a_table_or_compressed(stdin):
    stdin(gzip.compress(b'{"text": "one"}\n'))
    own = corpus("-", format="jsonl")
    assert own.layout == "documents"
    assert list(own.documents()) == ["one"]
    assert settled_path(own).suffix == ".jsonl"


def test_errors_of_standard_input_name_it_and_advise_on_its_copy(stdin):
    stdin(b"")
    with pytest.raises(CorpusError, match="standard input has no text"):
        text("-")
    stdin(b"caf\xe9")
    with pytest.raises(CorpusError, match=r"standard input is not utf-8 text at byte 3.*textgen train \S+\.txt --"):
        text("-")


def test_pipes_are_kept_too(tmp_path, cache_dir):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = Thread(target=lambda: pipe.write_bytes(b"through a pipe\n"))
    writer.start()
    own = corpus(pipe)
    assert "".join(own.documents()) == "".join(own.documents()) == "through a pipe\n"
    writer.join()
    assert settled_path(own).parent == cache_dir / "texts"


def test_files_that_a_process_opened_are_kept(tmp_path, cache_dir):
    with (tmp_path / "file").open("w+") as file:
        file.write("words\n")
        file.flush()
        file.seek(0)
        own = corpus(f"/dev/fd/{file.fileno()}")
        assert "".join(own.documents()) == "words\n"
    assert settled_path(own).parent == cache_dir / "texts"


def test_a_device_is_an_error():
    with pytest.raises(CorpusError, match="/dev/zero is a device; name a file or a pipe"):
        text("/dev/zero")


def test_a_copy_that_is_gone_is_reported(stdin, cache_dir):
    stdin(b"hello\n")
    own = corpus("-")
    settled = settled_path(own)
    settled.unlink()
    with pytest.raises(CorpusError, match="the copy of a text that had no file, does not exist; put it back"):
        text(settled)


def test_standard_input_that_cannot_be_read_is_not_blamed_on_the_cache(monkeypatch, cache_dir):
    def fail(size: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    broken = SimpleNamespace(buffer=SimpleNamespace(read=fail), isatty=lambda: False)
    monkeypatch.setattr(sys, "stdin", broken)
    with pytest.raises(CorpusError, match=r"^standard input cannot be read: Input/output error$"):
        text("-")
    assert list((cache_dir / "texts").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_reported(stdin, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TEXTGEN_CACHE_DIR", str(tmp_path / "file"))
    stdin(b"hello\n")
    with pytest.raises(UnavailableError, match=r"cannot be kept in .*; free some space or grant access, or set "):
        text("-")


def test_every_moved_file_is_found_in_the_data_folder(folder, tmp_path):
    own = corpus(["/nowhere/b.txt", "/nowhere/a.txt"], folder)
    assert "".join(own.documents()) == "b\na"
    assert own.settled_options.path == (folder / "b.txt", folder / "a.txt")


@pytest.mark.parametrize("given", [b"\xff.txt", b"sub", b"sub/*", b"*.txt", b"\xfe/a.txt", b"\xfe"])
def test_a_name_that_is_not_utf_8_is_told(tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    for name in (b"\xff.txt", b"sub/\xff.txt", b"\xfe/a.txt"):
        path = Path(os.fsdecode(name))
        path.parent.mkdir(exist_ok=True)
        path.write_text("some text\n")
    with pytest.raises(CorpusError, match=r"\\xf[ef].* has a name that is not UTF-8; rename it$"):
        text(os.fsdecode(given))
    Path("\u00e9.txt").write_text("é")
    assert text("\u00e9.txt") == "é"


def test_a_pattern_or_folder_that_stands_for_too_much_is_refused(folder, monkeypatch):
    monkeypatch.setattr(paths, "MOST_ENTRIES", 6)
    for path in (folder, "**/*.txt", folder / "**" / "zzz*"):
        with pytest.raises(CorpusError, match=r"stands for too much: more than 6 files and folders would be looked at"):
            text(path)
    assert text("more/*.txt") == "c\n"


@pytest.mark.skipif(sys.platform != "linux", reason="the folders are those of Linux")
def test_folders_of_the_system_are_not_searched(monkeypatch):
    searched: list[str] = []
    scandir = os.scandir

    def spy(folder: str) -> object:
        searched.append(folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", spy)
    monkeypatch.setattr(paths, "MOST_ENTRIES", 1000)
    for pattern in ("/[dps]*/self/zzz*", "/[ps]*/**/zzz*"):
        with pytest.raises(CorpusError, match=r"no file matches|stands for too much"):
            text(pattern)
    assert "/" in searched
    assert not [each for each in searched if each.startswith(("/proc", "/sys", "/dev"))]


def test_patterns_match_as_in_python(folder, monkeypatch):
    (folder / "link").symlink_to(folder / "more")
    (folder / "[odd]").mkdir()
    (folder / "[odd]" / "e.txt").write_text("e")
    for pattern in ("*", "**", "**/*.txt", "*/*", "*/c.txt", "[ab].txt", "?0.txt", ".*", "more/.*/*", "[[]odd]/*"):
        for given in (pattern, str(folder / pattern)):
            own = Path(given)
            found = paths._Search(own).matches(own.anchor, own.relative_to(own.anchor).parts)
            expected = {str(Path(each)) for each in glob.glob(str(own), recursive=True)}
            assert {str(Path(each)) for each in found} - {"."} == expected - {"."}


def test_standard_input_that_is_closed_is_told(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(CorpusError, match="standard input is closed; name a file or a pipe"):
        text("-")


def test_a_file_whose_name_is_that_of_standard_input(folder, stdin):
    (folder / "-").write_text("a file")
    stdin(b"stdin")
    for path in ("./-", ["./-"], ".//-", folder / "-"):
        assert text(path) == "a file"
        assert settled_path(corpus(path)) == folder / "-"
    assert text(["-", "./-"]) == "stdin\na file"


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (b"text;n\na b;1\nc d;2\n", "--set corpus.format=csv"),
        (b"id,title\n1,a b\n2,c d\n", "--set corpus.format=csv --set corpus.column=title"),
        (b"1\ta b\n2\tc d\n3\te f\n", "--set corpus.format=csv --set corpus.column=1"),
        (b'{"text": "a b", "n": 1}\n{"text": "c d", "n": 2}\n{"text": "e", "n": 3}\n', "--set corpus.format=jsonl"),
        (b'{"title": "a b"}\n', "--set corpus.format=jsonl --set corpus.column=title"),
        (b"One line, and\nanother\none, more\n", ""),
        (b"a,b\n1,2\n", ""),
        (b'"a"b;c\n"a"b;c\n"a"b;c\n', ""),
    ],
)
def test_a_table_from_standard_input_is_told(stdin, capsys, content, advice):
    stdin(content)
    own = corpus("-")
    assert "".join(own.documents()) == content.decode()
    command = f"textgen train {settled_path(own)} {advice}"
    told = f"textgen: standard input is read as one long text; if it is a table: {command}\n"
    said = capsys.readouterr().err
    assert said == (told if advice else "")
    if advice:
        options = dict(each.removeprefix("corpus.").split("=") for each in advice.split() if each != "--set")
        assert "a b" in list(corpus(settled_path(own), **options).documents())


def test_a_table_from_standard_input_beside_other_texts_is_text(stdin, folder, capsys):
    stdin(b"id,title\n1,a b\n2,c d\n")
    assert text(["-", "a.txt"]) == "id,title\n1,a b\n2,c d\na"
    assert capsys.readouterr().err == ""
