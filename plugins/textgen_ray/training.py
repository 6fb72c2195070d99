"""Training by processes on the nodes of a cluster: what one does by hand on several machines, Ray does."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, TextIO

from textgen import signals_handled
from textgen.errors import UnavailableError

#: Seconds for which a free node is waited for, and in which the other workers end after the first one.
PATIENCE = 60

#: Seconds in which the first worker sees that another one has failed; before it is connected, it would wait longer.
PATIENCE_OF_TENSORFLOW = 20

#: Exit codes of a worker that is finished, or was asked to stop.
GOOD = (0, 130)

#: How the environment variables begin that all workers have as the first one has them.
PREFIX = "TEXTGEN_"


class Worker:
    """An actor: a process of the run, on the node on which Ray places it."""

    def address(self) -> str:
        """An address ``host:port`` of the node, whose port is free."""
        import ray

        return free_address(ray.util.get_node_ip_address())

    def train(self, arguments: Sequence[str], environment: Mapping[str, str], folder: str) -> tuple[int, str]:
        """Run ``textgen`` with arguments; returns its exit code, and the last line of its stderr."""
        try:
            done = subprocess.run(
                command(arguments),
                env={**os.environ, **environment},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                check=False,
            )
        except OSError as error:
            return 2, f"{folder}: {error.strerror}; start the command in a folder that all nodes have"
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        return done.returncode, lines[-1] if lines else ""


def command(arguments: Sequence[str]) -> list[str]:
    """The command ``textgen`` with arguments."""
    return [sys.executable, "-m", "textgen", *arguments]


def free_address(host: str) -> str:
    """An address of this machine with a free port, which TensorFlow opens later."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as found:
        found.bind((host, 0))
        return f"{host}:{found.getsockname()[1]}"


def train(ray: Any, arguments: Sequence[str], stdout: TextIO, others: int, resources: Mapping[str, float]) -> int:
    """Train a run: the first worker is a child of this process; Ray places the others, on several nodes if it can.

    Args:
        ray: the module, connected.
        arguments: of ``textgen``.
        stdout: of the first worker.
        others: the number of the other workers.
        resources: of each of them, as Ray's actors take them.

    Returns:
        The exit code of the first worker.

    Raises:
        UnavailableError: if there is no room for the others, or one of them fails.
    """
    actors = [
        ray.remote(Worker).options(**resources, scheduling_strategy="SPREAD", max_restarts=0).remote()
        for _ in range(others)
    ]
    try:
        found = ray.get([actor.address.remote() for actor in actors], timeout=PATIENCE)
        addresses = [free_address(ray.util.get_node_ip_address()), *found]
        environments = [_environment(addresses, index) for index in range(len(addresses))]
        trained = {
            actor.train.remote(arguments, environment, os.getcwd()): address
            for actor, environment, address in zip(actors, environments[1:], addresses[1:], strict=True)
        }
        # in a session of its own, so that a terminal's Ctrl-C reaches it once, from here
        first = subprocess.Popen(
            command(arguments), env={**os.environ, **environments[0]}, stdout=stdout, start_new_session=True
        )
        try:
            with signals_handled(lambda number, frame: first.send_signal(number)):
                _watch(ray, first, trained)
        finally:
            if first.poll() is None:
                first.kill()
        return first.returncode
    except ray.exceptions.GetTimeoutError:
        raise UnavailableError(
            f"the Ray cluster had no room for {others} workers for {PATIENCE} seconds; wait, or ask for less"
        ) from None
    except ray.exceptions.RayError as error:
        reason = str(error).partition("\n")[0]
        raise UnavailableError(f"Ray lost a worker: {reason}; run the command again with --resume RUN") from None
    finally:
        for actor in actors:
            ray.kill(actor)


def _watch(ray: Any, first: subprocess.Popen[bytes], trained: dict[Any, str]) -> None:
    """Wait until all workers have ended.

    Raises:
        UnavailableError: if one of the others has failed. The first one sees that by itself, once it is connected.
    """
    running = list(trained)
    while running and first.poll() is None:
        ended, running = ray.wait(running, timeout=1)
        for each in ended:
            code, line = ray.get(each)
            if code not in GOOD:
                with suppress(subprocess.TimeoutExpired):
                    first.wait(PATIENCE_OF_TENSORFLOW)
                how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}: {line}"
                raise UnavailableError(f"the worker {trained[each]} {how}")
    first.wait()
    if running:
        ray.wait(running, num_returns=len(running), timeout=PATIENCE)


def _environment(addresses: Sequence[str], index: int) -> dict[str, str]:
    config = {"cluster": {"worker": list(addresses)}, "task": {"type": "worker", "index": index}}
    kept = {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}
    return {**kept, "TF_CONFIG": json.dumps(config)}
