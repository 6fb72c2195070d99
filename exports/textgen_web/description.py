"""``model.json``: what the engine needs to know of a model besides its weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from textgen import Artifact, Chain, ContextTree, Draw, ExportSource, RecurrentNetwork, Runtime, uniforms
from textgen.errors import UnsupportedModelError

#: The format of the file.
FORMAT = "textgen-web-1"

#: The distribution of the parts that the engine knows.
OURS = "textgen-rnn"

#: The samplers that it has.
SAMPLERS = {"greedy", "multinomial", "temperature", "top-k", "top-p", "min-p", "repetition-penalty"}

#: The number of ids before the characters, by the name of a tokenizer of characters.
FIRST = {"string-lookup": 1, "char-eos": 1, "char-index": 0}

#: White space as ``\s`` of Python's ``re`` has it; that of JavaScript differs.
_SPACE = r"\t-\r\x1c- \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"

#: The texts by which an engine checks itself: seeds, the ids read and written of each, and the likeliest ids compared.
GOLDEN_SEEDS, READ, WRITTEN, LIKELIEST = (0, 7, 2**64 - 1), 5, 16, 8


def check_parts(source: ExportSource) -> None:
    """Check that the engine has all parts of a run.

    Raises:
        UnsupportedModelError: if a tokenizer or sampler is of somebody else.
    """
    manifest = source.artifact.manifest
    tokenizer = manifest.settings["tokenizer"]["name"]
    is_ours = manifest.providers.get("tokenizer", OURS) == OURS
    if not (is_ours and tokenizer in {*FIRST, "words", "byte-bpe"}):
        raise UnsupportedModelError(
            f"the tokenizer {tokenizer!r} cannot be exported for the web, whose engine has textgen's own only; "
            "serve the run with: textgen serve"
        )
    for name, owner in zip(source.chain.names, source.chain.owners, strict=True):
        if owner is not None or name not in SAMPLERS:
            raise UnsupportedModelError(
                f"the sampler {name!r} cannot be exported for the web, whose engine has textgen's own only; "
                "choose another chain: --sampler 'temperature(0.9) | multinomial'"
            )


def describe_tokenizer(run: Artifact) -> dict[str, Any]:
    """What the engine needs to know of a bundled tokenizer, besides the texts of its ids."""
    name, vocabulary = run.manifest.settings["tokenizer"]["name"], run.tokenizer_json()
    if name in FIRST:
        return {"kind": "characters", "first": FIRST[name], "count": len(vocabulary["characters"])}
    if name == "words":
        return {"kind": "words", "count": len(vocabulary["texts"]), "pattern": _in_javascript(vocabulary["pattern"])}
    ids = vocabulary["model"]["vocab"]
    merges = [merge.split(" ") if isinstance(merge, str) else merge for merge in vocabulary["model"]["merges"]]
    return {
        "kind": "bytes",
        "pieces": sorted(ids, key=ids.__getitem__),
        "merges": [[ids[left], ids[right], ids[left + right]] for left, right in merges],
    }


def _in_javascript(pattern: str) -> str:
    r"""A pattern of ``words`` in JavaScript, with its first alternative, a word, as a group."""
    word, others = pattern.split("| ?[", 1)
    pattern = f"({word})| ?[{others}"
    return pattern.replace(r"[^\s", f"[^{_SPACE}").replace(r"\S", f"[^{_SPACE}]").replace(r"\s", f"[{_SPACE}]")


def golden_texts(runtime: Runtime, chain: Chain, forbidden: Sequence[int]) -> list[dict[str, Any]]:
    """Texts by which an engine checks itself: ids to read, the likeliest ids after them, and the ids then written."""
    found = []
    for number, seed in enumerate(GOLDEN_SEEDS):
        ids = ((np.arange(READ) + number) * 7 % runtime.vocab_size).astype(np.int32)
        state = runtime.prefill(ids[None, :-1], runtime.initial_state(1))
        logits = runtime.step(ids[-1:], state)[0][0]
        draw = Draw([chain], runtime.vocab_size, forbidden)
        draw.note(0, ids)
        written = runtime.generate(ids[-1:], state, draw, uniforms(seed, [0], 1, WRITTEN)).ids[:, 0]
        likeliest = np.argsort(-logits, kind="stable")[:LIKELIEST]
        found.append(
            {
                "seed": str(seed),
                "ids": ids.tolist(),
                "likeliest": [[int(i), float(logits[i])] for i in likeliest],
                "written": written.tolist(),
            }
        )
    return found


def _without(values: dict[str, Any], name: str) -> dict[str, Any]:
    return {own: value for own, value in values.items() if own != name}


def describe(source: ExportSource, network: RecurrentNetwork | ContextTree, runtime: Runtime) -> dict[str, Any]:
    """The content of ``model.json``, but for what the exporter adds.

    Args:
        source: the run.
        network: that is exported.
        runtime: runs the export.
    """
    manifest = source.artifact.manifest
    generation = manifest.settings["generation"]
    layers = () if isinstance(network, ContextTree) else network.layers
    return {
        "format": FORMAT,
        "name": f"{manifest.settings['model']['name']} on {manifest.settings['corpus']['name']}",
        "run": source.artifact.path.absolute().name,
        "cell": layers[0].cell if layers else None,
        "units": [layer.units for layer in layers],
        "vocab_size": network.vocab_size,
        "sampler": str(source.chain),
        "length": generation["length"] or 400,
        "prompt": generation["prompt"] or "",
        "stop": list(generation["stop"]),
        "host": {**source.host, "random": [_without(case, "words") for case in source.host["random"]]},
        "tokenizer": describe_tokenizer(source.artifact),
        "golden": golden_texts(runtime, source.chain, source.forbidden_ids),
    }
