"""Rows of many requests that join and leave a batch."""

from collections.abc import Callable
from typing import Any

import pytest

from textgen.errors import OptionError, UnknownCharacterError
from textgen.generation.batching import Batching, Event, Failed, Job
from textgen.generation.loop import finish, generate
from textgen.generation.request import Request
from textgen.generation.runtime import ModelRuntime, Runtime
from textgen.plugins.registry import plugins
from textgen.sampling.chain import Chain
from textgen.sampling.sampler import Sampler
from textgen.testing.recurrent import FixedGRU, FixedGRUOptions
from textgen.text.boundaries import Boundaries
from textgen.text.tokenizer import Tokenizer

LETTERS = "abcd"


class Fails(Sampler):
    """Raises after some steps."""

    steps = 0

    def transform(self, logits, parameters, seen):
        Fails.steps += 1
        if Fails.steps > 6:
            raise ZeroDivisionError("as it does")
        return logits


def make_chain(text: str) -> Chain:
    return Chain(text, lambda name: Fails if name == "fails" else plugins().get("sampler", name))


MULTINOMIAL = make_chain("multinomial")


@pytest.fixture(scope="module")
def tokenizer(make_tokenizer: Callable[..., Tokenizer]) -> Tokenizer:
    """Padding and unknown 0, a to d 1 to 4, <eos> 5."""
    return make_tokenizer("char-eos", [LETTERS])


@pytest.fixture(scope="module")
def runtime(tokenizer: Tokenizer) -> Runtime:
    return ModelRuntime(FixedGRU(FixedGRUOptions(), tokenizer.vocab_size))


@pytest.fixture
def boundaries(tokenizer: Tokenizer) -> Boundaries:
    return Boundaries(tokenizer.eos_id, {1: 3, 3: 1})


@pytest.fixture
def make(runtime: Runtime, tokenizer: Tokenizer, boundaries: Boundaries) -> Callable[..., Batching]:
    def make(**options: Any) -> Batching:
        return Batching(runtime, tokenizer, boundaries, **options)

    return make


def request(*prompts: str, length: int = 30, chain: Chain = MULTINOMIAL, **options: Any) -> Request:
    return Request(prompts=prompts, length=length, chains=(chain,) * len(prompts), **options)


def take_turns(batching: Batching) -> list[Event]:
    """Turns until nothing is left to do."""
    events: list[Event] = []
    while batching.running or batching.waiting:
        for event in batching.turn():
            assert isinstance(event, Event), event
            events.append(event)
    return events


def texts_of(job: Job, events: list[Event]) -> list[str]:
    texts = [""] * len(job.rows)
    for event in events:
        if event.job is job:
            texts[event.index] += event.text
    return texts


def test_events_have_the_text_of_each_row_and_its_end(make, runtime, tokenizer, boundaries):
    batching = make()
    asked = [request("ab", "", seed=3, ignore_eos=True), request("", "dd", "c", seed=4, stop=("ab",))]
    jobs = [batching.prepare(each) for each in asked]
    for job in jobs:
        batching.add(job)
        assert not job.is_done
    assert (batching.running, batching.waiting) == (0, 5)
    events = take_turns(batching)
    for job, each in zip(jobs, asked, strict=True):
        assert job.is_done
        alone = finish(generate(runtime, tokenizer, boundaries, each))
        assert job.generations() == alone
        assert texts_of(job, events) == [generation.text for generation in alone]
        ends = [(event.index, event.finish_reason) for event in events if event.job is job and event.finish_reason]
        assert sorted(ends) == [(i, generation.finish_reason) for i, generation in enumerate(alone)]


def test_places_are_given_to_jobs_in_turn(make):
    batching = make(most_rows=4)
    many, few = (batching.prepare(request(*["a"] * rows, length=1)) for rows in (9, 2))
    batching.add(many)
    batching.add(few)
    ended = []
    while batching.waiting or batching.running:
        events = batching.turn()
        assert len(events) <= 4
        ended.append([(event.job is few, event.index) for event in events if event.finish_reason])
    assert sorted(ended[0]) == [(False, 0), (False, 1), (True, 0), (True, 1)]
    assert sum(map(len, ended)) == 11


def test_a_request_is_refused_before_it_runs(make):
    batching = make()
    with pytest.raises(UnknownCharacterError):
        batching.prepare(request("aß", on_unknown="error"))
    with pytest.raises(OptionError, match="there must be as many of each"):
        batching.prepare(request("a", row_seeds=(1, 2)))
    assert (batching.running, batching.waiting, batching.turn()) == (0, 0, [])


def test_rows_are_cancelled_before_the_next_chunk(make):
    batching = make(most_rows=3)
    job = batching.prepare(request(*["a"] * 5, length=10_000, ignore_eos=True))
    batching.add(job)
    batching.turn()
    assert (batching.running, batching.waiting) == (3, 2)
    before = [row.text for row in job.rows]
    batching.cancel(job, [1, 4])
    events = batching.turn()
    ends = [(event.index, event.text, event.finish_reason) for event in events if event.finish_reason]
    assert ends == [(1, "", "cancelled"), (4, "", "cancelled")]
    assert batching.running == 3
    assert job.rows[1].text == before[1] != ""
    assert len(job.rows[0].text) > len(before[0])
    batching.cancel(job)
    assert len(batching.turn()) == 3
    assert job.is_done
    assert (batching.running, batching.waiting) == (0, 0)
    assert [each.finish_reason for each in job.generations()] == ["cancelled"] * 5
    assert job.generations()[1].text == before[1]
    batching.cancel(job)
    assert batching.turn() == []


@pytest.mark.parametrize("chain", ["fails | multinomial", "multinomial"])
def test_a_job_fails_alone(make, monkeypatch, chain):
    Fails.steps = 0
    batching = make()
    asked = [request("ab", "", seed=seed, ignore_eos=True) for seed in range(3)]
    good = [batching.prepare(each) for each in asked]
    bad = batching.prepare(request("a", "a", length=5000, chain=make_chain(chain), ignore_eos=True))
    for job in [*good[:2], bad, good[2]]:
        batching.add(job)
    if chain == "multinomial":  # as if its text could not be decoded
        monkeypatch.setattr(bad.rows[1], "extend", lambda ids: 1 // 0)
    events = []
    while batching.running or batching.waiting:
        events += batching.turn()
    (failed,) = (event for event in events if isinstance(event, Failed))
    assert failed.job is bad
    assert bad.is_done
    with pytest.raises(ZeroDivisionError):
        bad.generations()
    for each, job in zip(asked, good, strict=True):
        again = make()
        alone = again.prepare(each)
        again.add(alone)
        take_turns(again)
        assert job.generations() == alone.generations()
