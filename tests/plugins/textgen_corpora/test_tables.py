"""CSV and its relatives, JSON and JSONL: columns, delimiters, bad rows, labels."""

import csv
import io
import json
import re
import shlex
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.errors import CorpusError, OptionError
from textgen.options import build_options
from textgen_corpora import reading
from textgen_corpora.file import File
from textgen_corpora.tables.delimited import Dialect, read_rows, sniff_delimiter
from textgen_corpora.tables.json_rows import read_values


def corpus(path: object, **options: object) -> File:
    return File(build_options(File.Options, {"path": path, **options}, where="corpus"))


def read(path: object, **options: object) -> list[str]:
    return list(corpus(path, **options).documents())


def labelled(path: object, **options: object) -> list[tuple[str, str]]:
    return list(corpus(path, **options).labelled_documents())


@pytest.fixture
def write(tmp_path):
    def write(name: str, content: str):
        path = tmp_path / name
        path.write_text(content, encoding="utf-8", newline="")
        return path

    return write


cells = st.text(st.sampled_from("ab ,;\t|\"'\\\n\u2028")).filter(str.strip)
tables = st.integers(2, 4).flatmap(lambda width: st.lists(st.lists(cells, min_size=width, max_size=width), min_size=1))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@given(table=tables)
def test_rows_are_those_of_the_csv_module(delimiter, end, table):
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, lineterminator=end).writerows(table)
    text = file.getvalue().replace("\r\n", "\n")
    rows = list(read_rows([text[:7], text[7:]], Dialect(delimiter)))
    assert [row.value for row in rows] == table
    lines = text.split("\n")
    assert [row.source for row in rows] == [lines[row.line - 1] + "\n" for row in rows]


@given(table=tables, escape=st.sampled_from("\\^"))
def test_escapes_and_no_quotes_are_those_of_the_csv_module(table, escape):
    file = io.StringIO()
    csv.writer(file, quoting=csv.QUOTE_NONE, escapechar=escape, lineterminator="\n").writerows(table)
    assert [row.value for row in read_rows([file.getvalue()], Dialect(",", None, escape))] == table


@given(st.text(st.sampled_from('ab,"\n')))
def test_any_text_is_rows_or_faults(text):
    for row in read_rows([text], Dialect()):
        assert (row.value is None) is (row.fault is not None)
        assert row.source == text.split("\n")[row.line - 1] + "\n"


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@given(words=st.lists(st.text(st.sampled_from("ab ."), min_size=1), min_size=2), width=st.integers(2, 4))
def test_the_delimiter_is_recognised(delimiter, words, width):
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter).writerows([[word] * width for word in words])
    assert sniff_delimiter(file.getvalue(), Dialect(), []) == delimiter


@pytest.mark.parametrize(
    ("name", "content", "delimiter"),
    [
        ("a.csv", "id,text\n1,one; two\n2,three; four\n", ","),
        ("a.csv", "id;text\n1;one, two\n2;three, four\n", ";"),
        ("a.csv", "text;id\nHello, you;1\nHello, and you;2\n", ";"),
        ("a.csv", "id|text\n1|one, two\n", "|"),
        ("a.csv", "id\ttext\n1\tone, two\n", "\t"),
        ("a.csv", 'id;text\n1;"one\ntwo; three"\n2;x\n', ";"),
        ("a.csv", "sep=;\r\nid;text\r\n1;one\r\n", ";"),
        ("a.csv", "text\none\n", ","),
        ("a.tsv", "id\ttext\n1\tone, two\n", "\t"),
        ("a.tab", "text\none\n", "\t"),
        ("a.tsv", "id,text\n1,one\n", ","),
        ("a.TSV", "id\ttext\n1\tone\n", "\t"),
    ],
)
def test_what_delimiter_is_said_and_settled(write, capsys, name, content, delimiter):
    path = write(name, content)
    own = corpus(path)
    assert read(path)
    assert own.settled_options.delimiter == delimiter
    usual = "," if name.endswith(".csv") else "\t"
    shown = "tab" if delimiter == "\t" else delimiter
    said = "" if delimiter == usual else f"textgen: {path}: read with the delimiter {shown}\n"
    assert capsys.readouterr().err == said
    assert corpus(path, **own.settled_options.model_dump(exclude={"path"})).settled_options.delimiter == delimiter


@pytest.mark.parametrize("spelled", ["tab", "\\t", "\t"])
def test_delimiter_quote_and_escape_by_option(write, spelled):
    path = write("a.csv", "id\ttext\n1\t'one\ttwo'\n")
    assert read(path, delimiter=spelled, quote="'") == ["one\ttwo"]
    assert read(write("b.csv", 'id,text\n1,"say \\"hi\\", you"\n'), escape="\\") == ['say "hi", you']
    assert read(write("c.tsv", 'text\tid\n"So begins\t1\n'), quote="none") == ['"So begins']


BAD = 'id,text\n1,one\n2,"two" and more\n3,three\n4\n5,five,more\n6,"never closed\n7,seven\n'


def test_a_bad_row_is_shown_with_its_line_and_the_option(write):
    path = write("a.csv", BAD)
    with pytest.raises(CorpusError) as caught:
        read(path)
    assert str(caught.value) == (
        f"{path}, line 3: ',' expected after '\"', in the row '2,\"two\" and more'; correct it, or leave such rows "
        f"out: textgen train {path} --set corpus.on_bad_row=skip"
    )


def test_bad_rows_are_skipped_and_counted_on_request(write, capsys):
    path = write("a.csv", BAD)
    own = corpus(path, on_bad_row="skip")
    assert list(own.documents()) == list(own.documents()) == ["one", "three", "seven"]
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"textgen: 4 bad rows are left out; the first: {path}, line 3: ")
    assert own.findings == {"bad_rows": 4}
    assert corpus(path).findings == {}


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("a.csv", "id,text\n1,one\n2\n", ", line 3 has 1 column, but the first row has 2, in the row '2'"),
        (
            "a.csv",
            "id,text\n1,one, two\n2,b\n",
            ", line 2 has 3 columns, but the first row has 2, in the row '1,one, two'",
        ),
        (
            "a.jsonl",
            '{"text": "a"}\n{"text": null}\n',
            ", line 2: the value of 'text' is not a string or number, but",
        ),
        (
            "a.jsonl",
            '{"text": NaN}\n{"text": "b"}\n',
            ", line 1: the value of 'text' is not a string or number, but null",
        ),
        (
            "a.jsonl",
            '{"text": ["a"]}\n{"text": "b"}\n',
            ", line 1: the value of 'text' is not a string or number, but an array",
        ),
        (
            "a.jsonl",
            '{"text": true}\n{"text": "b"}\n',
            ", line 1: the value of 'text' is not a string or number, but true or false",
        ),
        ("a.ndjson", '{"text": "a"}\nno\n', ", line 2 is not JSON: "),
        ("a.jsonl", '{"text": "a\\u0000b"}\n{"text": "b"}\n', ", line 1: the value of 'text' contains NUL ("),
        (
            "a.json",
            '[{"text": "a"},\n {"text": null}]',
            ", line 2: the value of 'text' is not a string or number,",
        ),
        ("a.json", '[\n{"text": "a"},\n[]]', ', line 3 is not a JSON object, such as {"text": ...}'),
        ("a.csv", "id,text\n1," + "x" * 100 + ",3\n2,b\n", ", in the row '1," + "x" * 57 + "…'; correct it"),
    ],
)
def test_each_kind_of_bad_row_names_its_place_and_the_option(write, name, content, fault):
    path = write(name, content)
    with pytest.raises(CorpusError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}, line ")
    assert fault in message
    assert message.endswith(f"textgen train {path} --set corpus.on_bad_row=skip")


def test_if_all_rows_are_bad_the_corpus_is_empty(write, capsys):
    path = write("a.jsonl", '{"txt": "a"}\n{"txt": "b"}\n')
    with pytest.raises(CorpusError, match=r"the corpus is empty: .* has no text \(2 bad rows are left out; "):
        read(path, on_bad_row="skip")
    assert capsys.readouterr().err == ""
    with pytest.raises(CorpusError, match=r"did you mean txt\? \(textgen train \S+ --set corpus.column=txt\)"):
        read(path)


def test_spreadsheets_pad_rows_with_empty_cells(write):
    assert read(write("a.csv", "id;text;;\n1;one;;\n;;;\n2;two;\n")) == ["one", "two"]
    assert read(write("b.csv", "id,text\n1,one,,\n , \n2,two\n")) == ["one", "two"]


def test_a_wrong_column_has_a_command_that_works(write):
    path = write("a.csv", "id;Title\n1;one\n")
    with pytest.raises(CorpusError) as caught:
        read(path, column="title")
    assert "no column 'title' in its first row; did you mean Title? (or a number" in str(caught.value)
    assert str(caught.value).endswith(f"textgen train {path} --set corpus.column=Title")
    assert read(path, column="Title") == ["one"]
    assert read(path, column="1") == ["Title", "one"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(
    values=st.lists(json_values), indent=st.sampled_from([None, 1]), ascii_only=st.booleans(), size=st.integers(1, 9)
)
def test_values_of_an_array_are_those_of_the_json_module(values, indent, ascii_only, size):
    text = json.dumps(values, indent=indent, ensure_ascii=ascii_only)
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    expected = json.loads(text, parse_int=str)
    assert [row.value for row in read_values("a.json", pieces)] == expected
    together = "\n".join(json.dumps(value, indent=indent) for value in values)
    if not together.startswith("["):
        assert [row.value for row in read_values("a.json", iter(together))] == expected


def test_json_is_an_array_or_objects_one_after_the_other(write):
    objects = [{"text": "one", "n": 1}, {"text": "two\nlines", "n": 2}]
    assert read(write("a.json", json.dumps(objects, indent=2))) == ["one", "two\nlines"]
    assert read(write("b.json", "\n".join(map(json.dumps, objects)))) == ["one", "two\nlines"]
    assert read(write("c.json", "\n".join(json.dumps(each, indent=2) for each in objects))) == ["one", "two\nlines"]
    assert read(write("d.json", '["one", "two"]')) == ["one", "two"]
    assert read(write("e.jsonl", '"one"\n"two"\n')) == ["one", "two"]
    assert corpus(write("a.json", "[]")).settled_options.format == "json"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[]", "the corpus is empty"),
        ('["one"', "line 1 is not JSON: expected , or ] in the array"),
        ('["one" "two"]', "line 1 is not JSON: expected , or ] in the array, at '\"tw"),
        ('["one",\n"two]', "line 2 is not JSON: "),
        ('["one",\n]', "line 2 is not JSON: "),
        ('["one"]\nmore', "line 2 is not JSON: unexpected text after the array"),
        ("[" * 100_000, "is not JSON: it is nested too deeply"),
        ('{"data": [{"text": "one"}]}', "line 1 has no key 'text', in the row"),
    ],
)
@pytest.mark.parametrize("on_bad_row", ["error", "skip"])
def test_json_that_cannot_be_read(write, monkeypatch, content, says, on_bad_row):
    monkeypatch.setattr(reading, "PIECE", 5)
    path = write("a.json", content)
    if on_bad_row == "skip" and "no key" in says:
        says = "the corpus is empty"
    with pytest.raises(CorpusError, match=re.escape(says)):
        read(path, on_bad_row=on_bad_row)


def test_numbers_are_texts_as_they_are_spelled(write):
    assert read(write("a.jsonl", '{"text": 1984}\n{"text": 1.50}\n')) == ["1984", "1.50"]
    assert read(write("a.json", '[{"text": 1984}, {"text": -0.10e5}]')) == ["1984", "-0.10e5"]


def test_line_ends_in_cells_are_line_feeds(write):
    assert read(write("a.csv", 'text\r\n"one\r\ntwo\rthree"\r\n')) == ["one\ntwo\nthree"]
    assert read(write("a.jsonl", '{"text": "one\\r\\ntwo\\rthree"}\r\n')) == ["one\ntwo\nthree"]


@pytest.mark.parametrize("size", [1, 3, 1 << 22])
def test_labels_are_a_column(write, monkeypatch, size):
    monkeypatch.setattr(reading, "PIECE", size)
    expected = [("good", "one"), ("bad", "two")]
    path = write("a.csv", "class,text\ngood,one\n bad ,two\n")
    assert labelled(path, label="class") == expected
    assert corpus(path, label="class").is_labelled
    assert labelled(path, label="0", column=1) == [("class", "text"), *expected]
    assert labelled(write("a.tsv", "class\ttext\ngood\tone\nbad\ttwo\n"), label="class") == expected
    assert (
        labelled(write("a.json", '[{"class": "good", "text": "one"}, {"class": "bad", "text": "two"}]'), label="class")
        == expected
    )
    rows = '{"class": 1, "text": "one"}\n{"class": true, "text": "two"}\n'
    assert labelled(write("a.jsonl", rows), label="class") == [("1", "one"), ("true", "two")]


def test_an_empty_label_is_a_bad_row_but_a_blank_text_is_no_row(write, capsys):
    path = write("a.csv", "class,text\ngood,one\n,two\n,\nbad, \n")
    with pytest.raises(CorpusError, match="line 3: its label is empty, in the row ',two'; correct it, or leave such"):
        labelled(path, label="class")
    assert read(path) == ["one", "two"]
    skipping = corpus(path, label="class", on_bad_row="skip")
    assert list(skipping.labelled_documents()) == [("good", "one")]
    assert list(skipping.documents()) == ["one"]
    assert "1 bad row is left out; the first" in capsys.readouterr().err
    with pytest.raises(CorpusError, match=r"line 1: its label is null.*--set corpus.on_bad_row=skip"):
        labelled(write("a.jsonl", '{"class": null, "text": "one"}\n{"class": 1, "text": "two"}\n'), label="class")


def test_the_name_of_the_file_may_label_the_rows_of_tables(write):
    paths = [write("good.csv", "text\none\n"), write("bad.jsonl.gz", '{"text": "two"}\n')]
    assert labelled(paths, label="filename") == [("good", "one"), ("bad", "two")]


def test_a_label_that_does_not_exist(write):
    with pytest.raises(
        CorpusError, match=r"no column 'clas' in its first row; did you mean class\?.*corpus.label=class"
    ):
        labelled(write("a.csv", "class,text\ngood,one\n"), label="clas")
    with pytest.raises(CorpusError, match=r"no key 'clas'; did you mean class\?.*corpus.label=class"):
        labelled(write("a.jsonl", '{"class": 1, "text": "one"}\n'), label="clas")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"path": "a.csv", "delimiter": ";;"}, r"corpus\.delimiter: a single character is needed"),
        ({"path": "a.csv", "quote": ""}, r"corpus\.quote: a single character is needed"),
        ({"path": "a.csv", "escape": "\n"}, r"corpus\.escape: a single character is needed"),
        ({"path": "a.jsonl", "delimiter": ";"}, "delimiter does nothing for jsonl"),
        ({"path": "a.txt", "on_bad_row": "skip"}, "on_bad_row does nothing for text"),
        ({"path": "a.txt", "escape": "\\"}, "escape does nothing for text"),
        ({"path": "a.json", "layout": "paragraphs"}, "json has documents"),
        ({"path": "a.txt", "layout": "lines", "label": "class"}, "the label of text files is filename or folder"),
    ],
)
def test_options_that_would_do_nothing_are_errors(options, says):
    with pytest.raises(OptionError, match=says):
        build_options(File.Options, options, where="corpus")


def test_a_large_table_is_not_held_in_memory(tmp_path):
    import tracemalloc

    path = tmp_path / "a.json"
    path.write_text("[" + ",\n".join(json.dumps({"text": "x" * 500}) for _ in range(60_000)) + "]")
    tracemalloc.start()
    assert sum(map(len, corpus(path).documents())) == 30_000_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40e6


def test_settled_options_of_tables_find_the_same_text():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.csv")
        path.write_text('sep=|\nid|text\n1|"a|b"\n', encoding="utf-16")
        own = corpus(path)
        documents = list(own.documents())
        settled = json.loads(json.dumps(own.settled_options.model_dump(mode="json")))
        assert (settled["encoding"], settled["delimiter"], settled["format"]) == ("utf-16", "|", "csv")
        again = File(build_options(File.Options, settled, where="corpus"))
        assert list(again.documents()) == documents == ["a|b"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('["a", "b\\u0000c"]', "line 1: the string contains NUL ("),
        ('["a", "\\ud800"]', "line 1: the string contains half of a surrogate pair"),
    ],
)
def test_bare_strings_are_checked_as_values_of_keys_are(write, content, says):
    for path in (write("a.json", content), write("a.jsonl", "\n".join(map(json.dumps, json.loads(content))))):
        with pytest.raises(CorpusError, match=re.escape(says.removeprefix("line 1"))):
            read(path)
        assert read(path, on_bad_row="skip") == ["a"]


def test_line_ends_and_nul_in_bare_strings(write):
    assert read(write("a.json", '["a\\r\\nb\\rc"]')) == ["a\nb\nc"]
    assert read(write("b.jsonl", '"a\\u0000b"\n'), drop_nul=True) == ["ab"]


def advised(path: object, error: object) -> dict[str, str]:
    """The options of the command in an error, the first one if there are several."""
    (command, *_) = re.findall(r"textgen train ([^)]*)", str(error))
    words = shlex.split(command.partition(", in the row")[0])
    paths = [each for each in words if each != "--set" and not each.startswith("corpus.")]
    assert paths == [str(each) for each in (path if isinstance(path, list) else [path])]
    return dict(each.removeprefix("corpus.").split("=") for each in words if each.startswith("corpus."))


@pytest.mark.parametrize(
    ("name", "content", "options", "texts"),
    [
        ("a.csv", "3,T,D\n4,b,c\n", {}, ["T", "b"]),
        ("a.csv", "3,T D,1.5\n4,b c d,12345.123456789\n", {}, ["T D", "b c d"]),
        ("a.csv", "id,title,2019\n1,a b,123\n", {}, ["a b"]),
        ("a.csv", "id,2019\n1,a b\n", {}, ["2019", "a b"]),  # a number cannot be a name
        ("a.csv", ",id\nlong cell,1\n", {}, ["long cell"]),
        ("a.csv", "none,x\nlong cell,b\n", {}, ["none", "long cell"]),
        ("a.csv", "text,text\na,b\n", {}, ["text", "a"]),
        ("a.csv", "title,title\na,b\n", {}, ["title", "a"]),
        ("a.csv", "class,text,text\nx,a,b\n", {"label": "class"}, ["a"]),
        ("a.json", '[{"data": ["x"], "title": "a"}]', {}, ["a"]),
        ("a.json", '[{"n": 1, "title": "a"}]', {}, ["a"]),
        ("a.json", '["a", {"text": "b"}, ["c"]]', {}, ["a", "b"]),
    ],
)
def test_the_command_of_an_error_about_columns_works(write, name, content, options, texts):
    path = write(name, content)
    with pytest.raises(CorpusError) as caught:
        read(path, **options)
    assert read(path, **advised(path, caught.value)) == texts


def test_a_label_is_not_advised_to_be_the_text(write):
    with pytest.raises(CorpusError, match=r"no column 'x'.*--set corpus.column=title --set corpus.label=id$"):
        labelled(write("a.csv", "id,title\n1,a b\n"), column="title", label="x")
    with pytest.raises(CorpusError, match=r"no key 'x'.*--set corpus.label=id\)"):
        labelled(write("a.json", '[{"id": 1, "text": "a b"}]'), label="x")


def test_a_duplicated_column_is_named_with_its_numbers(write):
    with pytest.raises(CorpusError, match=r"has 2 columns 'text' in its first row; rename.*\(0 or 2\).*column=0$"):
        read(write("a.csv", "text,id,text\na,1,b\n"))
    with pytest.raises(CorpusError, match=r"has 2 columns 'c' in its first row.*corpus.label=0$"):
        read(write("b.csv", "c,text,c\na,1,b\n"), label="c")


@pytest.mark.parametrize(
    "content",
    ['{"data": [{"text": "abc"}, {"text": "d"}]}', '{"version": "1.0", "data": [{"text": "abc"}]}', '{"data": ["a"]}'],
)
def test_an_object_around_the_rows_is_told(write, content):
    with pytest.raises(
        CorpusError, match=r"no key 'text'.*; the rows are in 'data'; save that array as a file of its"
    ) as e:
        read(write("a.json", content))
    assert "--set" not in str(e.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", '[["a", "b"], ["c"]]'),
        ("a.json", '[["a"], {"text": " "}]'),
        ("a.json", '[["a"], {"text": "a"'),
        ("a.json", '{"n": null}'),
        ("a.jsonl", "no\nnor this\n"),
        ("a.csv", 'text,id\n"a"b,1\n'),
        ("a.csv", '"a"b,text\n1,x\n'),
    ],
)
def test_skipping_is_not_advised_if_it_would_leave_nothing(write, name, content):
    path = write(name, content)
    with pytest.raises(CorpusError, match=r"line \d.*; correct it$"):
        read(path)
    with pytest.raises(CorpusError):
        read(path, on_bad_row="skip")


def test_files_with_different_columns_are_told(write):
    paths = [
        write("semi.csv", "id;title\n1;a b\n"),
        write("t.tsv", "n\tname\n1\tc d\n"),
        write("x.csv", "id,title\n1,a"),
    ]
    for options in ({}, {"column": "title"}):
        with pytest.raises(CorpusError, match=r"the files have no column in common; give them") as caught:
            read(paths[:2], **options)
        assert "--set" not in str(caught.value)
    with pytest.raises(CorpusError) as caught:
        read(paths[::2])
    assert read(paths[::2], **advised(paths[::2], caught.value)) == ["a b", "a"]
    values = [write("a.jsonl", '{"name": "a b", "title": "c"}'), write("b.jsonl", '{"title": "d", "body": "e"}')]
    with pytest.raises(CorpusError) as caught:
        read(values)
    assert read(values, **advised(values, caught.value)) == ["c", "d"]


def test_labels_are_on_one_line(write, tmp_path):
    path = write("a.csv", 'class,text\n"L\n1",one\n" L  1 ",two\n')
    assert labelled(path, label="class") == [("L 1", "one"), ("L 1", "two")]
    assert labelled(write("b.jsonl", '{"class": "L\\r\\n1", "text": "one"}'), label="class") == [("L 1", "one")]
    assert labelled(write("L\n1.csv", "text\none\n"), label="filename") == [("L 1", "one")]


@pytest.mark.parametrize(("rows", "labels", "said"), [(150, 101, True), (150, 100, False), (202, 101, False)])
def test_a_label_that_is_an_id_is_told(write, capsys, rows, labels, said):
    path = write("a.csv", "id,text\n" + "".join(f"{n % labels},text {n}\n" for n in range(rows)))
    assert len(labelled(path, label="id")) == rows
    told = f"textgen: corpus.label=id gives {rows} texts {labels} labels; a label is learned from the texts that have"
    assert (told in capsys.readouterr().err) is said
