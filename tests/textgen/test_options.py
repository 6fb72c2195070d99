from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from textgen.errors import OptionError
from textgen.options import TABLES, Options, Settings, build_options, merge_settings, parse_settings, read_config


class Cell(Options):
    units: int = Field(default=256, ge=1, le=4096)
    dropout: float | None = Field(default=None, ge=0, lt=1)
    stop: tuple[str, ...] = ()


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
        ({"unit": 3}, "model has no option 'unit'; did you mean units?"),
        ({"zzz": 3}, "model has no option 'zzz'; there are: dropout, stop, units"),
        ({"units": "0"}, "model.units: input should be greater than or equal to 1, got '0'"),
        ({"units": 5000}, "model.units: input should be less than or equal to 4096, got 5000"),
        ({"units": "many"}, "model.units: input should be a valid integer"),
        ({"dropout": "nan"}, "model.dropout: input should be less than 1"),
        ({"stop": ["a", 3]}, "model.stop.1: input should be a valid string, got 3"),
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
        "model": {"units": "7"},
        "corpus": {"path": "a=b.txt"},
        "generation": {"stop": ["x", 1]},
    }


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("units=3", "--set 'units=3' is not of the form table.option=value, such as model.units=512"),
        ("model.units", "is not of the form"),
        ("model.=3", "is not of the form"),
        ("=3", "is not of the form"),
        ("modell.units=3", "unknown table 'modell'; did you mean model?"),
        ("generation.stop=['x'", "\"['x'\" is not a TOML value: "),
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


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "cannot read the configuration"),
        (b"model = [", "cannot read the configuration"),
        (b"\xff\xfe", "cannot read the configuration"),
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
