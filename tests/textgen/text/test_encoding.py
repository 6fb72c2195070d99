import hashlib
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.errors import PluginError
from textgen.plugins.registry import plugins
from textgen.text import encoding, id_store
from textgen.text.encoded import EncodedText
from textgen.text.encoding import TextFacts, count_starts, encode, fit, text_sha256

words = st.lists(st.text("abc é🦖\n", min_size=1, max_size=12), min_size=1, max_size=30)


every_tokenizer = pytest.mark.parametrize("name", ["char-index", "char-eos", "string-lookup"])


@pytest.fixture(params=[1, 7, 1 << 20], autouse=True)
def piece(request, monkeypatch) -> None:
    """Many pieces, a few, or one; in a file, or in memory."""
    monkeypatch.setattr(encoding, "PIECE", request.param)
    monkeypatch.setattr(id_store, "LARGE", 20 if request.param == 7 else 1 << 20)


def once(texts: list[str]) -> Iterator[str]:
    yield from texts


@every_tokenizer
@given(texts=words)
def test_the_pieces_of_a_stream_are_one_text(name, texts):
    tokenizer = plugins().make("tokenizer", {"name": name})
    fit("stream", once(texts), tokenizer)
    text = encode("stream", once(texts), tokenizer)
    assert text.ids.dtype == np.uint8
    assert text.offsets.tolist() == [0, len("".join(texts))]
    assert tokenizer.decode(text.ids) == "".join(texts)


@every_tokenizer
@given(texts=words)
def test_documents_are_encoded_each_with_its_end(name, texts):
    tokenizer = plugins().make("tokenizer", {"name": name})
    fit("documents", once(texts), tokenizer)
    text = encode("documents", once(texts), tokenizer)
    assert [tokenizer.decode(ids) for ids in np.split(text.ids, text.offsets[1:-1])] == [word + "\n" for word in texts]
    if tokenizer.has_eos:
        assert (text.ids == tokenizer.eos_id).sum() == len(texts)


@given(words)
def test_the_hash_covers_ids_and_offsets(texts):
    tokenizer = plugins().make("tokenizer", {"name": "char-eos"})
    fit("documents", once(texts), tokenizer)
    text = encode("documents", once(texts), tokenizer)
    expected = np.array(text.ids, np.int32).tobytes() + np.array(text.offsets, np.int64).tobytes()
    assert text_sha256(text) == hashlib.sha256(expected).hexdigest()
    assert text_sha256(EncodedText(text.ids.astype(np.int32), text.offsets)) == text_sha256(text)


@given(words)
def test_facts_are_gathered_while_encoding(texts):
    tokenizer = plugins().make("tokenizer", {"name": "char-index"})
    fit("documents", once(texts), tokenizer)
    facts = TextFacts()
    encoded = encode("documents", once(texts), tokenizer, facts)
    assert (facts.characters, facts.lengths.tolist()) == (len("".join(texts)), [*map(len, texts)])
    starts = count_starts("documents", encoded, facts, tokenizer)
    assert {tokenizer.decode([i]): n for i, n in starts.items()} == Counter(text[0] for text in texts)
    starts = count_starts("stream", encoded, facts, tokenizer)
    lines = Counter(line[0] for line in "".join(texts).splitlines() if line)
    assert {tokenizer.decode([i]): n for i, n in starts.items()} == lines


def test_only_the_first_lines_of_a_long_stream_are_counted(monkeypatch):
    monkeypatch.setattr(encoding, "HEAD", 8)
    facts = TextFacts()
    for texts in (["ab\n", "b\nc"], ["d\nef\n", "g"], ["h\n"]):
        facts.add(texts)
    assert (facts.head, facts.characters) == ("ab\nb\ncd\n", 14)


def test_an_id_outside_the_vocabulary_is_an_error_and_does_not_wrap(monkeypatch):
    tokenizer = plugins().make("tokenizer", {"name": "char-index"})
    tokenizer.fit(["abc"])
    monkeypatch.setattr(tokenizer, "encode_batch", lambda texts: (np.array([256], np.int32), np.array([1])))
    with pytest.raises(
        PluginError, match="the tokenizer returned ids from 256 to 256, but its vocabulary has 3: report"
    ):
        encode("stream", ["a"], tokenizer)
