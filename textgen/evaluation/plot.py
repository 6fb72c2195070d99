"""The plot of an evaluation, with matplotlib (the extra ``plots``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textgen.base.figures import new_figure, save_figure
from textgen.evaluation.samples import DISTINCT

if TYPE_CHECKING:
    from textgen.evaluation.curve import Curve
    from textgen.evaluation.evaluation import Evaluation, WrittenTexts
    from textgen.evaluation.samples import NGramStatistics
    from textgen.evaluation.scoring import Score


def save_evaluation_plot(evaluation: Evaluation, path: Path) -> None:
    """Draws the reliability diagram, for documents the lengths of written and training texts, and the curve, if any.

    Args:
        evaluation: the evaluation.
        path: the PNG file to write.

    Raises:
        UnavailableError: if matplotlib is not installed.
    """
    drawings: list[Callable[[Any], None]] = [partial(_draw_reliability, score=evaluation.held_out)]
    if evaluation.written:
        drawings.append(partial(_draw_lengths, written=evaluation.written))
    if evaluation.curve and evaluation.curve.best is not None:
        drawings.append(partial(_draw_curve, curve=evaluation.curve, training=evaluation.samples.training))
    figure = new_figure(4.5 * len(drawings), 4.5)
    for axes, draw in zip(figure.subplots(1, len(drawings), squeeze=False)[0], drawings, strict=True):
        draw(axes)
    save_figure(figure, path, follow=False)


def _draw_reliability(axes: Any, score: Score) -> None:
    """Draws accuracy over confidence, as figure 1 of Guo et al. (2017); a bar's opacity is its share of predictions."""
    most = max(bin_.predictions for bin_ in score.bins)
    for bin_ in score.bins:
        if bin_.predictions:
            opacity = 0.25 + 0.75 * bin_.predictions / most
            axes.bar(
                bin_.low, bin_.accuracy, bin_.high - bin_.low, align="edge", color="C0", alpha=opacity, edgecolor="w"
            )
    axes.plot([0, 1], [0, 1], color="gray", linestyle="--", label="perfectly calibrated")
    filled = [bin_ for bin_ in score.bins if bin_.predictions]
    axes.plot([bin_.confidence for bin_ in filled], [bin_.accuracy for bin_ in filled], "C1.-", label="mean of the bin")
    axes.set(
        xlabel="probability of the likeliest token",
        ylabel="share of right predictions",
        title=f"calibration error {score.calibration_error:.3f}",
        xlim=(0, 1),
        ylim=(0, 1),
    )
    axes.legend(loc="upper left")


def _draw_lengths(axes: Any, written: WrittenTexts) -> None:
    both: dict[str, Mapping[int, int]] = {"training": written.training_lengths, "written": written.texts.lengths}
    longest = max(max(lengths) for lengths in both.values())
    bins = [edge + 0.5 for edge in range(0, longest + 1, max(1, longest // 40))]
    bins.append(bins[-1] + max(1, longest // 40))
    for label, lengths in both.items():
        axes.hist(list(lengths), bins, weights=list(lengths.values()), density=True, alpha=0.5, label=label)
    axes.set(
        xlabel="characters per text",
        ylabel="density",
        title=f"lengths: divergence {written.texts.length_divergence:.3f} bits",
    )
    axes.legend()


def _draw_curve(axes: Any, curve: Curve, training: NGramStatistics) -> None:
    """Draws the reverse loss over the variety, one point per temperature, and that of training text."""
    points = [point for point in curve.points if None not in (point.distinct, point.reverse_loss)]
    axes.plot([point.distinct for point in points], [point.reverse_loss for point in points], "C0.-")
    for point in points:
        axes.annotate(
            f"{point.temperature:.1f}",
            (point.distinct, point.reverse_loss),
            textcoords="offset points",
            xytext=(5, 5),
            fontweight="bold" if point.temperature == curve.best else "normal",
        )
    axes.plot([training.distinct], [training.reverse_loss], "C1*", label="training text")
    axes.set(
        xlabel=f"distinct {DISTINCT}-grams",
        ylabel="reverse loss, nats per character",
        title=f"temperature: lowest reverse loss at {curve.best:.1f}",
    )
    axes.legend()
