import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgen.errors import OptionError, UnknownCharacterError
from textgen.generation import batching
from textgen.generation.loop import finish, generate
from textgen.generation.request import Generation, Piece, Request
from textgen.generation.runtime import ModelRuntime
from textgen.plugins.registry import plugins
from textgen.sampling.chain import Chain
from textgen.sampling.draw import uniforms
from textgen.testing import CountingModel, CountingOptions
from textgen.text.boundaries import Boundaries
from textgen.text.tokenizer import Tokenizer

LETTERS = "abcd"


def make_runtime(vocab_size: int, seed: int = 0) -> ModelRuntime:
    """A model with random counts, so that the odds differ from context to context."""
    model = CountingModel(CountingOptions(smoothing=1), vocab_size)
    counts = np.random.default_rng(seed).integers(0, 9, (vocab_size + 1, vocab_size, vocab_size))
    model.load_weights({"counts": counts.astype(np.float32)})
    return ModelRuntime(model)


def make_chain(text: str) -> Chain:
    return Chain(text, lambda name: plugins().get("sampler", name))


MULTINOMIAL = make_chain("multinomial")


@pytest.fixture(scope="module")
def tokenizer(make_tokenizer: Callable[..., Tokenizer]) -> Tokenizer:
    """Padding and unknown 0, a to d 1 to 4, <eos> 5."""
    return make_tokenizer("char-eos", [LETTERS])


@pytest.fixture(scope="module")
def plain(make_tokenizer: Callable[..., Tokenizer]) -> Tokenizer:
    """a to d 0 to 3, no special id."""
    return make_tokenizer("char-index", [LETTERS])


def request(*prompts: str, length: int = 30, chain: Chain = MULTINOMIAL, **options: Any) -> Request:
    return Request(prompts=prompts, length=length, chains=(chain,) * len(prompts), **options)


def boundaries(tokenizer: Tokenizer, starts: dict[str, int] | None = None) -> Boundaries:
    counts = starts or {"a": 1}
    return Boundaries(tokenizer.eos_id, {int(tokenizer.encode(text)[0]): count for text, count in counts.items()})


def run(
    tokenizer: Tokenizer, asked: Request, starts: dict[str, int] | None = None, model_seed: int = 0
) -> tuple[list[Piece], list[Generation]]:
    pieces = generate(
        make_runtime(tokenizer.vocab_size, model_seed),
        tokenizer,
        boundaries(tokenizer, starts),
        asked,
    )
    yielded = []
    while True:
        try:
            yielded.append(next(pieces))
        except StopIteration as stop:
            return yielded, stop.value


prompts = st.text(LETTERS, min_size=0, max_size=9)
chunks = st.one_of(st.none(), st.integers(1, 9))


@given(
    texts=st.lists(prompts, min_size=1, max_size=6),
    data=st.data(),
    seed=st.integers(0, 2**64 - 1),
    length=st.integers(1, 40),
    stop=st.sampled_from([(), ("ab",), ("da", "bb")]),
    ignore_eos=st.booleans(),
)
@settings(max_examples=60)
def test_a_row_writes_the_same_alone_and_in_any_batch_in_chunks_of_any_size(
    tokenizer, texts, data, seed, length, stop, ignore_eos
):
    seeds = tuple(data.draw(st.lists(st.integers(0, 2**64 - 1), min_size=len(texts), max_size=len(texts))))
    temperatures = [data.draw(st.sampled_from([0, 0.5, 1.7])) for _ in texts]
    chains = tuple(make_chain(f"repetition-penalty(1.2) | temperature({t}) | multinomial") for t in temperatures)
    together = Request(
        prompts=tuple(texts),
        length=length,
        chains=chains,
        seed=seed,
        row_seeds=seeds,
        stop=stop,
        ignore_eos=ignore_eos,
        score=True,
        chunk=data.draw(chunks),
    )
    _, generations = run(tokenizer, together, starts={"a": 3, "c": 1})
    for index, whole in enumerate(generations):
        only = slice(index, index + 1)
        alone = replace(together, prompts=together.prompts[only], chains=chains[only], row_seeds=seeds[only])
        (single,) = run(tokenizer, replace(alone, chunk=data.draw(chunks)), starts={"a": 3, "c": 1})[1]
        # A logit of the counting model is one rounded logarithm, which may differ by some units of 2**-24 relative to
        # its size with its place in an array; the sum over a text is as far off at most.
        assert single.log_probability == pytest.approx(whole.log_probability, rel=1e-5, abs=1e-5)
        assert replace(single, log_probability=None) == replace(whole, log_probability=None)


def test_a_row_of_64_is_the_row_alone(tokenizer):
    texts = ["ab"[i % 2] * (i % 7 + 1) for i in range(64)]
    _, batch = run(tokenizer, request(*texts, length=200, seed=5))
    assert len({generation.text for generation in batch}) > 30
    for row in (0, 17, 63):
        (alone,) = run(tokenizer, request(texts[row], length=200, seed=5, row_seeds=(row,)))[1]
        assert alone == batch[row]


@pytest.mark.parametrize("rows", [3, 300])
@pytest.mark.parametrize("chunk", [1, 100, None])
def test_each_step_draws_with_its_own_word_of_the_rows_stream(plain, rows, chunk):
    texts = [LETTERS[row % 4] for row in range(rows)]
    _, found = run(plain, request(*texts, length=530, seed=5, chunk=chunk))
    runtime = make_runtime(plain.vocab_size)
    for row in (0, 2, rows - 1):
        words = np.random.Philox(key=np.array([5, row], np.uint64)).random_raw(531)[1:] >> np.uint64(40)
        ids, state = np.array([row % 4], np.int32), runtime.initial_state(1)
        expected = []
        for word in words:
            logits, state = runtime.step(ids, state)
            ids = MULTINOMIAL.selector.select(logits, np.array([word], np.float32) * np.float32(2**-24))
            expected.append(int(ids[0]))
        assert list(found[row].ids) == expected


class Noting(ModelRuntime):
    """Notes the rows and steps of each call."""

    def __init__(self, model):
        super().__init__(model)
        self.calls = []

    def generate(self, ids, state, draw, uniforms):
        assert len(draw.parameters[0]["temperature"]) == state.batch == len(ids) == uniforms.shape[1]
        self.calls.append(uniforms.shape[::-1])
        return super().generate(ids, state, draw, uniforms)


@given(
    count=st.integers(200, 400),
    length=st.integers(1, 40),
    temperature=st.sampled_from([0.7, 1.0, 3.0]),
    ends=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=25)
def test_rows_that_have_ended_leave_a_chunk_of_many_and_no_text_changes(
    tokenizer, count, length, temperature, ends, seed
):
    chain = make_chain(f"temperature({temperature}) | multinomial")
    texts = ["abcd"[i % 4] * (i % 3 + 1) for i in range(count)]
    asked = request(*texts, length=length, seed=seed, chain=chain, stop=("dd",), ignore_eos=not ends)
    runtime = Noting(make_runtime(tokenizer.vocab_size).model)
    found = finish(generate(runtime, tokenizer, boundaries(tokenizer), asked))
    assert found == run(tokenizer, replace(asked, chunk=16))[1]  # in calls of that size
    numbers = [rows for rows, _ in runtime.calls]
    assert numbers == sorted(numbers, reverse=True)
    assert all(steps <= (max(4, 1024 // rows) if ends else 16) for rows, steps in runtime.calls)
    for index in range(0, count, 57):
        alone = replace(asked, prompts=asked.prompts[index : index + 1], chains=(chain,), row_seeds=(index,))
        assert run(tokenizer, alone)[1] == found[index : index + 1]


def test_ids_follow_from_the_logits_of_the_model_and_the_uniforms(plain):
    # Independent of generate(): one id at a time through the model, and the cumulative distribution inverted by hand.
    (found,) = run(plain, request("abc", length=25, seed=9, row_seeds=(4,)))[1]
    runtime, ids = make_runtime(plain.vocab_size), plain.encode("abc").tolist()
    for u in uniforms(9, [4], 1, 25)[:, 0]:
        logits, _ = runtime.forward(np.array([ids], np.int32), runtime.initial_state(1))
        chances = np.exp(logits[0, -1].astype(np.float64))
        ids.append(int(np.searchsorted(np.cumsum(chances / chances.sum()), u, side="right")))
    assert list(found.ids) == ids[3:]
    assert found.text == plain.decode(ids[3:])
    assert found.finish_reason == "length"


@given(texts=st.lists(prompts.filter(bool), min_size=1, max_size=3), chunk=chunks, ignore_eos=st.booleans())
@settings(max_examples=40)
def test_log_probability_is_that_of_the_model_at_temperature_1(tokenizer, texts, chunk, ignore_eos):
    chain = make_chain("temperature(0.3) | top-k(3) | multinomial")
    asked = request(*texts, length=300, chain=chain, seed=1, chunk=chunk, score=True, ignore_eos=ignore_eos)
    runtime = make_runtime(tokenizer.vocab_size)
    for generation in run(tokenizer, asked)[1]:
        before = tokenizer.encode(generation.prompt).tolist()
        ids = [*before, *generation.ids]
        logits, _ = runtime.forward(np.array([ids], np.int32), runtime.initial_state(1))
        nats = logits[0].astype(np.float64) - np.log(np.exp(logits[0].astype(np.float64)).sum(axis=-1, keepdims=True))
        expected = sum(nats[place - 1, ids[place]] for place in range(len(before), len(ids)))
        assert generation.log_probability == pytest.approx(expected, rel=1e-6)


def test_there_is_no_score_unless_requested(plain):
    assert run(plain, request("a"))[1][0].log_probability is None


def test_an_end_of_document_ends_a_row_and_is_not_part_of_its_text(tokenizer):
    _, free = run(tokenizer, request(*["a"] * 8, length=60, seed=2, ignore_eos=True))
    _, ended = run(tokenizer, request(*["a"] * 8, length=60, seed=2))
    assert {generation.finish_reason for generation in free} == {"length"}
    assert {generation.finish_reason for generation in ended} == {"eos"}
    for whole, part in zip(free, ended, strict=True):
        assert len(whole.ids) == 60
        end = whole.ids.index(tokenizer.eos_id)
        assert part.ids == whole.ids[: end + 1]
        assert part.text == tokenizer.decode(whole.ids[:end])
        assert "\n" not in part.text
        assert whole.text.startswith(part.text + "\n")


def cut_by_hand(text: str, stops: list[str]) -> tuple[int, int] | None:
    """Beginning and end of the first stop text to be complete; of several that end there, the longest."""
    for end in range(1, len(text) + 1):
        complete = [stop for stop in stops if text[:end].endswith(stop)]
        if complete:
            return end - len(max(complete, key=len)), end
    return None


@given(
    stops=st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=3),
    prompt=st.sampled_from(["", "a", "ab"]),
    seed=st.integers(0, 50),
    chunk=chunks,
)
@settings(max_examples=200)
def test_a_stop_text_ends_a_row_wherever_chunks_end(plain, stops, prompt, seed, chunk):
    starts = {"a": 1, "b": 1, "c": 1}
    (free,) = run(plain, request(prompt, seed=seed), starts)[1]
    pieces, (ended,) = run(plain, request(prompt, seed=seed, stop=tuple(stops), chunk=chunk), starts)
    assert "".join(piece.text for piece in pieces) == ended.text
    assert not any(stop in ended.text for stop in stops)
    cut = cut_by_hand(free.text, stops)
    if cut is None:
        assert ended == free
    else:
        start, end = cut
        assert (ended.text, ended.finish_reason) == (free.text[:start], "stop")
        assert ended.ids == free.ids[:end]


def test_text_that_may_turn_out_to_be_a_stop_text_is_held_back(plain):
    stop = "cbadcb"
    asked = request(*["a"] * 20, length=200, stop=(stop,), chunk=1, seed=3)
    seen = [""] * 20
    pieces, generations = run(plain, asked)
    assert len(pieces) > 1000
    for piece in pieces:
        assert piece.text
        seen[piece.index] += piece.text
        assert generations[piece.index].text.startswith(seen[piece.index])
    assert seen == [generation.text for generation in generations]


def test_an_empty_stop_text_stops_nothing(plain):
    assert run(plain, request("a", stop=("",)))[1] == run(plain, request("a"))[1]


def test_a_stop_text_may_have_characters_outside_of_the_vocabulary(plain):
    assert run(plain, request("a", stop=("ß", "ab\n")))[1][0].finish_reason == "length"


def test_the_drawn_first_character_may_be_a_stop_text(plain):
    (generation,) = run(plain, request("", stop=("c",)), starts={"c": 1})[1]
    assert (generation.text, generation.finish_reason, len(generation.ids)) == ("", "stop", 1)


@pytest.mark.parametrize("length", [1, 63, 64, 65, 130])
def test_length_is_the_number_of_written_characters(plain, length):
    (generation,) = run(plain, request("abba", length=length))[1]
    assert len(generation.text) == len(generation.ids) == length
    assert generation.finish_reason == "length"


def test_a_row_without_a_prompt_begins_as_the_corpus_does(plain):
    count = 4000
    _, generations = run(plain, request(*[""] * count, length=1, seed=8), starts={"a": 1, "b": 2, "d": 5})
    first = [generation.text[0] for generation in generations]
    assert set(first) == {"a", "b", "d"}
    for letter, share in (("a", 1 / 8), ("b", 2 / 8), ("d", 5 / 8)):
        spread = math.sqrt(count * share * (1 - share))
        assert abs(first.count(letter) - count * share) < 4 * spread
    assert {len(generation.ids) for generation in generations} == {2}


def test_the_drawn_first_character_is_written_but_not_scored(plain):
    (drawn,) = run(plain, request("", length=5, seed=1, score=True), starts={"b": 1})[1]
    (given_,) = run(plain, request("b", length=5, seed=1, score=True))[1]
    assert drawn.text == "b" + given_.text
    assert drawn.ids == (1, *given_.ids)
    assert drawn.log_probability == pytest.approx(given_.log_probability)


def test_a_model_that_does_not_know_how_texts_begin_asks_for_a_prompt(plain):
    with pytest.raises(OptionError, match="give a prompt"):
        list(generate(make_runtime(4), plain, Boundaries(None), request("")))


def test_unknown_characters_of_a_prompt(make_tokenizer, plain, tokenizer):
    with pytest.raises(UnknownCharacterError, match=r"'ß' \(U\+00DF\) at position 1"):
        run(plain, request("aßb"))
    with pytest.raises(UnknownCharacterError):
        run(tokenizer, request("a", "ß", on_unknown="error"))
    with pytest.raises(OptionError, match="no unknown id"):
        run(plain, request("aß", on_unknown="unk"))
    skipping = run(plain, request("aßb", on_unknown="skip"))[1][0]
    assert skipping.text == run(plain, request("ab"))[1][0].text
    assert skipping.prompt == "aßb"
    with pytest.raises(OptionError, match="nothing of the prompt 'ßß' is in the vocabulary"):
        run(plain, request("ßß", on_unknown="skip"))
    lookup = make_tokenizer("string-lookup", [LETTERS])
    known = {run(lookup, request(f"a{c}", on_unknown="unk"))[1][0].text for c in "ßé☃"}
    assert len(known) == 1


def test_ids_that_are_forbidden_are_never_written(make_tokenizer):
    lookup = make_tokenizer("string-lookup", [LETTERS])
    _, generations = run(lookup, request(*["a"] * 50, length=100))
    assert 0 not in {i for generation in generations for i in generation.ids}
    assert "[UNK]" not in "".join(generation.text for generation in generations)


def test_a_generation_has_its_prompt_seeds_and_sampler(plain):
    hot, cold = make_chain("temperature(2.0) | multinomial"), make_chain("temperature(0.1) | multinomial")
    _, (first, second) = run(plain, replace(request("a", "ab", length=5, seed=3, row_seeds=(7, 2)), chains=(hot, cold)))
    assert (first.prompt, first.seed, first.row, first.sampler) == ("a", 3, 7, "temperature(2.0) | multinomial")
    assert (second.prompt, second.seed, second.row, second.sampler) == ("ab", 3, 2, "temperature(0.1) | multinomial")


def test_the_seeds_of_rows_are_their_numbers_by_default(plain):
    _, generations = run(plain, request("a", "a", "a", seed=1))
    assert [generation.row for generation in generations] == [0, 1, 2]
    assert len({generation.text for generation in generations}) == 3
    assert run(plain, request("a", "a", "a", seed=1, row_seeds=(0, 1, 2)))[1] == generations
    assert run(plain, request("a", seed=2))[1][0].text != generations[0].text


@pytest.mark.parametrize(("seeds", "chains"), [((1,), 2), ((1, 2, 3), 2), ((1, 2), 1)])
def test_there_is_one_seed_and_one_chain_per_prompt(plain, seeds, chains):
    with pytest.raises(OptionError, match=f"2 prompts, {len(seeds)} row seeds and {chains} chains; there must be"):
        run(plain, replace(request("a", "b"), chains=(MULTINOMIAL,) * chains, row_seeds=seeds))


def test_nothing_is_written_before_all_prompts_are_encoded(plain):
    pieces = generate(make_runtime(4), plain, Boundaries(None), request("a", "ß"))
    with pytest.raises(UnknownCharacterError):
        next(pieces)


def test_the_whole_text_is_the_prompt_and_what_follows(plain):
    (generation,) = run(plain, request("ab", length=5))[1]
    assert generation.whole == "ab" + generation.text


class Watched(ModelRuntime):
    """A runtime that notes the rows and steps of each call, and may prefer a number of steps."""

    def __init__(self, vocab_size: int, preferred: int | None = None) -> None:
        super().__init__(make_runtime(vocab_size).model)
        self.preferred = preferred
        self.asked: list[dict[str, bool]] = []
        self.calls: list[tuple[int, int]] = []

    def preferred_steps(self, **options: bool) -> int | None:
        self.asked.append(options)
        return self.preferred

    def generate(self, ids, state, draw, uniforms):
        self.calls.append((len(ids), len(uniforms)))
        return super().generate(ids, state, draw, uniforms)


def steps_of(runtime: Watched, tokenizer: Tokenizer, asked: Request) -> list[int]:
    finish(generate(runtime, tokenizer, boundaries(tokenizer), asked))
    return [steps for _, steps in runtime.calls]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("endless", [False, True])
def test_a_runtime_is_asked_for_the_number_of_steps_that_it_prefers(plain, stream, endless):
    runtime = Watched(4, preferred=7)
    asked = request("a", stream=stream, stop=() if endless else ("no such text",))
    assert steps_of(runtime, plain, asked) == [7, 7, 7, 7, 2]
    assert runtime.asked == [{"endless": endless, "stream": stream}]
    assert steps_of(Watched(4, preferred=7), plain, replace(asked, chunk=20)) == [20, 10]


def test_chunks_grow_while_they_are_quick_and_no_row_can_end(plain, monkeypatch):
    monkeypatch.setattr(batching, "perf_counter", lambda: 0.0)
    assert steps_of(Watched(4), plain, request("a", length=300)) == [64, 128, 108]
    assert steps_of(Watched(4), plain, request("a", length=100, stream=True)) == [8, 16, 32, 44]
    assert steps_of(Watched(4), plain, request("a", length=40, stop=("no such text",))) == [16, 16, 8]
    assert steps_of(Watched(4), plain, request("a", length=20, stop=("no such text",), stream=True)) == [8, 8, 4]
    clock = itertools.count()
    monkeypatch.setattr(batching, "perf_counter", lambda: float(next(clock)))
    assert steps_of(Watched(4), plain, request("a", length=200)) == [64, 64, 64, 8]


@given(texts=st.lists(prompts, min_size=1, max_size=4), ignore_eos=st.booleans(), seed=st.integers(0, 99))
@settings(max_examples=40)
def test_streamed_rows_come_one_after_the_other_with_the_same_text(tokenizer, texts, ignore_eos, seed):
    asked = request(*texts, seed=seed, stop=("ba",), ignore_eos=ignore_eos, score=True)
    pieces, generations = run(tokenizer, replace(asked, stream=True))
    assert generations == run(tokenizer, asked)[1]
    assert [piece.index for piece in pieces] == sorted(piece.index for piece in pieces)
    for index, generation in enumerate(generations):
        assert "".join(piece.text for piece in pieces if piece.index == index) == generation.text


@pytest.mark.parametrize("stream", [False, True])
def test_each_prompt_is_encoded_once_to_be_read(plain, monkeypatch, stream):
    asked = request("a", "ab", "b", stream=stream, keep_state=True, score=True)
    begins = boundaries(plain)
    encoded = []
    encode = type(plain).encode

    def note(self, text, on_unknown=None):
        encoded.append(text)
        return encode(self, text, on_unknown)

    monkeypatch.setattr(type(plain), "encode", note)
    finish(generate(make_runtime(plain.vocab_size, 0), plain, begins, asked))
    assert encoded[:3] == ["a", "ab", "b"]


@given(
    texts=st.lists(prompts, min_size=1, max_size=4),
    stop=st.sampled_from([(), ("ab",), ("da", "bb")]),
    ignore_eos=st.booleans(),
    chunk=chunks,
    seed=st.integers(0, 99),
    length=st.integers(1, 30),
)
@settings(max_examples=60)
def test_a_text_can_be_continued_wherever_it_ended(tokenizer, texts, stop, ignore_eos, chunk, seed, length):
    chain = make_chain("repetition-penalty(1.2) | multinomial")
    asked = request(*texts, length=length, chain=chain, seed=seed, stop=stop, ignore_eos=ignore_eos, chunk=chunk)
    _, parts = run(tokenizer, replace(asked, keep_state=True))
    assert parts == run(tokenizer, asked)[1]
    _, wholes = run(tokenizer, replace(asked, length=length + 20, stop=(), ignore_eos=True))
    for part, whole in zip(parts, wholes, strict=True):
        there = part.continuation
        assert there is not None
        assert (there.seed, there.row, there.last_id) == (seed, part.row, part.ids[-1])
        rest = replace(request("", length=20, chain=chain, seed=there.seed, ignore_eos=True), row_seeds=(there.row,))
        _, (after,) = run(tokenizer, replace(rest, continuation=there, keep_state=True))
        assert (*part.ids, *after.ids) == whole.ids[: len(part.ids) + 20]
        # And once more, from the end of the continuation.
        _, (more,) = run(tokenizer, replace(rest, length=5, continuation=after.continuation))
        _, (longer,) = run(tokenizer, replace(rest, length=25, continuation=there))
        assert (*after.ids, *more.ids) == longer.ids


def test_a_state_is_kept_on_request_only(plain):
    assert run(plain, request("a"))[1][0].continuation is None


def test_several_rows_branch_from_one_text(plain):
    _, (part,) = run(plain, request("a", length=10, ignore_eos=True, keep_state=True))
    asked = replace(request("", "", "b", length=15, ignore_eos=True), continuation=part.continuation)
    _, branches = run(plain, replace(asked, row_seeds=(0, 1, 0)))
    _, (whole,) = run(plain, request("a", length=25, ignore_eos=True))
    assert part.text + branches[0].text == whole.text
    assert branches[1].text != branches[0].text
    alone = replace(asked, prompts=("b",), chains=asked.chains[:1], row_seeds=(0,))
    assert run(plain, alone)[1] == branches[2:]


def test_the_ids_of_a_prompt_are_read_as_they_are(plain):
    ids = tuple(plain.encode("ab").tolist())
    _, of_ids = run(plain, replace(request("ab", "ab"), ids=(ids, ids[:1])))
    _, of_texts = run(plain, request("ab", "a"))
    assert [each.text for each in of_ids] == [each.text for each in of_texts]
    with pytest.raises(OptionError, match="there is no id 99; ids are from 0 to"):
        run(plain, replace(request("a"), ids=((99,),)))
    with pytest.raises(OptionError, match="there are 1 prompts and ids of 2"):
        run(plain, replace(request("a"), ids=((1,), (1,))))
