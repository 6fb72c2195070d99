"""Reading a run while it trains: loads, verifications and exports, none of which may fail.

    python -m tests.trials.read_while_training --loads 5000 --verifies 500 --exports 100

A process trains a run that saves a checkpoint after every batch, ends, and is resumed, without pause. Several others
read it at the same time: they load it and write a text, verify it, and export it, to folders of their own and into
the run itself. Prints the figures; exit code 1 if anything failed, or the training process did.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import textgen
from tests.trials.kills import fork, import_commands
from textgen.runs.artifact import Artifact
from textgen.testing import recurrent, registered

#: Processes that read at the same time.
READERS = 3

TRAIN = ["--model", "fixed-gru", "--set", "corpus.layout=lines", "--batch-size", "6"]
TRAIN += ["--set", "training.checkpoint_minutes=0.00001", "--set", "training.sample_every=0"]
TRAIN += ["--set", "training.held_out=0.2"]


def train_forever(folder: Path) -> None:
    """Trains the run, again and again a few epochs more; never returns."""
    os.fsync = lambda fd: None  # a slow disk would make it easy
    epochs = 40
    command = ["train", "words.txt", *TRAIN, "--out", "run"]
    while True:
        ended = fork(folder, [*command, "--epochs", str(epochs)]).wait()
        if ended.code != 0:
            (folder / "failed.txt").write_text(ended.errors)
            os._exit(1)
        command, epochs = ["train", "--resume", "run"], epochs + 40


def in_child(work: Callable[[], None]) -> int:
    """Starts a function in a fork of this process; returns its process."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return pid


def load(run: Path, number: int) -> None:
    """Loads the run, in any of the runtimes, and writes a text."""
    runtime = ("numpy", "auto", "fixed-gru")[number % 3]
    textgen.load(run, runtime=runtime).generate("ab", length=5, seed=1)


def verify(run: Path, number: int) -> None:
    """Verifies the run's files."""
    Artifact.open(run).verify()


def export(run: Path, number: int) -> None:
    """Exports the run; every second export goes into the run's folder."""
    out = None if number % 2 else run.with_name(f"export-{os.getpid()}")
    textgen.export(run, out=out)


def read(run: Path, seed: int, work: dict[str, int], report: Path) -> None:
    """Does work in random order, and writes what came of it to a file."""
    tasks = [(name, number) for name, count in work.items() for number in range(count)]
    random.Random(seed).shuffle(tasks)
    counts: Counter[str] = Counter()
    failures = []
    for name, number in tasks:
        try:
            {"load": load, "verify": verify, "export": export}[name](run, number)
            counts[name] += 1
        except Exception as error:
            failures.append(f"{name}: {type(error).__name__}: {error}")
            print(failures[-1], file=sys.stderr, flush=True)
    report.write_text(json.dumps({"done": counts, "failures": failures}))


def trial(folder: Path, *, loads: int, verifies: int, exports: int) -> tuple[Counter[str], list[str], int]:
    """Trains and reads a run in an empty folder.

    Returns:
        What was done, by kind; the failures, a line each; the number of batches that were trained meanwhile.
    """
    letters = random.Random(3)
    words = ["".join(letters.choices("abcde", k=letters.randint(2, 9))) for _ in range(40)]
    (folder / "words.txt").write_text("\n".join(words) + "\n")
    run = folder / "run"
    import_commands()
    with registered(recurrent, name="recurrent"):
        trainer = in_child(lambda: train_forever(folder))
        while not _has_weights(run):
            time.sleep(0.05)
        before = _batches(run)
        work = {"load": loads, "verify": verifies, "export": exports}
        shares = [
            {name: count // READERS + (i < count % READERS) for name, count in work.items()} for i in range(READERS)
        ]
        reports = [folder / f"report-{i}.json" for i in range(READERS)]
        children = [
            in_child(lambda i=i: read(run, i, shares[i], reports[i]))  # type: ignore[misc]
            for i in range(READERS)
        ]
        for child in children:
            os.waitpid(child, 0)
        trained = _batches(run) - before
        failures = [(folder / "failed.txt").read_text()] if (folder / "failed.txt").exists() else []
        _stop(trainer)
    done: Counter[str] = Counter()
    for report in reports:
        found = json.loads(report.read_text())
        done.update(found["done"])
        failures += found["failures"]
    return done, failures, trained


def _stop(trainer: int) -> None:
    """Ends the process that starts training; the training that is under way ends by itself."""
    os.kill(trainer, signal.SIGKILL)
    os.waitpid(trainer, 0)


def _has_weights(run: Path) -> bool:
    try:
        return Artifact.open(run).manifest.weights is not None
    except textgen.errors.ArtifactError:
        return False


def _batches(run: Path) -> int:
    name = Artifact.open(run).manifest.last_checkpoint
    return int(str(name).rpartition("-")[2].partition(".")[0])


def main() -> int:
    """Runs the trial, and prints its figures."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--loads", type=int, default=5000)
    parser.add_argument("--verifies", type=int, default=500)
    parser.add_argument("--exports", type=int, default=100)
    arguments = parser.parse_args()
    begun = time.perf_counter()
    folder = Path(tempfile.mkdtemp(prefix="textgen-reading-"))
    os.environ["TEXTGEN_CACHE_DIR"] = f"{folder}/cache"
    try:
        done, failures, batches = trial(folder, **vars(arguments))
    finally:
        time.sleep(1)  # the last training
        shutil.rmtree(folder, ignore_errors=True)
    counts = f"{done['load']} loads, {done['verify']} verifications, {done['export']} exports"
    seconds = time.perf_counter() - begun
    print(f"{counts}, {batches} checkpoints saved meanwhile, {len(failures)} failures, {seconds:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
