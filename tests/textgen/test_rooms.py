"""The rooms: no imports from a room above, no circles, and light imports stay light."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: The rooms of ``textgen``, from bottom to top. A folder is a room, and so is a file beside the folders.
ROOMS = (
    *(
        "errors",
        "options",
        "files",
        "base",
        "text",
        "ngrams",
        "model",
        "runs",
        "sampling",
        "generation",
        "plugins",
        "training",
        "notebook",
        "saved_run",
    ),
    *(
        "evaluation",
        "exporting",
        "bulk",
        "draft",
        "training_text",
        "text_generator",
        "api",
        "__init__",
        "testing",
        "cli",
        "__main__",
    ),
)

#: The most files in a room, and beside the rooms, that can be seen at a glance.
FILES, FILES_AT_THE_TOP = 12, 9

#: The templates hold packages of their own.
MODULES = sorted(path for path in (ROOT / "textgen").rglob("*.py") if "templates" not in path.parts)
PLUGINS = sorted(folder for parent in ("plugins", "exports") for folder in (ROOT / parent).glob("textgen_*"))


def imports(tree: ast.AST, *, of_types: bool = False) -> Iterator[str]:
    """The names that code imports, at any depth; those only for type checkers if ``of_types``."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test) and not of_types:
            for other in node.orelse:
                yield from imports(other, of_types=of_types)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        else:
            yield from imports(node, of_types=of_types)


def parse(path: Path) -> ast.AST:
    return ast.parse(path.read_text(encoding="utf-8"))


def name_of(path: Path) -> str:
    """The module of a file: ``textgen_onnx.runtime``."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[parts[0] in ("plugins", "exports") :]).removesuffix(".__init__")


#: Every module, with the modules of the project that it imports.
GRAPH: dict[str, set[str]] = {}
FILES_OF = {name_of(path): path for path in [*MODULES, *(path for folder in PLUGINS for path in folder.rglob("*.py"))]}
for module, path in FILES_OF.items():
    names = list(imports(parse(path), of_types=True))
    parents = [[".".join(name.split(".")[:size]) for size in range(name.count(".") + 1, 0, -1)] for name in names]
    GRAPH[module] = {next((each for each in chain if each in FILES_OF), module) for chain in parents} - {module}


def room(module: str) -> str:
    """The room of ``textgen`` that a module is in: ``textgen.cli.runs`` is in ``cli``."""
    return module.split(".")[1] if "." in module else "__init__"


def test_every_folder_and_file_of_the_core_is_a_room():
    assert {room(name) for name in GRAPH if name.partition(".")[0] == "textgen"} == {*ROOMS}


@pytest.mark.parametrize("name", [name_of(path) for path in MODULES])
def test_a_room_imports_from_no_room_above(name):
    height = ROOMS.index(room(name))
    above = [
        other
        for other in GRAPH[name]
        if other.partition(".")[0] == "textgen" and other != "textgen" and ROOMS.index(room(other)) > height
    ]
    assert above == []


def test_no_module_imports_itself_by_way_of_others():
    free = dict(GRAPH)  # remove modules that import nothing but removed ones, until none is left
    while taken := [name for name, others in free.items() if not others & free.keys()]:
        for name in taken:
            del free[name]
    assert sorted(free) == []


def test_a_room_can_be_seen_at_a_glance():
    folders = [ROOT / "textgen", *PLUGINS]
    for folder in [*folders, *(path for parent in folders for path in parent.rglob("*") if path.is_dir())]:
        if "templates" in folder.parts or folder.name == "__pycache__":
            continue
        files = [path.name for path in folder.iterdir() if path.is_file() and path.name != "py.typed"]
        assert len(files) <= (FILES_AT_THE_TOP + 1 if folder in folders[:1] else FILES), (folder, files)


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


def test_loading_the_plugins_imports_none_of_their_targets():
    """Every command loads all plugins; for a name, it imports the target."""
    program = (
        "import sys\n"
        "from textgen.plugins import KINDS, plugins\n"
        "assert all(plugins().provided(kind) for kind in KINDS if kind != 'command')\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    modules = set(done.stdout.split())
    names = {folder.name for folder in PLUGINS}
    assert names <= modules
    assert {name for name in modules if name.partition(".")[0] in names} == names
    assert not {*HEAVY, "numpy", "pydantic", "typer", "requests", "importlib.metadata"} & modules


def test_importing_textgen_alone_is_light():
    program = "import sys, textgen; print(*[name for name in ('numpy', 'pydantic', 'typer') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
