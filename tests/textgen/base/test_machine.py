"""Devices, versions and signals."""

import os
import signal
import threading
from contextlib import suppress

import pytest

from textgen.base import machine
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


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_handled_unless_the_process_was_told_to_ignore_it(number):
    received = []
    before = signal.signal(number, signal.SIG_DFL)  # the tests themselves may run under nohup
    try:
        with signals_handled(lambda number, frame: received.append(number)):
            os.kill(os.getpid(), number)
        assert received == [number]
        signal.signal(number, signal.SIG_IGN)
        with signals_handled(lambda number, frame: received.append(number)):
            os.kill(os.getpid(), number)
    finally:
        signal.signal(number, before)
    assert received == [number]


def test_signals_that_are_not_named_stay_as_they_are():
    before = signal.getsignal(signal.SIGTERM)
    received = []
    with signals_handled(lambda number, frame: received.append(number), ["SIGINT"]):
        os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGTERM) == before
    assert received == [signal.SIGINT]


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


def cgroups(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


V2 = "30 23 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw,nsdelegate\n"
V1 = "31 23 0:28 {top} /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n"


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8),
        ({"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": V2, "sys/fs/cgroup/cpu.max": "max 100000\n"}, 8),
        ({"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": V2, "sys/fs/cgroup/cpu.max": "100000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": V2, "sys/fs/cgroup/cpu.max": "250000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": V2, "sys/fs/cgroup/cpu.max": "20000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": V2, "sys/fs/cgroup/cpu.max": "6400000 100000\n"}, 8),
        ({"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": V2, "sys/fs/cgroup/cpu.max": "nonsense\n"}, 8),
        (  # nested: the group around it has less
            {
                "proc/self/cgroup": "0::/pod/one/inner\n",
                "proc/self/mountinfo": V2,
                "sys/fs/cgroup/pod/one/inner/cpu.max": "max 100000\n",
                "sys/fs/cgroup/pod/one/cpu.max": "400000 100000\n",
                "sys/fs/cgroup/pod/cpu.max": "300000 100000\n",
            },
            3,
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/\n3:cpu,cpuacct:/box\n0::/\n",
                "proc/self/mountinfo": V1.format(top="/"),
                "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us": "200000\n",
                "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            2,
        ),
        (  # in a container, the mounted folder is the group itself
            {
                "proc/self/cgroup": "3:cpu,cpuacct:/docker/abc\n",
                "proc/self/mountinfo": V1.format(top="/docker/abc"),
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "100000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "50000\n",
            },
            2,
        ),
        (  # both versions
            {
                "proc/self/cgroup": "3:cpu,cpuacct:/\n0::/\n",
                "proc/self/mountinfo": V1.format(top="/") + "33 23 0:30 / /sys/fs/cgroup/unified rw - cgroup2 c rw\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "500000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/unified/cpu.max": "max 100000\n",
            },
            5,
        ),
    ],
)
def test_a_quota_counts_as_cores(tmp_path, monkeypatch, files, cores):
    cgroups(tmp_path, files)
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    assert machine.usable_cores() == cores
