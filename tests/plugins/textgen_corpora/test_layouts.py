"""Lines, paragraphs, files, and streams of several files."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.errors import CorpusError, OptionError
from textgen.options import build_options
from textgen_corpora.file import File
from textgen_corpora.text_files.layouts import has_short_lines, joined, split_lines, split_paragraphs

pieces_of_text = st.lists(st.text(st.sampled_from("ab \n\u2028\x0b")))


def corpus(path: object, **options: object) -> File:
    return File(build_options(File.Options, {"path": path, **options}, where="corpus"))


def read(path: object, **options: object) -> list[str]:
    return list(corpus(path, **options).documents())


@given(pieces_of_text)
def test_lines_are_those_of_str_split(pieces):
    assert list(split_lines(pieces)) == "".join(pieces).split("\n")


@given(pieces_of_text)
def test_paragraphs_are_what_blank_lines_leave(pieces):
    lines = [line if line.strip() else "" for line in "".join(pieces).split("\n")]
    expected = [paragraph for paragraph in re.split(r"\n\n+", "\n".join(lines).strip("\n")) if paragraph]
    assert list(split_paragraphs(pieces)) == expected


@given(st.lists(st.lists(st.text(st.sampled_from("ab\n"), min_size=1))))
def test_each_text_of_a_stream_begins_on_a_new_line(files):
    texts = ["".join(pieces) for pieces in files if pieces]
    expected = "".join(text if text.endswith("\n") else text + "\n" for text in texts[:-1]) + "".join(texts[-1:])
    assert "".join(joined(files)) == expected


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_paragraphs_keep_their_lines(tmp_path, end):
    path = tmp_path / "poems.txt"
    path.write_bytes(end.join(["", "One", " line", "", "", "Two", "", " ", "Three", ""]).encode())
    assert read(path, layout="paragraphs") == ["One\n line", "Two", "Three"]
    assert corpus(path, layout="paragraphs").layout == "documents"
    assert read(path, layout="lines") == ["One", " line", "Two", "Three"]
    assert "".join(read(path)) == "\nOne\n line\n\n\nTwo\n\n \nThree\n"


def test_each_file_can_be_a_document(tmp_path):
    (tmp_path / "b.txt").write_text("two\nlines\n")
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "c.txt").write_text(" \n")
    assert read(tmp_path, layout="files") == ["one", "two\nlines"]


def names(count: int) -> str:
    return "".join(f"Name {number}\n" for number in range(count))


@pytest.mark.parametrize(
    ("text", "is_list"),
    [
        (names(50), True),
        (names(49), False),
        (names(200) + "\n", True),
        ("\n".join([*names(100).splitlines(), "long " * 100]), True),
        ((names(4) + "\n") * 30, False),
        ("a line of prose that is as long as lines of prose are when nobody has wrapped them at all\n" * 99, False),
        ("", False),
    ],
)
def test_many_short_lines_are_a_list(text, is_list):
    assert has_short_lines(text) is is_list


def test_a_stream_of_many_short_lines_gets_a_notice_with_a_command(tmp_path, capsys):
    path = tmp_path / "all names.txt"
    path.write_text(names(60))
    read(path)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"textgen train '{path}' --set corpus.layout=lines")
    read(path, layout="stream")
    read(path, layout="lines")
    assert capsys.readouterr().err == ""
    assert corpus(path).settled_options.layout == "stream"


def test_plays_get_no_notice(data_dir, capsys):
    read(data_dir / "shakespeare.txt")
    assert capsys.readouterr().err == ""


def test_normal_form_by_option(tmp_path):
    path = tmp_path / "accents.txt"
    path.write_text("e\u0301 and é\n", encoding="utf-8")
    assert read(path) == ["e\u0301 and é\n"]
    assert corpus(path).normalization is None
    assert "".join(read(path, normalize="nfc")) == "é and é\n"
    assert corpus(path, normalize="nfc").normalization == "NFC"
    assert corpus(path, normalize="none").normalization is None
    assert read(path, normalize="nfc", layout="lines") == ["é and é"]


@pytest.mark.parametrize("layout", ["auto", "stream"])
def test_a_stream_has_no_labels(tmp_path, layout):
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(OptionError, match="label is for documents, not for a stream; set layout to lines, paragraphs"):
        read(tmp_path / "a.txt", label="filename", layout=layout)
    with pytest.raises(OptionError, match="label is for documents, not for a stream"):
        read(tmp_path, label="folder", layout=layout)


def test_files_and_folders_label_their_documents(tmp_path):
    for name, text in {"good/one.txt": "fine\nwell\n", "bad/two.csv.txt": "poor\n"}.items():
        path = tmp_path / name
        path.parent.mkdir()
        path.write_text(text)
    by_file = corpus(tmp_path, layout="lines", label="filename")
    assert by_file.is_labelled
    assert list(by_file.labelled_documents()) == [("two.csv", "poor"), ("one", "fine"), ("one", "well")]
    by_folder = corpus(tmp_path, layout="lines", label="folder")
    assert list(by_folder.labelled_documents()) == [("bad", "poor"), ("good", "fine"), ("good", "well")]
    assert list(by_folder.documents()) == ["poor", "fine", "well"]
    assert not corpus(tmp_path, layout="lines").is_labelled


def test_labels_are_as_users_type_them(tmp_path):
    (tmp_path / "Cafe\u0301.txt").write_text("one")
    assert list(corpus(tmp_path, layout="lines", label="filename").labelled_documents()) == [("Café", "one")]


def test_a_folder_without_text(tmp_path):
    with pytest.raises(CorpusError, match="has no text files"):
        read(tmp_path)
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    with pytest.raises(CorpusError, match="has no text files"):
        read(tmp_path)
