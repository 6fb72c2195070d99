import pytest

from textgen.errors import OptionError, UnknownCharacterError


def fitted(make, text, **options):
    tokenizer = make("char-index", **options)
    tokenizer.fit([text])
    return tokenizer


def test_characters_start_at_0_by_code_point(make):
    tokenizer = fitted(make, "b\né🦖aB")
    assert tokenizer.encode("\nBabé🦖").tolist() == [0, 1, 2, 3, 4, 5]
    assert tokenizer.vocab_size == 6


def test_it_has_no_special_ids(make):
    tokenizer = fitted(make, "ab")
    assert (tokenizer.unk_id, tokenizer.pad_id, tokenizer.eos_id) == (None, None, None)
    assert tokenizer.forbidden_ids == ()
    assert not tokenizer.has_eos


def test_an_unknown_character_is_an_error_by_default(make):
    with pytest.raises(UnknownCharacterError, match=r"'z' .* at position 1"):
        fitted(make, "ab").encode("azb?")


def test_unk_as_an_option_is_an_error(make):
    with pytest.raises(OptionError, match=r"^tokenizer\.on_unknown must be 'error' or 'skip', not 'unk'"):
        make("char-index", on_unknown="unk")


@pytest.mark.parametrize("prompt", ["abz", "ab", ""], ids=repr)
def test_unk_at_encoding_is_an_error_whatever_the_prompt(make, prompt):
    with pytest.raises(OptionError, match="no unknown id"):
        fitted(make, "ab").encode(prompt, on_unknown="unk")


def test_shakespeare(make, shakespeare):
    tokenizer = make("char-index")
    tokenizer.fit(shakespeare)
    assert tokenizer.vocab_size == 65


def test_dinos(make, dinos):
    tokenizer = make("char-index")
    tokenizer.fit(dinos)
    assert tokenizer.vocab_size == 53
