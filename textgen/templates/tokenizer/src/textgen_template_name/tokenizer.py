"""The tokenizer ``template-name``."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from textgen import OnUnknown, PlainDecoder, Tokenizer
from textgen.errors import ArtifactError, CorpusError, OptionError, UnknownCharacterError
from textgen.options import Options


class TemplateNameOptions(Options):
    """Options of :class:`TemplateNameTokenizer`."""

    size: int = Field(
        100, ge=0, description="Number of words with their own id: the most frequent ones that occur more than once."
    )
    on_unknown: Literal["error", "skip"] = Field(
        "error", description="What to do with an unknown character: error names it and its position, skip drops it."
    )


class TemplateNameTokenizer(Tokenizer):
    """Frequent words are single ids; everything else is encoded character by character.

    The characters come first, by code point, then the words, most frequent first; the end of a document is last.
    """

    Options = TemplateNameOptions
    options: TemplateNameOptions

    #: Documents end with an id of their own, so they may have line ends.
    has_eos = True

    def __init__(self, options: TemplateNameOptions) -> None:
        super().__init__(options)
        self._set_vocabulary([])

    def _set_vocabulary(self, texts: Sequence[str]) -> None:
        self._texts = list(texts)
        self._ids = {text: number for number, text in enumerate(texts)}

    def fit(self, texts: Iterable[str]) -> None:
        words: Counter[str] = Counter()
        characters: set[str] = set()
        for text in texts:
            characters.update(text)
            words.update(word for word in re.findall(r"\w+", text) if len(word) > 1)
        if not characters:
            raise CorpusError("the corpus has no text to build a vocabulary from; give it at least one character")
        again = [word for word in words if words[word] > 1]
        frequent = sorted(again, key=lambda word: (-words[word], word))[: self.options.size]
        self._set_vocabulary([*sorted(characters), *frequent])

    def encode(self, text: str, on_unknown: OnUnknown | None = None) -> NDArray[np.int32]:
        way = on_unknown or self.options.on_unknown
        if way == "unk":
            raise OptionError("template-name has no unknown id; use --on-unknown error or skip")
        ids = []
        for part in re.finditer(r"\w+|\W", text):
            pieces = [part[0]] if part[0] in self._ids else part[0]
            for position, piece in enumerate(pieces, part.start()):
                if piece in self._ids:
                    ids.append(self._ids[piece])
                elif way == "error":
                    raise UnknownCharacterError(piece, position)
        return np.array(ids, np.int32)

    def decode(self, ids: Sequence[int] | NDArray[np.integer[Any]]) -> str:
        return "".join("\n" if i == self.eos_id else self._texts[i] for i in ids)

    def decoder(self) -> PlainDecoder:
        return PlainDecoder(self.decode)  # each id has a text of its own

    @property
    def characters_per_id(self) -> NDArray[np.int32]:
        return np.array([*map(len, self._texts), 1], np.int32)

    def grow(self, texts: Iterable[str]) -> NDArray[np.int32]:
        known = len(self._texts)
        new = sorted({character for text in texts for character in text} - self._ids.keys())
        self._set_vocabulary([*self._texts, *new])
        return np.array([*range(known), *[-1] * len(new), known], np.int32)  # the end of a document moves

    @property
    def vocab_size(self) -> int:
        return len(self._texts) + 1

    @property
    def eos_id(self) -> int:
        return len(self._texts)

    def to_json(self) -> dict[str, Any]:
        return {"texts": self._texts}

    def load_json(self, vocabulary: Mapping[str, Any]) -> None:
        texts = vocabulary.get("texts")
        if not (isinstance(texts, list) and texts and all(isinstance(text, str) and text for text in texts)):
            raise ArtifactError('the vocabulary is not {"texts": [...]}; restore it from a copy, or train again')
        if len(set(texts)) < len(texts):
            raise ArtifactError("the vocabulary has a text twice; restore it from a copy, or train again")
        self._set_vocabulary(texts)
