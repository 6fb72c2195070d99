"""``textgen plugins``, and the commands of plugins."""

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import Field

from textgen import __version__, hookimpl
from textgen.options import Options
from textgen.plugins.registration import KINDS
from textgen.plugins.registry import plugins
from textgen.testing import registered

#: Without it, a file of short lines gets a notice.
LINES = ("--set", "corpus.layout=lines")


def commands(**targets: object) -> SimpleNamespace:
    """A plugin with commands."""

    @hookimpl
    def textgen_register_commands(register):
        for name, target in targets.items():
            register(name, target, f"Of a plugin: {name}.")

    return SimpleNamespace(textgen_register_commands=textgen_register_commands)


@pytest.fixture
def speech(tmp_path, monkeypatch):
    """The name of a module with commands that has not been imported yet."""
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


def test_a_plugin_that_cannot_be_loaded_is_reported_once_and_the_rest_works(process, install):
    install("broken", "import nothing_of_this_name")
    listed = process("plugins", "list", "--json")
    reason = "cannot be imported: ModuleNotFoundError: No module named 'nothing_of_this_name'"
    assert listed.err == f"textgen: plugin broken of broken 1.0: {reason}\n"
    found = json.loads(listed.out)
    (problem,) = found["problems"]
    assert (problem["plugin"], problem["distribution"], problem["reason"]) == ("broken", "broken", reason)
    assert problem["where"].endswith("broken.py:1")
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
        assert textgen("shout", "hey").code == 0  # the return value of a function is not an exit code
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
        error = textgen("speak", "fail").error
        assert error.startswith("voice.txt: No space left on device (raised by plugin temporary of testing 0, ")
        assert textgen("speak", "sing").error == "no such command 'sing'; try: textgen speak --help"


def test_an_object_is_a_command_too(textgen):
    with registered(commands(greet=lambda: print("hello"))):
        assert textgen("greet").out == "hello\n"


def test_a_command_that_cannot_be_imported_is_one_line(textgen):
    with registered(commands(greet="nothing_of_this_name:greet")):
        error = textgen("greet", "--loudly").error
    assert error.startswith("command 'greet' of testing 0 cannot be loaded from nothing_of_this_name:greet: ")


def test_two_owners_of_a_command_are_an_error_that_names_both(textgen):
    plugin = commands(greet=print)
    with registered(plugin, name="a", distribution="a"), registered(commands(greet=print), name="b", distribution="b"):
        assert textgen("--help").out.count("  greet ") == 1
        assert "command 'greet' is claimed by a 0 and b 0" in textgen("greet").error


def test_the_commands_of_textgen_are_its_own(textgen):
    with registered(commands(train=print)):
        shown = textgen("runs", "list", "--json")
    assert shown.err == "textgen: the command 'train' of testing is ignored: textgen has its own\n"
    assert shown.out == "[]\n"


HOOK = "from textgen import hookimpl\n@hookimpl\n"
SAMPLERS = f"{HOOK}def textgen_register_samplers(register): register"

#: Plugins with a finding: the source, the status, and the finding.
CASES = {
    "good": (f"{SAMPLERS}('same', 'textgen_samplers.top_k:TopK')", "works", ""),
    "absent": ("import no_such_library", "broken", "cannot be imported: ModuleNotFoundError: No module named"),
    "unwritten": ("x = 1\ndef (", "broken", "cannot be imported: SyntaxError: invalid syntax (unwritten.py, line 2)"),
    "misspelt": (f"{HOOK}def textgen_epoch_end(): pass", "broken", "did you mean textgen_epoch_ended"),
    "unmarked": (
        f"{SAMPLERS}('b', 'textgen_samplers.top_k:TopK')\ndef textgen_batch_ended(loss): pass",
        "broken",
        "textgen_batch_ended is never called: mark it with @hookimpl",
    ),
    "empty": ("x = 1", "broken", "implements no hook, so it does nothing"),
    "lost": (
        f"{SAMPLERS}('lost', 'no_such_module:Lost')",
        "broken",
        "sampler 'lost' cannot be loaded from no_such_module:Lost: ModuleNotFoundError: ",
    ),
    "taken": (
        f"{SAMPLERS}('greedy', 'textgen_samplers.top_k:TopK')",
        "broken",
        "sampler 'greedy' is claimed by taken 1.0 and textgen-rnn ",
    ),
    "trainer": (
        f"{HOOK}def textgen_register_commands(register): register('train', print)",
        "broken",
        "the command 'train' is ignored: textgen has its own",
    ),
    "later": (
        f"{SAMPLERS}('c', 'textgen_samplers.top_k:TopK')\n@hookimpl(optionalhook=True)\n"
        "def textgen_weather_changed(weather): pass",
        "note",
        f"textgen_weather_changed is not a hook of textgen-rnn {__version__}; ",
    ),
    "heavy": (
        f"import tensorflow\n{SAMPLERS}('d', 'textgen_samplers.top_k:TopK')",
        "slow",
        "imports tensorflow before one of its names is used; import them where they are used",
    ),
    "slow": (
        f"import time; time.sleep(0.3)\n{SAMPLERS}('e', 'textgen_samplers.top_k:TopK')",
        "slow",
        " ms to import, which every command waits for; import less",
    ),
    "demanding": (
        f"{SAMPLERS}('f', 'textgen_samplers.top_k:TopK')",
        "broken",
        f"needs TextGen_RNN>=99, but this is {__version__}: change the version of one of them",
    ),
}


def test_the_doctor_says_what_is_wrong_and_where(process, install, tmp_path):
    for name, (source, _, _) in CASES.items():
        install(name, source)
    metadata = tmp_path / "site" / "demanding-1.0.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text() + "Requires-Dist: numpy\nRequires-Dist: TextGen_RNN>=99\n")
    (tmp_path / "site" / "tensorflow.py").write_text("")  # stands for the library that it is named after
    spared = ["textgen-counting", "corpora", "keras", "numpy", "onnx"]
    examined = process("plugins", "doctor", "--json", *(f"--no-plugin={name}" for name in spared))
    assert examined.code == 1
    found = {each["plugin"]["name"]: each for each in json.loads(examined.out)}
    for name, (_, status, what) in CASES.items():
        findings = found[name]["findings"]
        assert found[name]["status"] == status, (name, findings)
        if what:
            (finding,) = [finding for finding in findings if finding["status"] == status]
            assert what in finding["what"]
            if name not in ("taken", "trainer", "demanding"):
                place = tmp_path / "site" / f"{name}.py"
                assert finding["where"].startswith(str(place)), (name, finding)
    assert found["unwritten"]["findings"][0]["where"].endswith("unwritten.py:2")
    assert found["unmarked"]["findings"][0]["where"].endswith("unmarked.py:4")
    assert found["heavy"]["imports"] == ["tensorflow"]
    assert found["slow"]["milliseconds"] > 300
    assert found["absent"]["milliseconds"] is None
    assert found["samplers"]["status"] == "broken"  # one of its names is claimed by another
    assert found["tokenizers"]["status"] == "works"
    assert found["tokenizers"]["milliseconds"] < found["slow"]["milliseconds"]


def test_the_doctor_finds_nothing_wrong_with_the_bundled_plugins(process, install):
    install("broken", "import nothing_of_this_name")
    examined = process("plugins", "doctor", TEXTGEN_PLUGINS="")
    assert (examined.code, examined.err) == (0, "")
    assert re.search(r"^note    broken of broken 1\.0\n        is disabled by ", examined.out, re.MULTILINE)
    assert re.search(rf"^works   keras of textgen-rnn {__version__}: \d+ ms$", examined.out, re.MULTILINE)


def test_the_doctor_survives_a_plugin_that_ends_python(process, install):
    install(
        "quits", f"import os, sys\nif 'textgen.plugins.doctor' in sys.modules: os._exit(7)\n{SAMPLERS}('same', 'a:B')"
    )
    examined = process("plugins", "doctor")
    assert examined.code == 1
    assert "ends Python when it or one of its targets is imported: exit code 7" in examined.out


def test_a_name_is_shown_with_its_options(textgen):
    shown = textgen("plugins", "show", "top-k")
    assert (shown.code, shown.err) == (0, "")
    assert "with top-k(k) in the chain" in shown.out
    assert re.search(r"^  k: whole number, at least 1, default 40\n      \S", shown.out, re.MULTILINE)
    model = textgen("plugins", "show", "gru").out
    assert re.search(r"^  --set model\.dropout=number, at least 0, below 1, default 0\.0$", model, re.MULTILINE)
    assert "--set model.input=embedding or one-hot, default embedding" in model
    assert "--set corpus.path=text or list of text, required" in textgen("plugins", "show", "file").out
    assert "  training.epochs=20\n" in textgen("plugins", "show", "dinos-gru").out


def test_what_is_shown_can_be_set(textgen):
    (shown,) = json.loads(textgen("plugins", "show", "lstm", "--json").out)
    assert (shown["kind"], shown["plugin"], shown["distribution"]) == ("model", "keras", "textgen-rnn")
    assert shown["use"] == "textgen train --model lstm"
    for option in shown["options"]:
        assert option["description"]
        value = "none" if option["default"] is None else option["default"]
        setting = ["--set", f"model.{option['name']}={value}"]
        planned = textgen("train", "--corpus", "dinos-lite", "--model", "lstm", *setting, "--dry-run")
        assert planned.code == 0, planned.err


def test_a_name_of_two_kinds_is_shown_twice_unless_one_is_chosen(textgen):
    both = json.loads(textgen("plugins", "show", "counting", "--json").out)
    assert [item["kind"] for item in both] == ["model", "runtime"]
    (one,) = json.loads(textgen("plugins", "show", "counting", "--kind", "model", "--json").out)
    assert one == both[0]
    assert [option["name"] for option in one["options"]] == ["smoothing"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["topk"], "unknown name 'topk'; did you mean top-k or top-p?"),
        (["top-k", "--kind", "model"], "unknown model 'top-k'; there are: "),
        (["top-k", "--kind", "samplers"], "unknown kind 'samplers'; did you mean sampler?"),
    ],
)
def test_a_name_that_cannot_be_shown(textgen, arguments, error):
    assert textgen("plugins", "show", *arguments).error.startswith(error)


class WatchOptions(Options):
    """Options of the plugin ``watch``."""

    every: int = Field(10, ge=1, description="Batches between two looks.")
    place: Path = Field(Path("looks"), description="Where to write.")


class Watch:
    """Follows runs."""

    Options = WatchOptions

    def __init__(self):
        self.seen = []

    @hookimpl
    def textgen_run_started(self, options, settings):
        self.seen.append((options.every, settings["plugins"]["watch"]))

    @hookimpl
    def textgen_batch_ended(self, position, loss, options):
        assert options.every >= 1


@pytest.fixture
def watch():
    plugin = Watch()
    with registered(plugin, name="watch", distribution="acme"):
        yield plugin


def test_options_of_a_plugin_are_set_validated_recorded_and_shown(textgen, watch, names):
    train = ["train", names, *LINES, "--model", "counting", "--epochs", 1]
    assert textgen(*train, "--out", "plain").code == 0
    assert textgen(*train, "--set", "plugins.watch.every=3", "--out", "set").code == 0
    Path("run.toml").write_text('[plugins.watch]\nevery = 4\nplace = "here"\n')
    assert textgen(*train, "--config", "run.toml", "--out", "configured").code == 0
    both = textgen(*train, "--config", "run.toml", "--set", "plugins.watch.every=5", "--out", "both")
    assert both.code == 0
    assert watch.seen == [
        (every, {"every": every, "place": place})
        for every, place in ((10, "looks"), (3, "looks"), (4, "here"), (5, "here"))
    ]
    manifest = json.loads(Path("both/textgen.json").read_text())
    assert manifest["settings"]["plugins"] == {"watch": {"every": 5, "place": "here"}}
    assert textgen("train", "--resume", "both", "--epochs", 2).code == 0
    assert textgen("train", "--resume", "both", "--epochs", 3, "--set", "plugins.watch.every=6").code == 0
    assert [every for every, _ in watch.seen[4:]] == [5, 6]
    changes = json.loads(Path("both/textgen.json").read_text())["changes"]
    assert changes[-1]["settings"] == {"training": {"epochs": 3}, "plugins": {"watch": {"every": 6}}}
    shown = textgen("plugins", "show", "watch")
    assert shown.out.startswith("life-cycle watch: Follows runs.\n  from watch (acme 0)\n")
    assert "  --set plugins.watch.every=whole number, at least 1, default 10\n      Batches" in shown.out
    (described,) = json.loads(textgen("plugins", "show", "watch", "--json").out)
    assert [option["name"] for option in described["options"]] == ["every", "place"]


def test_a_run_with_options_of_a_plugin_is_resumed_without_it(textgen, names):
    with registered(Watch(), name="watch", distribution="acme"):
        assert textgen("train", names, *LINES, "--model", "counting", "--epochs", 1, "--out", "run").code == 0
    resumed = textgen("train", "--resume", "run", "--epochs", 2)
    assert resumed.code == 0
    assert "textgen: run was made with options of plugins that are not loaded: watch\n" in resumed.err


@pytest.mark.parametrize(
    ("assignment", "error"),
    [
        ("plugins.watch.evry=3", "plugins.watch has no option 'evry'; did you mean every?"),
        ("plugins.watch.every=0", "plugins.watch.every must be at least 1, not 0"),
        ("plugins.wach.every=3", "no plugin 'wach' with options is loaded; did you mean watch?"),
        ("plugins.keras.every=3", "no plugin 'keras' with options is loaded; there are: watch"),
        ("plugins.watch=3", "--set 'plugins.watch=3' is not of the form plugins.NAME.option=value"),
        ("watch.every=3", "unknown table 'watch'; there are: corpus, generation, model, plugins, tokenizer, training"),
    ],
)
def test_an_option_that_no_plugin_has_is_an_error(textgen, watch, names, assignment, error):
    train = ["train", names, *LINES, "--model", "counting", "--out", "run", "--set", assignment]
    assert textgen(*train).error.startswith(error)
    assert not Path("run").exists()


def test_a_table_of_a_plugin_must_be_a_table(textgen, watch, names):
    Path("run.toml").write_text("[plugins]\nwatch = 3\n")
    error = textgen("train", names, *LINES, "--model", "counting", "--config", "run.toml").error
    assert error == "run.toml: plugins.watch must be a table, as in [plugins.watch]"
