"""Samples: what a run writes, compared by its n-grams of characters with training text and held-out text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import nsmallest

import numpy as np
from numpy.typing import NDArray

from textgen.evaluation.n_grams import code_points, distinct_share, new_shares
from textgen.generation.request import Generation, Request
from textgen.plugins.registry import Registry
from textgen.text.batches import Dataset, PaddedDocuments
from textgen.text.encoded import EncodedText, offsets_of
from textgen.training.yardstick import count_yardstick

#: Called with the name of the current step, the amount done, and the total.
Progress = Callable[[str, int, int], None]

#: The most characters of each text that are compared.
MOST = 250_000

#: The characters of an n-gram by whose distinct ones the variety of a text is measured.
DISTINCT = 4

#: Texts written at a time, and texts per batch that an n-gram model counts.
TEXTS_AT_ONCE, BATCH = 256, 256


def discard_progress(what: str, done: int, total: int) -> None:
    """Discards progress reports."""


@dataclass(frozen=True)
class Sample:
    """Some texts.

    Attributes:
        texts: the texts.
        ended: whether each has ended as a document does; others go on, but were cut.
    """

    texts: Sequence[str]
    ended: Sequence[bool]

    @classmethod
    def of(cls, texts: Iterable[tuple[str, bool]], most: int = MOST) -> Sample:
        """The first texts of some, each with whether it has ended; together at most ``most`` characters."""
        taken: list[tuple[str, bool]] = []
        left = most
        for text, ended in texts:
            taken.append((text[:left], ended and len(text) <= left))
            left -= len(text)
            if left <= 0:
                break
        return cls([text for text, _ in taken], [ended for _, ended in taken])

    def first(self, count: int) -> Sample:
        """The first texts."""
        return Sample(self.texts[:count], self.ended[:count])

    @property
    def characters(self) -> int:
        """The number of characters of all texts."""
        return sum(map(len, self.texts))


@dataclass(frozen=True)
class RealText:
    """The text that samples are compared with.

    Attributes:
        training: the training documents, or the pieces of a stream; may be iterated several times.
        held_out: of the held-out text, at most :data:`MOST` characters.
        is_stream: whether it is a stream.
    """

    training: Iterable[str]
    held_out: Sample
    is_stream: bool

    @classmethod
    def of(cls, training: Iterable[str], held_out: Iterable[str], *, is_stream: bool) -> RealText:
        """Real text of documents that end, or of the pieces of a stream, which do not."""
        return cls(training, Sample.of((text, not is_stream) for text in held_out), is_stream)

    def draw(self, count: int, most: int, seed: int) -> Sample:
        """Draws training texts by a seed, together at most ``most`` characters; reads all of them once."""
        generator = np.random.default_rng(seed)
        drawn = nsmallest(count, (text[:MOST] for text in self.training), key=lambda _: generator.random())
        return Sample.of(((text, not self.is_stream) for text in drawn), most)


@dataclass(frozen=True, kw_only=True)
class NGramStatistics:
    """A text by its n-grams of characters.

    Attributes:
        texts: the number of texts.
        characters: the number of their characters.
        reverse_loss: how well held-out text is predicted by an n-gram model that was counted in these texts, in nats
            per character; ``None`` for held-out text, or if the plugin is disabled.
        distinct: the number of distinct n-grams of :data:`DISTINCT` characters, as a share of all; ``None`` for
            held-out text, of which there is more or less, or without any.
        novelty: the share of the n-grams of each length that do not occur in training text, by length; empty for
            training text.
    """

    texts: int
    characters: int
    reverse_loss: float | None = None
    distinct: float | None = None
    novelty: Mapping[int, float]


@dataclass(frozen=True, kw_only=True)
class Samples:
    """What a run writes, beside as much training text, and held-out text.

    Attributes:
        sampler: the chain that drew it.
        seed: the seed of the texts, whose own seeds are 0, 1, 2 and so on, and of the drawn training text.
        length: the number of characters after which a text was cut.
        written: the written text.
        training: as many training documents, or characters of a stream.
        held_out: held-out text.
    """

    sampler: str
    seed: int
    length: int
    written: NGramStatistics
    training: NGramStatistics
    held_out: NGramStatistics


def compare_samples(written: Sample, real: RealText, registry: Registry, request: Request) -> Samples:
    """Compares written text with real text; of each at most :data:`MOST` characters.

    Args:
        written: at least one text.
        real: the real text; the training text is read twice.
        registry: where the n-gram model is looked up.
        request: what was written.
    """
    training = real.draw(len(written.texts), written.characters if real.is_stream else MOST, request.seed)
    written = written.first(len(training.texts))
    novelty, real_novelty = new_shares([written.texts, real.held_out.texts], real.training, is_stream=real.is_stream)

    def describe(sample: Sample, novelty: Mapping[int, float]) -> NGramStatistics:
        return NGramStatistics(
            texts=len(sample.texts),
            characters=sample.characters,
            reverse_loss=reverse_loss(sample, real.held_out, registry),
            distinct=distinct_share(sample.texts, DISTINCT),
            novelty=novelty,
        )

    return Samples(
        sampler=request.chains[0].text,
        seed=request.seed,
        length=request.length,
        written=describe(written, novelty),
        training=describe(training, {}),
        held_out=NGramStatistics(
            texts=1 if real.is_stream else len(real.held_out.texts),
            characters=real.held_out.characters,
            novelty=real_novelty,
        ),
    )


def reverse_loss(sample: Sample, held_out: Sample, registry: Registry) -> float | None:
    """How well held-out text is predicted by an n-gram model that was counted in a sample, in nats per character.

    S. Semeniuta, A. Severyn and S. Gelly, On Accurate Evaluation of GANs for Language Generation, 2018: a language
    model is trained on samples and judged by real text, so it suffers from what the samples lack in quality as well as
    in variety. The model here is :data:`textgen.training.yardstick.YARDSTICK`, and its tokens are characters, whatever
    those of the run are. As in a score, the first character of a text is not judged; its end is, if it has one.

    Returns:
        The loss; ``None`` without the model, or if there is nothing to count or to judge.
    """
    characters = np.unique(code_points([*sample.texts, *held_out.texts]))
    parts = [_encode(part, characters) for part in (sample, held_out)]
    if not all(map(len, parts)):
        return None
    train, judged = (
        PaddedDocuments(part, batch_size=BATCH, pad_id=len(characters), shuffle=False, bucket=True) for part in parts
    )
    counted = count_yardstick(Dataset(train, judged), len(characters) + 1, registry)
    return None if counted is None else counted[1]


def _encode(sample: Sample, characters: NDArray[np.uint32]) -> EncodedText:
    """Texts in ids: a character's is its place in ``characters``, an end's their number; without texts of one id."""
    lengths = np.array([len(text) for text in sample.texts], np.int64)
    ended = np.array(sample.ended, np.bool_)
    ids = np.searchsorted(characters, code_points(sample.texts)).astype(np.int32)
    ids = np.insert(ids, np.cumsum(lengths)[ended], len(characters))
    lengths = lengths + ended
    encoded = EncodedText(ids, offsets_of(lengths))
    return encoded.select(np.flatnonzero(lengths > 1))


def written_sample(generations: Sequence[Generation], *, is_stream: bool) -> Sample:
    """What was written, at most :data:`MOST` characters."""
    return Sample.of((each.whole, not is_stream and each.finish_reason != "length") for each in generations)


def write_texts(
    request: Request, write: Callable[[Request], list[Generation]], progress: Progress, what: str
) -> list[Generation]:
    """Writes the texts of a request, some at a time, and reports progress under the name ``what``."""
    generations: list[Generation] = []
    total = len(request.prompts)
    for at in range(0, total, TEXTS_AT_ONCE):
        rows = slice(at, at + TEXTS_AT_ONCE)
        part = replace(
            request,
            prompts=request.prompts[rows],
            chains=request.chains[rows],
            row_seeds=request.row_seeds[rows],
            labels=request.labels[rows],
        )
        generations += write(part)
        progress(what, len(generations), total)
    return generations
