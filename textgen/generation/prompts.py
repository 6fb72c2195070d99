"""The ids that a row reads before it writes: its prompt, or a drawn first id; and what to remark on prompts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from textgen.errors import OptionError, UnknownCharacterError, describe_character, shortened
from textgen.generation.request import Request
from textgen.generation.runtime import Ids
from textgen.sampling.draw import uniforms
from textgen.text.boundaries import Boundaries
from textgen.text.labels import label_id, label_of, without_labels
from textgen.text.tokenizer import OnUnknown, Tokenizer, check_ids
from textgen.text.vocabulary import Unknown, composed_form, find_unknown, unwritable, writes

#: Unknown characters listed in a remark, and characters of a text that a remark repeats, at most.
MOST_SHOWN, LONGEST_SHOWN = 10, 60

#: A backslash typed where another character was meant, and these characters by their letters.
ESCAPE, ESCAPED = r"\\([nrt])", {"n": "a newline", "r": "a line end", "t": "a tab"}

#: How to compose letters and accents in a prompt.
NORMALIZE = "use --normalize, in Python normalize=True"


class ReadPrompt(NamedTuple):
    """A prompt as the model reads it.

    Attributes:
        ids: its ids, ``[n]`` int32; none for the empty prompt.
        unknown: the pieces of it that the vocabulary lacks.
    """

    ids: Ids
    unknown: tuple[Unknown, ...] = ()


def read_prompt(
    tokenizer: Tokenizer, prompt: str, on_unknown: OnUnknown | None = None, compose: str = NORMALIZE
) -> ReadPrompt:
    """Encodes a prompt.

    Raises:
        UnknownCharacterError: if it has an unknown character, under ``"error"``; says how to ``compose`` an accent if
            the composed character is known.
        OptionError: if it has unknown characters only, under ``"skip"``.
    """
    try:
        return ReadPrompt(_encode(tokenizer, prompt, "error"))
    except UnknownCharacterError:
        pass
    try:
        ids = _encode(tokenizer, prompt, on_unknown)
    except UnknownCharacterError as error:
        composed = composed_form(tokenizer, prompt, error.position)
        if composed is None:
            raise
        remedy = f"the composed {describe_character(composed)} is: {compose}"
        raise UnknownCharacterError(error.character, error.position, error.ways, remedy) from None
    if not len(ids):
        raise OptionError(f"nothing of the prompt {shortened(prompt)} is in the vocabulary")
    return ReadPrompt(ids, find_unknown(tokenizer, prompt, on_unknown))


def _encode(tokenizer: Tokenizer, prompt: str, on_unknown: OnUnknown | None) -> Ids:
    ids = tokenizer.encode(prompt, on_unknown)
    check_ids(ids, without_labels(tokenizer))
    return ids


def remarks(
    tokenizer: Tokenizer,
    prompts: Iterable[str],
    stop: Iterable[str],
    *,
    on_unknown: OnUnknown | None = None,
    typed: Iterable[tuple[str, str]] = (),
    compose: str = NORMALIZE,
) -> list[str]:
    """Remarks on prompts and stop texts that may not mean what they seem to, a line each.

    Args:
        tokenizer: of the model.
        prompts: the texts to continue.
        stop: the texts that end a generation.
        on_unknown: how unknown characters of prompts are treated.
        typed: the option and the text of each prompt and stop text that was typed on a command line.
        compose: how to compose letters and accents.

    Raises:
        OptionError: if a prompt cannot be encoded.
    """
    escapes = [(option, text) for option, text in typed if re.search(ESCAPE, text)]
    if escapes and writes(tokenizer, "\\"):  # the model knows backslashes
        escapes = []
    lines = [_explain_escape(option, text) for option, text in escapes]
    unknown: list[Unknown] = []
    for prompt in dict.fromkeys(prompts):
        try:
            unknown += read_prompt(tokenizer, prompt, on_unknown, compose).unknown
        except UnknownCharacterError as error:
            if error.character == "\\" and lines:
                raise OptionError(f"{error}; {lines[0]}") from None
            raise
    for treatment, became in (("unk", "replaced by the unknown id"), ("skip", "left out")):
        if some := [each for each in unknown if each.treatment == treatment]:
            listed = _list_unknown(some, compose)
            lines.append(f"parts of the prompt that are not in the vocabulary were {became}: {listed}")
    for text in stop:
        if missing := unwritable(tokenizer, text):
            shown = ", ".join(map(describe_character, missing))
            lines.append(f"the stop text {shortened(text)} never occurs: the model cannot write {shown}")
    return lines


def _explain_escape(option: str, text: str) -> str:
    """How to type the newline or tab that a backslash was meant for."""
    letter = re.findall(ESCAPE, text)[0]
    escaped = text.replace("'", r"\'").replace("\n", r"\n")
    written = f"$'{escaped}'" if len(text) <= LONGEST_SHOWN else "$'...'"
    advice = ", or put the prompt into a file: --prompt-file FILE" if option == "--prompt" else ""
    return (
        f"{option} has a backslash and the letter {letter}, not {ESCAPED[letter]}; "
        f"in bash, type {option}{'=' if '.' in option else ' '}{written}{advice}"
    )


def _list_unknown(unknown: Iterable[Unknown], compose: str) -> str:
    """Unknown characters with their numbers, and what to do about decomposed ones."""
    counts: Counter[str] = Counter()
    composed: dict[str, None] = {}
    for each in unknown:
        counts[each.character] += each.count
        if each.composed:
            composed[describe_character(each.composed)] = None
    shown = [
        describe_character(character) + f" {count:,} times" * (count > 1)
        for character, count in list(counts.items())[:MOST_SHOWN]
    ]
    if len(counts) > MOST_SHOWN:
        shown.append(f"and {len(counts) - MOST_SHOWN:,} others")
    return ", ".join(shown) + (f"; the composed {', '.join(composed)} is in it: {compose}" if composed else "")


def first_ids(
    tokenizer: Tokenizer, boundaries: Boundaries, request: Request, read: Sequence[Ids]
) -> list[tuple[Ids, bool]]:
    """The ids that each row reads before it writes, ``[n]`` int32, at least one; and whether they are a drawn first id.

    They are those of its prompt, after the last id of the text that it continues, if any. Where texts begin with a
    label, the label comes first: the one that is asked for, or a drawn one. Without either, they are a drawn first id.

    Args:
        tokenizer: of the model.
        boundaries: how its texts begin.
        request: with the rows.
        read: the ids of each row's prompt.

    Raises:
        OptionError: if there is no such label, or a text that is continued is to have one; or if a first id is to be
            drawn, and the model does not know how texts begin.
    """
    if request.continuation:
        if request.labels:
            raise OptionError("a text that is continued has the label that it began with; leave the label out")
        return [(np.concatenate([[request.continuation.last_id], ids]).astype(np.int32), False) for ids in read]
    if request.labels:
        labels = {label: np.array([label_id(tokenizer, label)], np.int32) for label in dict.fromkeys(request.labels)}
        return [(np.concatenate([labels[label], ids]), False) for label, ids in zip(request.labels, read, strict=True)]
    draws_labels = label_of(tokenizer, boundaries.starts) is not None
    drawing = [row for row, ids in enumerate(read) if draws_labels or not len(ids)]
    found = [(ids, False) for ids in read]
    for row, drawn in zip(drawing, _draw_starts(boundaries, request, drawing), strict=True):
        found[row] = (np.concatenate([drawn, read[row]]), False) if draws_labels else (drawn, True)
    return found


def _draw_starts(boundaries: Boundaries, request: Request, rows: Sequence[int]) -> Ids:
    """First ids of rows, ``[rows, 1]`` int32, drawn by how often training texts begin with them."""
    if not rows:
        return np.empty((0, 1), np.int32)
    return draw_start(boundaries, uniforms(request.seed, [request.row_seed(row) for row in rows], 0, 1)[0])[:, None]


def draw_start(boundaries: Boundaries, draws: NDArray[np.float32]) -> Ids:
    """First ids ``[n]`` int32, drawn with uniforms ``[n]`` by how often training texts begin with them.

    Raises:
        OptionError: if the model does not know how texts begin.
    """
    if not boundaries.starts:
        raise OptionError("this model does not know how texts begin; give a prompt")
    cumulative = np.cumsum(list(boundaries.starts.values()))
    drawn = np.searchsorted(cumulative, draws.astype(np.float64) * cumulative[-1], side="right")
    first: Ids = np.array(list(boundaries.starts), np.int32)[drawn]
    return first


def pad_rows(rows: Sequence[Ids]) -> tuple[Ids, Ids]:
    """Pad rows of any lengths on the right with id 0: ``[batch, time]`` int32, and their lengths, ``[batch]`` int32."""
    lengths = np.array([len(ids) for ids in rows], np.int32)
    if len(rows) == 1:
        return rows[0][None], lengths  # not copied
    padded = np.zeros((len(rows), lengths.max(initial=0)), np.int32)
    for row, ids in zip(padded, rows, strict=True):
        row[: len(ids)] = ids
    return padded, lengths
