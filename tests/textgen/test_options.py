import json
import re
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from textgen.errors import OptionError
from textgen.options import (
    TABLES,
    Options,
    Settings,
    build_options,
    merge_settings,
    parse_settings,
    read_config,
    set_arguments,
)


class Cell(Options):
    units: int = Field(default=256, ge=1, le=4096)
    dropout: float | None = Field(default=None, ge=0, lt=1)
    stop: tuple[str, ...] = ()
    text: str = ""
    encoding: str | None = None
    column: int | str | None = None
    files: Path | list[Path] = Path("a")
    cell: Literal["gru", "lstm"] | None = None
    choice: Literal[8, 16] = 8
    sizes: list[int] = Field(default=[])
    table: dict[str, int] = Field(default={})
    flag: bool = False


class Needs(Options):
    path: Path


def build(**values: object) -> Cell:
    return build_options(Cell, values, where="model")


@given(st.integers(1, 4096), st.floats(0, 0.999))
def test_strings_are_converted_to_the_type_of_the_field(units, dropout):
    assert build(units=str(units), dropout=repr(dropout)) == Cell(units=units, dropout=dropout)


def test_the_word_none_is_none():
    assert build(dropout="none") == build(dropout=None) == Cell()


def test_options_cannot_be_changed():
    cell: Any = Cell()
    with pytest.raises(ValidationError):
        cell.units = 3


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"cell": "lstn"}, "model.cell must be 'gru' or 'lstm', not 'lstn'"),
        ({"column": [1]}, "model.column must be a whole number or text, not [1]"),
        ({"files": ["a", 2]}, "model.files must be a path, not ['a', 2]"),
        ({"sizes": [1, "x", 0.5]}, "model.sizes.1 must be a whole number, not 'x'; model.sizes.2 must be a whole"),
        ({"table": 3}, "model.table must be a table, not 3"),
        ({"flag": "maybe"}, "model.flag must be true or false, not 'maybe'"),
        ({"unit": 3}, "model has no option 'unit'; did you mean units?"),
        (
            {"zzz": 3},
            "model has no option 'zzz'; there are: cell, choice, column, dropout, encoding, ",
        ),
        ({"units": "0"}, "model.units must be at least 1, not 0"),
        ({"units": 5000}, "model.units must be at most 4096, not 5000"),
        ({"units": "many"}, "model.units must be a whole number, not 'many'"),
        ({"dropout": "nan"}, "model.dropout must be below 1, not nan"),
        ({"stop": ["a", 3]}, "model.stop.1 must be text, not 3"),
        ({"units": 0, "dropout": 2, "layer": 1}, "model.units"),
    ],
)
def test_an_error_names_option_value_and_the_nearest(values, expected):
    with pytest.raises(OptionError) as raised:
        build(**values)
    message = str(raised.value)
    assert message.startswith(expected)
    assert "\n" not in message
    assert all(name in message for name in values)


def test_an_error_of_a_missing_option_says_how_to_set_it():
    with pytest.raises(OptionError) as raised:
        build_options(Needs, {}, where="corpus")
    assert str(raised.value) == "corpus.path is required; set it with --set corpus.path=VALUE"


def test_assignments_nest_by_table_and_the_last_one_counts():
    assignments = ["model.units=512", "corpus.path=a=b.txt", "model.units = 7 ", "generation.stop=[ 'x', 1]"]
    assert parse_settings(assignments) == {
        "model": {"units": " 7 "},
        "corpus": {"path": "a=b.txt"},
        "generation": {"stop": "[ 'x', 1]"},
    }


def typed(option: str, text: str) -> Any:
    """The value of an option that was typed as ``--set model.OPTION=TEXT``."""
    values = parse_settings([f"model.{option}={text}"])["model"]
    return getattr(build_options(Cell, values, where="model"), option)


@given(st.text())
def test_text_that_is_typed_for_an_option_of_text_comes_out_exactly(text):
    assert typed("text", text) == text
    assert typed("encoding", text) == (None if text == "none" else text)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_a_list_of_texts_is_typed_as_toml(texts):
    written = json.dumps(texts, ensure_ascii=True)
    # JSON writes characters outside of the basic plane as two surrogates, TOML as they are.
    written = re.sub(r"\\ud[89ab]..\\ud[c-f]..", lambda pair: json.loads(f'"{pair[0]}"'), written)
    written = written.replace("\x7f", "\\u007f")
    assert typed("stop", written) == tuple(texts)


@pytest.mark.parametrize(
    ("option", "text", "expected"),
    [
        ("text", "[section]", "[section]"),
        ("text", "{x}", "{x}"),
        ("text", "ROMEO: ", "ROMEO: "),
        ("text", " none", " none"),
        ("text", "none", "none"),
        ("text", '["a", "b"]', '["a", "b"]'),
        ("encoding", "none", None),
        ("encoding", " none", " none"),
        ("stop", "END", ("END",)),
        ("stop", "none", ("none",)),
        ("stop", "[END]", ("[END]",)),
        ("stop", "[1]", ("[1]",)),
        ("stop", "\n", ("\n",)),
        ("stop", '["a", "b"]', ("a", "b")),
        ("stop", " [ 'a' ]", ("a",)),
        ("stop", "[]", ()),
        ("stop", "", ()),
        ("column", "3", 3),
        ("column", "title", "title"),
        ("column", "none", None),
        ("files", "[draft] a.txt ", Path("[draft] a.txt ")),
        ("files", '["a.txt", "b.txt"]', [Path("a.txt"), Path("b.txt")]),
        ("cell", " lstm", "lstm"),
        ("cell", "none", None),
        ("choice", "16", 16),
        ("sizes", "[3, 4]", [3, 4]),
        ("sizes", "3", [3]),
        ("table", "{a = 1}", {"a": 1}),
        ("flag", "true", True),
        ("dropout", " none ", None),
        ("dropout", " 0.5 ", 0.5),
    ],
)
def test_the_type_of_an_option_says_what_was_typed(option, text, expected):
    assert typed(option, text) == expected


@pytest.mark.parametrize(
    ("option", "text", "expected"),
    [
        ("stop", "['x'", "model.stop: \"['x'\" is not a TOML value: "),
        ("sizes", "[1", 'a list is written ["a", "b"]'),
        ("table", "{a = }", "a table is written {a = 1, b = 2}"),
        ("sizes", "many", "model.sizes.0 must be a whole number, not 'many'"),
    ],
)
def test_a_list_or_table_that_is_not_toml_is_an_error(option, text, expected):
    with pytest.raises(OptionError) as raised:
        typed(option, text)
    assert expected in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_text_of_a_configuration_is_a_list_of_one(tmp_path):
    assert build(stop="END") == build(stop=["END"])
    assert build(text="none", encoding="none") == Cell(text="none")


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("units=3", "--set 'units=3' is not of the form table.option=value, such as model.units=512"),
        ("model.units", "is not of the form"),
        ("model.=3", "is not of the form"),
        ("=3", "is not of the form"),
        ("modell.units=3", "unknown table 'modell'; did you mean model?"),
    ],
)
def test_an_invalid_assignment_is_an_error(assignment, expected):
    with pytest.raises(OptionError) as raised:
        parse_settings([assignment])
    assert expected in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_configuration_is_toml_with_the_tables(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text('[model]\nname = "lstm"\nunits = 64\n[generation]\nstop = ["\\n"]\n', encoding="utf-8")
    assert read_config(file) == {"model": {"name": "lstm", "units": 64}, "generation": {"stop": ["\n"]}}


def test_a_configuration_may_begin_with_a_byte_order_mark(tmp_path):
    file = tmp_path / "run.toml"
    file.write_bytes(b"\xef\xbb\xbf[model]\r\nunits = 64\r\n")
    assert read_config(file) == {"model": {"units": 64}}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "cannot read the configuration"),
        (b"model = [", "cannot read the configuration"),
        (b"\xff\xfe", "it is not UTF-8 at byte 0; save it as UTF-8"),
        (b"[modle]\nunits = 1", "unknown table 'modle'; did you mean model?"),
        (b"model = 3", "model must be a table, as in [model]"),
    ],
)
def test_an_invalid_configuration_is_an_error(tmp_path, content, expected):
    file = tmp_path / "run.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(OptionError) as raised:
        read_config(file)
    assert expected in str(raised.value)
    assert "\n" not in str(raised.value)


def test_merging_goes_option_by_option():
    low: Settings = {"model": {"name": "gru", "units": 1, "layers": 2}, "training": {"epochs": 3}}
    high = {"model": {"units": 9}}
    assert merge_settings(low, high) == {table: {} for table in TABLES} | {
        "model": {"name": "gru", "units": 9, "layers": 2},
        "training": {"epochs": 3},
    }
    assert low["model"]["units"] == 1


def test_another_plugin_drops_the_options_of_the_previous_one():
    base = {"model": {"name": "gru", "units": 1}}
    assert merge_settings(base, {"model": {"name": "lstm"}})["model"] == {"name": "lstm"}
    assert merge_settings(base, {"model": {"name": "lstm", "layers": 2}})["model"] == {"name": "lstm", "layers": 2}
    assert merge_settings(base, {"model": {"name": "gru"}})["model"] == {"name": "gru", "units": 1}


def test_options_before_any_name_are_kept():
    assert merge_settings({"model": {"units": 1}}, {"model": {"name": "lstm"}})["model"] == {"name": "lstm", "units": 1}


class Part(Options):
    share: float
    texts: tuple[str, ...]


class AnyKind(Options):
    text: str
    count: int
    share: float
    flag: bool
    maybe: float | None
    texts: tuple[str, ...]
    counts: list[int]
    flags: list[bool]
    table: dict[str, bool]
    part: Part


SHARES = st.floats(allow_nan=False)
PARTS = st.builds(Part, share=SHARES, texts=st.lists(st.text(), max_size=2))


@given(st.builds(AnyKind, share=SHARES, maybe=st.none() | SHARES, part=PARTS))
def test_options_written_as_arguments_are_read_as_they_were(options):
    values = options.model_dump()
    words = set_arguments("model", values)
    assert words[::2] == ["--set"] * len(values)
    assert build_options(AnyKind, parse_settings(words[1::2])["model"], where="model") == options


def test_arguments_are_written_as_a_user_would():
    values = {"text": " a=b", "flag": True, "maybe": None, "texts": ["a", 'b "c"'], "table": {"a": 1}}
    written = ["text= a=b", "flag=true", "maybe=none", r'texts=["a", "b \"c\""]', 'table={"a" = 1}']
    assert set_arguments("model", values)[1::2] == [f"model.{assignment}" for assignment in written]
