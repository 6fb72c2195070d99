"""``textgen plugins list``, and the commands that plugins bring."""

import json
import re
import sys
from types import SimpleNamespace

import pytest

from textgen import __version__, hookimpl
from textgen.plugins import KINDS, plugins
from textgen.testing import registered


def commands(**targets: object) -> SimpleNamespace:
    """A plugin that names commands."""

    @hookimpl
    def textgen_register_commands(register):
        for name, target in targets.items():
            register(name, target, f"Of a plugin: {name}.")

    return SimpleNamespace(textgen_register_commands=textgen_register_commands)


@pytest.fixture
def speech(tmp_path, monkeypatch):
    """A module with commands, and its name, which no other test has imported."""
    (tmp_path / "speech_of_a_plugin.py").write_text(
        """
import typer

def shout(word: str, times: int = 1, code: int = 0):
    "Say it loudly."
    print(word.upper() * times)
    if code:
        raise typer.Exit(code)
    return 5

app = typer.Typer(help="Several voices.")

@app.command()
def whisper(word: str):
    print(word.lower())

@app.command()
def fail():
    raise OSError(28, "No space left on device", "voice.txt")
"""
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield "speech_of_a_plugin"
    sys.modules.pop("speech_of_a_plugin", None)


def test_plugins_are_listed_with_what_they_provide(textgen):
    listed = textgen("plugins", "list")
    assert (listed.code, listed.err) == (0, "")
    headings = re.findall(r"^(\S+) \((\S+) (\S+)\)$", listed.out, re.MULTILINE)
    assert ("keras", "textgen-rnn", __version__) in headings
    assert ("counting", "textgen-counting", "0") in headings
    assert re.search(r"^  model +counting +Counts which id follows two others\.$", listed.out, re.MULTILINE)
    assert re.search(r"^  recipe +dinos-gru +\S", listed.out, re.MULTILINE)


def test_json_has_the_same(textgen):
    found = json.loads(textgen("plugins", "list", "--json").out)
    assert found["problems"] == []
    names = {(item["kind"], item["name"]) for plugin in found["plugins"] for item in plugin["provides"]}
    assert names == {(kind, item.name) for kind in KINDS for item in plugins().provided(kind)}
    assert ("runtime", "counting") in names
    assert all(item["summary"] for plugin in found["plugins"] for item in plugin["provides"])


def test_a_plugin_that_cannot_be_loaded_is_told_once_and_the_rest_works(process, install):
    install("broken", "import nothing_of_this_name")
    listed = process("plugins", "list", "--json")
    reason = "cannot be imported: ModuleNotFoundError: No module named 'nothing_of_this_name'"
    assert listed.err == f"textgen: plugin broken of broken 1.0: {reason}\n"
    found = json.loads(listed.out)
    assert found["problems"] == [{"plugin": "broken", "reason": reason}]
    assert "textgen-counting" in {plugin["plugin"] for plugin in found["plugins"]}
    assert process("corpora", "list", TEXTGEN_PLUGINS="").err == ""


def test_a_command_is_in_the_help_without_being_imported(textgen, speech):
    with registered(commands(shout=f"{speech}:shout")):
        shown = textgen("--help").out
        assert re.search(r"^  shout +Of a plugin: shout\.$", shown, re.MULTILINE)
        assert "shout" not in shown.partition("Commands:")[0]
        assert speech not in sys.modules
    assert "shout" not in textgen("--help").out


def test_a_function_is_a_command_with_its_own_options(textgen, speech):
    with registered(commands(shout=f"{speech}:shout")):
        assert textgen("shout", "hey", "--times", 2).out == "HEYHEY\n"
        assert textgen("shout", "hey").code == 0  # what a function returns is no exit code
        assert textgen("shout", "hey", "--code", 3).code == 3
        for flag in ("-h", "--help"):
            shown = textgen("shout", flag)
            assert (shown.code, shown.err) == (0, "")
            assert shown.out.startswith("Usage: textgen shout [OPTIONS] ")
            assert "Say it loudly." in shown.out
            assert "--times" in shown.out
        assert textgen("shout").error.endswith("; try: textgen shout --help")
        assert "--tims" in textgen("shout", "hey", "--tims", 2).error


def test_a_typer_is_a_group_of_commands(textgen, speech):
    with registered(commands(speak=f"{speech}:app")):
        assert textgen("speak", "whisper", "HEY").out == "hey\n"
        assert textgen("speak", "--help").out.startswith("Usage: textgen speak [OPTIONS] COMMAND [ARGS]...")
        assert textgen("speak", "fail").error == "voice.txt: No space left on device"
        assert textgen("speak", "sing").error == "no such command 'sing'; try: textgen speak --help"


def test_an_object_is_a_command_too(textgen):
    with registered(commands(greet=lambda: print("hello"))):
        assert textgen("greet").out == "hello\n"


def test_a_command_that_cannot_be_imported_is_one_line(textgen):
    with registered(commands(greet="nothing_of_this_name:greet")):
        error = textgen("greet", "--loudly").error
    assert error.startswith("command 'greet' of testing cannot be loaded from nothing_of_this_name:greet: ")


def test_two_owners_of_a_command_are_an_error_that_names_both(textgen):
    plugin = commands(greet=print)
    with registered(plugin, name="a", distribution="a"), registered(commands(greet=print), name="b", distribution="b"):
        assert textgen("--help").out.count("  greet ") == 1
        assert "command 'greet' is claimed by a 0 and b 0" in textgen("greet").error


def test_the_commands_of_textgen_are_its_own(textgen):
    with registered(commands(train=print)):
        shown = textgen("runs", "list", "--json")
    assert shown.err == "textgen: the command 'train' of testing is left out: textgen has its own\n"
    assert shown.out == "[]\n"
