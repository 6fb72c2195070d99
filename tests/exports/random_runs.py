"""Runs with random weights, which tests of exports write without training."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import safetensors.numpy

from textgen import ContextTree, NGramCounts, make_tree
from textgen.model.network import GATES, Cell, RecurrentNetwork
from textgen.plugins.registry import plugins
from textgen.runs.artifact import Artifact
from textgen.runs.manifest import TOKENIZER, WEIGHTS
from textgen.training.plan import make_plan
from textgen.training.recorder import make_manifest

STREAM = "The quick brown fox\njumps over\nthe lazy dog.\n" * 9


def random_tree(vocab: int, contexts: int, order: int = 4, seed: int = 0) -> ContextTree:
    """The n-gram of a random text, which often begins anew, and in which ids make some of those after them likely."""
    rng = np.random.default_rng([vocab, order, seed])
    counts, base = NGramCounts(order, vocab), vocab + 1
    before = 0
    for _ in range(900):
        id_ = (before % base * 3 + int(rng.geometric(0.5))) % vocab
        counts.add(np.array([before * base + id_ + 1]))
        before = 0 if rng.random() < 0.05 else (before * base + id_ + 1) % base ** (order - 1)
    return make_tree(counts, contexts)


def random_network(
    cell: Cell,
    *,
    layers: int = 1,
    vocab: int = 7,
    width: int | None = 3,
    units: int = 6,
    seed: int = 0,
    contexts: int = 0,
) -> RecurrentNetwork:
    """A network of random weights and biases, whose logits are far apart and depend on the past.

    Args:
        width: of the embedding; ``None`` for one-hot input.
        contexts: of an n-gram, at most; 0 for none.
    """
    rng = np.random.default_rng([layers, vocab, units, seed])
    columns = GATES[cell] * units
    tensors = {} if width is None else {"embedding": rng.normal(0, 1, (vocab, width))}
    for index in range(layers):
        inputs = units if index else width or vocab
        spread = 1.0 if index == 0 and width is None else 1.5 / np.sqrt(inputs)
        tensors[f"layers.{index}.kernel"] = rng.normal(0, spread, (inputs, columns))
        tensors[f"layers.{index}.recurrent_kernel"] = rng.normal(0, 1.2 / np.sqrt(units), (units, columns))
        tensors[f"layers.{index}.bias"] = rng.normal(0, 0.3, (2, columns) if cell == "gru" else (columns,))
    tensors["head.kernel"] = rng.normal(0, 4 / np.sqrt(units), (units, vocab))
    tensors["head.bias"] = rng.normal(0, 0.5, vocab)
    network = RecurrentNetwork.from_tensors(cell, tensors)
    return (
        replace(network, ngram=random_tree(vocab, contexts), powers=np.array([0.8, 0.7], np.float32))
        if contexts
        else network
    )


def save_run(
    folder: Path,
    cell: Cell = "gru",
    *,
    text: str = STREAM,
    tokenizer: str = "char-index",
    sampler: str = "temperature(0.8) | multinomial",
    width: int | None = 3,
    layers: int = 1,
    units: int = 6,
    seed: int = 0,
    contexts: int = 0,
    corpus_options: Mapping[str, Any] | None = None,
    tokenizer_options: Mapping[str, Any] | None = None,
    normalization: Literal["NFC"] | None = None,
) -> Artifact:
    """A finished run over a text file beside its folder, with the weights of a :func:`random_network`.

    The text is one document per line for ``char-eos``, and a stream for the other tokenizers.
    """
    corpus = folder.with_name(f"{folder.name}.txt")
    corpus.parent.mkdir(parents=True, exist_ok=True)
    corpus.write_text(text, encoding="utf-8", newline="")
    options = {"input": "one-hot"} if width is None else {"embedding_dim": width}
    settings: dict[str, dict[str, Any]] = {
        "corpus": {
            "name": "file",
            "path": str(corpus),
            "layout": "lines" if tokenizer == "char-eos" else "stream",
            **(corpus_options or {}),
        },
        "tokenizer": {"name": tokenizer, **(tokenizer_options or {})},
        "model": {"name": cell, "units": units, "layers": layers, "ngram": contexts, **options},
        "training": {"batch_size": 4, "length": 20, "drop_duplicates": False},
        "generation": {"sampler": sampler, "length": 60},
    }
    plan = make_plan(settings, plugins())
    artifact = Artifact(folder, make_manifest(plan, plugins()))
    sizes: dict[str, Any] = {"layers": layers, "vocab": plan.tokenizer.vocab_size, "width": width, "units": units}
    network = random_network(cell, **sizes, seed=seed, contexts=contexts)
    tensors = {name: np.ascontiguousarray(array) for name, array in network.tensors().items()}
    artifact.put(WEIGHTS, safetensors.numpy.save(tensors))
    artifact.manifest.weights = WEIGHTS
    artifact.put(TOKENIZER, json.dumps(plan.tokenizer.to_json()))
    artifact.manifest.status = "finished"
    artifact.manifest.normalization = normalization or artifact.manifest.normalization
    artifact.manifest.metrics = {"loss": 1.25, "held_out_loss": 1.5}
    artifact.commit()
    return artifact
