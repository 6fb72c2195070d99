"""Every hook specification: documented, and exercised by a real run."""

import inspect
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_origin, get_type_hints

import numpy as np
import pytest

from textgen import api, hookimpl, hookspecs
from textgen.artifact import Artifact
from textgen.dataset import Batch
from textgen.generation import Generation, Request
from textgen.model import Position
from textgen.plugins import KINDS
from textgen.testing import registered

SPECIFICATIONS: dict[str, Callable[..., Any]] = {
    name: function
    for name, function in vars(hookspecs).items()
    if inspect.isfunction(function) and hasattr(function, f"{hookspecs.PROJECT}_spec")
}
LIFE_CYCLE = sorted(SPECIFICATIONS.keys() - set(KINDS.values()))


def test_every_function_of_the_module_is_a_specification():
    functions = {name for name, value in vars(hookspecs).items() if inspect.isfunction(value)}
    assert {name for name in functions if name.startswith("textgen_")} == set(SPECIFICATIONS)
    assert set(KINDS.values()) <= set(SPECIFICATIONS)
    assert len(LIFE_CYCLE) >= 6


@pytest.mark.parametrize("name", SPECIFICATIONS)
def test_a_specification_says_what_it_is_since_when_and_what_it_gets(name):
    specification = SPECIFICATIONS[name]
    documentation = inspect.getdoc(specification)
    assert documentation
    summary, *rest = documentation.split("\n\n")
    assert summary.endswith(".")
    assert any(part.startswith(".. versionadded:: ") for part in rest)
    signature = inspect.signature(specification)
    arguments = documentation.partition("Args:")[2].partition("Returns:")[0]
    for parameter in signature.parameters.values():
        assert f"    {parameter.name}: " in arguments
        assert parameter.annotation is not inspect.Parameter.empty
    assert ("Returns:" in documentation) == (signature.return_annotation not in ("None", None))


def implement(name: str, body: Callable[..., Any]) -> Any:
    """An implementation of a hook that takes all its arguments, in the order of the specification."""

    def implementation(*arguments: Any) -> Any:
        return body(*arguments)

    implementation.__name__ = name
    implementation.__wrapped__ = SPECIFICATIONS[name]  # type: ignore[attr-defined]  # pluggy reads the arguments off it
    return hookimpl(implementation)


class Plugin:
    """Implements hooks by functions: ``Plugin(textgen_batch_ended=...)``."""

    def __init__(self, **hooks: Callable[..., Any]) -> None:
        for name, body in hooks.items():
            setattr(self, name, implement(name, body))


def test_every_hook_is_called_with_the_arguments_that_are_documented(work):
    called: dict[str, list[tuple[Any, ...]]] = {name: [] for name in SPECIFICATIONS}

    def note(name: str) -> Callable[..., None]:
        return lambda *arguments: called[name].append(arguments)

    with registered(Plugin(**{name: note(name) for name in SPECIFICATIONS})):
        api.load(work.train("run").path).generate("a", length=3, seed=0)
    assert not [name for name, calls in called.items() if not calls], "these are never called"
    types = {"Batch": Batch, "Generation": Generation, "Request": Request, "Position": Position}
    for name, calls in called.items():
        hints = get_type_hints(SPECIFICATIONS[name], vars(hookspecs) | types)
        for arguments in calls:
            for parameter, value in zip(inspect.signature(SPECIFICATIONS[name]).parameters, arguments, strict=True):
                wanted = get_origin(hints[parameter]) or hints[parameter]
                assert callable(value) if parameter == "register" else isinstance(value, wanted), (name, parameter)


def test_the_hooks_of_a_run_tell_its_course(work):
    told: list[tuple[str, Any]] = []
    plugin = Plugin(
        textgen_transform_batch=lambda batch, position: told.append(("batch", position)),
        textgen_batch_ended=lambda position, loss: told.append(("ended", position)),
        textgen_epoch_ended=lambda position, metrics, folder: told.append(("epoch", (position, metrics, folder))),
        textgen_checkpoint_saved=lambda position, path: told.append(("saved", (position, path))),
    )
    with registered(plugin):
        artifact = work.train("run", epochs=1)
    steps = 7
    places = [Position(0, step, step) for step in range(steps)]
    after = [Position(0, step + 1, step + 1) for step in range(steps)]
    expected = [
        entry for pair in zip(places, after, strict=True) for entry in zip(("batch", "ended"), pair, strict=True)
    ]
    assert told[: 2 * steps] == expected
    (saved, (position, path)), (epoch, (epoch_position, metrics, folder)) = told[2 * steps :]
    assert (saved, epoch) == ("saved", "epoch")
    assert position == epoch_position == Position(1, 0, steps)
    assert path == artifact.path / "checkpoints" / f"step-{steps:08d}.safetensors"
    assert path.is_file()
    assert folder == artifact.path
    assert {"epoch", "step", "loss", "held_out_loss", "bits", "held_out_bits"} <= metrics.keys()


def test_the_hooks_of_a_generation_see_request_and_texts(work):
    told: list[Any] = []
    plugin = Plugin(
        textgen_before_generation=told.append,
        textgen_after_generation=lambda request, generations: told.append((request, generations)),
    )
    generator = api.load(work.train("run").path)
    request = generator.request(["a", "b"], length=4, seed=3)
    with registered(plugin):
        pieces = generator.pieces(request)
        next(pieces)
        assert told == [request]
        list(pieces)
        generations = generator.sample(request)
    assert told == [request, (request, generations), request, (request, generations)]


def test_a_batch_that_a_plugin_changed_is_the_one_that_the_model_sees(work):
    def only_a(batch: Batch, position: Position) -> Batch:
        return replace(batch, targets=np.full_like(batch.targets, 1))

    with registered(Plugin(textgen_transform_batch=only_a)):
        counts = work.train("run", held_out=0).weights()["counts"]
    assert counts[:, :, 1].sum() == counts.sum() > 0


def test_plugins_change_a_batch_one_after_the_other(work):
    def add(amount: int) -> Plugin:
        return Plugin(
            textgen_transform_batch=lambda batch, position: replace(batch, weights=2 * batch.weights + amount)
        )

    seen = []
    with (
        registered(add(1), name="first"),
        registered(Plugin(textgen_transform_batch=lambda batch, position: None), name="second"),
        registered(add(10), name="third"),
        registered(Plugin(textgen_transform_batch=lambda batch, position: seen.append(batch.weights)), name="z"),
    ):
        work.train("run", held_out=0, max_steps=2)
    assert {value for weights in seen for value in np.unique(weights).tolist()} == {12, 16}


def test_a_hook_may_take_some_of_its_arguments(work):
    class Counter:
        batches = 0

        @hookimpl
        def textgen_batch_ended(self, loss: float) -> None:
            self.batches += 1
            assert loss > 0

    counter = Counter()
    with registered(counter):
        work.train("run", max_steps=5)
    assert counter.batches == 5


def test_a_hook_that_raises_is_told_once_and_left_out(work, capsys):
    calls = []

    def fail(*arguments: Any) -> None:
        calls.append(arguments)
        raise ValueError("of\nno use")

    others = []
    failing = Plugin(textgen_batch_ended=fail, textgen_epoch_ended=fail)
    with (
        registered(failing, name="fails", distribution="bad-plugin"),
        registered(Plugin(textgen_batch_ended=lambda position, loss: others.append(position)), name="works"),
    ):
        artifact = work.train("run", max_steps=5)
        assert [str(problem) for problem in work.found.problems if problem.plugin.name == "fails"] == [
            "plugin fails of bad-plugin 0: textgen_batch_ended raised ValueError: of no use; "
            "its hooks are left out from here on"
        ]
    assert len(calls) == 1
    assert len(others) == 5
    assert artifact.manifest.status == "finished"
    assert capsys.readouterr().err.splitlines() == [
        "textgen: plugin fails of bad-plugin 0: textgen_batch_ended raised ValueError: of no use; "
        "its hooks are left out from here on"
    ]


def test_a_transform_that_raises_leaves_the_batch(work, capsys):
    def fail(batch: Batch, position: Position) -> Batch:
        raise ValueError

    with registered(Plugin(textgen_transform_batch=fail), name="fails"):
        changed = work.train("run").weights()["counts"]
    np.testing.assert_array_equal(changed, work.train("plain").weights()["counts"])
    assert capsys.readouterr().err.count("textgen_transform_batch raised ValueError;") == 1


def test_a_hook_that_raises_stops_everything_where_strictness_is_asked(work, monkeypatch):
    def fail(position: Position, loss: float) -> None:
        raise ValueError("seen")

    monkeypatch.setenv("TEXTGEN_STRICT", "1")
    with registered(Plugin(textgen_batch_ended=fail)), pytest.raises(ValueError, match="seen"):
        work.train("run")


def test_ctrl_c_in_a_hook_is_no_fault_of_the_hook(work):
    def press(position: Position, loss: float) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with registered(Plugin(textgen_batch_ended=press), name="presses"):
        artifact = work.train("run")
        assert not [problem for problem in work.found.problems if problem.plugin.name == "presses"]
    assert Artifact.open(artifact.path).manifest.status == "interrupted"
