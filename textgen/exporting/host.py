"""What a program in any language needs to know to write with an export: ids, their texts, beginnings, random numbers.

A host is a program that has the weights or graphs of an export, and neither textgen nor its plugins.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from textgen.errors import UnknownCharacterError
from textgen.runs.manifest import Manifest
from textgen.sampling.draw import random_words, uniforms
from textgen.text.boundaries import Boundaries
from textgen.text.decoder import PlainDecoder
from textgen.text.labels import labels_of, without_labels
from textgen.text.tokenizer import OnUnknown, Tokenizer
from textgen.text.vocabulary import writes

#: Seed, row and first step of the random numbers by which a host checks its own: a plain seed, and the largest key at
#: a step whose word is in the middle of a block, and whose block's number has more than 32 bits.
TESTED = ((7, 0, 0), (2**64 - 1, 2**64 - 1, 2**35 + 2))

#: Characters that a vocabulary is likely to lack, the likeliest first: noncharacters, then halves of characters, which
#: are all that a tokenizer of bytes lacks.
_UNLIKELY = (*map(chr, range(0x10FFFF, 0x10FF00, -1)), "\udfff", "\udc00")


def describe_for_hosts(tokenizer: Tokenizer, boundaries: Boundaries, manifest: Manifest) -> dict[str, Any]:
    """What a host needs to know of a run besides its network and its sampler chain, as JSON values.

    Ids and counts are pairs and not objects, whose order JavaScript changes; what may pass 2**53 is text.

    Returns:
        ``texts``: the text of each id, that of a label empty; ``None`` if an id has no text of its own, as a byte.
        ``is_characters``: whether each character of a prompt is one id, that of its text.
        ``special_ids``: of ``end`` (of a document), ``unknown``, ``padding``; ``None`` for one that there is not.
        ``forbidden_ids``: ids that are never drawn.
        ``on_unknown``: what becomes of an unknown character of a prompt: ``"error"``, ``"skip"`` or ``"unk"``; ``None``
        if there is none.
        ``prompt``: ``drops_byte_order_mark`` at its beginning; ``converts_line_ends`` to newlines; ``normalization``.
        ``starts``: pairs of an id and the number of training texts that begin with it, in the order of drawing.
        ``labels``: pairs of a label and the id that its texts begin with.
        ``random``: random numbers to compare with: ``seed``, ``row``, ``step``; ``words`` (hexadecimal) and
        ``uniforms`` from this step on.
    """
    text = without_labels(tokenizer)
    texts = None
    if isinstance(text.decoder(), PlainDecoder):
        texts = [tokenizer.decode([i]) for i in range(tokenizer.vocab_size)]
    return {
        "texts": texts,
        "is_characters": texts is not None and _is_characters(text, texts[: text.vocab_size]),
        "special_ids": {"end": boundaries.end_id, "unknown": tokenizer.unk_id, "padding": tokenizer.pad_id},
        "forbidden_ids": list(boundaries.forbidden_ids(tokenizer)),
        "on_unknown": _on_unknown(text),
        "prompt": {
            "drops_byte_order_mark": not writes(text, "\ufeff"),
            "converts_line_ends": not writes(text, "\r"),
            "normalization": manifest.normalization,
        },
        "starts": [list(pair) for pair in boundaries.starts.items()],
        "labels": [[label, text.vocab_size + number] for number, label in enumerate(labels_of(tokenizer))],
        "random": [
            {
                "seed": str(seed),
                "row": str(row),
                "step": str(step),
                "words": [f"{word:016x}" for word in random_words(seed, [row], step, 6)[:, 0]],
                "uniforms": uniforms(seed, [row], step, 6)[:, 0].tolist(),
            }
            for seed, row, step in TESTED
        ],
    }


def _is_characters(tokenizer: Tokenizer, texts: Iterable[str]) -> bool:
    """Whether each character is one id, that of its text."""
    special = {tokenizer.pad_id, tokenizer.unk_id, tokenizer.eos_id}
    characters = {i: text for i, text in enumerate(texts) if i not in special}
    whole = "".join(characters.values())
    return all(len(text) == 1 for text in characters.values()) and tokenizer.encode(whole, "error").tolist() == [
        *characters
    ]


def _on_unknown(tokenizer: Tokenizer) -> OnUnknown | None:
    """What a tokenizer does by default with an unknown character; ``None`` if it knows all."""
    for character in _UNLIKELY:
        try:
            tokenizer.encode(character, "error")
        except UnknownCharacterError:
            break
    else:
        return None
    try:
        return "unk" if len(tokenizer.encode(character)) else "skip"
    except UnknownCharacterError:
        return "error"
