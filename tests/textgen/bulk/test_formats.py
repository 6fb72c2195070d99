import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.bulk.formats import JsonLines

text = st.text(st.characters(exclude_categories=["Cs"]))
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(text, inner), max_leaves=6)


@given(st.lists(text, min_size=1, max_size=4, unique=True), st.data())
def test_json_lines_are_the_objects_of_the_json_module(names, data):
    rows = data.draw(st.lists(st.tuples(*[values] * len(names)), max_size=3))
    columns = {name: [row[place] for row in rows] for place, name in enumerate(names)}
    expected = [json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) + "\n" for row in rows]
    assert [line.decode() for line in JsonLines().encode(columns)] == expected


def test_json_lines_have_no_nan():
    with pytest.raises(ValueError, match="JSON"):
        JsonLines().encode({"100%s": [float("nan")]})
