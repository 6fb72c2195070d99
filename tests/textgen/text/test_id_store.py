import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.errors import UnavailableError
from textgen.text import id_store
from textgen.text.id_store import IdStore, smallest_type

MAPS = Path("/proc/self/maps")


def store(parts, dtype) -> IdStore:
    made = IdStore(np.dtype(dtype))
    for part in parts:
        made.add(np.array(part, np.int32))
    return made


@pytest.mark.parametrize(
    ("vocab_size", "dtype"),
    [(2, "uint8"), (256, "uint8"), (257, "uint16"), (65_536, "uint16"), (65_537, "int32"), (1_114_112, "int32")],
)
def test_the_smallest_type_holds_every_id(vocab_size, dtype):
    assert smallest_type(vocab_size) == dtype
    assert np.iinfo(smallest_type(vocab_size)).max >= vocab_size - 1


@given(
    st.lists(st.lists(st.integers(0, 255), max_size=20), max_size=10),
    st.sampled_from(["uint8", "uint16", "int32"]),
    st.sampled_from([1, 16, 1 << 20]),
)
def test_ids_are_returned_in_the_requested_type(parts, dtype, large):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(id_store, "LARGE", large)
        ids = store(parts, dtype).take()
    assert ids.dtype == dtype
    assert ids.tolist() == [i for part in parts for i in part]


@pytest.mark.skipif(not MAPS.exists(), reason="reads Linux's list of mapped files")
def test_many_ids_are_in_an_unnamed_file(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(id_store, "LARGE", 1000)
    few, many = store([range(200)] * 5, "uint8").take(), store([range(200)] * 6, "uint8").take()
    assert many.tolist() == [*range(200)] * 6
    assert (len(few), MAPS.read_text().count(str(tmp_path))) == (1000, 1)
    assert list(tmp_path.iterdir()) == []
    del many
    assert str(tmp_path) not in MAPS.read_text()


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_killed_process_leaves_no_file(tmp_path):
    program = (
        "import os, signal; import numpy as np; from textgen.text import id_store; id_store.LARGE = 10\n"
        "store = id_store.IdStore(np.dtype('uint8')); store.add(np.arange(100)); print(os.getpid(), flush=True)\n"
        "ids = {}store.take(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    for begun in ("", "lambda: "):
        outcome = subprocess.run(
            [sys.executable, "-c", program.format(begun)],
            env=os.environ | {"TMPDIR": str(tmp_path)},
            capture_output=True,
            check=False,
        )
        assert (bool(outcome.stdout), outcome.returncode) == (True, -9)
        assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_a_one_line_error(tmp_path, monkeypatch):
    class Full:
        def write(self, data: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", lambda **_: Full())
    with pytest.raises(UnavailableError) as caught:
        store([[1]], "uint8")
    assert f"{tmp_path}: No space left on device" in str(caught.value)
    assert "TMPDIR" in str(caught.value)
    assert "\n" not in str(caught.value)
