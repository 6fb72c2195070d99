"""When a client is sent what has been written."""

import asyncio
from math import inf
from types import SimpleNamespace
from typing import Any

import pytest

from textgen_serve.writing.in_flight import Writing


def test_the_end_of_a_row_is_news_at_once_and_more_of_its_text_after_a_rest():
    job: Any = SimpleNamespace(rows=[0, 1])

    async def write():
        writing = Writing(None, job, 0, 0.0, streams=True)  # type: ignore[arg-type]
        writing.rests_until = inf
        writing.take(0, "a", is_last=False)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(writing.news(), 0.01)
        writing.take(0, "b", is_last=True)
        await asyncio.wait_for(writing.news(), 1)
        assert [*writing.pieces()] == [(0, "ab", True)]
        writing.rests_until = 0
        writing.take(1, "c", is_last=False)
        await asyncio.wait_for(writing.news(), 1)

    asyncio.run(write())
