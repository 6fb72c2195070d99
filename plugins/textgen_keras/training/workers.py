"""Processes that train one network together. Importing this module imports TensorFlow: see :func:`require_tensorflow`.

Each process has all weights and makes all batches; it learns from its rows of each, and applies the sum of everybody's
gradients. So the weights stay equal without being sent, and a run can go on with any number of processes.
"""

from __future__ import annotations

import hashlib
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from textgen import Cluster, notice
from textgen.errors import OptionError, UnavailableError

#: What TensorFlow raises in a process whose peers are gone.
_PEER_ERRORS = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
)


class Workers:
    """This process alone.

    Attributes:
        index: of this process among those that train together.
    """

    index = 0

    def run(self, step: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function of this process's tensors that may use :meth:`sum`; part of a graph."""
        return step(*arguments)

    def sum(self, values: Any) -> Any:
        """Add up everybody's tensors, in any nest; inside a function that :meth:`run` calls."""
        return values

    def share(self, rows: NDArray[Any]) -> NDArray[Any]:
        """This process's part of an array ``[rows, ...]``: as many rows in each process, zeros where there are none."""
        return rows

    def gather(self, share: NDArray[Any], rows: int) -> NDArray[Any]:
        """The array ``[rows, ...]`` that everybody has a :meth:`share` of."""
        return share

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Whether each flag is up in any process."""
        return flags

    def follow_chief(self, variables: Iterable[Any]) -> None:
        """Give ``keras.Variable`` objects the values that they have in the first process."""

    def check_same(self, run: str) -> None:
        """Raise :class:`OptionError` unless everybody describes the run to train in the same words."""

    @contextmanager
    def telling_failures(self) -> Iterator[None]:
        """Turn TensorFlow's error where another process is gone into an ``UnavailableError`` of one line."""
        yield


class ManyWorkers(Workers):
    """This process and its peers.

    Args:
        cluster: all of them.
        strategy: a ``tf.distribute.MultiWorkerMirroredStrategy`` with one device in each.
    """

    def __init__(self, cluster: Cluster, strategy: Any) -> None:
        self.index = cluster.index
        self._cluster, self._strategy = cluster, strategy
        self._count = len(cluster.workers)
        # The sum goes where its parts are, and an argument of a graph is nowhere: hence the identity.
        self._add_up = tf.function(
            lambda values: self.run(lambda part: self.sum(tf.identity(part)), values),
            autograph=False,
            reduce_retracing=True,
        )

    def run(self, step: Callable[..., Any], *arguments: Any) -> Any:
        return self._strategy.run(step, arguments)

    def sum(self, values: Any) -> Any:
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, values)

    def share(self, rows: NDArray[Any]) -> NDArray[Any]:
        size = -(-len(rows) // self._count)
        own = rows[self.index * size : (self.index + 1) * size]
        return np.pad(own, [(0, size - len(own))] + [(0, 0)] * (rows.ndim - 1))

    def gather(self, share: NDArray[Any], rows: int) -> NDArray[Any]:
        whole = np.zeros((self._count, *share.shape), share.dtype)
        whole[self.index] = share
        return self._total(whole).reshape(-1, *share.shape[1:])[:rows]

    def any(self, *flags: bool) -> tuple[bool, ...]:
        return tuple((self._total(np.array(flags, np.float32)) > 0).tolist())

    def follow_chief(self, variables: Iterable[Any]) -> None:
        for variable in variables:
            value = variable.numpy()
            variable.assign(self._total(value if self._cluster.is_chief else np.zeros_like(value)))

    def check_same(self, run: str) -> None:
        digest = np.frombuffer(hashlib.sha256(run.encode()).digest(), np.uint8).astype(np.float32)[None]
        if (self.gather(digest, self._count) != digest).any():
            raise OptionError(
                "the workers do not train the same run: start each with the same command, text and plugins and, "
                "to go on with a run, with the same state of its folder"
            )

    @contextmanager
    def telling_failures(self) -> Iterator[None]:
        try:
            yield
        except _PEER_ERRORS as error:
            raise UnavailableError(
                f"worker {self.index} of {', '.join(self._cluster.workers)} lost the others: one of them has failed, "
                "and says why; start all of them again with --resume RUN to go on"
            ) from error

    def _total(self, values: NDArray[Any]) -> NDArray[Any]:
        total: NDArray[Any] = self._add_up(tf.constant(values.ravel())).numpy()
        return total.reshape(values.shape)


@cache
def join_workers(device: str) -> tuple[Workers, str]:
    """Meet the processes that ``TF_CONFIG`` names; waits for them.

    Args:
        device: the one to learn on, as :func:`resolve_device` gave it.

    Returns:
        The workers, and the name that the device has from now on.

    Raises:
        OptionError: where ``TF_CONFIG`` describes no cluster.
        UnavailableError: where the workers cannot meet.
    """
    cluster = Cluster.from_environment()
    if cluster is None:
        return Workers(), device
    others = [address for index, address in enumerate(cluster.workers) if index != cluster.index]
    role = "shows and writes the run" if cluster.is_chief else f"learns; {cluster.workers[0]} shows and writes the run"
    notice(f"worker {cluster.index} of {len(cluster.workers)} {role}; waiting for {', '.join(others)}")
    try:
        gpus = tf.config.list_physical_devices("GPU")
        on_gpu = device != "cpu"
        tf.config.set_visible_devices([gpus[int(device.removeprefix("cuda:"))]] if on_gpu else [], "GPU")
        with _ending_at_signals():
            strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except (tf.errors.OpError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UnavailableError(f"the workers of TF_CONFIG cannot meet: {reason}") from error
    return ManyWorkers(cluster, strategy), "cuda:0" if on_gpu else "cpu"


@contextmanager
def _ending_at_signals() -> Iterator[None]:
    """Ctrl-C and SIGTERM end the process at once: TensorFlow waits without looking at Python's handlers."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
