"""The choice of threads for a graph: measured once, in some milliseconds, then remembered.

Where other threads of the process are busy meanwhile, as those of a server are when many clients come at once, what was
measured says little about any other moment: it is not remembered, and measured again later.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Literal, NamedTuple, get_args

from textgen import cache_folder, usable_cores, write_atomically
from textgen_onnx.running.shared_rows import SharedRows

#: Seconds to measure each way to use the cores, and its runs at least: of three, all may be disturbed.
MEASURE, LEAST_RUNS = 0.01, 5

#: The share of a core that other threads of the process may use while threads are measured, at most.
BUSY = 0.1

#: How much slower fewer threads may be and still be chosen: other processes disturb them less.
TOLERANCE = 1.1

#: The choices that are remembered: the latest ones. Each graph has one for every size of batch that it has had.
MOST_REMEMBERED = 300

#: The work that threads divide: each operator, or the rows of the batch.
Shared = Literal["operators", "rows"]


class Threads(NamedTuple):
    """A way to use the cores."""

    number: int
    share: Shared = "operators"


class Choice(NamedTuple):
    """What was chosen.

    Attributes:
        session: that uses the cores in this way.
        is_final: whether nothing disturbed the measurement.
    """

    session: Any
    is_final: bool = True


def choose_threads(
    key: str, rows: int, open_with: Callable[[int], Any], run: Callable[[Any], object], *, again: bool = False
) -> Choice:
    """Open a session that uses the cores in the way that is fastest on this machine.

    Args:
        key: identifies the graph, the size of the batch, and the version of ONNX Runtime.
        rows: of the batch.
        open_with: opens a session with a number of threads inside an operator.
        run: runs a session once, on typical input.
        again: whether the first measurement was disturbed. If this one is, too, that is how it is in this process: what
            counts is the time of a typical run then.

    Returns:
        The session with the fewest threads that are about as fast as the fastest. Ties go to sharing rows, since those
        threads do not wait for each other.
    """
    cores = usable_cores()
    numbers = sorted({1, min(2, cores), min(4, cores), cores})
    # Rows first: threads that shared operators keep spinning for a while, and would disturb the measurement.
    ways = [Threads(number, "rows") for number in numbers if 1 < number <= rows]
    ways += [Threads(number) for number in numbers]
    if len(ways) == 1:
        return Choice(open_with(1))
    remembered = _read()
    key = f"{key}:{cores}"
    opened: dict[int, Any] = {}

    def open_way(way: Threads) -> Any:
        inside = 1 if way.share == "rows" else way.number
        if inside not in opened:
            opened[inside] = open_with(inside)
        return SharedRows(opened[inside], way.number) if way.share == "rows" else opened[inside]

    if remembered.get(key) in ways:
        return Choice(open_way(remembered[key]))
    sessions = {way: open_way(way) for way in ways}
    seconds: dict[Threads, list[float]] = {}
    busy = 0.0
    for way, session in sessions.items():
        run(session)  # the first run allocates
        began, others = time.perf_counter(), _seconds_of_other_threads()
        seconds[way] = _measure(session, run)
        if way == (1, "operators"):
            busy = (_seconds_of_other_threads() - others) / (time.perf_counter() - began)
    # A disturbance makes a run longer, never shorter.
    taken = {way: median(runs) if busy > BUSY and again else min(runs) for way, runs in seconds.items()}
    enough = TOLERANCE * min(taken.values())
    best = min((way for way in ways if taken[way] <= enough), key=lambda way: (way.number, way.share != "rows"))
    if busy <= BUSY:
        _remember([*((old, way) for old, way in _read().items() if old != key), (key, best)])
    return Choice(sessions[best], busy <= BUSY or again)


def _seconds_of_other_threads() -> float:
    """The seconds of a core that the other threads of this process have used."""
    return time.process_time() - time.thread_time()


def _measure(session: Any, run: Callable[[Any], object]) -> list[float]:
    """The seconds of some runs."""
    found, until = [], time.perf_counter() + MEASURE
    for _ in range(LEAST_RUNS):
        while True:
            begin = time.perf_counter()
            run(session)
            found.append(time.perf_counter() - begin)
            if time.perf_counter() >= until:
                break
    return found


def _file() -> Path:
    return cache_folder() / "threads.json"


def _read() -> dict[str, Threads]:
    try:
        if not _file().is_file():  # a pipe would be waited for
            return {}
        found = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return {key: Threads(*way) for key, way in found.items() if _is_way(way)} if isinstance(found, dict) else {}


def _is_way(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and type(value[0]) is int and value[1] in get_args(Shared)


def _remember(choices: Sequence[tuple[str, Threads]]) -> None:
    """Keep choices, of which the latest come last."""
    try:
        write_atomically(_file(), json.dumps(dict(choices[-MOST_REMEMBERED:]), indent=1) + "\n")
    except OSError:
        return  # measured again next time
