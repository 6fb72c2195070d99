"""The command line: one module a command, errors as one line."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from textgen import __version__
from textgen.cli import corpora, doctor, export, plugins, runs, sample, train
from textgen.errors import TextgenError
from textgen.plugins import plugins as find_plugins

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
) -> None:
    """Take the options that every command shares."""


def _command_line() -> Any:
    """The commands of textgen, and after them those of plugins, none of which is imported yet."""
    root: Any = typer.main.get_command(app)
    own = set(root.commands)
    for name, provided in {item.name: item for item in find_plugins().provided("command")}.items():
        if name in own:
            owner = provided.plugin.distribution
            print(f"textgen: the command {name!r} of {owner} is left out: textgen has its own", file=sys.stderr)
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
            inner.command.invoke(inner)

    return run


def main() -> None:
    """Run the command line and exit.

    Exit codes: 0 for success, 1 where nobody reads the output any more, 2 for a mistake of the user's, 130 for Ctrl-C
    (a training run that was asked to stop, too); a plugin's command may have its own.
    """
    # --debug is taken here, so that it works before and after the sub-command.
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    _open_streams()
    # typer brings a click of its own, whose base of usage errors has no public name.
    usage_error: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")
    try:
        code = _command_line().main(arguments, prog_name="textgen", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        code = 1  # the reader has enough, as in `textgen sample | head`
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except Exception as error:
        if debug or not isinstance(error, TextgenError | OSError | usage_error):
            raise
        code = 2
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error, file=sys.stderr)
        else:
            print(f"textgen: error: {' '.join(_describe(error).splitlines())}", file=sys.stderr)
    _close_output()
    sys.exit(code)


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
