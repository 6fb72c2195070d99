"""Recorded runs write each text in the company of any others as they write it alone."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import textgen
from textgen import Artifact, Continuation, Event, Generation, Job, Request, TextGenerator
from textgen_onnx.runtime import OnnxRuntime

HERE = Path(__file__).parent

CHAINS = (
    "greedy",
    "multinomial",
    "temperature(0.7) | multinomial",
    "temperature(1.5) | greedy",
    "top-k(5) | multinomial",
    "temperature(1.2) | top-p(0.9) | multinomial",
    "temperature(0) | top-k(3) | multinomial",
    "repetition-penalty(1.3) | min-p(0.05) | multinomial",
    "repetition-penalty(0.7) | temperature(2) | top-k(4) | top-p(0.8) | min-p(0.1) | multinomial",
    "top-p(0.6) | temperature(1.5) | multinomial",  # in another order: in no common form
)

#: A prompt is read in some pieces if it is as long as the last one.
PROMPTS = ("", "a", "el", "maple", "elm" * 30)


@pytest.fixture(scope="module", params=["gru-names", "lstm-trees", "gru-trees"])
def folder(request: pytest.FixtureRequest) -> Path:
    return HERE / str(request.param)


@pytest.fixture(scope="module", params=["numpy", "onnx", "as on CUDA"])
def generator(request: pytest.FixtureRequest, folder: Path) -> TextGenerator:
    if request.param != "as on CUDA":
        return textgen.load(folder, runtime=request.param)
    loaded = textgen.load(folder, runtime="onnx")
    export = Artifact.open(folder / "onnx")
    return TextGenerator(loaded.run, OnnxRuntime(export, "cpu", blocks=True, binds=True), "onnx")


@dataclass
class Plan:
    """A request, the turn before which it is added, and the turns before which rows of it are cancelled."""

    options: dict[str, Any]
    prompts: list[str]
    chains: list[str]
    added: int
    cancelled: dict[int, int]
    continues: int | None


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    prompts = draw(st.lists(st.sampled_from(PROMPTS), min_size=1, max_size=4))
    return Plan(
        options={
            "length": draw(st.integers(1, 60)),
            "seed": draw(st.integers(0, 2**64 - 1)),
            "rows": draw(st.lists(st.integers(0, 2**64 - 1), min_size=len(prompts), max_size=len(prompts))),
            "stop": draw(st.sampled_from([[], ["e"], ["er", "ash", "a\n"]])),
            "ignore_eos": draw(st.booleans()),
            "score": draw(st.booleans()),
            "keep_state": draw(st.booleans()),
            "chunk": draw(st.sampled_from([None, None, None, 1, 7])),
            "stream": draw(st.booleans()),
        },
        prompts=prompts,
        chains=draw(st.lists(st.sampled_from(CHAINS), min_size=len(prompts), max_size=len(prompts))),
        added=draw(st.integers(0, 8)),
        cancelled=draw(st.dictionaries(st.integers(0, len(prompts) - 1), st.integers(0, 12), max_size=2)),
        continues=draw(st.none() | st.integers(0, 2)),
    )


def make_request(generator: TextGenerator, plan: Plan, continuations: list[Continuation | None]) -> Request:
    prompts, chains, options = plan.prompts, plan.chains, plan.options
    if plan.continues is not None:
        there = continuations[plan.continues]
        assert there is not None
        options = options | {"seed": there.seed, "continuation": there}
    request = generator.request(prompts, **options)
    return replace(request, chains=tuple(map(generator.run.chain, chains)))


def check(found: Generation, alone: Generation) -> None:
    """A row that was not cancelled is as it is alone, but for rounding where numbers are added."""
    plain: dict[str, Any] = {"log_probability": None, "continuation": None}
    assert replace(found, **plain) == replace(alone, **plain)
    assert found.log_probability == (alone.log_probability and pytest.approx(alone.log_probability, rel=1e-5, abs=1e-5))
    here, there = found.continuation, alone.continuation
    assert (here is None) == (there is None)
    if here is not None and there is not None:
        names = ("tail", "step", "seen", "seed", "row", "unread")
        assert [getattr(here, name) for name in names] == [getattr(there, name) for name in names]
        for name, array in here.state.items():
            np.testing.assert_allclose(array, there.state[name], atol=1e-5)


@given(
    planned=st.lists(plans(), min_size=1, max_size=6),
    most_rows=st.integers(1, 9),
    seconds=st.sampled_from([None, 1e-9, 1e-3, 0.02, 10.0]),
)
@settings(max_examples=40)
def test_a_row_is_written_beside_any_others_as_it_is_alone(generator, planned, most_rows, seconds):
    ends = generator.sample(generator.request(["", "el", "elm"], seed=5, length=9, keep_state=True, stop="a"))
    continuations = [generation.continuation for generation in ends]
    requests = [make_request(generator, plan, continuations) for plan in planned]
    batching = generator.batching(most_rows=most_rows, seconds=seconds)
    jobs: list[Job | None] = [None] * len(planned)
    texts: dict[tuple[int, int], str] = {}
    reasons: dict[tuple[int, int], str] = {}
    turn = 0
    while batching.running or batching.waiting or not all(jobs):
        for index, plan in enumerate(planned):
            if plan.added == turn:
                jobs[index] = batching.prepare(requests[index])
                batching.add(jobs[index])
            if (job := jobs[index]) is not None:
                rows = [row for row, at in plan.cancelled.items() if at == turn and row < len(job.rows)]
                batching.cancel(job, rows)
        for event in batching.turn():
            assert isinstance(event, Event)
            place = (jobs.index(event.job), event.index)
            assert place not in reasons
            texts[place] = texts.get(place, "") + event.text
            if event.finish_reason:
                reasons[place] = event.finish_reason
        assert batching.running <= most_rows
        turn += 1
    for index, (job, request) in enumerate(zip(jobs, requests, strict=True)):
        assert job is not None
        assert job.is_done
        for row, (found, alone) in enumerate(zip(job.generations(), generator.sample(request), strict=True)):
            assert reasons[index, row] == found.finish_reason
            if found.finish_reason == "cancelled":
                assert row in planned[index].cancelled
                assert alone.ids[: len(found.ids)] == found.ids
                assert alone.text.startswith(found.text)
            else:
                check(found, alone)
            assert texts[index, row] == found.text
