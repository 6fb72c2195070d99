"""A short form of the trials; ``make fuzz`` runs the long one."""

import sys

import pytest

from tests.trials.fuzz import trial
from tests.trials.subjects import SUBJECTS

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="limits of memory are those of POSIX")


def test_no_damaged_file_is_a_fault():
    outcomes = trial(300, 5, list(SUBJECTS))
    assert [outcome for outcome in outcomes if outcome.result == "fault"] == []
    whole = [outcome for outcome in outcomes if outcome.case.number < 0]
    assert {outcome.case.name for outcome in whole} == SUBJECTS.keys()
    assert {outcome.result for outcome in whole} == {"accepted"}
