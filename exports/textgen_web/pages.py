"""The page of an export: its files in a folder, or everything in one file that opens from ``file://``."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from textgen_web.javascript import engine

#: What the page may do. A worker in one file is made of code in the page.
_POLICY = "default-src 'none'; script-src {script} 'wasm-unsafe-eval'; worker-src {worker}; style-src {style}; "
_POLICY += "connect-src {connect}; img-src data:; base-uri 'none'; form-action 'none'"

_META = re.compile(r'(<meta http-equiv="Content-Security-Policy" content=")[^"]*')

#: An import of another module of ours, a comment on its own and one after code, an export, the beginning of a line.
_IMPORT = re.compile(r"^import \{[^}]*\} from '\.\.?/(?P<name>\w+\.js)';\n", re.MULTILINE)
_COMMENT = re.compile(r"^ *(//.*|/\*\*(?s:.*?)\*/)\n", re.MULTILINE)
_REMARK = re.compile(r" +// .*$", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=\w)", re.MULTILINE)
_INDENT = re.compile(r"^ +", re.MULTILINE)


#: What a page in a folder does on a disk, where browsers start no module. A script in the page runs in any of them.
_ON_DISK = "if (location.protocol === 'file:') document.getElementById('about').textContent = "
_ON_DISK += "'Browsers do not load this page from a disk. Serve its folder, as with python3 -m http.server, "
_ON_DISK += "or export the run to one file: textgen export --to web --single RUN';"


def page_files(*, is_own_chain: bool) -> dict[str, bytes]:
    """The files of the page by path, for a folder that also has ``textgen.js``, ``model.json`` and the weights.

    Args:
        is_own_chain: whether the sampler chain is the run's, so that a command line need not name it.
    """
    found = _parts(is_own_chain)
    policy = _POLICY.format(script=f"'self' {_hash(_ON_DISK)}", worker="'self'", style="'self'", connect="'self'")
    page = _META.sub(rf"\g<1>{policy}", found.pop("index.html"))
    page = page.replace("</header>", f"<script>{_ON_DISK}</script>\n</header>")
    return {"index.html": page.encode(), **{f"page/{name}": text.encode() for name, text in found.items()}}


def _parts(is_own_chain: bool) -> dict[str, str]:
    """The files of the page by name."""
    shared, own = files("textgen") / "page", files("textgen_web") / "page"
    found = {file.name: file.read_text(encoding="utf-8") for file in shared.iterdir() if file.is_file()}
    found["engine.js"] = (own / "web_engine.js").read_text(encoding="utf-8")
    found["worker.js"] = (own / "worker.js").read_text(encoding="utf-8")
    if not is_own_chain:
        found["index.html"] = found["index.html"].replace("<html ", "<html data-other-chain ")
    return found


def single_page(about: Mapping[str, Any], weights: bytes, *, is_own_chain: bool) -> bytes:
    """The page in one file, with its model inside.

    Args:
        about: what ``model.json`` has.
        weights: what ``model.safetensors`` has.
        is_own_chain: see :func:`page_files`.
    """
    found = _parts(is_own_chain)
    worker, script, style = _plain(engine(is_module=False) + found["worker.js"]), _joined(found), found["page.css"]
    policy = _POLICY.format(script=_hash(script), worker="data:", style=_hash(style), connect="'none'")
    model = json.dumps(about, separators=(",", ":"))
    packed = {"worker": worker.encode(), "model": model.encode(), "weights": weights}
    data = "".join(
        f'<script type="text/plain" id="packed-{name}">{_packed(content)}</script>\n'
        for name, content in packed.items()
    )
    page = _META.sub(rf"\g<1>{policy}", found["index.html"])
    for old, new in {
        "<title>textgen</title>": f"<title>{html.escape(about['name'])} – textgen</title>",
        '<link rel="stylesheet" href="page/page.css">': f"<style>{style}</style>",
        '<script type="module" src="page/page.js"></script>\n': "",
        "</body>": f'{data}<script type="module">{script}</script>\n</body>',
    }.items():
        before, _, after = page.partition(old)
        page = before + new + after
    return page.encode()


def is_single_page(content: bytes) -> bool:
    """Whether a file is such a page."""
    return content.startswith(b"<!doctype html>") and b'<script type="text/plain" id="packed-model">' in content


def _packed(content: bytes) -> str:
    """What the page unpacks."""
    return base64.b64encode(gzip.compress(content, 6, mtime=0)).decode()


def _joined(modules: Mapping[str, str]) -> str:
    """The modules of the page as one script: each after those that it imports. No two may declare the same name."""
    order: list[str] = []

    def visit(name: str) -> None:
        for match in _IMPORT.finditer(modules[name]):
            if match["name"] not in order:
                visit(match["name"])
        order.append(name)

    visit("page.js")
    return "".join(_plain(modules[name]) for name in order)


def _plain(script: str) -> str:
    """A script without imports, exports, comments and indentation: no text of it spans lines, or has `` // `` in it."""
    for unwanted in (_COMMENT, _REMARK, _IMPORT, _EXPORT, _INDENT):
        script = unwanted.sub("", script)
    return script.lstrip("\n")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
