"""Training with textgen as a contender: steps on random text, titles through its whole input pipeline, whole runs."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from itertools import cycle
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks.harness import Work
from benchmarks.learners import Recorder


def make_step(
    *,
    cell: Literal["gru", "lstm"],
    vocab_size: int,
    embedding_dim: int | None,
    units: int,
    layers: int,
    batch: int,
    length: int,
    own_layers: bool,
    mixed_precision: bool = False,
) -> Work:
    """A step of Adam on random text, as in training; a piece is one step, counted as one item.

    Args:
        cell: of the layer.
        vocab_size: ids.
        embedding_dim: width of the embedding; ``None`` for one-hot input.
        units: width of each layer's state.
        layers: number of recurrent layers.
        batch: rows.
        length: characters per row.
        own_layers: whether to train textgen's layers instead of Keras's.
        mixed_precision: whether to multiply in bfloat16.
    """
    step, network = _make_step(cell, vocab_size, embedding_dim, units, layers, own_layers, mixed_precision)
    rng = np.random.default_rng(0)
    text = rng.integers(0, vocab_size, (batch, length + 1)).astype(np.int32)
    weights = np.ones((batch, length), np.float32)

    def piece() -> int:
        float(step(text[:, :-1], text[:, 1:], weights, network.initial_state(batch)))
        return 1

    return Work(piece)


def make_titles(*, options: dict[str, Any], own_layers: bool = True) -> Work:
    """Steps on the titles of AG News through textgen's input pipeline; a piece is 50 batches, an item is a title.

    Args:
        options: of training, such as the batch size; the others have their defaults.
        own_layers: whether to train textgen's layers instead of Keras's.
    """
    from textgen.plugins.registry import plugins
    from textgen.training.plan import make_plan

    model = {"name": "lstm", "input": "one-hot", "units": 128, "dropout": 0.0}
    settings: dict[str, dict[str, Any]] = {
        "corpus": {"name": "agnews", "split": "test"},
        "model": model,
        "training": options,
    }
    plan = make_plan(settings, plugins())
    step, network = _make_step("lstm", plan.tokenizer.vocab_size, None, 128, 1, own_layers)
    batches = cycle(batch for epoch in range(1000) for batch in plan.dataset.train.batches(epoch))

    def piece() -> int:
        titles = 0
        for _ in range(50):
            batch = next(batches)
            rows = len(batch.inputs)
            float(step(batch.inputs, batch.targets, batch.weights, network.initial_state(rows)))
            titles += rows
        return titles

    return Work(piece, f"batch {plan.training.batch_size}")


def learn(recorder: Recorder, *, settings: Mapping[str, Mapping[str, Any]], from_: str | None = None) -> None:
    """A training run as by ``textgen train``; its time includes samples, checkpoints and held-out losses.

    Args:
        recorder: records the held-out loss of each epoch.
        settings: by table.
        from_: the run to begin with, if any.
    """
    from textgen.plugins.registry import plugins
    from textgen.training.display import LineDisplay
    from textgen.training.plan import make_plan
    from textgen.training.train import open_base, train

    class Display(LineDisplay):
        def epoch(self, record: Mapping[str, float], sample: str | None) -> None:
            super().epoch(record, sample)
            recorder.note(record["held_out_loss"])

    with tempfile.TemporaryDirectory() as folder:
        base = open_base(Path(from_), plugins()) if from_ else None
        plan = make_plan(settings, plugins(), base=base)
        train(plan, plugins(), Display(), folder=Path(folder) / "run")


def _make_step(
    cell: Literal["gru", "lstm"],
    vocab_size: int,
    embedding_dim: int | None,
    units: int,
    layers: int,
    own_layers: bool,
    mixed_precision: bool = False,
) -> tuple[Any, Any]:
    import tensorflow as tf

    from textgen_keras import GradientOptions
    from textgen_keras.network.options import RecurrentOptions
    from textgen_keras.network.recurrent import KerasNetwork
    from textgen_keras.stateful_network import as_graph
    from textgen_keras.training.memory import keep_freed_memory
    from textgen_keras.training.optimizer import make_optimizer

    if own_layers:  # as in training; a user of plain Keras would not do it
        keep_freed_memory()
    kind = "one-hot" if embedding_dim is None else "embedding"
    options = {"input": kind, "embedding_dim": embedding_dim, "units": units, "layers": layers}
    network = KerasNetwork(cell, RecurrentOptions.model_validate(options), vocab_size, seed=0)
    if mixed_precision:
        network.use_mixed_precision()
    variables = list(network.named_variables().values())
    adam = make_optimizer(GradientOptions.model_validate({}))
    adam.build(variables)
    ids, weight = tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None, None], tf.float32)

    def step(inputs: Any, targets: Any, weights: Any, state: Any) -> Any:
        with tf.GradientTape() as tape:
            weights = weights / tf.reduce_sum(weights)
            if own_layers:
                loss, _ = network.nats(inputs, targets, weights, state, None, None)
            else:
                logits, _ = network(inputs, state)
                loss = tf.reduce_sum(weights * tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits))
        gradients = [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, variables)]
        adam.apply(gradients, variables)
        return loss

    return as_graph(step, ids, ids, weight, network.state_signature), network
