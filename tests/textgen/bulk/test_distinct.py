"""The set of digests, beside a set of Python."""

import doctest
import os
import resource
import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.processes import in_child
from textgen.bulk import distinct
from textgen.bulk.distinct import Distinct
from textgen.errors import UnavailableError

DIGESTS = st.lists(st.integers(0, 40).map(lambda number: number.to_bytes(16, "big")), max_size=30)


@given(st.lists(DIGESTS, max_size=6), DIGESTS)
def test_it_is_a_set(added, asked):
    seen = set()
    with Distinct() as ours:
        for digests in added:
            expected = []
            for digest in digests:
                expected.append(digest not in seen)
                seen.add(digest)
            assert ours.add(digests) == expected
        assert ours.known(asked) == [digest in seen for digest in asked]


def test_its_example_is_true():
    assert doctest.testmod(distinct).failed == 0


FILL = """
import os, resource
from textgen.bulk import distinct
distinct.MEMORY = 2**8
numbers = [os.urandom(16) for _ in range(20_000)]
with distinct.Distinct() as seen:
    assert all(seen.add(numbers))
    assert all(seen.known(numbers))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(4):
        seen.add([os.urandom(16) for _ in range(20_000)])
    assert all(seen.known(numbers))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_does_not_grow_with_it():
    # in a process of its own: a fork of this one counts what it reads of this one's memory
    grown = int(subprocess.run([sys.executable, "-c", FILL], check=True, capture_output=True, text=True).stdout)
    assert grown < 2**10  # kilobytes; 80,000 digests take three times as many


def test_a_full_disk_is_told():
    def fill():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16))
        distinct.MEMORY = 2**6
        with Distinct() as seen, pytest.raises(UnavailableError, match=r"temporary file: .*; free some space"):
            seen.add([os.urandom(16) for _ in range(100_000)])
        os._exit(7)

    assert in_child(fill) == 7
