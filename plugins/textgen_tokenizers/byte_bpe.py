"""``byte-bpe``: byte-level byte-pair encoding, trained on the corpus by Hugging Face's ``tokenizers``."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from textgen import OnUnknown, Tokenizer, in_pieces
from textgen.errors import ArtifactError, CorpusError, OptionError, UnavailableError, UnknownCharacterError
from textgen.options import Options

if TYPE_CHECKING:
    import tokenizers

#: Characters that the library encodes as one text, which costs about 100 bytes of memory each.
PART = 1 << 16

#: Parts of a longer text: cut before white space that follows other text, which no token spans; else anywhere.
_PARTS = re.compile(rf"(?s:.){{1,{PART}}}(?:\Z|(?<=\S)(?=\s))|(?s:.){{1,{PART}}}")

#: The environment variable by which the library uses several threads.
_PARALLELISM = "TOKENIZERS_PARALLELISM"

#: Surrogates: possible in a Python string, not in UTF-8.
_SURROGATES = re.compile("[\ud800-\udfff]")


class ByteBPEOptions(Options):
    """Options of :class:`ByteBPE`."""

    vocab_size: int = Field(
        1000,
        ge=257,
        description="Number of ids: 256 bytes, <eos>, and the pieces of words that were merged; fewer if the corpus "
        "has no more pairs to merge.",
    )
    min_frequency: int = Field(2, ge=1, description="Merge only pairs that occur at least so often in the corpus.")
    on_unknown: Literal["error", "skip"] = Field(
        "error",
        description="What to do with halves of a character (lone surrogates), which UTF-8 does not have: error names "
        "the first and its position, skip drops them.",
    )


class ByteBPE(Tokenizer):
    r"""Ids of pieces of words, in bytes: any text is encoded, and comes back exactly.

    The first 256 ids are the bytes, those of merged pairs follow, ``<eos>`` is last. The vocabulary is the JSON of
    ``tokenizers.Tokenizer``, which does not contain ``<eos>``: a text with "<eos>" in it is encoded like any other.

    Example:
        >>> tokenizer = ByteBPE(ByteBPEOptions(vocab_size=260))
        >>> tokenizer.fit(["the cat and the dog and the"])
        >>> [tokenizer.decode([i]) for i in tokenizer.encode("the hen")]
        ['the', ' ', 'he', 'n']
    """

    Options = ByteBPEOptions
    options: ByteBPEOptions
    has_eos = True

    _trained: tokenizers.Tokenizer

    def fit(self, texts: Iterable[str]) -> None:
        """Merges the most frequent pairs of all texts.

        Raises:
            CorpusError: if they have no character, or half a one.
            UnavailableError: if ``tokenizers`` is not installed.
        """
        library = _import_tokenizers()
        trained = _untrained()
        trainer = library.trainers.BpeTrainer(
            vocab_size=self.options.vocab_size - 1,  # and <eos>
            min_frequency=self.options.min_frequency,
            initial_alphabet=sorted(_BYTES),
            show_progress=False,
        )
        trained.train_from_iterator(self._parts_to_fit(texts), trainer)
        self._set(json.loads(trained.to_str()), trained)

    def _parts_to_fit(self, texts: Iterable[str]) -> Iterator[str]:
        empty = True
        for text in texts:
            try:
                known = self._known(text, self.options.on_unknown)
            except UnknownCharacterError as error:
                raise CorpusError(
                    f"the corpus has half a character, {error.character!r}, which byte-bpe cannot encode; remove it, "
                    "or drop all such: --set tokenizer.on_unknown=skip"
                ) from None
            empty = empty and not known
            yield from _parts(known)
        if empty:
            raise CorpusError("the corpus has no text to build a vocabulary from; give it at least one character")

    def _set(self, vocabulary: dict[str, Any], trained: tokenizers.Tokenizer) -> None:
        self._vocabulary, self._trained = vocabulary, trained
        ids = vocabulary["model"]["vocab"]
        pieces = sorted(ids, key=ids.__getitem__)
        self._pieces = [*(bytes(map(_BYTES.__getitem__, piece)) for piece in pieces), b"\n"]
        self.__dict__.pop("characters_per_id", None)

    def _known(self, text: str, way: OnUnknown) -> str:
        """The text without what UTF-8 cannot express."""
        if way == "unk":
            raise OptionError("byte-bpe has no unknown id; use --on-unknown error or skip")
        if text.isascii():
            return text
        if way == "error" and (half := _SURROGATES.search(text)):
            raise UnknownCharacterError(half[0], half.start())
        return _SURROGATES.sub("", text)

    def encode(self, text: str, on_unknown: OnUnknown | None = None) -> NDArray[np.int32]:
        known = self._known(text, on_unknown or self.options.on_unknown)
        return np.concatenate([ids for ids, _ in self._encode_parts(_parts(known))])

    def encode_batch(self, texts: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        parts = [list(_parts(self._known(text, self.options.on_unknown))) for text in texts]
        encoded = list(self._encode_parts(chain.from_iterable(parts)))
        lengths = np.concatenate([lengths for _, lengths in encoded])
        firsts = np.cumsum([0, *map(len, parts[:-1])])
        return np.concatenate([ids for ids, _ in encoded]), np.add.reduceat(lengths, firsts)

    def _encode_parts(self, parts: Iterable[str]) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int64]]]:
        """Yields the ids of some parts, ``[n]`` int32, and the number of each, ``[parts]`` int64."""
        for some in in_pieces(parts):
            encoded = [each.ids for each in self._trained.encode_batch_fast(some, add_special_tokens=False)]
            yield np.array([*chain.from_iterable(encoded)], np.int32), np.array([*map(len, encoded)], np.int64)

    def decode(self, ids: Sequence[int] | NDArray[np.integer[Any]]) -> str:
        return b"".join([self._pieces[i] for i in ids]).decode("utf-8", "replace")

    @cached_property
    def characters_per_id(self) -> NDArray[np.int32]:
        """The number of first bytes of characters in each id, ``[vocab_size]`` int32; the end is one character."""
        return np.array([sum(byte & 0xC0 != 0x80 for byte in piece) for piece in self._pieces], np.int32)

    @property
    def vocab_size(self) -> int:
        return len(self._pieces)

    @property
    def eos_id(self) -> int:
        return self.vocab_size - 1

    def to_json(self) -> dict[str, Any]:
        return self._vocabulary

    def load_json(self, vocabulary: Mapping[str, Any]) -> None:
        _import_tokenizers()
        wrong = "the vocabulary is not one of byte-bpe, in the JSON of tokenizers.Tokenizer; restore it or train again"
        if not _is_like_ours(vocabulary):  # the library ends the process over some others
            raise ArtifactError(wrong)
        try:
            trained = _untrained().from_str(json.dumps(dict(vocabulary)))
            ids = json.loads(trained.to_str())["model"]["vocab"]
        except Exception as error:  # the library has no class of its own for what is wrong
            raise ArtifactError(wrong) from error
        if not (
            _settings(trained) == _settings(_untrained())
            and sorted(ids.values()) == list(range(len(ids)))
            and ids.keys() >= _BYTES.keys() >= set(chain.from_iterable(ids))
        ):
            raise ArtifactError(wrong)
        self._set(dict(vocabulary), trained)


def _import_tokenizers() -> Any:
    """Imports the library, which uses all cores unless ``TOKENIZERS_PARALLELISM=false``.

    Raises:
        UnavailableError: if it is not installed.
    """
    if _PARALLELISM not in os.environ:
        os.environ[_PARALLELISM] = "true"
        # Its threads do not survive a fork: the child would wait for them, or warn if the variable were not set.
        os.register_at_fork(after_in_child=lambda: os.environ.update({_PARALLELISM: "false"}))
    try:
        import tokenizers
    except ImportError as error:
        raise UnavailableError('byte-bpe needs tokenizers: pip install "textgen-rnn[bpe]"') from error
    return tokenizers


def _untrained() -> tokenizers.Tokenizer:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    untrained = Tokenizer(models.BPE())
    untrained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    untrained.decoder = decoders.ByteLevel()
    return untrained


def _settings(tokenizer: tokenizers.Tokenizer) -> dict[str, Any]:
    """Everything of a tokenizer but its vocabulary."""
    settings: dict[str, Any] = json.loads(tokenizer.to_str())
    settings["model"] |= {"vocab": None, "merges": None}
    return settings


def _is_like_ours(vocabulary: Mapping[str, Any]) -> bool:
    """Whether a vocabulary has the settings of :func:`_untrained`, distinct ids, and merges of pieces that have ids."""
    ours, model = _settings(_untrained()), vocabulary.get("model")
    if not isinstance(model, dict):
        return False
    ids, merges = model.get("vocab"), model.get("merges")
    found, expected = {**vocabulary, "model": None}, {**ours, "model": None}
    same = _is_part(found, expected) and _is_part({**model, "vocab": None, "merges": None}, ours["model"])
    if not (same and isinstance(ids, dict) and isinstance(merges, list)):
        return False
    if not all(type(i) is int and 0 <= i < len(ids) for i in ids.values()) or len(set(ids.values())) < len(ids):
        return False
    pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in merges]  # as earlier versions write it
    return all(_is_pair(pair) and pair[0] in ids and pair[1] in ids and "".join(pair) in ids for pair in pairs)


def _is_part(found: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    """Whether each value is the expected one; some may be missing. ``True`` is not 1."""
    return all(name in expected and json.dumps(value) == json.dumps(expected[name]) for name, value in found.items())


def _is_pair(pair: object) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair)


def _parts(text: str) -> Iterator[str]:
    """Yields a text in parts of at most :data:`PART` characters, the empty text in one."""
    if len(text) <= PART:
        yield text
    else:
        yield from _PARTS.findall(text)


def _bytes_by_letter() -> dict[str, int]:
    """The byte for which each letter of a byte-level vocabulary stands.

    Printable characters of Latin-1 stand for their own code; the other bytes have letters from U+0100, as in GPT-2.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + n): byte for n, byte in enumerate(others)}


_BYTES = _bytes_by_letter()
