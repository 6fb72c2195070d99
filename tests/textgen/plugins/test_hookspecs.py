"""Every hook specification: its documentation, and calls by a real run."""

import importlib.util
import inspect
import math
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from types import SimpleNamespace, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import pluggy
import pytest

from textgen import Engine, ExportReport, api, hookimpl
from textgen.errors import PluginError, TextgenError
from textgen.generation.request import Generation, Request
from textgen.model.fitting import Position
from textgen.options import Options, Settings
from textgen.plugins import hookspecs
from textgen.plugins.doctor import diagnose
from textgen.plugins.registration import KINDS
from textgen.plugins.registry import Registry
from textgen.runs.artifact import Artifact
from textgen.sampling.chain import Chain
from textgen.sampling.sampler import Sampler
from textgen.testing import CountingModel, registered
from textgen.text.batches import Batch
from textgen.training import train as training
from textgen.training.display import Display
from textgen.training.settings import read_settings

SPECIFICATIONS: dict[str, Callable[..., Any]] = {
    name: function
    for name, function in vars(hookspecs).items()
    if inspect.isfunction(function) and hasattr(function, f"{hookspecs.PROJECT}_spec")
}
RECORDED = Path(__file__).parents[2] / "recorded"

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
    page = (DOCS / "hooks.md").read_text(encoding="utf-8")
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
            return ExportReport(folder, ("loss.txt",), {})

    artifact = work.train("run")
    with registered(naming("exporter", Copies)):
        report = api.export(artifact.path, to="mine", out=tmp_path / "out")
    assert report == ExportReport(tmp_path / "out", ("loss.txt",), {})
    assert float((tmp_path / "out" / "loss.txt").read_text()) == pytest.approx(
        artifact.manifest.metrics["held_out_loss"], rel=1e-5
    )


def test_hook_register_runtimes(work):
    run = work.train("run").path
    with registered(naming("runtime", "textgen.generation.runtime:ModelRuntime")):
        assert api.load(run, runtime="mine").generate("a", seed=1) == api.load(run).generate("a", seed=1)


def test_hook_register_engines(tmp_path):
    class Backwards(Engine):
        def map(self, work, chunks):
            yield from reversed([work(chunk) for chunk in reversed(list(chunks))])

    generator = api.load(RECORDED / "gru-names")
    with registered(naming("engine", Backwards)):
        generator.write(tmp_path / "mine.csv", num=9, seed=1, shard_rows=2, engine="mine")
    generator.write(tmp_path / "local.csv", num=9, seed=1)
    assert (tmp_path / "mine.csv").read_bytes() == (tmp_path / "local.csv").read_bytes()


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
    """An implementation of a hook that takes the arguments that its body names, or all, in their order."""
    wanted = list(inspect.signature(body).parameters)
    named = set(wanted) <= set(inspect.signature(SPECIFICATIONS[name]).parameters)

    def implementation(*arguments: Any) -> Any:
        return body(*arguments)

    implementation.__name__ = name
    # pluggy reads the names of the arguments from it
    implementation.__wrapped__ = body if named else SPECIFICATIONS[name]  # type: ignore[attr-defined]
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
    types = {"Options": Options, "Batch": Batch, "Generation": Generation, "Request": Request, "Position": Position}
    for name, calls in called.items():
        hints = get_type_hints(SPECIFICATIONS[name], vars(hookspecs) | types)
        for arguments in calls:
            for parameter, value in zip(inspect.signature(SPECIFICATIONS[name]).parameters, arguments, strict=True):
                hint = hints[parameter]
                wanted = get_args(hint) if isinstance(hint, UnionType) else get_origin(hint) or hint
                wanted = str if wanted is Literal else wanted
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
    assert [position for position, *_ in calls] == [Position(1, 0, 7), Position(2, 0, 14)]
    assert {folder for _, _, folder, _ in calls} == {artifact.path}
    for _, metrics, *_ in calls:
        assert {"epoch", "step", "loss", "held_out_loss", "bits", "held_out_bits"} <= metrics.keys()


def test_hook_checkpoint_saved(work):
    calls: list[Any] = []

    def saved(position: Position, path: Path, folder: Path) -> None:
        calls.append((position, path, folder, path.is_file()))

    with registered(Plugin(textgen_checkpoint_saved=saved)):
        artifact = work.train("run", epochs=1)
    path = artifact.path / "checkpoints" / "step-00000007.safetensors"
    assert calls == [(Position(1, 0, 7), path, artifact.path, True)]


def test_hook_run_started(work):
    calls: list[Any] = []

    def started(folder: Path, settings: Settings, position: Position) -> None:
        calls.append((folder, settings["training"]["epochs"], position))

    with registered(Plugin(textgen_run_started=started)):
        path = work.train("run", epochs=1).path
        work.resume("run", epochs=2)
    assert calls == [(path, 1, Position()), (path, 2, Position(1, 0, 7))]


def test_hook_run_ended(work, monkeypatch):
    calls: list[Any] = []

    def ended(folder: Path, settings: Settings, status: str, metrics: dict[str, float]) -> None:
        calls.append((folder, settings["training"]["epochs"], status, metrics))

    def stop(position: Position) -> None:
        if position.total == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with registered(Plugin(textgen_run_ended=ended)):
        finished = work.train("run", epochs=1)
        with registered(Plugin(textgen_batch_ended=stop), name="stop"):
            stopped = work.train("stopped")
        monkeypatch.setattr(CountingModel, "_loss", lambda *arguments: (math.nan, 1))
        with pytest.raises(TextgenError, match="the loss is nan"):
            work.train("failed")
    assert finished.manifest.metrics["held_out_loss"] > 0
    assert calls == [
        (finished.path, 1, "finished", finished.manifest.metrics),
        (stopped.path, 3, "interrupted", stopped.manifest.metrics),
        (work.folder / "failed", 3, "failed", {}),
    ]


def test_hook_before_generation(work):
    calls: list[Any] = []
    generator = api.load(work.train("run").path)
    request = generator.request(["a", "b"], length=4, seed=3)
    with registered(Plugin(textgen_before_generation=lambda *arguments: calls.extend(arguments))):
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


def test_hooks_of_generation_in_a_batch(work):
    calls: list[Any] = []
    generator = api.load(work.train("run").path)
    requests = [generator.request(["a", "b"], length=length, seed=3) for length in (4, 90)]
    hooks = Plugin(
        textgen_before_generation=calls.append,
        textgen_after_generation=lambda request, generations: calls.append((request, generations)),
    )
    alone = [generator.sample(request) for request in requests]
    with registered(hooks):
        batching = generator.batching()
        jobs = [batching.prepare(request) for request in requests]
        assert calls == []
        for job in jobs:
            batching.add(job)
        while batching.running or batching.waiting:
            batching.turn()
    assert calls == [*requests, *zip(requests, alone, strict=True)]


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


def reports(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if "plugin" in line]


def test_a_hook_that_fails_three_times_in_a_row_is_left_out_and_the_end_says_so(work, capsys):
    calls = []

    def fail(loss: float) -> None:
        calls.append(loss)
        raise ValueError("of\nno use")

    others: list[Any] = []
    failing = Plugin(textgen_batch_ended=fail, textgen_epoch_ended=lambda position: others.append("the same plugin"))
    with (
        registered(failing, name="fails", distribution="bad-plugin"),
        registered(Plugin(textgen_batch_ended=lambda *arguments: others.append(arguments)), name="works"),
    ):
        artifact = work.train("run", epochs=1)
        (problem,) = [problem for problem in work.registry.problems if problem.plugin.name == "fails"]
    assert (len(calls), len(others)) == (3, 8)
    assert artifact.manifest.status == "finished"
    head, fault = "plugin fails of bad-plugin 0: ", "textgen_batch_ended raised ValueError: of no use"
    assert str(problem) == f"{head}{fault}; it is left out"
    assert reports(capsys) == [
        f"textgen: {head}{fault}; it will be called again, and disabled if it keeps failing",
        f"textgen: {head}{fault}; it failed 3 times in a row and is left out",
        f"textgen: {head}3 of 3 calls of textgen_batch_ended failed: raised ValueError: of no use; "
        "later calls were skipped",
    ]


def test_a_success_resets_the_count_of_failures(work, capsys):
    calls = []

    def fail(position: Position) -> None:
        calls.append(position.total)
        if position.total % 3:
            raise ValueError("twice")

    with registered(Plugin(textgen_batch_ended=fail), name="fails"):
        work.train("run", epochs=3)
    assert calls == list(range(1, 22))
    assert reports(capsys)[1:] == [
        "textgen: plugin fails of testing 0: 14 of 21 calls of textgen_batch_ended failed: raised ValueError: twice"
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
    assert capsys.readouterr().err.count(f"textgen_transform_batch {fault}it failed 3 times") == 1


@pytest.mark.parametrize(
    ("field", "change", "fault"),
    [
        ("inputs", lambda array: array + 10**6, "a batch with ids from 1000001 to 1000005"),
        ("targets", lambda array: array - 3, "a batch with ids from -3 to "),
        ("weights", lambda array: array * np.nan, "a batch with weights that are negative or not finite"),
        ("weights", lambda array: -array, "a batch with weights that are negative or not finite"),
        ("weights", lambda array: array[:, 1:], "a batch of the shapes "),
        ("weights", lambda array: None, "a batch whose inputs, targets and weights are not all arrays"),
        ("inputs", lambda array: array.astype(float), "a batch of the dtypes float64, int32, float32, not int32"),
        ("inputs", lambda array: array.tolist(), "a batch whose inputs, targets and weights are not all arrays"),
    ],
)
def test_a_batch_that_cannot_be_trained_on_ends_the_run(work, field, change, fault):
    def wrong(batch: Batch) -> Batch:
        return replace(batch, **{field: change(getattr(batch, field))})

    with (
        registered(Plugin(textgen_transform_batch=wrong), name="wrong"),
        pytest.raises(PluginError, match=f"plugin wrong of testing 0: textgen_transform_batch returned {fault}"),
    ):
        work.train("run")
    assert Artifact.open(work.folder / "run").manifest.last_checkpoint is None


def write(value: Any) -> None:
    """Writes to whatever can be written to in an argument."""
    if isinstance(value, np.ndarray):
        value[...] = 0
    elif isinstance(value, Mapping):  # a state, too
        for item in value.values():
            write(item)
        if isinstance(value, dict):
            value |= dict.fromkeys(value, 0)
    elif isinstance(value, list | tuple):
        for item in value:
            write(item)
        if isinstance(value, list):
            value.clear()
    elif is_dataclass(value):
        for each in fields(value):
            write(getattr(value, each.name))
            object.__setattr__(value, each.name, None)
    elif isinstance(value, Chain):
        value.samplers = value.names = ()


def test_hooks_get_copies(work):
    def results(folder: str) -> Any:
        artifact = work.train(folder)
        generator = api.load(artifact.path)
        request = generator.request(["a", "b"], length=9, seed=3)
        one = generator.request("c", length=9, seed=3, keep_state=True)
        texts = [*generator.sample(request), *generator.sample(one)]
        again = generator.sample(generator.request("", length=9, continuation=texts[-1].continuation))
        manifest = artifact.manifest
        written = [(text.prompt, text.text, text.ids) for text in (*texts, *again)]
        return artifact.weights()["counts"].tolist(), manifest.metrics["loss"], manifest.settings, written

    def write_all(*arguments: Any) -> None:
        for argument in arguments:
            write(argument)

    plain = results("plain")
    names = [name for name in SPECIFICATIONS if "register" not in name]
    with registered(Plugin(**dict.fromkeys(names, write_all)), name="writer"):
        assert results("written") == plain


def test_a_hook_leaves_the_working_directory_and_the_streams_as_they_were(work, capsys, monkeypatch):
    monkeypatch.chdir(work.folder)

    def disturb() -> None:
        print("on stdout")
        os.chdir("/")
        sys.stdout = sys.stderr = None

    before = sys.stdout, sys.stderr
    with registered(Plugin(textgen_batch_ended=disturb), name="disturbs"):
        artifact = training.train(work.plan(), work.registry, Display(), folder=Path("relative"))
        assert (Path.cwd(), sys.stdout, sys.stderr) == (work.folder, *before)
    artifact.verify()
    assert (work.folder / "relative" / "weights.safetensors").exists()
    shown = capsys.readouterr()
    assert (shown.out, shown.err.count("on stdout")) == ("", 21)


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
