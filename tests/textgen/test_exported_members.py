"""The public names: lazy, the same for type checkers, and enough for bundled plugins, templates, examples and docs."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import textgen
from textgen import api

ROOT = Path(__file__).parents[2]

#: Modules whose own names are public, besides those of ``textgen`` itself.
PUBLIC = ("textgen.errors", "textgen.options", "textgen.testing", "textgen.testing.suites")

USERS = sorted(
    path
    for folder in ("plugins", "exports", "docs", "textgen/templates")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in (".py", ".md") and path.name != "generate.py"
)


def test_every_public_name_can_be_imported():
    for name in textgen.__all__:
        assert getattr(textgen, name) is not None
        assert name in dir(textgen)
    with pytest.raises(AttributeError, match="no_such_name"):
        getattr(textgen, "no_such_name")  # noqa: B009


def test_what_public_functions_return_is_public():
    defined = [each for each in vars(api).values() if getattr(each, "__module__", "") == api.__name__]
    for function in filter(inspect.isfunction, [*defined, *vars(textgen.TextGenerator).values()]):
        if function.__name__.startswith("_"):
            continue
        for name in re.findall(r"(?!None)[A-Z]\w+", str(inspect.signature(function).return_annotation)):
            assert name in textgen.__all__ or hasattr(typing, name), (function.__name__, name)


def test_type_checkers_see_the_same_names():
    stub = ast.parse((ROOT / "textgen" / "__init__.pyi").read_text(encoding="utf-8"))
    seen = {
        (node.module, alias.asname)
        for node in ast.walk(stub)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    homes = {(module, name) for module, names in vars(textgen)["_HOMES"].items() for name in names}
    assert seen == homes | {("textgen.base.version", "__version__")}


def test_public_functions_are_functions_whatever_was_imported():
    program = (
        "import pkgutil, importlib, textgen\n"
        "for module in pkgutil.walk_packages(textgen.__path__, 'textgen.'):\n"
        "    if 'templates' not in module.name and '__main__' not in module.name:\n"
        "        importlib.import_module(module.name)\n"
        "assert all(callable(getattr(textgen, name)) for name in ('train', 'load', 'export', 'cross_validate'))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def imports(path: Path) -> list[tuple[str, str]]:
    """Module and name of everything that a file, or the Python in a page, imports from ``textgen``."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        blocks = text.split("```python\n")[1:]
        trees = [ast.parse(block.partition("```")[0]) for block in blocks]
    else:
        trees = [ast.parse(text)]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    found = [(str(n.module), a.name) for n in nodes if isinstance(n, ast.ImportFrom) for a in n.names]
    found += [(a.name, "") for n in nodes if isinstance(n, ast.Import) for a in n.names]
    return [(module, name) for module, name in found if module.partition(".")[0] == "textgen"]


def targets(path: Path) -> list[tuple[str, str]]:
    """Module and name of everything in ``textgen`` that is registered as ``"module:attribute"``."""
    return re.findall(r'"(textgen(?:\.\w+)*):(\w+)"', path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", USERS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_plugins_templates_examples_and_docs_import_public_names_alone(path):
    for module, name in [*imports(path), *targets(path)]:
        if module == "textgen":
            assert not name or name in textgen.__all__, name
        else:
            assert module in PUBLIC or module.startswith("textgen.testing."), module
            assert not name or not name.startswith("_"), (module, name)
            assert not name or hasattr(importlib.import_module(module), name), (module, name)
