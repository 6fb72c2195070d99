"""Measures whole commands in turns: time from start to exit, and peak memory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.command import notice
from benchmarks.harness import BenchmarkError
from benchmarks.machine import RESIDENT_UNIT
from benchmarks.report import Row

#: Starts a command. Its output goes to a file; its exit status, seconds and peak memory go to stdout. A process is
#: charged with the memory of its parent, so the parent must be small.
LAUNCHER = """
import os, sys, time
printed = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
to_file = [(os.POSIX_SPAWN_DUP2, printed, stream) for stream in (1, 2)]
begin = time.perf_counter()
process = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ, file_actions=to_file)
_, status, usage = os.wait4(process, 0)
print(os.waitstatus_to_exitcode(status), time.perf_counter() - begin, usage.ru_maxrss)
"""


@dataclass(frozen=True)
class Command:
    """A command of this Python.

    Attributes:
        name: shown in tables.
        arguments: of the interpreter.
        environment: variables added to those of the session.
    """

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


def measure_commands(
    commands: Sequence[Command],
    rounds: int,
    *,
    environment: Mapping[str, str],
    folder: Path,
    warming: Sequence[Command] | None = None,
) -> list[Row]:
    """Runs commands in turns: each once to warm the caches of the system, then once per round.

    Args:
        commands: in the order of their turns.
        rounds: the number of turns of each.
        warming: commands that warm the caches as well as these, and take less time.
        environment: variables added to those of this process in theirs.
        folder: for their output.

    Raises:
        BenchmarkError: if a command fails.
    """
    taken: dict[str, list[float]] = {command.name: [] for command in commands}
    held = dict.fromkeys(taken, 0)
    for turn in range(rounds + 1):
        notice(f"round {turn} of {rounds}" if turn else "warm-up round")
        for command in commands if turn or warming is None else warming:
            seconds, memory = _run(command, {**os.environ, **environment, **command.environment}, folder)
            if turn:
                taken[command.name].append(seconds)
                held[command.name] = max(held[command.name], memory)
    return [Row(name, "", seconds, held[name]) for name, seconds in taken.items()]


def _run(command: Command, environment: Mapping[str, str], folder: Path) -> tuple[float, int]:
    """Seconds and bytes of a command."""
    printed = folder / "printed.txt"
    arguments = [sys.executable, "-I", "-S", "-c", LAUNCHER, str(printed), sys.executable, *command.arguments]
    done = subprocess.run(arguments, capture_output=True, text=True, env=dict(environment), check=True)
    status, seconds, memory = done.stdout.split()
    if int(status):
        raise BenchmarkError(f"{command.name} failed:\n{printed.read_text(encoding='utf-8', errors='replace')[-4000:]}")
    return float(seconds), int(memory) * RESIDENT_UNIT
