"""Diagnoses of the installed plugins, for ``textgen plugins doctor``.

The import of each plugin is measured in a fresh Python process, which has imported no more than the command line has
when it loads plugins.
"""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import pluggy

from textgen.base.streams import stdout_for_results
from textgen.base.version import __version__
from textgen.errors import PluginError
from textgen.plugins import hookspecs
from textgen.plugins.discovery import DISTRIBUTION, Candidate, Plugin, import_file, import_object
from textgen.plugins.faults import describe
from textgen.plugins.registration import KINDS, Provided, explain_unknown, implementations
from textgen.plugins.registry import Registry

Status = Literal["works", "note", "slow", "broken"]

#: From best to worst.
STATUSES: tuple[Status, ...] = ("works", "note", "slow", "broken")

#: Milliseconds that the import of a plugin may take; every command waits for it.
SLOW = 250

#: Libraries that a plugin must not import before one of its names is used.
HEAVY = frozenset(
    {"datasets", "jax", "keras", "matplotlib", "numba", "onnx", "onnxruntime", "pandas", "polars", "pyarrow", "scipy"}
    | {"sklearn", "tensorflow", "tf2onnx", "torch", "transformers"}
)

#: Libraries that a plugin may import; the diagnosis names them.
NOTED = frozenset({"numpy", "pydantic", "rich", "requests"})

_CHILD = (
    "import json, sys; order = json.loads(sys.argv[1]); sys.path[:] = order['path']; "
    "from textgen.plugins.doctor import measure; measure(order['value'], order['targets'])"
)


@dataclass(frozen=True)
class Finding:
    """A finding about a plugin: its severity, what it is and what to do, and the file (empty if unknown)."""

    status: Status
    what: str
    where: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """The diagnosis of a plugin.

    Attributes:
        plugin: the plugin.
        milliseconds: the duration of its import; ``None`` if it was not imported.
        imports: the larger libraries that it imports.
        findings: in no particular order.
    """

    plugin: Plugin
    milliseconds: float | None
    imports: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def status(self) -> Status:
        """The status of the worst finding."""
        return max((finding.status for finding in self.findings), key=STATUSES.index, default="works")


def diagnose(registry: Registry, commands: Collection[str]) -> list[Diagnosis]:
    """Examines every plugin that is installed or was given as a file.

    Args:
        registry: the loaded plugins.
        commands: the names of textgen's own commands, which plugins cannot use.
    """
    left_out = set(registry.left_out)
    return [
        Diagnosis(plugin, None, (), (Finding("note", "is disabled by TEXTGEN_PLUGINS or --no-plugin"),))
        if plugin in left_out
        else _diagnose(registry, candidate, commands)
        for plugin, candidate in registry.candidates.items()
    ]


def _diagnose(registry: Registry, candidate: Candidate, commands: Collection[str]) -> Diagnosis:
    plugin = candidate.plugin
    findings = [
        Finding("broken", problem.reason, problem.where) for problem in registry.problems if problem.plugin == plugin
    ]
    findings += _requirement(plugin)
    if plugin not in registry.plugins:
        return Diagnosis(plugin, None, (), tuple(findings))
    module = registry.module(plugin)
    provided = [item for kind in KINDS for item in registry.provided(kind) if item.plugin == plugin]
    findings += [*_hooks(registry, module), *_collisions(registry, provided, commands)]
    measured = _measure(candidate, sorted({item.target for item in provided if isinstance(item.target, str)}))
    if isinstance(measured, Finding):
        return Diagnosis(plugin, None, (), (*findings, measured))
    heavy = HEAVY.intersection(measured["imports"])
    file = getattr(module, "__file__", None) or candidate.place
    if heavy:
        what = f"imports {', '.join(sorted(heavy))} before one of its names is used; import them where they are used"
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
            yield Finding("broken", f"needs {needed}, but this is {__version__}: change the version of one of them")


def _hooks(registry: Registry, module: object) -> Iterator[Finding]:
    """Functions that look like hooks but are not, hooks of other versions, and deprecated hooks."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    marked = set()
    for name, hook, _ in implementations(manager, module):
        marked.add(name)
        if hook not in registry.hooks:  # it is optional; any other is already a problem
            what = f"{hook} is not a hook of textgen-rnn {__version__}; {explain_unknown(hook, registry.hooks)}"
            yield Finding("note", what, _place(module, name))
    for name in set(dir(module)) - marked:
        if name.startswith("textgen_") and inspect.isfunction(getattr(module, name)):
            yield Finding("broken", f"{name} is never called: mark it with @hookimpl", _place(module, name))
    if not marked:
        yield Finding("broken", "implements no hook, so it does nothing", getattr(module, "__file__", None) or "")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        manager.register(module)
    for warning in caught:
        yield Finding("note", f"deprecated: {warning.message}", f"{warning.filename}:{warning.lineno}")


def _place(module: object, name: str) -> str:
    code = inspect.unwrap(getattr(module, name)).__code__
    return f"{code.co_filename}:{code.co_firstlineno}"


def _collisions(registry: Registry, provided: Sequence[Provided], commands: Collection[str]) -> Iterator[Finding]:
    for item in provided:
        try:
            registry.find(item.kind, item.name)
        except PluginError as error:
            yield Finding("broken", str(error))
        if item.kind == "command" and item.name in commands:
            yield Finding("broken", f"the command {item.name!r} is ignored: textgen has its own")


def _measure(candidate: Candidate, targets: Sequence[str]) -> Mapping[str, Any] | Finding:
    """The result of :func:`measure`; the fastest of three if it is slow, since the machine may be busy."""
    order = json.dumps({"path": sys.path, "value": candidate.value, "targets": targets})
    measured: dict[str, Any] = {"milliseconds": float("inf")}
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", _CHILD, order], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            what = f"ends Python when it or one of its targets is imported: exit code {done.returncode}"
            return Finding("broken", what, candidate.place)
        again = json.loads(done.stdout.splitlines()[-1])
        measured = min(measured, again, key=lambda each: float(each["milliseconds"]))
        if measured["milliseconds"] <= SLOW or HEAVY.intersection(measured["imports"]):
            break
    return measured


def measure(value: str, targets: Sequence[str]) -> None:
    """Imports a plugin, then its targets, and prints the results as JSON; run in a fresh Python process.

    Args:
        value: the value of the entry point, or the path of a file.
        targets: each ``"module:attribute"``.
    """
    before = set(sys.modules)
    broken: dict[str, str] = {}
    with stdout_for_results():
        started = perf_counter()
        if value.endswith(".py"):
            import_file(Path(value))
        else:
            import_object(value)
        milliseconds = 1000 * (perf_counter() - started)
        roots = {name.partition(".")[0] for name in set(sys.modules) - before}
        for target in targets:
            try:
                import_object(target)
            except BaseException as error:  # as Provided.load does
                broken[target] = describe(error)
    imports = sorted(roots & (HEAVY | NOTED))
    print(json.dumps({"milliseconds": round(milliseconds, 1), "imports": imports, "broken": broken}))
