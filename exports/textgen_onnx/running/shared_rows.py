"""A batch whose rows are divided among threads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: The input and the output of a generating graph that have one entry per step, so that rows are their second axis.
_BY_STEP = ("uniforms", "ids")


class SharedRows:
    """A session whose runs are divided by rows: each thread runs the whole graph on some of the rows.

    Within a run no thread waits for another, as threads that share operators do.

    Args:
        session: with a single thread inside an operator.
        threads: the number of threads, at least two.
    """

    def __init__(self, session: Any, threads: int) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self._session = session
        self._threads = threads
        self._others = ThreadPoolExecutor(threads - 1, "textgen-rows")

    def get_outputs(self) -> Any:
        """See the session."""
        return self._session.get_outputs()

    def run(self, names: Sequence[str], feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """See the session."""
        by_step = _BY_STEP if "uniforms" in feeds else ()

        def axis(name: str) -> int:
            return int(name in by_step)

        rows = next(array.shape[axis(name)] for name, array in feeds.items())
        parts = min(self._threads, rows)
        split = {name: np.array_split(array, parts, axis(name)) for name, array in feeds.items()}
        first, *rest = ({name: arrays[part] for name, arrays in split.items()} for part in range(parts))
        others = [self._others.submit(self._session.run, names, share) for share in rest]
        found = [self._session.run(names, first), *(other.result() for other in others)]
        return [
            np.concatenate(arrays, axis(name)) for name, arrays in zip(names, zip(*found, strict=True), strict=True)
        ]
