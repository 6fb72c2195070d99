"""The jobs of ``textgen sample --out``."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textgen.base.streams import messages, print_result

if TYPE_CHECKING:
    from textgen.text_generator import TextGenerator


def write(generator: TextGenerator, out: str, prompts_file: str | None, assignments: list[str], **wanted: Any) -> None:
    """Write a job, with its progress on stderr, and what came of it.

    Args:
        generator: that writes.
        out: the file or the folder.
        prompts_file: with the prompts; ``-`` for stdin.
        assignments: to options of the engine.
        **wanted: as :meth:`TextGenerator.write <textgen.TextGenerator.write>` takes them.
    """
    from textgen.base.console import notice, say
    from textgen.options import parse_options

    wanted = {name: value for name, value in wanted.items() if value is not None}
    if prompts_file is not None:
        wanted["prompts_file"] = _kept(prompts_file)
    started = time.monotonic()
    with _shown() as progress:
        try:
            report = generator.write(out, engine_options=parse_options(assignments), progress=progress, **wanted)
        except KeyboardInterrupt:
            notice(f"stopped; to continue {out}, run the same command again")
            raise
    drawn = f" of {report.drawn:,} drawn" if report.drawn != report.texts else ""
    skipped = f", {report.skipped:,} rows left out" if report.skipped else ""
    say(f"{report.texts:,} texts{drawn}{skipped} in {time.monotonic() - started:.1f} s")
    if wanted.get("seed") is None:
        say(f"seed {report.seed}; the same texts again: --seed {report.seed}")
    print_result(report.path)


def _kept(path: str) -> Path:
    """The file with prompts; stdin and what a shell has opened are kept in the cache, to be read again."""
    from textgen.base.spool import spool
    from textgen.cli.sample.prompts import OPENED, read_bytes

    return spool([read_bytes(path)]) if path == "-" or OPENED.fullmatch(os.path.abspath(path)) else Path(path)


class Pace:
    """Texts per second, and the time that is left.

    Args:
        clock: the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._first: tuple[float, int] | None = None

    def describe(self, done: int, total: int) -> str:
        """The pace since the first call, in words; empty before it is known."""
        now = self._clock()
        if self._first is None:
            self._first = now, done
        seconds, written = now - self._first[0], done - self._first[1]
        if not written or seconds <= 0:
            return ""
        left = round((total - done) * seconds / written)
        return f"{written / seconds:,.0f} per second, {left // 3600}:{left // 60 % 60:02}:{left % 60:02} left"


@contextmanager
def _shown() -> Iterator[Callable[[str, int, int], None]]:
    """Shows the progress of a job: a bar on a terminal, elsewhere a line every some seconds."""
    from textgen.base.console import LINE_EVERY, progress_bar, say

    pace = Pace()
    if not messages().isatty():
        printed = time.monotonic()

        def print_line(step: str, done: int, total: int) -> None:
            nonlocal printed
            told = pace.describe(done, total)
            if time.monotonic() - printed >= LINE_EVERY:
                printed = time.monotonic()
                say(f"{done:,} of {total:,} {step}{', ' * bool(told)}{told}")

        yield print_line
        return
    from rich.progress import BarColumn

    with progress_bar(BarColumn(), "{task.percentage:>3.0f}% {task.description}") as bar:
        task = bar.add_task("")
        yield lambda step, done, total: bar.update(
            task, description=f"{done:,} {step}, {pace.describe(done, total)}", completed=done, total=total
        )


def check_options(out: str | None, only_with: Mapping[str, Any], only_without: Mapping[str, Any]) -> None:
    """Check the options that depend on ``--out``.

    Raises:
        OptionError: if one of the first is given without it, or one of the second with it.
    """
    from textgen.errors import OptionError

    given = only_with if out is None else only_without
    name = next((name.replace("_", "-") for name, value in given.items() if value), None)
    if name is not None:
        raise OptionError(
            f"--{name} is for texts that are written to files; add --out NAME.jsonl"
            if out is None
            else f"--{name} and --out exclude each other"
        )
