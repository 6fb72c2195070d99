"""From options to the plan of a job."""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from textgen.base import values
from textgen.base.version import __version__
from textgen.bulk.batch_file import Answers, Batch, BatchSource, is_batch
from textgen.bulk.engine import Engine
from textgen.bulk.folder import JobFolder
from textgen.bulk.formats import Csv, Format, JsonLines, Parquet
from textgen.bulk.source import Entry, Source, open_source
from textgen.bulk.texts import COLUMNS, Texts
from textgen.bulk.work import Generator, Task, Work
from textgen.bulk.write import Plan
from textgen.errors import OptionError
from textgen.generation.request import MOST_CHARACTERS, Request
from textgen.plugins.registry import Registry
from textgen.runs.manifest import TOKENIZER

#: The most rows that a worker writes together, and the most characters: more are not faster, and take more memory.
ROWS, CHARACTERS = 1024, 2**17

#: Options of a request that a job decides itself.
_REFUSED = {"rows", "stream", "keep_state", "continuation", "chunk", "score"}

#: The most texts of a job.
MOST = 10**12


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The options of a job, besides those of its texts.

    Attributes:
        out: the file or folder to write. A path that ends with a slash, one without a suffix, and a folder that exists
            are folders.
        num: texts per prompt; with :attr:`unique`, :attr:`novel`, :attr:`match` or :attr:`max_length` and without
            several prompts, the texts to draw until.
        prompts: to continue; none for the run's own, or those of :attr:`prompts_file`.
        prompts_file: a file with prompts, or a folder of such files.
        column: of the file, with the prompts.
        keep: the columns of the file that are written, too.
        shard_rows: texts per part.
        unique: whether of equal texts only the first stays.
        novel: the texts of the training documents, if none of those is to stay.
        match: a regular expression that is found in each text that stays, prompt and all.
        max_length: the most characters of a text that stays, prompt and all.
        log_probability: whether to write log-probabilities.
        on_bad_row: whether a row that cannot be used ends the job, or is left out.
    """

    out: str
    num: int = 1
    prompts: Sequence[str] = ()
    prompts_file: Path | None = None
    column: str | None = None
    keep: Sequence[str] = ()
    shard_rows: int = 50_000
    unique: bool = False
    novel: Callable[[], Iterable[str]] | None = None
    match: str | None = None
    max_length: int | None = None
    log_probability: bool = False
    on_bad_row: Literal["stop", "skip"] = "stop"
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, out: object, prompt: object, **given: Any) -> Wanted:
        """The options that a program passes.

        Raises:
            OptionError: if one is of another type, or out of range.
        """
        options = {name: value for name, value in given.pop("options").items() if value is not None}
        if refused := sorted(options.keys() & _REFUSED):
            raise OptionError(f"a job has no option {refused[0]!r}")
        path = os.fspath(out) if isinstance(out, os.PathLike) else out
        values.path(path, "out")
        given["num"] = values.whole_number(options.pop("num", 1), "num", 1, MOST)
        given["shard_rows"] = values.whole_number(given["shard_rows"], "shard_rows", 1, 10**9)
        given["on_bad_row"] = values.choice(given["on_bad_row"], "on_bad_row", ("stop", "skip"))
        given["keep"] = values.texts(given["keep"], "keep")
        for name in ("unique", "log_probability"):
            values.truth(given[name], name)
        for name in ("column", "match"):
            given[name] = None if given[name] is None else values.text(given[name], name)
        if given["max_length"] is not None:
            given["max_length"] = values.whole_number(given["max_length"], "max_length", 0, MOST_CHARACTERS)
        if given["prompts_file"] is not None:
            given["prompts_file"] = values.path(given["prompts_file"], "prompts_file")
        prompts = [] if prompt is None else values.texts(prompt, "prompt")
        return cls(out=str(path), prompts=prompts, options=options, **given)


def make_engine(registry: Registry, name: object, workers: object, options: object) -> Engine:
    """The engine of a name.

    Raises:
        UnknownNameError: if no plugin provides it.
        OptionError: if an option is unknown or out of range.
        UnavailableError: if a library is missing.
    """
    number = None if workers is None else values.whole_number(workers, "workers", 1, 10**5)
    settings = {"name": values.text(name, "engine"), **values.table(options, "engine_options")}
    engine: Engine = registry.make("engine", settings, number)
    return engine


def make_plan(generator: Generator, wanted: Wanted) -> Plan:
    """The plan of a job.

    Raises:
        OptionError: for options that exclude each other or are out of range, and input that cannot be read.
        UnavailableError: if the format needs a library that is missing.
    """
    if wanted.match is not None:
        _check_pattern(wanted.match)
    source = _source(wanted)
    suffix, is_file = _kind(wanted.out)
    folder = JobFolder(Path(wanted.out), is_file=is_file, suffix=suffix)
    options = dict(wanted.options)
    if options.get("seed") is None:
        recorded = folder.recorded()
        options["seed"] = recorded["job"]["seed"] if recorded else secrets.randbits(32)
    prompt = wanted.prompts[0] if source is None and wanted.prompts else None
    filters = bool(wanted.unique or wanted.novel or wanted.match is not None or wanted.max_length is not None)
    names = [name for name in COLUMNS if wanted.log_probability or name != "log_probability"]
    for name in wanted.keep:
        if name in names or list(wanted.keep).count(name) > 1:
            raise OptionError(f"--keep {name}: the output has a column {name} already; rename that of the input")
    names[1:1] = wanted.keep
    job = _describe(generator, wanted, generator.request(prompt, **options), source, names, suffix)
    types = source.types if isinstance(source, Source) else {}
    form = _format(suffix, names, types, json.dumps(job, ensure_ascii=False))
    task: Task = Texts(
        options={**options, "score": wanted.log_probability},
        format=form,
        names=names,
        prompt=prompt,
        kept=wanted.keep,
        match=wanted.match,
        longest=wanted.max_length,
        digests=bool(wanted.unique or wanted.novel),
    )
    if isinstance(source, BatchSource):
        _check_batch(wanted, suffix, filters=filters)
        form = Answers()
        task = Batch(options, form)
    rows = None if source is None and filters else wanted.num * (1 if source is None else source.count())
    length = job["length"]
    return Plan(
        job=job,
        folder=folder,
        form=form,
        work=Work(generator, task),
        entries=None if source is None else source.entries,
        per_entry=wanted.num,
        rows=rows,
        texts=wanted.num if rows is None else rows,
        shard_rows=wanted.shard_rows,
        chunk=max(1, min(ROWS, CHARACTERS // length, wanted.shard_rows)),
        unique=wanted.unique,
        known=wanted.novel,
        skips=wanted.on_bad_row == "skip",
    )


class _Given:
    """Prompts that were passed."""

    def __init__(self, prompts: Sequence[str]) -> None:
        self._prompts = prompts

    def describe(self) -> list[str]:
        """What identifies them."""
        return list(self._prompts)

    def count(self) -> int:
        """Their number."""
        return len(self._prompts)

    def entries(self, skip: int = 0) -> Iterator[Entry]:
        """Yields them, without the first ones."""
        return ((prompt, ()) for prompt in islice(self._prompts, skip, None))


def _source(wanted: Wanted) -> Source | _Given | None:
    """The input; ``None`` if all texts have the same prompt."""
    if wanted.prompts_file is None:
        if wanted.column is not None or wanted.keep:
            raise OptionError("--column and --keep are for the columns of a --prompts-file")
        return _Given(wanted.prompts) if len(wanted.prompts) > 1 else None
    if wanted.prompts:
        raise OptionError("--prompts-file and other prompts exclude each other in a job with --out")
    path = wanted.prompts_file
    if wanted.column is None and not path.is_dir() and is_batch(path):
        return BatchSource([path], "", wanted.keep)
    return open_source(path, wanted.column, wanted.keep)


def _check_batch(wanted: Wanted, suffix: str, *, filters: bool) -> None:
    """Check the options of a job whose input is a batch file."""
    if filters or wanted.keep or wanted.num > 1 or wanted.log_probability:
        raise OptionError(
            f"{wanted.prompts_file} is a batch file, whose answers are written as they are asked for: filters, --num, "
            "--keep and --log-probability are for other prompts; use its fields, or give --column"
        )
    if suffix != JsonLines.suffix:
        raise OptionError(f"{wanted.prompts_file} is a batch file, whose answers are JSON Lines; use --out NAME.jsonl")


def _check_pattern(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise OptionError(f"--match {pattern!r} is not a regular expression: {error}") from None


def _kind(out: str) -> tuple[str, bool]:
    """The suffix of the files, and whether there is a single one."""
    path = Path(out)
    suffix, is_folder = path.suffix.lower(), out.endswith(("/", os.sep)) or path.is_dir()
    if suffix in (".jsonl", ".csv", ".parquet"):
        return suffix, not is_folder
    if suffix and not is_folder:
        raise OptionError(f"--out {out}: files can be .jsonl, .csv or .parquet; for a folder, end it with a slash")
    return ".jsonl", False


def _format(suffix: str, names: Sequence[str], types: Any, about: str) -> Format:
    if suffix == ".parquet":
        return Parquet(names, types, about)
    return Csv(names) if suffix == ".csv" else JsonLines()


def _describe(
    generator: Generator,
    wanted: Wanted,
    request: Request,
    source: Source | _Given | None,
    names: Sequence[str],
    suffix: str,
) -> dict[str, Any]:
    """What determines the texts and the files of a job."""
    if len(request.prompts) > 1:
        raise OptionError("a job with --out has one temperature and one label; write a job for each")
    manifest = generator.artifact.manifest
    return {
        "weights": generator.artifact.weights_sha256,
        "tokenizer": manifest.files[TOKENIZER].sha256,
        "textgen": ".".join(__version__.split(".")[:2]),
        "runtime": generator.runtime_name,
        "precision": generator.runtime.precision,
        "device": generator.runtime.device.partition(":")[0],
        "seed": request.seed,
        "num": wanted.num,
        "prompt": request.prompts[0] if source is None else None,
        "input": None if source is None else source.describe(),
        "column": wanted.column,
        "sampler": str(request.chains[0]),
        "length": request.length,
        "label": request.labels[0] if request.labels else None,
        "stop": list(request.stop),
        "ignore_eos": request.ignore_eos,
        "on_unknown": request.on_unknown,
        "normalize": bool(wanted.options.get("normalize")),
        "unique": wanted.unique,
        "novel": wanted.novel is not None,
        "match": wanted.match,
        "max_length": wanted.max_length,
        "format": suffix[1:],
        "columns": list(names),
        "shard_rows": wanted.shard_rows,
    }
