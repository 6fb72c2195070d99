"""``textgen plugins new``: writes the package of a new plugin."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Literal

import typer

from textgen.cli.parameters import out_path
from textgen.errors import OptionError

#: The folder ``common`` and one folder per kind of plugin; in their files, only names are replaced.
TEMPLATES = Path(__file__).parents[1] / "templates"

Kind = Literal["corpus", "tokenizer", "model", "sampler", "exporter", "runtime", "life-cycle"]


def new(
    name: Annotated[str, typer.Argument(help="Name of the plugin: lower case, words joined by hyphens.")],
    kind: Annotated[Kind, typer.Option(help="Kind of the plugin.")],
    out: Annotated[
        Path | None,
        typer.Option(
            parser=out_path,
            metavar="PATH",
            help="Folder to write; by default textgen-NAME in this one.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write an installable package with a small working plugin, its tests, and a README."""
    from textgen.base.console import say

    folder = out or Path(f"textgen-{name}")
    write_package(name, kind, folder)
    inside = "" if folder == Path() else f"cd {folder} && "
    say(f'{folder}: now try: {inside}pip install -e ".[dev]" && textgen plugins list && pytest')
    say(f"to use it, see {folder / 'README.md'}")


def write_package(name: str, kind: Kind, folder: Path) -> None:
    """Writes the package of a plugin, completely or not at all.

    Args:
        name: lower case, words joined by hyphens; the distribution is called ``textgen-NAME``.
        kind: the template to use.
        folder: must be empty, or not exist.

    Raises:
        OptionError: if the name cannot be used or is taken, or the folder is in use.
    """
    from textgen.files.folders import write_folder
    from textgen.files.writing import write_atomically

    _check_name(name, kind)
    is_new = not folder.exists()
    if not is_new and (not folder.is_dir() or any(folder.iterdir())):
        raise OptionError(f"{folder} already exists and is not an empty folder; choose another --out")
    files = _files(name, kind)
    if is_new:
        with write_folder(folder) as work:
            for path, text in files.items():
                write_atomically(work / path, text)
        return
    try:  # an empty folder stays the one that it is: it may be the working directory
        for path, text in files.items():
            write_atomically(folder / path, text)
    except BaseException:
        for path in {Path(path).parts[0] for path in files}:
            shutil.rmtree(folder / path, ignore_errors=True)
            (folder / path).unlink(missing_ok=True)
        raise


def _files(name: str, kind: Kind) -> dict[str, str]:
    """The files of a package by path, with the name of the plugin filled in."""
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
    from importlib.util import find_spec

    from textgen.plugins.registration import NAME
    from textgen.plugins.registry import plugins

    if not NAME.fullmatch(name):
        raise OptionError(f"{name!r} is not a valid plugin name: use lower case letters, digits and single hyphens")
    if name.startswith("textgen-"):
        raise OptionError(f"the package is called textgen-NAME: write just {name.removeprefix('textgen-')!r}")
    owners = [item.plugin.distribution for item in plugins().provided(kind) if item.name == name]
    if kind == "life-cycle":
        owners = [plugin.distribution for plugin in plugins().plugins if plugin.name == name]
    if owners:
        raise OptionError(f"{owners[0]} already has a {kind} {name!r}; choose another name")
    package = f"textgen_{name.replace('-', '_')}"
    if find_spec(package) is not None or _is_installed(f"textgen-{name}"):
        raise OptionError(f"there is already a package {package}; choose another name")


def _is_installed(name: str) -> bool:
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
