"""``textgen options`` lists every option, and completion knows names, runs and options."""

import json
import resource
import subprocess
import sys

import pytest

from textgen.generation.request import GenerationOptions
from textgen.options import TABLES
from textgen.plugins.registry import plugins


#: A life-cycle plugin with an option.
WATCH = '''
from pydantic import Field
from textgen import hookimpl
from textgen.options import Options as Base

class Options(Base):
    every: int = Field(10, ge=1, description="Batches between two lines.")

@hookimpl
def textgen_batch_ended(position, options):
    pass
'''


@pytest.fixture
def listed(textgen):
    def call(*arguments: str) -> list[dict]:
        groups: list[dict] = json.loads(textgen("options", *arguments, "--json").out)
        return groups

    return call


def test_every_option_of_every_table_is_listed(listed):
    registry, groups = plugins(), listed()
    assert list(dict.fromkeys(group["table"] for group in groups)) == list(TABLES)
    found = {(g["table"], g["name"]): [option["name"] for option in g["options"]] for g in groups}
    for kind in ("corpus", "tokenizer", "model"):
        for item in registry.provided(kind):
            assert found[kind, item.name] == list(registry.get(kind, item.name).Options.model_fields)
    trained = {name for (table, _), names in found.items() if table == "training" for name in names}
    for item in registry.provided("model"):
        assert trained >= registry.get("model", item.name).TrainingOptions.model_fields.keys()
    assert found["generation", None] == list(GenerationOptions.model_fields)
    assert all(option["description"] and option["type"] for group in groups for option in group["options"])


def test_an_option_has_its_type_range_default_description_and_flag(listed, textgen):
    (group,) = listed("training", "--model", "gru")
    options = {option["name"]: option for option in group["options"]}
    assert options["batch_size"] == {
        "name": "batch_size",
        "type": "whole number",
        "range": "at least 1, at most 2147483647",
        "needed": False,
        "default": 64,
        "description": "Rows per batch.",
        "flag": "--batch-size",
    }
    assert options["epochs"]["default"] == "by the length of the text"
    text = textgen("options", "training", "--model", "gru").out
    assert "  training.epochs: whole number, at least 1, at most 2147483647, default by the length of the text" in text
    (generation,) = listed("generation")
    assert [o["name"] for o in generation["options"] if o["default"] == "by the length of the text"] == ["length"]
    (model,) = listed("model", "--model", "gru")
    by_length = {o["name"] for o in model["options"] if o["default"] == "by the length of the text"}
    assert by_length == plugins().get("model", "gru").suggested_options(10**6).keys()


def test_options_of_one_plugin(listed, textgen):
    assert [(g["table"], g["name"]) for g in listed("corpus", "--corpus", "file")] == [("corpus", "file")]
    assert "unknown model 'gr'" in textgen("options", "model", "--model", "gr").error
    assert "unknown table 'modle'; did you mean model?" in textgen("options", "modle").error


def test_options_of_life_cycle_plugins(textgen, process, install):
    assert (textgen("options", "plugins").out, textgen("options", "plugins", "--json").out) == ("", "[]\n")
    assert "no loaded life-cycle plugin has options" in textgen("options", "plugins").err
    install("watch", WATCH)
    for arguments in ((), ("plugins",)):
        assert process("options", *arguments).out.endswith(
            "plugins watch\n  plugins.watch.every: whole number, at least 1, default 10\n"
            "      Batches between two lines.\n"
        )
    (group,) = json.loads(process("options", "plugins", "--json").out)
    assert (group["table"], group["name"], group["options"][0]["name"]) == ("plugins", "watch", "every")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("opt", ["options"]),
        ("train --corpus a", ["agnews"]),
        ("train --model g", ["gru"]),
        ("train --tokenizer char-", ["char-eos", "char-index"]),
        ("train --recipe dinos", ["dinos-gru"]),
        ("train --set m", ["model."]),
        ("train --set training.ep", ["training.epochs="]),
        ("train --model lstm --set model.un", ["model.units="]),
        ("train --corpus agnews --set corpus.sp", ["corpus.split="]),
        ("train --set nothing.", []),
        ("train --set p", ["plugins."]),
        ("train --set plugins.w", ["plugins.watch.every="]),
        ("train --resume 2026", ["20260101-own"]),
        ("sample 2026", ["20260101-own"]),
        ("sample --runtime n", ["numpy"]),
        ("sample --sampler top", ["top-k", "top-p"]),
        ("export --to o", ["onnx"]),
        ("options t", ["tokenizer", "training"]),
        ("options p", ["plugins"]),
        ("corpora info dinos-", ["dinos-lite"]),
        ("plugins show top-", ["top-k", "top-p"]),
        ("runs show 2026", ["20260101-own"]),
    ],
)
def test_completion(environment, install, tmp_path, line, expected):
    install("watch", WATCH)
    runs = tmp_path / "here" / "runs" / "20260101-own"
    runs.mkdir(parents=True)
    (runs / "textgen.json").write_text("{}")
    words = f"textgen {line}"
    variables = {"_TEXTGEN_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    command = [sys.executable, "-c", "import sys; sys.argv[0] = 'textgen'; from textgen.cli import main; main()"]
    done = subprocess.run(command, env={**environment, **variables}, capture_output=True, text=True, check=False)
    assert done.stdout.split() == expected
    assert done.stderr == ""


@pytest.mark.slow
def test_completion_is_quick_and_imports_no_library(environment):
    variables = {"_TEXTGEN_COMPLETE": "complete_bash", "COMP_WORDS": "textgen train --set model.u", "COMP_CWORD": "3"}
    code = (
        "import sys, atexit; sys.argv[0] = 'textgen'\n"
        "heavy = {'tensorflow', 'keras', 'numba', 'onnx', 'onnxruntime', 'pandas', 'matplotlib', 'rich'}\n"
        "atexit.register(lambda: print(sorted(heavy & set(sys.modules)), file=sys.stderr))\n"
        "from textgen.cli import main; main()"
    )
    seconds = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-c", code], env={**environment, **variables}, capture_output=True, text=True, check=False
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert (done.stdout.split(), done.stderr) == (["model.units="], "[]\n")
    assert min(seconds) < 0.8  # 0.3 s on an idle machine
