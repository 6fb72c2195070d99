"""The page of a generator as notebooks show it: in a frame of their page, under their content security policy."""

import http.server
import shutil
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
    """Opens HTML from a server on this machine, as notebooks are; returns a tab, the frame in it, and what is asked."""
    content = ""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = f"<!doctype html><title>notebook</title><link rel=icon href=data:,>{content}".encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Access-Control-Allow-Origin", "*")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    def call(html: str) -> tuple[Tab, Any, list[str]]:
        nonlocal content
        content = html
        asked.clear()
        tab = Tab(browser, f"http://127.0.0.1:{server.server_port}/")
        tab.page.goto(tab.url)
        frame = tab.page.frames[-1]
        frame.locator("#bars li:visible").first.wait_for()
        return tab, frame, asked

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield call
        server.shutdown()


@pytest.mark.parametrize("notebook", [JUPYTER, VSCODE], ids=["jupyter", "vscode"])
def test_it_writes_the_texts_of_the_run_and_asks_nobody(show, output, notebook):
    tab, frame, _ = show(notebook.format(output=output))
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
    tab, frame, asked = show(f"<script>var secret = 1</script>{output}")
    assert (
        frame.evaluate("() => { try { return parent.secret; } catch (error) { return error.name; } }")
        == "SecurityError"
    )
    assert tab.page.evaluate("fetch('/notebook').then(answer => answer.status)") == 200
    assert frame.evaluate(f"fetch('{tab.url}frame').catch(error => error.name)") == "TypeError"
    assert asked == ["/", "/notebook"]
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


def test_the_corpus_is_not_read(monkeypatch):
    """It may be large, may have to be downloaded, and may give rise to notices."""
    monkeypatch.setattr("textgen.exporting.source.read_text", lambda *_, **__: pytest.fail("read"))
    assert textgen.load(RECORDED / "gru-names").page().html


def test_the_name_of_the_run_is_shown_as_it_is(tmp_path):
    folder = tmp_path / "<b>\u202e\x07"
    shutil.copytree(RECORDED / "gru-names", folder)
    assert "&lt;b&gt;\\u202e\\x07: " in textgen.load(folder).page()._repr_html_()


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
