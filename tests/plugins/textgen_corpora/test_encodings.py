"""Encodings: recognised by a mark, named by option, guessed for advice. Every command of advice is run."""

import codecs
import re
import shlex
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.errors import CorpusError, OptionError
from textgen.options import build_options, parse_settings
from textgen_corpora.file import File
from textgen_corpora.text_files.encodings import guess


def corpus(path: object, **options: object) -> File:
    return File(build_options(File.Options, {"path": path, **options}, where="corpus"))


def read(path: object, **options: object) -> str:
    return "".join(corpus(path, **options).documents())


def follow(message: str) -> str:
    """The text that the command in an error message reads."""
    command = shlex.split(message.partition("textgen train ")[2])
    words = list(pairwise(["", *command]))
    assignments = [word for before, word in words if before == "--set"]
    paths = [word for before, word in words if "--set" not in (before, word)]
    return read(paths, **parse_settings(assignments)["corpus"])


MARKED = {
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}


@pytest.mark.parametrize("encoding", MARKED)
def test_a_mark_tells_the_encoding(tmp_path, capsys, encoding):
    path = tmp_path / f"{encoding}.txt"
    path.write_bytes(MARKED[encoding] + "Grüße\n".encode(encoding))
    own = corpus(path)
    assert list(own.documents()) == ["Grüße\n"]
    general = encoding.removesuffix("-le").removesuffix("-be")
    assert own.settled_options.encoding == general
    said = capsys.readouterr().err
    assert said == ("" if encoding == "utf-8" else f"textgen: {path}: read as {general} text\n")


@pytest.mark.parametrize("encoding", MARKED)
def test_a_mark_is_no_character_even_if_the_encoding_is_named(tmp_path, encoding):
    path = tmp_path / "a.txt"
    path.write_bytes(MARKED[encoding] + b"" + "ab\n".encode(encoding))
    assert read(path, encoding=encoding) == "ab\n"


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "ascii", "utf-8", "utf-8-sig"])
def test_the_mark_of_utf_8_is_no_character_in_any_encoding(tmp_path, encoding):
    path = tmp_path / "a.txt"
    path.write_bytes(codecs.BOM_UTF8 + b"ab\n")
    assert read(path, encoding=encoding) == "ab\n"


def test_every_file_may_have_its_mark_and_encoding(tmp_path, capsys):
    for number, (encoding, mark) in enumerate(MARKED.items()):
        (tmp_path / f"{number}.txt").write_bytes(mark + f"{encoding} ä\n".encode(encoding))
    assert read(tmp_path) == "".join(f"{encoding} ä\n" for encoding in MARKED)
    assert corpus(tmp_path).settled_options.encoding == "auto"
    assert capsys.readouterr().err.count("and 1 more: read as") == 2


def test_a_mark_is_not_part_of_a_header(tmp_path):
    for encoding in ("utf-8-sig", "utf-16"):
        (tmp_path / "a.csv").write_text('"text","n"\none,1\n', encoding=encoding)
        assert read(tmp_path / "a.csv") == "one"
        (tmp_path / "a.jsonl").write_text('{"text": "one"}\n', encoding=encoding)
        assert read(tmp_path / "a.jsonl") == "one"
        (tmp_path / "a.json").write_text('["one"]\n', encoding=encoding)
        assert read(tmp_path / "a.json") == "one"


@pytest.mark.parametrize(
    ("content", "advice", "text"),
    [
        ("Größe\n".encode("latin-1"), "encoding=latin-1", "Größe\n"),
        ("5 € – “gut”\n".encode("cp1252"), "encoding=cp1252", "5 € – “gut”\n"),
        (b"5 \x80 \x81 \xe9\n", "encoding=latin-1", "5 \x80 \x81 é\n"),
        ("Grüße aus Köln\n".encode("utf-16-le"), "encoding=utf-16-le", "Grüße aus Köln\n"),
        ("Grüße aus Köln\n".encode("utf-16-be"), "encoding=utf-16-be", "Grüße aus Köln\n"),
        ("Он сказал: да\n".encode("utf-16-le"), "encoding=utf-16-le", "Он сказал: да\n"),
        (b"one\0 two three\n", "drop_nul=true", "one two three\n"),
        (b"one\0two three\n", "drop_nul=true", "onetwo three\n"),
        (b"a\0b\n", "drop_nul=true", "ab\n"),
        ("Grö\0ße und so weiter\n".encode("latin-1"), "drop_nul=true", "Größe und so weiter\n"),
        (codecs.BOM_UTF8 + b"caf\xe9\n", "encoding=latin-1", "café\n"),
        (codecs.BOM_UTF16_LE + b"a\0b", "encoding=latin-1", None),
    ],
)
@pytest.mark.parametrize("name", ["own.txt", "my own 'text'.txt"])
def test_the_advice_about_an_encoding_works(tmp_path, content, advice, text, name):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(CorpusError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path} is not utf-")
    assert f"--set corpus.{advice}" in message
    assert "\n" not in message
    followed = follow(message)
    assert text is None or followed == text


@given(st.binary(min_size=1))
def test_the_guess_decodes_anything(content):
    encoding, has_nul = guess(lambda: iter([content[:3], content[3:], b""]))
    assert ("\0" in content.decode(encoding)) is has_nul


@pytest.mark.parametrize("encoding", ["ascii", "utf-16", "euc-kr", "utf-8"])
def test_a_wrong_encoding_is_advised_on(tmp_path, encoding):
    path = tmp_path / "a.txt"
    path.write_bytes(("Grüße!\n" if encoding != "utf-8" else "x").encode("utf-8" if encoding != "utf-8" else "utf-16"))
    with pytest.raises(CorpusError) as caught:
        read(path, encoding=encoding)
    assert follow(str(caught.value))


def test_the_advice_keeps_the_other_options(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("id;name\n1;Größe\n".encode("latin-1"))
    with pytest.raises(CorpusError) as caught:
        read(path, column="name", delimiter=";", normalize="nfc")
    assert re.search(r"--set corpus.column=name .*'corpus.delimiter=;'.*--set corpus.normalize=nfc", str(caught.value))
    assert follow(str(caught.value)) == "Größe"


def test_tables_as_excel_exports_them(tmp_path, capsys):
    for name, encoding, delimiter in [
        ("german.csv", "cp1252", ";"),
        ("utf8.csv", "utf-8-sig", ";"),
        ("unicode.csv", "utf-16", "\t"),
    ]:
        path = tmp_path / name
        rows = [("Nr", "text"), ("1", "Größe: 5 €"), ("2", '"zwei, drei"')]
        path.write_bytes("".join(f"{a}{delimiter}{b}\r\n" for a, b in rows).encode(encoding))
        option = {"encoding": "cp1252"} if encoding == "cp1252" else {}
        own = corpus(path, **option)
        assert list(own.documents()) == ["Größe: 5 €", "zwei, drei"]
        assert own.settled_options.delimiter == delimiter
        shown = "tab" if delimiter == "\t" else delimiter
        assert f"textgen: {path}: read with the delimiter {shown}\n" in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["utf-9", "hex", "zip", ""])
def test_an_unknown_encoding(encoding):
    with pytest.raises(OptionError, match="unknown encoding; there are utf-8"):
        corpus("a.txt", encoding=encoding)
