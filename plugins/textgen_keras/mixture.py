"""An n-gram beside a network, and the power of each: both are fitted to the held-out text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from textgen import ContextTree, Dataset, RecurrentNetwork, read_contexts
from textgen.errors import ArtifactError

Rows = NDArray[np.float32]
Ids = NDArray[np.int32]

#: The powers of network and n-gram in a mixture that nothing was fitted to; and the bounds of fitted ones, which keep
#: a text of few characters from ruling one of the two out.
UNFITTED, LEAST, LARGEST = (0.5, 0.5), 0.01, 4.0

#: Newton's steps; some five are enough.
STEPS = 12

#: Log-probabilities that are held of the held-out text at most; those that the powers are fitted to; and those that
#: are worked on at once. Of a long text some targets are judged, which are drawn at random.
HELD, FITTED, AT_ONCE = 2**26, 2**22, 2**18


class Mixture:
    """A log-linear mixture of a network and an n-gram: the logits are the sum of their log-probabilities times powers.

    After each epoch, the powers are those under which the held-out text is likeliest. Two numbers that are fitted to
    the text that judges the epoch lower its loss hardly at all.

    Args:
        tree: the n-gram, counted in the training text.
        dataset: its held-out text is read.
        powers: of the network and of the n-gram, if they are not to be fitted.

    Attributes:
        powers: of the network and of the n-gram, ``[2]`` float32.
    """

    def __init__(self, tree: ContextTree, dataset: Dataset, powers: Sequence[float] | None = None) -> None:
        self.tree = tree
        self.powers = np.array(powers or UNFITTED, np.float32)
        self._is_fixed = powers is not None
        targets, contexts = [np.zeros(0, np.int32)], [np.zeros(0, np.int32)]
        if dataset.held_out is not None:
            for batch, read in read_contexts(tree, dataset.held_out, carries_state=dataset.carries_state):
                counts = batch.weights > 0
                targets.append(batch.targets[counts])
                contexts.append(read[counts])
        count = sum(map(len, targets))
        share = HELD / max(1, count * tree.vocab_size)
        #: Of the held-out targets that count, in the order of the batches: whether they are judged.
        self.is_judged = np.random.default_rng(0).random(count) < share
        self._targets, self._contexts = (np.concatenate(each)[self.is_judged] for each in (targets, contexts))

    def fit(self, log_probabilities: Sequence[Rows]) -> float:
        """Fit the powers.

        Args:
            log_probabilities: of all ids by the network, ``[k, V]`` each: for every held-out target that is judged, in
                the order of the batches.

        Returns:
            The mean loss of the mixture in nats per target.
        """
        network = np.concatenate(log_probabilities)
        if not self._is_fixed:
            step = 1 + network.size // FITTED
            self.powers = self._fitted(network[::step], self._targets[::step], self._contexts[::step])
        nats = 0.0
        for _, logits, targets in self._blocks(self.powers, network, self._targets, self._contexts):
            nats -= float(logits[np.arange(len(targets)), targets].sum())
        return nats / max(len(self._targets), 1)

    def _fitted(self, network: Rows, targets: Ids, contexts: Ids) -> NDArray[np.float32]:
        """The powers of the likeliest mixture, by Newton's method: the loss is convex."""
        powers = np.array(UNFITTED)
        for _ in range(STEPS):
            slope, curvature = np.zeros(2), 1e-6 * np.eye(2)
            for both, logits, chosen in self._blocks(powers, network, targets, contexts):
                p = np.exp(logits)
                mean = np.einsum("ikv,kv->ik", both, p)
                slope += (mean - both[:, np.arange(len(chosen)), chosen]).sum(axis=1)
                curvature += np.einsum("ikv,jkv,kv->ij", both, both, p) - mean @ mean.T
            # A power at a bound that it would pass stays there, and the other one moves alone.
            is_free = ~((powers <= LEAST) & (slope > 0) | (powers >= LARGEST) & (slope < 0))
            if is_free.any():
                change = np.linalg.solve(curvature[np.ix_(is_free, is_free)], slope[is_free])
                powers[is_free] = np.clip(powers[is_free] - change, LEAST, LARGEST)
        return powers.astype(np.float32)

    def _blocks(
        self, powers: NDArray[np.floating], network: Rows, targets: Ids, contexts: Ids
    ) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64], Ids]]:
        """Some targets at a time: the log-probabilities of both, ``[2, k, V]``, and of the mixture, ``[k, V]``."""
        rows = max(1, AT_ONCE // self.tree.vocab_size)
        for first in range(0, len(targets), rows):
            part = slice(first, first + rows)
            both = np.stack([network[part], self.tree.log_probabilities(contexts[part])]).astype(np.float64)
            logits = np.einsum("i,ikv->kv", powers, both)
            logits -= logits.max(axis=1, keepdims=True)
            yield both, logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)), targets[part]

    def take(self, powers: NDArray[np.float32] | None) -> None:
        """Take the powers of a checkpoint.

        Raises:
            ArtifactError: if they are missing, or not two numbers from 0 to the largest power.
        """
        is_pair = powers is not None and powers.dtype == np.float32 and powers.shape == (2,)
        if powers is None or not is_pair or not ((powers >= 0) & (powers <= RecurrentNetwork.largest_power)).all():
            raise ArtifactError("the checkpoint has no powers of network and n-gram")
        self.powers = powers
