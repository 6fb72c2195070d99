"""``textgen train``: planning, training and resuming."""

import json
import shlex
from pathlib import Path

import pytest

from textgen.runs.artifact import Artifact

QUICK = ["--model", "counting", "--batch-size", 4, "--set", "training.sample_every=0", "--set", "corpus.layout=lines"]


def plan(textgen, *arguments):
    shown = textgen("train", *arguments, "--dry-run")
    assert (shown.code, shown.err) == (0, "")
    return json.loads(shown.out)


def gru(vocab: int, embedding: int, units: int) -> int:
    """Parameters of embedding, GRU (Keras's reset_after: two bias rows) and dense head."""
    return vocab * embedding + 3 * units * (embedding + units + 2) + (units + 1) * vocab


def one_hot_lstm(vocab: int, units: int) -> int:
    return 4 * units * (vocab + units + 1) + (units + 1) * vocab


@pytest.mark.parametrize(
    ("recipe", "vocab", "documents", "steps", "parameters"),
    [
        ("shakespeare-gru", 66, 1, 172, 4_022_850),
        ("shakespeare-gru-stateful", 65, 1, 175, gru(65, 256, 1024)),
        ("agnews-lstm", 83, 7600, 950, one_hot_lstm(83, 128)),
        ("agnews-lstm-frequency", 83, 7600, 950, one_hot_lstm(83, 128)),
        ("dinos-gru", 53, 1543, 24, 4_006_197),
    ],
)
def test_a_dry_run_of_a_recipe_has_the_figures_of_its_source(
    textgen, data_dir, recipe, vocab, documents, steps, parameters
):
    split = ["--set", "corpus.split=test"] if recipe.startswith("agnews") else []
    planned = plan(textgen, "--recipe", recipe, "--data-dir", data_dir, *split)
    assert (planned["vocab_size"], planned["documents"]) == (vocab, documents)
    assert (planned["steps_per_epoch"], planned["parameters"]) == (steps, parameters)
    assert planned["held_out_examples"] == 0
    model = planned["settings"]["model"]
    dropouts = ("dropout", "weight_dropout", "input_weight_dropout")
    assert ([model[name] for name in dropouts], model["tie_weights"]) == ([0, 0, 0], False)
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("arguments", [["names.txt"], ["--corpus", "names.txt"], ["--set", "corpus.path=names.txt"]])
def test_a_file_can_be_named_in_three_ways(textgen, names, arguments):
    corpus = [] if "names.txt" in arguments else ["--corpus", "file"]
    planned = plan(textgen, *arguments, *corpus, "--set", "training.length=10")
    assert Path(planned["settings"]["corpus"]["path"]).resolve() == names.resolve()
    assert planned["characters"] == len(names.read_text())


def test_precedence_of_recipe_configuration_assignments_flags_and_names(textgen, names):
    Path("run.toml").write_text(
        """
        [corpus]
        layout = "lines"
        [model]
        name = "lstm"
        units = 7
        layers = 2
        [training]
        epochs = 5
        batch_size = 5
        length = 5
        seed = 5
        """
    )

    def settings(*more):
        recipe = ["--recipe", "dinos-gru", "--set", "generation.prompt=none"]
        return plan(textgen, "names.txt", *recipe, "--config", "run.toml", *more)["settings"]

    configured = settings()
    assert configured["corpus"]["layout"] == "lines"
    # The options of the recipe are for another model, so they are dropped.
    assert (configured["model"]["name"], configured["model"]["input"]) == ("lstm", "embedding")
    assert (configured["model"]["units"], configured["model"]["layers"]) == (7, 2)
    assert (configured["training"]["epochs"], configured["training"]["pad"]) == (5, "longest")

    assigned = settings("--set", "training.epochs=6", "--set", "training.seed=6", "--set", "model.units=9")
    assert (assigned["training"]["epochs"], assigned["training"]["batch_size"]) == (6, 5)
    assert (assigned["model"]["units"], assigned["model"]["layers"]) == (9, 2)

    flagged = settings("--set", "training.epochs=6", "--set", "training.seed=6", "--epochs", 8)
    assert (flagged["training"]["epochs"], flagged["training"]["seed"], flagged["training"]["length"]) == (8, 6, 5)

    named = settings("--model", "gru", "--set", "model.units=9")
    assert (named["model"]["name"], named["model"]["units"], named["model"]["layers"]) == ("gru", 9, 1)


def test_every_flag_reaches_its_option(textgen, names):
    flags = ["--epochs", 3, "--max-steps", 9, "--batch-size", 2, "--seed", 11, "--device", "cpu"]
    choice = ["--tokenizer", "string-lookup", "--on-unknown", "skip", "--set", "corpus.layout=lines"]
    settings = plan(textgen, "names.txt", *flags, *choice)["settings"]
    wanted = {"epochs": 3, "max_steps": 9, "batch_size": 2, "seed": 11, "device": "cpu"}
    assert {name: settings["training"][name] for name in wanted} == wanted
    assert settings["tokenizer"] | {"name": "string-lookup", "on_unknown": "skip"} == settings["tokenizer"]


def test_training_reports_on_stderr_alone_and_names_the_next_command(textgen, names):
    done = textgen("train", names, *QUICK, "--epochs", 2, "--out", "run")
    assert (done.code, done.out) == (0, "run\n")
    first, second, *epochs, yardstick, finished, last = done.err.splitlines()
    assert finished.startswith("done: epoch 2 is kept, loss ")
    assert first.startswith("counting with ")
    lines = names.read_text().split()
    assert f"{len(lines)} documents, {len(''.join(lines))} characters, " in first
    assert second == "2 epochs of 3 batches, into run"
    assert [line.partition(":")[0] for line in epochs] == ["epoch 1/2", "epoch 2/2"]
    assert yardstick.startswith("an n-gram counted in the same text")
    assert last.endswith("Write text with: textgen sample run")
    assert textgen("sample", "run", "--seed", 1).code == 0


def test_the_header_of_a_stream_does_not_count_documents(textgen, verse):
    done = textgen("train", verse, "--model", "counting", "--epochs", 1, "--set", "training.length=20", "--out", "run")
    assert f"on file: {len(verse.read_text())} characters, vocabulary" in done.err.splitlines()[0]


def test_runs_get_separate_folders(textgen, names):
    for _ in range(2):
        assert textgen("train", names, *QUICK, "--epochs", 1).code == 0
    runs = sorted(path.name for path in Path("runs").iterdir())
    assert len(runs) == 2
    assert all("-file-counting" in name for name in runs)


def test_a_run_is_only_replaced_on_request(textgen, names):
    textgen("train", names, *QUICK, "--epochs", 1, "--out", "run")
    before = Path("run/textgen.json").read_bytes()
    error = textgen("train", names, *QUICK, "--epochs", 1, "--out", "run").error
    assert error == "run already exists; choose another --out, or resume it with: --resume run"
    assert Path("run/textgen.json").read_bytes() == before
    assert textgen("train", names, *QUICK, "--epochs", 2, "--out", "run", "--overwrite").code == 0
    assert Artifact.open(Path("run")).manifest.settings["training"]["epochs"] == 2


def test_only_a_run_is_overwritten(textgen, names):
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("four years of work")
    assert "mine already exists" in textgen("train", names, *QUICK, "--out", "mine", "--overwrite").error
    assert [path.name for path in Path("mine").iterdir()] == ["thesis.txt"]
    assert "give --out" in textgen("train", names, *QUICK, "--overwrite").error


def test_a_run_that_max_steps_ended_can_be_sampled_and_resumed(textgen, names):
    textgen("train", names, *QUICK, "--epochs", 9, "--max-steps", 4, "--out", "run")
    assert textgen("sample", "run", "--seed", 1).code == 0
    assert "run is finished, with --max-steps 4; train it longer with: " in textgen("train", "--resume", "run").error
    done = textgen("train", "--resume", "run", "--max-steps", 20)
    assert done.err.splitlines()[1] == "9 epochs of 3 batches, at most 20 in all, into run, resumed after batch 4"
    textgen("train", names, *QUICK, "--epochs", 9, "--max-steps", 20, "--out", "whole")
    resumed, whole = (Artifact.open(Path(name)) for name in ("run", "whole"))
    assert resumed.weights()["counts"].tolist() == whole.weights()["counts"].tolist()
    assert resumed.manifest.metrics["held_out_loss"] == whole.manifest.metrics["held_out_loss"]


def test_a_finished_run_is_resumed_for_more_epochs(textgen, names, monkeypatch):
    monkeypatch.setenv("TEXTGEN_RUNS_DIR", "kept")
    textgen("train", names, *QUICK, "--epochs", 1, "--out", "kept/run")
    assert textgen("train", "--resume", "run", "--epochs", 3).code == 0
    epochs = [json.loads(line)["epoch"] for line in Path("kept/run/history.jsonl").read_text().splitlines()]
    assert epochs == [1, 2, 3]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["names.txt"], "a text file cannot be combined with --resume"),
        (["--corpus", "dinos-lite"], "--corpus cannot be combined with --resume"),
        (["--out", "other"], "--out cannot be combined with --resume"),
        (["--overwrite"], "--overwrite cannot be combined with --resume"),
        (["--dry-run"], "--dry-run cannot be combined with --resume"),
        (["--seed", 3], "training.seed cannot change"),
        (["--batch-size", 3], "training.batch_size cannot change"),
        (["--on-unknown", "skip"], "tokenizer.on_unknown cannot change"),
        (["--set", "model.smoothing=3"], "model.smoothing cannot change"),
        (["--set", "training.shuffle=false"], "training.shuffle cannot change"),
        ([], "is finished"),
    ],
)
def test_other_options_cannot_change_on_resuming(textgen, trained, arguments, error):
    manifest = trained["documents"] / "textgen.json"
    before = manifest.read_bytes()
    assert error in textgen("train", "--resume", trained["documents"], *arguments).error
    assert manifest.read_bytes() == before


def test_the_command_that_trains_a_finished_run_longer_can_be_pasted(textgen, names):
    impatient = ["--set", "training.patience=1", "--set", "model.smoothing=1e-9", "--epochs", 9]
    for limit in (["--epochs", 1], ["--max-steps", 2], impatient):
        done = textgen("train", names, *QUICK, *limit, "--out", "a run", "--overwrite")
        assert done.code == 0
        assert ("ended early: no lower loss for 1 epoch (training.patience)\n" in done.err) == (limit == impatient)
        error = textgen("train", "--resume", "a run").error
        assert "None" not in error
        assert textgen(*shlex.split(error.partition("longer with: textgen ")[2])).code == 0


def test_a_run_is_only_resumed_with_its_own_text(textgen, names):
    textgen("train", names, *QUICK, "--epochs", 1, "--out", "run")
    names.write_text(names.read_text() + "Zoe\n")
    assert "the text of run has changed" in textgen("train", "--resume", "run", "--epochs", 2).error


#: Asks the process to stop, as a user does, in the middle of its second epoch.
STOPS_ITSELF = """
import os, signal
from textgen import hookimpl

@hookimpl
def textgen_batch_ended(position):
    if position.total == 5:
        os.kill(os.getpid(), signal.{signal})
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_ctrl_c_saves_prints_how_to_resume_and_exits_with_130(textgen, process, install, names, name):
    install("stops", STOPS_ITSELF.format(signal=name))
    done = process("train", names, *QUICK, "--epochs", 9, "--out", "run")
    assert (done.code, done.out) == (130, "run\n")
    assert "Traceback" not in done.err
    assert done.err.splitlines()[-1] == "stopped; everything is saved. Resume with: textgen train --resume run"
    Artifact.open(Path("run")).verify()
    assert "(interrupted, " in textgen("runs", "show", "run").out.splitlines()[0]

    assert textgen("train", "--resume", "run").err.splitlines()[1].endswith("resumed after batch 5")
    textgen("train", names, *QUICK, "--epochs", 9, "--out", "whole")
    resumed, whole = (Artifact.open(Path(name)).weights()["counts"] for name in ("run", "whole"))
    assert resumed.tolist() == whole.tolist()


def test_ctrl_c_before_any_work_is_silent(process, install, names):
    install("stops", "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    done = process("train", names, *QUICK, "--out", "run")
    assert (done.code, done.out, done.err) == (130, "", "")
    assert not Path("run").exists()


def test_weight_decay_needs_the_optimizer_that_has_it(textgen, names):
    decays = ["--model", "gru", "--set", "training.length=10", "--set", "training.weight_decay=0.1", "--dry-run"]
    error = textgen("train", names, *decays).error
    assert error == "training: weight_decay has no effect with optimizer=adam; set optimizer=adamw"
    assert textgen("train", names, *decays, "--set", "training.optimizer=adamw").code == 0


@pytest.mark.parametrize("option", ["learning_rate=0.1", "average=0", "callbacks=[]"])
def test_an_option_that_the_model_does_not_use_is_refused(textgen, names, option):
    name = option.partition("=")[0]
    error = textgen("train", names, *QUICK, "--set", f"training.{option}").error
    assert error.startswith(f"training has no option {name!r} for the model 'counting'; ")
    assert plan(textgen, names, "--model", "gru", "--set", "training.length=10", "--set", f"training.{option}")


def test_a_device_that_the_model_cannot_train_on_is_refused(textgen, names):
    assert textgen("train", names, *QUICK, "--device", "cuda").error.startswith("training.device: ")
    assert plan(textgen, names, *QUICK, "--device", "cpu")["settings"]["training"]["device"] == "cpu"
