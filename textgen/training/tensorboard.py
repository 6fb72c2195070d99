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

from textgen.files.writing import inside
from textgen.model.fitting import Position
from textgen.runs.artifact import Artifact
from textgen.training.display import Display
from textgen.training.plan import Plan


class EventLog:
    """A new file of scalars.

    Args:
        folder: its folder, which is made if it is missing. A folder may have several files, which are read as one.

    Raises:
        OSError: if it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time_ns() // 10**9}.{socket.gethostname()}.{os.getpid()}"
        self._file = (folder / name).open("ab")
        self._append(_message(3, b"brain.Event:2"))

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Adds points to curves.

        Args:
            step: batches done: the horizontal position of the points.
            scalars: values by the names of their curves, which are grouped by the part before a ``/``.
        """
        values = [_message(1, name.encode()) + b"\x15" + struct.pack("<f", value) for name, value in scalars.items()]
        self._append(b"\x10" + _varint(step) + _message(5, b"".join(_message(1, value) for value in values)))

    def close(self) -> None:
        """Closes the file."""
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
    """CRC-32C (Castagnoli), masked as these files require."""
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


#: Batches between two points that TensorBoard shows.
EVENTS_EVERY = 10


class TensorBoardDisplay(Display):
    """Writes the figures for TensorBoard to ``tensorboard/`` in the run's folder.

    Args:
        display: shows everything as well.
    """

    def __init__(self, display: Display) -> None:
        self._display = display
        self._log: EventLog | None = None

    def started(self, plan: Plan, folder: Path, position: Position) -> None:
        """Notes the folder, which the run makes once it can train."""
        self._folder = inside(folder, "tensorboard")
        self._display.started(plan, folder, position)

    def batch(self, position: Position, loss: float, characters_per_second: float, learning_rate: float | None) -> None:
        """Writes every :data:`EVENTS_EVERY` batches."""
        self._display.batch(position, loss, characters_per_second, learning_rate)
        if position.total % EVENTS_EVERY == 0:
            figures = {"loss": loss, "characters_per_second": characters_per_second, "learning_rate": learning_rate}
            self._write(position.total, {f"batch/{name}": v for name, v in figures.items() if v is not None})

    def epoch(self, record: Mapping[str, float], sample: str | None) -> None:
        """Writes the epoch's figures."""
        self._display.epoch(record, sample)
        figures = {f"epoch/{name}": value for name, value in record.items() if name not in ("epoch", "step")}
        self._write(int(record["step"]), figures)

    def _write(self, step: int, figures: Mapping[str, float]) -> None:
        if self._log is None:
            self._log = EventLog(self._folder)
        self._log.write(step, figures)

    def ended(self, artifact: Artifact, *, lost_patience: bool) -> None:
        """Closes the file."""
        if self._log is not None:
            self._log.close()
        self._display.ended(artifact, lost_patience=lost_patience)
