"""The connection to a Ray cluster."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from textgen import usable_cores
from textgen.errors import OptionError, UnavailableError

#: Seconds for which a cluster may not answer.
PATIENCE = 5

_ADDRESS = re.compile(r"(?P<host>[^\s/:]+|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})")


def import_ray() -> ModuleType:
    """The module ``ray``.

    Raises:
        UnavailableError: if it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a Ray that is started here would report that it was
    try:
        import ray
    except ImportError as error:
        raise UnavailableError(
            f"Ray cannot be imported ({error}); install it with: pip install 'textgen-rnn[ray]'"
        ) from None
    module: ModuleType = ray
    return module


@contextmanager
def connected(address: str | None, cores: int) -> Iterator[ModuleType]:
    """A connection to Ray, which ends with the context, unless the caller had one already.

    Args:
        address: of the cluster, as ``host:port``; ``"auto"`` for the one that this machine is a node of; ``"local"``
            for a Ray of our own, which ends with the context. By default what ``RAY_ADDRESS`` says, or ``"local"``.
        cores: that a Ray of our own may use; 0 for all.

    Yields:
        The module ``ray``.

    Raises:
        UnavailableError: if Ray is not installed, or there is no cluster.
    """
    ray = import_ray()
    if ray.is_initialized():
        yield ray
        return
    address = _resolved(address)
    own = {"num_cpus": cores or usable_cores(), "include_dashboard": False} if address == "local" else {}
    try:
        with _own_sigterm():
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, **own)
    except SystemExit:  # so Ray ends the process if it cannot connect
        raise _absent(address, "what listens there does not answer as Ray does") from None
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise _absent(address, str(error)) from None
    try:
        yield ray
    finally:
        ray.shutdown()


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keeps the handler of SIGTERM, which Ray would replace by one that ends the process at once."""
    former = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, former)


def check(address: str | None) -> None:
    """Check that Ray is installed, and that something listens at an address: Ray would try for more than a minute.

    Args:
        address: as for :func:`connected`.

    Raises:
        OptionError: if the address is none.
        UnavailableError: if Ray is not installed, or nothing listens.
    """
    address = _resolved(address)
    if import_ray().is_initialized() or address in ("auto", "local"):
        return
    found = _ADDRESS.fullmatch(address)
    if found is None or int(found["port"]) > 65_535:
        raise OptionError(f"address must be host:port, auto or local, not {address!r}")
    try:
        socket.create_connection((found["host"].strip("[]"), int(found["port"])), PATIENCE).close()
    except OSError as error:
        raise _absent(address, (error.strerror or str(error)).lower()) from None


def _resolved(address: str | None) -> str:
    return address or os.environ.get("RAY_ADDRESS") or "local"


def _absent(address: str, reason: str) -> UnavailableError:
    """The error for a cluster to which there is no connection, for whatever reason Ray gives."""
    if address == "local":
        return UnavailableError(f"Ray cannot be started on this machine: {reason}")
    return UnavailableError(
        f"cannot connect to the Ray cluster {address}: {reason}; check that it runs there, as after ray start --head "
        "--port 6379, and that RAY_AUTH_TOKEN, if the cluster has one, is set here, too"
    )
