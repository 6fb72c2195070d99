"""The engine ``ray``: a chunk is a Ray task, so that placement, retries and the way of the results are Ray's."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any, TextIO

from pydantic import Field

from textgen import Chunk, Engine, Work, Written, __version__, limit_cores
from textgen.errors import TextgenError, UnavailableError
from textgen.options import Options
from textgen_ray.cluster import check, connected

#: Chunks that are written, or wait for the ones before them, per worker.
AHEAD = 2

#: How often Ray begins a chunk anew after its worker or its node has died.
RETRIES = 5

#: How Ray's errors name a module that a node does not have.
_MISSING = re.compile(r"ModuleNotFoundError: No module named '([\w.]+)'")

#: The run that this worker has loaded, by the id of its object in Ray.
_opened: dict[str, Work] = {}


class RayOptions(Options):
    """Options of the engine ``ray``."""

    address: str | None = Field(
        None,
        description="Cluster, as host:port; auto for the one of which this machine is a node; local for a Ray of the "
        "job's own. By default RAY_ADDRESS, or local.",
    )
    cores: int = Field(1, ge=1, description="Cores per worker.")
    gpus: float = Field(0, ge=0, description="GPUs per worker; a part of one is shared.")


class RayEngine(Engine):
    """Writes with the nodes of a cluster, which have textgen-rnn and the plugins of the run installed.

    A chunk is a task rather than a call of an actor: when a node dies, Ray begins its tasks anew on the nodes that are
    left, while an actor would wait for as many free cores as it had. A worker process keeps the run that it has loaded.
    """

    Options = RayOptions
    options: RayOptions

    def __init__(self, options: RayOptions, workers: int | None = None) -> None:
        super().__init__(options, workers)
        check(options.address)  # before any file is made

    def map(self, work: Work, chunks: Iterable[Chunk]) -> Generator[Written, None, None]:
        options = self.options
        with connected(options.address, (self.workers or 0) * options.cores) as ray:
            number = min(self.workers or 10**5, _room(ray, options))
            most = self.workers or AHEAD * number  # more than there is room for wait, also for a node that joins
            task = ray.remote(
                num_cpus=options.cores,
                num_gpus=options.gpus,
                max_retries=RETRIES,
                max_calls=0,  # a worker goes on with the run that it has loaded, also one with a GPU
            )(_write)
            run = [ray.put(work.pack())]  # in a list, so that a worker gets it once, and not with every chunk
            pending: deque[Any] = deque()  # in the order of the chunks
            running: list[Any] = []
            try:
                for chunk in chunks:
                    if len(pending) >= AHEAD * number:
                        yield _result(ray, pending.popleft())
                    if len(running) >= most:
                        running = ray.wait(running)[1]
                    running.append(task.remote(run, __version__, options.cores, chunk))
                    pending.append(running[-1])
                while pending:
                    yield _result(ray, pending.popleft())
            finally:
                for each in pending:
                    ray.cancel(each, force=True)

    def train(self, arguments: Sequence[str], stdout: TextIO) -> int:
        from textgen_ray.training import train

        options = self.options
        others = (self.workers or 1) - 1
        with connected(options.address, others * options.cores) as ray:
            if (room := _room(ray, options)) < others:
                raise UnavailableError(
                    f"the Ray cluster has room for {room} workers beside this process, not {others}; ask for less, or "
                    "add a node"
                )
            return train(ray, arguments, stdout, others, {"num_cpus": options.cores, "num_gpus": options.gpus})


def _room(ray: Any, options: RayOptions) -> int:
    """The number of workers for which the nodes have room.

    Raises:
        UnavailableError: if it is 0.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    room = sum(_fitting(node, options) for node in nodes)
    if not room:
        wanted = f"{options.cores} CPU and {options.gpus:g} GPU" if options.gpus else f"{options.cores} CPU"
        raise UnavailableError(f"no node of the Ray cluster has {wanted} for a worker; ask for less, or add a node")
    return room


def _fitting(resources: Mapping[str, float], options: RayOptions) -> int:
    """The number of workers for which a node has room."""
    by_cores = resources.get("CPU", 0) / options.cores
    return int(min(by_cores, resources.get("GPU", 0) / options.gpus) if options.gpus else by_cores)


def _write(run: list[Any], version: str, cores: int, chunk: Chunk) -> Written | str:
    """Write a chunk, in a worker; an error that a user can correct is returned as its message."""
    import ray

    if version != __version__:
        node = ray.util.get_node_ip_address()
        return f"the node {node} of the Ray cluster has textgen-rnn {__version__}; install {version} there, as here"
    key = run[0].hex()
    try:
        if key not in _opened:
            limit_cores(cores)
            _opened.clear()
            _opened[key] = ray.get(run[0]).open()
        return _opened[key](chunk)
    except TextgenError as error:
        return str(error)


def _result(ray: Any, task: Any) -> Written:
    """What came of a chunk.

    Raises:
        TextgenError: if it cannot be written.
        UnavailableError: if a node lacks a module, or workers and nodes have died over it again and again.
    """
    try:
        found: Written | str = ray.get(task)
    except ray.exceptions.RayTaskError as error:
        if missing := _MISSING.search(str(error)):
            raise UnavailableError(
                f"a node of the Ray cluster cannot import {missing[1]}; install there what is installed here"
            ) from None
        raise  # a fault of the program, with its traceback
    except ray.exceptions.RayError as error:
        reason = str(error).partition("\n")[0]
        raise UnavailableError(f"Ray lost a chunk {RETRIES + 1} times: {reason}; run the same command again") from None
    if isinstance(found, str):
        raise TextgenError(found)
    return found
