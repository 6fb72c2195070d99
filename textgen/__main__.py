"""The command line as a process, ``textgen`` or ``python -m textgen``: it ends at once when a signal asks it to.

Ctrl-C raises ``KeyboardInterrupt``, so that a command cleans up. While a module is being imported it ends the process
instead: libraries swallow the exception there, or turn it into another one. So does a second Ctrl-C, and one after the
command. SIGTERM and SIGHUP do the same; the first process of a container would ignore them otherwise. A training run
handles all of them itself.
"""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # importing more would take time, in which a signal is not yet handled
    from collections.abc import Callable
    from types import FrameType
    from typing import NoReturn

#: The signals that ask to stop, but for those that the process was told to ignore, as ``nohup`` does.
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")

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
    os._exit(128 + number)


def _handle(handler: Callable[[int, FrameType | None], object]) -> None:
    for name in SIGNALS:
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


def main() -> None:
    """Runs the command line and exits, with 128 plus the number of a signal that ended it."""
    try:
        _handle(_stop)
        from textgen.cli import main as run

        run()
    except KeyboardInterrupt:
        _end(_received[0] if _received else signal.SIGINT)
    except SystemExit as end:
        if end.code == 128 + signal.SIGINT and _received:
            _end(_received[0])  # the command has cleaned up, and nobody waits for the rest
        _handle(_end)
        raise


if __name__ == "__main__":
    main()
