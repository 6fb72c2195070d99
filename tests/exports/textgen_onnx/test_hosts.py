"""The hosts in docs/hosts write the texts of ``textgen sample``, and agree with the golden vectors."""

import functools
import http.server
import platform
import re
import runpy
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.browser import open_browser
from tests.conftest import ROOT
from tests.exports.random_runs import save_run
from tests.npm import npm_packages
from textgen import api

HOSTS = ROOT / "docs" / "hosts"

LONG = "repetition-penalty(1.3) | temperature(0.9) | top-k(20) | top-p(0.95) | min-p(0.01) | multinomial"

LABELLED = "text,label\n" + "".join(f"the fox number {i} jumps,{'night' if i % 3 else 'day'}\n" for i in range(40))

#: Packages of ONNX Runtime, and what they have for this system.
ONNXRUNTIME = ("onnxruntime-node@1.30.0", "onnxruntime-web@1.30.0")
ONNXRUNTIME_FILES = (
    "[!o]*/**/*",
    "@*/**/*",
    "onnxruntime-common/**/*",
    "onnxruntime-*/package.json",
    "onnxruntime-node/[!b]*/**/*",
    f"onnxruntime-node/bin/*/{sys.platform}/**/*",
    "onnxruntime-web/dist/*.mjs",
    "onnxruntime-web/dist/*threaded.wasm",
)

#: A package that has the headers of ONNX Runtime, which no other of these registries has.
HEADERS = ("com.github.asus4.onnxruntime@0.4.9",)

#: By which outputs of float32 graphs differ between builds of ONNX Runtime, at most.
ROUNDING = 1e-4

Host = Callable[..., str]


@pytest.fixture(scope="module")
def modules() -> Path:
    if shutil.which("node") is None:
        pytest.skip("node is missing")
    return npm_packages("onnxruntime", ONNXRUNTIME, ONNXRUNTIME_FILES)


def called(*command: object) -> str:
    done = subprocess.run([*map(str, command)], check=False, capture_output=True, text=True, encoding="utf-8")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture(scope="module")
def make_node(modules, tmp_path_factory) -> Callable[[str], Host]:
    """The host in Node, by a package of ONNX Runtime."""

    def make(package: str) -> Host:
        folder = tmp_path_factory.mktemp(package)
        (folder / "node_modules").symlink_to(modules)
        shutil.copy(HOSTS / "write.mjs", folder)
        code = (HOSTS / "node.mjs").read_text(encoding="utf-8")
        (folder / "node.mjs").write_text(code.replace("'onnxruntime-node'", f"'{package}'"), encoding="utf-8")
        return functools.partial(called, "node", folder / "node.mjs")

    return make


@pytest.fixture(scope="module")
def in_node(make_node) -> Host:
    """The host in Node, by machine code."""
    host: Host = make_node("onnxruntime-node")
    return host


@pytest.fixture(scope="module")
def in_c(modules, tmp_path_factory) -> Host:
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("the C compiler cc is missing" if compiler is None else "compiled on Linux only")
    machine = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), "none")
    library = next(modules.glob(f"onnxruntime-node/bin/*/linux/{machine}/libonnxruntime.so.1"), None)
    if library is None:
        pytest.skip(f"onnxruntime-node has no library for {platform.machine()}")
    headers = next(npm_packages("headers", HEADERS, ["*/Plugins/iOS~/*/ios-arm64/*/Headers/*.h"]).rglob("*_c_api.h"))
    program = tmp_path_factory.mktemp("c") / "write"
    strict = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror"]
    paths = ["-I", headers.parent, HOSTS / "write.c", library, f"-Wl,-rpath,{library.parent}"]
    assert called(compiler, *strict, *paths, "-lm", "-o", program) == ""
    return functools.partial(called, program)


@pytest.fixture
def in_python(monkeypatch, capfd) -> Host:
    code = (HOSTS / "write.py").read_text(encoding="utf-8")
    imports = {line.split()[1] for line in code.splitlines() if line.startswith(("import ", "from "))}
    assert imports == {"json", "re", "sys", "unicodedata", "pathlib", "numpy", "onnxruntime"}

    def call(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["write.py", *map(str, arguments)])
        capfd.readouterr()
        runpy.run_path(str(HOSTS / "write.py"), run_name="__main__")
        sys.stdout.flush()
        printed = capfd.readouterr()
        assert printed.err == ""
        return str(printed.out)

    return call


@pytest.fixture(params=["in_python", "in_node", "in_c"])
def host(request) -> Host:
    """Calls a host with arguments; returns what it prints."""
    found: Host = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def labelled(tmp_path_factory) -> Path:
    """An export whose texts have labels."""
    run = tmp_path_factory.mktemp("labelled") / "run"
    corpus = {"format": "csv", "layout": "lines", "column": "text", "label": "label"}
    save_run(run, text=LABELLED, tokenizer="char-eos", corpus_options=corpus)
    return api.export(run, notice=pytest.fail).folder


@pytest.fixture
def sample(textgen) -> Callable[..., str]:
    """What ``textgen sample`` prints."""

    def call(folder: Path, prompt: str, length: int, seed: int, *label: str) -> str:
        options: Sequence[object] = ["--prompt", prompt, "--length", length, "--seed", seed, "--runtime", "onnx"]
        done = textgen("sample", folder, *options, *(f"--label={name}" for name in label))
        assert done.code == 0
        return str(done.out)

    return call


CASES: list[tuple[str, int, dict[str, Any]]] = [
    ("The", 7, {"cell": "lstm", "layers": 2}),
    ("", 2**64 - 1, {"tokenizer": "char-eos", "sampler": LONG, "contexts": 60}),
    ("j\N{GRINNING FACE}u\u0301m", 2**53 + 1, {"tokenizer": "string-lookup", "sampler": "greedy"}),
    ("", 5, {"cell": "lstm", "tokenizer": "char-index", "sampler": LONG}),
]


@pytest.mark.parametrize(("prompt", "seed", "options"), CASES)
def test_a_host_writes_the_text_of_textgen_sample(exported, sample, host, prompt, seed, options):
    folder = exported(**options).run.path / "onnx"
    expected = sample(folder, prompt, 150, seed)
    assert len(expected) > len(prompt) + 1
    assert host(folder, prompt, 150, seed) == expected
    assert float(host(folder)) < ROUNDING


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_a_host_runs_any_precision(exported, sample, host, precision):
    folder = exported(precision=precision, tokenizer="char-eos").run.path / "onnx"
    assert host(folder, "the", 60, 3) == sample(folder, "the", 60, 3)


def test_node_writes_by_webassembly_too(exported, sample, make_node):
    prompt, seed, options = CASES[1]
    folder = exported(**options).run.path / "onnx"
    assert make_node("onnxruntime-web")(folder, prompt, 150, seed) == sample(folder, prompt, 150, seed)


@pytest.mark.parametrize("label", [(), ("day",)])
@pytest.mark.parametrize(("prompt", "seed"), [("the", 1), ("", 2)])
def test_a_text_begins_with_a_label(labelled, sample, host, prompt, seed, label):
    assert host(labelled, prompt, 40, seed, *label) == sample(labelled, prompt, 40, seed, *label)


@pytest.mark.parametrize(
    ("prompt", "options"),
    [
        ("the lazy dog", {"tokenizer": "words"}),
        ("", {"tokenizer": "words", "cell": "lstm"}),
        ("jumps", {"tokenizer": "byte-bpe", "sampler": LONG}),
        ("", {"tokenizer": "byte-bpe"}),
    ],
)
def test_the_host_in_python_has_longer_ids(exported, sample, in_python, prompt, options):
    folder = exported(**options).run.path / "onnx"
    assert in_python(folder, prompt, 150, 7) == sample(folder, prompt, 150, 7)


@pytest.mark.parametrize("name", ["in_python", "in_node"])
def test_a_prompt_is_converted_as_the_training_text_was(exported, sample, request, name):
    folder, prompt = exported().run.path / "onnx", "\ufeffThe\r\nfox\r"
    assert request.getfixturevalue(name)(folder, prompt, 40, 3) == sample(folder, prompt, 40, 3)


@pytest.mark.parametrize("name", ["in_node", "in_c"])
def test_what_a_host_cannot_read_is_an_error(exported, request, name):
    command = request.getfixturevalue(name).args
    for options, prompt in (({"tokenizer": "words"}, "the"), ({}, "\N{GRINNING FACE}")):
        folder = exported(**options).run.path / "onnx"
        done = subprocess.run([*map(str, command), folder, prompt, "9", "1"], capture_output=True, check=False)
        assert done.returncode == 1
        assert re.search(rb"vocabulary|an id for each character", done.stderr)


@pytest.mark.parametrize("name", ["in_python", "in_node", "in_c"])
def test_an_export_of_an_older_textgen_is_one_line(request, name):
    command = [sys.executable, HOSTS / "write.py"] if name == "in_python" else request.getfixturevalue(name).args
    done = subprocess.run(
        [*map(str, command), ROOT / "tests" / "recorded" / "lstm-trees" / "onnx"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.strip().endswith("since an older textgen wrote it: export the run again")
    assert done.stderr.count("\n") == 1


@pytest.fixture
def page(exported, modules, tmp_path) -> Iterator[tuple[Any, Path]]:
    """The host in a browser, and the folder of its export."""
    folder = exported(tokenizer="char-eos", sampler=LONG, contexts=60).run.path / "onnx"
    shutil.copytree(folder, tmp_path / "export")
    shutil.copytree(modules / "onnxruntime-web" / "dist", tmp_path / "ort")
    for name in ("page.html", "write.mjs"):
        shutil.copy(HOSTS / name, tmp_path)

    class Handler(http.server.SimpleHTTPRequestHandler):
        extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | {".mjs": "text/javascript"}

        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(tmp_path))

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with open_browser() as browser:
        tab = browser.new_page()
        tab.goto(f"http://127.0.0.1:{server.server_port}/page.html")
        yield tab, folder
    server.shutdown()
    server.server_close()


def test_a_page_writes_the_text_of_textgen_sample(page, sample):
    tab, folder = page
    tab.wait_for_function("document.querySelector('output').value")
    difference = re.fullmatch(r"differs from the golden vectors by (\S+)", tab.locator("output").inner_text())
    assert difference is not None
    assert float(difference[1]) < ROUNDING
    tab.fill("[name=prompt]", "the ")
    tab.fill("[name=seed]", str(2**64 - 1))
    tab.fill("[name=length]", "200")
    tab.click("button")
    tab.wait_for_function("document.querySelector('pre').dataset.done")
    assert tab.locator("pre").inner_text() + "\n" == sample(folder, "the ", 200, 2**64 - 1)
