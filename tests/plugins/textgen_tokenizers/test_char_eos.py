import pytest

from textgen.errors import OptionError

ORDERS = ("sorted", "frequency")
both_orders = pytest.mark.parametrize("order", ORDERS)


def fitted(make, documents, **options):
    tokenizer = make("char-eos", **options)
    tokenizer.fit(documents)
    return tokenizer


@pytest.mark.parametrize("options", [{}, {"order": "sorted"}], ids=["by default", "by option"])
def test_sorted_is_by_code_point(make, options):
    tokenizer = fitted(make, ["bb", "é🦖aB"], **options)
    assert tokenizer.encode("Babé🦖").tolist() == [1, 2, 3, 4, 5]


def test_frequency_is_by_count_then_first_appearance(make):
    tokenizer = fitted(make, ["cab", "zabb", "y"], order="frequency")
    # b three times, a twice, then c, z and y as they first appear
    assert tokenizer.encode("baczy").tolist() == [1, 2, 3, 4, 5]


@both_orders
def test_special_ids_surround_the_characters(make, order):
    tokenizer = fitted(make, ["abc"], order=order)
    assert tokenizer.has_eos
    assert tokenizer.vocab_size == 5
    assert (tokenizer.pad_id, tokenizer.unk_id, tokenizer.eos_id) == (0, 0, 4)
    assert tokenizer.forbidden_ids == (0,)
    assert tokenizer.decode([1, 4, 2, 0, 0]) == "a\nb"


def test_an_unknown_character_is_0_when_sorted(make):
    assert fitted(make, ["ab"], order="sorted").encode("zaz").tolist() == [0, 1, 0]


def test_an_unknown_character_is_skipped_when_by_frequency(make):
    assert fitted(make, ["ab"], order="frequency").encode("zaz").tolist() == [1]


@both_orders
def test_the_option_takes_precedence_over_the_order(make, order):
    assert fitted(make, ["ab"], order=order, on_unknown="unk").encode("zaz").tolist() == [0, 1, 0]
    assert fitted(make, ["ab"], order=order, on_unknown="skip").encode("zaz").tolist() == [1]


def test_another_order_is_an_error(make):
    with pytest.raises(OptionError, match=r"tokenizer\.order"):
        make("char-eos", order="random")


@both_orders
def test_agnews_titles(make, agnews_titles, order):
    tokenizer = fitted(make, agnews_titles, order=order)
    assert tokenizer.vocab_size == 83
    assert all(tokenizer.decode(tokenizer.encode(title)) == title for title in agnews_titles)
