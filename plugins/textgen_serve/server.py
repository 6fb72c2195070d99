"""The process: its socket, its signals, connections that say nothing, and how it ends."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from textgen.errors import OptionError
from textgen_serve.metrics import log, log_error
from textgen_serve.protocol.errors import RequestError, unavailable
from textgen_serve.writing.in_flight import Desk

#: Seconds in which a client must have sent the head of a request, and its most bytes.
HEAD_SECONDS, MOST_HEAD = 30.0, 65_536

#: Seconds after which a connection without requests is closed: longer than clients keep theirs.
KEEP_ALIVE = 75

#: Seconds that answers may take to leave once nothing is written any more.
LAST_SECONDS = 1


def bind(host: str, port: int) -> socket.socket:
    """A socket with an address, which does not listen yet.

    Raises:
        OptionError: if the address is in use, is not one of this machine's, or may not be used.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, protocol)
    except OSError as error:
        raise OptionError(f"there is no host {host}: {error.strerror}; give another --host") from None
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind(address)
    except OSError as error:
        found.close()
        raise _refused(host, port, error) from None
    return found


def _refused(host: str, port: int, error: OSError) -> OptionError:
    """The error if one cannot listen at an address."""
    what = (error.strerror or str(error)).lower()
    return OptionError(f"cannot listen on {host} port {port}: {what}; give another --host or --port")


def address_of(bound: socket.socket) -> str:
    """The address at which a client reaches a socket, as a URL."""
    host, port = bound.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}"


class Server(uvicorn.Server):
    """Serves until it gets a signal, or the engine dies.

    Args:
        make: makes the application, in the event loop.
        bound: the socket.
        seconds: that requests may take to end after SIGTERM.
        ready: called when the server listens.
    """

    def __init__(
        self,
        make: Callable[[], tuple[Desk, ASGIApp]],
        bound: socket.socket,
        *,
        seconds: float,
        ready: Callable[[], None],
    ) -> None:
        logging.getLogger("uvicorn").setLevel(logging.CRITICAL)  # the application logs its own errors
        super().__init__(
            uvicorn.Config(
                self._answer,
                http=_protocol(),
                interface="asgi3",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE,
                timeout_graceful_shutdown=LAST_SECONDS,
            )
        )
        self._make = make
        self._bound = bound
        self._seconds = seconds
        self._ready = ready
        self._signals: list[int] = []
        self._desk: Desk | None = None
        self._app: ASGIApp | None = None

    def serve_until_told(self) -> int:
        """Serve; returns the exit code: 0 after SIGTERM, 130 after Ctrl-C, 129 after SIGHUP, 1 if the engine died."""
        self.run(sockets=[self._bound])
        assert self._desk is not None
        if self._desk.died is not None:
            return 1
        hurried = next((number for number in self._signals if number != signal.SIGTERM), None)
        return 128 + hurried if hurried else 0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._desk, self._app = self._make()
        try:
            await super().startup(sockets)
        except OSError as error:  # another server has the address, which was free when the socket was bound
            host, port = self._bound.getsockname()[:2]
            raise _refused(host, port, error) from None
        self._ready()

    async def on_tick(self, counter: int) -> bool:
        assert self._desk is not None
        return await super().on_tick(counter) or self._desk.died is not None

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let no more requests in, let those that are written end, then close."""
        desk = self._desk
        assert desk is not None
        if desk.died is not None:
            log_error(desk.died)
        else:
            desk.closed = unavailable("the server is shutting down", "shutting_down")
            log("shutting down", requests=desk.count)
            is_patient = set(self._signals) <= {signal.SIGTERM}
            ending = asyncio.create_task(desk.drained(self._seconds if is_patient else 0))
            while not ending.done():
                await asyncio.wait({ending}, timeout=0.1)
                if len(self._signals) > 1:  # someone is in a hurry
                    ending.cancel()
                    await desk.drained(0)
                    break
        await super().shutdown(sockets)
        desk.stop()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        handled = [signal.SIGINT, signal.SIGTERM]
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as under nohup
            handled.append(signal.SIGHUP)
        former = {number: signal.signal(number, self.handle_exit) for number in handled}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._signals.append(sig)
        self.should_exit = True

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        assert self._app is not None
        await self._app(scope, receive, send)


def _protocol() -> type[asyncio.Protocol]:
    """The HTTP protocol of uvicorn that is installed, with an end to its patience, and our shape of errors."""
    base: Any
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as base  # noqa: N813
    except ImportError:
        from uvicorn.protocols.http.h11_impl import H11Protocol as base  # noqa: N813

    class Patient(base):  # type: ignore[misc]  # whichever it is
        """Ends connections that do not send the head of a request in time, or one without end."""

        _waiting: asyncio.TimerHandle | None = None
        _received = 0

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._wait()

        def data_received(self, data: bytes) -> None:
            if self._waiting is None and self._is_idle():
                self._wait()
            before = self.cycle
            super().data_received(data)
            if self.cycle is not before or not self._is_idle():
                self._stop_waiting()
            elif self._waiting is not None:
                self._received += len(data)
                if self._received > MOST_HEAD:
                    self._refuse(RequestError(431, "the head of the request is too long", code="head_too_long"))

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(exc)

        def send_400_response(self, msg: str) -> None:
            self._refuse(RequestError(400, "this is not HTTP", code="bad_http"))

        def _is_idle(self) -> bool:
            return self.cycle is None or self.cycle.response_complete

        def _wait(self) -> None:
            self._received = 0
            self._waiting = self.loop.call_later(HEAD_SECONDS, self._give_up)

        def _stop_waiting(self) -> None:
            if self._waiting is not None:
                self._waiting.cancel()
                self._waiting = None

        def _give_up(self) -> None:
            self._waiting = None
            if self._is_idle():
                slow = f"the head of the request took longer than {HEAD_SECONDS:g} seconds"
                self._refuse(RequestError(408, slow, "timeout_error", code="slow_head"))

        def _refuse(self, error: RequestError) -> None:
            if self.transport.is_closing():
                return
            self._stop_waiting()
            body = json.dumps(error.body).encode()
            head = f"HTTP/1.1 {error.status} Error\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
            self.transport.write(head.encode() + b"connection: close\r\n\r\n" + body)
            self.transport.close()

    return Patient
