"""Where exports for the web run: Node, Deno, and browsers, each by its command line."""

import json
import shutil
import subprocess
import threading
from collections.abc import Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import pytest

HERE = Path(__file__).parent

#: A job, and what comes of it: see ``texts.mjs``.
Job = dict[str, Any]

#: Arguments before the program's own, or before the address that a browser opens.
RUNTIMES = {"node": [], "deno": ["run", "--allow-read"]}
BROWSERS = {"chromium": ["--headless", "--no-sandbox"], "firefox": ["--headless", "--no-remote"]}

PAGE = """<!doctype html><meta charset=utf-8><script type=module>
import {load} from './0/textgen.js';
import {write} from './texts.mjs';
const results = [];
for (const [number, job] of (await (await fetch('jobs.json')).json()).entries()) {
  results.push(await write(load, new URL(`./${number}/`, location), job).catch(error => ({error: error.message})));
}
await fetch('results', {method: 'POST', body: JSON.stringify(results)});
</script>"""


def run_jobs(place: str, jobs: Sequence[Job], folder: Path) -> list[Job]:
    """Runs jobs; skips the test if their place is not installed.

    Args:
        place: a name in :data:`RUNTIMES` or :data:`BROWSERS`.
        jobs: to run.
        folder: for temporary files.
    """
    program = shutil.which(place)
    if program is None:
        pytest.skip(f"needs {place}")
    if place in BROWSERS:
        return _in_browser([program, *BROWSERS[place]], place, jobs, folder)
    command = [program, *RUNTIMES[place], str(HERE / "in_node.mjs")]
    done = subprocess.run(command, input=json.dumps(list(jobs)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: list[Job] = json.loads(done.stdout)
    return found


def evaluate(folder: Path, expressions: Sequence[str]) -> list[dict[str, Any]]:
    """Evaluates expressions about an export: see ``evaluate.mjs``."""
    program = shutil.which("node")
    if program is None:
        pytest.skip("needs node")
    job = json.dumps({"folder": str(folder), "expressions": list(expressions)})
    done = subprocess.run([program, str(HERE / "evaluate.mjs")], input=job, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


class _Host(SimpleHTTPRequestHandler):
    """A static host to which the page sends its results."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | {".mjs": "text/javascript"}

    def __init__(self, *arguments: Any, results: Queue[bytes], **options: Any) -> None:
        self.results = results
        super().__init__(*arguments, **options)

    def do_POST(self) -> None:
        self.results.put(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _in_browser(command: list[str], place: str, jobs: Sequence[Job], folder: Path) -> list[Job]:
    site, profile = folder / "site", folder / "profile"
    site.mkdir()
    profile.mkdir()
    for number, job in enumerate(jobs):
        (site / str(number)).symlink_to(job["folder"], target_is_directory=True)
    shutil.copy(HERE / "texts.mjs", site)
    (site / "index.html").write_text(PAGE)
    (site / "jobs.json").write_text(json.dumps(list(jobs)))
    results: Queue[bytes] = Queue()
    host = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Host, directory=str(site), results=results))
    threading.Thread(target=host.serve_forever, daemon=True).start()
    own = ["--profile", str(profile)] if place == "firefox" else [f"--user-data-dir={profile}"]
    address = f"http://127.0.0.1:{host.server_address[1]}/"
    browser = subprocess.Popen([*command, *own, address], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        found: list[Job] = json.loads(results.get(timeout=120))
    except Empty:
        pytest.fail(f"{place} sent no results within two minutes")
    finally:
        browser.terminate()
        browser.wait()
        host.shutdown()
    return found
