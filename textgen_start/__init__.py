"""The start of the command ``textgen``: it ends at once when a signal asks it to, and knows who is in its way.

It is outside the package ``textgen``, since another project on PyPI has a package of that name: if both are installed,
each overwrites files of the other, and importing the package may fail before any of its own code runs.

Ctrl-C raises ``KeyboardInterrupt``, so that a command cleans up. While a module is being imported it ends the process
instead: libraries swallow the exception there, or turn it into another one; likewise in a finalizer, where Python
ignores it. So does a second Ctrl-C, and one after the command. SIGTERM and SIGHUP do the same; the first process of a
container would ignore them otherwise. A training run handles all of them itself.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # importing more would take time, in which a signal is not yet handled
    from collections.abc import Callable
    from sys import UnraisableHookArgs
    from types import FrameType
    from typing import NoReturn

#: The name of this project's distribution, and of the other one's.
OURS, OTHER = "textgen-rnn", "textgen"

#: What to do if both are installed; README.md says how to install this one.
ADVICE = f"pip uninstall -y {OTHER} {OURS}, then install {OURS} again, from a clone of its repository: pip install ."

#: The signals that ask to stop, but for those that the process was told to ignore, as ``nohup`` does.
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")

#: A plugin may not end the program, and finds another function in this one's place.
_exit = os._exit

#: The signals that were received.
_received: list[int] = []


def _stop(number: int, frame: FrameType | None) -> None:
    _received.append(number)
    if len(_received) > 1 or _is_importing(frame):
        _end(number)
    raise KeyboardInterrupt


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _end(number: int, frame: FrameType | None = None) -> NoReturn:
    """End the process, without whatever is left to do in it."""
    if sys.stderr is not None and sys.stderr.isatty():
        os.write(2, b"\x1b[?25h")  # a progress bar hides the cursor
    _exit(128 + number)


def _end_if_interrupted(ignored: UnraisableHookArgs) -> None:
    """Called with an exception that Python ignores, as in a finalizer: Ctrl-C must not be lost there."""
    if _received and issubclass(ignored.exc_type, KeyboardInterrupt):
        _end(_received[0])
    sys.__unraisablehook__(ignored)


def _handle(handler: Callable[[int, FrameType | None], object] | signal.Handlers) -> None:
    for name in SIGNALS:
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


def main() -> None:
    """Runs the command line and exits, with 128 plus the number of a signal that ended it."""
    # Registered first, and so called last: then Python would let signals kill it, instead of ending with its own code.
    atexit.register(_handle, signal.SIG_IGN)
    try:
        try:
            _handle(_stop)
            sys.unraisablehook = _end_if_interrupted
            _find_command_line()()
        except SystemExit as end:
            _handle(_end)  # a signal may still come in the middle of it, and raise KeyboardInterrupt
            if end.code == 128 + signal.SIGINT and _received:
                raise SystemExit(128 + _received[0]) from None
            raise
    except KeyboardInterrupt:
        _end(_received[0] if _received else signal.SIGINT)


def _find_command_line() -> Callable[[], object]:
    """Imports the command line; exits with one line if another package of the same name is in its way."""
    try:
        import textgen
        from textgen.base.version import __version__
        from textgen.cli import main as run

        is_mixed = textgen.__version__ != __version__
    except Exception:
        if not (found := mixed()):
            raise
        sys.exit(_complain(found))
    if is_mixed and (found := mixed()):
        sys.exit(_complain(found))
    return run


def mixed() -> str:
    """Says which other distribution has files in the package ``textgen``; empty if none has."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"{OTHER} {version(OTHER)}"
    except PackageNotFoundError:
        return ""


def _complain(found: str) -> int:
    print(
        f"textgen: error: {found} is installed, another project whose files overwrite those of {OURS}; {ADVICE}",
        file=sys.stderr,
    )
    return 2
