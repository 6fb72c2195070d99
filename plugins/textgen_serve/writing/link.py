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

    Attributes:
        lost: done when the other end is closed; raises what ``take`` raised, if that ended it. Cancelled by
            :meth:`close`.
    """

    def __init__(self, take: Callable[[Any], None]) -> None:
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._take = take
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
        self.lost.cancel()
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # That of another event loop, such as uvloop, need not be a subclass.
        self._transport = cast(asyncio.WriteTransport, transport)
        if self.lost.cancelled():
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
        if self.lost.done():
            return
        if error is None or isinstance(error, OSError):
            self.lost.set_result(None)
        else:
            self.lost.set_exception(error)


def _packed(message: object) -> bytes:
    content = pickle.dumps(message)
    return len(content).to_bytes(_HEAD) + content
