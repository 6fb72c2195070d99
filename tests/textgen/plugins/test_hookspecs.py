"""Every hook specification: its documentation, and calls by a real run."""

import importlib.util
import inspect
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_origin, get_type_hints

import numpy as np
import pluggy
import pytest

from textgen import api, hookimpl
from textgen.generation.request import Generation, Request
from textgen.generation.sampler import Sampler
from textgen.model.fitting import Position
from textgen.options import Options
from textgen.plugins import hookspecs
from textgen.plugins.doctor import diagnose
from textgen.plugins.registration import KINDS
from textgen.plugins.registry import Registry
from textgen.runs.artifact import Artifact
from textgen.testing import CountingModel, registered
from textgen.text.batches import Batch
from textgen.training.settings import read_settings

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
def test_a_specification_documents_itself_its_version_and_its_arguments(name):
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


DOCS = Path(__file__).parents[3] / "docs"


def test_every_hook_has_a_test():
    tests = {name for name in globals() if name.startswith("test_hook_")}
    assert {f"test_hook_{name.removeprefix('textgen_')}" for name in SPECIFICATIONS} <= tests


def test_the_page_of_hooks_matches_the_specifications():
    spec = importlib.util.spec_from_file_location("generate_docs", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    page = generate.HOOKS.read_text(encoding="utf-8")
    assert page == generate.hooks_page(), "run: python docs/generate.py"
    assert re.findall(r"^### `(\w+)`$", page, re.MULTILINE) == list(SPECIFICATIONS)


def test_a_deprecated_hook_or_argument_warns_its_implementer_only():
    (example,) = (
        block
        for block in re.findall(r"^```python\n(.*?)^```", (DOCS / "stability.md").read_text(), re.DOTALL | re.MULTILINE)
        if "warn_on_impl" in block
    )
    specifications: dict[str, Any] = {}
    exec(example, specifications)
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    namespace: Any = SimpleNamespace(**specifications)
    manager.add_hookspecs(namespace)
    with pytest.warns(DeprecationWarning, match="implement textgen_after_generation"):
        manager.register(SimpleNamespace(textgen_text_ended=hookimpl(lambda text: None, specname="textgen_text_ended")))
    with pytest.warns(DeprecationWarning, match="loss goes in 2.0"):
        manager.register(SimpleNamespace(a=hookimpl(lambda loss: None, specname="textgen_step_ended")))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        manager.register(SimpleNamespace(a=hookimpl(lambda metrics: None, specname="textgen_step_ended")))


def test_the_doctor_reports_a_deprecated_hook(tmp_path, monkeypatch):
    source = "from textgen import hookimpl\n\n\n@hookimpl\ndef textgen_batch_ended(loss): pass\n"
    (tmp_path / "of_old.py").write_text(source)
    options = getattr(hookspecs.textgen_batch_ended, f"{hookspecs.PROJECT}_spec")
    monkeypatch.setitem(options, "warn_on_impl", DeprecationWarning("it goes in 2.0"))
    with pytest.warns(DeprecationWarning, match="it goes in 2.0"):
        found = Registry(frozenset(), without=["textgen-rnn"], files=[tmp_path / "of_old.py"])
    del sys.modules["of_old"]
    (diagnosis,) = (each for each in diagnose(found, ()) if each.plugin.is_file)
    assert diagnosis.status == "note"
    (finding,) = diagnosis.findings
    assert finding.what == "deprecated: it goes in 2.0"
    assert finding.where == f"{tmp_path / 'of_old.py'}:4"


def test_hooks_of_later_versions_are_marked_as_the_documentation_says():
    documented = (DOCS / "stability.md").read_text()
    (example,) = re.findall(r"^```python\n(from textgen import hookimpl.*?)^```", documented, re.DOTALL | re.MULTILINE)
    namespace: dict[str, Any] = {}
    exec(example, namespace)
    with registered(SimpleNamespace(hook=namespace["textgen_weather_changed"])) as plugins:
        assert "temporary" in {plugin.name for plugin in plugins.plugins}


def test_plugins_are_called_in_order_unless_they_ask_otherwise(work):
    called: list[str] = []

    def plugin(name: str, **order: Any) -> SimpleNamespace:
        def textgen_before_generation() -> None:
            called.append(name)

        return SimpleNamespace(textgen_before_generation=hookimpl(**order)(textgen_before_generation))

    run = work.train("run").path
    with (
        registered(plugin("last", trylast=True), name="a"),
        registered(plugin("second"), name="b"),
        registered(plugin("third"), name="c"),
        registered(plugin("first", tryfirst=True), name="d"),
    ):
        api.load(run).generate("a", length=1, seed=0)
    assert called == ["first", "second", "third", "last"]


def naming(kind: str, target: object, name: str = "mine") -> Any:
    """A plugin that registers a target of a kind."""
    return Plugin(**{KINDS[kind]: lambda register: register(name, target, "Of a test.")})


def test_hook_register_corpora(work):
    corpus = type(work.plan().text.corpus)
    settings = {"corpus": {"name": "mine", "path": str(work.lines), "layout": "lines"}}
    with registered(naming("corpus", corpus)):
        assert work.train("run", settings).manifest.providers["corpus"] == "testing"


def test_hook_register_tokenizers(work):
    with registered(naming("tokenizer", type(work.plan().tokenizer))):
        artifact = work.train("run", {"tokenizer": {"name": "mine"}})
        assert type(api.load(artifact.path).tokenizer) is type(work.plan().tokenizer)


def test_hook_register_models(work):
    with registered(naming("model", "textgen.testing.counting:CountingModel")) as plugins:
        assert plugins.get("model", "mine") is CountingModel
        assert work.train("run", {"model": {"name": "mine"}}).manifest.settings["model"]["name"] == "mine"


def test_hook_register_samplers(work):
    class Only(Sampler):
        class Options(Options):
            id: int

        def transform(self, logits, parameters, seen):
            return np.where(np.arange(logits.shape[1]) == parameters["id"], logits, -np.inf).astype(np.float32)

    with registered(naming("sampler", Only)):
        generator = api.load(work.train("run").path)
        text = generator.generate("", length=4, sampler="mine(2) | greedy", ignore_eos=True, rows=[1], seed=0)
        assert text[1:] == generator.tokenizer.decode([2]) * 4


def test_hook_register_exporters(work, tmp_path):
    class Copies:
        Options = Options

        def __init__(self, options):
            self.options = options

        def export(self, source, folder):
            folder.mkdir()
            (folder / "loss.txt").write_text(str(source.measure_loss(source.open_runtime("counting"))))
            return "reported"

    artifact = work.train("run")
    with registered(naming("exporter", Copies)):
        report: object = api.export(artifact.path, to="mine", out=tmp_path / "out")
    assert report == "reported"
    assert float((tmp_path / "out" / "loss.txt").read_text()) == pytest.approx(
        artifact.manifest.metrics["held_out_loss"], rel=1e-5
    )


def test_hook_register_runtimes(work):
    run = work.train("run").path
    with registered(naming("runtime", "textgen.generation.runtime:ModelRuntime")):
        assert api.load(run, runtime="mine").generate("a", seed=1) == api.load(run).generate("a", seed=1)


def test_hook_register_recipes(work):
    recipe = {"corpus": {"name": "file", "path": str(work.stream)}, "model": {"name": "counting"}}
    with registered(naming("recipe", recipe)) as plugins:
        settings = read_settings(plugins, {}, {"training": {"length": 10}}, recipe="mine")
    assert settings["corpus"] == recipe["corpus"]
    assert settings["training"] == {"length": 10}


def test_hook_register_commands(monkeypatch, capsys):
    from textgen.cli import main

    monkeypatch.setattr(sys, "argv", ["textgen", "mine", "there"])
    with registered(naming("command", lambda name: print(f"hello {name}"))), pytest.raises(SystemExit) as stop:
        main()
    assert (stop.value.code or 0, capsys.readouterr().out) == (0, "hello there\n")


def implement(name: str, body: Callable[..., Any]) -> Any:
    """An implementation of a hook that takes all its arguments, in the order of the specification."""

    def implementation(*arguments: Any) -> Any:
        return body(*arguments)

    implementation.__name__ = name
    implementation.__wrapped__ = SPECIFICATIONS[name]  # type: ignore[attr-defined]  # pluggy reads the names of the arguments from it
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


def positions(steps: int) -> list[Position]:
    return [Position(0, step, step) for step in range(steps + 1)]


def test_hook_batch_ended(work):
    calls: list[tuple[str, Position]] = []
    losses: list[float] = []

    def ended(position: Position, loss: float) -> None:
        calls.append(("ended", position))
        losses.append(loss)

    plugin = Plugin(
        textgen_transform_batch=lambda batch, position: calls.append(("batch", position)), textgen_batch_ended=ended
    )
    with registered(plugin):
        work.train("run", epochs=1)
    steps = 7
    before, after = positions(steps)[:-1], positions(steps)[1:]
    pairs = [[("batch", old), ("ended", new)] for old, new in zip(before, after, strict=True)]
    assert calls == [entry for pair in pairs for entry in pair]
    assert all(loss > 0 for loss in losses)


def test_hook_epoch_ended(work):
    calls: list[Any] = []
    with registered(Plugin(textgen_epoch_ended=lambda *arguments: calls.append(arguments))):
        artifact = work.train("run", epochs=2)
    assert [position for position, _, _ in calls] == [Position(1, 0, 7), Position(2, 0, 14)]
    assert {folder for _, _, folder in calls} == {artifact.path}
    for _, metrics, _ in calls:
        assert {"epoch", "step", "loss", "held_out_loss", "bits", "held_out_bits"} <= metrics.keys()


def test_hook_checkpoint_saved(work):
    calls: list[Any] = []
    plugin = Plugin(textgen_checkpoint_saved=lambda position, path: calls.append((position, path, path.is_file())))
    with registered(plugin):
        artifact = work.train("run", epochs=1)
    path = artifact.path / "checkpoints" / "step-00000007.safetensors"
    assert calls == [(Position(1, 0, 7), path, True)]


def test_hook_before_generation(work):
    calls: list[Any] = []
    generator = api.load(work.train("run").path)
    request = generator.request(["a", "b"], length=4, seed=3)
    with registered(Plugin(textgen_before_generation=calls.append)):
        pieces = generator.pieces(request)
        assert calls == []
        next(pieces)
        assert calls == [request]
        list(pieces)
        generator.sample(request)
    assert calls == [request, request]


def test_hook_after_generation(work):
    calls: list[Any] = []
    generator = api.load(work.train("run").path)
    request = generator.request(["a", "b"], length=4, seed=3)
    with registered(Plugin(textgen_after_generation=lambda *arguments: calls.append(arguments))):
        pieces = generator.pieces(request)
        next(pieces)
        assert calls == []
        list(pieces)
        generations = generator.sample(request)
    assert calls == [(request, generations)] * 2


def test_hook_transform_batch(work):
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


def test_a_hook_that_raises_is_reported_once_and_not_called_again(work, capsys):
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
        assert [str(problem) for problem in work.registry.problems if problem.plugin.name == "fails"] == [
            "plugin fails of bad-plugin 0: textgen_batch_ended raised ValueError: of no use; "
            "its hooks are not called again"
        ]
    assert len(calls) == 1
    assert len(others) == 5
    assert artifact.manifest.status == "finished"
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "plugin" in line] == [
        "textgen: plugin fails of bad-plugin 0: textgen_batch_ended raised ValueError: of no use; "
        "its hooks are not called again"
    ]


@pytest.mark.parametrize(
    ("result", "fault"),
    [(None, "raised ValueError; "), (5, "returned int instead of Batch; "), ([], "returned list instead of Batch; ")],
)
def test_a_transform_that_fails_leaves_the_batch(work, capsys, result, fault):
    def fail(batch: Batch, position: Position) -> Any:
        if result is None:
            raise ValueError
        return result

    with registered(Plugin(textgen_transform_batch=fail), name="fails"):
        changed = work.train("run").weights()["counts"]
    np.testing.assert_array_equal(changed, work.train("plain").weights()["counts"])
    assert capsys.readouterr().err.count(f"textgen_transform_batch {fault}") == 1


def test_a_hook_that_raises_stops_everything_in_strict_mode(work, monkeypatch):
    def fail(position: Position, loss: float) -> None:
        raise ValueError("seen")

    monkeypatch.setenv("TEXTGEN_STRICT", "1")
    with registered(Plugin(textgen_batch_ended=fail)), pytest.raises(ValueError, match="seen"):
        work.train("run")


def test_ctrl_c_in_a_hook_is_not_a_fault_of_the_hook(work):
    def press(position: Position, loss: float) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with registered(Plugin(textgen_batch_ended=press), name="presses"):
        artifact = work.train("run")
        assert not [problem for problem in work.registry.problems if problem.plugin.name == "presses"]
    assert Artifact.open(artifact.path).manifest.status == "interrupted"
