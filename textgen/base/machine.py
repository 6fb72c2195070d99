"""The artifact: a run's folder, self-contained, without executable code, and whole at any moment.

``textgen.json`` describes the run and holds size and SHA-256 of every other file. A file that a reader relies on
(``tokenizer.json``, the weights) is never written over while ``textgen.json`` points to it: weights are written under a
new name first, then ``textgen.json`` is replaced in one step. A run killed at any moment leaves a folder that loads.
"""

from __future__ import annotations

import os
import re
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Literal

from textgen.errors import OptionError

if TYPE_CHECKING:
    pass


def distribution_version(name: str) -> str:
    """The installed version of a distribution, or ``"unknown"``."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def usable_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parse_device(device: str) -> tuple[Literal["auto", "cpu", "cuda"], int]:
    """A request for a device taken apart: its kind, and the number of the GPU (0 where none is given).

    Raises:
        OptionError: where it is none of ``"auto"``, ``"cpu"``, ``"cuda"`` and ``"cuda:N"``.
    """
    match = re.fullmatch(r"(auto|cpu|cuda)|cuda:(\d+)", device)
    if match is None:
        raise OptionError(f"unknown device {device!r}; there are: auto, cpu, cuda, cuda:N")
    return match[1] or "cuda", int(match[2] or 0)  # type: ignore[return-value]  # the pattern has no other
