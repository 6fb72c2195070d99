"""The corpus ``file``: the user's own text."""

import csv
import io
import json
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from textgen.errors import CorpusError, OptionError, TextgenError
from textgen.options import build_options
from textgen_corpora import reading
from textgen_corpora.file import File

characters = st.characters(codec="utf-8", exclude_characters="\0")
texts = st.text(characters, min_size=1).filter(str.strip)
lines = st.text(st.characters(codec="utf-8", exclude_characters="\0\n\r"), min_size=1).filter(str.strip)


def universal(text: str) -> str:
    r"""The text with ``\n`` for all line ends."""
    return io.StringIO(text, newline=None).read()


def corpus(path: Path, **options) -> File:
    return File(build_options(File.Options, {"path": str(path), **options}, where="corpus"))


def read(path: Path, **options) -> list[str]:
    return list(corpus(path, **options).documents())


@pytest.fixture
def write(tmp_path: Path):
    def write(content: bytes | str, name: str = "own.txt") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32-be"])
@given(text=texts.filter(lambda text: text[0] != "\ufeff"))
def test_any_text_can_be_a_stream(encoding, text):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "text")
        path.write_bytes(text.encode(encoding))
        assert "".join(read(path, encoding=encoding)) == universal(text)


@given(texts)
def test_a_byte_order_mark_is_dropped_once(text):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "text")
        path.write_bytes(text.encode("utf-8-sig"))
        for encoding in ("auto", "utf-8", "UTF8", "utf-8-sig"):
            assert "".join(read(path, encoding=encoding)) == universal(text)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@given(documents=st.lists(lines, min_size=1))
def test_lines_end_at_line_feeds_and_carriage_returns_only(end, documents):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "text")
        path.write_bytes(("\ufeff" + end.join(documents) + end).encode())
        assert read(path, layout="lines") == documents


@given(st.lists(texts, min_size=1))
def test_csv_written_by_the_standard_library_is_read_back(documents):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "text.csv")
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([["label", "body"], *[["x", document] for document in documents]])
        expected = [universal(document) for document in documents]
        assert read(path, column="body") == expected
        assert read(path, column="1") == ["body", *expected]


@pytest.mark.parametrize("ascii_only", [True, False])
@given(documents=st.lists(texts, min_size=1))
def test_jsonl_written_by_the_standard_library_is_read_back(ascii_only, documents):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "text.jsonl")
        rows = [json.dumps({"id": i, "text": text}, ensure_ascii=ascii_only) for i, text in enumerate(documents)]
        path.write_text("\n".join(rows), encoding="utf-8", newline="")
        assert read(path) == [universal(document) for document in documents]


@pytest.fixture(params=[1, 2, 3, 7])
def pieces(request, monkeypatch) -> None:
    """A few bytes at a time, so that characters and line ends are cut."""
    monkeypatch.setattr(reading, "PIECE", request.param)


in_pieces = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32-be"])
@given(text=texts.filter(lambda text: text[0] != "\ufeff"))
@in_pieces
def test_the_pieces_of_a_stream_do_not_cut_characters(encoding, text):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "text")
        path.write_bytes(text.encode(encoding))
        found = read(path, encoding=encoding)
    assert "".join(found) == universal(text)
    assert all(found)


@pytest.mark.usefixtures("pieces")
@given(document=st.text(st.sampled_from('ab,"\r\n\n')).filter(str.strip))
@in_pieces
def test_lines_and_rows_do_not_depend_on_the_pieces(document):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "text")
        path.write_bytes(document.encode())
        assert read(path, layout="lines") == [line for line in re.split("\r\n?|\n", document) if line.strip()]
        path.write_text('"' + document.replace('"', '""') + '",x\r\ny,z\n', newline="")
        assert read(path, format="csv", column="0", delimiter=",") == [universal(document), "y"]


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize(
    ("content", "options", "says"),
    [
        (b"\xef\xbb\xbf", {}, "empty"),
        (b" \n  \n    \n", {}, "empty"),
        ("äöü".encode() + b"ab\xff", {}, "not utf-8 text at byte 8;"),
        ("äöü€".encode()[:-1], {}, "not utf-8 text at byte 6;"),
        ("äöü".encode("utf-16") + b"\x00\xd8a", {"encoding": "utf-16"}, "not utf-16 text at byte 8;"),
        ("おはa\0".encode("shift-jis"), {"encoding": "shift-jis"}, "NUL at character 3;"),
        ("おは".encode("shift-jis")[:-1], {"encoding": "shift-jis"}, "not shift-jis text at byte 2;"),
        (b"\xef\xbb\xbfa\0", {}, "NUL at character 2;"),
        (b"a,text\n1,x\n2\n", {"format": "csv"}, "line 3 has 1 column,"),
    ],
)
def test_places_in_a_file_do_not_depend_on_the_pieces(write, content, options, says):
    with pytest.raises(CorpusError, match=re.escape(says)):
        read(write(content), **options)


@pytest.mark.usefixtures("pieces")
def test_a_blank_piece_of_a_stream_is_text(write):
    assert "".join(read(write("a          b"))) == "a          b"


def test_emoji_combining_marks_and_other_separators_are_unchanged(write):
    text = "👩\u200d🚀 e\u0301\r\nß\u2028İ\r\n"
    assert read(write(text)) == [text.replace("\r", "")]
    assert read(write(text), layout="lines") == ["👩\u200d🚀 e\u0301", "ß\u2028İ"]


def test_another_encoding_by_option(write):
    path = write("Gruß aus Köln".encode("latin-1"))
    assert read(path, encoding="latin-1") == ["Gruß aus Köln"]


def test_blank_lines_are_left_out(write):
    assert read(write("one\n\n  \n two \n"), layout="lines") == ["one", " two "]


@pytest.mark.parametrize(
    ("name", "options", "layout"),
    [
        ("own.txt", {}, "stream"),
        ("own", {"layout": "stream"}, "stream"),
        ("own.txt", {"layout": "lines"}, "documents"),
        ("own.CSV", {}, "documents"),
        ("own.jsonl", {}, "documents"),
        ("own.jsonl", {"format": "text"}, "stream"),
        ("own.dat", {"format": "csv"}, "documents"),
    ],
)
def test_layout_follows_format_and_option(name, options, layout):
    assert corpus(Path(name), **options).layout == layout


def test_format_option_overrules_the_suffix(write):
    assert read(write('{"text": "a"}\n', "own.csv"), format="jsonl") == ["a"]
    assert read(write("text,x\na,b\n", "own.txt"), format="csv") == ["a"]
    assert read(write("text,x\na,b\n", "own.csv"), format="text", layout="lines") == ["text,x", "a,b"]


def test_csv_rows_end_where_the_csv_module_says(write):
    path = write('text,label\r\n"two\nlines, ""quoted""",1\r\n\r\nlast,2', "own.csv")
    assert read(path) == ['two\nlines, "quoted"', "last"]


def test_a_home_folder_is_expanded(write, monkeypatch):
    monkeypatch.setenv("HOME", str(write("hello").parent))
    monkeypatch.setenv("USERPROFILE", str(write("hello").parent))
    assert read(Path("~/own.txt")) == ["hello"]


def test_provenance_names_the_file_but_not_its_folder(write):
    path = write("hello")
    assert corpus(path).fetch() == [path]
    (source,) = corpus(path).provenance().sources
    assert (source.file, source.addresses, source.sha256) == ("own.txt", (), None)


@pytest.mark.parametrize(
    ("content", "options", "says"),
    [
        ("", {}, "empty"),
        ("\ufeff", {}, "empty"),
        (" \n\n", {"layout": "lines"}, "empty"),
        ("", {"format": "csv"}, "empty"),
        ("text,label\n,1\n", {"format": "csv"}, "empty"),
        ("\n", {"format": "jsonl"}, "empty"),
        (b"\xef\xbb\xbfab\xff", {}, "not utf-8 text at byte 5"),
        ("öl", {"encoding": "ascii"}, "not ascii text at byte 0"),
        (b"PK\0\1", {"encoding": "latin-1"}, "NUL at character 2"),
        ("abc".encode("utf-16-le"), {}, "NUL at character 1"),
        ("title,txt\na,b\n", {"format": "csv"}, "no column 'text' in its first row; did you mean txt"),
        ("a,b\n", {"format": "csv", "column": "2"}, "line 1 has 2 columns"),
        ("a,text\n1,x\n2\n", {"format": "csv"}, "line 3 has 1 column,"),
        ('text\n"never closed\n', {"format": "csv"}, "line 2: unexpected end of data"),
        ("[" * 100_000, {"format": "jsonl"}, "line 1 is not JSON"),
        ('{"text": "a"}\n{"text": \n', {"format": "jsonl"}, "line 2 is not JSON"),
        ('{"text": "a"}\n\n["text"]\n', {"format": "jsonl"}, "line 3 is not a JSON object"),
        ('{"texts": "a"}\n', {"format": "jsonl"}, "line 1 has no key 'text'; did you mean texts"),
        ('{"text": "a"}\n', {"format": "jsonl", "column": 3}, "no key '3'"),
        ('{"text": null}\n', {"format": "jsonl"}, "line 1: the value of 'text' is not a string"),
        ('{"text": "\\ud83d"}\n', {"format": "jsonl"}, "line 1: the value of 'text' contains half of a surrogate pair"),
    ],
)
def test_an_unreadable_file_is_reported_on_one_line(write, content, options, says):
    path = write(content)
    with pytest.raises(CorpusError) as caught:
        read(path, **options)
    message = str(caught.value)
    assert says in message
    assert str(path) in message
    assert "\n" not in message


def test_a_path_that_does_not_exist(tmp_path):
    with pytest.raises(CorpusError, match=r"missing.txt does not exist; check the path"):
        read(tmp_path / "missing.txt")
    with pytest.raises(CorpusError, match=r"missing.txt is not a file; check the path"):
        corpus(tmp_path / "missing.txt").fetch()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, r"corpus\.path is required"),
        ({"path": "a.txt", "encoding": "utf-9"}, "unknown encoding"),
        ({"path": "a.txt", "encoding": "hex"}, "unknown encoding"),
        ({"path": "a.txt", "column": "text"}, "no columns"),
        ({"path": "a.csv", "layout": "stream"}, "csv has documents"),
        ({"path": "a.txt", "layout": "words"}, "layout"),
    ],
)
def test_conflicting_options_are_errors(options, says):
    with pytest.raises(OptionError, match=says) as caught:
        build_options(File.Options, options, where="corpus")
    assert isinstance(caught.value, TextgenError)
    assert "\n" not in str(caught.value)


def test_a_cell_may_be_a_book(write):
    book = "one, two\n" * 50_000
    assert read(write(f'text\n"{book}"\n', "books.csv")) == [book]


def test_a_file_that_was_moved_is_found_in_the_data_folder(write, tmp_path):
    write("moved", "own.txt")
    options = build_options(File.Options, {"path": "/nowhere/own.txt"}, where="corpus")
    assert list(File(options, tmp_path).documents()) == ["moved"]
    assert File(options, tmp_path).settled_options.path == tmp_path / "own.txt"
    with pytest.raises(CorpusError, match=r"/nowhere/own.txt does not exist"):
        list(File(options).documents())
