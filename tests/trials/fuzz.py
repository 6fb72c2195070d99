"""Damaged files of every kind, read through the public interface: each is taken, or refused in one line.

    python -m tests.trials.fuzz --count 20000 --seed 1

A fault is a traceback, a crash, a hang, or NaN and numbers out of range that were taken. The numbers of cases by kind
and outcome are printed, and the command that repeats each fault. Exits with 1 if there are any.
"""

import argparse
import multiprocessing
import os
import resource
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import NamedTuple

from tests.trials.subjects import SUBJECTS, make_base, run_case

#: Bytes of memory that a process may take, and seconds for a case.
MEMORY, SECONDS = 6 * 2**30, 60

#: Faults that are shown in full.
SHOWN = 20


class Case(NamedTuple):
    """A case: its kind, and its number among those of this kind."""

    name: str
    number: int


class Outcome(NamedTuple):
    """What became of a case."""

    case: Case
    result: str
    what: str
    message: str


class Worker:
    """A process that runs cases one after the other."""

    def __init__(self, base: Path, work: Path, seed: int) -> None:
        self._arguments = (base, work, seed)
        work.mkdir(parents=True)
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self._process = context.Process(target=_work, args=(other, *self._arguments), daemon=True)
        self._process.start()
        other.close()
        self.case: Case | None = None

    def begin(self, case: Case) -> None:
        """Hands a case over."""
        self.case = case
        self.connection.send(case)

    def outcome(self) -> Outcome:
        """The outcome of the case; a process that died over it is replaced."""
        assert self.case is not None
        case, self.case = self.case, None
        try:
            return Outcome(case, *self.connection.recv())
        except (EOFError, OSError):
            self._process.join()
            code = self._process.exitcode
            self._start()
            return Outcome(case, "fault", "", f"the process ended with {code}")

    def give_up(self) -> Outcome:
        """Ends a process that hangs."""
        assert self.case is not None
        case = self.case
        self.stop()
        self._start()
        return Outcome(case, "fault", "", f"no answer in {SECONDS} seconds")

    def stop(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.join()
        self.connection.close()


def _work(connection: Connection, base: Path, work: Path, seed: int) -> None:
    """Runs cases until the connection ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.environ["TEXTGEN_CACHE_DIR"] = str(work / "cache")
    os.chdir(work)
    with plugins_for_trials():
        while True:
            try:
                case = connection.recv()
            except EOFError:
                return
            connection.send(run_case(base, work, case.name, seed, case.number))


@contextmanager
def plugins_for_trials() -> Iterator[None]:
    """Registers the models and corpora of :mod:`textgen.testing`; makes no plots."""
    from textgen.testing import counting, recurrent, registered, tiny

    sys.modules["matplotlib"] = None  # type: ignore[assignment]  # importing it takes a second
    with ExitStack() as stack:
        for module in (counting, recurrent, tiny):
            stack.enter_context(registered(module, name=module.__name__))
        yield


def trial(count: int, seed: int, names: list[str], processes: int = 2) -> list[Outcome]:
    """Runs cases of some kinds, ``count`` in all, by their shares."""
    total = sum(SUBJECTS[name].share for name in names)
    shares = {name: -(-count * SUBJECTS[name].share // total) for name in names}
    cases = [Case(name, number) for name in names for number in range(-1, shares[name])]
    return run(cases, seed, processes)


def run(cases: list[Case], seed: int, processes: int = 2) -> list[Outcome]:
    """Runs cases in a pool of processes."""
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="textgen-fuzz-") as scratch:
        base = Path(scratch, "base")
        base.mkdir()
        maker = multiprocessing.get_context("spawn").Process(target=_make_base, args=(base,))
        maker.start()
        maker.join()
        if maker.exitcode:
            raise SystemExit("the files to damage could not be made")
        workers = [Worker(base, Path(scratch, f"worker-{i}"), seed) for i in range(processes)]
        try:
            waiting = list(reversed(cases))
            shown = len(cases)
            while waiting or any(worker.case for worker in workers):
                for worker in workers:
                    if worker.case is None and waiting:
                        worker.begin(waiting.pop())
                if shown - len(waiting) >= 1000:
                    shown = len(waiting)
                    print(f"{len(outcomes):,} of {len(cases):,} cases", file=sys.stderr, flush=True)
                busy = {worker.connection: worker for worker in workers if worker.case}
                ready = wait(list(busy), timeout=SECONDS)
                outcomes += [busy[connection].outcome() for connection in ready]  # type: ignore[index]
                if not ready:
                    outcomes += [worker.give_up() for worker in busy.values()]
        finally:
            for worker in workers:
                worker.stop()
    return outcomes


def _make_base(base: Path) -> None:
    os.environ["TEXTGEN_CACHE_DIR"] = str(base / "cache")
    with plugins_for_trials():
        make_base(base)


def report(outcomes: list[Outcome], seed: int) -> int:
    """Prints the counts and the faults; returns the number of faults."""
    counts = Counter((outcome.case.name, outcome.result) for outcome in outcomes)
    results = ("accepted", "refused", "fault")
    print(f"{'kind':<24}{'cases':>8}" + "".join(f"{result:>10}" for result in results))
    names = list(dict.fromkeys(outcome.case.name for outcome in outcomes))
    for name in names:
        row = [counts[name, result] for result in results]
        print(f"{name:<24}{sum(row):>8}" + "".join(f"{number:>10}" for number in row))
    totals = [sum(counts[name, result] for name in names) for result in results]
    print(f"{'all':<24}{len(outcomes):>8}" + "".join(f"{number:>10}" for number in totals))
    faults = [outcome for outcome in outcomes if outcome.result == "fault"]
    for fault in faults[:SHOWN]:
        case = fault.case
        print(f"\n{case.name} {case.number}: {fault.what}\n{fault.message.rstrip()}")
        print(f"again: python -m tests.trials.fuzz --seed {seed} --kind {case.name} --case {case.number}")
    if len(faults) > SHOWN:
        print(f"\nand {len(faults) - SHOWN} more faults")
    return len(faults)


def main() -> int:
    """Reads the command line, and runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000, help="cases in all")
    parser.add_argument("--seed", type=int, default=0, help="of the damage")
    parser.add_argument("--kind", action="append", choices=list(SUBJECTS), help="only this kind; may be repeated")
    parser.add_argument("--case", type=int, help="only the case of this number, of one kind")
    parser.add_argument("--messages", action="store_true", help="also print the message of each refusal")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    names = options.kind or list(SUBJECTS)
    if options.case is not None:
        outcomes = run([Case(names[0], options.case)], options.seed, 1)
        print(*outcomes, sep="\n")
    else:
        outcomes = trial(options.count, options.seed, names, options.processes)
    if options.messages:
        print(*(f"{each.case.name} {each.case.number}: {each.what}: {each.message}" for each in outcomes), sep="\n")
    return 1 if report(outcomes, options.seed) else 0


if __name__ == "__main__":
    sys.exit(main())
