import errno
import hashlib
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.files import writing
from textgen.files.writing import sha256, write_atomically, write_pieces

#: The umask of the tests.
UMASK = os.umask(0)
os.umask(UMASK)


@given(content=st.one_of(st.binary(), st.text(st.characters(codec="utf-8"))))
def test_what_is_written_is_read_byte_by_byte(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("files") / "a" / "b.txt"
    write_atomically(path, content)
    assert path.read_bytes() == (content.encode("utf-8") if isinstance(content, str) else content)
    assert sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~UMASK
    assert os.listdir(path.parent) == ["b.txt"]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "file.json"
    path.write_text("old")
    return path


def assert_untouched(old: Path) -> None:
    assert old.read_text() == "old"
    assert os.listdir(old.parent) == [old.name]


@contextmanager
def small_files() -> Iterator[None]:
    """The kernel refuses to write past 4096 bytes of a file, as it does on a full disk.

    Not as a fixture: pytest writes its own report, perhaps to a file, before fixtures end.
    """
    resource = pytest.importorskip("resource")  # not on Windows
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limit[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)


def test_a_write_that_fails_half_way_leaves_the_old_file(old):
    with pytest.raises(OSError) as raised, small_files():
        write_atomically(old, b"x" * 10_000)
    assert raised.value.errno == errno.EFBIG
    assert raised.value.filename == str(old)
    assert_untouched(old)


@pytest.mark.parametrize("function", ["open", "fsync", "replace", "chmod"])
def test_a_disk_that_fills_up_leaves_the_old_file(old, monkeypatch, function):
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, function, full)
    with pytest.raises(OSError) as raised:
        write_atomically(old, "new")
    monkeypatch.undo()
    assert str(raised.value) == f"[Errno {errno.ENOSPC}] No space left on device: '{old}'"
    assert_untouched(old)


def test_an_interrupted_write_leaves_the_old_file(old, monkeypatch):
    def interrupted(handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(old, "new")
    assert_untouched(old)


def test_a_folder_that_takes_no_file_is_named(old, monkeypatch):
    def denied(*arguments: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(old.parent / ".textgen-x.tmp"))

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(PermissionError) as raised:
        write_atomically(old, "new")
    assert raised.value.filename == str(old)
    assert_untouched(old)


def test_a_file_where_a_folder_should_be(old):
    with pytest.raises(OSError):
        write_atomically(old / "below", "new")
    assert_untouched(old)


def test_text_that_cannot_be_encoded_leaves_the_old_file(old):
    with pytest.raises(UnicodeEncodeError):
        write_atomically(old, "\ud800")
    assert_untouched(old)


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_has_the_permissions_that_the_umask_leaves(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "below" / "new", "")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "below" / "new").stat().st_mode) == mode
    assert stat.S_IMODE((tmp_path / "below").stat().st_mode) == 0o777 & ~umask


def test_a_file_that_exists_keeps_its_permissions(old):
    old.chmod(0o600)
    write_atomically(old, "new")
    assert stat.S_IMODE(old.stat().st_mode) == 0o600


def test_links_are_written_through(tmp_path):
    (tmp_path / "far").mkdir()
    for name in ("near", "far/file"):
        (tmp_path / "to").unlink(missing_ok=True)
        (tmp_path / "chain").unlink(missing_ok=True)
        (tmp_path / "to").symlink_to(name)
        (tmp_path / "chain").symlink_to(tmp_path / "to")
        for text in ("dangling", "there"):
            write_atomically(tmp_path / "chain", text)
            assert (tmp_path / name).read_text() == text
            assert os.readlink(tmp_path / "to") == name
            assert (tmp_path / "chain").is_symlink()
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(OSError):
        write_atomically(tmp_path / "circle", "")


def test_the_other_names_of_a_file_keep_the_former_content(old):
    os.link(old, old.with_name("other"))
    write_atomically(old, "new")
    assert (old.read_text(), old.with_name("other").read_text()) == ("new", "old")


def test_a_pipe_is_written_into(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for path in (tmp_path / "pipe", tmp_path / "link"):
        reader = subprocess.Popen(["cat", path], stdout=subprocess.PIPE)
        write_atomically(path, b"x" * 50_000)
        assert reader.communicate()[0] == b"x" * 50_000
        assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_device_is_written_into(tmp_path):
    (tmp_path / "null").symlink_to("/dev/null")
    for path in (Path("/dev/null"), tmp_path / "null"):
        write_atomically(path, "nothing")
        assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert (tmp_path / "null").is_symlink()


@pytest.mark.parametrize("path", ["/dev/stdout", "/dev/fd/1", "link"])
@pytest.mark.parametrize("kind", ["file", "pipe"])
def test_stdout_gets_it_after_the_text_before(tmp_path, path, kind):
    (tmp_path / "link").symlink_to("/dev/stdout")
    program = (
        "from pathlib import Path; from textgen.files.writing import write_atomically; print('before', end=' ');"
        f"write_atomically(Path({path!r}), 'state'); print(' after')"
    )
    with (tmp_path / "out").open("wb") as out:
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, stdout=out if kind == "file" else subprocess.PIPE, check=True
        )
    assert (done.stdout or (tmp_path / "out").read_bytes()) == b"before state after\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_what_a_killed_process_has_begun_to_write_goes_at_the_next_write(old):
    def pieces() -> Iterator[bytes]:
        yield b"x" * 100_000
        os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if not child:
        try:
            write_pieces(old.parent, pieces(), lambda: old.name)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert len(os.listdir(old.parent)) == 2
    assert old.read_text() == "old"
    write_atomically(old.with_name("another"), "")
    assert sorted(os.listdir(old.parent)) == ["another", old.name]


def test_two_processes_that_write_at_once_do_not_disturb_each_other(tmp_path):
    def write(text: str) -> Iterator[bytes]:
        yield text.encode()
        if len(text) < 5:
            write_pieces(tmp_path, write(text + "x"), lambda: text)  # sweeps the folder while this one is at work

    write_pieces(tmp_path, write("a"), lambda: "whole")
    assert (tmp_path / "whole").read_text() == "a"
    assert sorted(os.listdir(tmp_path)) == ["a", "ax", "axx", "axxx", "whole"]


def test_as_on_windows_a_file_that_is_read_is_replaced_when_it_is_closed(old, monkeypatch):
    monkeypatch.setattr(writing, "WINDOWS", True)
    replace, attempts = os.replace, 0

    def busy(source: Path, target: Path) -> None:
        nonlocal attempts
        attempts += 1
        if attempts < 4:
            raise PermissionError(errno.EACCES, "Access is denied", str(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", busy)
    write_atomically(old, "new")
    assert (old.read_text(), attempts) == ("new", 4)
    assert os.listdir(old.parent) == [old.name]
