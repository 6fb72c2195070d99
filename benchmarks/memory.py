"""Growth of a process's memory with the length of its prompt, and with the number of texts that it scores.

``python -m benchmarks.memory [--quick]`` runs ``textgen sample`` in each runtime, and compares peak memory: of a prompt
of 1,000 and of 1,000,000 characters, and of 16 and 1,024 texts scored with a vocabulary of 5,000 characters.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.command import Findings, Session, notice, run
from benchmarks.growth import make_subject
from benchmarks.processes import Command, measure_commands
from benchmarks.report import Claim, Figures
from benchmarks.textgen_runs import RUN, make_runs

#: The runtimes, and the folder that each runs.
RUNTIMES, QUICK_RUNTIMES = {"onnx": "fp32", "numpy": RUN, "keras": RUN}, {"onnx": "fp32", "numpy": RUN}

#: Characters of the prompt, and texts at once.
PROMPTS, QUICK_PROMPTS = (1_000, 1_000_000), (1_000, 100_000)
TEXTS, QUICK_TEXTS = (16, 1_024), (16, 256)

#: The growth of peak memory at most, in MB: the bounds of issue 14.
PROMPT_BOUND, TEXTS_BOUND = 30.0, 200.0

UNITS, VOCABULARY, LENGTH = 64, 5_000, 50


def find(session: Session) -> Findings:
    prompts, texts, runtimes = (
        (QUICK_PROMPTS, QUICK_TEXTS, QUICK_RUNTIMES) if session.is_quick else (PROMPTS, TEXTS, RUNTIMES)
    )
    small, large = session.folder / "small", session.folder / "large"
    notice("making two runs and their exports")
    make_runs(make_subject(units=UNITS), small, ["fp32"], session.environment)
    make_runs(make_subject(units=UNITS, vocab_size=VOCABULARY), large, ["fp32"], session.environment)
    of_prompts = {
        name: [_read(session, small / part, name, length) for length in prompts] for name, part in runtimes.items()
    }
    of_texts = {name: [_score(large / part, name, count) for count in texts] for name, part in runtimes.items()}
    commands = [command for each in (of_prompts, of_texts) for row in each.values() for command in row]
    rows = measure_commands(commands, 1, environment=session.environment, folder=session.folder)
    memory = {row.name: row.memory / 1e6 for row in rows}
    seconds = {row.name: row.seconds[0] for row in rows}
    claims, figures = [], []
    for quantity, found, (few, many), bound in (
        ("characters of prompt", of_prompts, prompts, PROMPT_BOUND),
        ("scored texts", of_texts, texts, TEXTS_BOUND),
    ):
        table: dict[str, list[float | None]] = {}
        for name, (small_one, large_one) in found.items():
            growth = memory[large_one.name] - memory[small_one.name]
            table[name] = [memory[small_one.name], memory[large_one.name], growth, seconds[large_one.name]]
            claims.append(Claim(f"{name}: {many:,} over {few:,} {quantity}", "at most", bound, "MB", [growth]))
        columns = [f"{few:,}, MB", f"{many:,}, MB", "growth, MB", f"{many:,}, seconds"]
        figures.append(Figures(f"Peak memory by {quantity}", columns, table))
    return Findings(claims=claims, figures=figures)


def _read(session: Session, path: Path, runtime: str, length: int) -> Command:
    """Reads a prompt, and writes one character."""
    prompt = session.folder / f"{length}.txt"
    prompt.write_text("thequickbr" * (length // 10), encoding="utf-8")
    options = ["--prompt-file", str(prompt), "--length", "1"]
    return _sample(f"{runtime}, prompt of {length:,}", path, runtime, options)


def _score(path: Path, runtime: str, count: int) -> Command:
    """Writes texts with their log-probabilities."""
    options = ["--prompt", "a", "--num", str(count), "--length", str(LENGTH), "--json"]
    return _sample(f"{runtime}, {count:,} texts", path, runtime, options)


def _sample(name: str, path: Path, runtime: str, options: list[str]) -> Command:
    return Command(name, ["-m", "textgen", "sample", str(path), "--runtime", runtime, "--seed", "1", *options])


if __name__ == "__main__":
    run("memory", __doc__, find)
