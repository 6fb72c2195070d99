import pytest

from textgen.errors import UnknownCharacterError, shortened


@pytest.mark.parametrize(
    ("text", "ways", "message"),
    [
        (
            "é",
            ("skip", "unk"),
            "character 'é' (U+00E9) at position 4 is not in the vocabulary; remove it, or use --on-unknown skip or unk",
        ),
        ("Zebra", ("skip",), "'Zebra' at position 4 is not in the vocabulary; remove it, or use --on-unknown skip"),
        ("e\u0301", (), "'e\u0301' at position 4 is not in the vocabulary; remove it"),
    ],
)
def test_an_unknown_piece_may_be_longer_than_a_character(text, ways, message):
    error = UnknownCharacterError(text, 4, ways)
    assert (str(error), error.character, error.position) == (message, text, 4)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("it's", '"it\'s"'),
        ("a" * 6, "'aaaaaa'"),
        ("a" * 7, "'aaaaaaa…'"),
        ([1, 2], "[1, 2]"),
        ([1, 2, 3], "[1, 2, 3…"),
        (float("nan"), "nan"),
    ],
)
def test_a_long_value_is_shortened_in_a_message(value, shown):
    assert shortened(value, 8) == shown
