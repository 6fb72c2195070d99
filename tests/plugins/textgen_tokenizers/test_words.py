import json
import re

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from textgen.errors import ArtifactError, CorpusError, OptionError, UnknownCharacterError

#: Any code point, including lone surrogates.
texts = st.text(st.characters(exclude_categories=()))
some_text = st.text(st.characters(exclude_categories=()), min_size=1)


def fitted(make, *documents, **options):
    tokenizer = make("words", **options)
    tokenizer.fit(iter(documents))
    return tokenizer


def pieces(tokenizer, text):
    return [tokenizer.decode([i]) for i in tokenizer.encode(text)]


@given(text=some_text, options=st.sampled_from([{}, {"min_count": 1}, {"rare": "unk", "min_count": 1}, {"size": 0}]))
@example(text="\ud83d\udd96 \ud83d\udd96", options={"min_count": 1})
def test_text_comes_back(make, text, options):
    assume("rare" not in options or len(text) <= 64)  # a longer word is never kept, so it would be unknown
    tokenizer = fitted(make, text, **{"size": 10_000, **options})
    ids = tokenizer.encode(text, "error")
    assert ids.dtype == np.int32
    assert tokenizer.decode(ids) == text
    assert tokenizer.characters_per_id[ids].sum() == len(text)
    restored = make("words", **options)
    restored.load_json(json.loads(json.dumps(tokenizer.to_json())))
    assert restored.encode(text).tolist() == ids.tolist()


@given(text=some_text)
def test_with_spelling_any_text_of_known_characters_is_encoded(make, text):
    tokenizer = fitted(make, text)
    backwards = text[::-1]
    assert tokenizer.decode(tokenizer.encode(backwards)) == backwards


@given(start=texts, end=texts)
@example(start="a  ", end="\n b")
def test_a_text_is_cut_before_white_space_as_at_once(make, start, end):
    text = f"{start}x\n{end}"
    tokenizer = fitted(make, text, min_count=1, size=10_000)
    cut = len(start) + 1
    parts = [*tokenizer.encode(text[:cut]), *tokenizer.encode(text[cut:])]
    assert parts == tokenizer.encode(text).tolist()


@pytest.mark.parametrize(
    ("text", "tokens"),
    {
        "the cat": ["the", " cat"],
        "the  cat": ["the", " ", " cat"],
        "end.\n\n  The": ["end", ".", "\n\n ", " The"],
        "ends \n": ["ends", " \n"],
        "don't, won’t": ["don't", ",", " won’t"],
        "'tis the dogs'": ["'", "tis", " the", " dogs", "'"],
        "e\u0301te\u0301 \u0928\u092e\u0938\u094d\u0924\u0947": [
            "e\u0301te\u0301",
            " \u0928\u092e\u0938\u094d\u0924\u0947",
        ],
        "日本語、テスト。": ["日本語", "、", "テスト", "。"],
        "in 1984: 3.14": ["in", " 1984", ":", " 3", ".", "14"],
        "👩\u200d🚀 and ❤\ufe0f": ["👩\u200d🚀", " and", " ❤\ufe0f"],
        "(a_b) -- «c»": ["(", "a", "_", "b", ")", " -", "-", " «", "c", "»"],
        "\tcall()\r\n": ["\t", "call", "(", ")", "\r\n"],
    }.items(),
)
def test_tokens(make, text, tokens):
    tokenizer = fitted(make, text, min_count=1)
    assert pieces(tokenizer, text) == tokens
    assert re.findall(tokenizer.to_json()["pattern"], text) == tokens


def test_words_are_by_frequency_after_the_characters(make):
    tokenizer = fitted(make, "to be or not to be: to see or to do", "to be")
    characters = sorted(set("to be or not to be: to see or to do"))
    # " to" and " be" three times each, then those that occur twice, by code point; the others occur once
    assert tokenizer.to_json()["texts"] == [*characters, " be", " to", " or", "to"]
    assert fitted(make, "to be to be to see", size=1).to_json()["texts"][-1] == " be"
    assert " see" in fitted(make, "to be to be to see", min_count=1).to_json()["texts"]
    with_end = tokenizer.vocab_size
    assert (tokenizer.has_eos, tokenizer.eos_id, tokenizer.unk_id) == (True, with_end - 1, None)
    assert tokenizer.decode([tokenizer.eos_id]) == "\n"
    assert tokenizer.forbidden_ids == ()


def test_a_rare_word_is_spelled(make):
    tokenizer = fitted(make, "the cat the hat the cat the act")
    assert pieces(tokenizer, " the tact") == [" the", " ", "t", "a", "c", "t"]


def test_an_unknown_character_is_at_its_place(make):
    tokenizer = fitted(make, "the cat the cat")
    for _ in range(2):  # what was looked up once is looked up again
        with pytest.raises(UnknownCharacterError, match=r"'z' \(U\+007A\) at position 10 .* use --on-unknown skip,"):
            tokenizer.encode("the cat thze cat zz")
    assert tokenizer.decode(tokenizer.encode("the cat thze cat zz", "skip")) == "the cat the cat "
    with pytest.raises(OptionError, match=r"no \[UNK\] with rare=spell; use --on-unknown error or skip"):
        tokenizer.encode("the", "unk")
    lenient = fitted(make, "abc", on_unknown="skip")
    assert lenient.decode(lenient.encode("azb")) == "ab"


def test_a_rare_word_is_unk(make):
    tokenizer = fitted(make, "the cat, the cat!\n", "the cat: the hat", rare="unk")
    assert tokenizer.decode(tokenizer.encode(" the hat: the dog!\n")) == " the[UNK]: the[UNK]!\n"
    assert tokenizer.forbidden_ids == (tokenizer.unk_id,)
    assert (tokenizer.unk_id, tokenizer.eos_id) == (tokenizer.vocab_size - 2, tokenizer.vocab_size - 1)
    with pytest.raises(UnknownCharacterError, match=r"^'hat' at position 5 .* use --on-unknown skip or unk,"):
        tokenizer.encode(" the hat", "error")
    with pytest.raises(UnknownCharacterError, match=r"^character '\?' .* at position 4 "):
        tokenizer.encode(" the?", "error")
    assert tokenizer.decode(tokenizer.encode(" the hat?", "skip")) == " the"
    assert tokenizer.encode("?").tolist() == [tokenizer.unk_id]


def test_the_words_that_become_unk_are_counted(make, capsys):
    fitted(make, "the cat the cat the hat. the act: a", rare="unk")
    # the, cat, hat, act and a, each with the blank before it; "the" once without, "hat", "act" and "a" once
    assert capsys.readouterr().err == "textgen: 4 of 6 words are rare, 4 times in all; they become [UNK]\n"
    fitted(make, "the cat the cat the hat", rare="unk", min_count=1)
    fitted(make, "the cat the cat the hat")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("options", [{"min_count": 2}, {"min_count": 1, "size": 0}], ids=str)
def test_only_rare_words_are_an_error(make, options):
    with pytest.raises(
        CorpusError, match=r"^each word .* \[UNK\]: lower tokenizer\.min_count, raise tokenizer\.size, or"
    ):
        fitted(make, "Ada\n", "Eda\n", rare="unk", **options)


def test_a_corpus_has_rare_words_whatever_prompts_may_have(make):
    tokenizer = fitted(make, "the cat the cat the hat", rare="unk", on_unknown="error")
    ids, lengths = tokenizer.encode_batch([" the hat", " the"])
    assert ids.tolist() == [ids[0], tokenizer.unk_id, ids[0]]
    assert lengths.tolist() == [2, 1]
    with pytest.raises(UnknownCharacterError):
        tokenizer.encode(" the hat")


def test_unk_without_an_id_for_it_is_an_error(make):
    with pytest.raises(OptionError, match=r"^tokenizer: on_unknown=unk needs rare=unk"):
        make("words", on_unknown="unk")


def test_a_very_long_word_is_spelled(make):
    tokenizer = fitted(make, "a" * 65 + " " + "b" * 63 + (" " + "a" * 65) * 3 + (" " + "b" * 63) * 3)
    assert len(tokenizer.encode("a" * 65)) == 65
    assert len(tokenizer.encode(" " + "b" * 63)) == 1


@pytest.mark.parametrize("documents", [[], [""]], ids=["none", "empty"])
def test_no_text_is_an_error(make, documents):
    with pytest.raises(CorpusError, match="no text"):
        make("words").fit(documents)


@pytest.mark.parametrize(
    "vocabulary",
    [
        {},
        {"texts": ["a"]},
        {"texts": [], "pattern": "."},
        {"texts": ["a", "a"], "pattern": "."},
        {"texts": ["a", ""], "pattern": "."},
        {"texts": ["a", 1], "pattern": "."},
        {"texts": "ab", "pattern": "."},
        {"texts": ["a"], "pattern": "("},
        {"texts": ["a"], "pattern": None},
        {"texts": ["a"], "pattern": ".", "more": 1},
    ],
    ids=str,
)
def test_another_vocabulary_is_an_error(make, vocabulary):
    with pytest.raises(ArtifactError, match=r"^the vocabulary is not [^\n]*restore it or train again$"):
        make("words").load_json(vocabulary)


@pytest.mark.parametrize("rare", ["spell", "unk"])
def test_new_characters_are_added_before_the_special_ids(make, rare):
    tokenizer = fitted(make, "the cat, the cat", rare=rare)
    size, end, unknown = tokenizer.vocab_size, tokenizer.eos_id, tokenizer.unk_id
    known = tokenizer.to_json()["texts"]
    before = tokenizer.grow(iter(["the dog! the dog!"]))
    new = sorted(set("the dog!") - set(known)) if rare == "spell" else ["!"]
    assert tokenizer.to_json()["texts"] == [*known, *new], "words are not added"
    assert before.tolist() == [*range(len(known)), *[-1] * len(new), *range(len(known), size)]
    assert before[tokenizer.eos_id] == end
    if rare == "spell":
        assert pieces(tokenizer, " dog") == [*" dog"]
    else:
        assert before[tokenizer.unk_id] == unknown
        assert tokenizer.decode(tokenizer.encode(" dog!")) == "[UNK]!"


def test_shakespeare(make, shakespeare):
    tokenizer = fitted(make, *shakespeare)
    ids = tokenizer.encode(shakespeare[0])
    assert tokenizer.vocab_size == 65 + 2000 + 1
    assert tokenizer.decode(ids) == shakespeare[0]
