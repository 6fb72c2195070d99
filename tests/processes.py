"""What tests of other processes share."""

import os
import signal
from collections.abc import Callable, Iterable

import pytest


def in_child(work: Callable[[], object]) -> int:
    """Runs a function in a child process; returns its exit code, negative if a signal killed it."""
    child = os.fork()
    if not child:
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_before(patch: pytest.MonkeyPatch, operations: Iterable[tuple[object, str]], number: int) -> Callable[[], int]:
    """Kills this process before a call of one of some functions.

    Args:
        patch: replaces the functions, by their owners and names.
        operations: the functions.
        number: of the call, from 0; none if it is negative.

    Returns:
        A function that gives the number of calls so far.
    """
    counted = 0

    def watch(owner: object, name: str) -> None:
        function = getattr(owner, name)

        def call(*arguments: object, **options: object) -> object:
            nonlocal counted
            if counted == number:
                os.kill(os.getpid(), signal.SIGKILL)
            counted += 1
            return function(*arguments, **options)

        patch.setattr(owner, name, call)

    for owner, name in operations:
        watch(owner, name)
    return lambda: counted


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
