"""Texts that a Python program passes to ``train(text=...)`` instead of a path."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from textgen.base import values
from textgen.base.spool import spool
from textgen.errors import CorpusError, OptionError, shortened

#: The name of the texts in messages.
NAME = "text"


def keep_text(text: str | Iterable[str], labels: Iterable[str] | None = None) -> Path:
    """Keeps a text, or many, as a file that the corpus ``file`` reads.

    Args:
        text: one long text; or documents: a list, any other iterable, a NumPy array of strings, or a column of a
            table of pandas or polars.
        labels: the label of each document, in any of these ways.

    Returns:
        The path: ``.txt`` for one text, ``.jsonl`` for documents, with the keys ``text`` and, if there are labels,
        ``label``.

    Raises:
        OptionError: if it is neither; names the first item that is not a text. If one text has labels, or there are not
            as many labels as documents.
        CorpusError: if there is no text, or it has half of a surrogate pair.
    """
    if isinstance(text, str):
        if not text.strip():
            raise CorpusError(f"{NAME} has no text: it is empty")
        if labels is not None:
            raise OptionError(f"{NAME} is one text, which has no labels; pass a list of documents")
        return spool([_encoded(NAME, text)])
    listed = None if labels is None else values.several(labels, "labels", "a list of them, one per document")
    return spool(_lines(_items(text), listed), ".jsonl")


def _items(texts: Iterable[str]) -> Iterable[object]:
    """The items of a collection of texts.

    Raises:
        OptionError: if iterating would give something else, such as the columns of a table.
    """
    kind = type(texts).__name__
    if hasattr(texts, "columns"):
        raise OptionError(f"{NAME} is a table ({kind}); pass one of its columns, as in {NAME}=table['title']")
    if hasattr(texts, "read"):
        raise OptionError(f"{NAME} is an open file; pass its content, as in {NAME}=file.read(), or corpus=PATH")
    if isinstance(texts, bytes | bytearray | memoryview):
        raise OptionError(f"{NAME} is {kind}; decode it, as in {NAME}=data.decode('utf-8')")
    if isinstance(texts, Path):
        raise OptionError(f"{NAME} is a path; pass it as corpus={str(texts)!r}")
    if isinstance(texts, Mapping):
        raise OptionError(f"{NAME} is a mapping ({kind}); pass its texts, as in {NAME}=list(texts.values())")
    try:
        items = iter(texts)
    except TypeError:
        raise OptionError(f"{NAME} is of type {kind}; pass a str, or a list or column of them") from None
    except Exception as error:
        raise _unreadable(error) from error
    return _each(items)


def _each(items: Iterator[object]) -> Iterator[object]:
    while True:
        try:
            item = next(items)
        except StopIteration:
            return
        except Exception as error:
            raise _unreadable(error) from error
        yield item


def _unreadable(error: Exception) -> OptionError:
    return OptionError(f"{NAME} cannot be read: its items raised {type(error).__name__}")


def _lines(items: Iterable[object], labels: Sequence[object] | None) -> Iterator[bytes]:
    """Yields documents as lines of JSON, with the key ``text``, and ``label`` if there are labels."""
    empty = True
    count = 0
    for index, item in enumerate(items):
        count += 1
        if not isinstance(item, str):
            raise OptionError(
                f"{NAME}[{index}] is {values.shown(item)}, which is not a str; "
                f"leave such rows out, as in {NAME}=[row for row in rows if isinstance(row, str)]"
            )
        empty = empty and not item.strip()
        record = {"text": item}
        if labels is not None and index < len(labels):
            try:
                record["label"] = str(labels[index])
            except Exception as error:
                raise OptionError(f"labels[{index}] cannot be read: it raised {type(error).__name__}") from error
        yield _encoded(f"{NAME}[{index}]", json.dumps(record, ensure_ascii=False), item) + b"\n"
    if labels is not None and len(labels) != count:
        raise OptionError(f"{NAME} has {count:,} documents, but labels has {len(labels):,} items")
    if empty:
        raise CorpusError(f"{NAME} has no text: it is empty")


def _encoded(name: str, written: str, text: str | None = None) -> bytes:
    try:
        return written.encode("utf-8")
    except UnicodeEncodeError as error:
        shown = shortened(written if text is None else text, 40)
        raise CorpusError(
            f"{name} contains half of a surrogate pair, which is not a character ({error.object[error.start]!r} in "
            f"{shown}); leave it out"
        ) from None
