"""A run that is served: its name, what clients are told of it, and requests in its terms."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

import textgen
from textgen import (
    Batching,
    Chain,
    Continuation,
    Draw,
    Job,
    OnUnknown,
    Request,
    TextGenerator,
    effective_numbers,
    label_id,
    label_of,
    labels_of,
    uniforms,
    without_labels,
)
from textgen.errors import OptionError, TextgenError, UnknownCharacterError, describe_character
from textgen_serve.metrics import log_error
from textgen_serve.protocol.answers import Model, ModelDetails, TokenizerInfo
from textgen_serve.protocol.errors import RequestError
from textgen_serve.protocol.requests import MOST_SCORED, CompletionRequest

#: NAME in NAME=RUN on the command line.
_NAME = re.compile(r"[^\W_][\w.:-]*")

#: The smallest p of the sampler top-p that is told apart from 0: no vocabulary is so large that two ids fit into it.
_LEAST_P = 1e-6


class ServedRun:
    """A loaded run that is served.

    Args:
        name: its id.
        generator: the loaded run.
        default_length: characters of a text unless a request says how many.
        most_rows: texts that are written side by side.
        seconds: that a turn of writing takes.

    Attributes:
        most_rows: as given.
        batching: its running batch.
        fingerprint: as long as it is the same, so is the text of a seed.
    """

    def __init__(
        self, name: str, generator: TextGenerator, *, default_length: int, most_rows: int, seconds: float = 0.02
    ) -> None:
        self.name = name
        self.generator = generator
        self.default_length = default_length
        self.most_rows = most_rows
        self.batching: Batching = generator.batching(most_rows=most_rows, seconds=seconds)
        major = textgen.__version__.partition(".")[0]
        weights = (generator.artifact.weights_sha256 or "unknown")[:16]
        self.fingerprint = f"{weights}-{generator.runtime.precision}-textgen-{major}"
        self._open_graph(generator.run.chain())  # a graph that cannot run is found now

    def warm_up(self) -> None:
        """Have the runtime open the graph that all but the plainest chains share, so that no client waits for it."""
        self._open_graph(self.generator.run.chain("greedy").common)

    def _open_graph(self, chain: Chain) -> None:
        """Have the runtime open what a chain needs."""
        runtime, tokenizer = self.generator.runtime, self.generator.tokenizer
        draw = Draw([chain], runtime.vocab_size, self.generator.boundaries.forbidden_ids(tokenizer))
        state = runtime.prefill(np.zeros((1, 1), np.int32), runtime.initial_state(1))
        runtime.generate(np.zeros(1, np.int32), state, draw, uniforms(0, [0], 0, 1))

    @classmethod
    def open(
        cls, given: str | None, *, default_length: int, most_rows: int, device: str, trust_graph: bool
    ) -> ServedRun:
        """Load a run.

        Args:
            given: its folder or name, or ``NAME=`` and either; ``None`` for the latest run.
            default_length: as of the class.
            most_rows: as of the class.
            device: to run it on.
            trust_graph: whether to run the graphs of an export as they are.

        Raises:
            TextgenError: if it cannot be loaded, or cannot have the name.
        """
        name, run = _split(given) if given and not Path(given).exists() else (None, given)
        generator = textgen.load(run, device=device, trust="graph" if trust_graph else "weights")
        return cls(name or _name_of(generator), generator, default_length=default_length, most_rows=most_rows)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of its texts; none if they have none."""
        return labels_of(self.generator.tokenizer)

    def about(self) -> Model:
        """What GET /v1/models says of it."""
        artifact, settings = self.generator.artifact, self.generator.run.settings["model"]
        export = artifact.manifest.export or {}
        units = export.get("units") or [settings["units"]] * settings.get("layers", 1) if "units" in settings else []
        return Model(
            id=self.name,
            created=int(datetime.fromisoformat(artifact.manifest.created).timestamp()),
            textgen=ModelDetails(
                run=_name_of(self.generator),
                vocab_size=artifact.manifest.vocab_size,
                cell=export.get("cell") or settings["name"],
                units=units,
                precision=self.generator.runtime.precision,
                chain=self.generator.defaults.sampler,
                runtime=self.generator.runtime_name,
                device=self.generator.runtime.device,
                prompt=self.generator.defaults.prompt,
                labels=list(self.labels),
                default_length=self.default_length,
                corpus=self.generator.run.settings["corpus"]["name"],
                license=artifact.manifest.provenance.get("licence"),
                held_out_loss=artifact.manifest.metrics.get("held_out_loss"),
            ),
        )

    def request(self, body: CompletionRequest, continuation: Continuation | None = None) -> Request:
        """The texts that a body asks for.

        Args:
            body: validated.
            continuation: the text to continue, if any.

        Raises:
            RequestError: with status 400, if the model cannot do it.
        """
        self._check(body)
        prompts = body.prompts
        ids = [prompt for prompt in prompts or () if not isinstance(prompt, str)]
        texts = [prompt if isinstance(prompt, str) else self._text_of(prompt) for prompt in prompts or ()]
        count = len(texts or "1") * body.written
        first = body.row if body.row is not None else continuation.row if continuation else 0
        try:
            request = self.generator.request(
                None if prompts is None else texts,
                num=body.written,
                length=body.max_tokens or self.default_length,
                temperature=body.temperature,
                sampler=body.sampler,
                seed=body.seed,
                rows=range(first, first + count),
                stop=[body.stop] if isinstance(body.stop, str) else body.stop,
                ignore_eos=bool(body.ignore_eos),
                on_unknown=body.on_unknown,
                label=body.label,
                keep_state=bool(body.return_continuation),
                continuation=continuation,
                **self._numbers(body),
            )
        except TextgenError as error:
            raise refusal(error) from None
        return replace(request, ids=tuple(tuple(each) for each in ids for _ in range(body.written)))

    def prepare(self, body: CompletionRequest, continuation: Continuation | None = None) -> Job:
        """The job of :meth:`request`; nothing runs yet.

        Raises:
            RequestError: with status 400, if the model cannot do it.
        """
        request = self.request(body, continuation)
        try:
            job = self.batching.prepare(request)
        except TextgenError as error:
            raise refusal(error, "prompt") from None
        if body.logprobs is not None or body.written > (body.n or 1):
            scored = len(job.rows) * (request.length if body.max_tokens != 0 else 0)
            if body.echo:
                scored += sum(len(row.prompt_ids) for row in job.rows)
            if scored > MOST_SCORED:
                message = (
                    f"of up to {scored:,} tokens; at most {MOST_SCORED:,} are allowed: ask for fewer or shorter texts"
                )
                param = "best_of" if body.logprobs is None else "logprobs"
                raise RequestError(400, f"{param} asks for log-probabilities {message}", param=param)
        return job

    def pack(self, job: Job, index: int) -> bytes:
        """The point from which a row that has ended can be continued."""
        continuation = job.generation(index).continuation
        assert continuation is not None  # the request asked for it
        return self.generator.pack_continuation(continuation)

    def unpack(self, content: bytes) -> Continuation:
        """The inverse of :meth:`pack`.

        Raises:
            RequestError: if it belongs to another model.
        """
        try:
            return self.generator.unpack_continuation(content)
        except TextgenError as error:
            raise RequestError(400, str(error), param="continuation") from None

    def is_label(self, token: int) -> bool:
        """Whether an id is that of a label."""
        return label_of(self.generator.tokenizer, [token]) is not None

    def start(self, label: str | None) -> list[int]:
        """The ids that come before a prompt: that of a label, by default of the most frequent one, if there are any."""
        if label is not None:
            return [self._label_id(label)]
        starts = self.generator.boundaries.starts
        return [max(starts, key=lambda token: starts[token])] if self.labels else []

    def _check(self, body: CompletionRequest) -> None:
        """Check the fields that depend on the model."""
        if body.sampler is not None:
            try:
                self.generator.run.chain(body.sampler)
            except TextgenError as error:
                raise RequestError(400, str(error), param="sampler") from None
            numbers = [*(["temperature"] if body.temperature is not None else []), *self._numbers(body)]
            if numbers:
                message = f"sampler and {numbers[0]} exclude each other; write all into the chain"
                raise RequestError(400, message, param=numbers[0])
        if body.label is not None:
            self._label_id(body.label)

    def _label_id(self, label: str) -> int:
        """The id of a label.

        Raises:
            RequestError: if the run has no such label.
        """
        if not self.labels:
            raise RequestError(400, "the model has no labels; leave label out", param="label")
        try:
            return label_id(self.generator.tokenizer, label)
        except OptionError as error:
            raise RequestError(400, str(error), param="label") from None

    def _numbers(self, body: CompletionRequest) -> dict[str, Any]:
        """The numbers of samplers that change something."""
        given = {
            "top_k": body.top_k,
            "top_p": None if body.top_p is None else max(body.top_p, _LEAST_P),
            "min_p": body.min_p,
            "repetition_penalty": body.repetition_penalty,
        }
        return effective_numbers(self.generator.defaults.sampler, given, self.generator.runtime.vocab_size)

    def encode(self, text: str, on_unknown: OnUnknown | None = None) -> list[int]:
        """The ids of a text.

        Raises:
            RequestError: if the model does not know one of its characters.
        """
        try:
            return [int(i) for i in self.generator.tokenizer.encode(text, on_unknown)]
        except TextgenError as error:
            raise refusal(error) from None

    def decode(self, ids: Sequence[int], param: str = "prompt") -> str:
        """The text of ids.

        Raises:
            RequestError: if one is not in the vocabulary; names the field ``param``.
        """
        self._check_ids(ids, param)
        return self.generator.tokenizer.decode(ids)

    def _text_of(self, ids: Sequence[int]) -> str:
        """The text of a prompt, without the beginning of a character that its last ids leave open: a text ends it."""
        self._check_ids(ids, "prompt")
        return self.generator.tokenizer.decoder().feed(ids)

    def _check_ids(self, ids: Sequence[int], param: str) -> None:
        """Check that ids are those of text, not of labels."""
        size = without_labels(self.generator.tokenizer).vocab_size
        wrong = next((i for i in ids if i >= size), None)
        if wrong is not None:
            raise RequestError(400, f"there is no id {wrong}; ids are from 0 to {size - 1}", param=param)

    def tokenizer_info(self) -> TokenizerInfo:
        """What GET /tokenizer_info says of it."""
        tokenizer = self.generator.tokenizer

        def text(token: int | None) -> str | None:
            return None if token is None else tokenizer.decode([token])

        return TokenizerInfo(
            tokenizer_class=self.generator.run.settings["tokenizer"]["name"],
            vocab_size=tokenizer.vocab_size,
            eos_token=text(tokenizer.eos_id),
            eos_token_id=tokenizer.eos_id,
            pad_token=text(tokenizer.pad_id),
            unk_token=text(tokenizer.unk_id),
        )


def refusal(error: TextgenError, param: str | None = None) -> RequestError:
    """What a client is told of a request that the model cannot do, perhaps because of a certain field."""
    if isinstance(error, UnknownCharacterError):
        ways = " or ".join(f'"on_unknown": "{way}"' for way in error.ways)
        what = f"{describe_character(error.character)} at position {error.position} is not in the vocabulary"
        advice = "remove it" + (f", or send {ways}" if ways else "")
        return RequestError(400, f"{what}; {advice}", param="prompt", code="unknown_character")
    if isinstance(error, OptionError):
        return RequestError(400, str(error), param=param)
    return RequestError(500, str(error), "server_error")


def failure(error: Exception) -> RequestError:
    """What a client is told of a text that could not be written; the log says the rest."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, TextgenError):
        return refusal(error)
    log_error(error)
    return RequestError(500, "the text could not be written; the log of the server says why", "server_error")


def _split(given: str) -> tuple[str | None, str]:
    """NAME and RUN of ``NAME=RUN``; no name if there is none.

    Raises:
        OptionError: if no model can have the name.
    """
    name, separator, run = given.partition("=")
    if not separator:
        return None, given
    if not _NAME.fullmatch(name):
        raise OptionError(
            f"there is no run {given!r}, and a model cannot have the name {name!r}: in NAME=RUN, a name begins with a "
            "letter or a digit, and goes on with these or . _ : -"
        )
    if not run:
        raise OptionError(f"there is no run after the = of {given!r}; name one, as in {name}=RUN")
    return name, run


def _name_of(generator: TextGenerator) -> str:
    """The name of a run's folder; for an export inside of it, too."""
    folder = generator.artifact.path.absolute()
    export = generator.artifact.manifest.export or {}
    return folder.parent.name if folder.name == export.get("format") else folder.name
