"""Signals at any moment: the exit code says which one it was, and nothing else is said."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

RUN = Path(__file__).parents[1] / "recorded" / "gru-names"

#: The script ``textgen``, which says on stderr when it begins to handle signals: before, Python itself starts.
SCRIPT = """
import os
import textgen_start
handle = textgen_start._handle
def tell(handler):
    handle(handler)
    if handler is textgen_start._stop:
        os.write(2, b"!")
textgen_start._handle = tell
textgen_start.main()
"""


def end(
    arguments: list[str], delay: float, number: signal.Signals, times: int = 1, **options
) -> tuple[int, str, float]:
    """The exit code, stderr, and the seconds until the end, of a command that gets a signal after a delay."""
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        **options,
    ) as process:
        assert process.stderr is not None
        os.read(process.stderr.fileno(), 1)
        time.sleep(delay)
        began = time.monotonic()
        for _ in range(times):
            process.send_signal(number)
            time.sleep(0.002)
        error = process.stderr.read().decode()
        process.wait()
        return process.returncode, error, time.monotonic() - began


COMMANDS = {
    "help": (["--help"], 0.2),
    "sample": (["sample", str(RUN), "--runtime", "onnx", "--num", "300000"], 0.8),
    "numpy": (["sample", str(RUN), "--runtime", "numpy", "--num", "300000"], 0.8),
}


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_ends_at_once_and_quietly(command, number, times):
    arguments, longest = COMMANDS[command]
    for moment in range(10):
        code, error, seconds = end(arguments, longest * moment / 10, number, times)
        if command == "help" and code == 0:
            continue  # it had ended
        assert code == 128 + number, error
        assert len(error.splitlines()) <= 1, error
        assert "Traceback" not in error
        assert seconds < 2


def test_an_ignored_signal_stays_ignored():
    ignoring = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)" + SCRIPT
    with subprocess.Popen(
        [sys.executable, "-c", ignoring, "sample", str(RUN), "--seed", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None
        os.read(process.stderr.fileno(), 1)
        process.send_signal(signal.SIGHUP)
        out, _ = process.communicate()
    assert process.returncode == 0
    assert out


@pytest.mark.keras
@pytest.mark.slow
def test_the_import_of_tensorflow_can_be_interrupted():
    for moment in range(6):
        code, error, _ = end(["sample", str(RUN), "--runtime", "keras", "--num", "300000"], 0.7 * moment, signal.SIGINT)
        assert (code, len(error.splitlines()) <= 1) == (130, True), error


def test_an_error_that_a_library_has_made_of_ctrl_c_is_no_error(textgen, monkeypatch):
    def fail(path: object = None, **options: object) -> None:
        raise ImportError("numpy: Error importing: KeyboardInterrupt")

    monkeypatch.setattr("textgen.saved_run.SavedRun.open", fail)
    ended = textgen("sample", "run")
    assert (ended.code, ended.out, ended.err) == (130, "", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("sample", "KeyboardInterrupt"),
        ("train", "names.txt", "--set", "KeyboardInterrupt.a=1"),
        ("train", "KeyboardInterrupt.txt"),
        ("sample", "--KeyboardInterrupt"),
    ],
)
def test_an_error_that_names_ctrl_c_is_an_error(textgen, arguments):
    assert "KeyboardInterrupt" in textgen(*arguments).error


def test_too_little_memory_is_one_line(textgen, monkeypatch):
    def fail(path: object = None, **options: object) -> None:
        raise MemoryError("Unable to allocate 8 GiB")

    monkeypatch.setattr("textgen.saved_run.SavedRun.open", fail)
    assert "too little memory: Unable to allocate 8 GiB" in textgen("sample", "run").error


def test_a_signal_as_the_command_ends_is_told_by_its_exit_code_alone():
    script = (
        "import os, signal, textgen_start\n"
        "handle = textgen_start._handle\n"
        "def interrupted(handler):\n"
        "    if handler is textgen_start._end:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "    handle(handler)\n"
        "textgen_start._handle = interrupted\n"
        "textgen_start.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script, "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (143, "")


def test_a_signal_in_a_finalizer_is_not_lost():
    script = (
        "import os, signal, sys, textgen_start\n"
        "class Finalized:\n"
        "    def __del__(self):\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "textgen_start._handle(textgen_start._stop)\n"
        "sys.unraisablehook = textgen_start._end_if_interrupted\n"
        "Finalized()\n"
        "print('goes on')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
