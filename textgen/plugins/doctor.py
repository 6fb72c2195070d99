"""What is wrong with the plugins that are installed: what ``textgen plugins doctor`` tells.

What a plugin costs is measured in a Python of its own for each, which has imported no more than the command line has
when it looks for plugins.
"""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.metadata import EntryPoint, PackageNotFoundError, requires
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import pluggy

from textgen.base.version import __version__
from textgen.errors import PluginError
from textgen.plugins import hookspecs
from textgen.plugins.discovery import DISTRIBUTION, Candidate, Plugin, import_file
from textgen.plugins.faults import describe
from textgen.plugins.registration import KINDS, Provided, explain_unknown, implementations
from textgen.plugins.registry import Registry

Status = Literal["works", "note", "slow", "broken"]

#: From the least to the worst.
STATUSES: tuple[Status, ...] = ("works", "note", "slow", "broken")

#: Milliseconds that importing a plugin may take: every command waits for it.
SLOW = 250

#: Libraries that no plugin may import before one of its names is used.
HEAVY = frozenset(
    {"datasets", "jax", "keras", "matplotlib", "numba", "onnx", "onnxruntime", "pandas", "polars", "pyarrow", "scipy"}
    | {"sklearn", "tensorflow", "tf2onnx", "torch", "transformers"}
)

#: Libraries that are told of, but may be imported.
NOTED = frozenset({"numpy", "pydantic", "rich", "requests"})

_CHILD = (
    "import json, sys; order = json.loads(sys.argv[1]); sys.path[:] = order['path']; "
    "from textgen.plugins.doctor import measure; measure(order['value'], order['targets'])"
)


@dataclass(frozen=True)
class Finding:
    """Something about a plugin: how bad it is, what and what to do, and in which file (empty where unknown)."""

    status: Status
    what: str
    where: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """What there is to say of a plugin.

    Attributes:
        plugin: which.
        milliseconds: that its import takes; ``None`` where it was not imported.
        imports: the larger libraries that its import brings in.
        findings: in no order.
    """

    plugin: Plugin
    milliseconds: float | None
    imports: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def status(self) -> Status:
        """The worst of its findings."""
        return max((finding.status for finding in self.findings), key=STATUSES.index, default="works")


def diagnose(plugins: Registry, commands: Collection[str]) -> list[Diagnosis]:
    """Examine every plugin that is installed or was given as a file.

    Args:
        plugins: as they were loaded.
        commands: names of textgen's own, which no plugin can have.
    """
    left_out = set(plugins.left_out)
    return [
        Diagnosis(plugin, None, (), (Finding("note", "is left out by TEXTGEN_PLUGINS or --no-plugin"),))
        if plugin in left_out
        else _diagnose(plugins, candidate, commands)
        for plugin, candidate in plugins.candidates.items()
    ]


def _diagnose(plugins: Registry, candidate: Candidate, commands: Collection[str]) -> Diagnosis:
    plugin = candidate.plugin
    findings = [
        Finding("broken", problem.reason, problem.where) for problem in plugins.problems if problem.plugin == plugin
    ]
    findings += _requirement(plugin)
    if plugin not in plugins.plugins:
        return Diagnosis(plugin, None, (), tuple(findings))
    module = plugins.module(plugin)
    provided = [item for kind in KINDS for item in plugins.provided(kind) if item.plugin == plugin]
    findings += [*_hooks(plugins, module), *_collisions(plugins, provided, commands)]
    measured = _measure(candidate, sorted({item.target for item in provided if isinstance(item.target, str)}))
    if isinstance(measured, Finding):
        return Diagnosis(plugin, None, (), (*findings, measured))
    heavy = HEAVY.intersection(measured["imports"])
    file = getattr(module, "__file__", None) or candidate.place
    if heavy:
        what = f"imports {', '.join(sorted(heavy))} before a name of it is used; import them in the functions that do"
        findings.append(Finding("slow", what, file))
    elif measured["milliseconds"] > SLOW:
        what = f"takes {measured['milliseconds']:.0f} ms to import, which every command waits for; import less"
        findings.append(Finding("slow", what, file))
    for item in provided:
        if item.target in measured["broken"]:
            what = f"{item.kind} {item.name!r} cannot be loaded from {item.target}: {measured['broken'][item.target]}"
            findings.append(Finding("broken", what, file))
    return Diagnosis(plugin, measured["milliseconds"], tuple(measured["imports"]), tuple(findings))


def _requirement(plugin: Plugin) -> Iterator[Finding]:
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    try:
        lines = requires(plugin.distribution) or []
    except (PackageNotFoundError, ValueError):
        return
    for line in lines:
        try:
            needed = Requirement(line)
        except InvalidRequirement:
            continue
        applies = needed.marker is None or needed.marker.evaluate({"extra": ""})
        ours = applies and canonicalize_name(needed.name) == DISTRIBUTION
        if ours and not needed.specifier.contains(__version__, prereleases=True):
            yield Finding("broken", f"needs {needed}, this is {__version__}: install another version of one of them")


def _hooks(plugins: Registry, module: object) -> Iterator[Finding]:
    """Functions that look like hooks and are none, hooks of other versions, and deprecated ones."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    marked = set()
    for name, hook, _ in implementations(manager, module):
        marked.add(name)
        if hook not in plugins.hooks:  # an optional one; any other is a problem already
            what = f"{hook} is no hook of textgen-rnn {__version__}; {explain_unknown(hook, plugins.hooks)}"
            yield Finding("note", what, _place(module, name))
    for name in set(dir(module)) - marked:
        if name.startswith("textgen_") and inspect.isfunction(getattr(module, name)):
            yield Finding("broken", f"{name} is never called: mark it with @hookimpl", _place(module, name))
    if not marked:
        yield Finding("broken", "implements no hook, so it adds nothing", getattr(module, "__file__", None) or "")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        manager.register(module)
    for warning in caught:
        yield Finding("note", f"deprecated: {warning.message}", f"{warning.filename}:{warning.lineno}")


def _place(module: object, name: str) -> str:
    code = inspect.unwrap(getattr(module, name)).__code__
    return f"{code.co_filename}:{code.co_firstlineno}"


def _collisions(plugins: Registry, provided: Sequence[Provided], commands: Collection[str]) -> Iterator[Finding]:
    for item in provided:
        try:
            plugins.find(item.kind, item.name)
        except PluginError as error:
            yield Finding("broken", str(error))
        if item.kind == "command" and item.name in commands:
            yield Finding("broken", f"the command {item.name!r} is left out: textgen has its own")


def _measure(candidate: Candidate, targets: Sequence[str]) -> Mapping[str, Any] | Finding:
    """What :func:`measure` finds, the quickest of three where it is slow: a machine may be busy."""
    order = json.dumps({"path": sys.path, "value": candidate.value, "targets": targets})
    measured: dict[str, Any] = {"milliseconds": float("inf")}
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", _CHILD, order], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            what = f"ends Python when it is imported, or its targets: exit code {done.returncode}"
            return Finding("broken", what, candidate.place)
        again = json.loads(done.stdout.splitlines()[-1])
        measured = min(measured, again, key=lambda each: float(each["milliseconds"]))
        if measured["milliseconds"] <= SLOW or HEAVY.intersection(measured["imports"]):
            break
    return measured


def measure(value: str, targets: Sequence[str]) -> None:
    """Import a plugin, then its targets, and print as JSON what that took; run in a Python of its own.

    Args:
        value: of the entry point, or the path of a file.
        targets: ``"module:attribute"`` each.
    """
    before = set(sys.modules)
    broken: dict[str, str] = {}
    with redirect_stdout(sys.stderr):
        started = perf_counter()
        if value.endswith(".py"):
            import_file(Path(value))
        else:
            EntryPoint("", value, "").load()
        milliseconds = 1000 * (perf_counter() - started)
        roots = {name.partition(".")[0] for name in set(sys.modules) - before}
        for target in targets:
            try:
                EntryPoint("", target, "").load()
            except BaseException as error:  # as when it is used
                broken[target] = describe(error)
    imports = sorted(roots & (HEAVY | NOTED))
    print(json.dumps({"milliseconds": round(milliseconds, 1), "imports": imports, "broken": broken}))
