"""The machine and its Python: cores, devices, installed versions, processes, signals."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Literal, cast

from textgen.errors import OptionError, UnavailableError

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

#: Variables that tell libraries how many threads to start; they read them when they are imported.
THREADS = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"),
    *("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"),
)


def distribution_version(name: str) -> str:
    """The installed version of a distribution, or ``"unknown"``."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


#: The file system that tells of control groups; tests put another one in its place.
ROOT = Path("/")


#: The most cores that this process is to use, if it was told.
_limit: int | None = None


def limit_cores(number: int | None) -> int | None:
    """Lets :func:`usable_cores` count at most so many: others beside this process use the rest.

    Args:
        number: at least 1; ``None`` for no limit.

    Returns:
        The limit before.
    """
    global _limit
    before, _limit = _limit, number
    return before


def usable_cores() -> int:
    """The number of cores that this process may use, at least 1: by its affinity, and by the quota of its container.

    Of a quota of 2.5 cores, 2 are counted: threads that wait for each other lose more than half a core wins.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([_limit or cores, cores, *map(int, _quotas(ROOT))]))


def _quotas(root: Path) -> list[float]:
    """The quotas of this process's control groups and of those around them, in cores; see cgroups(7).

    Version 2 has ``cpu.max`` ("200000 100000" or "max 100000"), version 1 two files. A group may be anywhere below the
    folder that is mounted; in a container it is often that folder itself.
    """
    quotas = []
    for mounted, group in _groups(root):
        for folder in (mounted / group, *(mounted / parent for parent in group.parents)):
            limit = _read(folder / "cpu.max").split() or [
                *_read(folder / "cpu.cfs_quota_us").split(),
                *_read(folder / "cpu.cfs_period_us").split(),
            ]
            if len(limit) == 2 and limit[0].isdecimal() and limit[1].isdecimal() and int(limit[1]):
                quotas.append(int(limit[0]) / int(limit[1]))
    return quotas


def _groups(root: Path) -> Iterator[tuple[Path, PurePosixPath]]:
    """The mounted hierarchies of control groups that may limit cores, each with this process's group below it."""
    groups = {}  # by controller; version 2 has no name for its own
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        groups.update(dict.fromkeys(controllers.split(","), PurePosixPath(path)))
    for line in _read(root / "proc/self/mountinfo").splitlines():
        place, _, kind = line.partition(" - ")
        fields, (system, *options) = place.split(), kind.split() or [""]
        controller = "" if system == "cgroup2" else "cpu" if "cpu" in options[-1].split(",") else None
        if system not in ("cgroup", "cgroup2") or len(fields) < 5 or controller is None:
            continue
        group, top = groups.get(controller, PurePosixPath("/")), PurePosixPath(fields[3])
        below = group.relative_to(top) if group.is_relative_to(top) else PurePosixPath()
        yield root / fields[4].lstrip("/"), below


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def parse_device(device: str) -> tuple[Literal["auto", "cpu", "cuda"], int]:
    """The kind of a requested device, and the number of the GPU (0 by default).

    Raises:
        OptionError: unless it is ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    """
    match = re.fullmatch(r"(auto|cpu|cuda)|cuda:(\d+)", device)
    if match is None:
        raise OptionError(f"unknown device {device!r}; there are: auto, cpu, cuda, cuda:N")
    return cast('Literal["auto", "cpu", "cuda"]', match[1] or "cuda"), int(match[2] or 0)


def start_process(target: Callable[..., object], *arguments: object, cores: int) -> BaseProcess:
    """Starts a process anew (spawn), so that it inherits no thread and no lock; it ends with this one, if not before.

    Ctrl-C and the closing of a terminal reach all processes of that terminal: the new one ignores both, and this one
    ends it.

    Args:
        target: a function of a module; what this process runs as its script is not run there.
        arguments: of the function; they are pickled.
        cores: that the process is to use.

    Raises:
        UnavailableError: if the current folder has been removed.
    """
    from multiprocessing import get_context

    try:
        os.getcwd()
    except FileNotFoundError:
        raise UnavailableError("the current folder has been removed; change to another one, as in: cd ~") from None
    process = get_context("spawn").Process(target=_begin, args=(cores, target, *arguments), daemon=True)
    with _environment(dict.fromkeys(THREADS, str(cores))), _without_main(), _without_interrupts():
        process.start()
    return process


def _begin(cores: int, target: Callable[..., object], *arguments: object) -> None:
    """What a process that was started anew does."""
    limit_cores(cores)
    with signals_handled(signal.SIG_IGN, ["SIGINT", "SIGHUP"]):
        target(*arguments)


def killer_of(code: int | None) -> str | None:
    """The signal that killed a process, by its exit code, as in ``signal 9 (Killed)``; ``None`` if none did."""
    return f"signal {-code} ({signal.strsignal(-code)})" if code is not None and code < 0 else None


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Sets variables that are not set, for the processes that are started meanwhile."""
    added = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


@contextmanager
def _without_main() -> Iterator[None]:
    """Hides the script that this process runs: a new process would run it, too, unless it is guarded."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Keeps Ctrl-C from processes that are started meanwhile: this process gets it, and ends them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # it is started with the first process, and would end the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def signals_handled(
    handler: Callable[[int, FrameType | None], object] | signal.Handlers,
    names: Iterable[str] = ("SIGINT", "SIGTERM", "SIGHUP"),
) -> Iterator[None]:
    """Handles Ctrl-C, SIGTERM and SIGHUP with ``handler`` inside the ``with`` block, then as before.

    SIGHUP comes from a terminal that is closed. A signal that the process was told to ignore, as ``nohup`` does with
    SIGHUP, stays ignored. Python allows this in the main thread only; in any other thread the block runs without it.

    Args:
        handler: as :func:`signal.signal` takes it.
        names: of the signals, if not of all three.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {}
    for name in names:
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            former[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, previous in former.items():
            signal.signal(number, previous)
