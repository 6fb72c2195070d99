import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tokenizers
from hypothesis import example, given
from hypothesis import strategies as st

from textgen.errors import ArtifactError, CorpusError, OptionError, UnavailableError, UnknownCharacterError

TEXT = "the cat sat on the mat\nand that was that; the end\n" * 20

#: Any text that UTF-8 has.
texts = st.text()


@pytest.fixture(scope="module")
def fitted(make):
    tokenizer = make("byte-bpe", vocab_size=300)
    tokenizer.fit([TEXT])
    return tokenizer


@given(text=texts)
@example(text="<eos> is text, 日本語 🌲\ufeff\0\r\n  two")
@example(text="\ufffd\ufffd")
def test_any_text_comes_back(fitted, text):
    ids = fitted.encode(text)
    assert ids.dtype == np.int32
    assert fitted.eos_id not in ids.tolist()
    assert fitted.decode(ids) == text
    assert fitted.characters_per_id[ids].sum() == len(text)


@given(text=texts, cuts=st.lists(st.integers(0, 200)))
@example(text="🌲🌲é", cuts=[*range(12)])
def test_text_is_decoded_as_its_bytes_come(fitted, text, cuts):
    ids = fitted.encode(text)
    decoder = fitted.decoder()
    ends = [*sorted(min(cut, len(ids)) for cut in cuts), len(ids)]
    pieces = [decoder.feed(ids[start:end]) for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    assert "".join(pieces) + decoder.flush() == text


@given(ids=st.lists(st.integers(0, 276)))
def test_any_ids_are_the_text_that_hugging_face_has(fitted, ids):
    theirs = tokenizers.Tokenizer.from_str(json.dumps(fitted.to_json()))
    assert fitted.decode(ids) == theirs.decode(ids)


@given(text=texts)
def test_hugging_face_reads_the_vocabulary(fitted, text):
    theirs = tokenizers.Tokenizer.from_str(json.dumps(fitted.to_json()))
    ids = theirs.encode(text, add_special_tokens=False).ids
    assert ids == fitted.encode(text).tolist()
    assert theirs.decode(ids) == text
    assert theirs.get_vocab_size() == fitted.eos_id, "<eos> is the id after theirs"


def test_the_end_is_a_line_end_and_not_part_of_any_text(fitted):
    assert fitted.has_eos
    assert fitted.eos_id == fitted.vocab_size - 1 == 277
    assert fitted.decode([fitted.eos_id]) == "\n"
    half = fitted.encode("🌲")[:2].tolist()
    assert fitted.decode([*half, fitted.eos_id]) == "\ufffd\n"
    assert fitted.forbidden_ids == ()
    assert (fitted.unk_id, fitted.pad_id) == (None, None)


def test_frequent_pieces_are_single_ids(fitted):
    assert [fitted.decode([i]) for i in fitted.encode("the mat")] == ["the", " mat"]


@pytest.mark.parametrize("size", [257, 280, 100_000])
def test_the_vocabulary_has_at_most_its_size(make, size):
    tokenizer = make("byte-bpe", vocab_size=size)
    tokenizer.fit(["ab ab ab"])
    assert tokenizer.vocab_size == min(size, 259)  # 256 bytes, "ab", " ab", <eos>


def test_rare_pairs_are_not_merged(make):
    tokenizer = make("byte-bpe", min_frequency=3)
    tokenizer.fit(["ab ab cd ab cd"])
    assert tokenizer.encode("ab").shape == (1,)
    assert tokenizer.encode("cd").shape == (2,)


def test_a_vocabulary_without_a_place_for_each_byte_is_an_error(make):
    with pytest.raises(OptionError, match=r"^tokenizer\.vocab_size must be at least 257"):
        make("byte-bpe", vocab_size=256)


def test_half_a_character_is_an_error(make, fitted):
    with pytest.raises(UnknownCharacterError, match=r"U\+D83C\) at position 2 .* use --on-unknown skip,"):
        fitted.encode("ab\ud83c!")
    assert fitted.decode(fitted.encode("ab\ud83c!", "skip")) == "ab!"
    with pytest.raises(OptionError, match="no unknown id; use --on-unknown error or skip"):
        fitted.encode("ab", "unk")
    with pytest.raises(CorpusError, match=r"half a character, '\\ud83c'.* --set tokenizer.on_unknown=skip$"):
        make("byte-bpe").fit(["ab\ud83c"])
    lenient = make("byte-bpe", on_unknown="skip")
    lenient.fit(["ab\ud83c"])
    assert lenient.decode(lenient.encode_batch(["a\ud83cb"])[0]) == "ab"


@pytest.mark.parametrize("documents", [[], [""]], ids=["none", "empty"])
def test_no_text_is_an_error(make, documents):
    with pytest.raises(CorpusError, match="no text"):
        make("byte-bpe").fit(documents)


def test_an_error_of_the_corpus_comes_through(make):
    def documents():
        yield "abc"
        raise CorpusError("the file is gone")

    with pytest.raises(CorpusError, match=r"^the file is gone$"):
        make("byte-bpe").fit(documents())


def test_a_long_text_is_encoded_in_parts_as_at_once(make):
    text = TEXT * 200
    tokenizer = make("byte-bpe", vocab_size=300)
    tokenizer.fit([text])
    at_once = tokenizers.Tokenizer.from_str(json.dumps(tokenizer.to_json())).encode(text).ids
    assert tokenizer.encode(text).tolist() == at_once
    ids, lengths = tokenizer.encode_batch(["", text, "a", ""])
    assert lengths.tolist() == [0, len(at_once), 1, 0]
    assert ids[:-1].tolist() == at_once


@pytest.mark.parametrize("text", ["a", "漢字", " ", "-\n"])
def test_a_long_text_without_words_comes_back(fitted, text):
    long = text * 100_000
    assert fitted.decode(fitted.encode(long)) == long


PROGRAM = """
import os, sys
from textgen.plugins import plugins
tokenizer = plugins().make("tokenizer", {"name": "byte-bpe", "vocab_size": 400})
tokenizer.fit(f"{n} little trees and {n * n} birds" for n in range(20_000))
tokenizer.encode_batch(["trees"] * 1000)
if os.fork() == 0:
    tokenizer.encode_batch(["trees"] * 1000)  # threads do not survive a fork
    os._exit(0)
os.wait()
print(tokenizer.to_json())
"""


def test_each_process_merges_the_same_whatever_its_threads():
    outputs = set()
    for changes in ({}, {}, {"TOKENIZERS_PARALLELISM": "false"}, {"RAYON_NUM_THREADS": "7"}):
        environment = {name: value for name, value in os.environ.items() if name != "TOKENIZERS_PARALLELISM"} | changes
        command = [sys.executable, "-c", PROGRAM]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=300)
        assert done.stderr == ""
        outputs.add(done.stdout)
    assert len(outputs) == 1


def change(vocabulary, **changes):
    return json.loads(json.dumps(vocabulary)) | changes


def test_another_vocabulary_is_an_error(make, fitted):
    good = fitted.to_json()
    model = good["model"]
    ids = dict(model["vocab"])
    special = {"id": 5, "content": "<x>", "special": True}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    bad = {
        "empty": {},
        "a list": {"characters": ["a"]},
        "without a byte": change(good, model=model | {"vocab": {k: v for k, v in ids.items() if k != "a"}}),
        "an id twice": change(good, model=model | {"vocab": ids | {"a": ids["b"]}}),
        "a gap": change(good, model=model | {"vocab": ids | {"a": 1000}}),
        "a token that is not bytes": change(good, model=model | {"vocab": ids | {"日": 299}}),
        "dropout": change(good, model=model | {"dropout": 0.5}),
        "another normalizer": change(good, normalizer={"type": "Lowercase"}),
        "a special token": change(good, added_tokens=[special | flags]),
        "ids that are not numbers": change(good, model=model | {"vocab": ids | {"a": "x"}}),
    }
    for vocabulary in bad.values():
        with pytest.raises(ArtifactError, match=r"^the vocabulary is not one of byte-bpe[^\n]*$"):
            make("byte-bpe").load_json(vocabulary)


def test_without_the_library_its_options_are_known(command_line, make, fitted, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    code, out, err = command_line("plugins", "show", "byte-bpe")
    assert (code, err) == (0, "")
    assert "vocab_size" in out
    for use in (lambda: make("byte-bpe").fit(["ab"]), lambda: make("byte-bpe").load_json(fitted.to_json())):
        with pytest.raises(UnavailableError, match=r'^byte-bpe needs tokenizers: pip install "textgen-rnn\[bpe\]"$'):
            use()


def test_shakespeare(make, shakespeare):
    tokenizer = make("byte-bpe", vocab_size=1000)
    tokenizer.fit(shakespeare)
    assert tokenizer.vocab_size == 1000
    ids = tokenizer.encode(shakespeare[0])
    assert tokenizer.decode(ids) == shakespeare[0]
    assert len(shakespeare[0]) > 2.3 * len(ids)
