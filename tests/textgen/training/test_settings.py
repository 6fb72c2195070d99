"""The precedence of everything that settings come from."""

import pytest

from textgen import hookimpl
from textgen.errors import OptionError, UnknownNameError
from textgen.testing import registered
from textgen.training.settings import read_settings


class Recipes:
    @hookimpl
    def textgen_register_recipes(self, register):
        register("quick", {"corpus": {"name": "dinos-lite"}, "model": {"name": "counting", "smoothing": 0.5}})


def read(*layers, recipe="quick", config=None, **names):
    with registered(Recipes()) as registry:
        return read_settings(registry, names, *layers, recipe=recipe, config=config)


def test_settings_override_a_recipe():
    assert read({"model": {"smoothing": 2}})["model"] == {"name": "counting", "smoothing": 2}


def test_a_name_drops_the_options_of_another_plugin():
    assert read(model="gru")["model"] == {"name": "gru"}
    assert read(corpus="dinos")["corpus"] == {"name": "dinos"}
    assert read({"model": {"units": 9}}, model="gru")["model"] == {"name": "gru", "units": 9}
    assert read({"model": {"name": "lstm", "layers": 2}}, model="gru")["model"] == {"name": "gru"}


def test_later_layers_override_earlier_ones_and_the_configuration(tmp_path):
    (tmp_path / "run.toml").write_text("[training]\nepochs = 1\nseed = 1\nlength = 1\n")
    layers = {"training": {"epochs": 2, "seed": 2}}, {"training": {"epochs": 3}}
    assert read(*layers, config=tmp_path / "run.toml")["training"] == {"epochs": 3, "seed": 2, "length": 1}


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (None, {"name": "gru", "units": 8}),
        ("gru", {"name": "gru", "units": 8}),
        ("lstm", {"name": "lstm"}),
        ("counting", {"name": "counting", "smoothing": 0.5}),
    ],
)
def test_a_table_of_the_configuration_for_another_plugin_than_the_named_one_is_left_out(tmp_path, model, expected):
    (tmp_path / "run.toml").write_text('[model]\nname = "gru"\nunits = 8\n')
    assert read(model=model, config=tmp_path / "run.toml")["model"] == expected


def test_a_corpus_is_a_name_or_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("words.txt", "dinos"):
        (tmp_path / name).write_text("ada\n")
    assert read(corpus="words.txt")["corpus"] == {"name": "file", "path": "words.txt"}
    assert read(corpus=tmp_path / "dinos")["corpus"] == {"name": "file", "path": str(tmp_path / "dinos")}
    assert read(corpus="shakespear")["corpus"] == {"name": "shakespear"}
    assert read(corpus="dinos")["corpus"] == {"name": "dinos"}, "a registered name comes before a file"


def test_unknown_recipes_and_tables_are_errors():
    with pytest.raises(UnknownNameError, match=r"unknown recipe 'quik'; did you mean quick\?"):
        read(recipe="quik")
    with pytest.raises(OptionError, match=r"unknown table 'modle'; did you mean model\?"):
        read({"modle": {}})
