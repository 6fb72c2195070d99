"""The command line: a module for each command, and errors on one line."""

from __future__ import annotations

import atexit
import gc
import io
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from textgen import __version__
from textgen.base.console import bare, made_visible, notice, say
from textgen.base.environment import is_strict
from textgen.base.machine import usable_cores
from textgen.base.streams import (
    claim_stdout,
    leave_stdout,
    move_stdout,
    move_stdout_back,
    print_result,
    results,
    stdout_for_results,
)
from textgen.errors import OptionError, PluginError, TextgenError, one_line
from textgen.plugins import registry
from textgen.plugins.discovery import import_object
from textgen.plugins.faults import allow_exits, describe, refuse_exits

#: How pydantic begins to say that a value does not suit its option, and how textgen says it.
_RULES = {
    "Input should be greater than or equal to": "it must be at least",
    "Input should be less than or equal to": "it must be at most",
    "Input should be a valid integer, unable to parse string as an integer": "it must be a whole number",
    "Input should be a valid number, unable to parse string as a number": "it must be a number",
}

#: textgen's own commands: the function or ``typer.Typer`` of each, and its line in the help.
COMMANDS = {
    "train": ("textgen.cli.train:train", "Train a model on a corpus, or resume a stopped run."),
    "sample": ("textgen.cli.sample.command:sample", "Write text with a trained model."),
    "export": ("textgen.cli.export:export", "Export a run to files that need no TensorFlow."),
    "evaluate": ("textgen.cli.evaluate:evaluate", "Measure a run on held-out text, and the texts that it writes."),
    "options": ("textgen.cli.options:options", "List every option: type, range, default and meaning."),
    "doctor": ("textgen.cli.doctor:doctor", "Check what works on this machine, and what is missing."),
    "corpora": ("textgen.cli.corpora:app", "List, describe and download corpora."),
    "runs": ("textgen.cli.runs:app", "List the runs, or show one."),
    "plugins": ("textgen.cli.plugins:app", "List, examine and describe plugins, or create one."),
}


class Root(TyperGroup):
    """The commands of textgen and those of plugins; a command is imported when it is used."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, (_, summary) in COMMANDS.items():
            self.add_command(TyperCommand(name, help=summary))
        for provided in registry.plugins().provided("command"):
            if provided.name in COMMANDS:
                owner = provided.plugin.distribution
                notice(f"the command {provided.name!r} of {owner} is ignored: textgen has its own")
            else:
                self.add_command(TyperCommand(provided.name, help=provided.summary))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Imports the command that was asked for."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, name and _load(name), rest

    def invoke(self, ctx: Any) -> None:
        """Runs a command. That of a plugin may exit as it likes; any other exit is a fault of a plugin."""
        try:
            super().invoke(ctx)  # whatever the command returns is not an exit code
        except SystemExit as end:
            if ctx.invoked_subcommand in COMMANDS:
                raise
            if isinstance(end.code, str):
                say(end.code)
            raise typer.Exit(1 if isinstance(end.code, str) else end.code or 0) from None
        except BrokenPipeError as error:  # typer takes each for a stdout that nobody reads
            if ctx.invoked_subcommand not in COMMANDS or not registry.plugins().culprit(error):
                raise
            raise PluginError(registry.plugins().blame(error)) from error


def _load(name: str) -> Any:
    """Imports a command."""
    command = import_object(COMMANDS[name][0]) if name in COMMANDS else registry.plugins().get("command", name)
    host = typer.Typer(add_completion=False, rich_markup_mode=None)
    host.callback()(lambda: None)  # keeps the name of a single command
    if isinstance(command, typer.Typer):
        host.add_typer(command, name=name)
    else:
        host.command(name)(command)
    root: Any = typer.main.get_command(host)
    if name in COMMANDS:
        _keep_stdout_for_results(root.commands[name])
    else:
        move_stdout_back()  # what it prints are results
        sys.stdout, sys.stderr = bare(sys.stdout), bare(sys.stderr)  # it may use colours
        allow_exits(0)
    return root.commands[name]


def _keep_stdout_for_results(command: Any) -> None:
    """Lets a command, or each command of a group, run where plugins cannot print on stdout."""
    for each in getattr(command, "commands", {}).values():
        _keep_stdout_for_results(each)
    if command.callback is not None:
        command.callback = stdout_for_results()(command.callback)


app = typer.Typer(
    name="textgen",
    cls=Root,
    help="From a text file to a small recurrent text generator that runs anywhere.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(value: bool) -> None:
    if value:
        print_result(f"textgen {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; works anywhere in a command.")
    ] = False,
    plugin: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="Load this file as a plugin; may be repeated, works anywhere."),
    ] = None,
    no_plugin: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Leave out a plugin or distribution; may be repeated, works anywhere."),
    ] = None,
) -> None:
    """Shows the options that all commands share; :class:`Shared` parses them."""


@dataclass
class Shared:
    """The options that work before and after the command, and the remaining arguments."""

    debug: bool = False
    files: list[str] = field(default_factory=list)
    without: list[str] = field(default_factory=list)
    rest: list[str] = field(default_factory=list)

    @classmethod
    def take(cls, arguments: Sequence[str]) -> Shared:
        """Takes these options off a command line; whatever follows ``--`` is left alone.

        Raises:
            OptionError: if one lacks its value.
        """
        shared, coming = cls(), iter(arguments)
        lists = {"--plugin": shared.files, "--no-plugin": shared.without}
        for argument in coming:
            option, equals, value = argument.partition("=")
            if argument == "--debug":
                shared.debug = True
            elif option in lists:
                given = value if equals else next(coming, "")
                if not given:
                    raise OptionError(f"{option} needs a value; try: textgen --help")
                lists[option].append(given)
            else:
                shared.rest.append(argument)
                if argument == "--":
                    shared.rest += coming
        return shared


def main() -> None:
    """Runs the command line and exits.

    Exit codes: 0 for success, 1 if nothing reads the output any more, 2 for a mistake of the user, 130 for Ctrl-C (and
    for a training run that was asked to stop); the command of a plugin may have its own.
    """
    _set_environment()
    # Imports create many objects that stay. By default, Python looks for garbage among them after every 700 new ones
    # and once more at exit, which takes a fifth of the time of a short command.
    gc.set_threshold(100_000)
    atexit.register(gc.freeze)
    _open_streams()
    claim_stdout()
    output = results()
    refuse_exits()
    shared = Shared(debug="--debug" in sys.argv)
    code: Any = 1
    try:
        shared = Shared.take(sys.argv[1:])
        if shared.files or shared.without:
            registry.use_plugins(files=shared.files, without=shared.without)
        code = typer.main.get_command(app).main(shared.rest, prog_name="textgen", standalone_mode=False)
        if not output.closed:
            output.flush()
    except BrokenPipeError:
        code = 1  # the reader has seen enough, as in `textgen sample | head`
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except BaseException as error:  # a plugin may raise anything
        if shared.debug:
            raise
        code = 130 if _was_interrupted(error) else 2
        if code == 2 and not _report(error):
            raise
    finally:
        sys.stdout = output
        _close_output()
        leave_stdout()
        allow_exits(code or 0)
    sys.exit(code)


def _set_environment() -> None:
    """Sets what libraries read as they are loaded."""
    # pydantic would read the metadata of every installed distribution to look for plugins of its own, none of which
    # textgen needs: it takes longer than importing pydantic, and fails if a single file cannot be read.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")
    if usable_cores() < (os.cpu_count() or 1):  # NumPy's libraries know of no quota
        for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ.setdefault(variable, str(usable_cores()))


def _report(error: BaseException) -> bool:
    """Reports an error in one line; ``False`` if it is textgen's own fault, for which a traceback is more useful."""
    if isinstance(error, MemoryError):
        what = describe(error).partition(": ")[2] or "an allocation failed"
        _complain(f"too little memory: {what}; use less at a time, or raise the limit")
    elif _is_help(error):
        say(error)
    elif isinstance(error, TextgenError | typer.TyperException):
        _complain(_describe(error))
    elif isinstance(error, OSError):
        culprit = registry.plugins().culprit(error)
        _complain(_describe(error) + (f" (raised by plugin {culprit[0]}, {culprit[1]})" if culprit else ""))
    else:
        blame = None if is_strict() else registry.plugins().blame(error)
        if blame is None:
            return False
        _complain(f"{blame}; see the traceback with --debug")
    return True


def _was_interrupted(error: BaseException | None) -> bool:
    """Whether an error is what a library has made of Ctrl-C: an extension module that fails keeps only its name."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        if isinstance(error, ImportError | SystemError) and "KeyboardInterrupt" in describe(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _complain(message: str) -> None:
    notice(f"error: {one_line(message)}")


def _open_streams() -> None:
    """Makes every text printable: characters that the encoding lacks become ``?``; closed streams discard all.

    On a terminal, what it would act on is made visible.
    """
    sys.stdout = sys.stdout or io.StringIO()
    sys.stderr = sys.stderr or io.StringIO()
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="replace")
    move_stdout()
    sys.stdout, sys.stderr = made_visible(sys.stdout), made_visible(sys.stderr)


def _close_output() -> None:
    """Flushes stdout, or discards the rest if that fails: Python would complain about it at exit."""
    try:
        sys.stdout.flush()
    except ValueError:
        sys.stdout = io.StringIO()  # a plugin has closed it
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_help(error: Any) -> bool:
    """Whether a usage error has the help of its command as message, as for a group without arguments."""
    context = getattr(error, "ctx", None)
    return context is not None and error.format_message() == context.get_help()


def _describe(error: Any) -> str:
    if isinstance(error, TextgenError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)
    message = error.format_message().replace(": Value error, ", ": ")
    for rule, words in _RULES.items():
        message = message.replace(rule, words)
    message = message[:1].lower() + message[1:]
    context = getattr(error, "ctx", None)
    if context is None or message.endswith("?"):
        return str(message)
    return f"{message.rstrip('.')}; try: {context.command_path} --help"
