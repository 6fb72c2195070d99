"""The process of a contender: prepares its work, then does one turn for each line that it reads.

The first line is ``{"factory": "module:function", "arguments": {...}, "seconds": of a turn}``, answered with
``{"note": ...}`` once the work is warm. Each further line starts a turn, answered with
``{"seconds": ..., "cpu": CPU seconds, "items": ..., "memory": peak memory in bytes}``.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.harness import Work
from benchmarks.machine import peak_memory


def open_answers() -> Callable[[dict[str, Any]], None]:
    """A function that writes messages to standard output, which is redirected for everything else."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # output of libraries goes to stderr

    def answer(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    return answer


def find_factory(path: str) -> Any:
    """The function that ``"module:function"`` names."""
    module, _, function = path.partition(":")
    return getattr(importlib.import_module(module), function)


def main() -> None:
    answer = open_answers()
    order = json.loads(sys.stdin.readline())
    work: Work = find_factory(order["factory"])(**order["arguments"])
    pieces = _pieces_per_turn(work, order["seconds"])
    answer({"note": work.note})
    while sys.stdin.readline():
        if pieces > 1:
            work.piece()  # wakes threads and fills caches; a long piece does so itself
        begin, used = time.perf_counter(), time.process_time()
        items = sum(work.piece() for _ in range(pieces))
        seconds, cpu = time.perf_counter() - begin, time.process_time() - used
        answer({"seconds": seconds, "cpu": cpu, "items": items, "memory": peak_memory()})


def _pieces_per_turn(work: Work, seconds: float) -> int:
    """Warms up, and returns the number of pieces of work that fill a turn."""
    work.piece()  # traces, compiles, calibrates
    least, until = float("inf"), time.perf_counter() + seconds
    while True:
        begin = time.perf_counter()
        work.piece()
        now = time.perf_counter()
        least = min(least, now - begin)
        if now >= until:
            return max(1, round(seconds / least))


if __name__ == "__main__":
    main()
