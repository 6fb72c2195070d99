"""``textgen doctor``: what works on this machine, and what to install for the rest."""

from __future__ import annotations

import typer

from textgen.cli.parameters import AsJson


def doctor(as_json: AsJson = False) -> None:
    """Tell what is installed and really works, and what to do about the rest; exit code 1 if something is broken."""
    import json
    import platform
    from dataclasses import asdict

    from textgen import __version__
    from textgen.errors import PluginError
    from textgen.generation.runtime import Check
    from textgen.plugins.faults import describe
    from textgen.plugins.registry import plugins

    found = plugins()
    findings = [Check(f"textgen {__version__}, Python {platform.python_version()}", "works")]
    findings += [Check(str(problem), "broken", "update or uninstall it") for problem in found.problems]
    for provided in found.provided("runtime"):
        try:
            findings += found.get("runtime", provided.name).diagnose()
        except Exception as error:  # a plugin's runtime may raise anything
            advice = str(error) if isinstance(error, PluginError) else describe(error)
            findings.append(Check(f"runtime {provided.name} of {provided.plugin.origin}", "broken", advice))
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        for finding in findings:
            advice = f": {finding.advice}" if finding.advice else ""
            print(f"{finding.status:<7} {finding.what}{advice}")
    if any(finding.status == "broken" for finding in findings):
        raise typer.Exit(1)
