"""The machine that a result was measured on."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

#: Instruction sets that determine the speed of float and int8 products.
INSTRUCTIONS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8")

#: Bytes per unit of ``ru_maxrss``.
RESIDENT_UNIT = 1 if sys.platform == "darwin" else 1024


def describe(device: str) -> dict[str, Any]:
    """The machine, by label: CPU, usable cores, caches, load, and the GPU if it is used.

    Args:
        device: ``"cpu"`` or ``"cuda"``.
    """
    found: dict[str, Any] = {
        "CPU": _cpu_field("model name") or platform.processor() or platform.machine(),
        "cores": usable_cores(),
        "instructions": " ".join(name for name in INSTRUCTIONS if name in _cpu_field("flags").split()),
        "caches": _caches(),
        "system": platform.platform(terse=True),
    }
    if hasattr(os, "getloadavg"):
        found["load before"] = round(os.getloadavg()[0], 2)
    if device == "cuda":
        query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
        found["GPU"] = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()[0]
    return {label: value for label, value in found.items() if value != ""}


def usable_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_time(processes: Sequence[int]) -> tuple[int, int]:
    """The machine's CPU time since its start, and the part of it not used by these processes, in clock ticks.

    That part went to other processes, the kernel and, in a virtual machine, other machines. Zeros except on Linux.
    """
    path = Path("/proc/stat")
    if not path.exists():
        return 0, 0
    user, nice, system, idle, waiting, *rest = map(int, path.read_text(encoding="ascii").split()[1:9])
    used = user + nice + system + sum(rest)
    stats = [Path(f"/proc/{process}/stat").read_text(encoding="utf-8") for process in processes]
    own = sum(int(ticks) for stat in stats for ticks in stat.rpartition(")")[2].split()[11:13])
    return used + idle + waiting, used - own


def peak_memory() -> int:
    """The peak memory of this process, in bytes."""
    if Path("/proc/self/status").exists():  # unlike ru_maxrss, it excludes the memory of the parent at the start
        return memory_of("self", "VmHWM")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RESIDENT_UNIT


def memory_of(process: int | str, what: Literal["VmHWM", "VmRSS"]) -> int:
    """The peak memory of a process, or that of now, in bytes; on Linux only."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{what}:"))


def with_children(process: int) -> list[int]:
    """A process and those that it has started; on Linux only."""
    return [process, *map(int, Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii").split())]


def seconds_of(processes: Sequence[int]) -> float:
    """The CPU time that processes have used, in seconds; on Linux only."""
    stats = [Path(f"/proc/{process}/stat").read_text(encoding="utf-8") for process in processes]
    ticks = sum(int(field) for stat in stats for field in stat.rpartition(")")[2].split()[11:13])
    return ticks / os.sysconf("SC_CLK_TCK")


def versions(distributions: Sequence[str]) -> dict[str, str]:
    """The versions of Python and of those distributions that are installed."""
    found = {"Python": platform.python_version()}
    for name in distributions:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _cpu_field(name: str) -> str:
    """A field of the first processor that Linux lists; empty on other systems."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.partition("\t")[0] == name), "")


def _caches() -> str:
    """The caches of the first processor, such as ``L2 2048K``; empty if the system does not list them."""
    found = []
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index[0-9]")):
        level, kind, size = ((index / name).read_text(encoding="ascii").strip() for name in ("level", "type", "size"))
        if kind != "Instruction":
            found.append(f"L{level} {size}")
    return " ".join(found)
