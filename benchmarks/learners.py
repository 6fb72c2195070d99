"""The process of a learner: trains a model from beginning to end, and reports the held-out loss on the way.

It reads the line ``{"factory": "module:function", "arguments": {...}}``; the function also gets a :class:`Recorder`. It
writes ``{"seconds": ..., "nats": ...}`` each time the model is scored, and ``{"done": true}`` at the end.
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
    """Records the held-out loss over time.

    Args:
        write: called with each point.
        clock: returns the time in seconds; the first call marks the beginning.
    """

    def __init__(self, write: Callable[[dict[str, Any]], None], clock: Callable[[], float] = time.perf_counter) -> None:
        self._write, self._clock = write, clock
        self._begin = clock()

    def note(self, nats: float) -> None:
        """Records the current held-out loss, in nats per character."""
        self._write({"seconds": self._clock() - self._begin, "nats": nats})

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Stops the clock, for scoring in a program that does not score by itself."""
        begin = self._clock()
        try:
            yield
        finally:
            self._begin += self._clock() - begin


def main() -> None:
    write = open_answers()
    order = json.loads(sys.stdin.readline())
    recorder = Recorder(write)  # before TensorFlow is imported: its start counts
    find_factory(order["factory"])(recorder, **order["arguments"])
    write({"done": True})


if __name__ == "__main__":
    main()
