"""Ordinary Python values are taken by the Python interface; others are one sentence."""

import os
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import textgen
from textgen import api
from textgen.errors import TextgenError
from textgen.generation.request import Wishes


class Column:
    """A column of a data frame of pandas: iterable, with ``tolist``."""

    def __init__(self, values):
        self._values = values

    def __iter__(self):
        return iter(self._values)

    def tolist(self):
        return list(self._values)


class Located(os.PathLike):
    """A path that is neither a text nor a ``pathlib.Path``."""

    def __init__(self, path):
        self._path = path

    def __fspath__(self):
        return str(self._path)


@pytest.fixture
def generator(work) -> textgen.TextGenerator:
    return api.load(work.train("run").path)


def drawn(generator, prompt="ab", **options):
    return [(each.whole, each.row) for each in generator.sample(generator.request(prompt, **{"seed": 3, **options}))]


@pytest.mark.parametrize(
    ("option", "plain", "alike"),
    [
        ("num", 3, [np.int64(3), np.array(3), np.float32(3.0), 3.0, np.uint8(3)]),
        ("length", 7, [np.int32(7), np.array(7)]),
        ("chunk", 4, [np.int16(4)]),
        ("seed", 5, [np.uint64(5), np.array(5), 5.0]),
        (
            "temperature",
            0.5,
            [np.float32(0.5), np.array(0.5), np.array([0.5]), Column([0.5]), (0.5,), (t for t in [0.5])],
        ),
        ("temperature", [1.0, 2.0], [np.array([1, 2]), (1, 2), Column([1, np.float64(2)]), range(1, 3)]),
        ("top_k", 2, [np.int64(2), np.array(2)]),
        ("top_p", 0.5, [np.float16(0.5)]),
        ("rows", [4], [np.array([4]), (4,), range(4, 5), Column([4]), iter([4])]),
        ("stop", ["d"], ["d", np.str_("d"), np.array(["d"]), ("d",), Column(["d"]), (s for s in ["d"]), {"d"}]),
        ("ignore_eos", True, [np.bool_(True), np.array(True)]),
        ("sampler", "greedy", [np.str_("greedy"), np.array("greedy")]),
    ],
)
def test_options_of_a_request_are_ordinary_values(generator, option, plain, alike):
    expected = drawn(generator, **{option: plain})
    for value in alike:
        assert drawn(generator, **{option: value}) == expected


@pytest.mark.parametrize(
    "prompts",
    [
        ["ab", "c"],
        ("ab", "c"),
        np.array(["ab", "c"]),
        Column(["ab", "c"]),
        (p for p in ["ab", "c"]),
        [np.str_("ab"), "c"],
    ],
)
def test_prompts_are_any_list_of_texts(generator, prompts):
    expected = generator.generate(["ab", "c"], seed=3)
    assert generator.generate(prompts, seed=3) == expected


def test_one_prompt_may_be_a_text_of_numpy(generator):
    assert generator.generate(np.str_("ab"), seed=3) == generator.generate("ab", seed=3)
    assert generator.generate(np.array("ab"), seed=3) == generator.generate("ab", seed=3)
    assert "".join(generator.stream(np.str_("ab"), seed=3)) == generator.generate("ab", seed=3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num": "3"}, "num must be a whole number from 1 to 1,000,000, not '3'"),
        ({"num": 2.5}, "num must be a whole number from 1 to 1,000,000, not 2.5"),
        ({"num": True}, "num must be a whole number from 1 to 1,000,000, not True"),
        ({"num": 10**7}, "num must be a whole number from 1 to 1,000,000, not 10000000"),
        ({"num": 10**6, "temperature": [1, 2]}, "2,000,000 texts are asked for, more than 1,000,000 at a time"),
        ({"length": 10**10}, "length must be a whole number from 1 to 1,000,000,000, not 10000000000"),
        ({"length": [3, 4]}, r"length must be a whole number from 1 to 1,000,000,000, not \[3, 4\]"),
        ({"chunk": 10**6}, "chunk must be a whole number from 1 to 65,536"),
        ({"seed": -1}, r"seed must be a whole number from 0 to 2\*\*64 - 1, not -1"),
        ({"seed": "x"}, r"seed must be a whole number from 0 to 2\*\*64 - 1, not 'x'"),
        ({"rows": [2**64]}, r"rows\[0\] must be a whole number from 0 to 2\*\*64 - 1"),
        ({"rows": SimpleNamespace()}, "rows must be a list of whole numbers, not a value of type SimpleNamespace"),
        ({"temperature": "hot"}, "temperature must be a number, not 'hot'"),
        ({"temperature": float("nan")}, "temperature must be a number, not nan"),
        ({"temperature": {"a": 1}}, "temperature must be a number or a list of numbers, not"),
        ({"top_k": "many"}, "top_k must be a number, not 'many'"),
        ({"stop": [1]}, "stop must be a str, not 1"),
        ({"stop": b"x"}, "stop must be a str or a list of them, not b'x'"),
        ({"label": object()}, "label must be a str or a list of them, not a value of type object|label must be a str"),
        ({"sampler": 3}, "sampler must be a str, not 3"),
        ({"ignore_eos": "yes"}, "ignore_eos must be True or False, not 'yes'"),
        ({"score": None}, None),
        ({"on_unknown": "maybe"}, "on_unknown must be 'error' or 'skip' or 'unk', not 'maybe'"),
        ({"continuation": "state"}, "continuation must be a Continuation, not 'state'"),
        ({"wings": 2}, "a request has no option 'wings'; there are: "),
    ],
)
def test_other_values_are_one_sentence(generator, options, message):
    if message is None:
        assert generator.generate("ab", **options)
        return
    with pytest.raises(TextgenError, match=message) as raised:
        generator.generate("ab", **options)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("prompt", [3, 2.5, b"ab", {"a": "b"}, ["ab", None], [["ab"]], object(), True])
def test_a_prompt_that_is_not_text_is_one_sentence(generator, prompt):
    with pytest.raises(TextgenError, match=r"^prompt(\[\d\])? must be a str"):
        generator.generate(prompt)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text("ab", max_size=3) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=2),
    max_leaves=4,
) | st.sampled_from([object(), int, len, np.array([[1, 2]]), np.datetime64("2026-01-01"), np.array(None), 1j])


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from(sorted(Wishes.__annotations__)), VALUES)
def test_any_value_of_any_option_is_taken_or_a_sentence(generator, option, value):
    options = {"length": 2, "seed": 1, option: value}
    if option == "num" and isinstance(value, int) and value > 100:
        return
    with suppress(TextgenError):
        generator.generate("ab", **options)


@pytest.mark.parametrize("argument", ["path", "runtime", "device", "trust"])
@given(value=VALUES)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_argument_of_load_is_taken_or_a_sentence(work, argument, value):
    arguments: dict[str, Any] = {"path": "nothing", argument: value if value is not None else "nothing"}
    with pytest.raises(TextgenError) as raised:
        textgen.load(**arguments)
    assert "\n" not in str(raised.value)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from(["corpus", "model", "tokenizer", "recipe", "from_", "settings", "data_dir"]), VALUES)
def test_any_argument_of_train_is_taken_or_a_sentence(work, option, value):
    given = {"corpus": "nothing.txt", **({} if value is None else {option: value})}
    with pytest.raises(TextgenError) as raised:
        textgen.train(**given)
    assert "\n" not in str(raised.value)


def test_names_of_settings_that_are_tuples_are_one_sentence():
    settings: Any = {("a", "b"): {}}
    with pytest.raises(TextgenError, match=r"a name in settings must be a str, not \('a', 'b'\)"):
        textgen.train(corpus="nothing.txt", settings=settings)


def test_a_list_that_contains_itself_is_one_sentence():
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(TextgenError, match=r"a value of type (list|dict) contains itself, or is nested too deeply"):
        textgen.train(corpus="nothing.txt", settings={"training": {"epochs": endless}})


def test_paths_are_texts_or_anything_that_stands_for_one(generator, tmp_path):
    path = generator.artifact.path
    for each in (path, str(path), np.str_(path), Located(path), os.fspath(path)):
        assert textgen.load(each).artifact.path == Path(path)
    (generation,) = generator.sample(generator.request("ab", keep_state=True))
    generator.save_continuation(Located(tmp_path / "state"), generation.continuation)
    assert generator.load_continuation(str(tmp_path / "state")) is not None
    with pytest.raises(TextgenError, match=r"path must be a path, as a str or pathlib[.]Path, not 3"):
        generator.load_continuation(3)


def test_settings_and_corpora_are_ordinary_values(work, tmp_path):
    files = [tmp_path / "a.txt", tmp_path / "b.txt"]
    for file in files:
        file.write_text("abc abd " * 40)
    runs = []
    kinds: list[Any] = [
        ([str(file) for file in files], 2, 0.25),
        (np.array([str(file) for file in files]), np.int64(2), np.float64(0.25)),
        (Column(files), np.array(2), np.array(0.25)),
        ((Located(file) for file in files), np.float32(2), 0.25),
    ]
    for corpus, epochs, held_out in kinds:
        settings = OrderedDict(training=OrderedDict(epochs=epochs, held_out=held_out, shuffle=np.bool_(True)))
        runs.append(textgen.train(corpus, np.str_("counting"), settings=settings).artifact)
    assert len({run.weights_sha256 for run in runs}) == 1
    assert len({str(run.manifest.settings) for run in runs}) == 1


def test_plugins_to_load_are_ordinary_values(tmp_path):
    (tmp_path / "ordinary_values_plugin.py").write_text(
        "from textgen import hookimpl\n@hookimpl\ndef textgen_before_generation(): pass\n"
    )
    registry = textgen.plugins.registry.plugins()
    try:
        textgen.use_plugins(
            files=(Located(file) for file in [tmp_path / "ordinary_values_plugin.py"]), without=np.array([], str)
        )
        textgen.use_plugins(files=str(tmp_path / "ordinary_values_plugin.py"))
        for wrong in ({"files": 3.5}, {"files": [None]}, {"without": [3]}, {"without": object()}):
            with pytest.raises(TextgenError):
                textgen.use_plugins(**wrong)
    finally:
        textgen.plugins.registry._registry = registry


@pytest.mark.parametrize("labels", [3, object(), {"a": 1}, 2.5])
def test_labels_that_are_no_list_are_one_sentence(labels):
    with pytest.raises(TextgenError, match=r"labels|text is one text"):
        textgen.train(text=["ab", "cd"], labels=labels, model="counting")
