import pytest


def fitted(make, text, **options):
    tokenizer = make("string-lookup", **options)
    tokenizer.fit([text])
    return tokenizer


def test_characters_follow_unk_by_code_point(make):
    tokenizer = fitted(make, "bé🦖aB")
    assert tokenizer.encode("Babé🦖").tolist() == [1, 2, 3, 4, 5]
    assert tokenizer.vocab_size == 6


def test_unk_is_0_and_never_drawn(make):
    tokenizer = fitted(make, "ab")
    assert (tokenizer.unk_id, tokenizer.pad_id, tokenizer.eos_id) == (0, None, None)
    assert tokenizer.forbidden_ids == (0,)
    assert tokenizer.decode([1, 0, 2]) == "a[UNK]b"
    assert not tokenizer.has_eos


@pytest.mark.parametrize("options", [{}, {"on_unknown": "unk"}], ids=["by default", "by option"])
def test_an_unknown_character_is_unk(make, options):
    tokenizer = fitted(make, "ab", **options)
    # below, between and above the known code points
    assert tokenizer.encode("A\U0010ffffaz").tolist() == [0, 0, 1, 0]


def test_shakespeare(make, shakespeare):
    tokenizer = make("string-lookup")
    tokenizer.fit(shakespeare)
    assert tokenizer.vocab_size == 66
    assert tokenizer.decode(tokenizer.encode(shakespeare[0])) == shakespeare[0]
