"""Devices, versions and signals."""

import os
import signal
import threading
from contextlib import suppress

import pytest

from textgen.base.machine import distribution_version, parse_device, signals_handled
from textgen.errors import OptionError


@pytest.mark.parametrize(
    ("device", "parsed"), [("auto", ("auto", 0)), ("cpu", ("cpu", 0)), ("cuda", ("cuda", 0)), ("cuda:3", ("cuda", 3))]
)
def test_a_device_has_a_kind_and_a_number(device, parsed):
    assert parse_device(device) == parsed


@pytest.mark.parametrize("device", ["", "gpu", "cpu:1", "cuda:", "cuda:-1", "CUDA"])
def test_another_device_is_an_error(device):
    with pytest.raises(OptionError, match="there are: auto, cpu, cuda, cuda:N"):
        parse_device(device)


def test_a_distribution_that_is_not_installed_has_no_version():
    assert distribution_version("no-such-distribution") == "unknown"
    assert distribution_version("numpy") != "unknown"


def test_signals_are_handled_inside_the_block_alone():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    received = []
    with suppress(ValueError), signals_handled(lambda number, frame: received.append(number)):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        raise ValueError
    assert received == [signal.SIGTERM, signal.SIGINT]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_closed_terminal_is_handled_unless_nohup_ignores_it():
    received = []
    with signals_handled(lambda number, frame: received.append(number)):
        os.kill(os.getpid(), signal.SIGHUP)
    assert received == [signal.SIGHUP]
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals_handled(lambda number, frame: received.append(number)):
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert received == [signal.SIGHUP]


def test_in_another_thread_signals_stay_as_they_are():
    seen = []

    def work() -> None:
        with signals_handled(signal.SIG_DFL):
            seen.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
