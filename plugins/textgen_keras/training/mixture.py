"""An n-gram beside a network, and how far each is trusted: shares that are fitted to the held-out text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from textgen import ContextTree, Dataset
from textgen.errors import ArtifactError

Numbers = NDArray[np.float64]

#: Contexts are told apart by their length, and by how many ids were seen after them: 0, 1, 2, or more.
KINDS_OF_ENTRIES = 4

#: The share of the network in a mixture that nothing was fitted to, and its bounds.
HALF, LEAST, LARGEST = 0.5, 0.02, 0.98

#: The share of all contexts counts as so many targets in those of each kind, which may be few.
PRIOR = 20

#: Steps of expectation and maximization, which here converges within some twenty.
STEPS = 50


class Mixture:
    """A network's probabilities and those of an n-gram, added up; the shares depend on the n-gram's context.

    After each epoch, the shares are those under which the held-out text is likeliest, by expectation and maximization
    (Jelinek and Mercer, "Interpolated estimation of Markov source parameters from sparse data", 1980).

    Args:
        tree: the n-gram, counted in the training text.
        dataset: its held-out text is read.

    Attributes:
        tree: the n-gram with its probabilities multiplied by its share over the network's.
        shares: of the network, by kind of context, ``[kinds]``.
    """

    def __init__(self, tree: ContextTree, dataset: Dataset) -> None:
        self.tree = self._counted = tree
        self._kinds = tree.lengths * KINDS_OF_ENTRIES + np.minimum(np.diff(tree.offsets), KINDS_OF_ENTRIES - 1)
        self.shares: Numbers = np.full(self._kinds.max() + 1, HALF)
        read = list(self._read(dataset))
        #: Of the held-out targets that count: their probability by the n-gram, and the kind of its context.
        self._p = np.concatenate([np.zeros(0), *(p for p, _ in read)])
        self._kinds_read = np.concatenate([np.zeros(0, np.intp), *(kinds for _, kinds in read)])

    def _read(self, dataset: Dataset) -> Iterator[tuple[Numbers, NDArray[np.intp]]]:
        contexts: NDArray[np.int32] | None = None
        for batch in dataset.held_out.batches(epoch=0) if dataset.held_out else ():
            rows = len(batch.inputs)
            if contexts is None or not dataset.carries_state or batch.resets_state or len(contexts) != rows:
                contexts = np.full(rows, ContextTree.beginning, np.int32)
            read = self._counted.read(batch.inputs, contexts)
            lengths = batch.lengths()
            contexts = read[np.arange(rows), batch.inputs.shape[1] if lengths is None else lengths]
            counts = batch.weights > 0
            after = read[:, 1:][counts]
            p = np.exp(self._counted.log_probability_of(batch.targets[counts], after).astype(np.float64))
            yield p, self._kinds[after]

    def fit(self, log_likelihoods: Sequence[NDArray[np.float32]]) -> float:
        """Fit the shares, and scale the tree.

        Args:
            log_likelihoods: of the held-out targets that count, by the network, in the order of the batches.

        Returns:
            The mean loss of the mixture in nats per target.
        """
        network = np.exp(np.concatenate(log_likelihoods).astype(np.float64))

        def explained(shares: Numbers | float) -> Numbers:
            """Of each target, how likely it is that the network has written it."""
            return shares * network / (shares * network + (1 - shares) * self._p)

        share = HALF
        for _ in range(STEPS):
            share = float(np.clip(explained(share).mean(), LEAST, LARGEST))
        shares = np.full(len(self.shares), share)
        targets = np.bincount(self._kinds_read, minlength=len(shares))
        for _ in range(STEPS):
            of_kinds = np.bincount(self._kinds_read, explained(shares[self._kinds_read]), len(shares))
            shares = np.clip((of_kinds + PRIOR * share) / (targets + PRIOR), LEAST, LARGEST)
        self.trust(shares)
        of_each = shares[self._kinds_read]
        return -float(np.log(of_each * network + (1 - of_each) * self._p).mean())

    def trust(self, shares: Numbers) -> None:
        """Take the network's shares, ``[kinds]``.

        Raises:
            ArtifactError: if they are not those of this n-gram.
        """
        fits = shares.dtype == np.float64 and shares.shape == self.shares.shape
        if not fits or not (shares.min() >= LEAST and shares.max() <= LARGEST):
            raise ArtifactError("the checkpoint's shares of network and n-gram are not those of this model")
        self.shares = shares
        self.tree = self._counted.scaled(((1 - shares) / shares)[self._kinds])
