"""The common part of the benchmark commands: options, the session, and writing the result."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal

from benchmarks import machine
from benchmarks.charts import Chart
from benchmarks.harness import FULL, QUICK, BenchmarkError, Contender, Effort, measure
from benchmarks.report import RESULTS, Claim, Figures, Result, Table

DISTRIBUTIONS = (
    "textgen-rnn",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "tensorflow",
    "keras",
    "numba",
    "tf2onnx",
    "torch",
)

#: Prints a line of progress.
notice = partial(print, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Findings:
    """The findings of a benchmark; see :class:`benchmarks.report.Result`."""

    tables: Sequence[Table] = ()
    claims: Sequence[Claim] = ()
    charts: Sequence[Chart] = ()
    figures: Sequence[Figures] = ()


@dataclass(frozen=True)
class Session:
    """A running benchmark.

    Attributes:
        options: of the command line.
        device: ``"cpu"`` or ``"cuda"``.
        is_quick: whether to measure fewer things for a shorter time.
        folder: for temporary files.
        environment: variables of the contenders' processes.
    """

    options: argparse.Namespace
    device: str
    is_quick: bool
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def effort(self) -> Effort:
        """The duration of a measurement."""
        return QUICK if self.is_quick else FULL

    def table(
        self,
        title: str,
        item: str,
        shows: Literal["time", "rate"],
        reference: str,
        contenders: Sequence[Contender],
    ) -> Table:
        """Measures contenders for a job; for the arguments, see :class:`~benchmarks.report.Table`."""
        notice(title)
        rows, others = measure(contenders, self.effort, environment=self.environment, notice=notice)
        return Table(title, item, shows, reference, rows, others)


def run(
    name: str,
    question: str,
    find: Callable[[Session], Findings],
    *,
    devices: Sequence[str] = ("cpu",),
    has_quick: bool = True,
    add_arguments: Callable[[argparse.ArgumentParser], None] = lambda parser: None,
) -> None:
    """Runs a benchmark as a command: measures, writes JSON and PNG below :data:`RESULTS`, prints Markdown.

    Args:
        name: of the module and of its result.
        question: the question that it answers: the module's docstring.
        find: does the measuring.
        devices: the devices on which the benchmark can run.
        has_quick: whether it has the option ``--quick``.
        add_arguments: adds its own options.
    """
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=question.partition("\n")[0])
    if has_quick:
        parser.add_argument("--quick", action="store_true", help="measure less, for a first impression")
    if len(devices) > 1:
        parser.add_argument("--device", choices=devices, default="cpu")
    add_arguments(parser)
    options = parser.parse_args()
    device, is_quick = getattr(options, "device", "cpu"), getattr(options, "quick", False)
    created, described = datetime.now(UTC).isoformat(timespec="seconds"), machine.describe(device)
    with tempfile.TemporaryDirectory() as folder:
        session = Session(options, device, is_quick, Path(folder), environment(Path(folder), device))
        try:
            found = find(session)
        except BenchmarkError as error:
            raise SystemExit(f"benchmarks: {error}") from None
    result = Result(
        shlex.join(["python", "-m", f"benchmarks.{name}", *sys.argv[1:]]),
        created,
        described,
        machine.versions(DISTRIBUTIONS),
        list(found.tables),
        list(found.claims),
        list(found.charts),
        list(found.figures),
    )
    kind = ("-quick" if is_quick else "") + ("-cuda" if device == "cuda" else "")
    path = RESULTS / f"{name}{kind}.json"
    result.write(path)
    notice(f"written: {path}")
    if result.charts:
        _draw(result, path.with_suffix(".png"))
    print(Result.read(path).markdown())


def textgen(session: Session, *arguments: str) -> str:
    """Runs a command of textgen; returns what it prints.

    Raises:
        BenchmarkError: if it fails.
    """
    done = subprocess.run(
        [sys.executable, "-m", "textgen", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **session.environment},
        check=False,
    )
    if done.returncode:
        raise BenchmarkError(f"textgen {' '.join(arguments)} failed")
    return done.stdout


def environment(folder: Path, device: str) -> dict[str, str]:
    """The variables of a contender's process.

    Args:
        folder: for textgen's cache, so that its thread counts are measured anew.
        device: ``"cpu"`` or ``"cuda"``.
    """
    return {
        "TEXTGEN_CACHE_DIR": str(folder / "cache"),
        "TEXTGEN_PLUGINS": "",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        **({"CUDA_VISIBLE_DEVICES": "-1"} if device == "cpu" else {}),
    }


def _draw(result: Result, path: Path) -> None:
    try:
        from benchmarks.plots import save_plot
    except ImportError:
        notice('no plot without matplotlib: pip install "textgen-rnn[plots]"')
    else:
        save_plot(result.charts, path)
        notice(f"written: {path}")
