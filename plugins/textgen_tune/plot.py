"""The plot of a search, with matplotlib (the extra ``plots``)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import accumulate

from textgen import keep_in_cache, write_atomically
from textgen_tune.space import Searched
from textgen_tune.trials import Search

#: The name of the file.
FILE = "tune.png"


def save_plot(search: Search, space: Sequence[Searched]) -> None:
    """Draw the losses in the order of the trials, and over the values of each option; nothing without matplotlib."""
    try:
        keep_in_cache("MPLCONFIGDIR", "matplotlib")
        from matplotlib.figure import Figure
    except ImportError:
        return  # who wants the plot installs matplotlib for it
    judged = [(trial, trial.loss) for trial in search.trials if trial.loss is not None]
    trials, losses = zip(*judged, strict=True)
    figure = Figure(figsize=(4 * (1 + len(space)), 4), layout="constrained")
    first, *others = figure.subplots(1, 1 + len(space), sharey=True, squeeze=False)[0]
    numbers = [trial.number + 1 for trial in trials]
    first.plot(numbers, losses, "C0.", label="trial")
    first.step(numbers, list(accumulate(losses, min)), "C1", where="post", label="best so far")
    first.xaxis.get_major_locator().set_params(integer=True)
    first.set(xlabel="trial", ylabel="held-out loss, nats per character")
    first.legend()
    others[0].set_title("later trials are lighter")
    for axes, each in zip(others, space, strict=True):
        values = [trial.options[each.name] for trial in trials]
        axes.scatter(values if each.choices else list(map(float, values)), losses, c=numbers, cmap="viridis", s=16)
        axes.set(xlabel=each.name)
        if not each.choices:
            axes.set_xscale("log" if each.is_log else "linear")
            middle = (each.low * each.high) ** 0.5 if each.is_log else (each.low + each.high) / 2
            axes.set_xticks([each.low, middle, each.high], [f"{end:.3g}" for end in (each.low, middle, each.high)])
            axes.set_xticks([], minor=True)
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=120)
    write_atomically(search.folder / FILE, image.getvalue())
