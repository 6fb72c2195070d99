"""The command line: one module a command, errors as one line."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from textgen import __version__
from textgen.base.console import notice
from textgen.base.environment import is_strict
from textgen.cli import corpora, doctor, evaluate, export, plugins, runs, sample, train
from textgen.errors import OptionError, TextgenError
from textgen.plugins.registry import plugins as find_plugins
from textgen.plugins.registry import use_plugins

#: Of every command, those of plugins included.
SETTINGS = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    name="textgen",
    help="From a text file to a small recurrent text generator that runs anywhere.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings=SETTINGS,
)
app.command("train")(train.train)
app.command("sample")(sample.sample)
app.command("export")(export.export)
app.command("evaluate")(evaluate.evaluate)
app.command("doctor")(doctor.doctor)
app.add_typer(corpora.app, name="corpora")
app.add_typer(runs.app, name="runs")
app.add_typer(plugins.app, name="plugins")


def _show_version(value: bool) -> None:
    if value:
        print(f"textgen {__version__}")
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
    """Show the options that every command shares; :class:`Shared` takes them."""


@dataclass
class Shared:
    """The options that work before and after the sub-command, and the arguments without them."""

    debug: bool = False
    files: list[str] = field(default_factory=list)
    without: list[str] = field(default_factory=list)
    rest: list[str] = field(default_factory=list)

    @classmethod
    def take(cls, arguments: Sequence[str]) -> Shared:
        """Take them off a command line; what follows ``--`` stays as it is.

        Raises:
            OptionError: for one without its value.
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


def own_commands() -> set[str]:
    """The names of textgen's own commands, which no plugin can have."""
    root: Any = typer.main.get_command(app)
    return set(root.commands)


def _command_line() -> Any:
    """The commands of textgen, and after them those of plugins, none of which is imported yet."""
    root: Any = typer.main.get_command(app)
    own = set(root.commands)
    for name, provided in {item.name: item for item in find_plugins().provided("command")}.items():
        if name in own:
            owner = provided.plugin.distribution
            notice(f"the command {name!r} of {owner} is left out: textgen has its own")
            continue
        stand_in = typer.Typer(add_completion=False)
        stand_in.command(
            name,
            help=provided.summary,
            add_help_option=False,
            context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
        )(_runner(name))
        root.commands[name] = typer.main.get_command(stand_in)
    return root


def _runner(name: str) -> Callable[[typer.Context], None]:
    """Imports a plugin's command when it is used, and hands all arguments on to it."""

    def run(context: typer.Context) -> None:
        command = find_plugins().get("command", name)
        host = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=SETTINGS)
        host.callback()(lambda: None)  # keeps the name of a single command
        if isinstance(command, typer.Typer):
            host.add_typer(command, name=name)
        else:
            host.command(name)(command)
        with typer.main.get_command(host).make_context("textgen", [name, *context.args]) as inner:
            try:
                inner.command.invoke(inner)
            except SystemExit as end:  # which is a fault of any other plugin
                if isinstance(end.code, str):
                    print(end.code, file=sys.stderr)
                raise typer.Exit(1 if isinstance(end.code, str) else end.code or 0) from None

    return run


def main() -> None:
    """Run the command line and exit.

    Exit codes: 0 for success, 1 where nobody reads the output any more, 2 for a mistake of the user's, 130 for Ctrl-C
    (a training run that was asked to stop, too); a plugin's command may have its own.
    """
    _open_streams()
    shared = Shared(debug="--debug" in sys.argv)
    # typer brings a click of its own, whose base of usage errors has no public name.
    usage_error: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")
    try:
        shared = Shared.take(sys.argv[1:])
        if shared.files or shared.without:
            use_plugins(files=shared.files, without=shared.without)
        code = _command_line().main(shared.rest, prog_name="textgen", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        code = 1  # the reader has enough, as in `textgen sample | head`
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except BaseException as error:  # a plugin may raise anything
        if shared.debug:
            raise
        code = 2
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error, file=sys.stderr)
        elif isinstance(error, TextgenError | usage_error):
            _complain(_describe(error))
        elif isinstance(error, OSError):
            culprit = find_plugins().culprit(error)
            _complain(_describe(error) + (f", told by plugin {culprit[0]} ({culprit[1]})" if culprit else ""))
        else:
            blame = None if is_strict() else find_plugins().blame(error)
            if blame is None:
                raise
            _complain(f"{blame}; see all of it with --debug")
    _close_output()
    sys.exit(code)


def _complain(message: str) -> None:
    notice(f"error: {' '.join(message.splitlines())}")


def _open_streams() -> None:
    """Make every text printable: what the encoding lacks becomes ``?``, a closed stream takes all."""
    sys.stdout = sys.stdout or io.StringIO()
    sys.stderr = sys.stderr or io.StringIO()
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="replace")


def _close_output() -> None:
    """Write what is left, or drop it where that is impossible: Python would complain of it at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _describe(error: Any) -> str:
    if isinstance(error, TextgenError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)
    message = error.format_message().replace(": Value error, ", ": ")
    message = message[:1].lower() + message[1:]
    context = getattr(error, "ctx", None)
    if context is None or message.endswith("?"):
        return str(message)
    return f"{message.rstrip('.')}; try: {context.command_path} --help"
