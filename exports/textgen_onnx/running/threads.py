"""The choice of threads for a graph: measured once, in some milliseconds, then remembered."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from textgen import cache_folder, usable_cores, write_atomically
from textgen_onnx.running.shared_rows import SharedRows

#: Seconds to measure each way to use the cores.
MEASURE = 0.01

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


def choose_threads(key: str, rows: int, open_with: Callable[[int], Any], run: Callable[[Any], object]) -> Any:
    """Open a session that uses the cores in the way that is fastest on this machine.

    Args:
        key: identifies the graph, the size of the batch, and the version of ONNX Runtime.
        rows: of the batch.
        open_with: opens a session with a number of threads inside an operator.
        run: runs a session once, on typical input.

    Returns:
        A session with the fewest threads that are about as fast as the fastest. Ties go to sharing rows, since those
        threads do not wait for each other.
    """
    cores = usable_cores()
    numbers = sorted({1, min(2, cores), min(4, cores), cores})
    # Rows first: threads that shared operators keep spinning for a while, and would disturb the measurement.
    ways = [Threads(number, "rows") for number in numbers if 1 < number <= rows]
    ways += [Threads(number) for number in numbers]
    if len(ways) == 1:
        return open_with(1)
    remembered = _read()
    key = f"{key}:{cores}"
    opened: dict[int, Any] = {}

    def open_way(way: Threads) -> Any:
        inside = 1 if way.share == "rows" else way.number
        if inside not in opened:
            opened[inside] = open_with(inside)
        return SharedRows(opened[inside], way.number) if way.share == "rows" else opened[inside]

    if remembered.get(key) in ways:
        return open_way(remembered[key])
    sessions = {}
    seconds = {}
    for way in ways:
        session = sessions[way] = open_way(way)
        run(session)  # the first run allocates
        seconds[way] = _measure(session, run)
    enough = TOLERANCE * min(seconds.values())
    best = min((way for way in ways if seconds[way] <= enough), key=lambda way: (way.number, way.share != "rows"))
    _remember([*((old, way) for old, way in _read().items() if old != key), (key, best)])
    return sessions[best]


def _measure(session: Any, run: Callable[[Any], object]) -> float:
    """The seconds of the fastest of some runs: a disturbance makes a run longer, never shorter."""
    least, until = float("inf"), time.perf_counter() + MEASURE
    for _ in range(3):
        while True:
            begin = time.perf_counter()
            run(session)
            least = min(least, time.perf_counter() - begin)
            if time.perf_counter() >= until:
                break
    return least


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
