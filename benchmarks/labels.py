"""Text by label: how often news titles by class are recognised as titles of the class that was asked for.

``python -m benchmarks.labels`` trains the recipe ``agnews-labels``, unless the folder of its run exists, and lets
``textgen evaluate`` write 2,000 titles, 500 of each class. The classifier learns from the titles that the run was
trained on; beside its answers on the written titles stand those on the titles that were held out. The corpus is read
from ``TEXTGEN_DATA_DIR``. It takes minutes.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from benchmarks.command import Findings, Session, notice, run, textgen
from benchmarks.report import Claim, Figures
from textgen import load

RECIPE, TEXTS = "agnews-labels", 2000

#: The claim of issue 14: the size of the model, and the share of texts that agree with their label.
PARAMETERS, AGREEMENT = 600_000, 0.75

#: The samplers that write the titles: the run's own, and hotter ones.
SAMPLERS: dict[str, list[str]] = {
    "the run's own sampler": [],
    "temperature 0.8": ["--sampler", "temperature(0.8) | multinomial"],
    "temperature 1": ["--sampler", "multinomial"],
}


def find(session: Session) -> Findings:
    path = session.options.out / RECIPE
    if not path.exists():
        notice(f"training {RECIPE}")
        textgen(session, "train", "--recipe", RECIPE, "--out", str(path))
    found = {}
    for name, sampler in SAMPLERS.items():
        notice(name)
        answer = json.loads(textgen(session, "evaluate", str(path), "--num", str(TEXTS), "--json", *sampler))
        found[f"{name}: {answer['written']['sampler']}"] = answer["labels"]
    own = next(iter(found.values()))
    claims = [
        Claim("written titles recognised as the class asked for", "at least", AGREEMENT, "", [own["all"]["agreement"]]),
        Claim("parameters", "at most", PARAMETERS, "", [load(path).run.model().parameter_count or 0]),
    ]
    return Findings(claims=claims, figures=[_held_out(own), *(_written(name, each) for name, each in found.items())])


def _held_out(labels: dict[str, Any]) -> Figures:
    columns = ["titles", "nats per character", "recognised"]
    return Figures("held-out titles", columns, _rows(labels, "documents", "nats", "recognised"))


def _written(sampler: str, labels: dict[str, Any]) -> Figures:
    return Figures(f"written by {sampler}", ["titles", "recognised"], _rows(labels, "texts", "agreement"))


def _rows(labels: dict[str, Any], *columns: str) -> dict[str, list[float | None]]:
    return {row["label"] or "all": [row[column] for column in columns] for row in (*labels["labels"], labels["all"])}


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"), help="the folder for the run")


if __name__ == "__main__":
    run("labels", __doc__, find, has_quick=False, add_arguments=_add_arguments)
