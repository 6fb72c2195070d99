"""The two files of the history, and the curves drawn from it."""

import csv
import json

import textgen.training.plot
from textgen.errors import UnavailableError
from textgen.training.plot import save_training_plot, training_curves


def test_the_table_holds_the_lines(work):
    artifact = work.train("run", max_steps=11)  # the last epoch is cut short, so it has no held-out loss
    lines = [json.loads(line) for line in (artifact.path / "history.jsonl").read_text().splitlines()]
    with (artifact.path / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(lines) == 2
    assert "held_out_loss" not in lines[1]
    for row, line in zip(rows, lines, strict=True):
        assert {name: float(value) for name, value in row.items() if value} == line
    artifact.verified("history.csv")


RECORDS = [
    {"epoch": 1, "step": 10, "loss": 2.0, "held_out_loss": 2.5, "learning_rate": 0.1, "characters_per_second": 7.0},
    {"epoch": 2, "step": 20, "loss": 1.0, "learning_rate": 0.2, "characters_per_second": 9.0},
]


def test_every_figure_has_its_curve():
    assert training_curves(RECORDS) == {
        "loss (nats per character)": {"training": [(10, 2.0), (20, 1.0)], "held out": [(10, 2.5)]},
        "learning rate": {"learning rate": [(10, 0.1), (20, 0.2)]},
        "characters per second": {"characters per second": [(10, 7.0), (20, 9.0)]},
    }
    assert list(training_curves([{"step": 1, "loss": 2.0}])) == ["loss (nats per character)"]


def test_a_plot_has_a_panel_for_each_kind_of_figure(tmp_path):
    from matplotlib.image import imread

    heights = []
    for number, records in enumerate((RECORDS, [{"step": 1, "loss": 2.0}])):
        save_training_plot(records, tmp_path / f"{number}.png")
        heights.append(imread(tmp_path / f"{number}.png").shape[0])
    assert heights[0] > heights[1] > 100


def test_without_matplotlib_the_plot_is_left_out_quietly(work, monkeypatch, capsys):
    def unavailable(*arguments):
        raise UnavailableError("no plots")

    monkeypatch.setattr(textgen.training.plot, "save_training_plot", unavailable)
    artifact = work.train("run")
    assert capsys.readouterr().err == ""
    assert "plots/training.png" not in artifact.manifest.files
