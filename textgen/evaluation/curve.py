"""A curve over temperature: the quality of what a run writes against its variety."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from textgen.evaluation.n_grams import distinct_share
from textgen.evaluation.samples import DISTINCT, Progress, RealText, reverse_loss, write_texts, written_sample
from textgen.generation.request import Generation, Request
from textgen.plugins.registry import Registry
from textgen.sampling.chain import Chain, edit_chain

#: The temperatures of a curve.
TEMPERATURES = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2)


@dataclass(frozen=True, kw_only=True)
class Point:
    """What a run writes at one temperature.

    Attributes:
        temperature: the temperature.
        reverse_loss: see :class:`~textgen.evaluation.samples.NGramStatistics`, as for ``distinct``.
        distinct: the share of its n-grams that are distinct.
    """

    temperature: float
    reverse_loss: float | None
    distinct: float | None


@dataclass(frozen=True, kw_only=True)
class Curve:
    """What a run writes at several temperatures, with the same random numbers at each.

    M. Caccia, L. Caccia, W. Fedus, H. Larochelle, J. Pineau and L. Charlin, Language GANs Falling Short, ICLR 2020: a
    generator has a curve of quality against diversity, and moves along it with its temperature.

    Attributes:
        points: in ascending order of temperature.
        best: the temperature at which the reverse loss is lowest; ``None`` if it is the same at all, or there is none.
    """

    points: tuple[Point, ...]
    best: float | None


def draw_curve(
    request: Request,
    real: RealText,
    registry: Registry,
    *,
    count: int,
    make_chain: Callable[[str], Chain],
    write: Callable[[Request], list[Generation]],
    progress: Progress,
) -> Curve:
    """Writes the texts of a request at each of :data:`TEMPERATURES`.

    Args:
        request: the texts to write; the temperature of its chain is replaced.
        real: the text to compare them with.
        registry: where the n-gram model is looked up.
        count: the number of texts to compare, the first ones.
        make_chain: builds a sampler chain from its text.
        write: writes the texts of a request.
        progress: called with the progress of the work.
    """
    points = []
    for temperature in TEMPERATURES:
        chain = make_chain(edit_chain(request.chains[0].text, {"temperature": temperature}))
        hot = replace(request, chains=(chain,) * len(request.chains))
        generations = write_texts(hot, write, progress, f"texts written at temperature {temperature}")
        sample = written_sample(generations, is_stream=real.is_stream).first(count)
        points.append(
            Point(
                temperature=temperature,
                reverse_loss=reverse_loss(sample, real.held_out, registry),
                distinct=distinct_share(sample.texts, DISTINCT),
            )
        )
    losses = {point.temperature: point.reverse_loss for point in points if point.reverse_loss is not None}
    differ = len(set(losses.values())) > 1
    return Curve(points=tuple(points), best=min(losses, key=losses.__getitem__) if differ else None)
