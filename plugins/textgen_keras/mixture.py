"""An n-gram beside a network, and the power of each: both are fitted to the held-out text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from textgen import ContextTree, Dataset
from textgen.errors import ArtifactError

Rows = NDArray[np.float32]
Ids = NDArray[np.int32]

#: The powers of network and n-gram in a mixture that nothing was fitted to, and the bounds of both.
POWERS, LEAST, LARGEST = (0.5, 0.5), 0.01, 4.0

#: Newton's steps; some five are enough.
STEPS = 12

#: Log-probabilities that are held of the held-out text at most, those of a long one of its every k-th target; those
#: that the powers are fitted to; and those that are worked on at once.
HELD, FITTED, AT_ONCE = 2**26, 2**22, 2**18


class Mixture:
    """A log-linear mixture of a network and an n-gram: the logits are the sum of their log-probabilities times powers.

    After each epoch, the powers are those under which the held-out text is likeliest. They are two numbers, so what is
    left over of the text judges the epoch as well as before.

    Args:
        tree: the n-gram, counted in the training text.
        dataset: its held-out text is read.

    Attributes:
        powers: of the network and of the n-gram, ``[2]`` float32.
    """

    def __init__(self, tree: ContextTree, dataset: Dataset) -> None:
        self.tree = tree
        self.powers = np.array(POWERS, np.float32)
        read = list(self._read(dataset))
        self._targets = np.concatenate([np.zeros(0, np.int32), *(targets for targets, _ in read)])
        self._contexts = np.concatenate([np.zeros(0, np.int32), *(contexts for _, contexts in read)])
        #: Every k-th target is judged.
        self.every = 1 + len(self._targets) * tree.vocab_size // HELD

    def _read(self, dataset: Dataset) -> Iterator[tuple[Ids, Ids]]:
        """The held-out targets of each batch that count, and the n-gram's context of each."""
        contexts: Ids | None = None
        for batch in dataset.held_out.batches(epoch=0) if dataset.held_out else ():
            rows = len(batch.inputs)
            if contexts is None or not dataset.carries_state or batch.resets_state or len(contexts) != rows:
                contexts = np.full(rows, ContextTree.beginning, np.int32)
            read = self.tree.read(batch.inputs, contexts)
            lengths = batch.lengths()
            contexts = read[np.arange(rows), batch.inputs.shape[1] if lengths is None else lengths]
            counts = batch.weights > 0
            yield batch.targets[counts], read[:, 1:][counts]

    def fit(self, log_probabilities: Sequence[Rows]) -> float:
        """Fit the powers.

        Args:
            log_probabilities: of all ids by the network, ``[k, V]`` each: for every :attr:`every`-th held-out target
                that counts, in the order of the batches.

        Returns:
            The mean loss of the mixture in nats per target.
        """
        network = np.concatenate(log_probabilities)
        targets, contexts = self._targets[:: self.every], self._contexts[:: self.every]
        step = 1 + network.size // FITTED
        some = network[::step], targets[::step], contexts[::step]
        powers = np.array(POWERS)
        for _ in range(STEPS):
            slope, curvature = np.zeros(2), 1e-6 * np.eye(2)
            for both, p, chosen in self._blocks(powers, *some):
                mean = np.einsum("ikv,kv->ik", both, p)
                slope += (mean - both[:, np.arange(len(chosen)), chosen]).sum(axis=1)
                curvature += np.einsum("ikv,jkv,kv->ij", both, both, p) - mean @ mean.T
            powers = np.clip(powers - np.linalg.solve(curvature, slope), LEAST, LARGEST)
        self.powers = powers.astype(np.float32)
        nats = 0.0
        for _, p, chosen in self._blocks(self.powers, network, targets, contexts):
            nats -= float(np.log(p[np.arange(len(chosen)), chosen]).sum())
        return nats / max(len(targets), 1)

    def _blocks(
        self, powers: NDArray[np.floating], network: Rows, targets: Ids, contexts: Ids
    ) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64], Ids]]:
        """Some targets at a time: both log-probabilities, ``[2, k, V]``; the mixture, ``[k, V]``; the targets."""
        rows = max(1, AT_ONCE // self.tree.vocab_size)
        for first in range(0, len(targets), rows):
            part = slice(first, first + rows)
            both = np.stack([network[part], self.tree.log_probabilities(contexts[part])]).astype(np.float64)
            logits = np.einsum("i,ikv->kv", powers, both)
            p = np.exp(logits - logits.max(axis=1, keepdims=True))
            yield both, p / p.sum(axis=1, keepdims=True), targets[part]

    def take(self, powers: NDArray[np.float32]) -> None:
        """Take the powers of a checkpoint.

        Raises:
            ArtifactError: if they are no powers.
        """
        is_pair = powers.dtype == np.float32 and powers.shape == (2,)
        if not is_pair or not (powers >= np.float32(LEAST)).all() or not (powers <= np.float32(LARGEST)).all():
            raise ArtifactError("the checkpoint's powers of network and n-gram are not those of this model")
        self.powers = powers
