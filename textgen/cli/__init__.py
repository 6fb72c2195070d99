"""The command line: one module a command, errors as one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import typer

from textgen import __version__
from textgen.cli import corpora, doctor, export, plugins, runs, sample, train
from textgen.errors import TextgenError
from textgen.plugins import Provided
from textgen.plugins import plugins as find_plugins

app = typer.Typer(
    name="textgen",
    help="From a text file to a small recurrent text generator that runs anywhere.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
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
        typer.echo(f"textgen {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="Show the version."),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error; works anywhere in a command."),
) -> None:
    """Take the options that every command shares."""


def _runner(provided: Provided) -> Callable[[typer.Context], None]:
    """A sub-command that imports a plugin's own when it is used, and hands all arguments on to it."""

    def run(context: typer.Context) -> None:
        command = provided.load()
        if not isinstance(command, typer.Typer):
            command = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)
            command.command()(provided.load())
        code = command(context.args, prog_name=f"textgen {provided.name}", standalone_mode=False)
        if code:
            raise typer.Exit(code)

    return run


def _add_plugin_commands() -> None:
    own = {command.name for command in app.registered_commands} | {group.name for group in app.registered_groups}
    for provided in find_plugins().provided("command"):
        if provided.name in own:
            print(
                f"textgen: the command {provided.name!r} of {provided.plugin.distribution} is left out: "
                "textgen has one of that name",
                file=sys.stderr,
            )
            continue

        app.command(
            provided.name,
            help=provided.summary,
            add_help_option=False,
            context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
        )(_runner(provided))


def main() -> None:
    """Run the command line and exit: 0 for success, 2 for a mistake of the user's, 130 for Ctrl-C."""
    # --debug is taken here, so that it works before and after the sub-command.
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    # typer brings a click of its own, whose base of usage errors has no public name.
    usage_error: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")
    try:
        _add_plugin_commands()
        code = app(arguments, standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has enough, as in `textgen sample | head`; without this, Python complains at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except Exception as error:
        if debug:
            raise
        if not isinstance(error, TextgenError | OSError | usage_error):
            raise
        code = 2
        message = _describe(error)
        print(f"textgen: error: {message}", file=sys.stderr)
    sys.exit(code if isinstance(code, int) else 0)


def _describe(error: Any) -> str:
    if isinstance(error, TextgenError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)
    return str(error.format_message())
