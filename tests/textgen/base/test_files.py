import errno
import hashlib
import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from textgen.base.files import read_tensors, sha256, write_atomically
from textgen.errors import ArtifactError


@given(content=st.one_of(st.binary(), st.text(st.characters(codec="utf-8"))))
def test_what_is_written_is_read_byte_by_byte(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("files") / "a" / "b.txt"
    write_atomically(path, content)
    assert path.read_bytes() == (content.encode("utf-8") if isinstance(content, str) else content)
    assert sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
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


def test_tensors_come_with_their_metadata(tmp_path):
    path = tmp_path / "t.safetensors"
    arrays: dict[str, np.ndarray] = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "scalar": np.array(3, np.int64)}
    path.write_bytes(safetensors.numpy.save(arrays, metadata={"k": "v"}))
    read, metadata = read_tensors(path)
    assert metadata == {"k": "v"}
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array, strict=True)


def test_tensors_that_cannot_be_read_are_an_error_of_one_line(tmp_path):
    path = tmp_path / "t.safetensors"
    whole = safetensors.numpy.save({"a": np.zeros(100, np.float32)})
    with pytest.raises(ArtifactError, match="is missing"):
        read_tensors(path)
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(ArtifactError) as raised:
            read_tensors(path)
        assert "\n" not in str(raised.value)
        assert str(path) in str(raised.value)
