import json
import math
import os
import signal
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import safetensors.numpy
from pydantic import Field

from textgen import Sampler, TrainingOptions, hookimpl
from textgen.errors import ArtifactError, CorpusError, OptionError, TextgenError
from textgen.files.reading import read_tensors
from textgen.model.fitting import Position
from textgen.runs.artifact import Artifact
from textgen.runs.checkpoint import read_checkpoint
from textgen.testing import CountingModel, CountingOptions, registered
from textgen.training.display import Display

LAYOUTS = [
    {"stream": True},
    {"stream": True, "layout": "windows"},
    {"stream": True, "layout": "windows", "carry_state": True, "shuffle": False},
    {"stream": True, "held_out": 0},
    {"layout": "documents"},
    {"layout": "documents", "bucket": False, "pad": "longest", "mask_padding": False, "carry_state": True},
    {"layout": "windows"},
    {"layout": "lanes"},
    {"layout": "packed"},
]


def weights(artifact: Artifact) -> dict[str, np.ndarray]:
    return Artifact.open(artifact.path).weights()


def checkpoints(artifact: Artifact) -> set[str]:
    folder = artifact.path / "checkpoints"
    return {f"checkpoints/{name}" for name in os.listdir(folder)}


def history(artifact: Artifact) -> list[dict[str, float]]:
    """The lines of the history, without values that depend on the clock."""
    lines = (artifact.path / "history.jsonl").read_text().splitlines()
    clock = ("seconds", "characters_per_second")
    return [{name: value for name, value in json.loads(line).items() if name not in clock} for line in lines]


def same_weights(a: Artifact, b: Artifact) -> bool:
    first, second = weights(a), weights(b)
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("options", LAYOUTS, ids=str)
def test_a_run_is_whole_in_every_layout(work, diary, options):
    artifact = work.train("run", display=diary, **options)
    again = Artifact.open(artifact.path)
    again.verify()
    assert again.manifest.status == "finished"
    assert again.manifest.weights == "weights.safetensors"
    steps = work.plan(**options).dataset.train.steps
    assert [record["step"] for record in history(artifact)] == [steps, 2 * steps, 3 * steps]
    assert [record["epoch"] for record in history(artifact)] == [1, 2, 3]
    losses = [record["loss"] for record in history(artifact)]
    assert losses == sorted(losses, reverse=True)
    assert [position for position, _ in diary.batches] == [
        Position(epoch, step + 1, epoch * steps + step + 1) for epoch in range(3) for step in range(steps)
    ]
    assert diary.begun == [(artifact.path, Position())]
    assert diary.ends == ["finished"]
    assert not list(artifact.path.rglob("*.tmp"))
    work.registry.get("model", "counting")(CountingOptions(smoothing=1), again.manifest.vocab_size).load_weights(
        again.weights()
    )


def test_the_counts_are_those_of_the_text(work):
    # Windows of a stream, counted by hand.
    artifact = work.train("run", stream=True, layout="windows", epochs=1, held_out=0)
    text = work.stream.read_text()
    ids = {character: i for i, character in enumerate(sorted(set(text)))}
    counts = np.zeros((7, 6, 6))
    for start in range(0, len(text) - 10, 11):
        window = [ids[character] for character in text[start : start + 11]]
        for before, last, then in zip([-1, *window], window, window[1:], strict=False):
            counts[before + 1, last, then] += 1
    np.testing.assert_array_equal(weights(artifact)["counts"], counts)


def test_the_history_has_nats_and_bits_and_the_display_shows_it(work, diary):
    artifact = work.train("run", display=diary)
    lines = [json.loads(line) for line in (artifact.path / "history.jsonl").read_text().splitlines()]
    assert lines == [record for record, _ in diary.epochs]
    for record in lines:
        assert record["bits"] == pytest.approx(record["loss"] / math.log(2))
        assert record["held_out_bits"] == pytest.approx(record["held_out_loss"] / math.log(2))
        assert record["characters_per_second"] > 0
    metrics = dict(artifact.manifest.metrics)
    assert metrics.pop("ngram_held_out_loss") > 0
    assert metrics == min(lines, key=lambda record: record["held_out_loss"])


def test_samples_are_shown_and_kept(work, diary):
    artifact = work.train("run", {"generation": {"prompt": "ab", "length": 6}}, display=diary, epochs=4, sample_every=2)
    shown = [sample for _, sample in diary.epochs]
    assert [sample is None for sample in shown] == [True, False, True, False]
    assert all(line.startswith("ab") for sample in shown if sample for line in sample.split("\n"))
    assert len(shown[1].split("\n")) == 5
    blocks = (artifact.path / "samples.txt").read_text().split("--- epoch ")[1:]
    assert [block.partition(",")[0] for block in blocks] == ["2", "4"]
    assert [block.partition("\n")[2].strip("\n") for block in blocks] == [shown[1], shown[3]]


def test_samples_can_be_turned_off(work, diary):
    artifact = work.train("run", display=diary, sample_every=0)
    assert [sample for _, sample in diary.epochs] == [None] * 3
    assert not (artifact.path / "samples.txt").exists()


def test_the_best_and_the_last_checkpoint_are_kept(work, diary):
    # With a large smoothing the held-out loss falls from epoch to epoch, so the best weights are the last.
    artifact = work.train("run", {"model": {"smoothing": 50}}, epochs=4)
    steps = history(artifact)[-1]["step"]
    assert checkpoints(artifact) == {f"checkpoints/step-{steps:08d}.safetensors"}
    # With a tiny one it rises: counting the same text again only adds confidence.
    artifact = work.train("other", {"model": {"smoothing": 0.01}}, epochs=4, display=diary)
    held_out = [record["held_out_loss"] for record in history(artifact)]
    assert held_out.index(min(held_out)) == 0
    assert artifact.manifest.metrics["epoch"] == 1
    assert checkpoints(artifact) == {f"checkpoints/step-{steps:08d}.safetensors"}
    first = work.train("first", {"model": {"smoothing": 0.01}}, epochs=1)
    assert same_weights(artifact, first)


def test_the_best_checkpoint_is_kept_during_training(work):
    seen = []

    class Watcher:
        @hookimpl
        def textgen_epoch_ended(self, position, metrics, folder):
            artifact = Artifact.open(folder)
            seen.append(checkpoints(artifact))
            assert checkpoints(artifact) == {artifact.manifest.weights, artifact.manifest.last_checkpoint}
            artifact.weights()

    with registered(Watcher()):
        artifact = work.train("run", {"model": {"smoothing": 0.01}}, epochs=4)
    assert [len(names) for names in seen] == [1, 2, 2, 2]
    assert artifact.manifest.status == "finished"


def test_checkpoints_every_n_epochs_and_at_the_end(work):
    saved = []
    plugin = SimpleNamespace(
        textgen_checkpoint_saved=hookimpl(lambda position, path: saved.append((position.epoch, path.is_file())))
    )
    plugin.textgen_checkpoint_saved.__name__ = "textgen_checkpoint_saved"
    with registered(plugin):
        work.train("run", held_out=0, checkpoint_every=3, epochs=7)
    assert saved == [(3, True), (6, True), (7, True)]


@pytest.mark.parametrize("limit", [1, 6, 7, 8, 20])
def test_max_steps_ends_a_run_anywhere(work, diary, limit):
    steps = work.plan().dataset.train.steps
    assert steps == 7
    artifact = work.train("run", display=diary, max_steps=limit, epochs=9, checkpoint_every=5, held_out=0.1)
    assert [position.total for position, _ in diary.batches] == list(range(1, limit + 1))
    assert artifact.manifest.status == "finished"
    assert history(artifact)[-1]["step"] == limit
    assert Artifact.open(artifact.path).manifest.last_checkpoint == f"checkpoints/step-{limit:08d}.safetensors"
    weights(artifact)


def test_max_steps_at_the_end_of_an_epoch_that_is_not_due_for_a_checkpoint(work):
    artifact = work.train("run", max_steps=8, epochs=9, checkpoint_every=5, held_out=0)
    assert work.plan(held_out=0).dataset.train.steps == 8
    assert artifact.manifest.metrics["step"] == 8
    assert weights(artifact)["counts"].sum() > 0


def stop_after(batches: int, number: signal.Signals = signal.SIGINT) -> object:
    """A plugin that presses Ctrl-C during a batch."""

    class Presses:
        @hookimpl
        def textgen_batch_ended(self, position):
            if position.total == batches:
                os.kill(os.getpid(), number)

    return Presses()


@pytest.mark.parametrize(
    "options",
    [*LAYOUTS[:2], *LAYOUTS[4:6], {"layout": "packed", "epochs": 5}, {"checkpoint_every": 2, "held_out": 0}],
    ids=str,
)
@pytest.mark.parametrize("at", [1, 5, 7, 8, 15])
def test_an_interrupted_run_is_resumed_as_if_it_had_not_been(work, diary, options, at):
    whole = work.train("whole", **options)
    with registered(stop_after(at)):
        part = work.train("part", **options)
    assert part.manifest.status == "interrupted"
    assert Artifact.open(part.path).manifest.status == "interrupted"
    part.verify()
    assert part.manifest.last_checkpoint == f"checkpoints/step-{at:08d}.safetensors"
    weights(part)
    resumed = work.resume("part", display=diary)
    assert diary.begun[0][1].total == at
    assert diary.batches[0][0].total == at + 1
    assert resumed.manifest.status == "finished"
    resumed.verify()
    assert same_weights(whole, resumed)
    assert history(whole) == history(resumed)
    assert (whole.path / "samples.txt").read_text() == (resumed.path / "samples.txt").read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_stop_as_ctrl_c_does(work, number):
    before = signal.signal(number, signal.SIG_DFL)  # under nohup, SIGHUP is ignored
    try:
        with registered(stop_after(5, number)):
            assert work.train("part").manifest.status == "interrupted"
    finally:
        signal.signal(number, before)
    assert same_weights(work.resume("part"), work.train("whole"))


def test_a_run_that_was_stopped_before_its_first_batch_can_be_resumed(work, monkeypatch):
    fit = CountingModel.fit

    def interrupted_fit(self, dataset, run):
        os.kill(os.getpid(), signal.SIGINT)
        fit(self, dataset, run)

    monkeypatch.setattr(CountingModel, "fit", interrupted_fit)
    part = work.train("part")
    monkeypatch.undo()
    assert part.manifest.status == "interrupted"
    with pytest.raises(ArtifactError, match=r"has no weights yet.* resume it with: textgen train --resume"):
        Artifact.open(part.path).weights()
    assert same_weights(work.resume("part"), work.train("whole"))


def test_a_second_ctrl_c_waits_until_an_epoch_is_saved_and_a_third_does_not(work):
    class Impatient(Sampler):
        """Presses Ctrl-C while the first epoch is sampled."""

        times = 2
        pressed = 0

        def transform(self, logits, parameters, seen):
            if Impatient.pressed < Impatient.times:
                Impatient.pressed += 1
                os.kill(os.getpid(), signal.SIGINT)
            return logits

    plugin = SimpleNamespace(
        textgen_register_samplers=hookimpl(lambda register: register("impatient", Impatient, "Presses Ctrl-C."))
    )
    plugin.textgen_register_samplers.__name__ = "textgen_register_samplers"
    generation = {"generation": {"sampler": "impatient | multinomial"}}
    with registered(plugin):
        part = work.train("part", generation)
        assert part.manifest.status == "interrupted"
        assert len(history(part)) == 1
        resumed, whole = work.resume("part"), work.train("whole", generation)
        assert (resumed.path / "samples.txt").read_text() == (whole.path / "samples.txt").read_text()
        Impatient.times, Impatient.pressed = 3, 0
        with pytest.raises(KeyboardInterrupt):
            work.train("at once", generation)


def test_a_second_ctrl_c_stops_at_once(work):
    class Presses:
        @hookimpl
        def textgen_batch_ended(self, position):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    with registered(Presses()), pytest.raises(KeyboardInterrupt):
        work.train("run")
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_finished_run_is_resumed_for_more_epochs(work):
    work.train("run", epochs=2)
    longer = work.resume("run", epochs=4)
    assert longer.manifest.settings["training"]["epochs"] == 4
    assert same_weights(longer, work.train("whole", epochs=4))
    assert history(longer) == history(work.train("third", epochs=4))
    longer.verify()


def test_a_complete_run_is_not_resumed_and_the_error_names_the_options_to_raise(work):
    before = work.train("run", max_steps=5)
    files = {path: path.read_bytes() for path in before.path.rglob("*") if path.is_file()}
    for changes in ({}, {"epochs": 9}, {"max_steps": 4}):
        limit = changes.get("max_steps", 5)
        done = r" \(5 are done\)" if limit < 5 else ""
        error = rf"run is finished, with --max-steps {limit}{done}; .* textgen train --resume .*run --max-steps 10$"
        with pytest.raises(OptionError, match=error):
            work.resume("run", **changes)
    assert files == {path: path.read_bytes() for path in before.path.rglob("*") if path.is_file()}
    assert history(work.resume("run", max_steps="none"))[-1]["epoch"] == 3


def test_a_run_killed_after_its_last_epoch_is_finished_on_resuming(work, monkeypatch):
    from textgen.training.run import Run

    monkeypatch.setattr(Run, "finish", lambda self: None)
    killed = work.train("run")
    monkeypatch.undo()
    assert Artifact.open(killed.path).manifest.status == "training"
    assert same_weights(work.resume("run"), work.train("whole"))


@pytest.mark.parametrize(
    "changes",
    [
        {"training": {"batch_size": 4}},
        {"training": {"seed": 1}},
        {"training": {"epochs": 9, "length": 3}},
        {"model": {"smoothing": 2}},
        {"corpus": {"path": "other.txt"}},
    ],
)
def test_other_options_cannot_change_on_resuming(work, changes):
    from textgen.training.train import resume

    artifact = work.train("run")
    before = (artifact.path / "textgen.json").read_bytes()
    with pytest.raises(OptionError, match=r"cannot change when a run is resumed \(these can: training\.epochs, "):
        resume(artifact.path, work.registry, Display(), changes=changes)
    assert (artifact.path / "textgen.json").read_bytes() == before


CALLED: list[str] = []


class CallingOptions(TrainingOptions):
    resumable: ClassVar[tuple[str, ...]] = (*TrainingOptions.resumable, "callbacks")
    names_code: ClassVar[tuple[str, ...]] = ("callbacks",)
    callbacks: tuple[str, ...] = Field((), description="What to call.")


class Calling(CountingModel):
    TrainingOptions = CallingOptions

    def fit(self, dataset, run):
        CALLED.extend(run.options.callbacks)
        super().fit(dataset, run)


class CallingPlugin:
    @hookimpl
    def textgen_register_models(self, register):
        register("calling", Calling)


def test_code_that_a_run_names_is_asked_for_on_resuming(work):
    model = {"model": {"name": "calling"}}
    with registered(CallingPlugin()):
        CALLED.clear()
        work.train("run", model, callbacks=["a:b", "c:d e"], epochs=2)
        assert CALLED == ["a:b", "c:d e"]
        asked = (
            r"run was trained with training\.callbacks, .*: add --set 'training\.callbacks=\[\"a:b\", \"c:d e\"\]' if"
        )
        with pytest.raises(OptionError, match=asked):
            work.resume("run", epochs=3)
        assert CALLED == ["a:b", "c:d e"]
        # The same again is no change; none is one.
        assert work.resume("run", epochs=3, callbacks=["a:b", "c:d e"]).manifest.changes[-1]["settings"] == {
            "training": {"epochs": 3}
        }
        assert CALLED == ["a:b", "c:d e"] * 2
        resumed = work.resume("run", epochs=4, callbacks=())
        assert resumed.manifest.changes[-1]["settings"] == {"training": {"epochs": 4, "callbacks": []}}
        work.resume("run", epochs=5)
        assert CALLED == ["a:b", "c:d e"] * 2
        assert same_weights(Artifact.open(work.folder / "run"), work.train("whole", model, epochs=5))


def test_code_that_a_run_names_is_not_taken_over(work, capsys):
    from textgen.evaluation.folds import cross_validate_run
    from textgen.saved_run import SavedRun
    from textgen.training.plan import make_plan
    from textgen.training.train import open_base

    with registered(CallingPlugin()):
        CALLED.clear()
        path = work.train("run", {"model": {"name": "calling"}}, callbacks=["a:b"]).path
        base, corpus = open_base(path, work.registry), {"corpus": work.settings()["corpus"]}
        plan: Any = make_plan(corpus, work.registry, base=base)
        assert plan.training.callbacks == ()
        assert "what training.callbacks of" in capsys.readouterr().err
        cross_validate_run(SavedRun.open(path, work.registry), 2)
        assert CALLED == ["a:b"]
        given = {**corpus, "training": {"callbacks": ["e:f"]}}
        plan = make_plan(given, work.registry, base=base)
        assert plan.training.callbacks == ("e:f",)


@pytest.mark.parametrize("change", ["more", "renamed", "shuffled"])
def test_a_run_is_not_resumed_with_another_text(work, change):
    artifact = work.train("run")
    words = list(work.words)
    if change == "more":
        words.append("abc")
    elif change == "renamed":  # the same ids, another vocabulary
        words = [word.replace("d", "e") for word in words]
    else:
        words.reverse()
    work.lines.write_text("\n".join(words))
    with pytest.raises(ArtifactError, match=r"the text of .*run has changed since the run began; train a new run"):
        work.resume("run", epochs=5)
    assert same_weights(artifact, Artifact.open(artifact.path))


def test_a_missing_text_is_named(work):
    work.train("run")
    work.lines.unlink()
    with pytest.raises(CorpusError, match=r"words\.txt does not exist"):
        work.resume("run", epochs=5)


def test_an_existing_folder_is_left_alone(work):
    artifact = work.train("run")
    before = (artifact.path / "textgen.json").read_bytes()
    with pytest.raises(ArtifactError, match="run already exists; choose another --out, or resume it with: --resume"):
        work.train("run")
    with pytest.raises(ArtifactError, match="is a file, not a folder"):
        work.train("words.txt")
    assert (artifact.path / "textgen.json").read_bytes() == before
    (work.folder / "empty").mkdir()
    assert work.train("empty").manifest.status == "finished"


def test_runs_get_separate_folders(work):
    from textgen.base.environment import runs_folder
    from textgen.runs.folder import find_run, list_runs
    from textgen.training.train import train

    first = train(work.plan(), work.registry, Display())
    second = train(work.plan(), work.registry, Display())
    assert first.path != second.path
    assert {first.path.parent, second.path.parent} == {runs_folder()}
    assert first.path.name.endswith("-file-counting")
    assert set(list_runs()) == {first.path, second.path}
    assert find_run(None) == second.path


def test_a_run_that_cannot_start_leaves_no_folder(work, monkeypatch):
    def fail(self, dataset, run):
        raise TextgenError("no library")

    monkeypatch.setattr(CountingModel, "fit", fail)
    with pytest.raises(TextgenError, match="no library"):
        work.train("run")
    assert not (work.folder / "run").exists()


def test_the_header_is_shown_before_the_model_prepares(work, diary, monkeypatch):
    def fail(self, dataset, run):
        assert diary.begun == [(work.folder / "run", Position())]
        raise TextgenError("no library")

    monkeypatch.setattr(CountingModel, "fit", fail)
    with pytest.raises(TextgenError, match="no library"):
        work.train("run", display=diary)


def test_a_loss_of_nan_ends_the_run_and_keeps_the_last_checkpoint(work, monkeypatch):
    loss = CountingModel._loss

    def diverge(self, batch, state):
        mean, characters = loss(self, batch, state)
        return (math.nan if self._counts.sum() > 620 else mean), characters

    monkeypatch.setattr(CountingModel, "_loss", diverge)
    with pytest.raises(TextgenError, match=r"the loss is nan after batch 16; .*000014.safetensors is kept; resume"):
        work.train("run")
    monkeypatch.undo()
    artifact = Artifact.open(work.folder / "run")
    artifact.verify()
    assert artifact.weights()["counts"].sum() < 620


def test_a_loss_of_nan_before_the_first_checkpoint_leaves_nothing(work, monkeypatch):
    monkeypatch.setattr(CountingModel, "_loss", lambda self, batch, state: (math.nan, 4))
    with pytest.raises(TextgenError, match="the loss is nan after batch 1, and nothing was saved before"):
        work.train("new/run")
    assert not (work.folder / "new").exists()
    (work.folder / "mine").mkdir()
    with pytest.raises(TextgenError, match="nothing was saved"):
        work.train("mine")
    assert os.listdir(work.folder / "mine") == []


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("epoch", [1, 2])
def test_a_held_out_loss_that_is_not_finite_leaves_what_the_error_says(work, monkeypatch, value, epoch):
    judge, calls = CountingModel._held_out_loss, 0

    def diverge(self, dataset):
        nonlocal calls
        calls += 1
        return value if calls == epoch else judge(self, dataset)

    monkeypatch.setattr(CountingModel, "_held_out_loss", diverge)
    with pytest.raises(TextgenError, match=rf"the held-out loss is {value} after batch {7 * epoch}") as raised:
        work.train("run")
    monkeypatch.undo()
    if epoch == 1:
        assert "nothing was saved" in str(raised.value)
        assert not (work.folder / "run").exists()
        return
    assert f"step-00000007.safetensors is kept; resume from there with: textgen train --resume {work.folder}/run" in (
        str(raised.value)
    )
    artifact = Artifact.open(work.folder / "run")
    artifact.verify()
    assert artifact.weights()["counts"].sum() > 0
    assert same_weights(work.resume("run"), work.train("whole"))


def every_batch(**options):
    """Options with which a checkpoint is saved after each batch within an epoch."""
    return {**options, "checkpoint_minutes": 1e-9}


@pytest.mark.parametrize("options", [*LAYOUTS, {"max_steps": 10}, {"max_steps": 10, "held_out": 0}], ids=str)
def test_a_run_killed_within_an_epoch_is_resumed_as_if_it_had_not_been(work, options):
    """The process really dies, in the middle of the second epoch; the checkpoint is that of the last batch."""
    whole = work.train("whole", **options)
    at = 9
    child = os.fork()
    if not child:
        with registered(stop_after(at + 1, signal.SIGKILL)):
            work.train("part", **every_batch(**options))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    part = Artifact.open(work.folder / "part")
    part.verify()
    assert part.manifest.last_checkpoint == f"checkpoints/step-{at:08d}.safetensors"
    part.weights()
    resumed = work.resume("part")
    resumed.verify()
    assert same_weights(whole, resumed)
    assert history(whole) == history(resumed)
    assert (whole.path / "samples.txt").read_text() == (resumed.path / "samples.txt").read_text()


@pytest.mark.parametrize("at", [3, 8, 9])
def test_a_run_that_ends_within_an_epoch_after_an_interruption_has_the_same_history(work, at):
    whole = work.train("whole", max_steps=10)
    with registered(stop_after(at)):
        work.train("part", max_steps=10)
    assert history(work.resume("part")) == history(whole)


@pytest.mark.parametrize("totals", [3, [], {}, {"nats": 1}, {"nats": "1", "characters": 1, "seconds": 1}, None])
def test_damaged_totals_of_an_epoch_are_an_error(work, totals):
    with registered(stop_after(9)):
        artifact = work.train("run")
    name = str(artifact.manifest.last_checkpoint)
    tensors, metadata = read_tensors(artifact.path / name)
    about = json.loads(metadata["checkpoint"])
    about["numbers"]["textgen.epoch"] = totals
    artifact.put(name, safetensors.numpy.save(tensors, metadata={"checkpoint": json.dumps(about)}))
    artifact.commit()
    with pytest.raises(ArtifactError, match=r"textgen\.epoch has no valid totals"):
        work.resume("run")


def test_checkpoints_within_epochs_change_nothing(work):
    plain, often = work.train("plain"), work.train("often", **every_batch())
    assert same_weights(plain, often)
    assert history(plain) == history(often)
    assert checkpoints(plain) == checkpoints(often)


def test_a_checkpoint_is_saved_after_some_minutes(work, monkeypatch):
    now = 0.0

    class Clock:
        """Each batch takes three minutes."""

        @hookimpl
        def textgen_batch_ended(self, position):
            nonlocal now
            now += 180

    def saved(**options):
        positions = []

        class Watcher:
            @hookimpl
            def textgen_checkpoint_saved(self, position, path):
                positions.append((position.epoch, position.step))

        with registered(Clock()), registered(Watcher(), name="watcher"):
            work.train(f"run-{len(os.listdir(work.folder))}", epochs=2, **options)
        return positions

    monkeypatch.setattr("textgen.training.run.time.monotonic", lambda: now)
    assert saved() == [(0, 4), (1, 0), (1, 4), (2, 0)]  # by default, after ten minutes
    each = [(epoch, step) for epoch in (0, 1) for step in range(1, 7)]
    assert saved(checkpoint_minutes=3) == sorted([*each, (1, 0), (2, 0)])
    assert saved(checkpoint_minutes=0) == [(1, 0), (2, 0)]


def test_a_prompt_that_cannot_be_encoded_is_an_error_before_training(work):
    with pytest.raises(OptionError, match=r"generation\.prompt.*'z'.*choose another"):
        work.plan({"generation": {"prompt": "az"}}, stream=True)
    with pytest.raises(OptionError, match=r"generation\.prompt.*'zz'.*choose another"):
        work.plan({"generation": {"prompt": "zz"}, "tokenizer": {"name": "char-index", "on_unknown": "skip"}})


def test_a_damaged_history_is_an_error_and_can_be_deleted(work):
    with registered(stop_after(9)):
        artifact = work.train("run")
    for damage in ("{", "3\n", "{}\n", '{"step": null}\n'):
        (artifact.path / "history.jsonl").write_text(damage)
        with pytest.raises(ArtifactError, match=r"history\.jsonl was altered; restore it from a copy, or delete it"):
            work.resume("run")
    (artifact.path / "history.jsonl").unlink()
    assert work.resume("run").manifest.status == "finished"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: None, "is missing; restore it from a copy, or train again"),
        (lambda content: content[:-1], "it was truncated or altered"),
        (lambda content: content[:-1] + b"x", "was altered: its SHA-256 is not the one recorded"),
    ],
)
def test_a_damaged_checkpoint_is_an_error(work, damage, message):
    with registered(stop_after(9)):
        artifact = work.train("run")
    path = artifact.path / artifact.manifest.last_checkpoint
    content = damage(path.read_bytes())
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ArtifactError, match=message) as raised:
        work.resume("run")
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("about", [None, "{", "{}", '{"position": {"epoch": 1, "batch": 3}, "numbers": {}}'])
def test_a_file_that_is_not_a_checkpoint_is_an_error(work, about):
    with registered(stop_after(9)):
        artifact = work.train("run")
    metadata = {} if about is None else {"checkpoint": about}
    tensors = {"weights/counts": np.zeros(3, np.float32)}
    artifact.put(artifact.manifest.last_checkpoint, safetensors.numpy.save(tensors, metadata=metadata))
    artifact.commit()
    with pytest.raises(ArtifactError, match="is not a textgen checkpoint"):
        work.resume("run")


def test_a_model_that_stops_early_loses_no_epoch(work):
    class Enough(Exception):
        pass

    class Stops(CountingModel):
        def fit(self, dataset, run):
            end_epoch = run.epoch_ended

            def end_second_epoch(position, metrics, checkpoint):
                end_epoch(position, metrics, checkpoint)
                if position.epoch == 2:
                    raise Enough

            run.epoch_ended = end_second_epoch
            with suppress(Enough):
                super().fit(dataset, run)

    class Models:
        @hookimpl
        def textgen_register_models(self, register):
            register("stops", Stops)

    with registered(Models()):
        stopped = work.train("run", {"model": {"name": "stops"}}, epochs=9, checkpoint_every=5, held_out=0)
    assert stopped.manifest.status == "finished"
    assert same_weights(stopped, work.train("two", epochs=2, held_out=0))


def test_a_checkpoint_holds_the_position_and_equal_tensors_once(work):
    artifact = work.train("run", epochs=1)
    tensors, metadata = read_tensors(artifact.path / artifact.manifest.last_checkpoint)
    assert set(tensors) == {"weights/counts"}
    about = json.loads(metadata["checkpoint"])
    assert about["position"] == {"epoch": 1, "step": 0, "total": 7}
    assert about["shared"] == {"counts": "weights/counts"}
    checkpoint = read_checkpoint(artifact)
    assert checkpoint is not None
    np.testing.assert_array_equal(checkpoint.tensors["counts"], tensors["weights/counts"])


def test_a_checkpoint_without_shared_tensors_can_be_resumed(work):
    # As textgen wrote them until it stored equal tensors once.
    with registered(stop_after(9)):
        part = work.train("part")
    name = part.manifest.last_checkpoint
    tensors, metadata = read_tensors(part.path / name)
    about = json.loads(metadata["checkpoint"])
    tensors |= {f"training/{own}": tensors[same] for own, same in about.pop("shared").items()}
    part.put(name, safetensors.numpy.save(tensors, metadata={"checkpoint": json.dumps(about)}))
    part.commit()
    assert same_weights(work.resume("part"), work.train("whole"))


def test_the_logs_are_written_once_per_epoch_and_at_the_end(work, monkeypatch):
    written = []
    put = Artifact.put

    def note(artifact, name, content):
        written.append(name)
        return put(artifact, name, content)

    monkeypatch.setattr(Artifact, "put", note)
    work.train("run", epochs=3)
    assert [written.count(name) for name in ("history.jsonl", "history.csv", "samples.txt")] == [4, 4, 4]


def test_an_epoch_is_saved_even_if_its_sample_fails(work):
    class Fails:
        @hookimpl
        def textgen_register_samplers(self, register):
            register("fails", Failing)

    with registered(Fails()), pytest.raises(TextgenError, match="no sample"):
        work.train("run", {"generation": {"sampler": "fails | greedy"}})
    artifact = Artifact.open(work.folder / "run")
    assert artifact.manifest.last_checkpoint == "checkpoints/step-00000007.safetensors"
    assert [record["epoch"] for record in history(artifact)] == [1]


class Failing(Sampler):
    def transform(self, logits, parameters, seen):
        raise TextgenError("no sample")


@pytest.mark.parametrize("held_out", [0.1, 0])
def test_patience_ends_a_run_of_any_model_and_can_be_raised(work, monkeypatch, held_out):
    loss = CountingModel._loss
    # With so little smoothing the held-out loss rises; the training loss is made to rise.
    monkeypatch.setattr(CountingModel, "_loss", lambda *a: (loss(*a)[0] * float(1 + a[0]._counts.sum()), loss(*a)[1]))
    options = {"epochs": 9, "held_out": held_out, "checkpoint_every": 5}
    artifact = work.train("run", {"model": {"smoothing": 0.01}}, patience=2, **options)
    assert artifact.manifest.status == "finished"
    assert [record["epoch"] for record in history(artifact)] == [1, 2, 3]
    with pytest.raises(
        OptionError, match=r"is finished, with --set training.patience=2; .* --set training.patience=4$"
    ):
        work.resume("run", epochs=20)
    assert [record["epoch"] for record in history(work.resume("run", patience=4))] == [1, 2, 3, 4, 5]


def test_a_run_that_recorded_options_of_other_models_is_resumed_with_a_notice(work, capsys):
    # Until models declared their own training options, every run recorded those of all.
    artifact = work.train("run", epochs=1)
    artifact.manifest.settings["training"] |= {"learning_rate": 0.002, "average": 0.99, "callbacks": []}
    artifact.commit()
    resumed = work.resume("run", epochs=2)
    expected = "training options that the model 'counting' does not use: learning_rate, average, callbacks"
    assert capsys.readouterr().err == f"textgen: {artifact.path} sets {expected}\n"
    assert "average" not in Artifact.open(resumed.path).manifest.settings["training"]
    assert same_weights(resumed, work.train("whole", epochs=2))


def test_a_recorded_option_that_is_unknown_is_an_error(work):
    artifact = work.train("run", epochs=1)
    artifact.manifest.settings["training"]["momentum"] = 0.9
    artifact.commit()
    with pytest.raises(OptionError, match="training has no option 'momentum' for the model 'counting'"):
        work.resume("run", epochs=2)


def test_training_outside_the_main_thread(work):
    import threading

    results = []
    thread = threading.Thread(target=lambda: results.append(work.train("run")))
    thread.start()
    thread.join()
    assert results[0].manifest.status == "finished"
