"""The requirements for a tokenizer."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import pairwise
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

from textgen import Corpus, Layout, Provenance, Register, TextGenerator, Tokenizer, hookimpl, train
from textgen.errors import ArtifactError, OptionError, UnknownCharacterError
from textgen.testing import tiny
from textgen.testing.plugins import registered
from textgen.testing.suites.plugin import OptionsSuite

#: A private-use character, which no text contains.
UNKNOWN = "\U000ffffd"

#: A text with characters and words that no other text has.
NEW = f"Ωmega ✓ {UNKNOWN} fourteen"

#: Trains a model of a layout.
Writer = Callable[[Layout], TextGenerator]

both_layouts = pytest.mark.parametrize("layout", ["stream", "documents"])


class TokenizerSuite(OptionsSuite):
    """Cases for a :class:`textgen.Tokenizer`.

    Example:
        >>> class TestCharIndex(TokenizerSuite):
        ...     name = "char-index"

    Attributes:
        texts: the texts that it is fitted on; it must encode and decode each without loss.
    """

    kind = "tokenizer"
    interface = Tokenizer

    texts: ClassVar[Sequence[str]] = (
        tiny.TEXT,
        *tiny.WORDS,
        "Zoë's naïve café\r\n\ttabs  and  blanks ",
        "e\u0301 is two characters, 日本語 three, 🌲 one",
    )

    def fitted(self) -> Tokenizer:
        """The tokenizer under test, fitted on :attr:`texts`."""
        tokenizer: Tokenizer = self.make()
        tokenizer.fit(text for text in self.texts)  # an iterator, which can be read only once
        return tokenizer

    def light_use(self) -> str:
        return f"from textgen.plugins import plugins\nplugins().get('tokenizer', {self.name!r})"

    def test_ids_are_in_range(self) -> None:
        tokenizer = self.fitted()
        for text in self.texts:
            ids = tokenizer.encode(text)
            assert ids.ndim == 1
            assert ids.dtype == np.int32
            assert ids.size
            assert ids.min() >= 0
            assert ids.max() < tokenizer.vocab_size
            assert tokenizer.eos_id not in ids.tolist(), "encoding does not end documents"
        assert tokenizer.encode("").tolist() == []

    def test_a_batch_is_encoded_like_its_single_texts(self) -> None:
        tokenizer = self.fitted()
        texts = [*self.texts, "", self.texts[0]]
        ids, lengths = tokenizer.encode_batch(texts)
        assert ids.dtype == np.int32
        assert lengths.dtype == np.int64
        assert ids.tolist() == [i for text in texts for i in tokenizer.encode(text)]
        assert lengths.tolist() == [len(tokenizer.encode(text)) for text in texts]

    def test_text_comes_back(self) -> None:
        tokenizer = self.fitted()
        for text in self.texts:
            ids = tokenizer.encode(text)
            assert tokenizer.decode(ids) == text
            assert tokenizer.decode(ids.tolist()) == text
        assert tokenizer.decode([]) == ""

    def test_a_text_cut_between_words_is_encoded_like_the_whole(self) -> None:
        tokenizer = self.fitted()
        for text in self.texts:
            whole = tokenizer.encode(text).tolist()
            for cut in [match.start() for match in re.finditer(r"(?<=\S)\s", text)][:20]:
                parts = [*tokenizer.encode(text[:cut]), *tokenizer.encode(text[cut:])]
                assert parts == whole, f"a long text is cut before white space, as here: {text[:cut]!r}"

    def test_ids_are_decoded_as_they_come(self) -> None:
        tokenizer = self.fitted()
        rng = np.random.default_rng(0)
        drawn = np.concatenate([rng.permutation(tokenizer.vocab_size), rng.integers(0, tokenizer.vocab_size, 100)])
        encoded = [tokenizer.encode(text) for text in self.texts]
        beginnings = [encoded[-1][:end] for end in range(len(encoded[-1]))]
        for ids in (drawn.astype(np.int32), *encoded, *beginnings):
            for part in (1, 3, 10):
                cuts = [0, *sorted(rng.integers(0, len(ids), len(ids) // part)), len(ids)]
                decoder = tokenizer.decoder()
                pieces = [decoder.feed(ids[start:end]) for start, end in pairwise(cuts)]
                assert "".join(pieces) + decoder.flush() == tokenizer.decode(ids), "pieces cannot be taken back"

    def test_characters_are_counted_by_id(self) -> None:
        tokenizer = self.fitted()
        counts = tokenizer.characters_per_id
        assert counts.dtype == np.int32
        assert counts.shape == (tokenizer.vocab_size,)
        assert counts.min() >= 0
        for text in self.texts:
            assert abs(counts[tokenizer.encode(text)].sum() - len(text)) <= 1

    def test_special_ids_are_consistent(self) -> None:
        tokenizer = self.fitted()
        special = [i for i in (tokenizer.pad_id, tokenizer.unk_id, tokenizer.eos_id) if i is not None]
        assert all(0 <= i < tokenizer.vocab_size for i in special)
        assert set(tokenizer.forbidden_ids) < set(range(tokenizer.vocab_size)), "at least one id can be drawn"
        assert tokenizer.has_eos == (tokenizer.eos_id is not None)
        if tokenizer.eos_id is not None:
            assert tokenizer.decode([tokenizer.eos_id]) == "\n"
            assert tokenizer.eos_id not in tokenizer.forbidden_ids
        if tokenizer.pad_id is not None:
            assert tokenizer.decode([tokenizer.pad_id]) == ""

    def test_the_vocabulary_comes_back_from_json(self) -> None:
        tokenizer = self.fitted()
        again: Tokenizer = self.make()
        again.load_json(json.loads(json.dumps(tokenizer.to_json())))
        for name in ("vocab_size", "pad_id", "unk_id", "eos_id", "forbidden_ids"):
            assert getattr(again, name) == getattr(tokenizer, name)
        every = range(tokenizer.vocab_size)
        assert [again.decode([i]) for i in every] == [tokenizer.decode([i]) for i in every]
        for text in self.texts:
            assert again.encode(text).tolist() == tokenizer.encode(text).tolist()

    def test_an_invalid_vocabulary_is_an_error(self) -> None:
        good = self.fitted().to_json()
        for bad in ({}, {"no": "vocabulary"}, dict.fromkeys(good)):
            if bad != good:
                with pytest.raises(ArtifactError):
                    self.make().load_json(bad)

    def test_fitting_again_gives_the_same_vocabulary(self) -> None:
        assert self.fitted().to_json() == self.fitted().to_json()

    def test_an_unknown_character_is_handled_as_requested(self) -> None:
        tokenizer = self.fitted()
        text = f"elm{UNKNOWN}ash"
        try:
            assert tokenizer.decode(tokenizer.encode(text, "error")) == text
            return  # it knows all characters
        except UnknownCharacterError as error:
            unknown = error
        start, end = unknown.position, unknown.position + len(unknown.character)
        assert text[start:end] == unknown.character, "the position is that of the unknown text"
        assert UNKNOWN in unknown.character
        assert set(unknown.ways) == {"skip"} | ({"unk"} if tokenizer.unk_id is not None else set())
        assert tokenizer.decode(tokenizer.encode(text, "skip")) == text[:start] + text[end:]
        if tokenizer.unk_id is None:
            with pytest.raises(OptionError):
                tokenizer.encode(text, "unk")
        else:
            assert tokenizer.encode(text, "unk").tolist().count(tokenizer.unk_id) == 1

    def test_a_vocabulary_that_grows_keeps_its_ids(self) -> None:
        tokenizer = self.fitted()
        known = [tokenizer.decode([i]) for i in range(tokenizer.vocab_size)]
        special = {name: getattr(tokenizer, name) for name in ("pad_id", "unk_id", "eos_id")}
        before = tokenizer.grow(text for text in (NEW,))
        assert before.dtype == np.int32
        assert before.shape == (tokenizer.vocab_size,)
        assert sorted(before[before >= 0]) == list(range(len(known))), "each id has one after it has grown"
        for i in np.flatnonzero(before >= 0):
            assert tokenizer.decode([int(i)]) == known[before[i]]
        for name, old in special.items():
            now = getattr(tokenizer, name)
            assert (None if now is None else before[now]) == old
        again: Tokenizer = self.make()
        again.load_json(json.loads(json.dumps(tokenizer.to_json())))
        for text in self.texts:
            assert tokenizer.decode(tokenizer.encode(text)) == text
            assert again.encode(text).tolist() == tokenizer.encode(text).tolist()
        assert again.encode(NEW, "skip").tolist() == tokenizer.encode(NEW, "skip").tolist()

    @pytest.fixture(scope="class")
    @classmethod
    def writer(cls, kit: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Writer]:
        """A function that trains a model with the tokenizer, on a stream or on documents; it writes any ids."""

        @cache
        def writer(layout: Layout) -> TextGenerator:
            settings = {
                "tokenizer": {"name": cls.name, **cls.options},
                "training": {"epochs": 1, "batch_size": 4, "length": 20, "held_out": 0, "sample_every": 1},
            }
            folder = tmp_path_factory.mktemp("runs") / layout
            return train(f"texts-{layout}", "fixed-gru", settings=settings, out=folder)

        with registered(_corpora(cls.texts), name="texts"):
            yield writer

    @both_layouts
    def test_a_text_begins_as_those_of_the_corpus(self, writer: Writer, layout: Layout) -> None:
        generator = writer(layout)
        begun = {int(generator.tokenizer.encode(line)[0]) for line in _lines(self.texts)}
        for generation in generator.sample(generator.request(num=20, length=10, seed=1)):
            assert generation.ids[0] in begun
            assert generation.text

    @both_layouts
    def test_a_text_is_the_same_if_it_is_streamed(self, writer: Writer, layout: Layout) -> None:
        generator = writer(layout)
        for prompt in ("", self.texts[0][:9], self.texts[-1]):
            for chunk in (1, 7):
                text = generator.generate(prompt, length=80, seed=2, ignore_eos=True)
                streamed = generator.stream(prompt, length=80, seed=2, ignore_eos=True, chunk=chunk)
                assert "".join(streamed) == text

    @both_layouts
    def test_a_text_can_be_continued_wherever_it_is_cut(self, writer: Writer, layout: Layout) -> None:
        generator, prompt = writer(layout), self.texts[0][:9]
        whole = generator.generate(prompt, length=40, seed=4, ignore_eos=True)
        for length in (1, 6, 13, 22, 31):
            first = generator.request(prompt, length=length, seed=4, ignore_eos=True, keep_state=True)
            (part,) = generator.sample(first)
            rest = generator.request("", length=40 - length, ignore_eos=True, continuation=part.continuation)
            assert part.whole + generator.sample(rest)[0].text == whole

    @both_layouts
    def test_a_text_ends_at_a_stop_text(self, writer: Writer, layout: Layout) -> None:
        generator = writer(layout)
        (whole,) = generator.sample(generator.request("", length=80, seed=3, ignore_eos=True))
        for start in range(1, len(whole.text) - 4, 7):
            stop = whole.text[start : start + 4]
            (stopped,) = generator.sample(generator.request("", length=80, seed=3, ignore_eos=True, stop=stop))
            assert stopped.text == whole.text[: whole.text.index(stop)]
            assert stopped.finish_reason == "stop"


def _lines(texts: Sequence[str]) -> list[str]:
    return [line for text in texts for line in text.splitlines() if line]


def _corpora(texts: Sequence[str]) -> SimpleNamespace:
    """A plugin with the corpora ``texts-stream``, of the texts, and ``texts-documents``, of their lines."""

    class Stream(Corpus):
        layout: Layout = "stream"

        def documents(self) -> Iterator[str]:
            yield "\n".join(texts)

        def provenance(self) -> Provenance:
            return Provenance((), "CC0-1.0")

    class Documents(Stream):
        layout: Layout = "documents"

        def documents(self) -> Iterator[str]:
            yield from _lines(texts)

    @hookimpl
    def textgen_register_corpora(register: Register) -> None:
        register("texts-stream", Stream, "Texts.")
        register("texts-documents", Documents, "Lines of texts.")

    return SimpleNamespace(textgen_register_corpora=textgen_register_corpora)
