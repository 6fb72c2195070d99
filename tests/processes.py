"""What tests of other processes share."""

import os
from collections.abc import Callable


def in_child(work: Callable[[], object]) -> int:
    """Runs a function in a child process; returns its exit code, negative if a signal killed it."""
    child = os.fork()
    if not child:
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def read_all(end: int) -> str:
    """Reads a pipe or a terminal until nobody writes to it any more, and closes it."""
    content = b""
    while True:
        try:
            part = os.read(end, 2**16)
        except OSError:  # Linux's way to say that the other end of a terminal is closed
            break
        if not part:
            break
        content += part
    os.close(end)
    return content.decode().replace("\r\n", "\n")
