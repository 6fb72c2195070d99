import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgen.errors import OptionError, UnknownCharacterError
from textgen.generation.chain import Chain
from textgen.generation.loop import generate
from textgen.generation.randomness import uniforms
from textgen.generation.request import Generation, Piece, Request
from textgen.generation.runtime import ModelRuntime, Runtime
from textgen.plugins.registry import plugins
from textgen.testing import CountingModel, CountingOptions
from textgen.text.boundaries import Boundaries
from textgen.text.tokenizer import Tokenizer

LETTERS = "abcd"


def make_runtime(vocab_size: int, seed: int = 0) -> Runtime:
    """A model that has counted at random, so that every context has odds of its own."""
    model = CountingModel(CountingOptions(), vocab_size)
    counts = np.random.default_rng(seed).integers(0, 9, (vocab_size + 1, vocab_size, vocab_size))
    model.load_weights({"counts": counts.astype(np.float32)})
    return ModelRuntime(model)


def make_chain(text: str) -> Chain:
    return Chain(text, lambda name: plugins().get("sampler", name))


MULTINOMIAL = make_chain("multinomial")


@pytest.fixture(scope="module")
def tokenizer(make_tokenizer) -> Tokenizer:
    """Padding and unknown 0, a to d 1 to 4, <eos> 5."""
    return make_tokenizer("char-eos", [LETTERS])


@pytest.fixture(scope="module")
def plain(make_tokenizer) -> Tokenizer:
    """a to d 0 to 3, no special id."""
    return make_tokenizer("char-index", [LETTERS])


def request(*prompts: str, length: int = 30, chain: Chain = MULTINOMIAL, **options: Any) -> Request:
    return Request(prompts, length, (chain,) * len(prompts), **options)


def run(
    tokenizer: Tokenizer, asked: Request, starts: dict[str, int] | None = None, model_seed: int = 0
) -> tuple[list[Piece], list[Generation]]:
    pieces = generate(
        make_runtime(tokenizer.vocab_size, model_seed),
        tokenizer,
        Boundaries(tokenizer.eos_id, starts or {"a": 1}),
        asked,
    )
    told = []
    while True:
        try:
            told.append(next(pieces))
        except StopIteration as stop:
            return told, stop.value


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
    rows = tuple(data.draw(st.lists(st.integers(0, 2**64 - 1), min_size=len(texts), max_size=len(texts))))
    temperatures = [data.draw(st.sampled_from([0, 0.5, 1.7])) for _ in texts]
    chains = tuple(make_chain(f"repetition-penalty(1.2) | temperature({t}) | multinomial") for t in temperatures)
    together = Request(tuple(texts), length, chains, seed, rows, stop, ignore_eos, score=True, chunk=data.draw(chunks))
    _, generations = run(tokenizer, together, starts={"a": 3, "c": 1})
    for index, whole in enumerate(generations):
        only = slice(index, index + 1)
        alone = replace(together, prompts=together.prompts[only], chains=chains[only], rows=rows[only])
        (single,) = run(tokenizer, replace(alone, chunk=data.draw(chunks)), starts={"a": 3, "c": 1})[1]
        assert single.log_probability == pytest.approx(whole.log_probability, rel=1e-5, abs=1e-5)
        assert replace(single, log_probability=None) == replace(whole, log_probability=None)


def test_a_row_of_64_is_the_row_alone(tokenizer):
    texts = ["ab"[i % 2] * (i % 7 + 1) for i in range(64)]
    _, batch = run(tokenizer, request(*texts, length=200, seed=5))
    assert len({generation.text for generation in batch}) > 30
    for row in (0, 17, 63):
        (alone,) = run(tokenizer, request(texts[row], length=200, seed=5, rows=(row,)))[1]
        assert alone == batch[row]


def test_what_is_drawn_follows_from_the_models_logits_and_the_uniforms(plain):
    # Independent of generate(): one id at a time through the model, the cumulative distribution inverted by hand.
    (found,) = run(plain, request("abc", length=25, seed=9, rows=(4,)))[1]
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


def test_no_score_unless_asked_for(plain):
    assert run(plain, request("a"))[1][0].log_probability is None


def test_an_end_of_document_ends_a_row_and_is_no_part_of_its_text(tokenizer):
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
    """Where the first stop text to be complete begins and ends; of several that end there, the longest."""
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


def test_text_that_may_become_a_stop_text_is_held_back(plain):
    stop = "cbadcb"
    asked = request(*["a"] * 20, length=200, stop=(stop,), chunk=1, seed=3)
    told = [""] * 20
    pieces, generations = run(plain, asked)
    assert len(pieces) > 1000
    for piece in pieces:
        assert piece.text
        told[piece.index] += piece.text
        assert generations[piece.index].text.startswith(told[piece.index])
    assert told == [generation.text for generation in generations]


def test_an_empty_stop_text_stops_nothing(plain):
    assert run(plain, request("a", stop=("",)))[1] == run(plain, request("a"))[1]


def test_a_stop_text_may_have_characters_that_are_never_written(plain):
    assert run(plain, request("a", stop=("ß", "ab\n")))[1][0].finish_reason == "length"


def test_a_stop_that_is_the_drawn_first_character(plain):
    (generation,) = run(plain, request("", stop=("c",)), starts={"c": 1})[1]
    assert (generation.text, generation.finish_reason, len(generation.ids)) == ("", "stop", 1)


@pytest.mark.parametrize("length", [1, 63, 64, 65, 130])
def test_length_counts_what_is_written(plain, length):
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


def test_the_drawn_first_character_is_told_but_not_scored(plain):
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


def test_generations_tell_what_they_are(plain):
    hot, cold = make_chain("temperature(2.0) | multinomial"), make_chain("temperature(0.1) | multinomial")
    _, (first, second) = run(plain, Request(("a", "ab"), 5, (hot, cold), seed=3, rows=(7, 2)))
    assert (first.prompt, first.seed, first.row, first.sampler) == ("a", 3, 7, "temperature(2.0) | multinomial")
    assert (second.prompt, second.seed, second.row, second.sampler) == ("ab", 3, 2, "temperature(0.1) | multinomial")


def test_rows_have_seeds_of_their_own_by_number(plain):
    _, generations = run(plain, request("a", "a", "a", seed=1))
    assert [generation.row for generation in generations] == [0, 1, 2]
    assert len({generation.text for generation in generations}) == 3
    assert run(plain, request("a", "a", "a", seed=1, rows=(0, 1, 2)))[1] == generations
    assert run(plain, request("a", seed=2))[1][0].text != generations[0].text


@pytest.mark.parametrize(("rows", "chains"), [((1,), 2), ((1, 2, 3), 2), ((1, 2), 1)])
def test_rows_and_chains_must_go_with_the_prompts(plain, rows, chains):
    with pytest.raises(OptionError, match=f"2 prompts, {len(rows)} rows and {chains} chains do not go together"):
        run(plain, Request(("a", "b"), 5, (MULTINOMIAL,) * chains, rows=rows))


def test_nothing_is_written_before_all_prompts_are_known(plain):
    pieces = generate(make_runtime(4), plain, Boundaries(None), request("a", "ß"))
    with pytest.raises(UnknownCharacterError):
        next(pieces)
