"""What is let in: keys, hosts, origins, sizes of bodies."""

from __future__ import annotations

import asyncio
import hmac
import re
from collections.abc import Collection, Iterable, Sequence
from hashlib import sha256

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from textgen_serve.protocol.errors import RequestError

#: Hosts that mean this machine, in a browser or another client on it.
LOOPBACK = ("localhost", "127.0.0.1", "::1")

#: The methods that a page of another origin may use.
_METHODS = "GET, POST"

#: Seconds for which a browser remembers the answer to a preflight request.
_REMEMBERED = 600

#: Seconds in which the body of a request must have come, at most.
BODY_SECONDS = 30.0

#: A Host header; a name of a host, and an address of IP version 6, in it.
_HOST = re.compile(r"(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<name>[^:\[\]]*))(?::[0-9]*)?")
_NAME, _ADDRESS = re.compile(r"[A-Za-z0-9_.-]+"), re.compile(r"[0-9a-fA-F.]*:[0-9a-fA-F:.]*")


class Origins:
    """Lets pages of other origins read the answers (CORS); pure ASGI, so that the application sees clients leave.

    Args:
        app: that answers.
        origins: whose pages may ask: ``"*"`` for all, ``"localhost"`` for those of this machine.
    """

    def __init__(self, app: ASGIApp, origins: Collection[str] = ()) -> None:
        self._app = app
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        if origin is not None and self._allows(origin.lower()):
            send = _with_origin(send, origin)
            if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
                await _preflight(headers)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _allows(self, origin: str) -> bool:
        if "*" in self._origins or origin in self._origins:
            return True
        _, separator, host = origin.partition("://")
        return "localhost" in self._origins and bool(separator) and _hostname(host) in LOOPBACK


class Doors:
    """Lets requests in that may come in; pure ASGI as well.

    Args:
        app: behind the doors.
        keys: any of which opens; none if every client may come in.
        open_paths: that need no key.
        hosts: that the Host header may name; none for any.
        probed_paths: that are answered whatever the Host header names, for probes that call by address.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: Iterable[str] = (),
        open_paths: Collection[str] = (),
        hosts: Collection[str] = (),
        probed_paths: Collection[str] = (),
    ) -> None:
        self._app = app
        self._digests = [sha256(key.encode()).digest() for key in keys]
        self._open_paths = frozenset(open_paths)
        self._hosts = frozenset(host.lower() for host in hosts)
        self._probed_paths = frozenset(probed_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        named = headers.getlist("host")
        if len(named) > 1:  # RFC 9112, 3.2: what stands before this server may have read another one
            raise RequestError(400, "the request has several Host headers; send one", code="bad_http")
        if self._hosts and scope["path"] not in self._probed_paths:
            self._check_host("".join(named))
        if self._digests and scope["path"] not in self._open_paths:
            self._check_keys(_keys_of(headers))
        await self._app(scope, receive, send)

    def _check_host(self, given: str) -> None:
        host = _hostname(given)
        if host not in self._hosts:
            allow = f"the host {host!r} is not allowed; start the server with --allowed-host {host}"
            message = allow if is_host(host) else f"the Host header {given[:100]!r} names no host"
            raise RequestError(403, message, code="host_not_allowed")

    def _check_keys(self, given: Sequence[str]) -> None:
        digests = [sha256(key.encode("latin-1", "replace")).digest() for key in given]
        # All are compared, in constant time: how long it takes says nothing about them.
        if not any([hmac.compare_digest(one, other) for one in digests for other in self._digests]):  # noqa: C419
            raise RequestError(
                401,
                "this API key is not one of the server's" if given else "give an API key: Authorization: Bearer KEY",
                "authentication_error",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )


def is_host(text: str) -> bool:
    """Whether a text is a host as the Host header may name it: a name in ASCII, or an address, without a port."""
    return _NAME.fullmatch(text) is not None or _ADDRESS.fullmatch(text) is not None


def _keys_of(headers: Headers) -> list[str]:
    """The keys that a request brings, in either header."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return [each for each in (key.strip() if scheme.lower() == "bearer" else "", headers.get("x-api-key", "")) if each]


def _hostname(host: str) -> str:
    """The host of a Host header, without its port; empty if it is none."""
    match = _HOST.fullmatch(host.lower())
    return "" if match is None else match["six"] or match["name"] or ""


def _preflight(headers: Headers) -> Response:
    """The answer to a browser that asks what a page may send: any header, since clients send many of their own."""
    asked = headers.get("access-control-request-headers")
    allowed = {"Access-Control-Allow-Headers": asked} if asked else {}
    methods = {"Access-Control-Allow-Methods": _METHODS, "Access-Control-Max-Age": str(_REMEMBERED)}
    return Response(status_code=204, headers=methods | allowed)


def _with_origin(send: Send, origin: str) -> Send:
    """A ``send`` that lets the pages of an origin read the answer."""

    async def allowing(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = "Retry-After"
            headers.add_vary_header("Origin")
        await send(message)

    return allowing


async def read_content(scope: Scope, receive: Receive, *, limit: int, seconds: float) -> bytes:
    """The body of a request, which must be JSON.

    Args:
        scope: of the request.
        receive: of the request.
        limit: the most bytes; no more are read.
        seconds: that it may take, but no more than :data:`BODY_SECONDS`.

    Raises:
        RequestError: if it is not said to be JSON, has more bytes, or takes longer.
        ConnectionError: if the client has left.
    """
    headers = Headers(scope=scope)
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    # A page of another origin can send any other type without asking.
    if kind != "application/json" and not kind.endswith("+json"):
        raise RequestError(415, "send JSON, with the header Content-Type: application/json", code="unsupported_type")
    too_large = RequestError(
        413, f"the body has more than {limit:,} bytes", code="too_large", headers={"Connection": "close"}
    )
    announced = headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise too_large
    seconds = min(seconds, BODY_SECONDS)
    content = bytearray()
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ConnectionError
                content += message.get("body", b"")
                if len(content) > limit:
                    raise too_large
                if not message.get("more_body"):
                    return bytes(content)
    except TimeoutError:
        slow = f"the body took longer than {seconds:g} seconds"
        raise RequestError(408, slow, "timeout_error", code="slow_body", headers={"Connection": "close"}) from None
