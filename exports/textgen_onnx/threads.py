"""How many threads a graph runs best with: measured once in some milliseconds, then remembered."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from textgen.files import write_atomically

#: Seconds of measuring a number of threads.
MEASURE = 0.01

#: How much slower fewer threads may be and still be taken: they suffer less from whatever else the machine does.
TOLERANCE = 1.1


def usable_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose_threads(key: str, open_with: Callable[[int], Any], run: Callable[[Any], object]) -> Any:
    """Open a session with the number of threads that is fastest on this machine.

    Args:
        key: what the choice depends on: graph, kind of batch, version of ONNX Runtime.
        open_with: opens a session with so many threads.
        run: runs a session once, on typical input.

    Returns:
        A session, with the fewest threads that are about as fast as any.
    """
    cores = usable_cores()
    candidates = sorted({1, min(2, cores), min(4, cores), cores})
    if len(candidates) == 1:
        return open_with(1)
    remembered = _read()
    key = f"{key}:{cores}"
    if remembered.get(key) in candidates:
        return open_with(remembered[key])
    sessions = {}
    seconds = {}
    for threads in candidates:
        session = sessions[threads] = open_with(threads)
        run(session)  # the first run allocates
        seconds[threads] = _measure(session, run)
    enough = TOLERANCE * min(seconds.values())
    best = next(threads for threads in candidates if seconds[threads] <= enough)
    _remember({**remembered, key: best})
    return sessions[best]


def _measure(session: Any, run: Callable[[Any], object]) -> float:
    """The least of some runs: what disturbs a run makes it longer, never shorter."""
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
    from platformdirs import user_cache_dir

    return Path(os.environ.get("TEXTGEN_CACHE_DIR") or user_cache_dir("textgen")) / "threads.json"


def _read() -> dict[str, int]:
    try:
        found = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return {key: value for key, value in found.items() if type(value) is int} if isinstance(found, dict) else {}


def _remember(choices: dict[str, int]) -> None:
    try:
        write_atomically(_file(), json.dumps(choices, indent=1) + "\n")
    except OSError:
        return  # measured again next time
