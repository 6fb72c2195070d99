"""Batch files as OpenAI's API reads and writes them: a request for completions per line, and an answer per line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from textgen.bulk.formats import JsonLines
from textgen.bulk.source import Entry, Flaw, JsonSource, first_object
from textgen.bulk.work import Chunk, Generator, Task, Written
from textgen.errors import TextgenError
from textgen.generation.job import Failed, Job
from textgen.generation.request import MOST_CHARACTERS, Request
from textgen.sampling.chain import effective_numbers
from textgen.text.tokenizer import OnUnknown

#: The address of the requests, and the most texts of one.
URL, MOST_TEXTS = "/v1/completions", 2**16

#: Texts that are written side by side.
SIDE_BY_SIDE = 4096


class Body(BaseModel):
    """The body of a request; its fields are those of ``textgen serve``, but for what a file of texts has no use for."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    model: str | None = None  # the run that is loaded answers
    user: str | None = None
    stream: Literal[False] | None = None
    prompt: str | Annotated[list[str], Field(min_length=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=MOST_CHARACTERS)] | None = None
    n: Annotated[int, Field(ge=1, le=MOST_TEXTS)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**64)] | None = None
    temperature: Annotated[float, Field(ge=0)] | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    sampler: str | None = None
    stop: str | list[str] | None = None
    ignore_eos: bool | None = None
    label: str | None = None
    on_unknown: OnUnknown | None = None
    echo: bool | None = None


def is_batch(path: Path) -> bool:
    """Whether a file is a batch file, by its first line; errors as for :class:`~textgen.bulk.source.Source`."""
    return path.suffix.lower() == ".jsonl" and "custom_id" in (first_object(path) or {})


class BatchSource(JsonSource):
    """Batch files: the prompt of an entry is the whole line."""

    def _check(self, path: Path) -> None:
        """Each line is checked as it is read."""

    def _read(self, path: Path) -> Iterator[Entry]:
        for number, line in self._objects(path):
            where = f"{path}, line {number}"
            if isinstance(line, Flaw):
                yield line, ()
            elif not isinstance(line.get("custom_id"), str):
                yield Flaw(f"{where}: custom_id is not a text"), ()
            elif not isinstance(line.get("body"), dict):
                yield Flaw(f"{where}: body is not an object"), ()
            else:
                yield line, ()


class Answers(JsonLines):
    """Lines of answers."""

    def read(self, path: Path, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        with path.open(encoding="utf-8") as file:
            for line in file:
                row = int(json.loads(line)["id"].removeprefix("batch_req_"))
                yield tuple(row if name == "row" else "" for name in columns)


@dataclass(frozen=True)
class Batch(Task):
    """Answers one request per row.

    A request with a seed gets the texts that the server gives it; without one, its texts are those of the job's seed,
    and of the rows from its number times :data:`MOST_TEXTS` on.

    Attributes:
        options: of a request that does not say otherwise, with the seed of the job.
        form: of the answers.
    """

    options: Mapping[str, Any]
    form: Answers

    def write(self, generator: Generator, chunk: Chunk) -> Written:
        assert chunk.entries is not None
        batching = generator.batching(most_rows=SIDE_BY_SIDE, seconds=None)
        answers: dict[int, dict[str, Any]] = {}
        jobs: dict[int, tuple[Job, Body]] = {}
        bad = []
        for row, (line, _) in enumerate(chunk.entries, chunk.first):
            if isinstance(line, Flaw):
                bad.append((row, str(line)))
                continue
            try:
                body = _body(line)
                job = batching.prepare(self._request(generator, body, row))
            except (TextgenError, ValueError) as error:
                answers[row] = _answer(row, line, 400, _error(str(error)))
            else:
                jobs[row] = job, body
                batching.add(job)
        while not all(job.is_done for job, _ in jobs.values()):
            for event in batching.turn():
                if isinstance(event, Failed):
                    raise event.error
        for row, (job, body) in jobs.items():
            answers[row] = _answer(row, chunk.entries[row - chunk.first][0], 200, _completion(row, job, body))
        rows = sorted(answers)
        records = self.form.encode({name: [answers[row][name] for row in rows] for name in _FIELDS}) if rows else []
        return Written(first=chunk.first, size=chunk.size, rows=rows, records=records, bad=bad)

    def _request(self, generator: Generator, body: Body, row: int) -> Request:
        prompts = [body.prompt] if isinstance(body.prompt, str) else body.prompt
        texts = len(prompts or "1") * (body.n or 1)
        if texts > MOST_TEXTS:
            raise ValueError(f"{texts:,} texts are asked for, more than {MOST_TEXTS:,}; ask for fewer")
        plain = ("seed", "temperature", "sampler", "stop", "ignore_eos", "label", "on_unknown")
        wishes = {name: value for name in plain if (value := getattr(body, name)) is not None}
        numbers = {name: getattr(body, name) for name in ("top_k", "top_p", "min_p", "repetition_penalty")}
        wishes |= effective_numbers(generator.defaults.sampler, numbers, generator.runtime.vocab_size)
        if body.max_tokens is not None:
            wishes["length"] = body.max_tokens
        first = 0 if body.seed is not None else row * MOST_TEXTS
        return generator.request(
            prompts, **{**self.options, **wishes, "num": body.n or 1, "rows": range(first, first + texts)}
        )


_FIELDS = ("id", "custom_id", "response", "error")


def _body(line: Mapping[str, Any]) -> Body:
    """The body of a line.

    Raises:
        ValueError: if it is not a request for completions, on one line.
    """
    if line.get("url", URL) != URL or line.get("method", "POST") != "POST":
        raise ValueError(f"only POST {URL} is answered")
    try:
        return Body.model_validate(line["body"])
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = str(first["loc"][0]) if first["loc"] else "body"
        what = "is not supported in a batch; leave it out" if first["type"] == "extra_forbidden" else first["msg"]
        raise ValueError(f"{where}: {what}") from None


def _answer(row: int, line: Mapping[str, Any], status: int, body: dict[str, Any]) -> dict[str, Any]:
    response = {"status_code": status, "request_id": f"req_{row}", "body": body}
    return {"id": f"batch_req_{row}", "custom_id": line["custom_id"], "response": response, "error": None}


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}


def _completion(row: int, job: Job, body: Body) -> dict[str, Any]:
    """The body of an answer; ``created`` is always 0, so that the same job has the same bytes."""
    generations = job.generations()
    choices = [
        {
            "index": index,
            "text": generation.whole if body.echo else generation.text,
            "logprobs": None,
            "finish_reason": "length" if generation.finish_reason == "length" else "stop",
            "textgen": {"row": generation.row},
        }
        for index, generation in enumerate(generations)
    ]
    prompts = sum(map(job.prompt_tokens, range(0, len(job.rows), body.n or 1)))
    written = sum(len(generation.ids) for generation in generations)
    return {
        "id": f"cmpl-{row}",
        "object": "text_completion",
        "created": 0,
        "model": body.model or "",
        "choices": choices,
        "usage": {"prompt_tokens": prompts, "completion_tokens": written, "total_tokens": prompts + written},
        "textgen": {"seed": job.request.seed},
    }
