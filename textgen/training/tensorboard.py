"""Scalars in the files that TensorBoard reads, written without TensorFlow.

A file is a sequence of records: length (uint64), its checksum, data, its checksum (uint32 each), all little-endian. The
data are protocol buffers of the type ``Event``; see TensorFlow's ``core/util/event.proto``, ``lib/io/record_writer.h``.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path


class EventLog:
    """A new file of scalars.

    Args:
        folder: where it goes; made where it is missing. A folder may have several, which are read as one.

    Raises:
        OSError: where it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time_ns() // 10**9}.{socket.gethostname()}.{os.getpid()}"
        self._file = (folder / name).open("ab")
        self._append(_message(3, b"brain.Event:2"))

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Add points to curves.

        Args:
            step: batches done, where the points stand.
            scalars: values by the names of their curves, which group by what stands before a ``/``.
        """
        values = [_message(1, name.encode()) + b"\x15" + struct.pack("<f", value) for name, value in scalars.items()]
        self._append(b"\x10" + _varint(step) + _message(5, b"".join(_message(1, value) for value in values)))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _append(self, event: bytes) -> None:
        data = b"\x09" + struct.pack("<d", time.time()) + event
        length = struct.pack("<Q", len(data))
        self._file.write(length + _checksum(length) + data + _checksum(data))
        self._file.flush()


def _message(field: int, content: bytes) -> bytes:
    return bytes([field << 3 | 2]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    parts = []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


def _checksum(data: bytes) -> bytes:
    """CRC-32C (Castagnoli), masked as such files have it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 255]
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _row(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ 0x82F63B78 * (value & 1)
    return value


_TABLE = [_row(byte) for byte in range(256)]
