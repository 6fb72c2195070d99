"""Folders that are replaced: no reader misses one, and nothing is left of a process that was killed."""

import os
import shutil
import signal
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.processes import in_child, kill_before
from textgen.files import folders
from textgen.files.folders import write_folder
from textgen.files.writing import ABANDONED_AFTER, delete_leftovers, new_temporary
from textgen.runs.artifact import Artifact

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


@pytest.fixture(params=["in one step", "by two renames"])
def replaced(request, monkeypatch) -> str:
    """How a folder is replaced: in one step, where the platform can, or as everywhere else."""
    if request.param == "by two renames":
        monkeypatch.setattr(folders, "_exchange", lambda one, other: False)
    way: str = request.param
    return way


def write(folder: Path, text: str) -> None:
    with write_folder(folder) as work:
        for name in "abc":
            (work / name).write_text(text)


def content(folder: Path) -> set[str]:
    return {(folder / name).read_text() for name in "abc"}


@pytest.mark.usefixtures("replaced")
def test_a_folder_is_replaced_as_a_whole(tmp_path):
    for text in ("one", "two", "three"):
        write(tmp_path / "x", text)
        assert content(tmp_path / "x") == {text}
        assert os.listdir(tmp_path) == ["x"]


@pytest.mark.usefixtures("replaced")
def test_a_failure_leaves_the_former_folder(tmp_path):
    write(tmp_path / "x", "one")
    with pytest.raises(ZeroDivisionError), write_folder(tmp_path / "x") as work:
        (work / "a").write_text(str(1 / 0))
    assert content(tmp_path / "x") == {"one"}
    assert os.listdir(tmp_path) == ["x"]


@needs_fork
@pytest.mark.parametrize("has_former", [True, False])
def test_a_process_killed_at_any_step_leaves_the_former_folder_or_the_new_one(
    tmp_path, monkeypatch, replaced, has_former
):
    monkeypatch.setattr("textgen.runs.artifact.read_manifest", lambda file: content(file.parent))
    exchange = folders._exchange
    operations = (
        *((os, "open"), (Path, "mkdir"), (Path, "rename"), (folders, "_exchange"), (Path, "write_text")),
        (shutil, "rmtree"),
    )
    at, code = 0, -signal.SIGKILL
    while code:
        place = tmp_path / str(at)
        os.makedirs(place)
        if has_former:
            write(place / "x", "one")
        with monkeypatch.context() as patch:
            kill_before(patch, operations, at)
            code = in_child(partial(write, place / "x", "two"))
        if has_former or (place / "x").exists():
            # Artifact.open is how textgen reads a folder.
            found: Any = Artifact.open(place / "x").manifest
            assert found in ([{"one"}, {"two"}] if has_former else [{"two"}])
        delete_leftovers(place)
        assert os.listdir(place) == (["x"] if (place / "x").exists() else [])
        at += 1
    assert at > (8 if exchange(tmp_path, tmp_path) else 6)


@pytest.mark.skipif(os.name == "nt", reason="Windows has two steps")
def test_somebody_who_looks_all_the_time_never_misses_the_folder(tmp_path):
    write(tmp_path / "x", "0")
    missed = seen = 0
    done = threading.Event()

    def look() -> None:
        nonlocal missed, seen
        while not done.is_set():
            seen += 1
            missed += not (tmp_path / "x").is_dir()

    thread = threading.Thread(target=look)
    thread.start()
    for number in range(300):
        write(tmp_path / "x", str(number))
    done.set()
    thread.join()
    assert seen > 100
    assert missed == 0


@needs_fork
def test_only_leftovers_are_deleted(tmp_path):
    """What a living process writes stays, and so does what others call temporary."""
    mine = [tmp_path / name for name in (".other.tmp", ".textgen-notes", ".textgen-0123.tmp", "textgen.tmp")]
    for path in mine:
        path.write_text("mine")
    with write_folder(tmp_path / "x") as work:
        (work / "a").write_text("in progress")
        assert in_child(lambda: delete_leftovers(tmp_path)) == 0
        assert (work / "a").read_text() == "in progress"
    left = new_temporary(tmp_path)
    left.mkdir()
    (left / "model").write_text("a whole copy")
    new_temporary(tmp_path).write_text("half a file")
    delete_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted(["x", *(path.name for path in mine)])


def test_without_locks_leftovers_go_after_a_day(tmp_path, monkeypatch):
    monkeypatch.setattr("textgen.files.writing.try_lock", lambda handle: None)
    young, old = new_temporary(tmp_path), new_temporary(tmp_path)
    for path in (young, old):
        path.write_text("")
    then = time.time() - ABANDONED_AFTER - 60
    os.utime(old, (then, then))
    delete_leftovers(tmp_path)
    assert os.listdir(tmp_path) == [young.name]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o755), (0o077, 0o700), (0o002, 0o775)])
def test_a_new_folder_has_the_permissions_that_the_umask_leaves(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write(tmp_path / "new", "")
    finally:
        os.umask(before)
    assert (tmp_path / "new").stat().st_mode & 0o777 == mode
    assert (tmp_path / "new" / "a").stat().st_mode & 0o777 == mode & 0o666
    (tmp_path / "new").chmod(0o750)
    write(tmp_path / "new", "")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o750


def test_a_link_to_a_folder_stays_a_link(tmp_path):
    write(tmp_path / "real", "one")
    (tmp_path / "link").symlink_to("real")
    write(tmp_path / "link", "two")
    assert (tmp_path / "link").is_symlink()
    assert content(tmp_path / "real") == {"two"}
