"""Writing in Node and in Chromium, driven from Python."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from benchmarks.harness import BenchmarkError, Work

HERE = Path(__file__).parent

#: The names of Chromium.
BROWSERS = ("chromium", "chromium-headless-shell", "google-chrome")


def make_node(*, engine: str, folder: str, prompt: str, length: int, library: str | None = None) -> Work:
    """A text per piece in a process of Node; for the arguments, see ``web.mjs``, but that these are paths."""
    program = shutil.which("node")
    if program is None:
        raise BenchmarkError("Node is not installed")
    process = subprocess.Popen(
        [program, HERE / "web_node.mjs"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    order = {"engine": engine, "folder": f"{Path(folder).as_uri()}/", "prompt": prompt, "length": length}
    if library is not None:
        order["library"] = Path(library).as_uri()

    def ask(line: str) -> str:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(line + "\n")
        process.stdin.flush()
        return process.stdout.readline()

    if ask(json.dumps(order)).strip() != "ready":
        raise BenchmarkError(f"{engine} does not start in Node")
    return Work(lambda: int(ask("")))


def make_chromium(*, site: str, engine: str, folder: str, prompt: str, length: int, library: str | None = None) -> Work:
    """A text per piece in a page of Chromium, on its main thread.

    Args:
        site: the folder that is served.
        engine: as in ``web.mjs``.
        folder: of the export, below the site.
        prompt: as in ``web.mjs``.
        length: as in ``web.mjs``.
        library: the module of ONNX Runtime, below the site.
    """
    from playwright.sync_api import sync_playwright

    address = serve(Path(site))
    page = sync_playwright().start().chromium.launch(executable_path=find_browser(), args=["--no-sandbox"]).new_page()
    page.goto(f"{address}/blank.html")
    order: dict[str, Any] = {"engine": engine, "folder": f"{address}/{folder}/", "prompt": prompt, "length": length}
    if library is not None:
        order["library"] = f"{address}/{library}"
    page.evaluate("async order => { globalThis.write = await (await import('/web.mjs')).prepare(order); }", order)
    return Work(lambda: int(page.evaluate("() => write()")))


def serve(site: Path) -> str:
    """Serve a folder until the process ends; returns the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}"


class _Quiet(SimpleHTTPRequestHandler):
    """A static host that says nothing."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | {".mjs": "text/javascript", ".wasm": "application/wasm"}

    def log_message(self, format: str, *args: Any) -> None:
        pass


def find_browser() -> str:
    """The program of Chromium.

    Raises:
        BenchmarkError: if it is not installed.
    """
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise BenchmarkError("Chromium is not installed")
    return found


#: Presses Write as soon as the page lets it, and notes when there is text.
_PRESS = """
    const look = () => {
        const form = document.getElementById('form');
        if (form && !form.inert && !globalThis.pressed) {
            globalThis.pressed = true;
            document.getElementById('write').click();
        }
        const texts = document.getElementById('texts');
        if (globalThis.pressed && !texts.querySelector('.empty') && texts.textContent.trim()) {
            globalThis.first = performance.now();
        } else setTimeout(look);
    };
    look();
"""


@contextmanager
def browser() -> Iterator[Any]:
    """Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        yield chromium
        chromium.close()


def seconds_to_first(chromium: Any, address: str, *, presses: bool) -> float:
    """The time from opening an address to its first character, with an empty cache.

    Args:
        chromium: see :func:`browser`.
        address: of the page.
        presses: whether it is the page of an export, which waits for a click; others note the time by themselves.
    """
    context = chromium.new_context()
    page = context.new_page()
    if presses:
        page.add_init_script(_PRESS)
    page.goto(address)
    milliseconds = page.wait_for_function("() => globalThis.first", timeout=60_000).json_value()
    context.close()
    return float(milliseconds) / 1000
