"""A request for texts, and the texts that come of it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Self, SupportsIndex, TypedDict, TypeVar, Unpack, cast, get_args, overload

from pydantic import Field, field_validator

from textgen.base import html, values
from textgen.errors import OptionError, shortened, suggestion
from textgen.generation.continuation import Continuation
from textgen.options import Options
from textgen.sampling.chain import Chain, edit_chain
from textgen.text.tokenizer import OnUnknown
from textgen.text.vocabulary import Unknown

#: The most texts of a request, and characters of a text: far above any use, but a slip must not fill the memory.
MOST_TEXTS, MOST_CHARACTERS = 10**6, 10**9

#: The bounds of whole numbers in a request.
_BOUNDS = {"num": (1, MOST_TEXTS), "length": (1, MOST_CHARACTERS), "chunk": (1, 2**16), "seed": (0, 2**64 - 1)}

#: Characters to write if neither the request nor the run says how many.
DEFAULT_LENGTH = 400

_Item = TypeVar("_Item")

FinishReason = Literal["length", "eos", "stop", "cancelled"]


class GenerationOptions(Options):
    """The defaults of a run's generation."""

    prompt: str = Field("", description="Text to continue; if it is empty, the first token is drawn.")
    length: int | None = Field(
        None,
        ge=1,
        le=MOST_CHARACTERS,
        description=f"Characters to write; by default {DEFAULT_LENGTH} for a stream, "
        "twice the longest document for documents.",
    )
    sampler: str = Field("temperature(0.9) | multinomial", description="The sampler chain.")
    stop: tuple[str, ...] = Field((), description="Texts that end a generation; they are not part of it.")

    @field_validator("prompt", mode="before")
    @classmethod
    def _accept_none(cls, value: object) -> object:
        return "" if value is None else value  # as runs recorded it, and as Python says it


class Wishes(TypedDict, total=False):
    """Options of a request, besides its prompt; :meth:`textgen.text_generator.TextGenerator.request` documents them."""

    num: int
    label: str | Sequence[str] | None
    length: int | None
    temperature: float | Sequence[float] | None
    top_k: int | None
    top_p: float | None
    min_p: float | None
    repetition_penalty: float | None
    sampler: str | None
    seed: int | None
    rows: Sequence[int] | None
    stop: str | Sequence[str] | None
    ignore_eos: bool
    on_unknown: OnUnknown | None
    score: bool
    chunk: int | None
    stream: bool
    keep_state: bool
    continuation: Continuation | None
    normalize: bool


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request for texts, one row per prompt.

    Attributes:
        prompts: one per row; for an empty one the first token is drawn.
        length: characters to write per row, at most; a first token drawn for an empty prompt is not counted.
        chains: one per row.
        seed: of the generation.
        row_seeds: the seed of each row; by default 0, 1, 2 and so on.
        ids: the ids of each prompt; by default those that the tokenizer makes of it.
        labels: the label of each row; none for rows whose label is drawn, if the model's texts have any.
        stop: texts that end a row.
        ignore_eos: continue after the end of a document.
        on_unknown: how to treat characters of a prompt that the vocabulary lacks; ``None`` for the tokenizer's default.
        score: whether to compute log-probabilities.
        chunk: steps per call of the runtime; ``None`` to let the runtime and the loop choose.
        stream: whether the text is shown while it is written: rows then come one after the other, in small pieces.
        keep_state: whether each :class:`Generation` keeps the state from which it can be continued.
        continuation: the text that each row continues; its prompt is read after it.
    """

    prompts: tuple[str, ...]
    length: int
    chains: tuple[Chain, ...]
    seed: int = 0
    row_seeds: tuple[int, ...] = ()
    ids: tuple[tuple[int, ...], ...] = ()
    labels: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    ignore_eos: bool = False
    on_unknown: OnUnknown | None = None
    score: bool = False
    chunk: int | None = None
    stream: bool = False
    keep_state: bool = False
    continuation: Continuation | None = None

    def row_seed(self, index: int) -> int:
        """The seed of a row."""
        return self.row_seeds[index] if self.row_seeds else index

    @classmethod
    def of(
        cls,
        defaults: GenerationOptions,
        make_chain: Callable[[str], Chain],
        prompt: str | Sequence[str] | None = None,
        **wishes: Unpack[Wishes],
    ) -> Request:
        """Complete wishes with a run's defaults.

        Each label at each temperature is a block of rows: every prompt, ``num`` times, with the row seeds of the other
        blocks.

        Args:
            defaults: how the run generates.
            make_chain: builds a sampler chain from its text.
            prompt: one text to continue, or several.
            **wishes: the options of the request.

        Raises:
            OptionError: for values out of range, or a chain together with single samplers.
        """
        if unknown := wishes.keys() - Wishes.__annotations__.keys():
            name = min(unknown)
            raise OptionError(f"a request has no option {name!r}; {suggestion(name, Wishes.__annotations__)}")
        wishes = _checked(wishes)
        num, length, chunk = wishes.get("num", 1), wishes.get("length"), wishes.get("chunk")
        seed, row_seeds, stop = wishes.get("seed"), wishes.get("rows"), wishes.get("stop")
        if continuation := wishes.get("continuation"):
            prompt = prompt or ""
            seed = continuation.seed if seed is None else seed
        seed = secrets.randbits(32) if seed is None else seed
        prompts = [] if prompt is None else values.texts(prompt, "prompt")
        prompts = prompts or [defaults.prompt]
        first = continuation.row if continuation else 0
        row_seeds = range(first, first + len(prompts) * num) if row_seeds is None else row_seeds
        chains = [make_chain(text) for text in _chain_texts(defaults.sampler, wishes)]
        labels = list(wishes.get("label") or ())
        each, label_blocks = len(prompts) * num, len(labels) or 1
        if (total := each * len(chains) * label_blocks) > MOST_TEXTS:
            raise OptionError(f"{total:,} texts are asked for, more than {MOST_TEXTS:,} at a time; ask for fewer")
        return cls(
            prompts=tuple(text for text in prompts for _ in range(num)) * (label_blocks * len(chains)),
            length=length or defaults.length or DEFAULT_LENGTH,
            chains=tuple(chain for chain in chains for _ in range(each)) * label_blocks,
            seed=seed,
            row_seeds=tuple(row_seeds) * (label_blocks * len(chains)),
            labels=tuple(label for label in labels for _ in range(each * len(chains))),
            stop=defaults.stop if stop is None else tuple(stop),
            ignore_eos=wishes.get("ignore_eos", False),
            on_unknown=wishes.get("on_unknown"),
            score=wishes.get("score", False),
            chunk=chunk,
            stream=wishes.get("stream", False),
            keep_state=wishes.get("keep_state", False),
            continuation=continuation,
        )


def _checked(wishes: Wishes) -> Wishes:
    """Wishes as plain values, in lists where there may be several; those that are ``None`` are left out.

    Raises:
        OptionError: if one is of another type, or out of range.
    """
    return cast(Wishes, {name: _check(name, value) for name, value in wishes.items() if value is not None})


def _check(name: str, value: object) -> Any:
    if name in _BOUNDS:
        return values.whole_number(value, name, *_BOUNDS[name])
    if name == "rows" and isinstance(value, range):
        for seed in (*value[:1], *value[-1:]):
            values.whole_number(seed, "rows", *_BOUNDS["seed"])
        return value
    if name == "rows":
        seeds = enumerate(values.several(value, name, "a list of whole numbers"))
        return [values.whole_number(seed, f"rows[{index}]", *_BOUNDS["seed"]) for index, seed in seeds]
    if name in ("label", "stop"):
        return values.texts(value, name)
    if name == "temperature":
        return [values.number(each, name) for each in values.several(value, name, "a number or a list of numbers")]
    if name in ("top_k", "top_p", "min_p", "repetition_penalty"):
        return values.number(value, name)
    if name == "sampler":
        return values.text(value, name)
    if name == "on_unknown":
        return values.choice(value, name, get_args(OnUnknown))
    if name == "continuation":
        return values.instance(value, name, Continuation)
    return values.truth(value, name)


def _chain_texts(default: str, wishes: Wishes) -> list[str]:
    """The sampler chains that are wished for, one per temperature."""
    chain, temperatures = wishes.get("sampler"), cast("list[float] | None", wishes.get("temperature"))
    single = {
        "top-k": wishes.get("top_k"),
        "top-p": wishes.get("top_p"),
        "min-p": wishes.get("min_p"),
        "repetition-penalty": wishes.get("repetition_penalty"),
    }
    texts = []
    for value in temperatures or (None,):
        edits = {name: number for name, number in {"temperature": value, **single}.items() if number is not None}
        if chain is not None and edits:
            raise OptionError(f"a sampler chain and {', '.join(edits)} exclude each other; write all into the chain")
        texts.append(edit_chain(default if chain is None else chain, edits))
    return texts


class Token(NamedTuple):
    """A piece of a text that was written, of one id.

    Attributes:
        text: what the id added to the text; none for the end of a document.
        log_probability: of the model (nats, temperature 1); ``None`` for text that was not scored, as a first one that
            was drawn.
    """

    text: str
    log_probability: float | None


@dataclass(frozen=True, kw_only=True, repr=False)
class Generation:
    """The text of one row.

    Attributes:
        prompt: the text that it continues.
        label: its label, asked for or drawn; ``None`` if the model's texts have none.
        text: the text that was written, without prompt, end of document and stop text.
        ids: every id that was drawn, including those of an end or stop text.
        seed: of the generation.
        row: the seed of the row.
        sampler: the chain that drew.
        finish_reason: ``"eos"`` (end of a document), ``"stop"`` (a stop text), ``"length"``, or ``"cancelled"`` if it
            was cancelled in a :class:`~textgen.Batching` before it ended.
        unknown: what the vocabulary lacks of the prompt, and what became of it.
        log_probability: the sum over ``ids`` of the model's log-probability (nats, temperature 1) given what comes
            before each; a first character drawn for an empty prompt does not count. ``None`` unless requested.
        tokens: the log-probability of each token; ``None`` unless requested. Their texts are ``text``, and what was cut
            off at its end.
        continuation: the point from which the text can be continued; ``None`` unless requested.
    """

    prompt: str
    text: str
    ids: tuple[int, ...]
    seed: int
    row: int
    sampler: str
    finish_reason: FinishReason
    label: str | None = None
    unknown: tuple[Unknown, ...] = ()
    log_probability: float | None = None
    tokens: tuple[Token, ...] | None = field(default=None, compare=False)
    continuation: Continuation | None = field(default=None, compare=False)

    @property
    def whole(self) -> str:
        """The prompt and the text that continues it."""
        return self.prompt + self.text

    def __repr__(self) -> str:
        score = "" if self.log_probability is None else f", log_probability={self.log_probability:.2f}"
        end = f"finish_reason={self.finish_reason!r}{score}, seed={self.seed}, row={self.row}"
        return f"Generation({shortened(self.whole, 200)}, {end})"

    def _repr_html_(self) -> str:
        facts = [f"ended by {self.finish_reason}", self.sampler, f"seed {self.seed}, row {self.row}"]
        if self.label is not None:
            facts.insert(0, f"label {self.label}")
        if self.log_probability is not None:
            facts.append(f"log-probability {self.log_probability:.2f} nats; less likely tokens have stronger colours")
        return html.box("", self.text_html(html.MOST_CHARACTERS), html.line(" · ".join(facts), faint=True))

    def text_html(self, most: int) -> str:
        """The text in HTML: its prompt pale, and each token coloured by its log-probability, if that is known.

        Args:
            most: characters of the text that are shown.
        """
        prompt = f'<span style="opacity:.6">{html.escaped(html.cut(self.prompt, most))}</span>' if self.prompt else ""
        if self.tokens is None:
            return html.preformatted(prompt + html.escaped(html.cut(self.text, most)))
        return html.preformatted(prompt + html.coloured(self.tokens, self.text, most))


class Listed(list[_Item]):
    """A list of what was written: its parts are such lists, too, and a notebook keeps no more of it than it shows."""

    @overload
    def __getitem__(self, index: SupportsIndex) -> _Item: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: SupportsIndex | slice) -> _Item | Self:
        found = super().__getitem__(index)
        return type(self)(found) if isinstance(index, slice) else found  # type: ignore[arg-type, return-value]

    def __add__(self, other: list[Any]) -> Self:  # type: ignore[override]
        return type(self)([*self, *other])

    def copy(self) -> Self:
        return type(self)(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Prints the list in IPython, cut as the table is."""
        most = html.most_each(len(self))
        listed = [shortened(each, most) if isinstance(each, str) else repr(each) for each in self[: html.MOST_ROWS]]
        more = f" and {len(self) - len(listed):,} more" if len(self) > len(listed) else ""
        printer.text("[" + ",\n ".join(listed) + f"]{more}")


class Generations(Listed[Generation]):
    """A list of texts that were written; a notebook shows it as a table."""

    def _repr_html_(self) -> str | None:
        if not all(isinstance(each, Generation) for each in self):
            return None  # others were added
        has_labels, is_scored = (any(getattr(g, name) is not None for g in self) for name in ("label", "tokens"))
        most = html.most_each(len(self))
        head = ["row", *["label"] * has_labels, "text", "ended by", *["nats per token"] * is_scored]

        def cells(generation: Generation) -> Iterator[str]:
            yield str(generation.row)
            if has_labels:
                yield html.escaped(generation.label or "")
            yield generation.text_html(most)
            yield generation.finish_reason
            if is_scored:
                scored = [t.log_probability for t in generation.tokens or () if t.log_probability is not None]
                yield f"{-sum(scored) / len(scored):.2f}" if scored else ""

        return html.box("", html.table(head, (tuple(cells(each)) for each in self)))


class Texts(Listed[str]):
    """A list of texts; a notebook shows it as a table."""

    def _repr_html_(self) -> str:
        most = html.most_each(len(self))
        rows = ((str(number), html.block(str(text), most)) for number, text in enumerate(self))
        return html.box("", html.table((), rows))


@dataclass(slots=True)  # a frozen one takes three times as long to make
class Piece:
    """Newly written text.

    Attributes:
        index: the row, from 0.
        text: what it has written since the piece before.
    """

    index: int
    text: str
