"""A job on a Ray cluster whose processes are killed at random moments: its bytes must be those of one process.

    python -m tests.trials.ray_kills --kills 10 --seed 1

The nodes are two ``ray start`` on this machine. The job is started again until it has ended and so many processes were
killed with SIGKILL: the one that was started, or a worker of a node while it writes. Then the second node is killed in
the middle of another job. Prints what was killed; exit code 1 if a byte differs. Linux only.
"""

from __future__ import annotations

import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.trials.bulk_kills import main

RUN = Path(__file__).parents[1] / "recorded" / "lstm-trees"

#: The job.
OPTIONS = ("--num", "60000", "--seed", "7", "--length", "40", "--shard-rows", "400")

#: Ports that Ray itself takes.
RESERVED = (8265, 52365, *range(10_002, 20_000))

#: Seconds until the next process is killed, at most.
WITHIN = 3.0


class Node:
    """A node, all of whose processes can be killed, as if its plug was pulled.

    Args:
        environment: of its processes.
        arguments: of ``ray start``.

    Raises:
        RuntimeError: if it does not start.
    """

    def __init__(self, environment: dict[str, str], *arguments: str) -> None:
        self._mark = f"TEXTGEN_NODE={secrets.token_hex(8)}"
        name, _, value = self._mark.partition("=")
        limits = ("--num-cpus", "1", "--object-store-memory", "80000000", "--include-log-monitor", "false")
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", *arguments, *limits, "--disable-usage-stats"]
        for _ in range(3):  # Ray gives a node 30 seconds to start, which a busy machine may exceed
            started = subprocess.run(
                command, env=environment | {name: value}, capture_output=True, text=True, timeout=240, check=False
            )
            if not started.returncode:
                return
            self.kill()
        raise RuntimeError(started.stdout + started.stderr)

    def processes(self, title: str = "") -> list[int]:
        """The processes of the node whose title begins so."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                is_here = self._mark.encode() in (process / "environ").read_bytes().split(b"\0")
                if is_here and (process / "cmdline").read_bytes().startswith(title.encode()):
                    found.append(int(process.name))
            except OSError:
                continue  # it has ended
        return found

    @property
    def writing(self) -> list[int]:
        """The workers that write at this moment."""
        return self.processes("ray::_write")

    def kill(self) -> None:
        """Kill all processes of the node."""
        while found := self.processes():
            for process in found:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)


def free_port() -> int:
    """A port of the loopback that is free."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return free_port() if port in RESERVED else port


def access() -> dict[str, str]:
    """The environment of the nodes and of who connects to them, with a new token."""
    found = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    path = os.pathsep.join(filter(None, sys.path))
    # Ray's workers have niceness 15, and would hardly run beside other tests
    added = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_worker_niceness": "0"}
    return found | added | {"PYTHONPATH": path}


@contextmanager
def two_nodes(environment: dict[str, str], address: str) -> Iterator[tuple[Node, Node]]:
    """Two nodes with a core each; the first one is the head, at an address of this machine."""
    started = []
    port = address.partition(":")[2]
    # the name is short because it is part of the names of sockets
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        head = ("--head", "--port", port, "--temp-dir", folder, "--ray-client-server-port", str(free_port()))
        try:
            started.append(Node(environment, *head, "--include-dashboard", "false", "--no-monitor"))
            started.append(Node(environment, "--address", address))
            yield started[0], started[1]
        finally:
            for node in started:
                node.kill()


def trial(kills: int, seed: int) -> tuple[list[str], Counter[str]]:
    """Kills processes of a job; returns what is wrong, and the number of kills of each kind."""
    chance, killed, failures = random.Random(seed), Counter[str](), []
    environment, address = access(), f"127.0.0.1:{free_port()}"
    by_ray = ("--engine", "ray", "--set", f"address={address}")
    with tempfile.TemporaryDirectory() as name, two_nodes(environment, address) as nodes:
        folder = Path(name)
        _start(folder / "expected.jsonl", environment, "--workers", "1").wait()
        expected = (folder / "expected.jsonl").read_bytes()
        out = folder / "killed.jsonl"
        while killed.total() < kills:
            _disturb(_start(out, environment, *by_ray), nodes, chance, killed, kills)
            if out.exists():  # it has ended nevertheless
                failures += [f"{out.name} differs"] * (out.read_bytes() != expected)
                out.unlink()
                shutil.rmtree(f"{out}.job")
        failures += _end(_start(out, environment, *by_ray), out, expected)
        out = folder / "node.jsonl"
        job = _start(out, environment, *by_ray)
        while job.poll() is None and not (_parts(out) > 30 and nodes[1].writing):
            time.sleep(0.01)
        if job.poll() is None:
            nodes[1].kill()
            killed["node"] += 1
        failures += _end(job, out, expected)
    return failures, killed


def _start(out: Path, environment: dict[str, str], *engine: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "textgen", "sample", str(RUN), *OPTIONS, "--out", str(out), *engine]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _end(job: subprocess.Popen[bytes], out: Path, expected: bytes) -> list[str]:
    """Wait for a job; returns what is wrong."""
    told = job.communicate()[1].decode()
    if job.returncode:
        return [f"{out.name} ended with code {job.returncode}: {told}"]
    return [] if out.read_bytes() == expected else [f"{out.name} differs"]


def _parts(out: Path) -> int:
    return len(list(Path(f"{out}.job").glob("part-*")))


def _disturb(
    job: subprocess.Popen[bytes],
    nodes: tuple[Node, Node],
    chance: random.Random,
    killed: Counter[str],
    kills: int,
) -> None:
    """Kills workers of a job, or the job itself, which ends it."""
    while killed.total() < kills:
        with suppress(subprocess.TimeoutExpired):
            job.wait(chance.uniform(0, WITHIN))
        if job.poll() is not None:
            return
        writing = [*nodes[0].writing, *nodes[1].writing]
        if not writing and chance.random() < 0.8:
            continue  # the job starts, which takes longer than to write it
        victim = chance.choice([job.pid, *writing])
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
            killed["job" if victim == job.pid else "worker"] += 1
    job.kill()
    job.wait()


if __name__ == "__main__":
    raise SystemExit(main(str(__doc__), trial))
