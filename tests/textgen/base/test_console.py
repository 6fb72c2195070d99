"""Lines on stderr."""

from textgen.base import console
from textgen.base.console import notice, show_progress


def test_a_notice_is_one_line_and_may_be_printed_once(capsys, tmp_path):
    notice("a word")
    notice("a word")
    for _ in range(2):
        notice(f"{tmp_path} has changed", once=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"textgen: a word\ntextgen: a word\ntextgen: {tmp_path} has changed\n"


def test_progress_is_a_line_from_time_to_time_outside_of_a_terminal(capsys, monkeypatch):
    now = 0.0
    monkeypatch.setattr("textgen.base.console.time.monotonic", lambda: now)
    with show_progress() as progress:
        for done in range(4):
            now = done * console.LINE_EVERY / 2
            progress("reading", done * 1000, 3000)
    assert capsys.readouterr().err == "reading: 2,000 of 3,000\n"
