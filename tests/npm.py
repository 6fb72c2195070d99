"""Packages of the npm registry that tests need, installed once, in the user's cache folder."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

#: Seconds that an installation may take.
PATIENCE = 300


def npm_packages(name: str, packages: Sequence[str], kept: Sequence[str] = ("**/*",)) -> Path:
    """The folder of some packages, ``node_modules``; skips the test if they cannot be installed.

    Args:
        name: of the folder in the cache.
        packages: each with its version, ``NAME@VERSION``.
        kept: patterns of the files in ``node_modules`` that are kept; the others may be large.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "textgen-tests"
    folder = cache / "-".join([name, *(package.rpartition("@")[2] for package in packages)])
    modules = folder / "node_modules"
    if modules.is_dir():
        return modules
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is missing")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as work:
        # onnxruntime-node would download libraries for CUDA from elsewhere; this switches it off.
        environment = os.environ | {"ONNXRUNTIME_NODE_INSTALL": "skip"}
        command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", work, *packages]
        try:
            subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            pytest.skip(f"npm has not installed {', '.join(packages)} within {PATIENCE} seconds")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"npm cannot install {', '.join(packages)}: {error.stderr[-200:]}")
        installed, whole = Path(work) / "node_modules", Path(work) / "kept" / "node_modules"
        for file in {file for pattern in kept for file in installed.glob(pattern) if file.is_file()}:
            target = whole / file.relative_to(installed)
            target.parent.mkdir(parents=True, exist_ok=True)
            file.rename(target)
        try:
            whole.parent.rename(folder)
        except OSError:  # another process was first
            if not modules.is_dir():
                raise
    return modules
