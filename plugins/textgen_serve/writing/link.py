"""Messages between the server and a worker: pickled, each after its length, over a pair of sockets.

The worker waits for a message. The server takes messages in its event loop: a thread that waited for them would then
wait for its turn in Python, some milliseconds at times.
"""

from __future__ import annotations

import asyncio
import pickle
import socket
from collections.abc import Callable
from selectors import EVENT_READ, DefaultSelector
from typing import Any, cast

#: Bytes of the length of a message.
_HEAD = 8


class Link:
    """The end of a pair that waits: that of the worker, and of the server until it has an event loop.

    Args:
        end: the socket.
    """

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._selector = DefaultSelector()
        self._selector.register(end, EVENT_READ)

    def send(self, message: object) -> None:
        """Send a message.

        Raises:
            OSError: if the other end is closed.
        """
        self._socket.sendall(_packed(message))

    def receive(self) -> Any:
        """Wait for a message.

        Raises:
            EOFError: if the other end is closed.
            OSError: likewise.
        """
        return pickle.loads(self._read(int.from_bytes(self._read(_HEAD))))

    @property
    def has_message(self) -> bool:
        """Whether a message has come, or is about to."""
        return bool(self._selector.select(0))

    def _read(self, count: int) -> bytes:
        found = bytearray()
        while len(found) < count:
            part = self._socket.recv(count - len(found))
            if not part:
                raise EOFError
            found += part
        return bytes(found)


class AsyncLink(asyncio.Protocol):
    """The end of a pair in the event loop of the server.

    Args:
        take: called with each message.
        lose: called when the other end is closed, but not after :meth:`close`; with what ``take`` raised, if anything.
    """

    def __init__(self, take: Callable[[Any], None], lose: Callable[[Exception | None], None]) -> None:
        self._take = take
        self._lose: Callable[[Exception | None], None] | None = lose
        self._received = bytearray()
        self._early = bytearray()  # what was sent before the event loop had the socket
        self._transport: asyncio.WriteTransport | None = None

    def send(self, message: object) -> None:
        """Send a message; nothing happens if the other end is closed."""
        if self._transport is None:
            self._early += _packed(message)
        else:
            self._transport.write(_packed(message))

    def close(self) -> None:
        """Take and send no more."""
        self._lose = None
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # which is not its base class in every event loop
        if self._lose is None:
            self._transport.abort()
        elif self._early:
            self._transport.write(bytes(self._early))

    def data_received(self, data: bytes) -> None:
        self._received += data
        while len(self._received) >= _HEAD:
            end = _HEAD + int.from_bytes(self._received[:_HEAD])
            if len(self._received) < end:
                return
            message = pickle.loads(self._received[_HEAD:end])
            del self._received[:end]
            self._take(message)

    def connection_lost(self, error: Exception | None) -> None:
        if self._lose is not None:
            self._lose(None if isinstance(error, OSError) else error)


def _packed(message: object) -> bytes:
    content = pickle.dumps(message)
    return len(content).to_bytes(_HEAD) + content
