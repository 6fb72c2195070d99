"""``textgen doctor``: what works on this machine, and what to install for the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from textgen.base.console import folded
from textgen.base.streams import print_json, print_result
from textgen.cli.parameters import AsJson

if TYPE_CHECKING:
    from packaging.requirements import Requirement

    from textgen.generation.runtime import Check


def doctor(as_json: AsJson = False) -> None:
    """Check what works on this machine, and what to install for the rest.

    Exit code 1 if something is broken.
    """
    import platform
    from dataclasses import asdict

    from textgen import __version__
    from textgen.errors import PluginError
    from textgen.generation.runtime import Check
    from textgen.plugins.faults import describe
    from textgen.plugins.registry import plugins

    registry = plugins()
    checks = [Check(f"textgen {__version__}, Python {platform.python_version()}", "works")]
    checks += _others_of_the_name()
    checks += [Check(str(problem), "broken", "update or uninstall it") for problem in registry.problems]
    for provided in registry.provided("runtime"):
        try:
            checks += registry.get("runtime", provided.name).diagnose()
        except Exception as error:  # the runtime of a plugin may raise anything
            advice = str(error) if isinstance(error, PluginError) else describe(error)
            checks.append(Check(f"runtime {provided.name} of {provided.plugin.origin}", "broken", advice))
    checks += _extras()
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        for check in checks:
            advice = f": {check.advice}" if check.advice else ""
            print_result(folded(f"{check.status:<7} {check.what}{advice}", 8))
    if any(check.status == "broken" for check in checks):
        raise typer.Exit(1)


#: The extras that no runtime reports, and what they are for.
_EXTRAS = {"serve": "textgen serve", "bpe": "the tokenizer byte-bpe", "plots": "plots"}


def _extras() -> list[Check]:
    """What is installed of the extras that commands and plugins need."""
    from importlib.metadata import PackageNotFoundError, requires

    from packaging.requirements import Requirement

    from textgen.base.machine import distribution_version
    from textgen.generation.runtime import Check
    from textgen.plugins.discovery import DISTRIBUTION

    try:
        needed = [Requirement(line) for line in requires(DISTRIBUTION) or []]
    except PackageNotFoundError:  # it is run from its source
        return []
    checks = []
    for extra, purpose in _EXTRAS.items():
        own = [each.name for each in needed if _is_of(each, extra)]
        versions = {name: distribution_version(name) for name in own}
        if missing := [name for name, version in versions.items() if version == "unknown"]:
            remedy = f'pip install "{DISTRIBUTION}[{extra}]"'
            checks.append(Check(f"{', '.join(missing)}, for {purpose}", "absent", remedy))
        else:
            installed = ", ".join(f"{name} {version}" for name, version in versions.items())
            checks.append(Check(f"{installed}, for {purpose}", "works"))
    return checks


def _is_of(requirement: Requirement, extra: str) -> bool:
    """Whether a distribution requires something for an extra alone."""
    marker = requirement.marker
    return marker is not None and marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""})


def _others_of_the_name() -> list[Check]:
    """Other distributions that have files in a package ``textgen``, such as PyPI's project of that name."""
    from importlib.metadata import packages_distributions

    from textgen.base.machine import distribution_version
    from textgen.generation.runtime import Check
    from textgen.plugins.discovery import DISTRIBUTION

    others = sorted({*packages_distributions().get("textgen", ())} - {DISTRIBUTION})
    advice = "pip uninstall -y {name} textgen-rnn, then install textgen-rnn again, from a clone: pip install ."
    return [
        Check(
            f"{name} {distribution_version(name)}, another project that overwrites files of textgen-rnn",
            "broken",
            advice.format(name=name),
        )
        for name in others
    ]
