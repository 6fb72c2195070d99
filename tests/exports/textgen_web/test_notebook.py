"""The page of a generator as notebooks show it: in a frame of their page, under their content security policy."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import textgen
from tests.browser import Tab, finish, open_browser, texts
from tests.conftest import ROOT
from textgen.errors import OptionError, UnsupportedModelError
from textgen.testing import counting, registered

RECORDED = ROOT / "tests" / "recorded"

#: JupyterLab puts the HTML of an output into its page, which has no policy for scripts.
JUPYTER = '<div class="jp-RenderedHTMLCommon jp-OutputArea-output">{output}</div>'

#: VS Code's notebooks, if they are set to have a policy, which frames inside them inherit.
VSCODE = """<meta http-equiv="Content-Security-Policy" content="
    default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline';
    img-src https: http: data:; font-src https:; connect-src https:; child-src https: data:;
"><div id="container">{output}</div>"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def output() -> str:
    """The HTML of the output of a cell with a page in it."""
    page = textgen.load(RECORDED / "lstm-trees").page()
    shown: str = page._repr_html_()
    return shown


@pytest.fixture(scope="module")
def show(browser: Any) -> Iterator[Any]:
    """Opens HTML from a server on this machine, as notebooks are; returns a tab, and the frame in it."""
    content = ""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = f"<!doctype html><title>notebook</title><link rel=icon href=data:,>{content}".encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    def call(html: str) -> tuple[Tab, Any]:
        nonlocal content
        content = html
        tab = Tab(browser, f"http://127.0.0.1:{server.server_port}/")
        tab.page.goto(tab.url)
        frame = tab.page.frames[-1]
        frame.locator("#bars li:visible").first.wait_for()
        return tab, frame

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield call
        server.shutdown()


@pytest.mark.parametrize("notebook", [JUPYTER, VSCODE], ids=["jupyter", "vscode"])
def test_it_writes_the_texts_of_the_run_and_asks_nobody(show, output, notebook):
    tab, frame = show(notebook.format(output=output))
    frame.locator("#check", has_text="as textgen computes them").wait_for()
    frame.fill("#prompt", "the oak")
    frame.fill("#seed", "7")
    frame.fill("#length", "80")
    frame.click("#write")
    finish(frame)
    generator = textgen.load(RECORDED / "lstm-trees", runtime="numpy")
    assert texts(frame) == [generator.generate("the oak", length=80, seed=7)]
    frame.click("#bars li:first-child button")
    frame.locator("#heat").wait_for()
    assert frame.input_value("#prompt").startswith("the oak")
    assert frame.is_hidden("#copy-link")  # a frame has no address
    assert frame.is_hidden("[role=alert]")
    tab.close()  # checks that nothing went wrong, and that nothing else was asked for


def test_it_reaches_nothing_of_the_notebook(show, output):
    tab, frame = show(f"<script>var secret = 1</script>{output}")
    assert (
        frame.evaluate("() => { try { return parent.secret; } catch (error) { return error.name; } }")
        == "SecurityError"
    )
    assert frame.evaluate("fetch(document.referrer || 'http://127.0.0.1/').catch(error => error.name)") == "TypeError"
    tab.problems.clear()  # of these attempts
    tab.close()


def test_its_size_is_told_and_an_export_in_int8_is_smaller():
    generator = textgen.load(RECORDED / "lstm-trees")
    page, small = generator.page(), generator.page(precision="int8", sampler="temperature(0.5) | multinomial")
    assert len(small.html) < len(page.html)
    megabytes = f"{len(page.html.encode()) / 1e6:.1f} MB"
    assert f"lstm-trees: {megabytes} in this notebook" in page._repr_html_()
    assert megabytes in repr(page)
    assert "data-other-chain" in small.html
    assert "data-other-chain" not in page.html.partition("<body>")[0]


def test_nothing_is_left_in_the_run():
    def names() -> set[Path]:
        return set((RECORDED / "gru-names").rglob("*"))

    before = names()
    textgen.load(RECORDED / "gru-names").page()
    assert names() == before


def test_what_the_engine_lacks_is_refused(tmp_path):
    with registered(counting, name="counting"):
        (tmp_path / "names.txt").write_text("Ada\nBo\nMia\n" * 8)
        settings: dict[str, dict[str, Any]] = {
            "corpus": {"layout": "lines"},
            "training": {"drop_duplicates": False, "batch_size": 4},
        }
        generator = textgen.train(tmp_path / "names.txt", "counting", settings=settings, out=tmp_path / "run")
        with pytest.raises(UnsupportedModelError, match="neither a GRU or LSTM stack nor an n-gram"):
            generator.page()
    with pytest.raises(OptionError, match="precision"):
        textgen.load(RECORDED / "gru-names").page(precision="fp8")
    with pytest.raises(UnsupportedModelError, match="use the run that was exported"):
        textgen.load(RECORDED / "gru-names" / "onnx").page()
