"""A session for a graph that somebody else wrote, which Ctrl-C ends after the operator that it is at.

ONNX Runtime does not return to Python before a run has ended. So each run has a thread of its own, and the caller
waits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnxruntime
from numpy.typing import NDArray

#: Seconds in which interrupted runs may end: after them nothing waits for them.
SECONDS = 2


class InterruptibleSession:
    """Runs a session, possibly several times at once.

    Args:
        session: of ONNX Runtime.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        self._running: dict[int, Any] = {}
        self.get_inputs, self.get_outputs = session.get_inputs, session.get_outputs
        self.io_binding = session.io_binding

    def run(self, names: Sequence[str], feeds: Mapping[str, NDArray[Any]]) -> Any:
        """See the session."""
        return self._await(lambda options: self._session.run(names, feeds, options))

    def run_with_iobinding(self, binding: Any) -> None:
        """See the session."""
        self._await(lambda options: self._session.run_with_iobinding(binding, options))

    def _await(self, run: Callable[[Any], Any]) -> Any:
        options = onnxruntime.RunOptions()
        self._running[id(options)] = options
        results: list[Any] = []
        failures: list[BaseException] = []
        ended = threading.Event()

        def work() -> None:
            try:
                results.append(run(options))
            except BaseException as error:  # it is raised where the result is awaited
                failures.append(error)
            finally:
                ended.set()

        try:
            threading.Thread(target=work, daemon=True).start()
            while not ended.wait(0.1):  # on Windows, Ctrl-C is noticed between two waits
                pass
        except BaseException:
            for each in list(self._running.values()):  # other threads may read other rows
                each.terminate = True
            ended.wait(SECONDS)
            raise
        finally:
            del self._running[id(options)]
        if failures:
            raise failures[0]
        return results[0]
