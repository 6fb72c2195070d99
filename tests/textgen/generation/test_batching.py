"""Rows of many requests that join and leave a batch."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from textgen.errors import OptionError, UnknownCharacterError
from textgen.generation import batching as module
from textgen.generation.batching import Batching
from textgen.generation.job import Event, Failed, Job
from textgen.generation.loop import finish, generate
from textgen.generation.request import Request
from textgen.generation.runtime import ModelRuntime, Runtime
from textgen.plugins.registry import plugins
from textgen.sampling.chain import Chain
from textgen.sampling.sampler import Sampler
from textgen.testing.recurrent import FixedGRU, FixedGRUOptions
from textgen.text.boundaries import Boundaries
from textgen.text.labels import LabelledTokenizer, label_id
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
def runtime(tokenizer: Tokenizer) -> ModelRuntime:
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
    batching.turn()  # the turn before was for the first chunk of the row that took the place
    assert len(job.rows[0].text) > len(before[0])
    batching.cancel(job)
    assert len(batching.turn()) == 3
    assert job.is_done
    assert (batching.running, batching.waiting) == (0, 0)
    assert [each.finish_reason for each in job.generations()] == ["cancelled"] * 5
    assert job.generations()[1].text == before[1]
    batching.cancel(job)
    assert batching.turn() == []


class Timed(ModelRuntime):
    """A runtime for which a step takes a millisecond per row on a clock of its own; it notes its calls."""

    def __init__(self, runtime: ModelRuntime) -> None:
        super().__init__(runtime.model)
        self.now = 0.0
        self.read: list[int] = []
        self.written: list[tuple[int, int]] = []
        self.forms: set[object] = set()
        self.delay = 0.0  # of the next chunk, in seconds

    def clock(self) -> float:
        return self.now

    def prefill(self, ids, state, lengths=None):
        self.now += 1e-3 * ids.size
        self.read.append(ids.shape[1])
        return super().prefill(ids, state, lengths)

    def generate(self, ids, state, draw, uniforms):
        self.now += 1e-3 * uniforms.size + self.delay
        self.delay = 0.0
        self.written.append((len(ids), len(uniforms)))
        self.forms.add(draw.chain.names)
        return super().generate(ids, state, draw, uniforms)


@pytest.fixture
def timed(runtime: ModelRuntime, monkeypatch: pytest.MonkeyPatch) -> Timed:
    timed = Timed(runtime)
    monkeypatch.setattr(module, "perf_counter", timed.clock)
    return timed


def test_chunks_are_as_long_as_fits_into_a_turn(timed, tokenizer, boundaries):
    batching = Batching(timed, tokenizer, boundaries, seconds=0.0205)
    long = [batching.prepare(request("a", length=400, ignore_eos=True, seed=seed)) for seed in range(5)]
    batching.add(long[0])
    for _ in range(6):
        batching.turn()
    # A first chunk of a few steps; then some whose time is measured; then as many as fit.
    assert timed.written == [(1, 4), (1, 8), (1, 20), (1, 20), (1, 20), (1, 20)]
    for job in long[1:]:
        batching.add(job)
    batching.turn()
    assert timed.written[6:] == [(4, 4)]  # those that begin do not wait for a long chunk
    batching.turn()
    assert timed.written[6:] == [(4, 4), (1, 20)]
    timed.written.clear()
    for _ in range(5):
        batching.turn()
    assert timed.written == [(5, 8), (5, 4), (5, 4), (5, 4), (5, 4)]


def test_new_rows_have_no_first_chunk_of_their_own_where_turns_are_short(timed, tokenizer, boundaries):
    batching = Batching(timed, tokenizer, boundaries, seconds=0.0085)
    jobs = [batching.prepare(request("a", length=400, ignore_eos=True, seed=seed)) for seed in range(3)]
    batching.add(jobs[0])
    for _ in range(4):
        batching.turn()
    assert timed.written == [(1, 8), (1, 8), (1, 8), (1, 8)]
    batching.add(jobs[1])
    batching.add(jobs[2])
    batching.turn()
    batching.turn()
    assert timed.written[4:6] == [(3, 8), (3, 8)]  # the time of a step of so many is not known yet


def test_a_disturbed_chunk_does_not_make_the_next_ones_short(timed, tokenizer, boundaries):
    batching = Batching(timed, tokenizer, boundaries, seconds=0.0205)
    batching.add(batching.prepare(request("a", length=10_000, ignore_eos=True)))
    for _ in range(4):
        batching.turn()
    for turn in range(50):
        timed.delay = 0.2 * (turn % 3 > 0)  # another process has the core for a while
        batching.turn()
    assert min(steps for _, steps in timed.written[3:]) >= 18


@pytest.mark.parametrize(("stop", "most"), [(("#",), 64), ((), 512)])
def test_quick_chunks_are_shorter_if_the_text_may_end(timed, tokenizer, boundaries, stop, most):
    batching = Batching(timed, tokenizer, boundaries, seconds=10)
    batching.add(batching.prepare(request("a", length=1_110, stop=stop, ignore_eos=True)))
    take_turns(batching)
    left = 1_110 - 4 - 8
    assert [steps for _, steps in timed.written] == [4, 8, *[most] * (left // most), left % most]


def test_long_prompts_are_read_in_pieces_while_others_write(timed, tokenizer, boundaries):
    batching = Batching(timed, tokenizer, boundaries, seconds=0.1)
    short = batching.prepare(request("a", length=10_000, ignore_eos=True))
    batching.add(short)
    for _ in range(4):
        batching.turn()
    long = batching.prepare(request("ab" * 1000, "abc", length=1, ignore_eos=True))
    batching.add(long)
    while not long.rows[0].finish_reason:
        before, began = len(short.rows[0].ids), timed.now
        batching.turn()
        batching.turn()  # the turn before may have been for a first chunk
        assert len(short.rows[0].ids) > before
        assert timed.now - began < 0.5
    assert long.rows[1].finish_reason
    assert sum(timed.read) == 1999
    assert timed.read[:3] == [64, 64, 64]  # until the time of a step is known
    assert set(timed.read[3:-1]) <= {99, 100}


def test_rows_with_many_chains_share_two_graphs(timed, tokenizer, boundaries):
    chains = (
        "multinomial",
        "temperature(0.5) | multinomial",
        "greedy",
        "top-k(2) | multinomial",
        "temperature(2) | top-p(0.7) | multinomial",
        "repetition-penalty(1.5) | min-p(0.2) | greedy",
    )
    own = make_chain("top-k(3) | multinomial")
    batching = Batching(timed, tokenizer, boundaries, chain=own)
    asked = [request("ab", "", chain=make_chain(chain), seed=3, ignore_eos=True) for chain in chains]
    jobs = [batching.prepare(each) for each in asked]
    for job in jobs:
        batching.add(job)
    take_turns(batching)
    full = ("repetition-penalty", "temperature", "top-k", "top-p", "min-p", "multinomial")
    assert timed.forms == {("temperature", "multinomial"), full, ("top-k", "multinomial")}
    for each, job in zip(asked, jobs, strict=True):
        assert job.generations() == finish(generate(timed, tokenizer, boundaries, each))


def test_chains_of_many_forms_get_a_few_graphs(runtime, tokenizer, boundaries):
    noted = Timed(runtime)
    batching = Batching(noted, tokenizer, boundaries, chain=MULTINOMIAL)
    chains = [make_chain("temperature(1.1) | " * count + "multinomial") for count in range(1, 15)]
    asked = [request("ab", "", chain=chain, seed=3, ignore_eos=True) for chain in chains]
    jobs = [batching.prepare(each) for each in [*asked, request("ab"), asked[-1]]]
    for job in jobs:
        batching.add(job)
    take_turns(batching)
    common = {chains[0].names, MULTINOMIAL.names}
    assert noted.forms == common | {chain.names for chain in chains[1 : module.MOST_FORMS]}
    for each, job in zip(asked, jobs, strict=False):
        assert job.generations() == finish(generate(runtime, tokenizer, boundaries, each))


def test_labels_are_given_or_drawn_in_any_company(make_tokenizer):
    labelled = LabelledTokenizer(make_tokenizer("char-eos", [LETTERS]), ("sea", "hill"))
    runtime = ModelRuntime(FixedGRU(FixedGRUOptions(), labelled.vocab_size + 2))
    boundaries = Boundaries(labelled.eos_id, {label_id(labelled, "sea"): 3, label_id(labelled, "hill"): 2})
    batching = Batching(runtime, labelled, boundaries, most_rows=3)
    asked = [
        request("ab", "", "c", seed=4, labels=("hill", "sea", "hill")),
        request("", "d", *[""] * 8, seed=5, keep_state=True),
    ]
    jobs = [batching.prepare(each) for each in asked]
    for job in jobs:
        batching.add(job)
    take_turns(batching)
    for each, job in zip(asked, jobs, strict=True):
        alone = finish(generate(runtime, labelled, boundaries, each))
        assert [replace(found, continuation=None) for found in job.generations()] == [
            replace(found, continuation=None) for found in alone
        ]
    assert [found.label for found in jobs[0].generations()] == ["hill", "sea", "hill"]
    assert {found.label for found in jobs[1].generations()} == {"sea", "hill"}


def test_threads_prepare_add_and_cancel_while_one_takes_turns(make, runtime, tokenizer, boundaries):
    batching = make(most_rows=16)
    asked = [request("ab", "", "a", length=50, seed=seed) for seed in range(40)]
    jobs: dict[int, Job] = {}

    def ask(first: int) -> None:
        for seed in range(first, 40, 4):
            jobs[seed] = batching.prepare(asked[seed])
            batching.add(jobs[seed])
            if seed % 5 == 0:
                batching.cancel(jobs[seed], [1])

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask, first) for first in range(4)]
        while batching.running or batching.waiting or not all(future.done() for future in asking):
            batching.turn()
    for future in asking:
        future.result()
    for seed, each in enumerate(asked):
        for index, alone in enumerate(finish(generate(runtime, tokenizer, boundaries, each))):
            found = jobs[seed].generations()[index]
            if found.finish_reason == "cancelled":
                assert (seed % 5, index) == (0, 1)
                assert alone.text.startswith(found.text)
            else:
                assert found == alone


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
