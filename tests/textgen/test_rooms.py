"""The house: a floor never imports from a floor above, and what is light stays light."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: From the ground up; a folder stands for its modules.
FLOORS = {
    "values": (
        "errors",
        "files",
        "options",
        "state",
        "network",
        "id_store",
        "dataset",
        "text_statistics",
        "cluster",
        "event_log",
    ),
    "interfaces": ("corpus", "tokenizer", "model", "sampler", "exporter", "runtime"),
    "work": (
        "encoding",
        "sampling",
        "artifact",
        "run_folder",
        "checkpoint",
        "history",
        "generation",
        "continuation",
        "scoring",
        "plots",
        "evaluation_plot",
    ),
    "plugins": ("hookspecs", "discovery", "faults", "registration", "plugins", "records", "diagnosis"),
    "runs": ("loading", "plan", "run", "follower", "training", "exporting", "evaluation", "cross_validation"),
    "face": ("__init__", "__main__", "api", "text_generator", "cli", "testing"),
}
HEIGHT = {room: height for height, rooms in enumerate(FLOORS.values()) for room in rooms}

#: The templates hold packages of their own.
MODULES = sorted(path for path in (ROOT / "textgen").rglob("*.py") if "templates" not in path.parts)
PLUGINS = sorted(folder for parent in ("plugins", "exports") for folder in (ROOT / parent).glob("textgen_*"))


def imports(tree: ast.AST) -> Iterator[str]:
    """The modules that code imports when it runs, at any depth; not what is for type checkers only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for other in node.orelse:
                yield from imports(other)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        else:
            yield from imports(node)


def parse(path: Path) -> ast.AST:
    return ast.parse(path.read_text(encoding="utf-8"))


def room(name: str) -> str | None:
    """The room of ``textgen`` that an imported name is in: ``textgen.cli.runs.app`` is in ``cli``."""
    package, _, rest = name.partition(".")
    if package != "textgen":
        return None
    first = rest.partition(".")[0]
    return first if first in HEIGHT else "__init__"


def test_every_module_has_a_floor():
    rooms = {path.relative_to(ROOT / "textgen").parts[0].removesuffix(".py") for path in MODULES}
    assert rooms <= HEIGHT.keys()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_floor_imports_from_no_floor_above(path):
    own = path.relative_to(ROOT / "textgen").parts[0].removesuffix(".py")
    above = [
        name
        for name in imports(parse(path))
        if room(name) is not None and HEIGHT[room(name)] > HEIGHT[own] and name != "textgen.__version__"
    ]
    assert above == []


@pytest.mark.parametrize("folder", PLUGINS, ids=lambda path: path.name)
def test_a_bundled_plugin_imports_textgen_and_itself_only(folder):
    bundled = {other.name for other in PLUGINS} - {folder.name}
    for path in folder.rglob("*.py"):
        assert not {name for name in imports(parse(path)) if name.partition(".")[0] in bundled}, path


def test_the_core_never_imports_a_bundled_plugin():
    bundled = {folder.name for folder in PLUGINS}
    for path in MODULES:
        assert not {name for name in imports(parse(path)) if name.partition(".")[0] in bundled}, path


HEAVY = ("tensorflow", "keras", "onnxruntime", "onnx", "matplotlib", "tf2onnx", "pooch", "rich", "rapidfuzz", "numba")


def test_importing_all_of_the_core_and_every_plugin_imports_nothing_heavy():
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in MODULES
        if path.name != "__main__.py"
    ]
    program = (
        "import sys, importlib\n"
        f"for name in {modules + [folder.name for folder in PLUGINS]!r}: importlib.import_module(name)\n"
        "import textgen; textgen.load, textgen.train\n"
        "from textgen.plugins import plugins; plugins()\n"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_importing_textgen_alone_is_light():
    program = "import sys, textgen; print(*[name for name in ('numpy', 'pydantic', 'typer') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
