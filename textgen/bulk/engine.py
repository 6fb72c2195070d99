"""The Engine interface: where the texts of a job are written, and runs are trained by several processes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Sequence
from typing import ClassVar, TextIO

from textgen import options as schema
from textgen.bulk.work import Chunk, Work, Written
from textgen.errors import OptionError


class Engine(ABC):
    """Workers that write the texts of a job: the processes of this machine, or those of a cluster.

    An engine decides where and when a chunk is written; never what is in it, which depends on the seed and the numbers
    of its rows alone. It touches no file of the job: this process writes them all.

    Args:
        options: an instance of :attr:`Options`.
        workers: the number of workers; ``None`` for as many as there are cores.
    """

    #: The options of the engine, which users set with ``--set``.
    Options: ClassVar[type[schema.Options]] = schema.Options

    def __init__(self, options: schema.Options, workers: int | None = None) -> None:
        self.options = options
        self.workers = workers

    @abstractmethod
    def map(self, work: Work, chunks: Iterable[Chunk]) -> Generator[Written, None, None]:
        """Write chunks, each by ``work(chunk)`` in some worker.

        A worker that dies is replaced, and its chunk is written again. When the generator is closed, which may
        be before its end, the workers stop.

        Args:
            work: what writes a chunk. A process of this machine gets it by pickle; another machine gets
                ``work.pack()``, once, and calls ``open()`` there. Call :func:`textgen.limit_cores` before, so that
                workers beside each other do not take each other's cores.
            chunks: taken one by one, at most a few per worker before what came of them is yielded: they may be many.

        Yields:
            What came of each chunk, in the order of the chunks.

        Raises:
            TextgenError: if a chunk cannot be written, such as one whose workers die again and again.
            UnavailableError: if a library or a machine is missing.
        """

    def train(self, arguments: Sequence[str], stdout: TextIO) -> int:
        """Train one run with several processes; an engine that only writes texts does not have this.

        Each worker is a process that runs ``textgen`` with these arguments, and with a ``TF_CONFIG`` that lists all of
        them. The first one, which shows and writes the run, is a child of this process.

        Args:
            arguments: of the command ``textgen``.
            stdout: of the first worker; descriptor 1 of this process leads to stderr.

        Returns:
            The exit code of the first worker.

        Raises:
            OptionError: if the engine does not train.
            UnavailableError: if a library or a machine is missing, or another worker fails.
        """
        raise OptionError("this engine writes texts, and does not train; start each worker with TF_CONFIG instead")
