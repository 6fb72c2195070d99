"""Texts that end a generation: finding them, and holding back text that may turn out to be one.

All stop texts are looked for at once while the text is written (Aho and Corasick, "Efficient string matching", 1975):
the time per character depends neither on their number nor on their length.
"""

from __future__ import annotations

from collections.abc import Iterable

from textgen.errors import OptionError

#: The most characters that the stop texts of a request may have together.
MOST_CHARACTERS = 100_000


class StopTexts:
    """The stop texts of a request.

    There is one state per prefix of a stop text; a text is in the state of the longest prefix that it ends with.

    Args:
        texts: the stop texts; empty ones are ignored.

    Raises:
        OptionError: if they have more than :data:`MOST_CHARACTERS` characters together.

    Example:
        >>> search = StopTexts(["END"]).search()
        >>> search.feed("The E"), search.held_back, search.feed("ND of it")
        (None, 1, (4, 7))
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        texts = tuple(filter(None, dict.fromkeys(texts)))
        if (total := sum(map(len, texts))) > MOST_CHARACTERS:
            raise OptionError(
                f"the stop texts have {total:,} characters, more than {MOST_CHARACTERS:,}; give fewer or shorter ones"
            )
        # By state, 0 for the empty prefix: the state that each character leads to, and the length of the prefix.
        self._next: list[dict[str, int]] = [{}]
        self._depth = [0]
        self._found = [0]
        for text in texts:
            self._found[self._add(text)] = len(text)
        self._shorter = self._link()

    def _add(self, text: str) -> int:
        """Adds the states of a stop text; returns the last one."""
        state = 0
        for character in text:
            following = self._next[state].get(character)
            if following is None:
                following = self._next[state][character] = len(self._next)
                self._depth.append(self._depth[state] + 1)
                self._next.append({})
                self._found.append(0)
            state = following
        return state

    def _link(self) -> list[int]:
        """The state of the longest shorter beginning in which each one ends; notes the stop texts that end in it."""
        shorter = [0] * len(self._next)
        order = list(self._next[0].values())
        for state in order:  # grows; short beginnings come first
            for character, following in self._next[state].items():
                order.append(following)
                shorter[following] = self._step(shorter[state], character, shorter)
                self._found[following] = self._found[following] or self._found[shorter[following]]
        return shorter

    def _step(self, state: int, character: str, shorter: list[int]) -> int:
        """The state after one more character."""
        while state and character not in self._next[state]:
            state = shorter[state]
        return self._next[state].get(character, 0)

    def step(self, state: int, text: str) -> tuple[int, int, int]:
        """Reads text, up to the end of the first stop text.

        Args:
            state: of the text before, 0 at first.
            text: what follows.

        Returns:
            The new state, the number of characters read, and the length of the stop text that ends there, or 0.
        """
        following, found, shorter = self._next, self._found, self._shorter
        first = following[0]
        if not first:  # there are no stop texts
            return 0, len(text), 0
        for read, character in enumerate(text, 1):
            if state:
                state = self._step(state, character, shorter)
            elif (at := first.get(character)) is None:
                continue
            else:
                state = at
            if found[state]:
                return state, read, found[state]
        return state, len(text), 0

    def length(self, state: int) -> int:
        """The length of the longest beginning of a stop text in which a text in this state ends."""
        return self._depth[state]

    def search(self) -> Search:
        """A search for the stop texts in one text."""
        return Search(self)


class Search:
    """A search for stop texts in a text that comes in pieces.

    Args:
        stop: what to look for.

    Attributes:
        read: the characters read so far.
    """

    def __init__(self, stop: StopTexts) -> None:
        self._stop = stop
        self._state = 0
        self.read = 0

    def feed(self, text: str) -> tuple[int, int] | None:
        """Reads more of the text.

        Returns:
            Where in the whole text the first stop text to be complete begins and ends, or ``None``. Of two that end
            together, the longer one.
        """
        self._state, read, length = self._stop.step(self._state, text)
        self.read += read
        return (self.read - length, self.read) if length else None

    @property
    def held_back(self) -> int:
        """The length of the longest end of the text that may turn out to be the beginning of a stop text."""
        return self._stop.length(self._state)
