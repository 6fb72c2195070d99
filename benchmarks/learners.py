"""A learner's process: trains a model from beginning to end, and tells the held-out loss as it comes along.

The line read is ``{"factory": "module:function", "arguments": {...}}``; the function gets a :class:`Recorder` as well.
A line ``{"seconds": ..., "nats": ...}`` is written each time that the model is judged, ``{"done": true}`` at the end.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.turns import find_factory, open_answers


class Recorder:
    """Notes how good a model is after how many seconds.

    Args:
        write: is given each point.
        clock: tells the time in seconds; what it says at first is the beginning.
    """

    def __init__(self, write: Callable[[dict[str, Any]], None], clock: Callable[[], float] = time.perf_counter) -> None:
        self._write, self._clock = write, clock
        self._begin = clock()

    def note(self, nats: float) -> None:
        """The model has so many nats a character on held-out text by now."""
        self._write({"seconds": self._clock() - self._begin, "nats": nats})

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What is done here does not count as time: judging, in a program that does not judge."""
        begin = self._clock()
        try:
            yield
        finally:
            self._begin += self._clock() - begin


def main() -> None:
    write = open_answers()
    order = json.loads(sys.stdin.readline())
    recorder = Recorder(write)  # before TensorFlow is imported: its start is a part of a program's time
    find_factory(order["factory"])(recorder, **order["arguments"])
    write({"done": True})


if __name__ == "__main__":
    main()
