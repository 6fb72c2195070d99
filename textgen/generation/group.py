"""Rows side by side: those that read their prompts, and those that one graph writes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from copy import copy
from functools import partial
from math import ceil
from typing import Self

import numpy as np
from numpy.typing import NDArray

from textgen.generation.probability import score
from textgen.generation.prompts import pad_rows
from textgen.generation.row import Row
from textgen.generation.runtime import Block, Ids, Runtime, quiet
from textgen.model.state import State
from textgen.sampling.draw import MANY_ROWS, Draw, uniforms

#: Steps per chunk if neither a request nor the runtime has a preference: of text that runs to its full length; of text
#: that may end at any step, after which the rest of a chunk is wasted; and at first of text that is read while it is
#: written.
STEPS, STEPS_TO_END, STEPS_STREAMED = 64, 16, 8

#: Rows that have ended leave a chunk after so many of its steps, or so many steps of single rows if these are more,
#: since a call costs as much as some of them; and if no more than this share goes on, since states are then copied.
STEPS_TOGETHER, ROW_STEPS_TOGETHER, MOST_GOING = 4, 1024, 0.9

#: Random numbers of a row that are computed at once where few rows are written, at most: setting up a row's generator
#: for those of each chunk would take longer than computing them.
AHEAD = 512

Places = NDArray[np.intp]


class Group(ABC):
    """Rows of any requests, side by side.

    Args:
        rows: in order.

    Attributes:
        rows: in order.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = list(rows)

    @property
    @abstractmethod
    def key(self) -> Hashable:
        """What groups have in common that can be joined."""

    @abstractmethod
    def keep(self, places: Places) -> None:
        """Drop all rows but some."""
        self.rows = [self.rows[place] for place in places]

    @abstractmethod
    def join(self, other: Self) -> None:
        """Append the rows of another group."""
        self.rows = self.rows + other.rows

    @abstractmethod
    def part(self, places: Places) -> Self:
        """A group of some of the rows."""

    def split(self, key: Callable[[Row], Hashable]) -> list[Self]:
        """A group per key of the rows."""
        places: dict[Hashable, list[int]] = {}
        for place, row in enumerate(self.rows):
            places.setdefault(key(row), []).append(place)
        if len(places) == 1:
            return [self]
        return [self.part(np.array(part, np.intp)) for part in places.values()]


class Reading(Group):
    """Rows that read their prompts, all but the last id of each.

    Args:
        runtime: a loaded model.
        rows: of which nothing has been read.
    """

    def __init__(self, runtime: Runtime, rows: Sequence[Row]) -> None:
        super().__init__(sorted(rows, key=lambda row: row.request.continuation is not None))
        self._runtime = runtime
        states = [row.request.continuation.state for row in self.rows if row.request.continuation]
        if len(states) < len(rows):
            states.insert(0, runtime.initial_state(len(rows) - len(states)))
        self._state = _concat(states)
        self._unread = [row.prompt_ids[:-1] for row in self.rows]

    @property
    def key(self) -> Hashable:
        return "reading"

    @property
    def steps(self) -> int:
        """The number of steps in which all rows are read."""
        return max(map(len, self._unread))

    def keep(self, places: Places) -> None:
        super().keep(places)
        self._state = self._state.select(places)
        self._unread = [self._unread[place] for place in places]

    def join(self, other: Reading) -> None:
        super().join(other)
        self._state = _concat([self._state, other._state])
        self._unread = self._unread + other._unread

    def part(self, places: Places) -> Reading:
        part = copy(self)
        part.keep(places)
        return part

    def read(self, steps: int) -> None:
        """Read the next ids of each row."""
        ids, lengths = pad_rows([unread[:steps] for unread in self._unread])
        with quiet():
            self._state = self._runtime.prefill(ids, self._state, lengths)
        self._unread = [unread[steps:] for unread in self._unread]

    def take_ready(self) -> list[Reading]:
        """The rows that have been read, by the graph that is to write them; they leave this group."""
        is_ready = [not len(unread) for unread in self._unread]
        if not any(is_ready):
            return []
        if all(is_ready):
            ready, self.rows = copy(self), []
        else:
            ready = self.part(np.flatnonzero(is_ready))
            self.keep(np.flatnonzero(np.logical_not(is_ready)))
        return ready.split(lambda row: (row.chain.form, row.request.score))

    def begin(self, forbidden: Sequence[int]) -> Writing:
        """The rows, which have been read, as they begin to be written.

        Args:
            forbidden: ids that are never drawn.

        Raises:
            OptionError: if every id is forbidden.
        """
        last_ids = np.array([row.prompt_ids[-1] for row in self.rows], np.int32)
        return Writing(self._runtime, forbidden, self.rows, last_ids, self._state, self._state)


class Writing(Group):
    """Rows that are written by one graph: their chains differ in numbers alone.

    Args:
        runtime: a loaded model.
        forbidden: ids that are never drawn.
        rows: in order; either all of them or none ask for their log-probability.
        last_ids: the last id of each row, ``[batch]`` int32, not read yet.
        state: before those ids.
        read_state: the same as :meth:`Runtime.forward` has it, for rows that ask for their log-probability.

    Attributes:
        has_own_turn: whether its first chunk, a short one, has a turn of its own, so that its readers need not wait for
            other rows.
        preferred: the number of steps at a time that the runtime prefers, if any.
        chunk: the number of steps at a time that the requests ask for, or that suits them.
        may_grow: whether larger chunks are as good if they are quick.
    """

    def __init__(
        self,
        runtime: Runtime,
        forbidden: Sequence[int],
        rows: Sequence[Row],
        last_ids: Ids,
        state: State,
        read_state: State,
    ) -> None:
        super().__init__(rows)
        self._runtime = runtime
        self._forbidden = forbidden
        self._last_ids = last_ids
        self._state = state
        self._scores = self.rows[0].request.score
        self._read_state = read_state
        self._draw = Draw([row.chain for row in self.rows], runtime.vocab_size, forbidden)
        if self._draw.seen is not None:
            for place, row in enumerate(self.rows):
                self._draw.note(place, row.seen)
        requests = list({id(row.request): row.request for row in self.rows}.values())
        if any(request.keep_state for request in requests):
            for place, row in enumerate(self.rows):  # one may have ended: the text that it continues was cut in a token
                if row.finish_reason and row.request.keep_state:
                    row.state = state.select([place])
        self.has_own_turn = all(len(row.ids) == row.drawn_count for row in self.rows)
        stream = any(request.stream for request in requests)
        self.preferred = runtime.preferred_steps(endless=self.is_endless, stream=stream)
        asked = min((request.chunk for request in requests if request.chunk), default=None)
        self.chunk, self.may_grow = self._choose_chunk(asked, stream=stream)

    def _choose_chunk(self, asked: int | None, *, stream: bool) -> tuple[int, bool]:
        if fixed := asked or self.preferred:
            return fixed, False
        if stream:
            return STEPS_STREAMED, self.is_endless
        return (STEPS, True) if self.is_endless else (STEPS_TO_END, False)

    @property
    def key(self) -> Hashable:
        return self.rows[0].chain.form, self._scores, self.has_own_turn

    @property
    def has_new(self) -> bool:
        """Whether nothing of one of the rows has been written yet."""
        return any(len(row.ids) == row.drawn_count for row in self.rows)

    @property
    def is_endless(self) -> bool:
        """Whether all rows are sure to be written to their full length."""
        return all(row.is_endless for row in self.rows)

    @property
    def steps_left(self) -> int:
        """The number of steps that finish all rows, if ids have as many characters as so far; one each at first."""
        left = max(row.characters_left for row in self.rows)
        written = sum(len(row.text) for row in self.rows) or 1
        expected = ceil(left * (sum(len(row.ids) for row in self.rows) or 1) / written)
        return max(1, min(expected, max(row.ids_left for row in self.rows)))

    def keep(self, places: Places) -> None:
        super().keep(places)
        self._last_ids = self._last_ids[places]
        self._state = self._state.select(places)
        if self._scores:
            self._read_state = self._read_state.select(places)
        self._draw.keep(places)

    def join(self, other: Writing) -> None:
        super().join(other)
        self._last_ids = np.concatenate([self._last_ids, other._last_ids])
        self._state = _concat([self._state, other._state])
        if self._scores:
            self._read_state = _concat([self._read_state, other._read_state])
        self._draw.join(other._draw)
        self.chunk, self.may_grow = min(self.chunk, other.chunk), self.may_grow and other.may_grow

    def part(self, places: Places) -> Writing:
        rows = [self.rows[place] for place in places]
        states = [self._state.select(places), self._read_state.select(places) if self._scores else self._state]
        return Writing(self._runtime, self._forbidden, rows, self._last_ids[places], *states)

    def write(self, steps: int, *, in_graph: bool = True) -> list[str | Exception]:
        """Write some steps of each row; rows that end stay in the group.

        Args:
            steps: to write.
            in_graph: whether the runtime may make a graph for the chain; the texts are the same.

        Returns:
            What came of each row: its new text that can no longer change, or what was raised over it alone. If a step
            raises, no row has changed.
        """
        with quiet():
            block = self._write_block(self._next_uniforms(steps), in_graph=in_graph)
            found = [_extend(row, ids) for row, ids in zip(self.rows, block.ids.T.tolist(), strict=True)]
            for finish in (self._add_scores, self._keep_states):
                try:
                    finish(block)
                except Exception as error:
                    found = [error] * len(self.rows)
        self._last_ids, self._state, self.has_own_turn = block.ids[-1], block.state, False
        return found

    def _next_uniforms(self, steps: int) -> NDArray[np.float32]:
        """The random numbers of the next steps, ``[steps, batch]`` float32."""
        if len(self.rows) >= MANY_ROWS:
            return _compute_uniforms(self.rows, steps)
        found = [row.kept_uniforms(steps) for row in self.rows]
        if short := [place for place, numbers in enumerate(found) if len(numbers) < steps]:
            rows = [self.rows[place] for place in short]
            left = max(row.characters_left for row in rows)
            ahead = _compute_uniforms(rows, max(steps, min(AHEAD, left)))
            for row, place, numbers in zip(rows, short, ahead.T, strict=True):
                row.keep_uniforms(numbers.copy())  # the memory of the others is not kept
                found[place] = numbers[:steps]
        return np.stack(found, axis=1)

    def _write_block(self, randoms: NDArray[np.float32], *, in_graph: bool) -> Block:
        """Write one id per row and random number; what follows the end of a row has no meaning."""
        generate = self._runtime.generate if in_graph else partial(Runtime.generate, self._runtime)
        last_ids, state, draw = self._last_ids, self._state, self._draw
        steps, rows = randoms.shape
        together = max(STEPS_TOGETHER, ROW_STEPS_TOGETHER // rows)
        if together >= steps or not self._may_drop_ended:
            return generate(last_ids, state, draw, randoms)
        ends = np.array([-1 if row.end_id is None else row.end_id for row in self.rows], np.int32)
        ids, places, draw = np.tile(ends, (steps, 1)), np.arange(rows), copy(draw)
        for start in range(0, steps, together):
            some = slice(start, start + together)
            block = generate(last_ids, state, draw, randoms[some, places])
            ids[some, places], last_ids, state = block.ids, block.ids[-1], block.state
            going = np.flatnonzero((block.ids != ends[places]).all(axis=0))
            if len(going) < MOST_GOING * len(places):
                places, last_ids, state = places[going], last_ids[going], state.select(going)
                draw.keep(going)
            if not len(places):
                break
        return Block(ids, self._state.replaced(places, state) if len(places) else self._state)

    @property
    def _may_drop_ended(self) -> bool:
        """Whether rows may end, nothing is needed of those but their ids, and these may be written in any pieces."""
        if self._scores or self.preferred or self._draw.seen is not None:
            return False
        is_needed = any(row.request.keep_state or row.request.chunk for row in self.rows)
        return not is_needed and any(row.end_id is not None for row in self.rows)

    def _add_scores(self, block: Block) -> None:
        """Add the log-probabilities of the new ids to those of rows that ask for them."""
        if not self._scores:
            return
        ids = [np.array([last, *row.new_ids], np.int32) for last, row in zip(self._last_ids, self.rows, strict=True)]
        scores, self._read_state = score(self._runtime, ids, self._read_state)
        for row, each in zip(self.rows, scores, strict=True):
            row.log_probabilities += each.log_probabilities.tolist()
            for value in each.log_probabilities.tolist():  # a sum of all at once would depend on the chunks
                row.log_probability += value

    def _keep_states(self, block: Block) -> None:
        """Keep the states of the rows that ask for them and ended in a block, or at its end."""
        ended = [i for i, row in enumerate(self.rows) if row.finish_reason and row.request.keep_state]
        inside = [i for i in ended if len(self.rows[i].new_ids) < len(block.ids)]
        if inside:  # the block's own state is past their end
            read = [np.array([self._last_ids[i], *self.rows[i].new_ids][:-1], np.int32) for i in inside]
            ids, lengths = pad_rows(read)
            _hand_out(self._runtime.prefill(ids, self._state.select(inside), lengths), [self.rows[i] for i in inside])
        rest = [i for i in ended if i not in inside]
        if rest:
            _hand_out(block.state.select(rest), [self.rows[i] for i in rest])


def _compute_uniforms(rows: Sequence[Row], steps: int) -> NDArray[np.float32]:
    """The random numbers of the next steps of some rows, ``[steps, rows]`` float32."""
    return uniforms([row.request.seed for row in rows], [row.seed for row in rows], [row.step for row in rows], steps)


def _extend(row: Row, ids: list[int]) -> str | Exception:
    try:
        return row.extend(ids)
    except Exception as error:  # of a third party's tokenizer
        return error


def _hand_out(state: State, rows: Sequence[Row]) -> None:
    """Give each row its own state."""
    for place, row in enumerate(rows):
        row.state = state.select([place])


def _concat(states: Sequence[State]) -> State:
    return states[0] if len(states) == 1 else State.concat(states)
