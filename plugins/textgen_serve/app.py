"""The ASGI application: its routes, their document, and the shape of every answer that is not a success."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from importlib.resources import files
from pathlib import PurePath
from time import perf_counter
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import textgen
from textgen.errors import suggestion
from textgen_serve.completions import Completions, Limits
from textgen_serve.doors import Doors, Origins, read_content
from textgen_serve.metrics import Metrics, log, log_error
from textgen_serve.protocol import answers, requests
from textgen_serve.protocol.errors import ErrorAnswer, RequestError
from textgen_serve.seal import Seal
from textgen_serve.served_run import ServedRun, failure
from textgen_serve.writing.in_flight import Desk
from textgen_serve.writing.scoring import next_tokens

BodyT = TypeVar("BodyT", bound=requests.Body)

#: Paths that need no key: whether the server is up is not a secret.
HEALTH, METRICS, OPENAPI = "/health", "/metrics", "/openapi.json"

#: The status in the log if a client left before its answer began.
LEFT = 499

#: Types of the page's files: those that the machine knows may differ.
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}

#: What a page of ours may do: nothing but ask this server.
_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

#: Paths of OpenAI that clients of chat models ask for.
_CHAT = ("/v1/chat/completions", "/v1/responses")


class Answered(NamedTuple):
    """A path of the document.

    Attributes:
        method: of HTTP, in lower case.
        path: with its parameters in braces.
        summary: what it is for.
        body: of the request, if it has one.
        answer: the body of a success.
        statuses: of the errors that it may answer with, besides those of all paths.
        by_model: whether the model is named in the query.
    """

    method: str
    path: str
    summary: str
    body: type[BaseModel] | None
    answer: type[BaseModel] | None
    statuses: tuple[int, ...] = ()
    by_model: bool = False


_WITH_BODY = (400, 404, 408, 413, 415)

_DOCUMENTED = (
    Answered(
        "post",
        "/v1/completions",
        "Write texts.",
        requests.CompletionRequest,
        answers.Completion,
        (*_WITH_BODY, 429, 500, 503, 504),
    ),
    Answered("get", "/v1/models", "List the models.", None, answers.Models),
    Answered("get", "/v1/models/{model}", "Describe a model.", None, answers.Model, (404,)),
    Answered(
        "post",
        "/next",
        "The likeliest tokens after a text.",
        requests.NextRequest,
        answers.NextTokens,
        (*_WITH_BODY, 500, 503),
    ),
    Answered("post", "/tokenize", "Turn a text into token ids.", requests.TokenizeRequest, answers.Tokens, _WITH_BODY),
    Answered(
        "post", "/detokenize", "Turn token ids into text.", requests.DetokenizeRequest, answers.Detokenized, _WITH_BODY
    ),
    Answered(
        "get", "/tokenizer_info", "Describe the tokenizer of a model.", None, answers.TokenizerInfo, (400, 404), True
    ),
    Answered("get", HEALTH, "Whether the server can write.", None, answers.Health, (503,)),
    Answered("get", METRICS, "Metrics in the text format of Prometheus.", None, None),
)


class App:
    """The server's application.

    Args:
        runs: in order; the first is the default.
        desk: where texts are written.
        metrics: to keep.
        seal: of continuations.
        limits: of a request.
        keys: of which a client must have one; none if every client may come in.
        hosts: that the Host header may name; none for any.
        origins: of the pages that may ask.
        open_metrics: whether the metrics need no key.
        logs: whether each request is logged.
    """

    def __init__(
        self,
        runs: Sequence[ServedRun],
        desk: Desk,
        metrics: Metrics,
        seal: Seal,
        limits: Limits,
        *,
        keys: Collection[str] = (),
        hosts: Collection[str] = (),
        origins: Collection[str] = (),
        open_metrics: bool = False,
        logs: bool = True,
    ) -> None:
        self._runs = {run.name: run for run in runs}
        self._first = runs[0]
        self._desk = desk
        self._metrics = metrics
        self._limits = limits
        self._logs = logs
        self._document = document()
        page = read_page()
        routes = Router(
            [
                Route("/v1/completions", Completions(self._find, desk, seal, metrics, limits), methods=["POST"]),
                Route("/v1/models", self._models),
                Route("/v1/models/{model:path}", self._model),
                Route("/next", self._next, methods=["POST"]),
                Route("/tokenize", self._tokenize, methods=["POST"]),
                Route("/detokenize", self._detokenize, methods=["POST"]),
                Route("/tokenizer_info", self._tokenizer_info),
                Route(HEALTH, self._health),
                Route(METRICS, self._show_metrics),
                Route(OPENAPI, self._openapi),
                *(Route(path, _file(*found)) for path, found in page.items()),
            ],
            redirect_slashes=False,
        )
        open_paths = [HEALTH, OPENAPI, *page, *([METRICS] if open_metrics else [])]
        self._behind_doors: ASGIApp = Doors(
            routes, keys=keys, open_paths=open_paths, hosts=hosts, probed_paths=[HEALTH]
        )
        self._inside: ASGIApp = Origins(self._answer, origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self  # Starlette then raises its errors instead of answering them
        began = perf_counter()

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                scope["textgen.status"] = message["status"]
            await send(message)

        try:
            await self._inside(scope, receive, watched)
        finally:
            if self._logs:
                seconds, status = round(perf_counter() - began, 6), scope.get("textgen.status", LEFT)
                client = scope["client"][0] if scope["client"] else None
                about = {"method": scope["method"], "path": scope["path"][:200], "status": status, "seconds": seconds}
                log("request", client=client, **about, **scope.get("textgen.log", {}))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; an error in its own shape, unless an answer has begun."""
        try:
            await self._behind_doors(scope, receive, send)
        except ConnectionError:  # the client has left
            pass
        except Exception as error:
            refused = _refusal(error, scope)
            if "textgen.status" not in scope:
                await JSONResponse(refused.body, refused.status, refused.headers)(scope, receive, send)

    def _find(self, name: str | None) -> ServedRun:
        """A run by its name, by default the first."""
        run = self._first if name is None else self._runs.get(name)
        if run is None:
            there = suggestion(str(name), self._runs)
            raise RequestError(
                404, f"there is no model {str(name)[:100]!r}; {there}", param="model", code="model_not_found"
            )
        return run

    async def _body(self, request: Request, kind: type[BodyT]) -> BodyT:
        limits = self._limits
        content = await read_content(request.scope, request.receive, limit=limits.body, seconds=limits.seconds)
        return requests.read_body(kind, content, strict=limits.is_strict)

    async def _models(self, request: Request) -> Response:
        return _success(answers.Models(data=[run.about() for run in self._runs.values()]))

    async def _model(self, request: Request) -> Response:
        return _success(self._find(request.path_params["model"]).about())

    async def _next(self, request: Request) -> Response:
        body = await self._body(request, requests.NextRequest)
        run = self._find(body.model)
        with self._desk.place(run, 1):
            ids = [*run.start(body.label), *run.encode(body.prompt, body.on_unknown)]
            try:
                found = await self._desk.engine.run(next_tokens(run.generator, ids))
            except Exception as error:
                raise failure(error) from None
        return _success(answers.NextTokens(model=run.name, choices=found))

    async def _tokenize(self, request: Request) -> Response:
        body = await self._body(request, requests.TokenizeRequest)
        tokens = self._find(body.model).encode(body.prompt, body.on_unknown)
        return _success(answers.Tokens(tokens=tokens, count=len(tokens), max_model_len=requests.LONGEST_PROMPT))

    async def _detokenize(self, request: Request) -> Response:
        body = await self._body(request, requests.DetokenizeRequest)
        return _success(answers.Detokenized(prompt=self._find(body.model).decode(body.tokens, "tokens")))

    async def _tokenizer_info(self, request: Request) -> Response:
        model = request.query_params.get("model")
        if model is None and len(self._runs) > 1:
            there = ", ".join(self._runs)
            raise RequestError(
                400, f"say which model, as in /tokenizer_info?model=NAME; there are: {there}", param="model"
            )
        return _success(self._find(model).tokenizer_info())

    async def _health(self, request: Request) -> Response:
        if self._desk.closed:
            raise self._desk.closed
        return _success(answers.Health(models=[*self._runs], default_length=self._first.default_length))

    async def _show_metrics(self, request: Request) -> Response:
        return Response(self._metrics.show(self._desk.refresh), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def _openapi(self, request: Request) -> Response:
        return JSONResponse(self._document)


def _success(body: BaseModel) -> Response:
    return Response(body.model_dump_json(), media_type="application/json")


def _refusal(error: Exception, scope: Scope) -> RequestError:
    """What a client is told of an error."""
    if isinstance(error, RequestError):
        return error
    if not isinstance(error, HTTPException):
        log_error(error)
        return RequestError(500, "the server has made a mistake; its log says which", "server_error")
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        return RequestError(405, f"use {allowed or 'another method'}", code="method_not_allowed", headers=error.headers)
    if scope["path"] in _CHAT:
        return RequestError(404, "this model continues text; use /v1/completions", code="no_chat")
    return RequestError(404, "there is nothing here; see /openapi.json", code="not_found")


def read_page() -> dict[str, tuple[bytes, str]]:
    """The files of the page by path, with their types: those of any page of textgen, and the engine of this one."""
    found = {"/page/engine.js": ((files("textgen_serve") / "page" / "server_engine.js").read_bytes(), _TYPES[".js"])}
    for file in (files("textgen") / "page").iterdir():
        kind = _TYPES.get(PurePath(file.name).suffix)
        if kind is not None:
            found["/" if file.name == "index.html" else f"/page/{file.name}"] = file.read_bytes(), kind
    return found


def _file(content: bytes, kind: str) -> Callable[[Request], Any]:
    headers = {
        "Content-Security-Policy": _CONTENT_SECURITY_POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }

    async def answer(request: Request) -> Response:
        return Response(content, headers=headers, media_type=kind)

    return answer


def document() -> Mapping[str, Any]:
    """The OpenAPI document (version 3.1), from the models of bodies and answers."""
    kinds = [kind for each in _DOCUMENTED for kind in (each.body, each.answer) if kind] + [ErrorAnswer]
    _, schemas = models_json_schema(
        [(kind, "validation") for kind in dict.fromkeys(kinds)], ref_template="#/components/schemas/{model}"
    )
    paths: dict[str, dict[str, Any]] = {}
    for each in _DOCUMENTED:
        paths.setdefault(each.path, {})[each.method] = _operation(each)
    return {
        "openapi": "3.1.0",
        "info": {"title": "textgen", "version": textgen.__version__},
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
        "paths": paths,
    }


def _operation(each: Answered) -> dict[str, Any]:
    """An operation of the document."""
    success: dict[str, Any] = {"text/plain": {"schema": {"type": "string"}}}
    if each.answer:
        success = _json(each.answer)
    if each.body is requests.CompletionRequest:
        about = "A Completion as JSON, or an ErrorAnswer, which is the last one; at the end [DONE]."
        data = {"type": "string", "description": about}
        event = {"type": "object", "required": ["data"], "properties": {"data": data}}
        success["text/event-stream"] = {"schema": event}
    statuses = (401, 403, *each.statuses)
    found: dict[str, Any] = {
        "summary": each.summary,
        "responses": {
            "200": {"description": "Success.", "content": success},
            **{str(status): {"description": "Error.", "content": _json(ErrorAnswer)} for status in statuses},
        },
    }
    if each.body:
        found["requestBody"] = {"required": True, "content": _json(each.body)}
    if each.by_model or "{model}" in each.path:
        place = {"in": "query"} if each.by_model else {"in": "path", "required": True}
        found["parameters"] = [{"name": "model", **place, "schema": {"type": "string"}}]
    return found


def _json(kind: type[BaseModel]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{kind.__name__}"}}}
