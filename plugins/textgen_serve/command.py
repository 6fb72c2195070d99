"""The command ``textgen serve``."""

from __future__ import annotations

import gc
import os
import re
import secrets
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from textgen import notice
from textgen.errors import OptionError, UnavailableError

if TYPE_CHECKING:
    from textgen_serve.served_run import ServedRun

#: Environment variables with API keys, separated by commas, and with the secret that continuations are signed with.
KEYS, SECRET = "TEXTGEN_API_KEYS", "TEXTGEN_SERVE_SECRET"

#: The most bytes of a file of keys, or of a secret.
_MOST_BYTES = 2**20

#: What --cors-origin may be: anything else would never match.
_ORIGIN = re.compile(r"\*|localhost|[a-z][a-z0-9+.-]*://[^\s/*]+/?", re.IGNORECASE)

#: The characters below which an API key can be guessed, even one of random letters and digits.
_SHORT_KEY = 16

#: Seconds for which the event loop may keep the interpreter while the engine, back from the model, waits for it.
SWITCH_SECONDS = 5e-4


def serve(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]...",
            help="Folders or names of runs, or NAME=RUN for another name; by default the latest run.",
            show_default=False,
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all of this machine.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on; 0 for a free one.")] = 8080,
    device: Annotated[str, typer.Option(help="Device: auto, cpu or cuda[:N].")] = "auto",
    trust_graph: Annotated[
        bool,
        typer.Option(
            "--trust-graph", help="Run the graphs of an export as they are; only if you trust where they come from."
        ),
    ] = False,
    default_length: Annotated[
        int, typer.Option(min=1, max=100_000, help="Characters of a text if a request has no max_tokens.")
    ] = 200,
    api_key_file: Annotated[
        Path | None,
        typer.Option(help=f"File with an API key per line; one is then needed. Also: {KEYS}.", show_default=False),
    ] = None,
    secret_file: Annotated[
        Path | None,
        typer.Option(
            help=f"File with the secret that signs continuations, for instances that share them. Also: {SECRET}.",
            show_default=False,
        ),
    ] = None,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST",
            help="Another host name by which clients may call; may be repeated. Without it, on a loopback address "
            "only those of this machine, on others any.",
        ),
    ] = None,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="An origin whose pages may ask, as in https://example.org; localhost for those of this machine, "
            "* for all; may be repeated.",
        ),
    ] = None,
    rows: Annotated[int, typer.Option(min=1, max=65_536, help="Texts of a model that are written side by side.")] = 512,
    workers: Annotated[
        int,
        typer.Option(
            min=1,
            max=1_024,
            help="Processes that write texts; more than one for many texts at once, one per core. A single one is the "
            "server itself.",
        ),
    ] = 1,
    queue: Annotated[int, typer.Option(min=0, max=10**6, help="Texts that may wait; more are refused.")] = 1_024,
    max_body: Annotated[int, typer.Option(min=1_024, max=2**30, help="Bytes of a request, at most.")] = 2**20,
    timeout: Annotated[float, typer.Option(min=0.01, max=86_400, help="Seconds until an answer is whole.")] = 600,
    grace: Annotated[
        float, typer.Option(min=0, max=86_400, help="Seconds that texts may take to end after SIGTERM.")
    ] = 30,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse requests with unknown fields.")] = False,
    open_metrics: Annotated[bool, typer.Option("--open-metrics", help="Show /metrics without an API key.")] = False,
    no_access_log: Annotated[bool, typer.Option("--no-access-log", help="Do not log requests on stderr.")] = False,
) -> None:
    """Serve runs over HTTP: any OpenAI client can write with them, and people on a page.

    The address is printed on stdout once the server listens. Ctrl-C ends it at once; SIGTERM once all texts are
    written.
    """
    try:
        import prometheus_client  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UnavailableError(
            f'textgen serve needs {error.name}; install it with: pip install "textgen-rnn[serve]"'
        ) from None
    from textgen_serve.app import App
    from textgen_serve.completions import Limits
    from textgen_serve.doors import LOOPBACK
    from textgen_serve.metrics import Metrics
    from textgen_serve.seal import Seal
    from textgen_serve.served_run import ServedRun
    from textgen_serve.server import Server, address_of, bind
    from textgen_serve.writing.in_flight import Desk
    from textgen_serve.writing.workers import start_workers

    _check_hosts(allowed_host or ())
    _check_origins(cors_origin or ())
    keys = _read_keys(api_key_file)
    secret = _read_secret(secret_file)
    bound = bind(host, port)
    with start_workers(min(workers, rows)) as started:  # they load libraries while this process loads the runs
        named: Sequence[str | None] = runs or [None]
        served = [
            ServedRun.open(run, default_length=default_length, most_rows=rows, device=device, trust_graph=trust_graph)
            for run in named
        ]
        _check_names(served)
        for worker in started:
            worker.set_up(served)
        for worker in started:
            worker.wait()
        is_loopback = host in LOOPBACK or bound.getsockname()[0].startswith("127.")
        hosts = [*LOOPBACK, host, *(allowed_host or ())] if is_loopback or allowed_host else []

        def make() -> tuple[Desk, App]:
            metrics = Metrics()
            desk = Desk(served, metrics, queue, started)
            app = App(
                served,
                desk,
                metrics,
                Seal(secret),
                Limits(max_body, timeout, strict),
                keys=keys,
                hosts=hosts,
                origins=cors_origin or (),
                open_metrics=open_metrics,
                logs=not no_access_log,
            )
            return desk, app

        def ready() -> None:
            print(address_of(bound), flush=True)
            if not is_loopback:
                whoever = "" if keys else "; whoever reaches it may write, since there is no --api-key-file"
                notice(f"listening on {host} port {bound.getsockname()[1]} for other machines{whoever}")
            by = f", {len(started)} workers" if started else ""
            for run in served:
                notice(f"serving {run.name} ({run.generator.runtime_name} on {run.generator.runtime.device}{by})")
                if not started:
                    threading.Thread(target=run.warm_up, daemon=True).start()

        gc.freeze()  # what is loaded stays, and need not be looked through again and again
        sys.setswitchinterval(SWITCH_SECONDS)
        code = Server(make, bound, seconds=grace, ready=ready).serve_until_told()
        if code:
            raise typer.Exit(code)


def _check_hosts(hosts: Sequence[str]) -> None:
    from textgen_serve.doors import is_host

    for host in hosts:
        if not is_host(host):
            rule = "a whole name or an address, without scheme and port, as in text.example.org"
            raise OptionError(f"--allowed-host must be {rule}, not {host!r}; may be repeated")


def _check_origins(origins: Sequence[str]) -> None:
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise OptionError(f"--cors-origin must be *, localhost, or as in https://example.org, not {origin!r}")


def _read_keys(path: Path | None) -> list[str]:
    """The API keys of a file and of the environment; none if every client may come in."""
    try:
        lines = [] if path is None else _read(path, "--api-key-file").decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise OptionError(f"--api-key-file: {path} is not text in UTF-8; write one key per line") from None
    lines = [line for line in lines if not line.lstrip().startswith("#")]
    found = [key.strip() for key in (*lines, *os.environ.get(KEYS, "").split(",")) if key.strip()]
    if not found and (path is not None or KEYS in os.environ):  # no key at all would let everyone in
        raise OptionError(f"there is no API key in {path or KEYS}; write one{' per line' if path else ', or unset it'}")
    if any(len(key) < _SHORT_KEY for key in found):
        notice(f"an API key of fewer than {_SHORT_KEY} characters can be guessed; make one with: openssl rand -hex 32")
    return found


def _read_secret(path: Path | None) -> bytes:
    """The secret of a file or of the environment; by default a new one, which ends with the server."""
    found = os.environ.get(SECRET, "").encode() if path is None else _read(path, "--secret-file").strip()
    if not found and (path is not None or SECRET in os.environ):
        raise OptionError(
            f"the secret in {path or SECRET} is empty; write one, such as the output of: openssl rand -hex 32"
        )
    return found or secrets.token_bytes(32)


def _read(path: Path, option: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES)
    except OSError as error:
        raise OptionError(f"{option}: {path} cannot be read: {(error.strerror or str(error)).lower()}") from None


def _check_names(served: list[ServedRun]) -> None:
    names = [run.name for run in served]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise OptionError(f"two runs are called {twice}; name one of them, as in other={twice}")
