"""The kernels depend on NumPy and Numba alone."""

import ast
import sys
from pathlib import Path

KERNELS = Path(__file__).parents[4] / "plugins/textgen_keras/kernels"

#: llvmlite comes with Numba.
ALLOWED = {"numpy", "numba", "llvmlite"}


def test_kernels_import_numpy_and_numba_alone():
    files = list(KERNELS.rglob("*.py"))
    assert files
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, path
                modules = [node.module or ""]
            elif isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            else:
                continue
            for module in modules:
                inside = module == "textgen_keras.kernels" or module.startswith("textgen_keras.kernels.")
                package = module.partition(".")[0]
                assert inside or package in ALLOWED or package in sys.stdlib_module_names, (path, module)
