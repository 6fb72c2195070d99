"""The site of the documentation: built strictly and without a network, every link followed, opened in a browser."""

import importlib.util
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from html import unescape
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urldefrag

import pytest

import textgen
from tests.browser import Tab, open_browser, serious_findings

for needed in ("mkdocs", "material", "mkdocstrings_handlers", "griffe_pydantic", "nbconvert"):
    if importlib.util.find_spec(needed) is None:
        pytest.skip(f"needs {needed}, of the extra docs", allow_module_level=True)

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

#: Rules that elements of the theme break on every page: its search, and tables that scroll.
THEME = ("aria-dialog-name", "scrollable-region-focusable")

#: A Python that cannot reach any other machine.
OFFLINE = """
import runpy, socket
def refuse(*arguments, **options):
    raise OSError("the build asked for a network")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
runpy.run_module("mkdocs", run_name="__main__")
"""


class Links(HTMLParser):
    """What a page refers to, what of it the browser loads by itself, and the anchors that it has."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.targets: set[str] = set()
        self.loaded: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.targets.add(value)
                if tag != "a":
                    self.loaded.add(value)
            elif name in ("id", "name") and value:
                self.anchors.add(value)


def build(docs: Path, folder: Path) -> "subprocess.CompletedProcess[str]":
    """What ``make docs`` builds of a folder of pages."""
    command = ["-c", OFFLINE, "build", "--strict", "-f", str(docs / "site" / "mkdocs.yml"), "-d", str(folder)]
    return subprocess.run(
        [sys.executable, *command], env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, cwd=ROOT,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = build(DOCS, folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def links(site):
    """The links of every page, without those of examples, which are files for others."""
    pages = [page for page in site.rglob("*.html") if page.name != "404.html" and "hosts" not in page.parent.parts]
    return {page: Links(page) for page in pages}


@pytest.mark.slow
def test_every_link_leads_somewhere(links):
    followed = 0
    for page, found in links.items():
        for target in found.targets:
            if re.match(r"(https?|mailto|data):", target):
                continue
            path, anchor = urldefrag(target)
            file = Path(os.path.normpath(page.parent / unquote(path))) if path else page
            assert file.is_file(), f"{page}: {target}"
            if anchor and file in links and anchor != "__skip":
                assert unquote(anchor) in links[file].anchors, f"{page}: {target}"
            followed += 1
    assert followed > 3000


@pytest.mark.slow
def test_nothing_is_loaded_from_elsewhere(links):
    assert [
        (page, each) for page, found in links.items() for each in found.loaded if re.match("(https?:)?//", each)
    ] == []


@pytest.mark.slow
def test_every_public_name_has_its_place(site, links):
    anchors = set().union(*(found.anchors for page, found in links.items() if page.parent == site / "api"))
    assert {f"textgen.{name}" for name in textgen.__all__} <= anchors
    assert {"textgen.errors.TextgenError", "textgen.options.Options", "textgen_keras.KerasModel"} <= anchors
    assert {"textgen.TextGenerator.generate", "textgen.Sampler.transform"} <= anchors
    text = "".join(page.read_text(encoding="utf-8") for page in (site / "api").iterdir())
    assert re.findall(r":(?:class|func|meth|attr|data|mod):`?", text) == []


def code_of(page: Path) -> list[str]:
    """The text of the elements ``code`` of a page."""
    found = re.findall(r"<code\b.*?>(.*?)</code>", page.read_text(encoding="utf-8"), re.DOTALL)
    return [unescape(re.sub("<.*?>", "", each)) for each in found]


@pytest.mark.slow
def test_examples_of_docstrings_keep_their_lines_and_output(site):
    code = code_of(site / "api" / "sampling.html")
    call = """effective_numbers("top-p(0.9) | multinomial", {"top_k": -1, "top_p": 1, "min_p": 0.1}, 50)"""
    assert f">>> {call}\n{{'top_p': 1, 'min_p': 0.1}}\n" in code
    pages = [page.read_text(encoding="utf-8") for page in (site / "api").iterdir()]
    assert not [page for page in pages if "doctest: +" in page or re.search(r"<blockquote>", page)]
    assert sum(page.count("&gt;&gt;&gt;") for page in pages) > 20


@pytest.mark.slow
def test_bars_of_code_in_tables_have_no_backslash(site):
    assert '"temperature(0.8) | top-k(40) | multinomial"' in code_of(site / "serve.html")
    escaped = [(page, each) for page in site.rglob("*.html") for each in code_of(page) if r"\|" in each]
    assert escaped == []


@pytest.mark.slow
def test_links_to_pages_have_titles_for_names(links):
    named = re.compile(r"<a [^>]*>(?:<code>)?[\w/]+\.md(?:</code>)?</a>")
    assert [found for page in links for found in named.findall(page.read_text(encoding="utf-8"))] == []


@pytest.mark.slow
def test_what_is_broken_ends_the_build(tmp_path):
    shutil.copytree(DOCS, tmp_path / "docs")
    for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "benchmarks", "textgen", "plugins"):
        (tmp_path / name).symlink_to(ROOT / name)
    with (tmp_path / "docs" / "tune.md").open("a", encoding="utf-8") as page:
        page.write("\n[A page](nowhere.md), [an anchor](training.md#no-such-heading)\n")
    done = build(tmp_path / "docs", tmp_path / "site")
    assert done.returncode == 1
    assert "nowhere.md" in done.stderr
    assert "no-such-heading" in done.stderr
    assert "Aborted with 2 warnings" in done.stdout + done.stderr


def test_a_public_name_without_docstring_is_found(tmp_path):
    import griffe

    pages = runpy.run_path(str(DOCS / "site" / "mkdocs_hooks.py"))
    (tmp_path / "textgen_keras.py").write_text(
        '"""A package."""\n\n'
        'class KerasModel:\n    """A class.\n\n    Attributes:\n        told: in here.\n    """\n\n'
        "    #: By a comment.\n    beside = 1\n    told = 2\n    silent = 3\n\n    def run(self): ...\n\n"
        "    def _private(self): ...\n\n"
        "class StatefulNetwork:\n    def call(self):\n        '''Does it.'''\n\n"
        "class GradientOptions(KerasModel):\n    '''Another.'''\n    told = beside = 4\n"
    )
    extensions = griffe.load_extensions(pages["Docstrings"]())
    package = griffe.load("textgen_keras", search_paths=[tmp_path], extensions=extensions)
    assert sorted(pages["undocumented"](package)) == [
        "textgen_keras.KerasModel.run",
        "textgen_keras.KerasModel.silent",
        "textgen_keras.StatefulNetwork",
    ]


@pytest.mark.parametrize("page", ["cli", "options"])
def test_the_generated_pages_match_the_code(page):
    generate = runpy.run_path(str(DOCS / "generate.py"))
    content = generate[f"{page}_page"]()
    assert content == (DOCS / f"{page}.md").read_text(encoding="utf-8"), "run: python docs/generate.py"


@pytest.fixture(scope="module")
def browser():
    with open_browser() as browser:
        yield browser


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 400])
def test_it_opens_from_a_disk(width, site, browser):
    tab = Tab(browser, site.as_uri(), viewport={"width": width, "height": 800})
    page = tab.page
    for name, heading in (
        ("index.html", "textgen"),
        ("tutorials/learn.html", "Learn"),
        ("api/sampling.html", "Samplers"),
        ("options.html", "Options"),
    ):
        page.goto(f"{site.as_uri()}/{name}")
        assert heading in page.locator("h1").inner_text()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        if name == "options.html":
            table = page.locator("table").first
            assert table.evaluate("table => table.getBoundingClientRect().right") <= width
        assert tab.problems == []
        # In a page of its own: axe reads style sheets, which it may not from a disk; the console may say so late.
        other = browser.new_page(viewport={"width": width, "height": 800})
        other.goto(page.url)
        assert [found for found in serious_findings(other) if found[0] not in THEME] == []
        other.close()
    tab.close()


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """The address of a server of the files of a folder."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


#: What is typed, and a page that must be among the first three.
SEARCHES = {
    "--resume": "training.html",
    "how to resume a run": "training.html",
    "top-p": "sampling.html",
    "stop text": "sampling.html",
    "--stop": "sampling.html",
    "temperature": "sampling.html",
    "csv": "training.html",
    "nats per character": "tutorials/learn.html",
    "hesitates": "tutorials/learn.html",
    "train on a gpu": "training.html",
    "RankSampler": "api/sampling.html",
    "TextGenerator.generate": "api/generators.html",
}


@pytest.mark.slow
@pytest.mark.parametrize("served", [False, True], ids=["from a disk", "from a server"])
def test_the_search_finds_what_people_type(served, site, browser):
    with serve(site) if served else nullcontext(site.as_uri()) as address:
        tab = Tab(browser, address)
        page = tab.page
        page.goto(f"{address}/index.html")
        field = page.locator(".md-search__input")
        state = page.locator(".md-search-result__meta")
        field.click()
        for typed in list(SEARCHES)[: 3 if served else None]:
            field.fill("")
            field.press("End")  # it listens to keys
            state.filter(has_text="Type to start searching").wait_for()
            field.fill(typed)
            field.press("End")
            state.filter(has_text=re.compile("[0-9] match|No matching")).wait_for()
            links = page.locator(".md-search-result__item > .md-search-result__link").all()[:3]
            assert any(f"/{SEARCHES[typed]}" in link.get_attribute("href") for link in links), typed
        found = page.locator(f".md-search-result__link[href*='{SEARCHES[typed]}']").first
        found.click()
        page.wait_for_url(f"**/{SEARCHES[typed]}*")
        tab.close()
