"""POST /v1/completions: from a body to texts, whole or as a stream."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import cached_property
from time import perf_counter, time
from typing import Any, NamedTuple

from starlette.types import Receive, Scope, Send

from textgen import Job
from textgen_serve.doors import read_content
from textgen_serve.metrics import Metrics
from textgen_serve.protocol.answers import Choice, ChoiceDetails, Completion, Logprobs, UnknownPiece, Usage
from textgen_serve.protocol.errors import RequestError
from textgen_serve.protocol.requests import CompletionRequest, read_body
from textgen_serve.seal import Seal
from textgen_serve.served_run import ServedRun, failure
from textgen_serve.writing.in_flight import Desk, Piece, Writing
from textgen_serve.writing.scoring import TokenScorer

#: Seconds between the comments of a stream, which keep proxies from closing it while no text comes.
PING_EVERY = 15.0

#: The rest of a choice that has a text and nothing else.
_NO_MORE = '"logprobs": null, "finish_reason": null, "stop_reason": null}'

#: Seconds in which a client must take the end of a stream that has failed.
LAST_SECONDS = 5.0

#: The most unknown characters of a prompt that an answer names.
MOST_UNKNOWN = 100

#: The characters of prompts from which on they are encoded beside the event loop.
MANY_CHARACTERS = 4_096

_STREAM_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class Limits(NamedTuple):
    """What a request may take.

    Attributes:
        body: the most bytes.
        seconds: the most until its answer is whole.
        is_strict: whether unknown fields are refused.
    """

    body: int
    seconds: float
    is_strict: bool


class Completions:
    """The ASGI application of POST /v1/completions.

    Args:
        find: a run by its name.
        desk: where texts are written.
        seal: of continuations.
        metrics: to keep.
        limits: of a request.
    """

    def __init__(
        self, find: Callable[[str | None], ServedRun], desk: Desk, seal: Seal, metrics: Metrics, limits: Limits
    ) -> None:
        self._find = find
        self._desk = desk
        self._seal = seal
        self._metrics = metrics
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = perf_counter()
        content = await read_content(scope, receive, limit=self._limits.body, seconds=self._limits.seconds)
        body = read_body(CompletionRequest, content, strict=self._limits.is_strict)
        run = self._find(body.model)
        with self._desk.place(run, body.rows):
            try:
                async with _while_connected(receive):
                    await self._answer(scope, send, body, run, began)
            except ConnectionError:
                self._metrics.cancelled.labels(run.name).inc()
                raise

    async def _answer(self, scope: Scope, send: Send, body: CompletionRequest, run: ServedRun, began: float) -> None:
        """Write the texts, and answer."""
        response = _Response(send)
        try:
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + self._limits.seconds):
                job = await self._prepare(run, body)
                answer = _Answer(body, run, job, self._seal)
                scope["textgen.log"] = answer.log
                writing = Writing(run, job, answer.prompt_tokens, began, streams=bool(body.stream))
                if body.max_tokens == 0:
                    self._metrics.prompt_tokens.labels(run.name).inc(answer.prompt_tokens)
                    for row in job.rows:
                        writing.take(row.index, "", is_last=True)
                    await self._send(response, body, answer, writing)
                else:
                    with self._desk.written(writing):
                        await self._send(response, body, answer, writing)
        except TimeoutError:
            late = f"the text was not complete within {self._limits.seconds:g} seconds"
            error = RequestError(504, late, "timeout_error", code="timeout")
        except RequestError as refused:
            error = refused
        except Exception as fault:
            error = failure(fault)
        else:
            self._note(run, answer, began)
            return
        if not response.has_begun:
            raise error
        scope["textgen.log"]["error"] = error.body["error"]["code"] or error.body["error"]["type"]
        try:
            async with asyncio.timeout(LAST_SECONDS):
                await response.end(f"data: {json.dumps(error.body)}\n\n")
        except TimeoutError:  # nobody reads it
            raise ConnectionError from None

    async def _prepare(self, run: ServedRun, body: CompletionRequest) -> Job:
        continuation = None
        if body.continuation is not None:
            continuation = run.unpack(self._seal.open(body.continuation))
        if isinstance(body.prompt, str) and len(body.prompt) < MANY_CHARACTERS:
            return run.prepare(body, continuation)
        return await asyncio.to_thread(run.prepare, body, continuation)

    async def _send(self, response: _Response, body: CompletionRequest, answer: _Answer, writing: Writing) -> None:
        """Send the texts as they come, or as one."""
        for scorer in answer.scorers:
            await self._desk.engine.run(scorer.read())
        if body.stream:
            ping = asyncio.create_task(_ping(response))
            try:
                await self._stream(response, body, answer, writing)
            finally:
                ping.cancel()
            return
        while not writing.is_done:
            await writing.news()
        if writing.error:
            raise writing.error
        for scorer in answer.scorers:
            await self._desk.engine.run(scorer.read_written())
        await response.whole(answer.whole().model_dump_json().encode())

    async def _stream(self, response: _Response, body: CompletionRequest, answer: _Answer, writing: Writing) -> None:
        least = body.stream_interval or 1
        while True:
            await writing.news()
            if writing.error:
                raise writing.error
            is_done = writing.is_done
            events = []
            for piece in writing.pieces(least):
                if answer.scorers:
                    await self._desk.engine.run(answer.scorers[piece.row].read_written())
                events.append(answer.event(piece))
            if is_done:
                await response.end("".join(events) + answer.end())
                return
            if events:
                writing.rests_until = perf_counter() + self._desk.rest
                await response.send("".join(events).encode())

    def _note(self, run: ServedRun, answer: _Answer, began: float) -> None:
        """Count an answer that is complete."""
        self._metrics.request_prompt.labels(run.name).observe(answer.log["prompt_tokens"])
        self._metrics.request_generation.labels(run.name).observe(answer.log["completion_tokens"])
        self._metrics.latency.labels(run.name).observe(perf_counter() - began)
        for reason in answer.log["finish"]:
            self._metrics.success.labels(run.name, reason).inc()


@asynccontextmanager
async def _while_connected(receive: Receive) -> AsyncIterator[None]:
    """Cancel the block as soon as the client leaves: it must end its texts, although nobody sends to it.

    Raises:
        ConnectionError: if the client has left.
    """
    task = asyncio.current_task()
    assert task is not None
    has_left = False

    async def watch() -> None:
        nonlocal has_left
        while (await receive())["type"] != "http.disconnect":
            pass
        has_left = True
        task.cancel()

    watching = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        if has_left and not task.uncancel():
            raise ConnectionError from None
        raise
    finally:
        watching.cancel()


async def _ping(response: _Response) -> None:
    while True:
        await asyncio.sleep(PING_EVERY)
        await response.send(b": ping\n\n")


class _Response:
    """An answer that is sent at once, or begun when there is something to send."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.has_begun = False

    async def whole(self, content: bytes) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        self.has_begun = True
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        await self._send({"type": "http.response.body", "body": content})

    async def send(self, content: bytes, *, is_last: bool = False) -> None:
        if not self.has_begun:
            self.has_begun = True
            await self._send({"type": "http.response.start", "status": 200, "headers": _STREAM_HEADERS})
        await self._send({"type": "http.response.body", "body": content, "more_body": not is_last})

    async def end(self, content: str) -> None:
        await self.send(content.encode(), is_last=True)


class _Answer:
    """What a client is sent.

    Args:
        body: of the request.
        run: that writes.
        job: prepared.
        seal: of continuations.
    """

    def __init__(self, body: CompletionRequest, run: ServedRun, job: Job, seal: Seal) -> None:
        self._body = body
        self._run = run
        self._job = job
        self._seal = seal
        self._writes = body.max_tokens != 0
        self._id, self._created = f"cmpl-{secrets.token_hex(12)}", int(time())
        self._sent = [0] * len(job.rows)  # characters of each row
        self.scorers: list[TokenScorer] = []
        if body.logprobs is not None or body.written > (body.n or 1):
            self.scorers = [
                TokenScorer(run, job, index, most=body.logprobs or 0, echoes=bool(body.echo), writes=self._writes)
                for index in range(len(job.rows))
            ]
        self._with_usage = bool(body.stream_options and body.stream_options.include_usage)
        self._prefix = "data: " + json.dumps(self._head())[:-1] + ', "choices": ['
        self._suffix = (', "usage": null' if self._with_usage else "") + "}\n\n"
        self.log: dict[str, Any] = {"model": run.name, "rows": len(job.rows), "id": self._id, "finish": []}

    def _head(self) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": "text_completion",
            "created": self._created,
            "model": self._run.name,
            "system_fingerprint": self._run.fingerprint,
            "textgen": {"seed": self._job.request.seed},
        }

    def whole(self) -> Completion:
        """The answer to a request without a stream."""
        n, written = self._body.n or 1, self._body.written
        choices = []
        for prompt in range(len(self._job.rows) // written):
            rows = list(range(prompt * written, (prompt + 1) * written))
            if written > n:
                rows = sorted(rows, key=lambda row: -self.scorers[row].mean())[:n]
            for place, row in enumerate(rows):
                choices.append(self._choice(row, prompt * n + place))
        return Completion(**self._head(), choices=choices, usage=self._close())

    def _choice(self, index: int, place: int) -> Choice:
        text = self._text(index)
        finish, stop = self._reasons(index)
        logprobs = None
        if self._body.logprobs is not None:
            logprobs = self._logprobs(index, len(text), is_last=True)
        details = self._details(index)
        return Choice(
            index=place, text=text, logprobs=logprobs, finish_reason=finish, stop_reason=stop, textgen=details
        )

    def event(self, piece: Piece) -> str:
        """An event of a stream."""
        index = piece.row
        text = piece.text if self._writes else ""
        if not self._sent[index] and self._body.echo:
            text = self._job.request.prompts[index] + text
        finish = stop = details = logprobs = None
        if piece.is_last:
            finish, stop = self._reasons(index)
            details = self._details(index)
            text += self._stop_text(index)
        self._sent[index] += len(text)
        if self._body.logprobs is not None:
            logprobs = self._logprobs(index, self._sent[index], is_last=piece.is_last)
        if piece.is_last or logprobs is not None:
            dumped = None if logprobs is None else logprobs.model_dump()
            rest = {"logprobs": dumped, "finish_reason": finish, "stop_reason": stop}
            if details is not None:
                rest["textgen"] = details.model_dump()
            more = json.dumps(rest)[1:]
        else:
            more = _NO_MORE  # as of most events
        return f'{self._prefix}{{"index": {index}, "text": {json.dumps(text)}, {more}]{self._suffix}'

    def end(self) -> str:
        """The end of a stream."""
        usage, last = self._close(), ""
        if self._with_usage:
            last = "data: " + json.dumps({**self._head(), "choices": [], "usage": usage.model_dump()}) + "\n\n"
        return last + "data: [DONE]\n\n"

    @cached_property
    def prompt_tokens(self) -> int:
        """The tokens of all prompts."""
        return sum(map(self._job.prompt_tokens, range(0, len(self._job.rows), self._body.written)))

    def _close(self) -> Usage:
        """Log how the texts ended; returns the tokens of the request."""
        prompts, written = self.prompt_tokens, sum(len(row.ids) for row in self._job.rows) if self._writes else 0
        self.log |= {"prompt_tokens": prompts, "completion_tokens": written}
        self.log["finish"] = [str(row.finish_reason) if self._writes else "length" for row in self._job.rows]
        return Usage(prompt_tokens=prompts, completion_tokens=written, total_tokens=prompts + written)

    def _text(self, index: int) -> str:
        prompt = self._job.request.prompts[index] if self._body.echo else ""
        return prompt + (self._job.rows[index].text + self._stop_text(index) if self._writes else "")

    def _stop_text(self, index: int) -> str:
        row = self._job.rows[index]
        return row.stop_text if self._body.include_stop_str_in_output and self._writes else ""

    def _reasons(self, index: int) -> tuple[Any, str | None]:
        """Why a row ended, in OpenAI's words, and by which stop text."""
        row = self._job.rows[index]
        if not self._writes or row.finish_reason == "length":
            return "length", None
        return "stop", row.stop_text if row.finish_reason == "stop" else None

    def _details(self, index: int) -> ChoiceDetails:
        continuation = None
        if self._body.return_continuation and self._writes:
            continuation = self._seal.seal(self._run.pack(self._job, index))
        unknown = [UnknownPiece(**asdict(piece)) for piece in self._job.unknown(index)[:MOST_UNKNOWN]]
        return ChoiceDetails(row=self._job.rows[index].seed, unknown=unknown, continuation=continuation)

    def _logprobs(self, index: int, characters: int, *, is_last: bool) -> Logprobs:
        """Those of the tokens of some characters that have not been sent yet; the last ones may have no text."""
        has_ended = is_last and self._job.rows[index].finish_reason == "eos"
        return self.scorers[index].take(None if has_ended else characters)
