"""Damage to files, drawn at random: JSON values, bytes, safetensors, ONNX graphs, tables, TOML."""

import json
import random
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

#: A file, what was done to it, and whether a number was replaced by another type, which no reader may take.
Damage = tuple[bytes, str, bool]


class Raw(str):
    """JSON as it is to stand in the file."""


DEEP = 100_000

#: Values that replace any other.
EXTREMES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**40, 2**63, 2**64, -(2**63), 0.5, -0.0, 1e308, 5e-324, "", "x", "54", "0"),
    *([], {}, [[]], [None], {"": None}, {"name": "x"}, "\0", "\ud800", "a" * 20_000, "../x", "/etc/passwd", "\x1b[2J"),
    *(list(range(2000)), {str(i): i for i in range(2000)}),
    *map(Raw, ("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" + "0" * 400, "9" * 5000, "1e-999", "01", "1.")),
    Raw("[" * DEEP + "]" * DEEP),
    Raw('{"a":' * DEEP + "1" + "}" * DEEP),
    Raw('{"a": 1, "a": 2}'),
)


def dumps(value: Any) -> str:
    """JSON with :class:`Raw` parts, and with pairs as an object that may have a key twice."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(key))}: {dumps(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(dumps, value)) + "]"
    return json.dumps(value)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values within a value; of long lists some."""
    yield path
    if isinstance(value, dict):
        for key in list(value)[:60]:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list):
        for index in range(min(len(value), 10)):
            yield from places(value[index], (*path, index))


def get(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    get(value, path[:-1])[path[-1]] = new
    return value


def damage_json(rng: random.Random, content: bytes) -> Damage:
    """A JSON file with a value replaced, removed, doubled, moved or nested; at times with other bytes."""
    if rng.random() < 0.1:
        return damage_bytes(rng, content)
    value = json.loads(content)
    new: Any
    path = rng.choice(list(places(value)))
    old = get(value, path)
    is_number = isinstance(old, int | float) and not isinstance(old, bool)
    match rng.randrange(8):
        case 0 if path:
            del get(value, path[:-1])[path[-1]]
            return dumps(value).encode(), f"{path} removed", False
        case 1 if isinstance(old, dict) and old:
            key = rng.choice(list(old))
            doubled = ", ".join([f"{json.dumps(key)}: {dumps(rng.choice(EXTREMES))}", dumps(old)[1:-1]])
            return dumps(put(value, path, Raw("{" + doubled + "}"))).encode(), f"{path}: {key} twice", False
        case 2 if is_number:
            new = rng.choice((str(old), True, [old], {"value": old}))
            return dumps(put(value, path, new)).encode(), f"{path} = {new!r}", True
        case 3 if is_number:
            new = rng.choice((old + 1, old - 1, -old, old * 2, old + 0.5, float(old), old * 10**12))
            return dumps(put(value, path, new)).encode(), f"{path} = {new!r}", False
        case 4 if isinstance(old, list) and old:
            new = rng.choice((old * 2, old[:-1], old[::-1], [*old, rng.choice(EXTREMES)], [old]))
            return dumps(put(value, path, new)).encode(), f"{path}: a list of {len(new)}", False
        case 5 if isinstance(old, str):
            new = rng.choice((old + "x", old[:-1], old.upper(), f" {old}", old + "\n", old * 500, f"/{old}"))
            return dumps(put(value, path, new)).encode(), f"{path} = {new[:40]!r}", False
        case 6 if isinstance(old, dict):
            key = rng.choice(("x", "", "name", "0", "-1", "1e9", "__class__", "٣", "01"))
            new = {**old, key: rng.choice(EXTREMES)}
            return dumps(put(value, path, new)).encode(), f"{path}: {key!r} added", False
        case 7:
            other = get(value, rng.choice(list(places(value))))
            return dumps(put(value, path, json.loads(json.dumps(other)))).encode(), f"{path}: moved", False
    new = rng.choice(EXTREMES)
    return dumps(put(value, path, new)).encode("utf-8", "surrogatepass"), f"{path} = {str(new)[:40]!r}", False


def damage_bytes(rng: random.Random, content: bytes) -> Damage:
    """A file with bytes changed, removed or added."""
    at = rng.randrange(len(content) + 1)
    size = rng.choice((1, 1, 2, 8, 64))
    some = rng.randbytes(size)
    match rng.randrange(6):
        case 0:
            return content[:at], f"cut at {at}", False
        case 1:
            return content[:at] + some + content[at:], f"{size} bytes added at {at}", False
        case 2:
            return content[:at] + content[at + size :], f"{size} bytes removed at {at}", False
        case 3:
            return content + rng.choice((b"\0", b"x", some, content)), "bytes at the end", False
        case 4:
            extreme = rng.choice((b"\0", b"\xff", b"\x7f", b"\x80")) * size
            return content[:at] + extreme + content[at + size :], f"{extreme!r} at {at}", False
    return content[:at] + some + content[at + size :], f"{size} bytes changed at {at}", False


def damage_tensors(rng: random.Random, content: bytes) -> Damage:
    """A safetensors file with another header, other metadata, other numbers, or other bytes."""
    length = int.from_bytes(content[:8], "little")
    header, data = content[8 : 8 + length], content[8 + length :]
    about = json.loads(header)
    names = [name for name in about if name != "__metadata__"]
    match rng.randrange(7):
        case 0:
            return damage_bytes(rng, content)
        case 1:
            new, what, _ = damage_json(rng, header)
            return len(new).to_bytes(8, "little") + new + data, f"header: {what}", False
        case 2:
            size = rng.choice((0, 1, length - 1, length + 1, 2**24, 2**32, 2**63, 2**64 - 1))
            return size.to_bytes(8, "little") + header + data, f"header of {size}", False
        case 3:
            name = rng.choice(names)
            about[name]["dtype"] = rng.choice(("F8_E4M3", "F8_E5M2", "BF16", "C64", "F64", "I32", "BOOL", "U8", "x", 1))
            what = f"{name} of {about[name]['dtype']}"
        case 4:
            name = rng.choice(names)
            shape = about[name]["shape"]
            about[name]["shape"] = rng.choice(
                ([*shape, 1], shape[::-1], [2**62, 4], [], [-1], [2**40] * 40, [*shape, 0])
            )
            what = f"{name} of {about[name]['shape']}"
        case 5 if "__metadata__" in about:
            metadata = about["__metadata__"]
            name = rng.choice(list(metadata))
            if metadata[name].startswith("{"):
                metadata[name] = damage_json(rng, metadata[name].encode())[0].decode("utf-8", "replace")
            else:
                metadata[name] = rng.choice(
                    ("", "-1", "1.5", "nan", "9" * 30, "01", " 1", "1 ", "٣", "x", str(2**64), str(2**63), "1_0", "+1")
                )
            what = f"metadata {name} = {metadata[name][:40]!r}"
        case _:
            name = rng.choice(
                [name for name in names if about[name]["data_offsets"][1] > about[name]["data_offsets"][0]]
            )
            return header_and(content[: 8 + length], data, rng, name, about[name])
    new = dumps(about).encode()
    return len(new).to_bytes(8, "little") + new + data, what, False


def header_and(head: bytes, data: bytes, rng: random.Random, name: str, about: dict[str, Any]) -> Damage:
    """The file with another number in a tensor."""
    begin, end = about["data_offsets"]
    dtype = {"F32": "<f4", "I32": "<i4", "F64": "<f8", "I64": "<i8"}.get(about["dtype"], "u1")
    array = np.frombuffer(data[begin:end], dtype).copy()
    numbers: tuple[float, ...] = (-1, -(2**31), 2**31 - 1, 54, 1000)
    if array.dtype.kind == "f":
        numbers = (np.nan, np.inf, -np.inf, 3e38, -3e38, 1e30, 1e10, -1e10, 1e-45)
    new = rng.choice(numbers)
    with np.errstate(all="ignore"):
        array[rng.randrange(len(array))] = np.array(new).astype(dtype)
    if rng.random() < 0.1:
        array[:] = array[0]
    return head + data[:begin] + array.tobytes() + data[end:], f"{name} with {new}", False


def damage_onnx(rng: random.Random, content: bytes) -> Damage:
    """A graph with another field somewhere, another number in a tensor, or other bytes."""
    import onnx

    if rng.random() < 0.3:
        return damage_bytes(rng, content)
    model = onnx.load_from_string(content)
    messages = [(model, "model")]
    for message, path in messages:
        for field, value in message.ListFields():
            if field.type == field.TYPE_MESSAGE:
                several = value if _repeats(field) else [value]
                messages += [(each, f"{path}.{field.name}") for each in several]
    message, path = rng.choice(messages)
    fields = message.DESCRIPTOR.fields
    field = rng.choice(fields)
    try:
        match rng.randrange(4):
            case 0:
                message.ClearField(field.name)
                return model.SerializeToString(), f"{path}.{field.name} cleared", False
            case 1 if _repeats(field) and len(getattr(message, field.name)):
                values = getattr(message, field.name)
                del values[rng.randrange(len(values))]
                return model.SerializeToString(), f"{path}.{field.name}: one removed", False
            case 2 if _repeats(field) and len(getattr(message, field.name)) and field.type == field.TYPE_MESSAGE:
                values = getattr(message, field.name)
                values.add().CopyFrom(rng.choice(values))
                return model.SerializeToString(), f"{path}.{field.name}: one doubled", False
        new = _value(rng, field, getattr(message, field.name))
        if _repeats(field):
            getattr(message, field.name).append(new)
        else:
            setattr(message, field.name, new)
    except (TypeError, ValueError, AttributeError):
        return damage_bytes(rng, content)
    return model.SerializeToString(), f"{path}.{field.name} = {str(new)[:40]!r}", False


def _repeats(field: Any) -> bool:
    return bool(field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED)


def _value(rng: random.Random, field: Any, old: Any) -> Any:
    """A value of a protobuf field."""
    if field.type == field.TYPE_STRING:
        return rng.choice(("", "x", "location", "../secret", "/etc/passwd", "If", "Loop", "\0"))
    if field.type == field.TYPE_BYTES:
        numbers = (np.nan, np.inf, 3e38, 0.0, -1.0)
        return bytes(old[:-4]) + struct.pack("<f", rng.choice(numbers)) if old else rng.randbytes(8)
    if field.type in (field.TYPE_FLOAT, field.TYPE_DOUBLE):
        return rng.choice((float("nan"), float("inf"), 1e38))
    if field.type == field.TYPE_MESSAGE:
        raise TypeError
    return rng.choice((-1, 0, 1, 2, 7, 17, 2**31 - 1, 2**62))


def damage_toml(rng: random.Random, content: bytes) -> Damage:
    """A configuration with another value, another table, or other bytes."""
    if rng.random() < 0.3:
        return damage_bytes(rng, content)
    lines = content.decode().splitlines()
    at = rng.randrange(len(lines))
    values = (
        *("nan", "inf", "-inf", "true", '"54"', "54.0", "-1", "0", "1e400", "9" * 5000, "[]", "{}", '""', "[[1]]"),
        *("1979-05-27", "07:32:00", "[" * 5000 + "]" * 5000, "{a = " * 3000 + "1" + "}" * 3000, '"\\u0000"', "[nan]"),
        *('{name = "x"}', "0xFFFFFFFFFFFFFFFFFFFF", "1_000_000_000_000_000_000_000", '"none"', "'''a\nb'''", "1e308"),
    )
    name = lines[at].partition("=")[0].strip()
    if rng.random() < 0.2 or lines[at].startswith("["):
        name = rng.choice(
            ("[model]", "[x]", "[[model]]", "model", "seed", "path", "[training.x]", '""', "name", "callbacks")
        )
    line = name if name.startswith("[") else f"{name} = {rng.choice(values)}"
    lines[at : at + rng.randrange(2)] = [line]
    return "\n".join(lines).encode(), f"line {at}: {line[:60]!r}", False


def damage_table(rng: random.Random, content: bytes) -> Damage:
    """A text or a table with other quotes, delimiters, line ends, marks or bytes."""
    at = rng.randrange(len(content) + 1)
    parts = (
        *(
            b'"',
            b'""',
            b"'",
            b",",
            b";",
            b"\t",
            b"\r",
            b"\r\n",
            b"\n\n\n",
            b"\0",
            b"\xff\xfe",
            b"\xef\xbb\xbf",
            b"\xff",
        ),
        *(b"\\", b"&#0;", b"\\ud800", b"\xed\xa0\x80", b"sep=;\n", b"{", b"[" * 5000, b'{"a":' * 5000, b"}", b"1e999"),
        *(
            b"NaN",
            b"\xc2\x85",
            b"\xe2\x80\xa8",
            b"\x1f\x8b",
            b"PK\x03\x04",
            b"a" * 100_000,
            b"," * 3000,
            b"\x1a",
            b"null",
        ),
    )
    if rng.random() < 0.3:
        return damage_bytes(rng, content)
    new = rng.choice(parts)
    return content[:at] + new + content[at + rng.randrange(3) :], f"{new[:20]!r} at {at}", False
