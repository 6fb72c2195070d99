"""Results computed from measurements (ratios, quartiles, claims, exponents), and the harness with known contenders."""

import json
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.charts import Chart, Curve, bend, exponent
from benchmarks.harness import ROOT, BenchmarkError, Contender, Effort, Lesson, follow, measure
from benchmarks.learners import Recorder
from benchmarks.markdown import duration
from benchmarks.report import Claim, Figures, Result, Row, Table, quartiles

EFFORT = Effort(rounds=3, turn_seconds=0.02)

#: Factories of contenders, for a module that their processes can import.
CONTENDERS = """
import time
from benchmarks.harness import Work

def sleeper(milliseconds, items):
    def piece():
        time.sleep(milliseconds / 1e3)
        return items
    return Work(piece, f"sleeps {milliseconds} ms")

def holder(megabytes):
    held = bytearray(megabytes * 10**6)
    def piece():
        print("not an answer")
        return sum(held[:1]) + 1
    return Work(piece)

def broken():
    raise ValueError("this is the reason")

def learner(recorder, losses, ends):
    for loss in losses:
        recorder.note(loss)
    if not ends:
        time.sleep(60)

def dropout(recorder):
    recorder.note(3.0)
    raise ValueError("gives up")
"""


@pytest.fixture
def environment(tmp_path):
    (tmp_path / "known_contenders.py").write_text(CONTENDERS)
    return {"PYTHONPATH": f"{tmp_path}:{ROOT}"}


@pytest.fixture
def table():
    rows = [Row("a", "", [10.0, 20.0, 40.0], memory=3_000_000), Row("b", "two threads", [30.0, 20.0, 200.0])]
    return Table("job", "step", "time", "a", rows)


def test_seconds_are_per_item_that_a_contender_reports(environment):
    contenders = [
        Contender("one", "known_contenders:sleeper", {"milliseconds": 4, "items": 1}),
        Contender("ten", "known_contenders:sleeper", {"milliseconds": 4, "items": 10}),
    ]
    said: list[str] = []
    (one, ten), others = measure(contenders, EFFORT, environment=environment, notice=said.append)
    assert [row.name for row in (one, ten)] == ["one", "ten"]
    assert one.note == "sleeps 4 ms"
    assert len(one.seconds) == len(ten.seconds) == 3
    assert min(one.seconds) >= 4e-3
    assert min(ten.seconds) >= 4e-4
    assert min(ten.seconds) < min(one.seconds)
    assert 0 <= others <= 1
    assert said == ["starting one", "starting ten", "round 1 of 3", "round 2 of 3", "round 3 of 3"]


def test_memory_is_that_of_the_contender(environment):
    contenders = [Contender(str(size), "known_contenders:holder", {"megabytes": size}) for size in (1, 101)]
    (small, large), _ = measure(contenders, Effort(1, 0.001), environment=environment, notice=lambda line: None)
    assert 90e6 < large.memory - small.memory < 110e6


def test_a_failing_contender_is_reported_with_its_reason(environment):
    with pytest.raises(BenchmarkError, match=r"(?s)it failed:.*this is the reason"):
        measure([Contender("it", "known_contenders:broken")], EFFORT, environment=environment, notice=print)


def test_a_learner_is_followed_until_it_finishes_or_its_time_is_up(environment):
    def lesson(ends, minutes):
        arguments = {"losses": [3.0, 2.0], "ends": ends}
        contender = Contender("it", "known_contenders:learner", arguments)
        return follow(contender, minutes, environment=environment, notice=lambda line: None)

    whole = lesson(ends=True, minutes=1)
    assert (whole.nats, whole.is_whole) == ([3.0, 2.0], True)
    assert 0 <= whole.seconds[0] <= whole.seconds[1]
    begin = time.monotonic()
    stopped = lesson(ends=False, minutes=0.05)
    assert time.monotonic() - begin < 50
    assert not stopped.is_whole
    assert stopped.nats == whole.nats[: len(stopped.nats)]  # a busy machine may not have reached the first


def test_a_failing_learner_is_reported(environment):
    with pytest.raises(BenchmarkError, match="gives up"):
        follow(Contender("it", "known_contenders:dropout"), 1, environment=environment, notice=lambda line: None)


def test_time_spent_aside_does_not_count():
    now = [10.0]
    points: list[dict[str, float]] = []
    recorder = Recorder(points.append, lambda: now[0])
    now[0] += 5
    with recorder.aside():
        now[0] += 100
    recorder.note(2.0)
    now[0] += 1
    recorder.note(1.5)
    assert points == [{"seconds": 5.0, "nats": 2.0}, {"seconds": 6.0, "nats": 1.5}]


def test_the_time_to_a_loss_is_that_of_the_first_score_at_or_below_it():
    lesson = Lesson([10.0, 20.0, 30.0], [2.0, 1.5, 1.7], is_whole=True)
    assert [lesson.seconds_to(nats) for nats in (2.0, 1.9, 1.5, 1.4)] == [10.0, 20.0, 20.0, None]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
def test_quartiles_are_numpys(values):
    np.testing.assert_allclose(quartiles(values), np.percentile(values, [25, 50, 75]), rtol=1e-9, atol=1e-6)


def test_ratios_are_taken_round_by_round(table):
    assert table.ratios("b", "a") == [3.0, 1.0, 5.0]
    assert table.ratio("b") == 3.0  # the ratio of the medians is 1.5


def test_a_table_shows_ratios_medians_quartiles_and_memory(table):
    lines = table.markdown().splitlines()
    assert lines[0] == "**job**"
    assert lines[-2] == "| a | 1 | 20 s | 15 s to 30 s | 3 MB | |"
    assert lines[-1] == "| b | 3 | 30 s | 25 s to 115 s | | two threads |"


def test_a_rate_is_items_per_second(table):
    rate = Table("job", "step", "rate", "a", table.rows)
    assert "| steps per second |" in rate.markdown()
    assert "| a | 1 | 0.05 | 0.0375 to 0.075 |" in rate.markdown()


@pytest.mark.parametrize(
    ("relation", "values", "is_met"),
    [
        ("at least", [1.0, 2.0, 9.0], True),
        ("at least", [1.0, 1.9, 9.0], False),
        ("at most", [1.0, 2.0, 9.0], True),
        ("at most", [1.0, 2.1, 9.0], False),
        ("at most", [2.0], True),
    ],
)
def test_a_claim_is_met_if_its_median_satisfies_the_bound(relation, values, is_met):
    claim = Claim("speed", relation, 2.0, "times", values)
    assert claim.is_met is is_met
    shown = Result("c", "d", {}, {}, claims=[claim]).markdown()
    assert ("**not met**" in shown) is not is_met


@given(st.floats(-3, 3), st.floats(0.01, 100))
def test_the_exponent_of_a_power_law_is_found(power, factor):
    x = [1.0, 3.0, 10.0, 50.0]
    assert exponent(x, [factor * place**power for place in x]) == pytest.approx(power, abs=1e-6)


@given(st.integers(2, 5), st.floats(-1, 1), st.floats(1.5, 3))
def test_the_bend_of_two_power_laws_is_found(at, before, after):
    x = [2.0**index for index in range(8)]
    knee = x[at]
    y = [(place / knee) ** (before if place < knee else after) for place in x]
    found = bend(x, y)
    assert found is not None
    assert found.at == knee
    assert found.before == pytest.approx(before, abs=1e-6)
    assert found.after == pytest.approx(after, abs=1e-6)


def test_too_few_points_have_no_bend():
    assert bend([1.0, 2.0, 4.0, 8.0], [1.0, 2.0, 4.0, 8.0]) is None


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(373.1, "373 s"), (9.5, "9,500 ms"), (0.0123, "12.3 ms"), (0.0017, "1,700 µs"), (2e-8, "0.02 µs")],
)
def test_a_time_has_a_suitable_unit(seconds, shown):
    assert duration(seconds) == shown


def test_a_chart_shows_medians_exponents_and_gaps():
    curves = [
        Curve("linear", [1.0, 10.0, 100.0], [[1.0, 2.0, 9.0], [20.0], [200.0]]),
        Curve("level", [10.0, 100.0], [[7.0], [7.0]]),
    ]
    lines = Chart("growth", "units", "µs", curves, "As expected.").markdown().splitlines()
    assert lines[0] == "**growth**, µs. As expected."
    assert lines[2] == "| units | linear | level |"
    assert lines[4:] == ["| 1 | 2 | |", "| 10 | 20 | 7 |", "| 100 | 200 | 7 |", "| exponent | 1.00 | 0.00 |"]


def test_a_result_is_read_as_it_was_written(table, tmp_path):
    result = Result(
        "python -m benchmarks.it",
        "2026-01-02",
        {"CPU": "Z80", "cores": 1},
        {"numpy": "2.0"},
        [table],
        [Claim("speed", "at least", 2.0, "times", [1.0, 2.0])],
        [Chart("growth", "units", "µs", [Curve("a", [1.0], [[2.0, 3.0]])])],
        [Figures("room", ["MB"], {"all": [3.5], "none": [None]})],
    )
    path = tmp_path / "it.json"
    result.write(path)
    assert Result.read(path) == result
    assert json.loads(path.read_text())["machine"] == {"CPU": "Z80", "cores": 1}
    shown = result.markdown()
    assert "CPU: Z80, cores: 1. numpy 2.0." in shown
    assert "| none | |" in shown
    assert shown.index("speed") < shown.index("**job**") < shown.index("**growth**") < shown.index("**room**")
