"""Texts of tokens that are parts of characters, words, and words joined by blanks: lengths count characters."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from textgen import Boundaries, ModelRuntime, Request, Tokenizer
from textgen.generation.loop import generate
from textgen.options import Options
from textgen.plugins.registry import plugins
from textgen.testing import counting


class Table(Tokenizer):
    """Ids by a list of texts."""

    texts: ClassVar[Sequence[Any]] = ()

    def fit(self, texts):
        raise NotImplementedError

    def encode(self, text, on_unknown=None):
        return np.array([self.texts.index(part) for part in text], np.int32)

    @property
    def vocab_size(self):
        return len(self.texts)

    def to_json(self):
        return {}

    def load_json(self, vocabulary):
        pass


class Bytes(Table):
    """The bytes of three characters of one, two and three bytes."""

    texts = (b"a", *(bytes([b]) for b in "é日".encode()))

    def decode(self, ids):
        return b"".join(self.texts[i] for i in ids).decode("utf-8", "replace")


class Parts(Table):
    texts: ClassVar[Sequence[Any]] = ("a", "bc", "def\n", " ghij", "")

    def decode(self, ids):
        return "".join(self.texts[i] for i in ids)


class Joined(Table):
    texts = ("one", "three", "seven")

    def decode(self, ids):
        return " ".join(self.texts[i] for i in ids)

    def encode(self, text, on_unknown=None):
        return super().encode(text.split(), on_unknown)


TOKENIZERS = {kind.__name__: kind(Options()) for kind in (Bytes, Parts, Joined)}

kinds = pytest.mark.parametrize("kind", TOKENIZERS)
chunks = st.one_of(st.none(), st.integers(1, 9))


def write(tokenizer, stream=False, end_id=None, **wishes):
    chain = plugins().chain("multinomial")
    defaults: dict[str, Any] = {"prompts": ("",), "chains": (chain,), "length": 20}
    asked = Request(**(defaults | wishes), stream=stream)
    model = counting.CountingModel(counting.CountingOptions(), tokenizer.vocab_size)
    shape = model.weights()["counts"].shape
    model.load_weights({"counts": np.random.default_rng(0).integers(0, 9, shape).astype(np.float32)})
    pieces = generate(ModelRuntime(model), tokenizer, Boundaries(end_id, {0: 2, 1: 1}), asked)
    texts = []
    while True:
        try:
            texts.append(next(pieces).text)
        except StopIteration as stop:
            (generation,) = stop.value
            assert "".join(texts) == generation.text
            return generation


@kinds
@given(length=st.integers(1, 60), seed=st.integers(0, 99), chunk=chunks, again=chunks)
@settings(max_examples=40)
def test_a_length_is_a_number_of_characters_whatever_the_chunks(kind, length, seed, chunk, again):
    tokenizer = TOKENIZERS[kind]
    whole = write(tokenizer, length=length, seed=seed, chunk=chunk)
    drawn = tokenizer.decode([whole.ids[0]])
    assert len(whole.text) == length + len(drawn.replace("\ufffd", ""))
    assert whole.finish_reason == "length"
    text = tokenizer.decode(whole.ids)
    assert text.startswith(whole.text)
    assert len(tokenizer.decode(whole.ids[:-1]).rstrip("\ufffd")) < len(whole.text), "the last id was needed"
    for stream in (False, True):
        assert write(tokenizer, length=length, seed=seed, chunk=again, stream=stream) == whole


ends = st.sampled_from([None, 0, 1])


@kinds
@given(length=st.integers(1, 30), more=st.integers(1, 30), seed=st.integers(0, 99), chunk=chunks, end_id=ends)
@example(length=1, more=4, seed=1, chunk=None, end_id=0)
@settings(max_examples=40)
def test_two_parts_are_the_text_written_at_once(kind, length, more, seed, chunk, end_id):
    tokenizer = TOKENIZERS[kind]
    whole = write(tokenizer, length=length + more, seed=seed, end_id=end_id, keep_state=True)
    part = write(tokenizer, length=length, seed=seed, chunk=chunk, end_id=end_id, keep_state=True)
    if part.finish_reason == "eos":
        assert (part.text, part.ids, part.continuation) == (whole.text, whole.ids, whole.continuation)
        return
    before = part.continuation
    rest = write(tokenizer, length=more, seed=seed, end_id=end_id, continuation=before, keep_state=True)
    assert part.text + rest.text == whole.text
    assert (*part.ids, *rest.ids) == whole.ids
    assert rest.continuation == whole.continuation


@kinds
@given(length=st.integers(1, 5), seed=st.integers(0, 999), end_id=ends)
@example(length=1, seed=1, end_id=0)
@settings(max_examples=40)
def test_the_tokens_of_a_scored_text_are_all_of_it_even_if_it_ends_inside_a_character(kind, length, seed, end_id):
    generation = write(TOKENIZERS[kind], length=length, seed=seed, end_id=end_id, score=True)
    assert "".join(token.text for token in generation.tokens).startswith(generation.text)


@kinds
@given(seed=st.integers(0, 99), chunk=chunks, stop=st.sampled_from(["n", "e", "c ", "é", "日a", "bca"]))
@settings(max_examples=40)
def test_a_stop_text_may_begin_and_end_inside_tokens(kind, seed, chunk, stop):
    tokenizer = TOKENIZERS[kind]
    whole = write(tokenizer, length=80, seed=seed)
    cut = write(tokenizer, length=80, seed=seed, stop=(stop,), chunk=chunk)
    at = whole.text.find(stop)
    assert (cut.finish_reason == "stop") == (at >= 0)
    if at >= 0:
        assert cut.text == whole.text[:at]
        assert stop in tokenizer.decode(cut.ids)
        assert stop not in tokenizer.decode(cut.ids[:-1])
    assert write(tokenizer, length=80, seed=seed, stop=(stop,), chunk=chunk, stream=True) == cut


def test_words_after_a_prompt_are_joined_to_it():
    tokenizer = TOKENIZERS["Joined"]
    text = write(tokenizer, prompts=("one",), length=12).text
    assert text[0] == " "


def test_ids_without_text_end_a_row():
    class Silent(Parts):
        texts = ("", "")

    generation = write(Silent(Options()), length=5)
    assert (generation.text, generation.finish_reason, len(generation.ids)) == ("", "length", 21)


def test_a_replacement_character_that_the_text_has_is_not_lost():
    class Replaced(Parts):
        texts = ("\ufffd", "\ufffd")

    assert write(Replaced(Options()), length=5).text == "\ufffd" * 5
