"""The properties that all bundled tokenizers share."""

import json
from collections import Counter
from itertools import chain

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from textgen.errors import ArtifactError, CorpusError, OptionError, UnknownCharacterError
from textgen.plugins.registry import plugins
from textgen.text import encoding

TOKENIZERS = [
    ("string-lookup", {}),
    ("char-eos", {"order": "sorted"}),
    ("char-eos", {"order": "frequency"}),
    ("char-index", {}),
]
every_tokenizer = pytest.mark.parametrize(("name", "options"), TOKENIZERS)

#: Any code point, including lone surrogates.
texts = st.text(st.characters(exclude_categories=()))
some_text = st.text(st.characters(exclude_categories=()), min_size=1)

TRICKY = {
    "emoji": "a🦖b👩\u200d🚀c",
    "combining marks": "e\u0301é\u0308o",
    "CRLF": "one\r\ntwo\n",
    "byte-order mark": "\ufeffbom",
    "lone surrogates": "\ud83d\udd96\ude00",
    "highest code point": "z\U0010ffff\0",
}


@every_tokenizer
@given(documents=st.lists(texts), text=st.data())
def test_text_of_known_characters_comes_back(make, name, options, documents, text):
    documents.append("x")
    tokenizer = make(name, **options)
    tokenizer.fit(documents)
    known = text.draw(st.text(st.sampled_from("".join(documents))))
    ids = tokenizer.encode(known, on_unknown="error")
    assert ids.dtype == np.int32
    assert len(ids) == len(known)
    assert tokenizer.decode(ids) == known


@every_tokenizer
@pytest.mark.parametrize("text", TRICKY.values(), ids=TRICKY)
def test_a_character_is_a_code_point_and_nothing_is_normalised(make, name, options, text):
    tokenizer = make(name, **options)
    tokenizer.fit([text])
    assert len(tokenizer.encode(text)) == len(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text
    specials = {"string-lookup": 1, "char-eos": 2, "char-index": 0}[name]
    assert tokenizer.vocab_size == len(set(text)) + specials


@every_tokenizer
@given(documents=st.lists(texts))
def test_fit_reads_an_iterator_and_depends_on_its_characters_alone(make, name, options, documents):
    documents.append("x")
    in_parts, at_once = make(name, **options), make(name, **options)
    in_parts.fit(document for document in documents)
    at_once.fit(["".join(documents)])
    assert in_parts.to_json() == at_once.to_json()


@pytest.mark.parametrize("piece", [1, 5, 1 << 20])
@given(documents=st.lists(texts))
def test_characters_are_counted_in_pieces(make, piece, documents):
    documents.append("x")
    by_code_point, by_frequency = make("char-index"), make("char-eos", order="frequency")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "PIECE", piece)
        by_code_point.fit(documents)
        by_frequency.fit(documents)
    stream = "".join(documents)
    assert list(by_code_point.characters) == sorted(set(stream))
    assert list(by_frequency.characters) == [character for character, _ in Counter(stream).most_common()]


@every_tokenizer
@given(documents=st.lists(texts, min_size=1), known=some_text)
def test_a_batch_is_encoded_like_its_single_texts(make, name, options, documents, known):
    tokenizer = make(name, **options, on_unknown="skip")
    tokenizer.fit([known])
    parts = [tokenizer.encode(document).tolist() for document in documents]
    ids, lengths = tokenizer.encode_batch(documents)
    assert (ids.dtype, lengths.dtype) == (np.int32, np.int64)
    assert ids.tolist() == [*chain.from_iterable(parts)]
    assert lengths.tolist() == [len(part) for part in parts]


def test_an_unknown_character_of_a_batch_is_at_its_place_in_its_text(make):
    tokenizer = make("char-index")
    tokenizer.fit(["ab"])
    with pytest.raises(UnknownCharacterError, match=r"'c'.* at position 2 "):
        tokenizer.encode_batch(["ab", "bac", "b"])


@every_tokenizer
@given(text=some_text, data=st.data())
def test_the_text_of_a_prefix_is_a_prefix_of_the_text(make, name, options, text, data):
    tokenizer = make(name, **options)
    tokenizer.fit([text])
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1)))
    pieces = [tokenizer.decode([one]) for one in ids]
    for end in range(len(ids) + 1):
        assert tokenizer.decode(ids[:end]) == "".join(pieces[:end])


@every_tokenizer
@given(text=some_text, other=texts)
@example(text=TRICKY["lone surrogates"], other="")
def test_the_vocabulary_comes_back_from_json(make, name, options, text, other):
    tokenizer, restored = make(name, **options), make(name, **options)
    tokenizer.fit([text])
    restored.load_json(json.loads(json.dumps(tokenizer.to_json())))
    assert restored.vocab_size == tokenizer.vocab_size
    assert restored.eos_id == tokenizer.eos_id
    assert restored.encode(text).tolist() == tokenizer.encode(text).tolist()
    assert restored.encode(other, "skip").tolist() == tokenizer.encode(other, "skip").tolist()
    everything = range(tokenizer.vocab_size)
    assert restored.decode(everything) == tokenizer.decode(everything)


@every_tokenizer
@pytest.mark.parametrize(
    "vocabulary",
    [
        {},
        {"characters": None},
        {"characters": "abc"},
        {"characters": []},
        {"characters": ["a", "bc"]},
        {"characters": ["a", ""]},
        {"characters": ["a", "b", "a"]},
        {"characters": ["a", 98]},
        {"characters": ["a", ["b"]]},
        {"characters": ["a"], "merges": []},
    ],
    ids=str,
)
def test_an_invalid_vocabulary_is_an_error_on_one_line(make, name, options, vocabulary):
    with pytest.raises(ArtifactError, match=r"^[^\n]*distinct single characters[^\n]*$"):
        make(name, **options).load_json(vocabulary)


@every_tokenizer
@pytest.mark.parametrize("documents", [[], [""], ["", ""]], ids=repr)
def test_texts_without_a_character_are_an_error(make, name, options, documents):
    with pytest.raises(CorpusError, match=r"^the corpus has no text [^\n]*$"):
        make(name, **options).fit(documents)


@every_tokenizer
@given(text=some_text, prompt=some_text)
def test_unknown_characters_are_skipped_or_named(make, name, options, text, prompt):
    tokenizer = make(name, **options)
    tokenizer.fit([text])
    unknown = [position for position, character in enumerate(prompt) if character not in text]
    known = "".join(character for character in prompt if character in text)
    assert tokenizer.decode(tokenizer.encode(prompt, on_unknown="skip")) == known
    if unknown:
        with pytest.raises(UnknownCharacterError) as caught:
            tokenizer.encode(prompt, on_unknown="error")
        assert (caught.value.position, caught.value.character) == (unknown[0], prompt[unknown[0]])


@every_tokenizer
def test_the_option_is_the_default_of_encode(make, name, options):
    tokenizer = make(name, **options, on_unknown="error")
    tokenizer.fit(["ab"])
    with pytest.raises(UnknownCharacterError, match=r"'🦖' \(U\+1F996\) at position 2"):
        tokenizer.encode("ab🦖")
    tokenizer = make(name, **options, on_unknown="skip")
    tokenizer.fit(["ab"])
    assert tokenizer.decode(tokenizer.encode("a🦖b")) == "ab"


@every_tokenizer
def test_another_treatment_of_unknown_characters_is_an_error(make, name, options):
    with pytest.raises(OptionError, match=r"tokenizer\.on_unknown"):
        make(name, **options, on_unknown="replace")


@every_tokenizer
def test_the_empty_text_has_no_ids(make, name, options):
    tokenizer = make(name, **options)
    tokenizer.fit(["ab"])
    assert tokenizer.encode("").shape == (0,)
    assert tokenizer.decode([]) == ""


RARE = "aaaa\nbbbb é ñ é"  # two é, one ñ, three blanks, one line end


@pytest.mark.parametrize(
    ("name", "options", "text", "fate"),
    [
        ("string-lookup", {}, "aaaa\nbbbb[UNK][UNK][UNK][UNK][UNK][UNK]", "become [UNK]"),
        ("string-lookup", {"rare": "drop"}, "aaaa\nbbbb", "are dropped"),
        ("char-eos", {"order": "frequency"}, "aaaa\nbbbb", "become the unknown id"),
        ("char-eos", {"rare": "drop"}, "aaaa\nbbbb", "are dropped"),
        ("char-index", {}, "aaaa\nbbbb", "are dropped"),
    ],
)
def test_rare_characters_of_a_corpus_are_left_out(make, capsys, name, options, text, fate):
    tokenizer = make(name, **options, min_count=4)
    tokenizer.fit(iter([RARE]))
    assert tokenizer.characters == ("a", "b", "\n") if "order" in options else ("\n", "a", "b")
    said = f"textgen: 3 of 6 characters occur fewer than 4 times, 6 times in all; they {fate}\n"
    assert capsys.readouterr().err == said
    for restored in (tokenizer, make(name, **options, min_count=4)):
        restored.load_json(json.loads(json.dumps(tokenizer.to_json())))
        ids, lengths = restored.encode_batch(["aé", RARE])
        kept = fate != "are dropped"
        assert lengths.tolist() == [1 + kept, len(RARE) if kept else 9]
        assert restored.decode(ids[1 + kept :]) == text
        assert ids.tolist().count(restored.unk_id) == (7 if kept else 0)


@every_tokenizer
def test_a_rare_character_of_a_prompt_is_unknown(make, name, options):
    tokenizer = make(name, **options, min_count=4)
    tokenizer.fit([RARE])
    with pytest.raises(UnknownCharacterError, match=r"'é' .* at position 1 "):
        tokenizer.encode("aé", on_unknown="error")
    assert tokenizer.decode(tokenizer.encode("aéb", on_unknown="skip")) == "ab"


@every_tokenizer
def test_without_rare_characters_nothing_is_said(make, capsys, name, options):
    tokenizer = make(name, **options, min_count=2)
    tokenizer.fit(["abab\n"])  # a line end is never rare: it ends documents
    assert capsys.readouterr().err == ""
    assert {*tokenizer.characters} == {*"ab\n"}
    assert [*tokenizer.to_json()] == ["characters"]


@every_tokenizer
def test_a_corpus_with_rare_characters_only_is_an_error(make, name, options):
    with pytest.raises(CorpusError, match=r"^no character of the corpus occurs 3 times; lower tokenizer\.min_count$"):
        make(name, **options, min_count=3).fit(["abab"])


def test_char_index_has_no_id_for_rare_characters(make):
    with pytest.raises(OptionError, match="no option 'rare'"):
        make("char-index", rare="unk")


@every_tokenizer
@given(text=some_text, other=texts)
@example(text="bd", other="acab")
def test_new_characters_follow_those_that_are_known(make, name, options, text, other):
    tokenizer, restored = make(name, **options), make(name, **options)
    tokenizer.fit([text])
    known, size = tokenizer.characters, tokenizer.vocab_size
    special = [tokenizer.pad_id, tokenizer.unk_id, tokenizer.eos_id]
    ids = tokenizer.encode(text)
    before = tokenizer.grow(iter([other]))
    new = tokenizer.characters[len(known) :]
    assert tokenizer.characters[: len(known)] == known
    assert {*new} == {*other} - {*known}
    assert (before.dtype, len(before)) == (np.int32, size + len(new))
    assert before[before >= 0].tolist() == list(range(size))
    assert tokenizer.encode(text).tolist() == ids.tolist()
    assert tokenizer.decode(tokenizer.encode(other, "error")) == other
    now = [tokenizer.pad_id, tokenizer.unk_id, tokenizer.eos_id]
    assert [None if i is None else before[i] for i in now] == special
    restored.load_json(json.loads(json.dumps(tokenizer.to_json())))
    assert restored.encode(other).tolist() == tokenizer.encode(other).tolist()
    assert restored.decode(range(restored.vocab_size)) == tokenizer.decode(range(tokenizer.vocab_size))


def test_new_characters_have_the_order_of_the_tokenizer(make):
    tokenizer = make("char-eos", order="frequency")
    tokenizer.fit(["ba"])
    before = tokenizer.grow(["xyyz", "zzab"])
    assert tokenizer.characters == ("b", "a", "z", "y", "x")
    assert before.tolist() == [0, 1, 2, -1, -1, -1, 3]
    tokenizer = make("char-index")
    tokenizer.fit(["ca"])
    tokenizer.grow(["bcd"])
    assert tokenizer.characters == ("a", "c", "b", "d")


def test_rare_new_characters_are_not_added(make, capsys):
    tokenizer = make("string-lookup", min_count=2)
    tokenizer.fit(["aaé"])
    capsys.readouterr()
    assert tokenizer.grow(["ééñxx"]).tolist() == [0, 1, -1, -1]
    assert tokenizer.characters == ("a", "x", "é"), "what was rare once is known now"
    assert tokenizer.rare == ("ñ",)
    said = "textgen: 1 of 3 new characters occur fewer than 2 times, 1 times in all; they become [UNK]\n"
    assert capsys.readouterr().err == said


def test_they_are_registered_with_a_summary():
    provided = {item.name: item.summary for item in plugins().provided("tokenizer")}
    assert all(provided[name] for name, _ in TOKENIZERS)
