"""``textgen sample --interactive``: a person and the model write a text together."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from textgen.base.console import say
from textgen.base.machine import signals_handled
from textgen.base.streams import messages

if TYPE_CHECKING:
    from textgen.draft import Choice, Draft

#: Choices that are listed at first, and characters of the text that are shown.
CHOICES, SHOWN = 9, 600

#: The mark at the end of the text, behind blanks that are not seen otherwise.
CURSOR = "\u258f"

INTRODUCTION = (
    "A number continues with this token, Enter with one that the model draws; :w lets it write on, :u takes back, "
    ":s FILE saves, :q ends, :h helps. All else is appended."
)

HELP = r"""1, 2, ...  continue with this token
Enter      let the model draw one
TEXT       append it; \n is a line feed, \t a tab, \\ a backslash
=TEXT      the same, for numbers and text that begins with : or =
:w [N]     let the model write on, by N characters at most; Ctrl-C stops it
:u         undo
:n N       list N tokens
:s FILE    save the text
:q         end and print the text; so does Ctrl-D"""

#: What a backslash and a letter stand for.
_LETTERS = {"n": "\n", "t": "\t", "\\": "\\"}


def check_terminal() -> None:
    """Check that there is a terminal to ask on.

    Raises:
        OptionError: if stdin or stderr is not a terminal.
    """
    from textgen.errors import OptionError

    if not is_terminal():
        raise OptionError(
            "--interactive needs a terminal to ask on, and stdin or stderr is a file or a pipe; leave it out, "
            "or take textgen.load(RUN).draft(PROMPT) in Python"
        )


def is_terminal() -> bool:
    """Whether there is a terminal to ask on."""
    return sys.stdin is not None and sys.stdin.isatty() and messages().isatty()


class _Interrupted(KeyboardInterrupt):
    """Ctrl-C at the prompt; any other signal ends the conversation."""


class _CtrlC:
    """The handler of Ctrl-C. It raises at the prompt alone, and only once: a second one may follow at any moment.

    Attributes:
        asks: whether a line is awaited.
        came: whether it was pressed since a line was last asked for.
    """

    def __init__(self) -> None:
        self.came = self.asks = False

    def __call__(self, number: int, frame: object) -> None:
        self.came = True
        if self.asks:
            self.asks = False
            raise _Interrupted


class Conversation:
    """The conversation about a draft, on stderr and stdin.

    Args:
        draft: that is written.
        remark: returns remarks on texts to append, a line each.
    """

    def __init__(self, draft: Draft, remark: Callable[[list[str]], list[str]]) -> None:
        self._draft = draft
        self._remark = remark
        self._choices: list[Choice] = []
        self._most = CHOICES
        self._saved: set[Path] = set()
        self._ctrl_c = _CtrlC()

    def hold(self) -> None:
        """Ask until the user ends it. In the meantime, Ctrl-C stops only what the model writes."""
        with signals_handled(self._ctrl_c, ["SIGINT"]):
            self._hold()

    def _hold(self) -> None:
        from textgen.errors import TextgenError, UnknownCharacterError

        _say_folded(INTRODUCTION.split(" "), " ")
        if self._draft.label:
            say(f"label {self._draft.label}")
        self._show_text()
        self._show_choices()
        while True:
            try:
                line = self._ask()
                if line.rstrip() == ":q":
                    return
                self._obey(line)
            except EOFError:
                say("")
                return
            except _Interrupted:
                say("\nto end: :q or Ctrl-D")
            except UnicodeDecodeError:
                say("this cannot be read: the terminal and Python have other encodings")
            except UnknownCharacterError as error:  # options cannot be given any more
                say(UnknownCharacterError(error.character, error.position, (), error.remedy))
            except TextgenError as error:
                say(error)

    def _ask(self) -> str:
        """A line from the terminal, without its end."""
        with suppress(ImportError):
            import readline  # noqa: F401 - has input() edit lines, where there is such a library
        # Only on descriptor 1 does it do so, which leads to stderr: see textgen.base.streams.move_stdout.
        former, sys.stdout = sys.stdout, sys.__stdout__ or sys.stdout
        try:
            self._ctrl_c.asks, self._ctrl_c.came = True, False
            return input("> ")
        except (KeyboardInterrupt, SystemError):
            if not self._ctrl_c.came:
                raise
            # input() calls the handler of a second signal while the exception of the first is set, and then loses it.
            raise _Interrupted from None
        finally:
            self._ctrl_c.asks = False
            sys.stdout = former

    def _show_text(self) -> None:
        say(f"\n{self._end_of_text()}{CURSOR}")

    def _end_of_text(self) -> str:
        text = self._draft.text
        return text if len(text) <= SHOWN else f"…{text[-SHOWN:]}"

    def _show_choices(self) -> None:
        self._choices = self._draft.choices(self._most)
        if self._draft.is_ended:
            say("The text has ended; :u takes that back, :s FILE saves, :q ends.")
        else:
            _say_folded(
                [f"{number} {_name(choice)} {_percentage(choice)}" for number, choice in enumerate(self._choices, 1)],
                "   ",
            )

    def _obey(self, line: str) -> None:
        """Do what a line says, and show what came of it."""
        from textgen.base import values
        from textgen.errors import OptionError

        command, _, argument = line.rstrip().partition(" ")
        argument = argument.lstrip()
        number = int(argument) if re.fullmatch("[0-9]{1,9}", argument) else argument
        if not line.startswith(":"):
            self._continue(line)
        elif command == ":w":
            self._write(values.whole_number(number, ":w N", 1, 10**9) if argument else None)
        elif command == ":u" and not argument:
            if not self._draft.undo():
                raise OptionError("there is nothing to undo")
            self._show_text()
        elif command == ":n":
            self._most = values.whole_number(number, ":n N", 1, 10**9)
        elif command == ":s":
            self._save(argument)
            return
        else:
            say(HELP)
            return
        self._show_choices()

    def _continue(self, line: str) -> None:
        """Continue the text with a choice, a text, or what the model draws."""
        from textgen.errors import OptionError

        if not line:
            self._draft.draw()
        elif re.fullmatch("[0-9]+", line):
            if not 1 <= len(line) <= 9 or not 1 <= int(line) <= len(self._choices):
                raise OptionError(f"there is no choice {line}; to append it as text, type ={line}")
            self._draft.choose(self._choices[int(line) - 1])
        else:
            text = re.sub(r"\\([nt\\])", lambda match: _LETTERS[match[1]], line.removeprefix("="))
            remarks = self._remark([text])
            self._draft.append(text)
            for remark in remarks:
                say(remark)
        self._show_text()

    def _write(self, length: int | None) -> None:
        """Let the model write on, before the user's eyes."""
        terminal, begun = messages(), self._end_of_text()
        pieces = self._draft.write(length)
        first = next(pieces)  # before anything is shown, in case it cannot
        terminal.write(f"\n{begun}{first}")
        while not self._ctrl_c.came and (piece := next(pieces, None)) is not None:
            terminal.write(piece)
            terminal.flush()
        say(CURSOR)

    def _save(self, name: str) -> None:
        from textgen.errors import OptionError
        from textgen.files.writing import write_atomically
        from textgen.runs.output import check_output

        if not name:
            raise OptionError("name a file, as in :s text.txt")
        try:
            path = Path(name).expanduser()
            check_output(path, ":s")
            if path.exists() and path not in self._saved:
                raise OptionError(f"{path} exists; choose another name")
            write_atomically(path, f"{self._draft.text}\n".encode("utf-8", "surrogatepass"))
        except (OSError, RuntimeError, ValueError) as error:  # no such user, a code that names cannot have
            reason = getattr(error, "strerror", None) or error
            raise OptionError(f":s cannot write {name}: {reason}; choose another name") from None
        self._saved.add(path)
        say(f"saved as {path}")


def _name(choice: Choice) -> str:
    """A token in quotes, in which blanks can be seen, and line feeds and the like have a backslash."""
    if choice.is_end:
        return "end"
    return repr(choice.text) if choice.text else f"part of a character (id {choice.id})"


def _percentage(choice: Choice) -> str:
    """The probability in per cent, so that none looks like 0."""
    return f"{choice.probability:.1%}" if choice.probability >= 0.0005 else "<0.1%"


def _say_folded(parts: Iterable[str], gap: str) -> None:
    """Print parts in lines that fit the terminal; none is broken."""

    def lines() -> Iterator[str]:
        width, line = shutil.get_terminal_size().columns, ""
        for part in parts:
            if line and len(line) + len(gap) + len(part) > width:
                yield line
                line = ""
            line += gap * bool(line) + part
        yield line

    say("\n".join(lines()))
