"""The choice of threads: measured once, and remembered in a file that nothing depends on."""

import json
import math
import time
from itertools import count

import pytest

from textgen import api, usable_cores
from textgen_onnx.running import threads

FILE = "threads.json"


class Clock:
    """Replaces ``time.perf_counter``: a run takes the seconds that the test gives for its threads."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TEXTGEN_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def measured(cache, monkeypatch):
    """Chooses threads on a machine of 8 cores, given the seconds of each run; returns choice and opened sessions.

    Threads that share rows go by ``"rows"`` and their number.
    """
    clock = Clock()
    monkeypatch.setattr(threads, "usable_cores", lambda: 8)
    monkeypatch.setattr(time, "perf_counter", clock)

    monkeypatch.setattr(threads, "SharedRows", lambda session, number: f"rows {number}")

    def choose(seconds: dict[int | str, float], key: str = "graph", rows: int = 1) -> tuple[int | str, list[int]]:
        opened: list[int] = []

        def open_with(number: int) -> int:
            opened.append(number)
            return number

        def run(session: int | str) -> None:
            clock.now += seconds[session]

        session, is_final = threads.choose_threads(key, rows, open_with, run)
        assert is_final
        return session, opened

    return choose


SLOW_AND_FAST = {1: 0.4, 2: 0.3, 4: 0.1, 8: 0.2}


def test_the_fastest_number_is_chosen_and_remembered(measured):
    assert measured(SLOW_AND_FAST) == (4, [1, 2, 4, 8])
    assert measured({}) == (4, [4])
    assert measured({1: 0.4, 2: 0.1, 4: 0.2, 8: 0.3}, "another graph") == (2, [1, 2, 4, 8])
    assert measured({}) == (4, [4])


def test_ties_go_to_the_smallest_number(measured):
    assert measured(dict.fromkeys(SLOW_AND_FAST, 0.1))[0] == 1


def test_rows_are_shared_if_that_is_faster_and_there_are_enough(measured):
    by_rows = SLOW_AND_FAST | {"rows 2": 0.2, "rows 4": 0.05}
    assert measured(by_rows, rows=7) == ("rows 4", [1, 2, 4, 8])
    assert measured({}, rows=7) == ("rows 4", [1])
    assert measured(by_rows | {"rows 8": 0.01}, "another graph", rows=8) == ("rows 8", [1, 2, 4, 8])
    assert measured(SLOW_AND_FAST | {"rows 2": 0.105}, "a third graph", rows=3) == ("rows 2", [1, 2, 4, 8])
    assert measured(by_rows | {"rows 4": 0.105}, "a fourth graph", rows=4) == ("rows 4", [1, 2, 4, 8])


def test_a_disturbed_run_does_not_count(cache, monkeypatch):
    clock, runs = Clock(), count()
    monkeypatch.setattr(threads, "usable_cores", lambda: 2)
    monkeypatch.setattr(time, "perf_counter", clock)

    def run(session: int) -> None:
        clock.now += {1: 0.002, 2: 0.001}[session] + 0.5 * (next(runs) % 3 == 0)

    assert threads.choose_threads("graph", 1, lambda number: number, run).session == 2


def test_what_a_busy_process_measures_is_not_remembered_and_measured_again(cache, monkeypatch):
    """The other threads use half a core; fewer threads are faster when they do, and by the quickest runs more are."""
    clock, runs = Clock(), count()
    monkeypatch.setattr(threads, "usable_cores", lambda: 2)
    monkeypatch.setattr(time, "perf_counter", clock)
    monkeypatch.setattr(time, "process_time", lambda: clock.now * 1.5)
    monkeypatch.setattr(time, "thread_time", clock)

    def run(session: int) -> None:
        clock.now += 0.002 if session == 1 else (0.001, 0.004, 0.004)[next(runs) % 3]

    def choose(again: bool) -> threads.Choice:
        return threads.choose_threads("graph", 1, lambda number: number, run, again=again)

    assert choose(again=False) == (2, False)
    assert choose(again=True) == (1, True)
    assert not (cache / FILE).exists()
    monkeypatch.setattr(time, "process_time", clock)
    assert choose(again=True) == (2, True)
    assert json.loads((cache / FILE).read_text()) == {"graph:2": [2, "operators"]}


def test_one_core_needs_no_measurement(cache, monkeypatch):
    monkeypatch.setattr(threads, "usable_cores", lambda: 1)
    assert threads.choose_threads("graph", 9, lambda number: number, pytest.fail).session == 1
    assert not cache.exists()


def test_only_the_latest_choices_are_remembered(cache, measured):
    for number in range(threads.MOST_REMEMBERED + 5):
        measured(SLOW_AND_FAST, f"graph {number}")
    remembered = [*json.loads((cache / FILE).read_text())]
    assert remembered == [f"graph {number}:8" for number in range(5, threads.MOST_REMEMBERED + 5)]
    measured(SLOW_AND_FAST, "graph 0")
    assert [*json.loads((cache / FILE).read_text())] == [*remembered[1:], "graph 0:8"]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[1, 2]", b"null", b'"4"', b"\xff\xfe", b"[" * 100_000, b"{}"]
    + [b'{"graph:8": %s}' % value for value in (b"4", b'"4"', b"[]", b"[4]", b'[4, "rows"]', b'[4.0, "operators"]')]
    + [b'{"graph:8": [%s, "operators"]}' % count for count in (b"0", b"-1", b"3", b"1000000", b"null", b"Infinity")]
    + [b'{"graph:8": [4, %s]}' % share for share in (b'"rest"', b"null", b"[]", b"{}")],
)
def test_a_damaged_file_is_ignored_and_replaced(cache, measured, content):
    cache.mkdir()
    (cache / FILE).write_bytes(content)
    assert measured(SLOW_AND_FAST) == (4, [1, 2, 4, 8])
    assert json.loads((cache / FILE).read_text())["graph:8"] == [4, "operators"]


def test_a_choice_that_cannot_be_remembered_is_measured_again(cache, measured):
    cache.write_text("a file where the folder should be")
    for _ in range(2):
        assert measured(SLOW_AND_FAST) == (4, [1, 2, 4, 8])


def test_generating_remembers_a_choice_for_each_graph_and_size_of_batch(exported, tmp_path, monkeypatch):
    monkeypatch.setattr(threads, "BUSY", math.inf)  # other threads of the tests may be
    run = exported("gru").run  # an export remembers choices, too
    monkeypatch.setenv("TEXTGEN_CACHE_DIR", str(tmp_path))
    for num in (1, 1, 20, 20):
        api.load(run.path, runtime="onnx", device="cpu").generate("The", num=num, length=5, seed=0)
    if usable_cores() == 1:
        assert not (tmp_path / FILE).exists()
    else:
        remembered = json.loads((tmp_path / FILE).read_text())
        assert len(remembered) == 4
        assert all(1 <= number <= usable_cores() for number, _ in remembered.values())


@pytest.mark.skipif(usable_cores() == 1, reason="a machine with one core has nothing to share")
@pytest.mark.parametrize("sampler", ["multinomial", "repetition-penalty(1.3) | temperature(0.7) | multinomial"])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_sharing_rows_does_not_change_the_text(exported, tmp_path, monkeypatch, cell, sampler):
    monkeypatch.setattr(threads, "BUSY", math.inf)  # other threads of the tests may be
    run = exported(cell).run
    monkeypatch.setenv("TEXTGEN_CACHE_DIR", str(tmp_path))

    def texts() -> list[list[str]]:
        generator = api.load(run.path, runtime="onnx", device="cpu")
        prompts = ["The", "qu", "brown fox", "lazy", "ov", "dog", "Th"]  # all have ids to read: no row is read alone
        return [generator.generate(prompts[:n], length=150, seed=3, sampler=sampler) for n in (2, 3, 7)]

    def remember(way: list[object]) -> None:
        file = tmp_path / FILE
        file.write_text(json.dumps(dict.fromkeys(json.loads(file.read_text()), way)))

    texts()
    remember([2, "rows"])
    shared = texts()
    assert set(map(tuple, json.loads((tmp_path / FILE).read_text()).values())) == {(2, "rows")}
    remember([1, "operators"])
    assert shared == texts()
