import pytest

from textgen.options import TABLES, build_options
from textgen.plugins.registry import plugins
from textgen_keras import GradientOptions, textgen_register_recipes

NAMES = (
    "shakespeare-gru",
    "shakespeare-gru-stateful",
    "agnews-lstm",
    "agnews-lstm-frequency",
    "dinos-gru",
    "agnews-labels",
)


def test_all_are_registered():
    names: list[str] = []

    def register(name, target, summary=""):
        names.append(name)

    textgen_register_recipes(register)
    assert tuple(names) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_option_of_a_recipe_exists_and_is_in_range(name):
    recipe = plugins().get("recipe", name)
    assert set(recipe) == set(TABLES)
    build_options(GradientOptions, recipe["training"], where="training")
    for kind in ("corpus", "tokenizer", "model"):
        options = {option: value for option, value in recipe[kind].items() if option != "name"}
        build_options(plugins().get(kind, recipe[kind]["name"]).Options, options, where=kind)


@pytest.mark.parametrize(
    ("name", "vocab_size", "count"),
    [("shakespeare-gru", 66, 4_022_850), ("agnews-lstm", 84, 119_892), ("dinos-gru", 53, 4_006_197)],
)
def test_models_have_the_parameter_counts_that_the_original_programs_print(name, vocab_size, count):
    table = plugins().get("recipe", name)["model"]
    model = plugins().get("model", table["name"])
    options = {option: value for option, value in table.items() if option != "name"}
    assert model(build_options(model.Options, options, where="model"), vocab_size).parameter_count == count


def test_the_model_of_titles_by_class_is_small():
    table = plugins().get("recipe", "agnews-labels")["model"]
    model = plugins().get("model", table["name"])
    options = {option: value for option, value in table.items() if option != "name"}
    parameters = model(build_options(model.Options, options, where="model"), 2000 + 4).parameter_count
    assert parameters == 2004 * 160 + 4 * 160 * (160 + 160 + 1) + 2004 < 600_000
