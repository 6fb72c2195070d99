"""The requirements for a tokenizer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pytest

from textgen import Tokenizer
from textgen.errors import ArtifactError, OptionError, UnknownCharacterError
from textgen.testing import tiny
from textgen.testing.suites.plugin import OptionsSuite

#: A private-use character, which no text contains.
UNKNOWN = "\U000ffffd"


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

    def test_parts_are_decoded_to_parts_of_the_text(self) -> None:
        tokenizer = self.fitted()
        rng = np.random.default_rng(0)
        ids = np.concatenate([rng.permutation(tokenizer.vocab_size), rng.integers(0, tokenizer.vocab_size, 100)])
        whole = tokenizer.decode(ids)
        assert "".join(tokenizer.decode([int(one)]) for one in ids) == whole, "text can be streamed"
        for cut in rng.integers(0, len(ids), 10):
            assert tokenizer.decode(ids[:cut]) + tokenizer.decode(ids[cut:]) == whole

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
        assert (unknown.character, unknown.position) == (UNKNOWN, 3)
        assert tokenizer.decode(tokenizer.encode(text, "skip")) == "elmash"
        if tokenizer.unk_id is None:
            with pytest.raises(OptionError):
                tokenizer.encode(text, "unk")
        else:
            assert tokenizer.encode(text, "unk").tolist().count(tokenizer.unk_id) == 1
