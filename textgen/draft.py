"""A text that a person and a model write together, token by token."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textgen.base import values
from textgen.errors import OptionError, shortened
from textgen.generation.continuation import Continuation
from textgen.generation.prompts import draw_start, first_ids, read_prompt
from textgen.generation.request import MOST_CHARACTERS, Request
from textgen.generation.row import MOST_IDS_PER_CHARACTER
from textgen.generation.runtime import Ids, Runtime, quiet
from textgen.generation.stop_texts import StopTexts
from textgen.model.state import State
from textgen.sampling.draw import Draw, uniforms
from textgen.text.boundaries import Boundaries
from textgen.text.decoder import CONTEXT
from textgen.text.labels import label_of
from textgen.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Choice:
    """A token that may come next.

    Attributes:
        id: of the token.
        text: what it adds to the text. Nothing if it ends the text, or is only a part of a character.
        probability: that the sampler chain draws it.
        is_end: whether it ends the text.
    """

    id: int
    text: str
    probability: float
    is_end: bool


@dataclass(frozen=True)
class _Place:
    """A place in a text.

    Attributes:
        text: up to here.
        state: before the last id, ``[1, ...]``.
        tail: the last ids; none at the beginning of a text.
        seen: the ids so far.
        is_ended: whether the text ends here.
        typed: the end of the text that was appended by hand, and the place before it.
    """

    text: str
    state: State
    tail: tuple[int, ...] = ()
    seen: frozenset[int] = frozenset()
    is_ended: bool = False
    typed: tuple[str, _Place] | None = None


class Draft:
    """A text that a person and a model write together: :meth:`TextGenerator.draft <textgen.TextGenerator.draft>`.

    Where the model writes, it uses the random numbers of ``textgen sample``, one after the other: what it writes alone
    is the text of the same seed, and the same calls give the same text. What is undone has used its numbers, so that
    the model then writes something else.

    Args:
        runtime: a loaded model.
        tokenizer: fitted.
        boundaries: how the model's texts begin and end.
        request: for a single text.
        prepare: makes what is appended a text as the training texts are.

    Raises:
        OptionError: if the request is for several texts, or for a label that does not exist.
        UnknownCharacterError: if the prompt has an unknown character.
    """

    def __init__(
        self,
        runtime: Runtime,
        tokenizer: Tokenizer,
        boundaries: Boundaries,
        request: Request,
        *,
        prepare: Callable[[str], str] = str,
    ) -> None:
        if len(request.prompts) != 1:
            raise OptionError("a draft is one text: give one prompt, one temperature, one label, and no num")
        self._runtime, self._tokenizer, self._boundaries = runtime, tokenizer, boundaries
        self._request, self._prepare = request, prepare
        self._end_id = None if request.ignore_eos else boundaries.end_id
        self._draw = Draw(request.chains, runtime.vocab_size, boundaries.forbidden_ids(tokenizer))
        self._stop = StopTexts(request.stop)
        self._steps = 0  # of the random numbers, that were used; but for the one of a first token
        self._drew_first = False
        self._before: list[_Place] = []  # what can be undone
        self._predicted: tuple[_Place, NDArray[np.float32], State] | None = None
        before = request.continuation
        if before is None:
            self._place = _Place("", runtime.initial_state(1))
        else:
            runtime.state_spec.check(before.state)
            self._steps, self._drew_first = before.step, True
            text = self._decoded((), before.tail)
            text = text[len(text) - before.unread :]
            self._place = _Place(text, before.state, before.tail, frozenset(before.seen))
        if request.labels or (before is None and label_of(tokenizer, boundaries.starts) is not None):
            (label, _), *_ = first_ids(tokenizer, boundaries, request, [np.empty(0, np.int32)])
            self._place = self._read(self._place, label, "")
        self.append(request.prompts[0])
        self._before.clear()

    def __repr__(self) -> str:
        end = ", ended" * self.is_ended
        return f"Draft({shortened(self.text, 200)}, seed={self.seed}{end})"

    @property
    def text(self) -> str:
        """The text so far, prompt and all; without the end of a document."""
        return self._place.text

    @property
    def is_ended(self) -> bool:
        """Whether the text has ended; it can only be undone then."""
        return self._place.is_ended

    @property
    def seed(self) -> int:
        """The seed."""
        return self._request.seed

    @property
    def label(self) -> str | None:
        """The label of the text, asked for or drawn; ``None`` if the model's texts have none."""
        return label_of(self._tokenizer, self._place.seen)

    @property
    def continuation(self) -> Continuation | None:
        """The point reached, for a :meth:`request <textgen.TextGenerator.request>`; ``None`` before any text."""
        place = self._place
        if not place.tail:
            return None
        return Continuation(
            state=place.state,
            tail=place.tail,
            step=self._steps,
            seen=tuple(sorted(place.seen)),
            seed=self.seed,
            row=self._request.row_seed(0),
        )

    def choices(self, num: int = 10) -> list[Choice]:
        """The tokens that may come next, the likeliest first; of equal ones, the lowest id first.

        Their probabilities are those with which the sampler chain draws, not the model's own. At the beginning of a
        text, they are the shares of the training texts that begin so, which no sampler changes.

        Args:
            num: the number of tokens, at most; those that the chain never draws are left out.

        Raises:
            OptionError: if ``num`` is out of range, or the model does not know how texts begin.
        """
        num = values.whole_number(num, "num", 1, 10**9)
        if self.is_ended:
            return []
        ids, shares = self._shares()
        order = np.lexsort((ids, -shares))[:num]
        return [
            Choice(
                id=int(ids[at]),
                text="" if ids[at] == self._end_id else self._decoded(self._place.tail, [int(ids[at])]),
                probability=float(shares[at]),
                is_end=bool(ids[at] == self._end_id),
            )
            for at in order
            if shares[at] > 0
        ]

    def choose(self, token: Choice | int) -> None:
        """Continue with a token.

        Args:
            token: one of :meth:`choices`, or an id.

        Raises:
            OptionError: if the id does not exist or is never written, or the text has ended.
        """
        self._check_open()
        size = self._runtime.vocab_size
        number = values.whole_number(token.id if isinstance(token, Choice) else token, "token", 0, size - 1)
        if number in self._draw.forbidden:
            raise OptionError(f"the id {number} is not a part of texts; choose another")
        self._move(self._after(number))

    def append(self, text: str) -> None:
        """Continue with a text. What is appended in two parts is read as if it had been appended at once.

        Args:
            text: any; if it is empty, nothing happens.

        Raises:
            UnknownCharacterError: if it has an unknown character.
            OptionError: if nothing of it is in the vocabulary, or the text has ended.
        """
        self._check_open()
        text = self._prepare(values.text(text, "text"))
        if not text:
            return
        earlier, before = self._place.typed or ("", self._place)
        typed = earlier + text
        ids = read_prompt(self._tokenizer, typed, self._request.on_unknown).ids
        decoder = self._tokenizer.decoder()
        decoder.feed(before.tail)
        place = self._read(before, ids, before.text + decoder.flush() + typed)
        self._move(_Place(place.text, place.state, place.tail, place.seen, typed=(typed, before)))

    def draw(self) -> str:
        """Let the sampler chain draw the next token; returns what it adds to the text.

        Raises:
            OptionError: if the text has ended, or the model does not know how texts begin.
        """
        self._check_open()
        before = self._place
        self._move(self._drawn())
        return self.text[len(before.text) :]

    def write(self, length: int | None = None) -> Iterator[str]:
        """Let the model write on, and yield what each token adds; it is undone as one.

        Args:
            length: characters to write, by default those of the request: a token that goes beyond is the last one. A
                first token at the beginning of a text is not counted. The text ends earlier with a document, or with
                a stop text, which stays.

        Raises:
            OptionError: if ``length`` is out of range, the text has ended, or the model does not know how texts begin.
        """
        self._check_open()
        left = values.whole_number(self._request.length if length is None else length, "length", 1, MOST_CHARACTERS)
        search = self._stop.search()
        for count in range(left * MOST_IDS_PER_CHARACTER + 1):
            before, after = self._place, self._drawn()
            if not count:
                self._before.append(before)
            self._place = after
            piece = self.text[len(before.text) :]
            left -= len(piece) if before.tail else 0
            yield piece
            if self.is_ended or left <= 0 or search.feed(piece):
                break

    def undo(self) -> bool:
        """Take back the last call that changed the text; returns whether there was one."""
        if not self._before:
            return False
        self._place = self._before.pop()
        return True

    def _check_open(self) -> None:
        if self.is_ended:
            raise OptionError("the text has ended; undo its end first")

    def _move(self, place: _Place) -> None:
        self._before.append(self._place)
        self._place = place

    def _read(self, place: _Place, ids: Ids, text: str) -> _Place:
        """The place after some ids, at least one, with a text."""
        read: list[int] = ids.tolist()
        if unread := [*place.tail[-1:], *read[:-1]]:
            with quiet():
                state = self._runtime.prefill(np.array([unread], np.int32), place.state)
        else:
            state = place.state
        return _Place(text, state, (*place.tail, *read)[-CONTEXT:], place.seen | {*read})

    def _after(self, token: int) -> _Place:
        """The place after one more id."""
        place = self._place
        is_ended = token == self._end_id
        decoder = self._tokenizer.decoder()
        decoder.feed(place.tail)
        added = decoder.flush() if is_ended else decoder.feed([token])
        state = self._predict()[1] if place.tail else place.state
        tail = (*place.tail, token)[-CONTEXT:]
        return _Place(place.text + added, state, tail, place.seen | {token}, is_ended)

    def _drawn(self) -> _Place:
        """The place after the id that the chain draws."""
        if not self._place.tail and not self._drew_first:
            self._drew_first, step = True, 0  # which is reserved for it
        else:
            self._steps += 1
            step = self._steps
        uniform = uniforms(self.seed, [self._request.row_seed(0)], step, 1)[0]
        if not self._place.tail:
            return self._after(int(draw_start(self._boundaries, uniform)[0]))
        logits, _ = self._predict()
        self._note_seen()
        with quiet():
            return self._after(int(self._draw.draw(logits, uniform)[0]))

    def _shares(self) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Ids, and the probability of each."""
        if not self._place.tail:
            starts = self._boundaries.starts
            if not starts:
                raise OptionError("this model does not know how texts begin; give a prompt")
            counts = np.array([*starts.values()], np.float64)
            return np.array([*starts]), counts / counts.sum()
        logits, _ = self._predict()
        self._note_seen()
        with quiet():
            drawn = self._draw.transform(logits)[0].astype(np.float64)
            shares = np.exp(drawn - drawn.max())
        return np.arange(len(shares)), shares / shares.sum()

    def _predict(self) -> tuple[NDArray[np.float32], State]:
        """The logits ``[1, vocab]`` of the next id, and the state after the last one."""
        if self._predicted is None or self._predicted[0] is not self._place:
            with quiet():
                logits, state = self._runtime.step(np.array(self._place.tail[-1:], np.int32), self._place.state)
            self._predicted = self._place, logits, state
        return self._predicted[1:]

    def _note_seen(self) -> None:
        """Let the samplers know which ids are in the text; some may have been undone."""
        if self._draw.seen is not None:
            self._draw.seen[:] = False
            self._draw.note(0, np.array([*self._place.seen], np.int32))

    def _decoded(self, before: tuple[int, ...], ids: tuple[int, ...] | list[int]) -> str:
        """What ids add to the text after others."""
        decoder = self._tokenizer.decoder()
        decoder.feed(before)
        return decoder.feed(ids)
