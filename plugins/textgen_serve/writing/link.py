"""Messages between the server and a worker: pickled, each after its length, over a pair of sockets.

The worker waits for a message. The server takes messages in its event loop: a thread that waited for them would then
wait for its turn in Python, some milliseconds at times.
"""

from __future__ import annotations

import asyncio
import pickle
import socket
from collections.abc import Callable
from select import select
from typing import Any

#: Bytes of the length of a message.
_HEAD = 8


class Link:
    """An end of a pair, which waits.

    Args:
        end: the socket, which this takes over.
    """

    def __init__(self, end: socket.socket) -> None:
        self.socket = end

    def send(self, message: object) -> None:
        """Send a message.

        Raises:
            OSError: if the other end is closed.
        """
        self.socket.sendall(_packed(message))

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
        return bool(select([self.socket], [], [], 0)[0])

    def _read(self, count: int) -> bytes:
        found = bytearray()
        while len(found) < count:
            part = self.socket.recv(count - len(found))
            if not part:
                raise EOFError
            found += part
        return bytes(found)


class Messages(asyncio.Protocol):
    """An end of a pair in the event loop.

    Args:
        take: called with each message.
        lose: called when the other end is closed, but not after :meth:`close`.
    """

    def __init__(self, take: Callable[[Any], None], lose: Callable[[], None]) -> None:
        self._take = take
        self._lose: Callable[[], None] | None = lose
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
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        if self._lose is None:
            transport.abort()
        elif self._early:
            transport.write(bytes(self._early))

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
            self._lose()


def _packed(message: object) -> bytes:
    content = pickle.dumps(message)
    return len(content).to_bytes(_HEAD) + content
