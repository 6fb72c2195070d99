"""What MkDocs cannot know: pages that lie outside docs/, pages of the public names, and how docstrings are written.

MkDocs calls the functions ``on_...`` (https://www.mkdocs.org/user-guide/configuration/#hooks), Griffe the extension.
"""

import logging
import os
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import griffe
from mkdocs.structure.files import File, Files
from nbconvert import MarkdownExporter

import textgen

log = logging.getLogger("mkdocs.plugins.pages")  # what it warns of fails a strict build

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parent

#: Files that are elsewhere on the site, by their place there: those outside docs/, and a page to read as source.
OUTSIDE = {
    "overview.md": ROOT / "README.md",
    "hosts/page.html.txt": DOCS / "hosts" / "page.html",
    **{f"{name.lower()}.md": ROOT / f"{name}.md" for name in ("CHANGELOG", "CONTRIBUTING", "SECURITY")},
    **{f"results/{path.name}": path for path in (ROOT / "benchmarks" / "results").glob("*.png")},
}

#: The public names as files have them: links to it lead to the first page of the API.
STUB = ROOT / "textgen" / "__init__.pyi"

#: How much pages count in the search, by the beginning of their place; others count 1.
BOOSTS = {
    "sampling": 4,
    **dict.fromkeys(("tutorials/", "training", "serve", "jupyter"), 2),
    **dict.fromkeys(("artifact", "benchmarks", "hooks", "kernels", "options", "performance", "stability"), 0.5),
    "notebooks/": 0.2,
    **dict.fromkeys(("api/", "changelog", "contributing", "examples/", "security"), 0.1),
}

#: The pages of names in ``textgen.__all__``: a title, and the rooms whose names it has.
API = {
    "generators": ("Train, load, write", ("api", "text_generator", "generation", "draft", "evaluation")),
    "text": ("Corpora and tokenizers", ("text", "training_text")),
    "model": ("Models", ("model", "training")),
    "sampling": ("Samplers", ("sampling",)),
    "exporting": ("Exporters", ("exporting", "runs")),
    "bulk": ("Engines", ("bulk",)),
    "ngrams": ("N-grams", ("ngrams",)),
    "tools": ("Hooks and tools", ("plugins", "base", "files")),
}

#: What a page of names begins with.
BEGINNINGS = {
    "generators": "[`train`][textgen.train] makes a run from a text, [`load`][textgen.load] reads it, and its "
    "[`TextGenerator`][textgen.TextGenerator] writes texts: alone, as a [`Draft`][textgen.Draft] with a person, or as "
    "a [`Job`][textgen.Job] with many requests. The classes after them are what these take and give."
}

#: Names that come first on their page, in this order.
FIRST = ("train", "load", "TextGenerator", "Job", "export", "read", "score", "cross_validate")

#: Pages of other public modules: a title, and where the names are.
MODULES = {
    "errors": ("Errors", "textgen.errors"),
    "options": ("Options of plugins", "textgen.options"),
    "testing": ("Tests of plugins", "textgen.testing"),
    "suites": ("Conformance suites", "textgen.testing.suites"),
    "keras": ("Keras models", "textgen_keras"),
}


#: A role of Sphinx: a path, or a text and a path.
ROLE = r":\w+:`(?:(?P<text>[^`<]+?)\s+<[^`>]+>|(?P<short>~?)(?P<path>[\w.]+))`"


def public_names(module: str) -> list[str]:
    """The names of a module that docs/stability.md promises, with the module's."""
    content = import_module(module)
    names = getattr(content, "__all__", None) or [
        name for name, value in vars(content).items() if isinstance(value, type) and value.__module__ == module
    ]
    return [f"{module}.{name}" for name in names if f"{module}.{name}" not in sys.modules]


def api_pages() -> Iterator[tuple[str, str, list[str]]]:
    """Name, title and names of each page of the API reference; every name in ``textgen.__all__`` is on one."""
    room = {name: home.split(".")[1] for home, names in vars(textgen)["_HOMES"].items() for name in names}
    left = {"__version__": "base", **room}
    for page, (title, rooms) in API.items():
        names = [name for name, home in left.items() if home in rooms]
        names.sort(key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))
        yield page, title, [f"textgen.{name}" for name in names]
        left = {name: home for name, home in left.items() if home not in rooms}
    if left:
        log.warning("no page of the API has the rooms of %s: name them in docs/site/mkdocs_hooks.py", ", ".join(left))
    for page, (title, module) in MODULES.items():
        yield page, title, public_names(module)


def on_files(files: Files, config: Any) -> Files:
    """Adds the files outside docs/, the pages of the API, and notebooks, as Markdown."""
    for place, path in OUTSIDE.items():
        files.append(File.generated(config, place, abs_src_path=str(path)))
    for page, title, names in api_pages():
        content = "\n\n".join([f"# {title}", BEGINNINGS.get(page, ""), *(f"::: {name}" for name in names)])
        files.append(File.generated(config, f"api/{page}.md", content=content))
    for path in (DOCS / "notebooks").glob("*.ipynb"):
        content, _ = MarkdownExporter().from_filename(path)
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=content))
    return files


def on_page_markdown(markdown: str, page: Any, files: Files, **_: Any) -> str:
    """Leads links to their places on the site, and says how much the page counts in the search."""
    page.meta["search"] = {"boost": next((n for start, n in BOOSTS.items() if page.file.src_uri.startswith(start)), 1)}
    source = OUTSIDE.get(page.file.src_uri, DOCS / page.file.src_uri)
    places = {STUB: DOCS / "api" / "generators.md", **{path: DOCS / place for place, path in OUTSIDE.items()}}

    def lead(link: re.Match[str]) -> str:
        """Files outside docs/ and notebooks have their places on the site; folders have none."""
        target = Path(os.path.normpath(source.parent / link["path"]))
        if target.is_dir():
            return link["text"]
        target = places.get(target, target.with_suffix(".md") if target.suffix == ".ipynb" else target)
        named = files.get_file_from_path(os.path.relpath(target, DOCS))
        is_file_name = link["text"].strip("`").endswith(".md") and named and named.page
        text = named.page.title if is_file_name else link["text"]
        return f"[{text}]({os.path.relpath(target, (DOCS / page.file.src_uri).parent)}{link['anchor'] or ''})"

    notebook = source.with_suffix(".ipynb")
    if notebook.exists():
        markdown = re.sub(r"`docs/(\w+\.md)`", r"[\1](../\1)", markdown)
    markdown = re.sub(r"\[(?P<text>[^][]*)\]\((?P<path>(?!\w+:)[^)#\s]+)(?P<anchor>#[^)]*)?\)", lead, markdown)
    if notebook.exists():
        markdown = re.sub(
            "^# .*$", rf"\g<0>\n\n[This notebook as a file]({notebook.name})", markdown, count=1, flags=re.M
        )
    return re.sub(r"^\|.*", _plain_bars, markdown, flags=re.MULTILINE)


def _plain_bars(row: re.Match[str]) -> str:
    r"""A row of a table as Python-Markdown reads it: in code, a bar needs no backslash, which GitHub asks for."""
    return re.sub(r"`[^`]+`", lambda code: code[0].replace(r"\|", "|"), row[0])


class Docstrings(griffe.Extension):
    """Docstrings as this project writes them: ``#:`` before a variable, and roles, which become links."""

    def on_attribute_instance(self, *, attr: griffe.Attribute, **_: Any) -> None:
        """Takes the comment ``#:`` before, or beside, an attribute as its docstring."""
        if attr.docstring is None and attr.lineno is not None and isinstance(attr.filepath, Path):
            lines = attr.lines_collection[attr.filepath]
            _, beside, text = lines[attr.lineno - 1].partition("#:")
            comment = [text.strip()] if beside else []
            for line in [] if beside else reversed(lines[: attr.lineno - 1]):
                if not line.strip().startswith("#:"):
                    break
                comment.insert(0, line.strip().removeprefix("#:").strip())
            if comment:
                attr.docstring = griffe.Docstring("\n".join(comment), parent=attr)

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Warns of public names without docstring; makes links of roles, and code of examples, as Griffe names them."""
        for name in undocumented(pkg):
            log.warning("%s has no docstring", name)
        for each in _objects(pkg):
            if each.docstring:
                text = re.sub(ROLE, _link, each.docstring.value)
                text = re.sub(r"\bdocs/(\w+)\.md", _link_page, text)
                each.docstring.value = re.sub("^( *)Example:$", r"\1Examples:", text, flags=re.MULTILINE)


def undocumented(package: griffe.Module) -> list[str]:
    """The public names of a package, and the public members of classes among them, that have no docstring."""
    names = [name for page in api_pages() for name in page[2] if name.partition(".")[0] == package.name]
    found = []
    for name in names:
        named = package[name.partition(".")[2]]
        target = named.final_target if named.is_alias else named
        members = target.members.items() if target.is_class else ()
        found += [name] if not target.docstring else []
        found += [
            f"{name}.{key}" for key, each in members if not key.startswith(("_", "test_")) and not _is_documented(each)
        ]
    return found


def _is_documented(member: Any) -> bool:
    """Whether a member has a docstring, or one of the class has it: among its attributes, or in that of a base."""
    if member.docstring or member.name == "model_config":
        return True
    owners = [member.parent, *member.parent.mro()]
    listed = re.compile(rf"^ *{member.name}(?: \(.*\))?: ", re.MULTILINE)
    return any(
        (owner.docstring and listed.search(owner.docstring.value))
        or (member.name in owner.members and owner.members[member.name].docstring)
        for owner in owners
    )


def _objects(parent: Any) -> Iterator[Any]:
    yield parent
    for member in parent.members.values():
        if not member.is_alias:
            yield from _objects(member)


def _link_page(file: re.Match[str]) -> str:
    """A link to a page of the docs that a docstring names, by its heading."""
    heading = (DOCS / f"{file[1]}.md").read_text(encoding="utf-8").partition("\n")[0]
    return f"[{heading.removeprefix('# ')}](../{file[1]}.md)"


def _link(role: re.Match[str]) -> str:
    """A link to a public name; for any other, the name as code."""
    if role["text"]:
        return f"`{role['text']}`"
    path = role["path"].split(".")
    name = next((part for part in path if part in textgen.__all__), None)
    if name is None:
        return f"`{path[-1] if role['short'] else role['path']}`"
    return f"[`{'.'.join(path[path.index(name) :])}`][textgen.{name}]"
