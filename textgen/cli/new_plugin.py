"""``textgen plugins new``: a package to start from."""

from __future__ import annotations

import shutil
import sys
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import typer

from textgen.errors import OptionError

#: ``common``, and a folder a kind of plugin: packages whose name is to be replaced, and otherwise as they are written.
TEMPLATES = Path(__file__).parents[1] / "templates"

Kind = Literal["corpus", "tokenizer", "model", "sampler", "exporter", "runtime"]


def new(
    name: Annotated[str, typer.Argument(help="Of the plugin: lower case, words joined by hyphens.")],
    kind: Annotated[Kind, typer.Option(help="What the plugin is.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; by default textgen-NAME here.", show_default=False)
    ] = None,
) -> None:
    """Write an installable package with a small plugin that works, its tests, and a README."""
    folder = out or Path(f"textgen-{name}")
    write_package(name, kind, folder)
    inside = "" if folder == Path() else f"cd {folder} && "
    print(f'{folder}: now try: {inside}pip install -e ".[dev]" && textgen plugins list && pytest', file=sys.stderr)
    print(f"{folder / 'README.md'} says how it is used", file=sys.stderr)


def write_package(name: str, kind: Kind, folder: Path) -> None:
    """Write the package of a plugin, whole or not at all.

    Args:
        name: lower case, words joined by hyphens; the distribution is called ``textgen-NAME``.
        kind: which template.
        folder: must be empty, or not exist.

    Raises:
        OptionError: where the name cannot be used or is taken, or the folder is in use.
    """
    from textgen.base.files import write_atomically

    _check_name(name, kind)
    is_new = not folder.exists()
    if not is_new and (not folder.is_dir() or any(folder.iterdir())):
        raise OptionError(f"{folder} exists already and is not an empty folder; choose another --out")
    files = _files(name, kind)
    try:
        for path, text in files.items():
            write_atomically(folder / path, text)
    except BaseException:
        for path in {Path(path).parts[0] for path in files}:
            shutil.rmtree(folder / path, ignore_errors=True)
            (folder / path).unlink(missing_ok=True)
        if is_new and folder.exists():
            folder.rmdir()
        raise


def _files(name: str, kind: Kind) -> dict[str, str]:
    """The files of a package by path, with the plugin's name in place of the template's."""
    words = name.split("-")
    names = {
        "template_name": "_".join(words),
        "template-name": name,
        "TemplateName": "".join(word.capitalize() for word in words),
        "template-kind": kind,
    }
    return {
        _fill_in(file.relative_to(template).as_posix(), names): _fill_in(file.read_text(encoding="utf-8"), names)
        for template in (TEMPLATES / "common", TEMPLATES / kind)
        for file in sorted(template.rglob("*"))
        if file.is_file() and file.suffix != ".pyc"
    }


def _fill_in(text: str, names: dict[str, str]) -> str:
    for placeholder, name in names.items():
        text = text.replace(placeholder, name)
    return text


def _check_name(name: str, kind: Kind) -> None:
    from textgen.plugins.registration import NAME
    from textgen.plugins.registry import plugins

    if not NAME.fullmatch(name):
        raise OptionError(f"{name!r} is no name for a plugin: use lower case letters, digits and single hyphens")
    if name.startswith("textgen-"):
        raise OptionError(f"the package will be called textgen-NAME: write {name.removeprefix('textgen-')!r}")
    owners = [item.plugin.distribution for item in plugins().provided(kind) if item.name == name]
    if owners:
        raise OptionError(f"there is a {kind} {name!r} already, of {owners[0]}; choose another name")
    package = f"textgen_{name.replace('-', '_')}"
    if find_spec(package) is not None or _is_installed(f"textgen-{name}"):
        raise OptionError(f"there is a package {package} already; choose another name")


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
