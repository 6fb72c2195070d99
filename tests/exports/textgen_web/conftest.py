import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.exports.random_runs import save_run
from tests.exports.textgen_web.places import Job, run_jobs
from textgen import TextGenerator, api

#: Options of a request in JavaScript, by those in Python.
NAMES = {
    "top_k": "topK",
    "top_p": "topP",
    "min_p": "minP",
    "repetition_penalty": "repetitionPenalty",
    "ignore_eos": "ignoreEos",
    "on_unknown": "onUnknown",
}


@pytest.fixture
def node(tmp_path: Path) -> Callable[[Sequence[Job]], list[Job]]:
    """Runs jobs in Node: see ``texts.mjs``."""
    return lambda jobs: run_jobs("node", jobs, tmp_path)


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Path, Path]]:
    """Exports runs with random weights, once each: the folders of run and export; takes what ``save_run`` takes."""

    @cache
    def export(options: str) -> tuple[Path, Path]:
        named = json.loads(options)
        precision, cell = named.pop("precision", "fp32"), named.pop("cell", "gru")
        run = save_run(tmp_path_factory.mktemp("web") / "run", cell, **named)
        report = api.export(run.path, to="web", options={"precision": precision}, notice=pytest.fail)
        return run.path, report.folder

    return lambda **options: export(json.dumps(options))


def in_javascript(wishes: dict[str, Any]) -> dict[str, Any]:
    """The options of a request in JavaScript; a large seed is text."""
    named = {NAMES.get(name, name): value for name, value in wishes.items()}
    return {name: str(value) if name in ("seed", "row") else value for name, value in named.items()}


def assert_same_texts(
    generator: TextGenerator, results: Sequence[dict[str, Any]], wishes: Sequence[dict[str, Any]]
) -> None:
    """Checks texts of JavaScript against those of textgen, of the requests ``wishes``, each of one row."""
    assert len(results) == len(wishes)
    for found, wish in zip(results, wishes, strict=True):
        assert "error" not in found, (wish, found)
        options = {name: value for name, value in wish.items() if name not in ("prompt", "row")}
        (expected,) = generator.sample(generator.request(wish.get("prompt"), rows=[wish.get("row", 0)], **options))
        assert (found["ids"], found["text"]) == ([*expected.ids], expected.text), wish
        assert (found["finishReason"], found["label"]) == (expected.finish_reason, expected.label), wish
        assert found["pieces"] == expected.text, wish
        unknown = [(each.character, each.position, each.count) for each in expected.unknown]
        assert [(each["character"], each["position"], each["count"]) for each in found["unknown"]] == unknown, wish
