"""The memory and time of training on a large corpus.

``python -m benchmarks.large_corpus [--megabytes 1000] [--layout stream|lines]`` writes random lines of dinosaur names
to a temporary folder (``TMPDIR``; it temporarily needs about three times the text's size), trains a small model on them
for 20 batches with ``textgen train`` in a separate process, and prints the peak memory of that process, including
TensorFlow and pages of mapped files. Linux and macOS.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from textgen.plugins.registry import plugins

#: Mean number of names per line; approximate number of lines per write.
NAMES, LINES = 4, 20_000

#: Few batches of a small model, whose own size does not matter.
TRAINING = {"training.max_steps": 20, "training.sample_every": 0, "model.units": 64}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large_corpus", description=__doc__.partition("\n")[0])
    parser.add_argument("--megabytes", type=int, default=1000, help="size of the text, in millions of bytes")
    parser.add_argument(
        "--layout", choices=["stream", "lines"], action="append", help="by default both, one after the other"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder, "names.txt")
        lines = write_lines(text, options.megabytes * 10**6)
        print(f"{text.stat().st_size / 1e6:,.0f} MB, {lines:,} lines", flush=True)
        for layout in options.layout or ["stream", "lines"]:
            memory, seconds = train(text, layout)
            print(f"{layout}: {memory / 1e9:.2f} GB of memory at most, {seconds:,.0f} s", flush=True)


def write_lines(path: Path, size: int) -> int:
    """Writes lines of random names until a file has ``size`` bytes; returns the number of lines."""
    rng = np.random.default_rng(0)
    names = np.array(list(plugins().make("corpus", {"name": "dinos-lite"}, None).documents()), object)
    written = lines = 0
    with path.open("w", encoding="ascii") as file:
        while written < size:
            drawn = names[rng.integers(len(names), size=LINES * NAMES)]
            ends = rng.random(len(drawn)) < 1 / NAMES
            ends[-1] = True
            written += file.write("".join(drawn + np.where(ends, "\n", " ").astype(object)))
            lines += int(ends.sum())
    return lines


def train(text: Path, layout: str) -> tuple[int, float]:
    """Trains on a file; returns the peak memory of the process in bytes, and its seconds."""
    settings = TRAINING | {"corpus.layout": layout}
    arguments = [f"--set={name}={value}" for name, value in settings.items()]
    command = [sys.executable, "-m", "textgen", "train", str(text), *arguments, "--out", str(text.with_name(layout))]
    start = time.perf_counter()
    with subprocess.Popen(command) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"benchmarks: textgen train ended with exit code {process.returncode}")
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024), time.perf_counter() - start


if __name__ == "__main__":
    main()
