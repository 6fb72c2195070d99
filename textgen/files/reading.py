"""Reading files that others may have written: regular files only, bounded, and checked before memory is taken."""

from __future__ import annotations

import json
import math
import os
import stat
import sys
from collections.abc import Mapping
from io import BufferedReader, BytesIO
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from textgen.errors import ArtifactError, TextgenError, shortened

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The most bytes of a JSON file, of the header of a safetensors file, and of a safetensors file.
JSON_LIMIT, HEADER_LIMIT, TENSORS_LIMIT = 2**28, 2**24, 2**36

#: The most levels of lists and objects within each other. What textgen writes has ten.
DEEPEST = 64

#: The most digits of a whole number: any float can hold it.
DIGITS = 300

#: Weights and states are at most this large: products of two of them, and sums of those, are finite in float32.
LARGEST = 1e18

#: The dtypes of tensors by their names in safetensors files. Others, such as BF16 and F8_E4M3, NumPy does not have.
_DTYPES = {
    **{"F64": "<f8", "F32": "<f4", "F16": "<f2", "BOOL": "|b1"},
    **{f"{sign}{bits}": f"<{kind}{bits // 8}" for sign, kind in (("I", "i"), ("U", "u")) for bits in (8, 16, 32, 64)},
}

#: What a path that is not a regular file is.
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_regular(path: Path, error: type[TextgenError] = ArtifactError) -> BufferedReader:
    """Opens a regular file for reading; never waits, as opening a pipe would.

    Args:
        path: the file.
        error: the class of the error about a path that is something else.

    Raises:
        TextgenError: of the class ``error``, if it is a folder, pipe, socket or device.
        OSError: if it does not exist or cannot be opened.
    """
    _check_kind(path, os.stat(path).st_mode, error)  # opening a device can have effects
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        _check_kind(path, os.fstat(handle).st_mode, error)  # it may have been replaced in the meantime
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def _check_kind(path: Path, mode: int, error: type[TextgenError]) -> None:
    if not stat.S_ISREG(mode):
        raise error(f"{path} is {_KINDS.get(stat.S_IFMT(mode), 'something else')}, not a file; name a regular file")


def read_bytes(path: Path, limit: int, error: type[TextgenError] = ArtifactError) -> bytes:
    """The content of a regular file of at most ``limit`` bytes; arguments and errors as for :func:`open_regular`."""
    with open_regular(path, error) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise error(f"{path} has more than {limit:,} bytes, which is too much for such a file")
    return content


def read_json(path: Path, limit: int = JSON_LIMIT) -> Any:
    """The value of a JSON file, by :func:`parse_json`.

    Raises:
        ArtifactError: if the file is not a regular one, is too large, cannot be read, or is not strict JSON.
        FileNotFoundError: if there is no such file; NotADirectoryError likewise.
    """
    try:
        return parse_json(read_bytes(path, limit))
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ArtifactError(f"{path} cannot be read: {_line(error)}") from None


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text in UTF-8; stricter than :func:`json.loads`.

    Raises:
        ValueError: if it is not JSON, has a key twice, a number that is not finite or has more than :data:`DIGITS`
            digits, or more than :data:`DEEPEST` levels.
    """
    decoded = text.decode("utf-8") if isinstance(text, bytes) else text
    try:
        value = json.loads(
            decoded,
            object_pairs_hook=_distinct,
            parse_int=_integer,
            parse_float=_finite,
            parse_constant=_finite,
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    level = [value]
    for _ in range(DEEPEST):
        inner = chain.from_iterable(each.values() if isinstance(each, dict) else each for each in _containers(level))
        level = _containers(inner)
        if not level:
            return value
    raise ValueError("it is nested too deeply")


def _containers(values: Any) -> list[Any]:
    return [value for value in values if isinstance(value, dict | list)]


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"it has the key {shortened(twice)} twice")
    return found


def _integer(digits: str) -> int:
    if len(digits) > DIGITS:
        raise ValueError(f"it has a number of {len(digits):,} digits")
    return int(digits)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"it has the number {text[:20]}, which is not finite")
    return number


def read_tensors(
    path: Path, *, limit: int = TENSORS_LIMIT, largest: float | None = sys.float_info.max
) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """The arrays and the metadata of a safetensors file.

    The header is checked against the size of the file before any array is made.

    Args:
        path: the file.
        limit: the most bytes that it may have.
        largest: the largest absolute value of floating-point numbers; ``None`` for any, infinity and NaN too.

    Raises:
        ArtifactError: if the file is missing, is not a regular one, is too large, is not a safetensors file, has a
            tensor of a dtype that NumPy lacks, or a number that is too large or not finite.
    """
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > limit:
                raise ArtifactError(f"{path} has {size:,} bytes, more than the {limit:,} that it may have")
            return _read_tensors(file, size, str(path), largest)
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing; restore it from a copy") from None
    except OSError as error:
        raise ArtifactError(f"{path} is not a readable safetensors file: {error.strerror}") from None


def parse_tensors(content: bytes, where: str) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """The arrays and the metadata of a safetensors file, from its content; its numbers may be any.

    Args:
        content: of the file.
        where: its name in errors.

    Raises:
        ArtifactError: if it is not a safetensors file, or has a tensor of a dtype that NumPy lacks.
    """
    return _read_tensors(BytesIO(content), len(content), where, None)


def _read_tensors(
    file: BinaryIO, size: int, where: str, largest: float | None
) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    try:
        header, start = _read_header(file, size)
        metadata = _metadata(header.pop("__metadata__", {}))
        places = _places(header, size - start)
        return {name: _read_array(file, start, name, place, largest) for name, place in places.items()}, metadata
    except MemoryError:
        raise ArtifactError(f"{where} does not fit into memory") from None
    except ValueError as error:
        raise ArtifactError(f"{where} is not a readable safetensors file: {_line(error)}") from None


def _read_header(file: BinaryIO, size: int) -> tuple[dict[str, Any], int]:
    """The header of a safetensors file, and where its data begin."""
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(size - 8, HEADER_LIMIT):
        raise ValueError("it is cut short, or its header is too long")
    header = parse_json(file.read(length))
    if not isinstance(header, dict):
        raise ValueError("its header is not an object")
    return header, 8 + length


def _metadata(found: Any) -> dict[str, str]:
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ValueError("its metadata are not texts")
    return found


#: Where an array is: dtype, shape, first byte.
_Place = tuple[str, tuple[int, ...], int]


def _places(header: Mapping[str, Any], size: int) -> dict[str, _Place]:
    """Where each array is among ``size`` bytes, which arrays must fill one after the other."""
    places: dict[str, _Place] = {}
    ends: list[tuple[int, int]] = []
    for name, about in header.items():
        if not isinstance(about, dict) or about.keys() != {"dtype", "shape", "data_offsets"}:
            raise ValueError(f"the tensor {shortened(name)} is not described by dtype, shape and data_offsets")
        dtype, shape, offsets = about["dtype"], about["shape"], about["data_offsets"]
        if not isinstance(dtype, str) or dtype not in _DTYPES:
            raise ValueError(
                f"the tensor {shortened(name)} has the dtype {shortened(dtype)}; it may be {', '.join(_DTYPES)}"
            )
        if not (_are_sizes(shape) and len(shape) <= 32 and _are_sizes(offsets) and len(offsets) == 2):
            raise ValueError(f"the tensor {shortened(name)} has no shape, or no two data_offsets")
        begin, end = offsets
        if end - begin != math.prod(shape) * int(_DTYPES[dtype][2:]):
            raise ValueError(
                f"the tensor {shortened(name)} has {end - begin} bytes, which is not the size of its shape"
            )
        places[name] = (_DTYPES[dtype], tuple(shape), begin)
        ends.append((begin, end))
    at = 0
    for begin, end in sorted(ends):
        if begin != at:
            raise ValueError("its tensors overlap, or leave bytes out")
        at = end
    if at != size:
        raise ValueError(f"its tensors have {at:,} bytes, but it has {size:,}")
    return places


def _are_sizes(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


def _read_array(file: BinaryIO, start: int, name: str, place: _Place, largest: float | None) -> NDArray[Any]:
    import numpy as np

    dtype, shape, begin = place
    array = np.empty(shape, np.uint8 if dtype == "|b1" else dtype)
    if array.size:
        file.seek(start + begin)
        if file.readinto(array.reshape(-1).view(np.uint8).data) != array.nbytes:  # type: ignore[attr-defined]
            raise ValueError("it is cut short")
        check_numbers(name, array, largest, is_bool=dtype == "|b1")
    return array.view(np.bool_) if dtype == "|b1" else array


def check_numbers(name: str, array: NDArray[Any], largest: float | None, *, is_bool: bool = False) -> None:
    """Checks the numbers of an array, in a pass for each bound.

    Args:
        name: of the array.
        array: of any dtype and size.
        largest: the largest absolute value of floating-point numbers; ``None`` for any, infinity and NaN too.
        is_bool: whether its bytes are truth values.

    Raises:
        ValueError: if a float is too large or not finite, or a truth value is neither 0 nor 1.
    """
    import numpy as np

    if is_bool and array.max(initial=0) > 1:
        raise ValueError(f"the tensor {shortened(name)} has truth values that are neither 0 nor 1")
    if array.dtype.kind != "f" or not array.size or largest is None:
        return
    with np.errstate(invalid="ignore"):
        low, high = float(array.min()), float(array.max())  # both are NaN if one number is
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"the tensor {shortened(name)} has numbers that are not finite")
    if max(-low, high) > largest:
        raise ValueError(f"the tensor {shortened(name)} has the number {max(-low, high):.3g}, beyond {largest:g}")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
