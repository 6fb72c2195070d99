"""What exports tell hosts, against what the tokenizers do, and against Philox in whole numbers."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from textgen import Tokenizer
from textgen.exporting.host import describe_for_hosts
from textgen.plugins.registry import plugins
from textgen.runs.manifest import Manifest
from textgen.text.boundaries import Boundaries
from textgen.text.labels import LabelledTokenizer

TEXTS = ["10 cats\n", "a hat", "10"]
SETTINGS: dict[str, Any] = {
    "corpus": {"name": "file"},
    "tokenizer": {"name": "char-eos"},
    "model": {"name": "gru"},
    "training": {},
    "generation": {},
}


def described(tokenizer: Tokenizer, starts: dict[int, int] | None = None, **manifest: Any) -> dict[str, Any]:
    about = Manifest(settings=SETTINGS, vocab_size=tokenizer.vocab_size, state_spec=[], **manifest)
    table = describe_for_hosts(tokenizer, Boundaries(tokenizer.eos_id, starts or {}), about)
    same: dict[str, Any] = json.loads(json.dumps(table))
    assert same == table  # nothing changes on its way through JSON
    return table


def fitted(name: str, texts: list[str] = TEXTS, **options: Any) -> Tokenizer:
    made = plugins().get("tokenizer", name)
    tokenizer: Tokenizer = made(made.Options(**options))
    tokenizer.fit(texts)
    return tokenizer


SPECIAL = ("end", "unknown", "padding")


@pytest.mark.parametrize(
    ("name", "options", "is_characters", "special", "forbidden", "on_unknown"),
    [
        ("char-index", {}, True, (None, None, None), [], "error"),
        ("char-index", {"on_unknown": "skip"}, True, (None, None, None), [], "skip"),
        ("string-lookup", {}, True, (None, 0, None), [0], "unk"),
        ("string-lookup", {"on_unknown": "error"}, True, (None, 0, None), [0], "error"),
        ("char-eos", {}, True, (10, 0, 0), [0], "unk"),
        ("char-eos", {"order": "frequency"}, True, (10, 0, 0), [0], "skip"),
        ("words", {"min_count": 1}, False, (12, None, None), [], "error"),
        ("words", {"min_count": 1, "rare": "unk"}, False, (6, 5, None), [5], "unk"),
        ("byte-bpe", {"vocab_size": 258}, False, (257, None, None), [], "error"),
    ],
)
def test_ids_and_their_texts(name, options, is_characters, special, forbidden, on_unknown):
    tokenizer = fitted(name, **options)
    table = described(tokenizer)
    assert table["is_characters"] is is_characters
    assert table["special_ids"] == dict(zip(SPECIAL, special, strict=True))
    assert table["forbidden_ids"] == forbidden
    assert table["on_unknown"] == on_unknown
    if name == "byte-bpe":
        assert table["texts"] is None
        return
    for text in TEXTS:
        ids = tokenizer.encode(text).tolist()
        assert "".join(table["texts"][i] for i in ids) == tokenizer.decode(ids)
        if is_characters:
            assert [table["texts"].index(character) for character in text if character != "\n"] == [
                i for i, character in zip(ids, text, strict=True) if character != "\n"
            ]


def test_prompts_are_converted_as_the_training_text_was():
    expected = {"drops_byte_order_mark": True, "converts_line_ends": True, "normalization": None}
    assert described(fitted("char-index"))["prompt"] == expected
    odd = fitted("char-index", ["\ufeffa\r\n"])
    assert described(odd, normalization="NFC")["prompt"] == {
        "drops_byte_order_mark": False,
        "converts_line_ends": False,
        "normalization": "NFC",
    }


def test_starts_keep_their_order_and_labels_follow_the_ids_of_the_text():
    tokenizer = LabelledTokenizer(fitted("char-eos"), ["World", "7"])
    table = described(tokenizer, {12: 5, 2: 1, 11: 3}, labels=["World", "7"])
    assert table["starts"] == [[12, 5], [2, 1], [11, 3]]
    assert table["labels"] == [["World", 11], ["7", 12]]
    assert table["texts"][11:] == ["", ""]
    assert table["is_characters"]
    assert table["forbidden_ids"] == [0, 11, 12]
    assert table["special_ids"]["end"] == 10


def philox(seed: int, row: int, step: int) -> Iterator[int]:
    """The words of Philox4x64-10 as Salmon et al. (2011) define it; NumPy's counter is 1 at the first block."""
    mask = 2**64 - 1
    while True:
        x, key = [(step // 4 + 1) & mask, 0, 0, 0], [seed, row]
        for _ in range(10):
            left, right = 0xD2E7470EE14C6C93 * x[0], 0xCA5A826395121157 * x[2]
            x = [(right >> 64) ^ x[1] ^ key[0], right & mask, (left >> 64) ^ x[3] ^ key[1], left & mask]
            key = [(key[0] + 0x9E3779B97F4A7C15) & mask, (key[1] + 0xBB67AE8584CAA73B) & mask]
        yield x[step % 4]
        step += 1


def test_the_random_numbers_are_those_of_philox():
    tests = described(fitted("char-index"))["random"]
    assert {(test["seed"], test["row"]) for test in tests} > {(str(2**64 - 1), str(2**64 - 1))}
    for test in tests:
        expected = philox(*(int(test[name]) for name in ("seed", "row", "step")))
        assert len(test["words"]) == len(test["uniforms"]) > 4
        for word, uniform, value in zip(test["words"], test["uniforms"], expected, strict=False):
            assert int(word, 16) == value
            assert uniform == (value >> 40) / 2**24
