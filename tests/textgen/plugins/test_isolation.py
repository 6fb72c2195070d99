"""Broken plugins: each is reported on one line that names it, and everything else works."""

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from textgen.cli import main
from textgen.errors import ArtifactError, PluginError, UnknownNameError
from textgen.plugins.recorded import check_transforms
from textgen.plugins.registry import Registry, plugins, use_plugins
from textgen.runs.artifact import Artifact
from textgen.testing import registered

HEAD = "from textgen import hookimpl\n"

#: Plugins that are skipped as a whole: the source of each, and the reason.
SKIPPED = {
    "absent-library": ("import no_such_library", "cannot be imported: ModuleNotFoundError: No module named"),
    "no-python": ("def (", "cannot be imported: SyntaxError: invalid syntax (no_python.py, line 1)"),
    "raises": ("raise ValueError('two\\nlines')", "cannot be imported: ValueError: two lines"),
    "exits": ("import sys; sys.exit('no GPU')", "cannot be imported: SystemExit: no GPU"),
    "odd": ("class Odd(BaseException): pass\nraise Odd('odd')", "cannot be imported: Odd: odd"),
    "half": (
        HEAD + "@hookimpl\ndef textgen_register_samplers(register):\n"
        "    register('lost', 'half:Lost')\n    raise KeyError('half')",
        "cannot be registered: KeyError: 'half'",
    ),
    "exits-late": (
        HEAD + "@hookimpl\ndef textgen_register_samplers(register): raise SystemExit(3)",
        "cannot be registered: SystemExit: 3",
    ),
    "shouts": (
        HEAD + "@hookimpl\ndef textgen_register_samplers(register): register('Top K', 'a:B')",
        "cannot be registered: PluginError: sampler 'Top K': names are lower case, words joined by hyphens",
    ),
    "stutters": (
        HEAD + "@hookimpl\ndef textgen_register_samplers(register):\n    register('a', 'a:B')\n"
        "    register('a', 'a:C')",
        "cannot be registered: PluginError: sampler 'a' is registered twice",
    ),
    "aimless": (
        HEAD + "@hookimpl\ndef textgen_register_samplers(register): register('a', None)",
        "cannot be registered: PluginError: sampler 'a': the target must be 'module:attribute', or the object",
    ),
    "misspelt": (
        HEAD + "@hookimpl\ndef textgen_register_sampler(register): pass",
        "cannot be registered: PluginError: unknown hook 'textgen_register_sampler'; did you mean "
        "textgen_register_samplers",
    ),
    "later": (
        HEAD + "@hookimpl\ndef weather_changed(weather): pass",
        "cannot be registered: PluginError: unknown hook 'weather_changed'; if a later textgen-rnn has it, "
        "mark it optionalhook=True",
    ),
    "curious": (
        HEAD + "@hookimpl\ndef textgen_batch_ended(loss, weather): pass",
        "cannot be registered: PluginError: textgen_batch_ended has no argument 'weather'; it has: position, loss",
    ),
    "wraps": (
        HEAD + "@hookimpl(wrapper=True)\ndef textgen_batch_ended(loss): yield",
        "cannot be registered: PluginError: textgen_batch_ended is a wrapper, and textgen never calls those; "
        "write a plain hookimpl",
    ),
    "a-class": (
        HEAD + "class Plugin:\n    @hookimpl\n    def textgen_register_samplers(self, register): pass\n"
        "import sys; sys.modules[__name__] = Plugin",
        "cannot be registered: TypeError: ",
    ),
}

#: Plugins whose hooks fail when a text is written: the body of the hook, and the reason.
SILENCED = {
    "before": ("raise ValueError('cold')", "textgen_before_generation raised ValueError: cold; "),
    "leaves": ("raise SystemExit(5)", "textgen_before_generation raised SystemExit: 5; "),
}


def install(site: Path, name: str, source: str, entry: str = "") -> None:
    """A distribution of version 1.2 with one module, named by its entry point ``name``."""
    module = name.replace("-", "_")
    if source:
        (site / f"{module}.py").write_text(source, encoding="utf-8")
    info = site / f"{module}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[textgen]\n{name} = {entry or module}\n")


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


def process(site: Path, *arguments: object, **environment: str) -> Outcome:
    """The command line in a process of its own, with what is installed in a folder."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TEXTGEN_")}
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-m", "textgen", *map(str, arguments)],
        env=inherited | {"PYTHONPATH": path} | environment,
        cwd=site,
        capture_output=True,
        text=True,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of distributions with the counting model, as the fixture ``registry`` names it."""
    folder = tmp_path / "site"
    folder.mkdir()
    install(folder, "counting", "", "textgen.testing.counting")
    info = folder / "counting-1.2.dist-info"
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: testing\nVersion: 0\n")
    return folder


def test_no_broken_plugin_stops_another_model(work, site):
    run = work.train("run").path
    sample = ["sample", run, "--seed", 1, "--num", 3]
    plain = process(site, *sample)
    assert (plain.code, plain.err) == (0, "")

    reports = []
    for name, (source, reason) in SKIPPED.items():
        install(site, name, source)
        reports.append(f"textgen: plugin {name} of {name} 1.2: {reason}")
    for name, (body, reason) in SILENCED.items():
        install(site, name, f"{HEAD}@hookimpl\ndef textgen_before_generation(request): {body}")
        reports.append(f"textgen: plugin {name} of {name} 1.2: {reason}it will be called again, and disabled if it")
    install(site, "nowhere", "")
    reports.append("textgen: plugin nowhere of nowhere 1.2: cannot be imported: ModuleNotFoundError: ")
    install(site, "twice", "", "counting_again")
    (site / "counting_again.py").write_text("import sys, textgen.testing.counting as c; sys.modules[__name__] = c")
    reports.append(
        "textgen: plugin twice of twice 1.2: cannot be registered: PluginError: textgen.testing.counting is "
    )
    install(site, "no-attribute", "x = 1", "no_attribute:plugin")
    reports.append("textgen: plugin no-attribute of no-attribute 1.2: cannot be imported: AttributeError: ")
    install(site, "binary", "")
    (site / "binary-1.2.dist-info" / "entry_points.txt").write_bytes(b"[textgen]\n\xff = \xfe\n")
    reports.append("textgen: plugin binary of binary 1.2: cannot be imported: UnicodeDecodeError: ")
    install(site, "nameless", "import no_such_library")
    (site / "nameless-1.2.dist-info" / "METADATA").unlink()
    reports.append("textgen: plugin nameless of nameless 1.2: cannot be imported: ModuleNotFoundError: ")
    install(
        site,
        "greedy-for-names",
        HEAD + "print('chatter')\n"
        "@hookimpl\ndef textgen_register_models(register): register('gru', 'a:B')\n"
        "@hookimpl\ndef textgen_register_runtimes(register): register('onnx', 'a:B')\n"
        "@hookimpl\ndef textgen_register_commands(register): register('sample', 'a:B')\n",
    )
    reports.append("textgen: the command 'sample' of greedy-for-names is ignored: textgen has its own")
    reports.append("textgen: runtime 'onnx' is claimed by greedy-for-names 1.2 and textgen-rnn ")

    among_broken = process(site, *sample)
    assert (among_broken.code, among_broken.out) == (0, plain.out)
    lines = among_broken.err.splitlines()
    lines.remove("chatter")
    for beginning in reports:
        fitting = [line for line in lines if line.startswith(beginning)]
        assert len(fitting) == 1, (beginning, among_broken.err)
        lines.remove(fitting[0])
    assert lines == []


@pytest.mark.parametrize("name", SKIPPED)
def test_strictness_raises_what_a_plugin_raises(name, tmp_path, monkeypatch, forgetting):
    source, reason = SKIPPED[name]
    install(tmp_path, name, source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("TEXTGEN_STRICT", "1")
    with pytest.raises(BaseException) as raised:
        Registry()
    assert type(raised.value).__name__ in reason


FAULTY = """
import sys
from pathlib import Path

import numpy as np

from textgen import Corpus, ModelRuntime, Sampler, hookimpl
from textgen.options import Options
from textgen.testing import CountingModel


def shout(): raise ValueError("hoarse")

def leave(code: int = 3): sys.exit(code)

def explain(): sys.exit("not today")

class Raises(Sampler):
    def transform(self, logits, parameters, seen): raise ValueError("no idea")

class Exits(Raises):
    def transform(self, logits, parameters, seen): sys.exit(0)

class Reads(Raises):
    def transform(self, logits, parameters, seen): return Path("nowhere.txt").read_text()

class Shapeless(Raises):
    def transform(self, logits, parameters, seen): return np.zeros((7, 3), np.float32)

class Unmade(Raises):
    def __init__(self, options): raise RuntimeError("no licence")

class NoOptions:
    pass

class Unfit(CountingModel):
    def fit(self, dataset, run): raise IndexError("off the end")

class Stillborn(CountingModel):
    def __init__(self, options, vocab_size): raise ZeroDivisionError

class Closed(ModelRuntime):
    @classmethod
    def open(cls, artifact, make_model, device="auto"): raise TypeError("shut")
    @classmethod
    def diagnose(cls): raise TypeError("shut")

class Silent(Corpus):
    layout = "documents"
    def documents(self): raise UnicodeError("mumbled")
    def provenance(self): raise NotImplementedError


@hookimpl
def textgen_register_samplers(register):
    for each in (Raises, Exits, Reads, Shapeless, Unmade, NoOptions):
        register(each.__name__.lower(), each)
    register("lost", "no_such_module:Lost")
    register("leaving", "acme_leaving:Leaving")

@hookimpl
def textgen_register_models(register):
    register("unfit", "acme_faulty:Unfit")
    register("stillborn", "acme_faulty:Stillborn")

@hookimpl
def textgen_register_runtimes(register): register("closed", Closed)

@hookimpl
def textgen_register_corpora(register): register("silent", Silent)

@hookimpl
def textgen_register_commands(register):
    for each in (shout, leave, explain):
        register(each.__name__, each)
    register("table", {"a": 1})
"""

Command = Callable[..., Outcome]


@pytest.fixture
def textgen(tmp_path, monkeypatch, command_line) -> Iterator[Command]:
    """The command line in this process, with a plugin that fails in every way once it is used."""
    folder = tmp_path / "faulty"
    folder.mkdir()
    (folder / "acme_faulty.py").write_text(FAULTY)
    (folder / "acme_leaving.py").write_text("raise SystemExit('left')")
    monkeypatch.syspath_prepend(folder)

    def call(*arguments: object) -> Outcome:
        return Outcome(*command_line(*arguments))

    with registered(importlib.import_module("acme_faulty"), name="faulty", distribution="acme"):
        yield call
    del sys.modules["acme_faulty"]


FAILED = "plugin faulty of acme 0 failed: "

#: Without it, a file of short lines gets a notice.
LINES = ("--set", "corpus.layout=lines")


@pytest.mark.parametrize(
    ("sampler", "error"),
    [
        ("raises", f"{FAILED}ValueError: no idea (FILE:19); see the traceback with --debug"),
        ("exits", f"{FAILED}SystemExit: 0 (FILE:22); see the traceback with --debug"),
        ("reads", "nowhere.txt: No such file or directory (raised by plugin faulty of acme 0, FILE:25)"),
        ("shapeless", "the sampler 'shapeless' of acme 0 returned float32 (7, 3) instead of logits float32 (1, "),
        ("unmade", f"{FAILED}RuntimeError: no licence (FILE:31); see the traceback with --debug"),
        ("nooptions", "plugin faulty of acme 0 in use; see the traceback with --debug"),
        ("lost", "sampler 'lost' of acme 0 cannot be loaded from no_such_module:Lost: ModuleNotFoundError: "),
        ("leaving", "sampler 'leaving' of acme 0 cannot be loaded from acme_leaving:Leaving: SystemExit: left"),
    ],
)
def test_a_sampler_that_fails_in_use_is_reported_on_one_line(textgen, work, tmp_path, sampler, error):
    run = work.train("run").path
    outcome = textgen("sample", run, "--seed", 1, "--length", 5, "--sampler", f"{sampler} | multinomial")
    assert outcome.code == 2
    assert outcome.err.startswith("textgen: error: ")
    assert outcome.err.count("\n") == 1
    assert error.replace("FILE", str(tmp_path / "faulty" / "acme_faulty.py")) in outcome.err
    assert "acme 0" in outcome.err
    assert textgen("sample", run, "--seed", 1, "--length", 5).code == 0


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["train", "WORDS", *LINES, "--model", "unfit"], f"{FAILED}IndexError: off the end ("),
        (
            ["train", "WORDS", *LINES, "--model", "stillborn"],
            "model 'stillborn' of acme 0 cannot be made: ZeroDivisionError\n",
        ),
        (["train", "--corpus", "silent", "--model", "counting"], f"{FAILED}UnicodeError: mumbled ("),
        (["sample", "RUN", "--runtime", "closed"], f"{FAILED}TypeError: shut ("),
        (["shout"], f"{FAILED}ValueError: hoarse ("),
        (["table"], "plugin faulty of acme 0 in use; see the traceback with --debug"),
    ],
)
def test_what_fails_in_use_is_reported_on_one_line(textgen, work, arguments, error):
    run = work.train("run").path
    places = {"WORDS": str(work.lines), "RUN": str(run)}
    outcome = textgen(*(places.get(argument, argument) for argument in arguments))
    reports = [line for line in outcome.err.splitlines() if line.startswith("textgen:")]
    assert (outcome.code, outcome.out, len(reports)) == (2, "", 1)
    assert outcome.err.endswith(f"{reports[0]}\n")
    assert error.rstrip("\n") in reports[0]


def test_debug_and_strict_mode_show_the_traceback(textgen, work, monkeypatch):
    sample = ["sample", work.train("run").path, "--sampler", "raises | multinomial"]
    for argument in (["--debug"], []):
        if not argument:
            monkeypatch.setenv("TEXTGEN_STRICT", "1")
        monkeypatch.setattr(sys, "argv", ["textgen", *map(str, sample), *argument])
        with pytest.raises(ValueError, match="no idea"):
            main()


def test_a_command_may_exit_as_it_likes(textgen):
    assert textgen("leave") == Outcome(3, "", "")
    assert textgen("leave", "--code", 0) == Outcome(0, "", "")
    assert textgen("explain") == Outcome(1, "", "not today\n")


def test_the_doctor_survives_a_runtime_that_does_not(textgen):
    outcome = textgen("doctor")
    assert outcome.code == 1
    assert "broken  runtime closed of acme 0: TypeError: shut\n" in outcome.out
    assert outcome.err == ""


def test_a_failure_without_a_plugin_is_a_bug_of_textgen(work, monkeypatch):
    monkeypatch.setattr("textgen.runs.folder.list_runs", lambda: 1 / 0)
    monkeypatch.setattr(sys, "argv", ["textgen", "runs", "list"])
    with pytest.raises(ZeroDivisionError):
        main()


MINE = (
    HEAD
    + """
from textgen import Sampler

class Same(Sampler):
    def transform(self, logits, parameters, seen):
        return logits

@hookimpl
def textgen_register_samplers(register):
    register("same", "mine:Same", "Changes nothing.")
"""
)


@pytest.fixture
def forgetting():
    """The plugins of this process as they were before the test."""
    from textgen.plugins import registry as module

    before, modules = module.plugins(), set(sys.modules)
    yield
    module._registry = before
    for name in set(sys.modules) - modules:
        if name in ("mine", *(skipped.replace("-", "_") for skipped in SKIPPED)):
            del sys.modules[name]


def test_a_file_is_a_plugin(tmp_path, monkeypatch, forgetting):
    (tmp_path / "mine.py").write_text(MINE)
    registry = use_plugins(files=[tmp_path / "mine.py"], without=["keras"])
    assert plugins() is registry
    provided = registry.find("sampler", "same")
    assert provided.load().__name__ == "Same"
    assert provided.plugin.name == "mine"
    assert provided.plugin.distribution == (tmp_path / "mine.py").as_posix()
    assert str(provided.plugin) == provided.plugin.distribution
    with pytest.raises(UnknownNameError):
        registry.find("model", "gru")
    monkeypatch.chdir(tmp_path)
    assert use_plugins(files=["mine.py"]).find("sampler", "same").plugin.distribution == "./mine.py"
    assert Registry(frozenset(), files=[Path("mine.py")]).get("sampler", "same")


@pytest.mark.parametrize(
    ("name", "source", "error"),
    [
        ("nowhere.py", None, "the plugin nowhere.py does not exist; check the path"),
        (".", None, "the plugin . is a folder; check the path"),
        ("mine.txt", "", "the plugin mine.txt cannot be a module: name the file with letters, digits and _, then .py"),
        ("my-own.py", "", "the plugin my-own.py cannot be a module: "),
        ("json.py", "", "plugin ./json.py: cannot be imported: PluginError: "),
        ("mine.py", "def (", "plugin ./mine.py: cannot be imported: SyntaxError: invalid syntax (mine.py, line 1)"),
        ("mine.py", "import sys; sys.exit(1)", "plugin ./mine.py: cannot be imported: SystemExit: 1"),
        (
            "mine.py",
            HEAD + "@hookimpl\ndef textgen_bach_ended(): pass",
            "plugin ./mine.py: cannot be registered: PluginError: unknown hook 'textgen_bach_ended'; "
            "did you mean textgen_batch_ended",
        ),
    ],
)
def test_a_file_that_cannot_be_a_plugin_is_an_error(tmp_path, monkeypatch, forgetting, name, source, error):
    monkeypatch.chdir(tmp_path)
    if source is not None:
        (tmp_path / name).write_text(source)
    before = plugins()
    with pytest.raises(PluginError) as raised:
        use_plugins(files=[name])
    assert str(raised.value).startswith(error)
    assert plugins() is before


def test_the_options_work_anywhere_in_a_command(work, site):
    run = work.train("run").path
    (site / "mine.py").write_text(MINE)
    install(site, "acme", "import no_such_library")
    chain = ["--seed", 1, "--sampler", "same | multinomial"]
    options = ["--plugin", "mine.py", "--no-plugin=acme"]
    first = process(site, *options, "sample", run, *chain)
    last = process(site, "sample", run, *chain, *options)
    assert (first.code, first.err) == (last.code, last.err) == (0, "")
    assert first.out == last.out == process(site, "sample", run, "--seed", 1, "--sampler", "multinomial").out

    mistakes = {
        ("--no-plugin", "acm"): "unknown plugin 'acm'; did you mean acme?",
        ("--plugin",): "--plugin needs a value; try: textgen --help",
        ("--plugin", "your.py"): "the plugin your.py does not exist; check the path",
    }
    for arguments, error in mistakes.items():
        assert process(site, "sample", run, *arguments) == Outcome(2, "", f"textgen: error: {error}\n")
    assert "unexpected extra argument" in process(site, "sample", "--", run, "--plugin", "your.py").err


def test_bundled_plugins_can_be_left_out(work, site):
    run = work.train("run").path
    without = process(site, "sample", run, "--no-plugin", "onnx", "--no-plugin", "numpy", "--seed", 1)
    assert (without.code, without.err) == (0, "")
    outcome = process(site, "sample", run, "--no-plugin", "textgen-rnn")
    assert outcome.err.startswith(f"textgen: error: {run} was made with the tokenizer ")
    assert outcome.err.endswith(", which is disabled by TEXTGEN_PLUGINS or --no-plugin; enable it\n")


def train(site: Path, *arguments: object) -> Path:
    words = site / "words.txt"
    words.write_text("\n".join(["anna", "bea", "carla", "dora", "emma", "frida"] * 4))
    out = site / "made"
    small = ["--set", "corpus.layout=lines", "--epochs", 1, "--batch-size", 4, "--set", "training.sample_every=0"]
    outcome = process(site, "train", words, "--model", "counting", *small, "--out", out, *arguments)
    assert outcome.code == 0, outcome.err
    return out


def test_a_run_records_the_file_that_it_was_made_with(site):
    (site / "mine.py").write_text(MINE)
    made = train(site, "--plugin", "mine.py", "--set", "generation.sampler=same | multinomial")
    manifest = Artifact.open(made).manifest
    assert manifest.providers["sampler same"] == "./mine.py"
    assert manifest.providers["sampler multinomial"] == "textgen-rnn"
    assert manifest.versions["./mine.py"].startswith("sha256:")

    advice = f"{made} was made with the sampler 'same' of ./mine.py, which is not loaded: add --plugin ./mine.py\n"
    assert process(site, "sample", made) == Outcome(2, "", f"textgen: error: {advice}")
    resumed = process(site, "train", "--resume", made, "--epochs", 2)
    assert resumed == Outcome(2, "", f"textgen: error: {advice}")
    assert process(site, "sample", made, "--sampler", "multinomial", "--seed", 1).err == ""
    assert process(site, "sample", made, "--plugin", "mine.py", "--seed", 1).err == ""
    (site / "mine.py").write_text(MINE + "\n# later\n")
    later = process(site, "sample", made, "--plugin", "mine.py", "--seed", 1, "--num", 2)
    assert later.code == 0
    assert (
        later.err
        == f"textgen: {made} was made with a different version of the file ./mine.py, which has changed since\n"
    )


CURRICULUM = (
    HEAD
    + """
@hookimpl
def textgen_transform_batch(batch, position):
    return batch

@hookimpl
def textgen_register_recipes(register):
    register("small", {"training": {"held_out": 0.25}}, "Holds out a quarter.")
"""
)


def test_a_run_records_its_recipe_and_who_changed_its_batches(site):
    install(site, "curriculum", CURRICULUM)
    made = train(site, "--recipe", "small")
    manifest = Artifact.open(made).manifest
    assert manifest.settings["training"]["held_out"] == 0.25
    assert manifest.providers["recipe small"] == "curriculum"
    assert manifest.transforms == ["curriculum"]
    assert manifest.versions["curriculum"] == "1.2"
    # What writes a text needs neither.
    assert process(site, "sample", made, "--seed", 1, "--no-plugin", "curriculum").err == ""
    resume = ["train", "--resume", made, "--epochs", 2]
    made_with = f"textgen: error: {made} was made with batches changed by curriculum 1.2, "
    left_out = process(site, *resume, "--no-plugin", "curriculum")
    assert left_out.err == f"{made_with}which is disabled by TEXTGEN_PLUGINS or --no-plugin; enable it\n"

    (site / "curriculum.py").write_text("import no_such_library")
    broken = process(site, *resume).err.splitlines()[-1]
    assert broken.startswith(f"{made_with}which was skipped, as it cannot be imported: ModuleNotFoundError: ")
    (site / "curriculum.py").write_text(HEAD)
    assert process(site, *resume).err.startswith(f"{made_with}and curriculum 1.2 no longer provides it: ")
    (site / "curriculum.py").write_text(CURRICULUM)
    info = site / "curriculum-1.2.dist-info"
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: curriculum\nVersion: 1.3\n")
    resumed = process(site, *resume)
    assert resumed.code == 0
    assert f"textgen: {made} was made with curriculum 1.2; this is curriculum 1.3\n" in resumed.err
    (info / "entry_points.txt").unlink()
    assert process(site, *resume).err == f'{made_with}which is not loaded: pip install "curriculum==1.2"\n'


@pytest.mark.parametrize(
    ("distribution", "version", "advice"),
    [
        ('x"; touch pwned; "', "1.2", "install it"),
        ("curriculum", '1"; touch pwned; "', "install it"),
        ("./mine.py; touch pwned", "1", "add --plugin './mine.py; touch pwned'"),
    ],
)
def test_advice_about_plugins_of_a_strangers_run_can_be_pasted(work, registry, distribution, version, advice):
    artifact = work.train("run")
    artifact.manifest.transforms = [distribution]
    artifact.manifest.versions[distribution] = version
    with pytest.raises(ArtifactError) as raised:
        check_transforms(artifact, registry)
    assert str(raised.value).endswith(f"which is not loaded: {advice}" if "add" not in advice else advice)
