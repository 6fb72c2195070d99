"""Jobs of many texts whose processes are killed at random moments: their files must be those of undisturbed jobs.

    python -m tests.trials.bulk_kills --kills 10 --seed 1

Each job is started again until it has ended and so many of its processes were killed with SIGKILL: the one that was
started, or one of its workers. Prints what was killed; exit code 1 if a file differs, or one is left. Linux only.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

RUN = Path(__file__).parents[1] / "recorded" / "gru-names"

#: Jobs by the names of their files.
JOBS = {
    "plain.jsonl": ["--num", "20000", "--shard-rows", "300"],
    "filtered.csv": ["--num", "5000", "--shard-rows", "200", "--unique", "--match", "[aeiou]s", "--log-probability"],
    "continued.jsonl": ["--num", "700", "--shard-rows", "100", "--prompts-file", "prompts.txt", "--unique"],
}

#: Seconds after its workers have started in which a process of a job is killed, and the share of those before.
WITHIN, EARLY = 3.0, 0.2


def trial(kills: int, seed: int) -> tuple[list[str], Counter[str]]:
    """Kills processes of each job; returns what is wrong, and the number of kills of each kind."""
    chance, failures, killed = random.Random(seed), [], Counter[str]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "prompts.txt").write_text("\n".join(["Ty", "Bra", "A", "Eo"] * 2) + "\n")
        for job, options in JOBS.items():
            expected = folder / f"expected-{job}"
            _start(folder, expected.name, options, workers=1).wait()
            done = 0
            while done < kills:
                done += _disturb(_start(folder, job, options, workers=3), chance, killed)
                if (folder / job).exists():
                    failures += _compare(folder / job, expected)
                    _delete(folder / job)
            if _start(folder, job, options, workers=3).wait():
                failures.append(f"{job} did not end well")
            failures += _compare(folder / job, expected)
    return failures, killed


def _start(folder: Path, out: str, options: list[str], *, workers: int) -> subprocess.Popen[bytes]:
    fixed = ["--seed", "7", "--workers", str(workers), "--out", out]
    command = [sys.executable, "-m", "textgen", "sample", str(RUN), *options, *fixed]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _disturb(job: subprocess.Popen[bytes], chance: random.Random, killed: Counter[str]) -> int:
    """Kills workers of a job, or the job itself, which ends it; returns the number of kills."""
    done = 0
    while True:
        waits = chance.random() > EARLY
        while waits and job.poll() is None and not _children(job.pid):
            time.sleep(0.05)
        with suppress(subprocess.TimeoutExpired):
            job.wait(chance.uniform(0, WITHIN))
        if job.poll() is not None:
            return done
        workers = _children(job.pid)
        victim = chance.choice([job.pid, *workers])
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
            done += 1
            killed["job" if victim == job.pid else "worker"] += 1
        if victim == job.pid:
            job.wait()
            while any(Path(f"/proc/{worker}").exists() for worker in workers):  # they end by themselves
                time.sleep(0.01)
            return done


def _children(process: int) -> list[int]:
    """The workers of a job; the process beside them that tracks resources of multiprocessing is none."""
    try:
        found = [int(each) for each in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
        return [each for each in found if b"spawn_main" in Path(f"/proc/{each}/cmdline").read_bytes()]
    except OSError:
        return []


def _compare(file: Path, expected: Path) -> list[str]:
    failures = []
    if file.read_bytes() != expected.read_bytes():
        failures.append(f"{file.name} differs")
    left = sorted(path.name for path in Path(f"{file}.job").iterdir())
    if left != ["job.json"]:
        failures.append(f"{file.name}.job has {left}")
    return failures


def _delete(file: Path) -> None:
    file.unlink()
    (file.parent / f"{file.name}.job" / "job.json").unlink()
    (file.parent / f"{file.name}.job").rmdir()


def main(description: str, trial: Callable[[int, int], tuple[list[str], Counter[str]]]) -> int:
    """The command of a trial that takes the number of kills and a seed; returns its exit code."""
    parser = argparse.ArgumentParser(description=description.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    wrong, counted = trial(given.kills, given.seed)
    print(*wrong, f"killed: {dict(counted)}", sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main(str(__doc__), trial))
