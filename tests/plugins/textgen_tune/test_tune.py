"""``textgen tune``, on a model that trains at once."""

import json
import math
import shutil
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean

import pytest

import textgen
from textgen_tune.space import read_space
from textgen_tune.trials import Search, Trial

pytest.importorskip("optuna", reason="Optuna is not installed; the extra tune has it")

TEXT = Path(__file__).parents[2] / "recorded" / "trees.txt"
SEARCH = ("--model", "ngram", "--search", "model.order=2..8", "--search", "model.contexts=50,500,5000")


def trials_of(folder: Path) -> list[dict]:
    return [
        {name: value for name, value in trial.items() if name != "seconds"}
        for trial in json.loads((folder / "tune.json").read_text())["trials"]
    ]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents: a tree per line."""
    path = tmp_path_factory.mktemp("corpus") / "trees.txt"
    path.write_text("\n".join(sorted({word.strip(",.;\n") for word in TEXT.read_text().split()} - {""})) + "\n")
    return path


@pytest.fixture
def tune(command_line, corpus: Path):
    def run(out: Path, *arguments: object):
        return command_line("tune", corpus, "--set", "corpus.layout=lines", "--out", out, *arguments)

    return run


def test_the_run_of_the_lowest_loss_is_kept(tune, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "tune"
    code, printed, told = tune(out, *SEARCH, "--trials", 3)
    assert code == 0
    trials = trials_of(out)
    best = min(trials, key=lambda trial: trial["loss"])
    (kept,) = out.glob("run-*")
    assert printed == f"{kept}\n"
    settings = textgen.load(kept).artifact.manifest.settings
    for name, value in best["options"].items():
        assert str(settings["model"][name.removeprefix("model.")]) == value
    for trial in trials:
        model = {name.removeprefix("model."): value for name, value in trial["options"].items()}
        alone = textgen.train(corpus, "ngram", settings={"corpus": {"layout": "lines"}, "model": model})
        assert alone.artifact.manifest.metrics["held_out_loss"] == trial["loss"]
    rows = [line.split() for line in told.splitlines() if line.strip()[0].isdigit()]
    assert [float(row[1]) for row in rows] == pytest.approx(sorted(trial["loss"] for trial in trials), abs=1e-4)
    assert (out / "tune.png").exists() == (find_spec("matplotlib") is not None)


def test_a_search_that_was_killed_goes_on_as_if_it_had_not_been(tune, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert tune(whole, *SEARCH, "--trials", 3, "--seed", 3)[0] == 0
    assert tune(killed, *SEARCH, "--trials", 1, "--seed", 3)[0] == 0
    shutil.copytree(next(killed.glob("run-*")), killed / "run-00001")  # as a kill in the second trial leaves it
    code, printed, told = tune(killed, *SEARCH, "--trials", 3, "--seed", 3)
    assert code == 0
    assert "trial 1 of" not in told
    assert "trial 2 of 3" in told
    assert trials_of(killed) == trials_of(whole)
    assert Path(printed.strip()).name == next(whole.glob("run-*")).name
    assert len(list(killed.glob("run-*"))) == 1


def test_suggestions_come_from_the_trials_and_the_seed_alone(tmp_path: Path) -> None:
    space = read_space(["model.units=1..1000", "model.dropout=0.0..0.5", "training.batch_size=32,64"])
    search = Search(tmp_path / "tune", {}, space)
    for number in range(40):  # the loss grows with the distance of the units from 200, and by nothing else
        options = search.suggest(5)
        search.add(Trial(number, options, abs(math.log(int(options["model.units"]) / 200)), 1.0))
    again = Search(tmp_path / "tune", {}, space)
    assert again.trials == search.trials
    assert again.suggest(5) == search.suggest(5) != search.suggest(6)
    far = [abs(math.log(int(trial.options["model.units"]) / 200)) for trial in search.trials]
    assert fmean(far[20:]) < 1.5  # it is 2.2 for units drawn at random
    assert {trial.options["training.batch_size"] for trial in search.trials} == {"32", "64"}
    assert all(0 <= float(trial.options["model.dropout"]) <= 0.5 for trial in search.trials)


def test_folds_judge_by_cross_validation(tune, tmp_path: Path) -> None:
    out = tmp_path / "tune"
    code, printed, _ = tune(out, "--model", "ngram", "--search", "model.order=2,3", "--trials", 1, "--folds", 2)
    assert code == 0
    (trial,) = trials_of(out)
    assert trial["loss"] == textgen.cross_validate(printed.strip(), folds=2).nats


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--search", "model.order=8..1"), "the range is empty"),
        (("--search", "model.order"), "is neither a range"),
        (("--search", "model.order=1,1"), "is neither a range"),
        (("--search", "model.order=1..nan"), "is neither a range"),
        (("--search", "order=1..2"), "is neither a range"),
        (("--search", "model.order=1..2", "--search", "model.order=3..4"), "is given twice"),
        (("--search", "model.order=1..2", "--set", "model.order=3"), "is both searched and set"),
        (("--search", "model.ordre=1..2"), "trial 1 (model.ordre=2): "),
        (("--search", "model.order=2,3", "--set", "training.held_out=0"), "trials are judged by held-out text"),
        ((), "name what to search for the model ngram"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(tune, tmp_path: Path, arguments, message: str) -> None:
    out = tmp_path / "tune"
    code, printed, told = tune(out, "--model", "ngram", *arguments)
    assert (code, printed) == (2, "")
    assert message in told.splitlines()[-1]
    assert not (out / "tune.json").exists()


def test_another_search_in_the_folder_is_refused(tune, tmp_path: Path) -> None:
    out = tmp_path / "tune"
    assert tune(out, *SEARCH, "--trials", 1)[0] == 0
    before = (out / "tune.json").read_bytes()
    code, _, told = tune(out, *SEARCH, "--trials", 2, "--seed", 1)
    assert code == 2
    assert "another search: seed is 0 there, and 1 here" in told
    assert (out / "tune.json").read_bytes() == before
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    assert tune(tmp_path / "full", *SEARCH)[0] == 2
