import json
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from textgen.errors import ArtifactError
from textgen.files.reading import parse_json, read_bytes, read_json, read_tensors

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**200), 10**200)
    | st.floats(allow_nan=False, allow_infinity=False)
    # A pair of surrogates would come back as one character.
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_json_is_read_as_python_reads_it(value):
    assert parse_json(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "a": 2}', "has the key 'a' twice"),
        ('[{"a": {"b": 1, "c": 2, "b": 1}}]', "has the key 'b' twice"),
        ("[NaN]", "the number NaN, which is not finite"),
        ("-Infinity", "the number -Infinity"),
        ("1e999", "the number 1e999"),
        ("9" * 301, "a number of 301 digits"),
        ("[" * 65 + "]" * 65, "nested too deeply"),
        ("[" * 1_000_000, "nested too deeply"),
        ('{"a":' * 200_000, "nested too deeply"),
        ("", "Expecting value"),
        ("\ufeff1", "BOM"),
    ],
)
def test_json_that_is_doubtful_is_refused(text, message):
    with pytest.raises(ValueError, match="(?s).*" + message.replace("(", r"\(")):
        parse_json(text)


def test_depth_is_counted_along_lists_and_objects():
    assert parse_json("[" * 64 + "]" * 64)
    assert parse_json(json.dumps({"a": [[1], {"b": 2}]})) == {"a": [[1], {"b": 2}]}


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    socket.socket(socket.AF_UNIX).bind(os.path.relpath(path))


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize(
    ("make", "what"), [(_pipe, "a pipe"), (_socket, "a socket"), (_device, "a device"), (Path.mkdir, "a folder")]
)
@pytest.mark.parametrize("read", [lambda path: read_bytes(path, 100), read_json, read_tensors])
def test_what_is_no_file_is_refused_at_once(tmp_path, monkeypatch, make: Callable[[Path], None], what, read):
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    make(tmp_path / "x")
    with pytest.raises(ArtifactError, match=rf"^\S+x is {what}, not a file; name a regular file$"):
        read(tmp_path / "x")


def test_a_file_that_is_too_large_is_refused(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"12345")
    assert read_bytes(path, 5) == b"12345"
    with pytest.raises(ArtifactError, match="has more than 4 bytes"):
        read_bytes(path, 4)
    with pytest.raises(ArtifactError, match="has more than 4 bytes"):
        read_json(path, 4)


DTYPES = st.sampled_from([*("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")])


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8")), arrays.arrays(DTYPES, arrays.array_shapes(min_dims=0, min_side=0))
    )
)
def test_tensors_are_those_that_the_library_of_the_format_reads(tmp_path_factory, tensors):
    path = tmp_path_factory.mktemp("tensors") / "t"
    tensors.pop("__metadata__", None)
    path.write_bytes(safetensors.numpy.save(tensors))
    read, metadata = read_tensors(path, largest=None)
    expected = safetensors.numpy.load(path.read_bytes())
    assert read.keys() == expected.keys()
    assert metadata == {}
    for name, array in expected.items():
        np.testing.assert_array_equal(read[name], array, strict=True)
        assert read[name].flags.writeable
        assert read[name].flags.aligned


@pytest.mark.parametrize("kind", ["f2", "f4", "f8"])
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_a_tensor_with_a_number_that_is_not_finite_is_named(tmp_path, kind, number):
    path = tmp_path / "t"
    array = np.zeros((3, 4), kind)
    array[1, 2] = number
    path.write_bytes(safetensors.numpy.save({"a": np.zeros(2, np.float32), "b.c": array}))
    with pytest.raises(ArtifactError, match=r"the tensor 'b\.c' has numbers that are not finite$"):
        read_tensors(path)


def test_a_number_may_not_be_above_the_largest(tmp_path):
    path = tmp_path / "t"
    path.write_bytes(safetensors.numpy.save({"a": np.array([1e17, -1e19], np.float32)}))
    with pytest.raises(ArtifactError, match=r"the tensor 'a' has the number 1e\+19, beyond 1e\+18"):
        read_tensors(path, largest=1e18)


def _file(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def _tensor(dtype: object = "F32", shape: object = (1,), offsets: object = (0, 4)) -> dict[str, object]:
    return {"a": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cut short"),
        (struct.pack("<Q", 2**63) + b"{}", "its header is too long"),
        (struct.pack("<Q", 1000) + b"{}", "cut short"),
        (_file([]), "its header is not an object"),
        (_file(b'{"a": 1, "a": 1}'), "has the key 'a' twice"),
        (_file(b"[" * 100_000), "nested too deeply"),
        (_file(b"\xff"), "utf-8"),
        (_file({"a": 1}), "is not described by dtype"),
        (_file(_tensor() | {"__metadata__": {"k": 1}}, bytes(4)), "its metadata are not texts"),
        (_file({"a": {**_tensor()["a"], "more": 1}}, bytes(4)), "is not described by dtype"),  # type: ignore[dict-item]
        *(
            (_file(_tensor(dtype), bytes(4)), f"has the dtype {dtype!r}")
            for dtype in ("F8_E4M3", "BF16", "C64", "x", 3)
        ),
        (_file(_tensor(shape=[True]), bytes(4)), "has no shape"),
        (_file(_tensor(shape=[1.0]), bytes(4)), "has no shape"),
        (_file(_tensor(shape=["1"]), bytes(4)), "has no shape"),
        (_file(_tensor(shape=[-1]), bytes(4)), "has no shape"),
        (_file(_tensor(shape=[2**40, 2**40], offsets=[0, 2**82])), "its tensors have .* bytes, but it has 0"),
        (_file(_tensor(shape=[2**62, 4, 0, 1]), bytes(4)), "is not the size of its shape"),
        (_file(_tensor(offsets=[4, 8]), bytes(8)), "overlap, or leave bytes out"),
        (_file(_tensor(), bytes(5)), "its tensors have 4 bytes, but it has 5"),
        (_file({**_tensor(), "b": _tensor()["a"]}, bytes(4)), "overlap"),
        (_file(_tensor("BOOL", [4]), b"\0\1\2\0"), "neither 0 nor 1"),
    ],
)
def test_a_header_is_checked_before_memory_is_taken(tmp_path, content, message):
    path = tmp_path / "t"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=rf"^\S+t is not a readable safetensors file: [^\n]*{message}"):
        read_tensors(path)


def test_an_endless_file_of_tensors_is_refused(tmp_path):
    path = tmp_path / "t"
    path.touch()
    os.truncate(path, 2**40)  # has no blocks on the disk
    with pytest.raises(ArtifactError, match="has 1,099,511,627,776 bytes, more than"):
        read_tensors(path)


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
