"""Texts that end a generation: finding them, and holding back text that may turn out to be one."""

from __future__ import annotations

from collections.abc import Sequence


class StopTexts:
    """The stop texts of a row.

    Args:
        texts: the stop texts; empty ones are ignored.

    Example:
        >>> stop = StopTexts(["END"])
        >>> stop.find("The END of it", 0), stop.held_back("The E")
        ((4, 7), 1)
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = tuple(text for text in texts if text)
        self._longest = max(map(len, self._texts), default=1)

    def find(self, text: str, searched: int) -> tuple[int, int] | None:
        """The first stop text to be complete.

        Args:
            text: the text so far.
            searched: characters of it that were searched before.

        Returns:
            Where it begins and where it ends, or ``None``. Of two that end together, the longer one.
        """
        hits = []
        for stop in self._texts:
            at = text.find(stop, max(0, searched - len(stop) + 1))
            if at >= 0:
                hits.append((at + len(stop), at))
        if not hits:
            return None
        end, start = min(hits)
        return start, end

    def held_back(self, text: str) -> int:
        """The length of the longest end of a text that may turn out to be the beginning of a stop text."""
        for size in range(min(self._longest - 1, len(text)), 0, -1):
            if any(stop.startswith(text[-size:]) for stop in self._texts):
                return size
        return 0
