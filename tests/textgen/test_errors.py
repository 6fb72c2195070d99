import pytest

from textgen.errors import UnknownCharacterError


@pytest.mark.parametrize(
    ("text", "ways", "message"),
    [
        (
            "é",
            ("skip", "unk"),
            "character 'é' (U+00E9) at position 4 is not in the vocabulary; remove it, or use --on-unknown skip or unk"
            ', in Python on_unknown="skip" or "unk"',
        ),
        (
            "Zebra",
            ("skip",),
            "'Zebra' at position 4 is not in the vocabulary; remove it, or use --on-unknown skip, in Python "
            'on_unknown="skip"',
        ),
        ("e\u0301", (), "'e\u0301' at position 4 is not in the vocabulary; remove it"),
    ],
)
def test_an_unknown_piece_may_be_longer_than_a_character(text, ways, message):
    error = UnknownCharacterError(text, 4, ways)
    assert (str(error), error.character, error.position) == (message, text, 4)
