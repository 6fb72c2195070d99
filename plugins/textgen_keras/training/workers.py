"""The processes (workers) that train one network together.

Each worker has all weights and makes all batches. It computes the gradient of its rows of each batch, and applies the
sum of all workers' gradients. So the weights stay equal without being sent, and a run can be resumed with any number of
workers.

Importing this module imports TensorFlow: see :func:`require_tensorflow`.
"""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from textgen import Cluster, notice, signals_handled
from textgen.errors import OptionError, UnavailableError

#: The errors that TensorFlow raises in a worker whose peers are gone.
_PEER_ERRORS = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
)


class Workers:
    """One worker: this process alone.

    Attributes:
        index: the number of this worker, from 0.
    """

    index = 0

    def run(self, step: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function of this worker's tensors that may use :meth:`sum`; called within a graph."""
        return step(*arguments)

    def sum(self, values: Any) -> Any:
        """The sum over all workers of tensors, in any nest; only within a function that :meth:`run` calls."""
        return values

    def share(self, rows: NDArray[Any]) -> NDArray[Any]:
        """This worker's part of an array ``[rows, ...]``; all parts have the same size, padded with rows of zeros."""
        return rows

    def gather(self, share: NDArray[Any], rows: int) -> NDArray[Any]:
        """The array ``[rows, ...]`` of which every worker has a :meth:`share`."""
        return share

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Returns, for each flag, whether it is set in any worker."""
        return flags

    def follow_chief(self, variables: Iterable[Any]) -> None:
        """Assign to ``keras.Variable`` objects the values that they have in the first worker."""

    def check_same(self, run: str) -> None:
        """Check that all workers train the same run.

        Args:
            run: a description of it.

        Raises:
            OptionError: if another worker's description differs.
        """

    @contextmanager
    def reporting_failures(self) -> Iterator[None]:
        """A context that turns TensorFlow's errors about a lost worker into a one-line ``UnavailableError``."""
        yield


class ManyWorkers(Workers):
    """Several workers: this process and its peers.

    Args:
        cluster: the workers.
        strategy: a ``tf.distribute.MultiWorkerMirroredStrategy`` with one device per worker.
    """

    def __init__(self, cluster: Cluster, strategy: Any) -> None:
        self.index = cluster.index
        self._cluster, self._strategy = cluster, strategy
        self._count = len(cluster.workers)
        # TensorFlow adds up on the device of its inputs; a graph's arguments have no device, but their identity has.
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
                "to resume a run, with the same state of its folder"
            )

    @contextmanager
    def reporting_failures(self) -> Iterator[None]:
        try:
            yield
        except _PEER_ERRORS as error:
            raise UnavailableError(
                f"worker {self.index} of {', '.join(self._cluster.workers)} lost the others: one of them has failed "
                "and reports why; start all of them again with --resume RUN"
            ) from error

    def _total(self, values: NDArray[Any]) -> NDArray[Any]:
        total: NDArray[Any] = self._add_up(tf.constant(values.ravel())).numpy()
        return total.reshape(values.shape)


@cache
def join_workers(device: str) -> tuple[Workers, str]:
    """Connect to the other workers in ``TF_CONFIG``, if it is set; waits for them.

    Args:
        device: the one to train on, from :func:`resolve_device`.

    Returns:
        The workers, and the name that the device has from now on.

    Raises:
        OptionError: if ``TF_CONFIG`` does not describe a cluster.
        UnavailableError: if the workers cannot connect.
    """
    cluster = Cluster.from_environment()
    if cluster is None:
        return Workers(), device
    others = [address for index, address in enumerate(cluster.workers) if index != cluster.index]
    chief = cluster.workers[0]
    role = "shows and writes the run" if cluster.is_chief else f"only trains; {chief} shows and writes the run"
    notice(f"worker {cluster.index} of {len(cluster.workers)} {role}; waiting for {', '.join(others)}")
    try:
        gpus = tf.config.list_physical_devices("GPU")
        on_gpu = device != "cpu"
        tf.config.set_visible_devices([gpus[int(device.removeprefix("cuda:"))]] if on_gpu else [], "GPU")
        # Ctrl-C and SIGTERM end the process at once: TensorFlow's waiting runs no Python handlers.
        with signals_handled(signal.SIG_DFL):
            strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except (tf.errors.OpError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UnavailableError(f"cannot connect the workers listed in TF_CONFIG: {reason}") from error
    return ManyWorkers(cluster, strategy), "cuda:0" if on_gpu else "cpu"
