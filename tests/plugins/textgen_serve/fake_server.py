"""A server that answers as a test tells it, with the files of the real page."""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from tests.conftest import ROOT

PAGE = ROOT / "textgen" / "page"
ENGINE = ROOT / "plugins" / "textgen_serve" / "page" / "server_engine.js"

#: A stream ends here without its end, or waits until the test lets it go on.
BREAK, WAIT = "break", "wait"


def model(name: str, **details: Any) -> dict[str, Any]:
    """An entry of GET /v1/models."""
    about = {"run": name, "vocab_size": 4, "cell": "gru", "units": [8], "precision": "fp32", "default_length": 30}
    return {"id": name, "textgen": about | {"chain": "temperature(0.8) | multinomial"} | details}


class FakeServer:
    """What the server answers, and what it was asked.

    Attributes:
        models: of GET /v1/models.
        next: of POST /next: texts, their log-probabilities, and whether they are the end.
        scores: log-probabilities of characters of a prompt, -1 of others.
        unknown: what the model does not know of a prompt, as answers have it.
        stream: what POST /v1/completions sends, in order: (index, text), (index, finish reason, stop reason), an error,
            ``BREAK`` or ``WAIT``.
        refusal: a status, headers and an error with which everything but GET /v1/models is answered; ``None`` for none.
        key: that every request needs, if any.
        asked: path and body of each request, in order.
        go: set to let a stream that waits go on.
        left: set when the client left a stream.
    """

    def __init__(self) -> None:
        self.models = [model("fake")]
        self.next = [("a", -0.5, False), ("b", -1.5, False), ("\n", -2.5, False), ("", -3.0, True)]
        self.scores: dict[str, float] = {}
        self.unknown: list[dict[str, Any]] = []
        self.stream: list[Any] = [(0, "ab"), (0, "length", None)]
        self.refusal: tuple[int, dict[str, str], dict[str, str]] | None = None
        self.key: str | None = None
        self.asked: list[tuple[str, Any]] = []
        self.go, self.left = threading.Event(), threading.Event()
        self.url = ""
        self.app = Starlette(
            routes=[
                Route("/", lambda request: FileResponse(PAGE / "index.html")),
                Route("/page/engine.js", lambda request: FileResponse(ENGINE)),
                Mount("/page", StaticFiles(directory=PAGE)),
                Route("/v1/models", self._answer),
                Route("/v1/completions", self._answer, methods=["POST"]),
                Route("/next", self._answer, methods=["POST"]),
            ]
        )

    def bodies(self, path: str) -> list[Any]:
        """The bodies of the requests to a path, in order."""
        return [body for asked, body in self.asked if asked == path]

    @property
    def written(self) -> list[Any]:
        """The requests for texts, in order."""
        return [body for body in self.bodies("/v1/completions") if not body.get("echo")]

    async def _answer(self, request: Request) -> Response:
        path = request.url.path
        body: Any = await request.json() if request.method == "POST" else None
        self.asked.append((path, body))
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            return JSONResponse({"error": {"message": "the API key is missing or wrong"}}, 401)
        if path == "/v1/models":
            return JSONResponse({"object": "list", "data": self.models})
        if self.refusal:
            status, headers, error = self.refusal
            return JSONResponse({"error": error}, status, headers)
        if path == "/next":
            names = ("text", "logprob", "is_end")
            return JSONResponse({"choices": [dict(zip(names, choice, strict=True)) for choice in self.next]})
        if body.get("echo"):
            tokens = list(body["prompt"])
            scores = [None, *(self.scores.get(token, -1.0) for token in tokens[1:])]
            logprobs = {"tokens": tokens, "token_logprobs": scores}
            return JSONResponse({"choices": [{"logprobs": logprobs, "textgen": {"unknown": self.unknown}}]})
        return StreamingResponse(self._send(), media_type="text/event-stream; charset=utf-8")

    async def _send(self) -> AsyncIterator[str]:
        try:
            yield ": ping\n\n"
            for step in self.stream:
                if step == BREAK:
                    return
                if step == WAIT:
                    while not self.go.is_set():
                        await asyncio.sleep(0.01)
                elif isinstance(step, dict):
                    yield f"data: {json.dumps(step)}\n\n"
                else:
                    index, text, *stop = step
                    ended: dict[str, Any] = {}
                    if stop:
                        details = {"unknown": self.unknown}
                        ended = {"finish_reason": text, "stop_reason": stop[0], "text": "", "textgen": details}
                    choice = {"index": index, "text": text, "finish_reason": None, "stop_reason": None} | ended
                    yield f"data: {json.dumps({'choices': [choice]})}\n\n"
            yield "data: [DONE]\n\n"
        except asyncio.CancelledError:
            self.left.set()
            raise


@contextmanager
def running(fake: FakeServer) -> Iterator[FakeServer]:
    """Serve on a free port of loopback; ``fake.url`` is the address of the page."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(fake.app, log_level="critical", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        fake.url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        try:
            yield fake
        finally:
            fake.go.set()
            server.should_exit = True
            thread.join()
