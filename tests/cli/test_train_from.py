"""``textgen train --from RUN``: a new text, from the weights of a run."""

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import textgen as package
from textgen.errors import ArtifactError, OptionError
from textgen.runs.artifact import Artifact
from textgen.runs.lineage import Base
from textgen.testing import recurrent as fixed
from textgen.testing import registered

RECORDED = Path(__file__).parents[1] / "recorded"

#: Options of a run that trains within milliseconds; ``--from`` takes them over.
QUICK = [
    *("--model", "counting", "--batch-size", 4, "--set", "training.held_out=0.25"),
    *("--set", "training.sample_every=0", "--set", "training.length=10", "--set", "model.smoothing=0.5"),
]

NEW_NAMES = ["Åse", "Ada", "Zoë", "Bo", "Ed", "Max", "Mia", "Tom"]


@pytest.fixture
def base(textgen, names) -> Path:
    """A run on names, of two epochs."""
    done = textgen(
        *("train", names, *QUICK, "--set", "corpus.layout=lines", "--epochs", 2, "--out", "base"),
        *("--set", "generation.sampler=temperature(0.5) | multinomial", "--seed", 3),
    )
    assert done.code == 0, done.err
    return Path("base")


@pytest.fixture
def new_names() -> Path:
    """Other names, with the new characters Z, Å and ë."""
    path = Path("new.txt")
    path.write_text("\n".join(NEW_NAMES) + "\n", encoding="utf-8")
    return path


LINES = ("--set", "corpus.layout=lines")


def manifest(run: "Path | str") -> Any:
    return Artifact.open(Path(run)).manifest


def characters(run: "Path | str") -> list[str]:
    found: list[str] = json.loads((Path(run) / "tokenizer.json").read_text())["characters"]
    return found


def known_counts(run: str, known: list[str]) -> Any:
    """The counts of the counting model for three characters in a row, in the order of the given ones."""
    ids = np.array([characters(run).index(each) + 1 for each in known])
    return Artifact.open(Path(run)).weights()["counts"][np.ix_(ids + 1, ids, ids)]


def test_the_run_s_model_tokenizer_and_options_are_taken_over(textgen, base, new_names):
    textgen("train", new_names, *LINES, "--from", base, "--out", "tuned", "--max-steps", 1)
    old, new = manifest(base).settings, manifest("tuned").settings
    assert new["model"] == old["model"]
    assert new["tokenizer"] == old["tokenizer"]
    assert new["corpus"]["path"] == str(new_names.absolute())
    own = {"epochs", "max_steps"}
    assert {name: value for name, value in new["training"].items() if name not in own} == {
        name: value for name, value in old["training"].items() if name not in own
    }
    assert new["generation"]["sampler"] == "temperature(0.5) | multinomial"
    assert new["generation"]["length"] == 2 * max(map(len, NEW_NAMES))
    assert new["training"]["epochs"] > old["training"]["epochs"], "the default for the new text"


def test_training_starts_from_the_trained_weights(textgen, base, names):
    """The counting model adds up what it reads: a second run on the same text doubles the counts of the first."""
    textgen("train", names, *LINES, "--from", base, "--epochs", 2, "--out", "tuned")
    assert manifest("tuned").vocab_size == manifest(base).vocab_size
    before, after = (Artifact.open(Path(run)).weights()["counts"] for run in (base, "tuned"))
    np.testing.assert_array_equal(after, 2 * before)


def test_new_characters_are_reported_and_known_ones_keep_their_weights(textgen, base, new_names):
    done = textgen("train", new_names, *LINES, "--from", base, "--epochs", 1, "--out", "tuned")
    assert "3 new characters: Z Å ë" in done.err.splitlines()
    assert "from the weights of base, into tuned" in done.err
    old, new = characters(base), characters("tuned")
    assert set(new) == {*old, *"ZÅë"}
    # Each count of three known characters is that of the base, or higher.
    before, after = (known_counts(run, old) for run in ("base", "tuned"))
    assert (after >= before).all()
    assert after.sum() > before.sum()
    assert textgen("sample", "tuned", "--prompt", "Zoë", "--seed", 1, "--num", 3).code == 0


def test_a_dry_run_says_from_what_and_writes_nothing(textgen, base, new_names):
    before = sorted(Path().rglob("*"))
    done = textgen("train", new_names, *LINES, "--from", base, "--dry-run")
    assert json.loads(done.out)["from"] == "base"
    assert json.loads(done.out)["new_tokens"] == ["Z", "Å", "ë"]
    assert sorted(Path().rglob("*")) == before


def test_the_lineage_is_recorded_and_shown(textgen, base, names, new_names, tmp_path):
    textgen("train", new_names, *LINES, "--from", base, "--epochs", 1, "--out", "second")
    textgen("train", names, *LINES, "--from", "second", "--epochs", 1, "--out", "third")
    first, second = (Artifact.open(Path(run)) for run in ("base", "second"))
    assert manifest("third").lineage == [
        {
            "run": str(artifact.path.absolute()),
            "weights_sha256": artifact.manifest.files["weights.safetensors"].sha256,
            "corpus": "file",
            "text_sha256": artifact.manifest.provenance["text_sha256"],
            "settings": artifact.manifest.settings,
        }
        for artifact in (second, first)
    ]
    shutil.rmtree(base)
    shutil.rmtree("second")
    shown = [line for line in textgen("runs", "show", "third").out.splitlines() if line.startswith("from ")]
    assert [line.split()[1] for line in shown] == ["second", "base"]
    assert json.loads(textgen("runs", "show", "third", "--json").out)["lineage"][1]["corpus"] == "file"
    assert textgen("sample", "third", "--seed", 1).code == 0
    assert textgen("train", "--resume", "third", "--epochs", 2).code == 0
    assert [Path(run["run"]).name for run in manifest("third").lineage] == ["second", "base"]


def test_runs_are_found_by_name(textgen, names, new_names, monkeypatch):
    monkeypatch.setenv("TEXTGEN_RUNS_DIR", "kept")
    textgen("train", names, *QUICK, *LINES, "--epochs", 1, "--out", "kept/base")
    assert textgen("train", new_names, *LINES, "--from", "base", "--epochs", 1).code == 0


def test_from_python(textgen, base, new_names):
    generator = package.train("new.txt", from_="base", settings={"corpus": {"layout": "lines"}}, out="tuned")
    assert generator.generate("Zoë", seed=1)
    assert manifest("tuned").lineage[0]["run"] == str(base.absolute())
    for name in ("model", "tokenizer", "recipe"):
        named: Any = {name: "counting"}
        with pytest.raises(OptionError, match=f"{name} cannot be combined with from_"):
            package.train("new.txt", from_="base", **named)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--model", "counting"], "--model cannot be combined with --from"),
        (["--tokenizer", "char-eos"], "--tokenizer cannot be combined with --from"),
        (["--recipe", "dinos-gru"], "--recipe cannot be combined with --from"),
        (["--resume", "base"], "a text file cannot be combined with --resume"),
        (["--set", "tokenizer.order=frequency"], "tokenizer.order cannot change: the weights of base depend on this"),
        (["--set", "tokenizer.name=char-index"], "tokenizer.name cannot change: the weights of base depend on this"),
        (["--set", "model.name=gru"], "model.name cannot change: the weights of base depend on this"),
        (["--on-unknown", "skip"], "tokenizer.on_unknown cannot change: the weights of base depend on this"),
        (
            ["--on-unknown", "skip", "--set", "model.name=gru"],
            "tokenizer.on_unknown, model.name cannot change: the weights of base depend on this",
        ),
        (["--set", "model.units=3"], "model has no option 'units'"),
        (
            ["--set", "training.layout=lanes", "--set", "training.length=1000"],
            "to train on, a window of training.length=1000",
        ),
        (["--out", "base", "--overwrite"], "--out would replace base"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(textgen, base, new_names, arguments, error):
    assert error in textgen("train", new_names, *LINES, "--from", base, *arguments).error
    assert sorted(path.name for path in Path().iterdir()) == ["base", "names.txt", "new.txt"]


def test_values_that_the_run_has_are_no_change(textgen, base, new_names):
    same = ["--set", "model.name=counting", "--set", "model.smoothing=0.50", "--set", "tokenizer.order=sorted"]
    assert textgen("train", new_names, *LINES, "--from", base, *same, "--dry-run").code == 0


def test_an_option_on_which_no_weight_depends_may_change(textgen, base, new_names):
    done = textgen("train", new_names, *LINES, "--from", base, "--set", "model.smoothing=2", "--dry-run")
    assert json.loads(done.out)["settings"]["model"]["smoothing"] == 2


def test_a_text_must_be_named(textgen, base):
    assert textgen("train", "--from", base).error == (
        "no text is chosen to fine-tune base on: give a text file or --corpus NAME"
    )


def test_a_run_that_is_missing_has_no_weights_or_is_an_export(textgen, base, new_names):
    assert "nowhere does not exist" in textgen("train", new_names, "--from", "nowhere").error
    shutil.copytree(base, "begun")
    about = json.loads(Path("begun/textgen.json").read_text())
    Path("begun/textgen.json").write_text(json.dumps(about | {"weights": None, "status": "training"}))
    error = textgen("train", new_names, "--from", "begun").error
    assert error.endswith(
        "begun has no weights yet: it stopped before its first checkpoint; resume it first, with: "
        "textgen train --resume begun"
    )
    Path("begun/textgen.json").write_text(json.dumps(about | {"weights": None, "export": {"format": "onnx"}}))
    error = textgen("train", new_names, "--from", "begun").error
    assert error.endswith("begun is an export, which has no weights to train on; give the run that it was made from")


def test_an_interrupted_run_gives_its_best_weights(textgen, names, new_names):
    textgen("train", names, *QUICK, *LINES, "--epochs", 3, "--out", "base")
    about = json.loads(Path("base/textgen.json").read_text())
    best = Artifact.open(Path("base"))
    Path("base/textgen.json").write_text(json.dumps(about | {"status": "interrupted", "weights": about["weights"]}))
    found = Base.open(Path("base"))
    assert found.weights_sha256 == best.weights_sha256
    assert textgen("train", new_names, *LINES, "--from", "base", "--epochs", 1).code == 0


def test_from_a_stream_to_documents_and_back(textgen, verse, new_names):
    textgen("train", verse, *QUICK, "--set", "training.layout=lanes", "--epochs", 1, "--out", "stream")
    done = textgen("train", new_names, *LINES, "--from", "stream", "--epochs", 2, "--out", "names")
    assert done.code == 0, done.err
    about = manifest("names")
    assert about.settings["training"]["layout"] == "auto"
    assert characters("names")[about.end_id] == "\n", "documents end as lines do: the tokenizer has no end of its own"
    assert textgen("sample", "names", "--seed", 1).code == 0

    textgen("train", verse, "--from", "names", "--epochs", 2, "--out", "verse")
    about = manifest("verse")
    assert (about.end_id, about.provenance["layout"]) == (None, "stream")
    assert about.settings["generation"]["length"] == 400
    assert textgen("sample", "verse", "--seed", 1, "--length", 30).code == 0

    assert (
        "needs a corpus of documents"
        in textgen("train", verse, "--from", "names", "--set", "training.layout=documents").error
    )


def test_a_tokenizer_with_an_end_goes_to_a_stream(textgen, base, verse):
    assert textgen("train", verse, "--from", base, "--epochs", 1, "--out", "verse").code == 0
    assert manifest("verse").end_id is None
    assert textgen("sample", "verse", "--seed", 1, "--length", 30).code == 0


def test_a_prompt_is_kept_if_the_new_text_has_its_characters(textgen, names, new_names):
    textgen("train", names, *QUICK, *LINES, "--epochs", 1, "--out", "one", "--set", "generation.prompt=To")
    textgen("train", names, *QUICK, *LINES, "--epochs", 1, "--out", "two", "--set", "generation.prompt=Be")
    prompts = [
        json.loads(textgen("train", new_names, *LINES, "--from", run, "--dry-run").out)["settings"]["generation"][
            "prompt"
        ]
        for run in ("one", "two", "two")
    ]
    assert prompts[:2] == ["To", "Be"]
    new_names.write_text("Åse\nAda\nZoë\nEd\nMax\nMia\nTom\nTim\n", encoding="utf-8")
    planned = json.loads(textgen("train", new_names, *LINES, "--from", "two", "--dry-run").out)
    assert planned["settings"]["generation"]["prompt"] == ""


def test_a_model_that_cannot_grow_says_so(textgen, base, names, new_names, monkeypatch):
    from textgen.model.model import Model
    from textgen.testing import CountingModel

    monkeypatch.setattr(CountingModel, "grow_weights", Model.grow_weights)
    error = textgen("train", new_names, *LINES, "--from", base).error
    assert error.endswith("its weights can be fine-tuned only on text with the same characters")
    assert textgen("train", names, *LINES, "--from", base, "--epochs", 1).code == 0


def test_a_tokenizer_that_cannot_grow_says_so(textgen, base, new_names, monkeypatch):
    from textgen.text.tokenizer import Tokenizer

    textgen("train", "names.txt", *QUICK, *LINES, "--tokenizer", "char-index", "--epochs", 1, "--out", "index")
    monkeypatch.setattr("textgen_tokenizers.characters.CharacterTokenizer.grow", Tokenizer.grow)
    error = textgen("train", new_names, *LINES, "--from", "index").error
    assert "the tokenizer 'char-index' of index cannot learn 'Å': remove it from the text, or train a new" in error


def test_a_stack_of_recurrent_layers_grows(textgen, names, new_names):
    """The weights of known characters move with their ids; the logits of known text stay as they were."""
    with registered(fixed):
        textgen("train", names, *LINES, "--model", "fixed-gru", *QUICK[2:-2], "--epochs", 1, "--out", "base")
        textgen("train", new_names, *LINES, "--from", "base", "--epochs", 1, "--out", "tuned")
        old, new = (Artifact.open(Path(run)).weights() for run in ("base", "tuned"))
    kept = [characters("tuned").index(each) + 1 for each in characters("base")]
    known = range(1, len(kept) + 1)
    np.testing.assert_array_equal(new["embedding"][kept], old["embedding"][known])
    np.testing.assert_array_equal(new["head.kernel"][:, kept], old["head.kernel"][:, known])
    np.testing.assert_array_equal(new["layers.0.kernel"], old["layers.0.kernel"])
    added = [characters("tuned").index(each) + 1 for each in "ZÅë"]
    assert new["head.bias"][added] == pytest.approx(old["head.bias"].min())
    assert np.abs(new["head.kernel"][:, added].T - old["head.kernel"].mean(axis=1)).max() < old["head.kernel"].std()
    assert len(np.unique(new["embedding"][added], axis=0)) == 3


def test_the_card_of_an_export_has_the_lineage(textgen, names, new_names):
    with registered(fixed):
        textgen("train", names, *LINES, "--model", "fixed-gru", *QUICK[2:-2], "--epochs", 1, "--out", "base")
        textgen("train", new_names, *LINES, "--from", "base", "--epochs", 1, "--out", "tuned")
        done = textgen("export", "tuned", "--onnx")
    assert done.code == 0, done.err
    sha256 = Artifact.open(Path("base")).weights_sha256
    card = Path("tuned/onnx/README.md").read_text(encoding="utf-8")
    assert f"The weights began as those of base, trained on file (SHA-256 {sha256})." in card
    assert [run["weights_sha256"] for run in manifest("tuned/onnx").lineage] == [sha256]


def test_a_missing_plugin_is_named(trained, new_names, command_line):
    code, _, err = command_line("train", new_names, *LINES, "--from", trained["documents"])
    assert (code, err.count("\n")) == (2, 1)
    assert "was made with the model 'counting' of textgen-counting" in err


@pytest.mark.parametrize("run", ["gru-names", "gru-trees", "lstm-trees"])
def test_runs_of_an_earlier_format(textgen, names, run, tmp_path):
    path = Path(shutil.copytree(RECORDED / run, tmp_path / run))
    done = textgen("train", names, *LINES, "--from", path, "--dry-run")
    assert done.code == 0, done.err
    planned = json.loads(done.out)
    old = manifest(path).settings
    later = {"input_weight_dropout": 0, "ngram": 0, "ngram_powers": None}
    assert planned["settings"]["model"] == old["model"] | later
    assert planned["settings"]["training"]["learning_rate"] != old["training"]["learning_rate"]
    assert planned["settings"]["training"]["length"] == old["training"]["length"]


#: Kills the process after batch 2, or 5.
KILLS = """
import os, signal
from textgen import hookimpl

@hookimpl
def textgen_batch_ended(position):
    if position.total == {batch}:
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("batch", [1, 3])
def test_a_killed_run_ends_with_the_same_weights(textgen, process, install, base, new_names, batch):
    """Two batches are an epoch, after which there is a checkpoint."""
    install("kills", KILLS.format(batch=batch))
    train = ["train", new_names, *LINES, "--from", base, "--epochs", 4]
    assert process(*train, "--out", "killed").code < 0
    assert (manifest("killed").last_checkpoint is None) == (batch == 1)
    if batch == 3:
        shutil.rmtree(base)
    done = textgen("train", "--resume", "killed")
    assert done.code == 0, done.err
    if batch == 1:
        textgen(*train, "--out", "whole")
        killed, whole = (Artifact.open(Path(run)).weights()["counts"] for run in ("killed", "whole"))
        np.testing.assert_array_equal(killed, whole)
        assert manifest("killed").lineage == manifest("whole").lineage


def test_before_the_first_checkpoint_the_base_must_be_as_it_was(textgen, process, install, base, new_names):
    install("kills", KILLS.format(batch=1))
    process("train", new_names, *LINES, "--from", base, "--epochs", 4, "--out", "killed")
    textgen("train", "names.txt", *QUICK, *LINES, "--epochs", 1, "--out", base, "--overwrite")
    error = textgen("train", "--resume", "killed").error
    assert f"killed has to begin again with the weights of {base.absolute()}, which has other weights now" in error
    shutil.rmtree(base)
    assert "a run that cannot be read: " in textgen("train", "--resume", "killed").error


def test_a_changed_text_is_not_resumed(textgen, base, new_names):
    textgen("train", new_names, *LINES, "--from", base, "--epochs", 1, "--out", "tuned")
    for text in ("".join(f"Ünal {n}\n" for n in "123456789"), "\n".join(NEW_NAMES[:-1])):
        new_names.write_text(text, encoding="utf-8")
        assert "the text of tuned has changed" in textgen("train", "--resume", "tuned", "--epochs", 2).error


def test_the_run_is_evaluated_on_its_own_text(textgen, base, new_names):
    textgen("train", new_names, *LINES, "--from", base, "--epochs", 1, "--out", "tuned")
    found = json.loads(textgen("evaluate", "tuned", "--json", "--num", 4).out)
    assert found["same_text"] is True
    assert found["held_out"]["nats"] == pytest.approx(manifest("tuned").metrics["held_out_loss"], rel=1e-3)


def test_folds_begin_with_the_weights_of_the_base(textgen, base, new_names):
    textgen("train", new_names, *LINES, "--from", base, "--epochs", 1, "--out", "tuned")
    assert textgen("evaluate", "tuned", "--folds", 2, "--json").code == 0
    shutil.rmtree(base)
    with pytest.raises(ArtifactError, match="has to begin again with the weights of"):
        package.cross_validate("tuned", folds=2)


def test_resuming_may_change_what_the_model_declares_and_records_it(textgen, base):
    unchanged = ["--seed", 3, "--set", "corpus.path=names.txt", "--set", "model.smoothing=0.5", "--batch-size", 4]
    assert textgen("train", "--resume", base, "--epochs", 3, "--set", "training.patience=9", *unchanged).code == 0
    steps = manifest(base).changes[0]["step"]
    assert manifest(base).changes == [{"step": steps, "settings": {"training": {"epochs": 3, "patience": 9}}}]
    assert steps == json.loads(Path("base/history.jsonl").read_text().splitlines()[1])["step"]
    assert textgen("train", "--resume", base, "--epochs", 4).code == 0
    assert [change["settings"]["training"] for change in manifest(base).changes] == [
        {"epochs": 3, "patience": 9},
        {"epochs": 4},
    ]
    shown = textgen("runs", "show", base).out
    assert f"changed     after batch {steps}: training.patience=9, training.epochs=3\n" in shown


def test_the_advice_to_use_from_works_when_pasted(textgen, base):
    error = textgen("train", "--resume", base, "--seed", 5, "--set", "generation.stop=['x y']").error
    assert "training.seed, generation.stop cannot change when a run is resumed " in error.replace(
        "generation.stop, training.seed", "training.seed, generation.stop"
    )
    command = error.partition("to fine-tune its weights: ")[2]
    program, *arguments = shlex.split(command)
    assert program == "textgen"
    done = textgen(*arguments, "--epochs", 1, "--out", "again")
    assert done.code == 0, done.err
    settings = manifest("again").settings
    assert (settings["training"]["seed"], settings["generation"]["stop"]) == (5, ["x y"])
    assert settings["corpus"] == manifest(base).settings["corpus"]


def test_the_advice_to_use_from_names_all_files(textgen, names, new_names):
    textgen("train", names, new_names, *QUICK, *LINES, "--epochs", 1, "--out", "both")
    error = textgen("train", "--resume", "both", "--batch-size", 5).error
    command = error.partition("to fine-tune its weights: ")[2]
    assert textgen(*shlex.split(command)[1:], "--epochs", 1, "--out", "again").code == 0
    assert len(manifest("again").settings["corpus"]["path"]) == 2


def test_a_model_s_shape_needs_a_new_run(textgen, base):
    assert textgen("train", "--resume", base, "--on-unknown", "skip").error.endswith("; train a new run instead")


#: A table of towns by country.
TOWNS = "country,town\nItaly,Roma\nItaly,Parma\nPeru,Lima\nPeru,Ica\nItaly,Bari\nPeru,Cusco\nItaly,Como\nPeru,Tacna\n"


@pytest.fixture
def towns(textgen) -> Path:
    """A run on labelled documents: the labels Italy and Peru."""
    Path("towns.csv").write_text(TOWNS)
    options = ["--set", "corpus.column=town", "--set", "corpus.label=country"]
    done = textgen("train", "towns.csv", *QUICK, *options, "--epochs", 1, "--out", "towns")
    assert done.code == 0, done.err
    return Path("towns")


def test_labels_keep_their_weights_and_new_ones_are_added(textgen, towns):
    Path("more.csv").write_text("country,town\nPeru,Puno\nNepal,Patan\nNepal,Banepa\nPeru,Lima\nNepal,Palpa\n")
    options = ["--set", "corpus.column=town", "--set", "corpus.label=country"]
    done = textgen("train", "more.csv", *options, "--from", towns, "--epochs", 1, "--out", "more")
    assert done.code == 0, done.err
    assert {"4 new characters: e l p t", "1 new label: Nepal"} <= {*done.err.splitlines()}
    assert manifest("more").labels == ["Italy", "Peru", "Nepal"]
    counts = {run: Artifact.open(Path(run)).weights()["counts"] for run in ("towns", "more")}
    for label in (0, 1):  # how often a label is followed by each character
        then, now = (
            counts[run][0, manifest(run).vocab_size - len(manifest(run).labels) + label, np.array(ids)]
            for run, ids in (
                (run, [characters(run).index(each) + 1 for each in characters("towns")]) for run in ("towns", "more")
            )
        )
        assert then.sum() > 0
        assert (now >= then).all()
    for country in ("Italy", "Nepal"):
        assert textgen("sample", "more", "--label", country, "--seed", 1).code == 0


def test_documents_without_labels_leave_those_of_the_run_behind(textgen, towns, names):
    done = textgen("train", names, *LINES, "--from", towns, "--epochs", 1, "--out", "plain")
    assert done.code == 0, done.err
    assert "the labels of towns are dropped: the new text has none" in done.err.splitlines()
    assert manifest("plain").labels == []
    assert textgen("sample", "plain", "--seed", 1).code == 0
    assert textgen("train", "--resume", "plain", "--epochs", 2).code == 0


def test_a_run_without_labels_takes_them_on(textgen, base, towns):
    options = ["--set", "corpus.column=town", "--set", "corpus.label=country"]
    done = textgen("train", "towns.csv", *options, "--from", base, "--epochs", 1, "--out", "labelled")
    assert done.code == 0, done.err
    assert manifest("labelled").labels == ["Italy", "Peru"]
    assert textgen("sample", "labelled", "--label", "Peru", "--seed", 1).code == 0
    assert textgen("train", "--resume", "labelled", "--epochs", 2).code == 0
