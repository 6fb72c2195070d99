"""Commands that are killed at random moments, again and again: nothing may be lost, and nothing hidden left.

    python -m tests.trials.kills --rounds 300 --seed 1

Each round starts a command, sends it a signal at a random moment (KILL, TERM, HUP, INT once or twice, or STOP and
CONT), and does so again up to three times with the command that follows. Then the command runs undisturbed, and its
result is compared with that of one that was never disturbed. Commands are forks of this process, which has imported
everything, and train models that need no TensorFlow; with ``--keras N``, N rounds train a GRU of Keras in processes of
their own.

Prints a table of what was killed by what; exit code 1 if a round has lost something. Most of the time is spent waiting
for the disk: with ``TMPDIR`` in a file system in memory it takes a third.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import textgen_start
from textgen.model.state import State
from textgen.runs.artifact import Artifact
from textgen.testing import counting, recurrent, registered

#: Modules that commands import, imported once.
IMPORTED = (
    *(f"textgen.cli.{name}" for name in ("train", "sample", "export", "evaluate", "runs")),
    *("textgen.api", "textgen.evaluation.evaluate", "textgen.evaluation.plot", "textgen.exporting.source"),
    *("textgen.training.train", "textgen.training.plot", "textgen.training.tensorboard", "textgen.runs.output"),
    *("matplotlib.backends.backend_agg", "matplotlib.figure", "onnxruntime", "textgen_onnx.exporter"),
    *("textgen_corpora.file", "textgen_tokenizers.char_eos", "textgen_tokenizers.char_index"),
)

#: Exit codes of a command that was killed while it handled signals; a run that stops in order exits with 130.
CODES = {
    signal.SIGKILL: {-signal.SIGKILL},
    signal.SIGTERM: {128 + signal.SIGTERM, 130},
    signal.SIGHUP: {128 + signal.SIGHUP, 130},
    signal.SIGINT: {130},
    signal.SIGSTOP: set(),
}

#: How often each signal is sent.
SIGNALS = {signal.SIGKILL: 5, signal.SIGTERM: 2, signal.SIGHUP: 2, signal.SIGINT: 3, signal.SIGSTOP: 1}

COMMON = ["--batch-size", "6", "--epochs", "5", "--set", "generation.length=12"]
WITHIN = ["--set", "training.checkpoint_minutes=0.00001"]

#: Arguments of ``textgen train`` by kind of run; those of one kind end with the same weights.
LINES = ["words.txt", "--set", "corpus.layout=lines", *COMMON]
STREAM = ["verse.txt", "--set", "training.length=20", *COMMON]
KINDS = {
    "documents": [*LINES, "--model", "counting"],
    "smoothed": [*LINES, "--model", "counting", "--set", "model.smoothing=50", "--set", "training.checkpoint_every=2"],
    "stream": [*STREAM, "--model", "counting", *WITHIN],
    "limited": [*STREAM, "--model", "counting", *WITHIN, "--max-steps", "11"],
    "gru": [*LINES, "--model", "fixed-gru", *WITHIN],
}
KERAS = [*LINES, "--model", "gru", *WITHIN]
KERAS += ["--set", "model.units=16", "--set", "model.embedding_dim=8", "--set", "model.dropout=0.3"]

#: Columns of the history that depend on the clock, and the figure of the n-gram, which is counted once the run is
#: finished and saved: a run that is stopped there is finished without it.
CLOCK = ("seconds", "characters_per_second", "ngram_held_out_loss")


class Fault(Exception):
    """Something that a killed command has lost, or left."""


class Ended(NamedTuple):
    """A command that has ended: its exit code (negative for a signal) and what it wrote to stderr."""

    code: int
    errors: str


class Process:
    """A command under way.

    Args:
        pid: its process, a child of this one.
        errors: the file of its stderr.
        is_ready: whether it handles signals; otherwise Python may still be starting, and be killed by one.
    """

    def __init__(self, pid: int, errors: Path, *, is_ready: bool) -> None:
        self.pid, self._errors, self.is_ready = pid, errors, is_ready

    def send(self, number: int) -> None:
        """Sends a signal."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self) -> Ended:
        """Waits for its end."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return Ended(code, self._errors.read_text(errors="replace"))


Start = Callable[[Path, Sequence[str]], Process]


def fork(folder: Path, arguments: Sequence[str]) -> Process:
    """Starts a command in a folder, as a fork of this process; returns when it handles signals."""
    errors = folder / "stderr.txt"
    ready, told = os.pipe()
    pid = os.fork()
    if pid:
        os.close(told)
        os.read(ready, 1)
        os.close(ready)
        return Process(pid, errors, is_ready=True)
    code: Any = 70
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.chdir(folder)
        handle = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 2)
        os.dup2(os.open("stdout.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")  # those of pytest are others
        sys.argv = ["textgen", *arguments]
        _tell_when_ready(told)
        textgen_start.main()
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _tell_when_ready(told: int) -> None:
    """Has the command write a byte when its handlers are set."""
    handle = textgen_start._handle

    def tell(handler: Any) -> None:
        handle(handler)
        if handler is textgen_start._stop:
            os.write(told, b"!")

    textgen_start._handle = tell


def spawn(folder: Path, arguments: Sequence[str]) -> Process:
    """Starts a command in a folder, in a new process."""
    errors = folder / "stderr.txt"
    with errors.open("wb") as file:
        command = [sys.executable, "-m", "textgen", *arguments]
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=file)
    return Process(process.pid, errors, is_ready=False)


class Result(NamedTuple):
    """What must not depend on kills."""

    weights: bytes
    history: list[dict[str, Any]]
    samples: str
    metrics: dict[str, float]


def result_of(run: Path) -> Result:
    """The result of a finished run, whose files are verified.

    Raises:
        Fault: if it is not finished, or files are left that do not belong to it.
    """
    artifact = Artifact.open(run)
    artifact.verify()
    if artifact.manifest.status != "finished":
        raise Fault(f"{run} is {artifact.manifest.status}")
    lines = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    files = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    of_exports = {name for name in files if name.startswith("onnx/")}
    others = files - of_exports - {"textgen.json", "plots/evaluation.png"} - artifact.manifest.files.keys()
    if others:
        raise Fault(f"{run} still has {sorted(others)}")
    return Result(
        (run / "weights.safetensors").read_bytes(),
        [_without_clock(line) for line in lines],
        (run / "samples.txt").read_text(),
        _without_clock(artifact.manifest.metrics),
    )


def _state(file: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The content of a saved state, comparable; the order of its metadata differs from file to file."""
    state, about = State.from_bytes(file.read_bytes(), str(file))
    return {name: array.tolist() for name, array in state.items()}, about


def _without_clock(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in CLOCK}


class Trial:
    """Rounds of kills in a folder.

    Args:
        folder: an empty folder.
        seed: of all random choices.
        start: starts a command.
        runs: the arguments of ``textgen train`` by kind.
    """

    def __init__(self, folder: Path, seed: int, start: Start = fork, runs: dict[str, list[str]] | None = None) -> None:
        self.folder, self.start, self.runs = folder, start, runs or KINDS
        self.draw = random.Random(seed)
        self.kills: Counter[tuple[str, str]] = Counter()
        self._durations: dict[str, float] = {}
        letters = random.Random(3)
        words = ["".join(letters.choices("abcde", k=letters.randint(2, 9))) for _ in range(60)]
        self.whole = self._room("whole")
        (folder / "words.txt").write_text("\n".join(words) + "\n")
        (folder / "verse.txt").write_text("".join(letters.choices("abcd e\n", k=900)))
        self.expected: dict[str, Result] = {}
        for kind, arguments in self.runs.items():
            self.run("train", self.whole, ["train", *arguments, "--out", kind], kind)
            self.expected[kind] = result_of(self.whole / kind)
        if "gru" in self.runs and start is fork:
            self.run("export", self.whole, ["export", "--onnx", "gru"])
            self.run("evaluate", self.whole, ["evaluate", "gru", "--num", "40"])
            self.run("sample", self.whole, [*SAMPLE, "gru", "--save-state", "former", "--seed", "4"], "former")
            self.former = (self.whole / "former").read_bytes()
            self.run("sample", self.whole, [*SAMPLE, "gru", "--save-state", "state"])
            self.state = _state(self.whole / "state")
            self.text = (self.whole / "stdout.txt").read_text()

    def _room(self, name: str) -> Path:
        """A new folder, from which the texts are found under their own names."""
        room = self.folder / name
        room.mkdir()
        for text in ("words.txt", "verse.txt"):
            (room / text).symlink_to(self.folder / text)
        return room

    def run(self, command: str, room: Path, arguments: Sequence[str], kind: str = "") -> None:
        """Runs a command undisturbed."""
        begun = time.perf_counter()
        ended = self.start(room, arguments).wait()
        self._durations.setdefault(command + kind, time.perf_counter() - begun)
        if ended.code != 0:
            raise Fault(f"{arguments} exits with {ended.code}: {ended.errors}")

    def disturb(self, command: str, room: Path, arguments: Sequence[str], kind: str = "") -> Ended:
        """Starts a command, and sends it a signal at a random moment of the time that it usually takes."""
        number = self.draw.choices(list(SIGNALS), list(SIGNALS.values()))[0]
        process = self.start(room, arguments)
        time.sleep(self.draw.uniform(0, 1.1 * self._durations[command + kind]))
        process.send(number)
        if number == signal.SIGSTOP:
            time.sleep(0.02)
            process.send(signal.SIGCONT)
        elif number == signal.SIGINT and self.draw.random() < 0.3:
            time.sleep(self.draw.uniform(0, 0.01))
            process.send(number)
        ended = process.wait()
        is_over = ended.code == 0 or (ended.code == 2 and "is finished" in ended.errors)
        if not is_over and ended.code not in CODES[number] | (set() if process.is_ready else {-number}):
            raise Fault(f"{arguments} after {number.name} exits with {ended.code}: {ended.errors}")
        if "Traceback" in ended.errors:
            raise Fault(f"{arguments} after {number.name}: {ended.errors}")
        if ended.code != 0 or number == signal.SIGSTOP:
            self.kills[command, number.name] += 1
        return ended

    def round(self, index: int, command: str) -> None:
        """Kills a command, and checks what comes of it.

        Raises:
            Fault: if something is lost, or left.
        """
        room = self._room(f"round-{index}")
        {"train": self._train, "export": self._export, "sample": self._sample, "evaluate": self._evaluate}[command](
            room
        )
        own = {room / "run" / "onnx" / ".gitattributes"}
        hidden = [path.relative_to(room) for path in room.rglob(".*") if path not in own]
        if hidden:
            raise Fault(f"{command} leaves {hidden}")
        shutil.rmtree(room)

    def _train(self, room: Path) -> None:
        kind = self.draw.choice(list(self.runs))
        run, train = room / "run", ["train", *self.runs[kind], "--out", "run"]
        former = self.draw.random() < 0.2
        if former:
            shutil.copytree(self.whole / kind, run)
            train.append("--overwrite")
        self.disturb("train", room, train, kind)
        for _ in range(self.draw.randint(0, 2)):
            self._check_loads(run, kind)
            self.disturb("train", room, self._next(run, train), kind)
        self._check_loads(run, kind)
        ended = self.start(room, self._next(run, train)).wait()
        if ended.code != 0 and "is finished" not in ended.errors:
            raise Fault(f"{kind} cannot be resumed: {ended.errors}")
        self.run("runs", room, ["sample", "run", "--seed", "1", "--runtime", "auto"])
        self._compare(result_of(run), self.expected[kind], kind)

    def _next(self, run: Path, train: list[str]) -> list[str]:
        """The command that follows a kill."""
        return ["train", "--resume", "run"] if (run / "textgen.json").exists() else train

    def _check_loads(self, run: Path, kind: str) -> None:
        """A run that was killed is whole: its history has no epoch without a sample, its files are as recorded."""
        if not (run / "textgen.json").exists():
            return
        artifact = Artifact.open(run)
        artifact.verify()
        if artifact.manifest.weights is not None:
            artifact.weights()
            artifact.tokenizer_json()
            lines = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
            samples = (run / "samples.txt").read_text() if (run / "samples.txt").exists() else ""
            lacking = [line["epoch"] for line in lines if f"--- epoch {line['epoch']}, " not in samples]
            if lacking and kind != "limited":
                raise Fault(f"{kind} has no samples of epochs {lacking}")

    def _compare(self, found: Result, expected: Result, kind: str) -> None:
        for name, value in found._asdict().items():
            if value != getattr(expected, name):
                raise Fault(f"{kind}: other {name} than undisturbed: {value!r:.300}, {getattr(expected, name)!r:.300}")

    def _export(self, room: Path) -> None:
        shutil.copytree(self.whole / "gru", room / "run")
        had_one = self.draw.random() < 0.8
        if not had_one:
            shutil.rmtree(room / "run" / "onnx")
        command = ["export", "--onnx", "run"]
        for _ in range(self.draw.randint(1, 3)):
            self.disturb("export", room, command)
            if had_one:
                Artifact.open(room / "run" / "onnx").verify()
        self.run("sample", room, [*SAMPLE, "run/onnx" if had_one else "run"])
        self._check_text(room)
        self.run("export", room, command)
        Artifact.open(room / "run" / "onnx").verify()
        self.run("sample", room, [*SAMPLE, "run/onnx"])
        self._check_text(room)

    def _sample(self, room: Path) -> None:
        shutil.copytree(self.whole / "gru", room / "run")
        had_one = self.draw.random() < 0.5
        if had_one:
            (room / "state").write_bytes(self.former)
        command = [*SAMPLE, "run", "--save-state", "state"]
        self.disturb("sample", room, command)
        content = (room / "state").read_bytes() if (room / "state").exists() else None
        if content != (self.former if had_one else None) and _state(room / "state") != self.state:
            raise Fault(f"the state has {content!r:.100}")
        self.run("sample", room, command)
        if _state(room / "state") != self.state:
            raise Fault("another state than undisturbed")
        self._check_text(room)

    def _check_text(self, room: Path) -> None:
        text = (room / "stdout.txt").read_text()
        if text != self.text:
            raise Fault(f"another text than undisturbed: {text!r}, {self.text!r}")

    def _evaluate(self, room: Path) -> None:
        shutil.copytree(self.whole / "gru", room / "run")
        shutil.rmtree(room / "run" / "plots")
        command = ["evaluate", "run", "--num", "40"]
        self.disturb("evaluate", room, command)
        plot = room / "run" / "plots" / "evaluation.png"
        if plot.exists() and not plot.read_bytes().endswith(b"IEND\xaeB`\x82"):
            raise Fault("half a plot")
        self.run("evaluate", room, command)
        Artifact.open(room / "run" / "onnx").verify()


SAMPLE = ["sample", "--seed", "3", "--length", "80", "--ignore-eos", "--prompt", "ab"]


def import_commands() -> None:
    """Imports what commands need, so that their forks start at once."""
    for name in IMPORTED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def trial(rounds: int, seed: int, folder: Path, *, keras: int = 0) -> tuple[Trial, list[str]]:
    """Runs rounds of kills; returns the trial and its faults, a line each."""
    faults = []
    import_commands()
    with registered(counting, name="counting"), registered(recurrent, name="recurrent"):
        made = Trial(folder, seed)
        commands = {"train": 5, "export": 3, "sample": 1, "evaluate": 1}
        for index in range(rounds):
            command = made.draw.choices(list(commands), list(commands.values()))[0]
            try:
                made.round(index, command)
            except Exception as error:  # the next rounds may find more
                faults.append(f"round {index}, {command}: {type(error).__name__}: {error}")
                print(faults[-1], file=sys.stderr, flush=True)
    if keras:
        (folder / "keras").mkdir()
        heavy = Trial(folder / "keras", seed, spawn, {"keras": KERAS})
        for index in range(keras):
            try:
                heavy.round(index, "train")
            except Exception as error:
                faults.append(f"round {index} of Keras: {type(error).__name__}: {error}")
                print(faults[-1], file=sys.stderr, flush=True)
        made.kills.update({(f"{command} (Keras)", name): n for (command, name), n in heavy.kills.items()})
    return made, faults


def main() -> int:
    """Runs the trial, and prints its figures."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=300, help="rounds of the models that need no TensorFlow")
    parser.add_argument("--keras", type=int, default=4, help="rounds of a GRU of Keras, about half a minute each")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="textgen-kills-") as folder:
        os.environ["TEXTGEN_CACHE_DIR"] = f"{folder}/cache"
        made, faults = trial(arguments.rounds, arguments.seed, Path(folder), keras=arguments.keras)
    for (command, name), count in sorted(made.kills.items()):
        print(f"{command:<16} {name:<8} {count:>4}")
    rounds = arguments.rounds + arguments.keras
    seconds = time.perf_counter() - begun
    print(f"{rounds} rounds, {sum(made.kills.values())} kills, {len(faults)} faults, {seconds:.0f} s")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
