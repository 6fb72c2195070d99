"""A saved run: its parts, and the runtime that is chosen for it."""

import pytest

from textgen import hookimpl
from textgen.errors import UnavailableError, UnsupportedModelError
from textgen.generation.runtime import ModelRuntime
from textgen.saved_run import SavedRun
from textgen.testing import registered


def runtime(name: str, priority: int, fault: Exception | None = None, **attributes):
    """A class of runtimes that notes its name in ``opened``, and may fail to open."""

    class Noted(ModelRuntime):
        opened: list[str] = []

        @classmethod
        def open(cls, artifact, make_model, device="auto"):
            cls.opened.append(name)
            if fault is not None:
                raise fault
            return super().open(artifact, make_model, device)

    Noted.priority = priority
    for attribute, value in attributes.items():
        setattr(Noted, attribute, value)
    return Noted


@pytest.fixture
def run(work) -> SavedRun:
    return SavedRun.open(work.train("run").path)


def choose(run: SavedRun, *, from_weights: bool = False, **classes) -> tuple[str, list[str]]:
    """The name of the runtime that ``"auto"`` takes, and of all that it tried to open."""
    opened: list[str] = []
    for found in classes.values():
        found.opened = opened

    class Plugin:
        @hookimpl
        def textgen_register_runtimes(self, register):
            for name, found in classes.items():
                register(name, found)

    with registered(Plugin()):
        return run.runtime(device="cpu", from_weights=from_weights)[0], opened


def test_auto_takes_the_runtime_of_the_highest_priority(run):
    classes = {"slow": runtime("slow", 30), "fast": runtime("fast", 40), "plain": runtime("plain", 0)}
    assert choose(run, **classes) == ("fast", ["fast"])


def test_auto_skips_runtimes_that_cannot_run_the_model(run):
    unsupported = runtime("picky", 50, UnsupportedModelError("not this model"))
    absent = runtime("absent", 40, UnavailableError("no such library"))
    assert choose(run, picky=unsupported, absent=absent, able=runtime("able", 30)) == (
        "able",
        ["picky", "absent", "able"],
    )


def test_a_runtime_that_has_no_priority_is_never_tried(run):
    assert choose(run, plain=runtime("plain", 0)) == ("counting", [])


def test_an_export_is_compared_with_a_runtime_of_the_weights(run):
    classes = {"export": runtime("export", 50, runs_weights=False), "weights": runtime("weights", 40)}
    assert choose(run, **classes)[0] == "export"
    assert choose(run, from_weights=True, **classes) == ("weights", ["weights"])


def test_the_error_of_the_first_choice_is_raised_if_the_models_own_runtime_is_unavailable(run, monkeypatch):
    def fail(*_):
        raise UnavailableError("nothing works")

    monkeypatch.setattr(ModelRuntime, "open", fail)
    with pytest.raises(UnavailableError, match="buy a GPU"):
        choose(run, first=runtime("first", 50, UnavailableError("buy a GPU")))
    with pytest.raises(UnavailableError, match="nothing works"):
        choose(run, first=runtime("first", 50, UnsupportedModelError("not this model")))


def test_a_runtime_that_cannot_be_imported_is_reported_and_skipped(run, capsys):
    class Plugin:
        @hookimpl
        def textgen_register_runtimes(self, register):
            register("lost", "no_such_module:Runtime")
            register("odd", lambda: None)

    with registered(Plugin()):
        for _ in range(2):
            assert run.runtime()[0] == "counting"
    (line,) = capsys.readouterr().err.splitlines()
    assert "runtime 'lost'" in line
    assert line.endswith("; using another runtime")


def test_the_tokenizer_is_read_once_and_the_model_is_made_anew(run, monkeypatch):
    assert run.tokenizer() is run.tokenizer()
    assert run.model() is not run.model()
    assert str(run.chain()) == run.settings["generation"]["sampler"]
    assert run.corpus().layout == "documents"
