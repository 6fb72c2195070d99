"""The command line: what it imports, how it ends, and what it prints."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from textgen import __version__
from textgen.cli import COMMANDS

TRAINING = {"tensorflow", "keras", "tf2onnx", "matplotlib", "numba"}
RUNNING = {"onnxruntime", "onnx"}
WORKING = {"numpy", "pydantic", "safetensors", "rich", "pooch", "platformdirs", "importlib.metadata", "textgen.options"}

MODULES = """
import json, sys
from textgen.cli import main
try:
    main()
finally:
    print(json.dumps([name for name, module in sys.modules.items() if module is not None]), file=sys.stderr)
"""


def imported_by(*arguments: object) -> set[str]:
    """The modules that a command imports."""
    command = [sys.executable, "-c", MODULES, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [
        (["--help"], TRAINING | RUNNING | WORKING),
        (["--version"], TRAINING | RUNNING | WORKING | {"hashlib", "secrets"}),
        (["corpora", "list"], TRAINING | RUNNING | {"numpy"}),
        (["plugins", "list"], TRAINING | RUNNING | {"numpy"}),
        (["runs", "list"], TRAINING | RUNNING),
        (["train", "--corpus", "dinos-lite", "--model", "lstm", "--dry-run"], TRAINING | RUNNING),
    ],
)
def test_light_commands_import_no_heavy_library(arguments, unwanted):
    modules = imported_by(*arguments)
    assert "textgen.cli" in modules
    assert modules & unwanted == set()


@pytest.mark.parametrize("command", [*COMMANDS, "--help"])
def test_a_command_imports_no_other_command(command):
    of_commands = {target.partition(":")[0] for target, _ in COMMANDS.values()}
    own = {COMMANDS[command][0].partition(":")[0]} if command in COMMANDS else set()
    assert imported_by(command, "--help") & of_commands == own


def test_an_export_writes_text_without_what_it_does_not_need():
    run = Path(__file__).parents[1] / "recorded" / "gru-names"
    imported_by("export", run, "--onnx", "--out", "export")  # its graphs are known from then on
    modules = imported_by("sample", "export", "--runtime", "onnx", "--seed", "1", "--length", "20")
    assert "onnxruntime" in modules
    unwanted = {"rich", "pooch", "safetensors", "onnx", "textgen.training", "textgen.evaluation", "textgen.exporting"}
    unwanted |= {"textgen.model.model", "textgen.model.fitting", "textgen.text.corpus", "textgen.text.batches"}
    unwanted |= {"concurrent.futures", "textgen_keras.models", "textgen_numpy.runtime"}
    assert modules & (TRAINING | unwanted) == set()


def test_help_names_every_command(process):
    shown = process("--help")
    assert (shown.code, shown.err) == (0, "")
    commands = re.findall(r"^  (\w+)  ", shown.out.partition("Commands:")[2], re.MULTILINE)
    own = ["train", "sample", "export", "evaluate", "options", "doctor", "corpora", "runs", "plugins"]
    assert commands == [*own, "serve", "tune"]
    assert process("-h").out == shown.out


def test_the_script_is_the_module():
    script = shutil.which("textgen", path=Path(sys.executable).parent)
    if script is None:
        pytest.skip("the script textgen is not installed beside this Python")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"textgen {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["runs"], ["corpora"], ["plugins"]])
def test_a_command_without_its_arguments_shows_its_help(textgen, arguments):
    shown = textgen(*arguments)
    assert (shown.code, shown.out) == (2, "")
    assert shown.err.startswith(f"Usage: {' '.join(['textgen', *arguments])} [OPTIONS] COMMAND")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["samle"], "no such command 'samle'. Did you mean 'sample'?"),
        (["runs", "foo"], "no such command 'foo'; try: textgen runs --help"),
        (["sample", "--lenght", "3"], "--lenght"),
        (["sample", "--num"], "'--num' requires an argument"),
        (["sample", "--num", "many"], "invalid value for '--num': it must be a whole number; try: "),
        (["sample", "--temperature", "much"], "invalid value for '--temperature': it must be a number; try: "),
        (["sample", "--length", "0"], "invalid value for '--length': it must be at least 1; try: "),
        (["sample", "--on-unknown", "guess"], "'guess' is not one of 'error', 'skip', 'unk'"),
        (["sample", "one", "two"], "unexpected extra argument"),
        (["corpora", "info"], "missing argument"),
    ],
)
def test_a_usage_error_is_one_line(textgen, arguments, error):
    assert error.lower() in textgen(*arguments).error.lower()


def test_debug_shows_the_traceback_anywhere_in_a_command(process):
    for arguments in (["--debug", "sample", "nowhere"], ["sample", "--debug", "nowhere"]):
        shown = process(*arguments)
        assert shown.code == 1
        assert "Traceback" in shown.err
        assert "ArtifactError: nowhere does not exist" in shown.err


def shell(line: str, environment: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    line = line.replace("textgen", f'"{sys.executable}" -m textgen')
    return subprocess.run(["bash", "-c", line], env=environment, capture_output=True, check=False)


needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")


@needs_bash
@pytest.mark.parametrize("options", ["--num 3000 --ignore-eos --length 60", "--num 3000 --stream"])
def test_a_reader_that_has_seen_enough_gets_no_complaint(trained, environment, options):
    line = f'textgen sample "{trained["documents"]}" --seed 1 {options} | head -1; exit ${{PIPESTATUS[0]}}'
    done = shell(line, environment)
    assert (done.returncode, done.stdout.count(b"\n"), done.stderr) == (1, 1, b"")


@needs_bash
def test_a_reader_that_reads_nothing_gets_no_complaint(environment):
    done = shell("textgen corpora list | true; exit ${PIPESTATUS[0]}", environment)
    assert (done.returncode, done.stderr) == (1, b"")


@needs_bash
def test_output_that_cannot_be_written_is_an_error(environment):
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    done = shell("textgen corpora list > /dev/full", environment)
    assert (done.returncode, done.stderr) == (2, b"textgen: error: No space left on device\n")


@needs_bash
@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-"])
def test_closed_streams_are_no_error(trained, environment, closed):
    done = shell(f'textgen sample "{trained["documents"]}" --seed 1 --stream {closed}', environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize(("encoding", "shown"), [("ascii", "Ed??"), ("utf-8:strict", "Ed\U0001f600?")])
def test_any_text_can_be_printed_in_any_encoding(trained, process, encoding, shown):
    prompt = ["--prompt", "Ed\U0001f600\udcff", "--on-unknown", "unk"]
    text = process("sample", trained["documents"], *prompt, "--seed", 1, PYTHONIOENCODING=encoding)
    assert text.code == 0
    assert text.err.startswith("textgen: parts of the prompt that are not in the vocabulary were replaced")
    assert text.out.startswith(shown)


def test_json_keeps_every_character_in_any_encoding(trained, process):
    prompt = ["--prompt", "Ed\U0001f600\udcff", "--on-unknown", "unk"]
    shown = process("sample", trained["documents"], *prompt, "--json", PYTHONIOENCODING="ascii")
    assert json.loads(shown.out)[0]["prompt"] == "Ed\U0001f600\udcff"


def test_an_error_names_a_character_in_any_encoding(trained, process):
    arguments = ["sample", trained["documents"], "--prompt", "é", "--on-unknown", "error"]
    assert r"character '\xe9' (U+00E9) at position 0" in process(*arguments, PYTHONIOENCODING="ascii").error
