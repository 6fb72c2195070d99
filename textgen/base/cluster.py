"""The processes that train one run together, as listed in the environment variable ``TF_CONFIG``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from textgen.errors import OptionError
from textgen.files.reading import parse_json

#: The kinds of tasks that train, in the order in which TensorFlow numbers them.
_JOBS = ("chief", "worker")


@dataclass(frozen=True)
class Cluster:
    """Workers, each of which trains on its rows of every batch.

    Attributes:
        workers: their addresses, ``host:port``; the first one is the chief, which alone writes and shows the run.
        index: the index of this process among them.
    """

    workers: tuple[str, ...]
    index: int

    @property
    def is_chief(self) -> bool:
        """True in the process that writes and shows the run."""
        return self.index == 0

    @classmethod
    def from_environment(cls) -> Cluster | None:
        """Returns the cluster that ``TF_CONFIG`` describes; ``None`` if it is not set, or lists only one worker.

        Raises:
            OptionError: if it does not describe a cluster.

        Example:
            ``{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, "task": {"type": "worker", "index": 0}}``
        """
        text = os.environ.get("TF_CONFIG", "").strip()
        if not text:
            return None
        try:
            config = parse_json(text)
        except ValueError as error:
            raise OptionError(f"TF_CONFIG is not JSON: {error}; correct it, or unset it to train alone") from None
        cluster = _read(config)
        return cluster if len(cluster.workers) > 1 else None


def _read(config: Any) -> Cluster:
    jobs = _table(config, "cluster")
    for name, addresses in jobs.items():
        if name not in _JOBS:
            raise _wrong(f"cluster has {name!r}; it may have: {', '.join(_JOBS)}")
        if not isinstance(addresses, list) or not all(isinstance(each, str) and ":" in each for each in addresses):
            raise _wrong(f"cluster.{name} is not a list of addresses host:port")
    if len(jobs.get("chief", [])) > 1:
        raise _wrong("cluster.chief lists more than one address")
    task = _table(config, "task")
    job, index = str(task.get("type")), task.get("index")
    if job not in jobs or type(index) is not int or not 0 <= index < len(jobs[job]):
        raise _wrong(f"task {job!r} {index!r} is not part of the cluster")
    workers = tuple(address for each in _JOBS for address in jobs.get(each, []))
    if len(set(workers)) < len(workers):
        raise _wrong("cluster has an address twice")
    return Cluster(workers, index + (len(jobs.get("chief", [])) if job == "worker" else 0))


def _table(config: Any, name: str) -> Mapping[str, Any]:
    table = config.get(name) if isinstance(config, dict) else None
    if not isinstance(table, dict) or not table:
        raise _wrong(f"it has no object {name!r}")
    return table


def _wrong(problem: str) -> OptionError:
    return OptionError(f"TF_CONFIG: {problem}; correct it, or unset it to train alone")
