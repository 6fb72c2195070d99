"""The Engine interface: where the texts of a job are written."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable
from typing import ClassVar

from textgen import options as schema
from textgen.bulk.work import Chunk, Work, Written


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
