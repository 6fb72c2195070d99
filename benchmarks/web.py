"""Writing without a server: time per character in Node and in Chromium, time to the first character, and sizes.

``python -m benchmarks.web [--quick]`` measures exports for the web beside ONNX Runtime's packages for Node and for
browsers, which run ONNX exports, and textgen's runtime ``onnx``. It needs Node with npm, Chromium and playwright; the
packages of npm are installed in textgen's cache. All of ONNX Runtime's run in one thread, and only their loop is
measured.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks.command import Findings, Session, notice, run
from benchmarks.harness import BenchmarkError, Contender
from benchmarks.peers.web import browser, seconds_to_first, serve
from benchmarks.report import Claim, Figures, Row, Table
from benchmarks.subjects import GRU_1024, LSTM_128, Subject
from benchmarks.textgen_runs import RUN, make_runs, onnx, writer

#: The model of ``make demo``.
DEMO = replace(
    LSTM_128,
    title="GRU 128, V = 54",
    cell="gru",
    embedding_dim=64,
    characters="".join(map(chr, [*range(ord("A"), ord("Z") + 1), *range(ord("a"), ord("z") + 1)])),
    vocab_size=54,
    prompt="Ra",
)

PRECISIONS = ("fp32", "int8")

#: The packages of npm, and the files in them.
PACKAGES = {"onnxruntime-node": "dist/index.js", "onnxruntime-web": "dist/ort.wasm.bundle.min.mjs"}
VERSION = "1.30.0"
WASM = "dist/ort-wasm-simd-threaded.wasm"

#: Bounds of issue 18: seconds to the first character, and of a page in one file its size over that of the weights in
#: base64, and the bytes besides.
SECONDS, SHARE, BESIDES = 0.5, 1.1, 80_000

#: Characters of a text: so many that it does not count how long Chromium takes to be told to write it.
LENGTH = 2000

#: Texts that are compared at once.
AT_ONCE = 50

_BLANK = "<!doctype html><meta charset=utf-8><title>blank</title>"


def find(session: Session) -> Findings:
    packages = _packages()
    tables, firsts, claims = [], [], []
    sizes: dict[str, list[float]] = {}
    for subject in (DEMO, LSTM_128) if session.is_quick else (DEMO, LSTM_128, GRU_1024):
        notice(f"{subject.title}: making a run and its exports")
        site = session.folder / subject.title
        make_runs(subject, site, PRECISIONS, session.environment)
        _export(site, session)
        for package in packages.values():
            (site / package.name).symlink_to(package, target_is_directory=True)
        shutil.copy(Path(__file__).parent / "peers" / "web.mjs", site)
        (site / "blank.html").write_text(_BLANK, encoding="utf-8")
        for precision in PRECISIONS:
            table = _measure(subject, precision, site, session)
            tables.append(table)
            ours, theirs = _name("Chromium", precision), _peer("Chromium", precision)
            title = f"{subject.title}, {precision}: textgen.js over onnxruntime-web in Chromium"
            claims.append(Claim(title, "at most", 1, "times", table.ratios(ours, theirs)))
            sizes[f"{subject.title}, {precision}"] = _sizes(site, precision)
        first = _measure_first(subject, site, session)
        firsts.append(first)
        if subject is LSTM_128:
            claims.append(
                Claim(f"{first.title}, one file", "at most", SECONDS, "s", first.seconds("one file, from disk"))
            )
    for name, (page, weights, *_) in sizes.items():
        bound = SHARE + BESIDES / (1e6 * weights)
        claims.append(
            Claim(f"{name}: one file over its weights in base64", "at most", bound, "times", [page / weights])
        )
    parting = _measure_parting(
        DEMO, session.folder / DEMO.title, session.options.characters or session.effort.rounds * 20_000
    )
    columns = ["page in one file, MB", "its weights in base64, MB", "ONNX export's graph and onnxruntime-web, MB"]
    return Findings(
        [*tables, *firsts],
        claims,
        figures=[parting, Figures("Size", columns, {name: [*each] for name, each in sizes.items()})],
    )


def _packages() -> dict[str, Path]:
    """The folders of ONNX Runtime's packages, which are installed if they are not there."""
    import textgen

    npm = shutil.which("npm")
    if npm is None:
        raise BenchmarkError("npm is not installed")
    folder = textgen.cache_folder() / "benchmarks"
    found = {name: folder / "node_modules" / name for name in PACKAGES}
    if not all((path / PACKAGES[name]).exists() for name, path in found.items()):
        notice(f"installing {', '.join(PACKAGES)} {VERSION} in {folder}")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text('{"private": true}', encoding="utf-8")
        # Without the variable, onnxruntime-node downloads libraries for CUDA.
        environment = {**os.environ, "ONNXRUNTIME_NODE_INSTALL": "skip"}
        wanted = [f"{name}@{VERSION}" for name in PACKAGES]
        subprocess.run([npm, "install", "--no-audit", "--no-fund", *wanted], cwd=folder, env=environment, check=True)
    return found


def _export(site: Path, session: Session) -> None:
    """Exports a run for the web, beside its ONNX exports: a folder and a page in one file of each precision."""
    import textgen

    say = partial(print, file=sys.stderr)
    for precision in PRECISIONS:
        for single in (False, True):
            options = {"precision": precision, "single": single}
            out = site / f"web-{precision}{'.html' if single else ''}"
            textgen.export(site / RUN, to="web", out=out, options=options, notice=say)


def _name(place: str, precision: str) -> str:
    return f"textgen.js in {place}, {precision}"


def _peer(place: str, precision: str) -> str:
    return f"{'onnxruntime-node' if place == 'Node' else 'onnxruntime-web'} in {place}, {precision}"


def _measure(subject: Subject, precision: str, site: Path, session: Session) -> Table:
    shared = {"prompt": subject.prompt, "length": LENGTH}
    node, chromium = "benchmarks.peers.web:make_node", "benchmarks.peers.web:make_chromium"
    library = str((site / "onnxruntime-node").resolve() / PACKAGES["onnxruntime-node"])
    web, graphs = f"web-{precision}", precision
    contenders = [
        Contender(_name("Node", precision), node, {"engine": "textgen", "folder": str(site / web), **shared}),
        Contender(
            _peer("Node", precision),
            node,
            {"engine": "ort", "folder": str(site / graphs), "library": library, **shared},
        ),
        Contender(
            _name("Chromium", precision), chromium, {"site": str(site), "engine": "textgen", "folder": web, **shared}
        ),
        Contender(
            _peer("Chromium", precision),
            chromium,
            {
                "site": str(site),
                "engine": "ort",
                "folder": graphs,
                "library": f"onnxruntime-web/{PACKAGES['onnxruntime-web']}",
                **shared,
            },
        ),
        writer(onnx(precision), site / graphs, "onnx", batch=1, device="cpu", **shared),
    ]
    title = f"{subject.title}, {precision}, one text"
    table = session.table(title, "character", "time", _name("Chromium", precision), contenders)
    return replace(table, rows=[replace(row, memory=0) for row in table.rows])  # it is that of the drivers


def _measure_first(subject: Subject, site: Path, session: Session) -> Table:
    """The time from opening a page to the first character."""
    title = f"{subject.title}, fp32, from opening to the first character"
    notice(title)
    address = serve(site)
    order = {"engine": "ort", "folder": f"{address}/fp32/", "prompt": subject.prompt, "length": 1}
    library = f"{address}/onnxruntime-web/{PACKAGES['onnxruntime-web']}"
    script = f"const write = await prepare({{...{order!r}, library: {library!r}}}); await write(1);"
    script = f"import {{prepare}} from '/web.mjs'; {script} globalThis.first = performance.now();"
    (site / "ort.html").write_text(f"{_BLANK}<script type=module>{script}</script>", encoding="utf-8")
    pages = {
        "one file, from disk": ((site / "web-fp32.html").as_uri(), True),
        "a folder, from a local host": (f"{address}/web-fp32/", True),
        "onnxruntime-web, from a local host": (f"{address}/ort.html", False),
    }
    seconds: dict[str, list[float]] = {name: [] for name in pages}
    with browser() as chromium:
        for number in range(session.effort.rounds + 1):  # the first one finds the files of the browser cold
            for name, (page, presses) in pages.items():
                found = seconds_to_first(chromium, page, presses=presses)
                if number:
                    seconds[name].append(found)
    rows = [Row(name, "", values) for name, values in seconds.items()]
    return Table(title, "page", "time", rows[0].name, rows)


def _measure_parting(subject: Subject, site: Path, characters: int) -> Figures:
    """How often an int8 text parts from that of textgen's own runtime, whose rounding differs by a quantum at times."""
    import textgen

    notice(f"{subject.title}: int8 texts of {characters:,} characters, compared")
    generator, address = textgen.load(site / "int8", runtime="onnx", device="cpu"), serve(site)
    prompt = subject.prompt[0]
    parted, together = [0, 0], [0, 0]
    with browser() as chromium:
        page = chromium.new_page()
        page.goto(f"{address}/blank.html")
        for first in range(0, characters // LENGTH, AT_ONCE):
            texts = range(first, min(first + AT_ONCE, characters // LENGTH))
            request = generator.request(prompt, num=len(texts), rows=[*texts], seed=0, length=LENGTH, ignore_eos=True)
            expected = [text.ids for text in generator.sample(request)]
            order = {
                "folder": f"{address}/web-int8/",
                "graphs": f"{address}/int8/",
                "library": f"{address}/onnxruntime-web/{PACKAGES['onnxruntime-web']}",
                "prompt": prompt,
                "last": int(generator.tokenizer.encode(prompt)[0]),
                "first": first,
                "uniforms": textgen.uniforms(0, texts, 1, LENGTH).tolist(),
            }
            both = page.evaluate("async order => (await import('/web.mjs')).writeBoth(order)", order)
            for place, written in enumerate(both):
                for ids, own in zip(written, expected, strict=True):
                    same = next((i for i, pair in enumerate(zip(ids, own, strict=True)) if pair[0] != pair[1]), LENGTH)
                    parted[place] += same < LENGTH
                    together[place] += same
    rows: dict[str, list[float | None]] = {
        name: [characters / 1e6, parted[place], 1e6 * parted[place] / together[place]]
        for place, name in enumerate(("textgen.js", "onnxruntime-web"))
    }
    columns = ["million characters", f"texts of {LENGTH:,} that part", "partings per million characters"]
    return Figures(f"{subject.title}, int8: texts that part from those of textgen's runtime onnx", columns, rows)


def _sizes(site: Path, precision: str) -> list[float]:
    def megabytes(path: Path) -> float:
        return path.stat().st_size / 1e6

    ours = megabytes(site / f"web-{precision}.html")
    weights = 4 / 3 * megabytes(site / f"web-{precision}" / "model.safetensors")
    files = [
        site / precision / "generate.onnx",
        *(site / "onnxruntime-web" / name for name in (WASM, PACKAGES["onnxruntime-web"])),
    ]
    return [ours, weights, sum(map(megabytes, files))]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--characters", type=int, help="characters of int8 texts to compare, by default some 100,000")


if __name__ == "__main__":
    run("web", __doc__, find, add_arguments=add_arguments)
