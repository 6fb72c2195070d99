"""Plugins that misbehave in use: each is named in one line with exit code 2, and nothing is done that is not."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import textgen
from textgen import (
    Block,
    Corpus,
    Exporter,
    ExportReport,
    ModelRuntime,
    Provenance,
    Sampler,
    Selector,
    State,
    Tokenizer,
    hookimpl,
)
from textgen.errors import PluginError
from textgen.runs.artifact import Artifact
from textgen.testing import CountingModel, registered

Called = tuple[int, str, str]


def flawed_sampler(name: str) -> type[Sampler]:
    class Flawed(Sampler):
        def transform(self, logits, parameters, seen):
            return SAMPLERS[name](logits)

    return Flawed


def flawed_selector(name: str) -> type[Selector]:
    class Flawed(Selector):
        def select(self, logits, uniforms):
            return SELECTORS[name](logits)

    return Flawed


SAMPLERS: dict[str, Callable[[np.ndarray], object]] = {
    "nan": lambda logits: np.full_like(logits, np.nan),
    "one-nan": lambda logits: np.where(np.arange(logits.shape[1]) == 2, np.float32(np.nan), logits),
    "nothing": lambda logits: np.full_like(logits, -np.inf),
    "infinite": lambda logits: np.full_like(logits, np.inf),
    "double": lambda logits: logits.astype(np.float64),
    "whole": lambda logits: logits.astype(np.int64),
    "words": lambda logits: logits.astype(str),
    "narrow": lambda logits: logits[:, :3],
    "flat": lambda logits: logits[0],
    "none": lambda logits: None,
    "a-list": lambda logits: logits.tolist(),
    "only-padding": lambda logits: np.where(np.indices(logits.shape)[1], -np.inf, 9).astype(np.float32),
}

SELECTORS: dict[str, Callable[[np.ndarray], object]] = {
    "big": lambda logits: np.full(len(logits), 10**6, np.int32),
    "wrapping": lambda logits: np.full(len(logits), 2**32 + 1, np.int64),
    "negative": lambda logits: np.full(len(logits), -3, np.int32),
    "real": lambda logits: np.full(len(logits), 1.5),
    "short": lambda logits: np.zeros(len(logits) - 1, np.int32),
    "column": lambda logits: np.ones((len(logits), 1), np.int32),
    "forbidden": lambda logits: np.zeros(len(logits), np.int32),
    "excluded": lambda logits: logits.argmin(axis=1).astype(np.int32),
    "nobody": lambda logits: None,
}


class Texts(Corpus):
    """Documents that go wrong, by the name of the subclass."""

    layout = "documents"
    readings = 0

    def documents(self):
        Texts.readings += 1
        yield from (f"document {i}" for i in range(40))
        yield from self.more()

    def more(self):
        return ()

    def provenance(self):
        return Provenance((), licence="x")


class Raising(Texts):
    def more(self):
        yield "half"
        raise RuntimeError("half-way")


class Leaving(Texts):
    def more(self):
        sys.exit(0)


class Nothing(Texts):
    def more(self):
        return (None,)


class Number(Texts):
    def more(self):
        return (5,)


class Changing(Texts):
    def more(self):
        return (f"reading {'abc'[Texts.readings % 3]}",)


class Growing(Texts):
    def more(self):
        return ["document 1"] * Texts.readings


class Wandering(Texts):
    def more(self):
        os.chdir("/")
        print("on stdout")
        return ()


class Bytes(Tokenizer):
    """Ids that go wrong, by the name of the subclass: 0 is padding, 1 ends, and letters follow."""

    has_eos = True
    eos_id = 1
    pad_id = 0
    vocab_size = 258

    def fit(self, texts):
        for _ in texts:
            pass

    def encode(self, text, on_unknown=None):
        return np.array([2 + byte for byte in text.encode()], np.int32)

    def decode(self, ids):
        return bytes(10 if i < 2 else i - 2 for i in ids).decode("utf-8", "replace")

    def to_json(self):
        return {}

    def load_json(self, vocabulary):
        pass


class OutOfRange(Bytes):
    def encode(self, text, on_unknown=None):
        return super().encode(text) + 1000


class Floats(Bytes):
    def encode(self, text, on_unknown=None):
        return super().encode(text) * 1.0


class NoIds(Bytes):
    def encode(self, text, on_unknown=None):
        return None


class Miscounting(Bytes):
    def encode_batch(self, texts):
        ids, counts = super().encode_batch(texts)
        return ids, counts[1:]


class Undecoded(Bytes):
    def decode(self, ids):
        return b"bytes"


class Emptied(Bytes):
    vocab_size = 0


class EndBeyond(Bytes):
    eos_id = 999


class Weightless(Bytes):
    characters_per_id = np.full(258, np.nan)


class Untrained(CountingModel):
    def fit(self, dataset, run):
        pass


class Senseless(CountingModel):
    def forward(self, ids, state, lengths=None):
        logits, after = super().forward(ids, state, lengths)
        return logits * np.float32(np.nan if ids.shape[1] == 1 else 1), after  # in its texts, not in training


class Roaming(CountingModel):
    def fit(self, dataset, run):
        report = run.batch_ended

        def leave(*arguments):
            report(*arguments)
            os.chdir("/")

        run.batch_ended = leave
        super().fit(dataset, run)


class Faulty(ModelRuntime):
    """A runtime whose results go wrong, by the name of the subclass."""

    @classmethod
    def open(cls, artifact, make_model, device="auto"):
        model = make_model()
        model.load_weights(artifact.weights())
        return cls(model)


class NanLogits(Faulty):
    def forward(self, ids, state, lengths=None):
        logits, after = super().forward(ids, state, lengths)
        return logits * np.float32(np.nan), after


class NarrowLogits(Faulty):
    def forward(self, ids, state, lengths=None):
        logits, after = super().forward(ids, state, lengths)
        return logits[..., :2], after


class WrongState(Faulty):
    def forward(self, ids, state, lengths=None):
        logits, _ = super().forward(ids, state, lengths)
        return logits, State({"memory": np.zeros((len(ids), 3))})


class ShortState(Faulty):
    def prefill(self, ids, state, lengths=None):
        return State({name: array[:0] for name, array in state.items()})


class WildBlock(Faulty):
    def generate(self, ids, state, draw, uniforms):
        block = super().generate(ids, state, draw, uniforms)
        changed: Any = block.ids.astype(np.int64) + 2**32
        return Block(changed, block.state)


class ForbiddenBlock(Faulty):
    def generate(self, ids, state, draw, uniforms):
        block = super().generate(ids, state, draw, uniforms)
        return Block(block.ids * 0, block.state)


class NoBlock(Faulty):
    def generate(self, ids, state, draw, uniforms):
        return None


class Idle(Exporter):
    def export(self, source, folder):
        return ExportReport(folder, (), {})


class Lying(Exporter):
    def export(self, source, folder):
        return ExportReport(folder, ("model.bin",), {})


class Speechless(Exporter):
    def export(self, source, folder):
        return None


class Unmeasured(Exporter):
    def export(self, source, folder):
        folder.mkdir()
        (folder / "model.bin").write_text("")
        return ExportReport(folder, ("model.bin",), {"difference": float("nan")})


def registration(kind: str, *classes: type) -> Callable[..., None]:
    @hookimpl
    def register_all(register):
        for each in classes:
            register(each.__name__.lower(), each)

    register_all.__name__ = f"textgen_register_{kind}"
    return register_all


class Hostile:
    """Registers everything above."""

    textgen_register_corpora = staticmethod(
        registration("corpora", Texts, Raising, Leaving, Nothing, Number, Changing, Growing, Wandering)
    )
    textgen_register_tokenizers = staticmethod(
        registration(
            "tokenizers", Bytes, OutOfRange, Floats, NoIds, Miscounting, Undecoded, Emptied, EndBeyond, Weightless
        )
    )
    textgen_register_models = staticmethod(registration("models", Untrained, Roaming, Senseless))
    textgen_register_runtimes = staticmethod(
        registration(
            "runtimes", NanLogits, NarrowLogits, WrongState, ShortState, WildBlock, ForbiddenBlock, NoBlock, Faulty
        )
    )
    textgen_register_exporters = staticmethod(registration("exporters", Idle, Lying, Speechless, Unmeasured))

    @staticmethod
    @hookimpl
    def textgen_register_samplers(register):
        for name in SAMPLERS:
            register(name, flawed_sampler(name))
        for name in SELECTORS:
            register(name, flawed_selector(name))


@pytest.fixture
def hostile(command_line, registry, tmp_path, monkeypatch):
    """The command line, with all hostile plugins, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Texts, "readings", 0)
    with registered(Hostile(), name="hostile", distribution="acme"):
        yield command_line


@pytest.fixture
def run(hostile, work) -> Path:
    """A run whose vocabulary has a padding id, 0, which is never drawn."""
    path: Path = work.train("run", {"tokenizer": {"name": "char-eos"}}).path
    return path


def error_of(called: Called) -> str:
    """The one line of a command that failed."""
    code, out, err = called
    assert (code, out) == (2, "")
    (line,) = [line for line in err.splitlines() if line.startswith("textgen:")]
    return line


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("nan", "returned the logit nan"),
        ("one-nan", "returned the logit nan"),
        ("nothing", "leaves no id to draw"),
        ("infinite", "returned the logit inf"),
        ("double", "returned float64 (1, 6) instead of logits float32 (1, 6)"),
        ("whole", "returned int64 (1, 6) instead of"),
        ("words", "returned <U32 (1, 6) instead of"),
        ("narrow", "returned float32 (1, 3) instead of"),
        ("flat", "returned float32 (6,) instead of"),
        ("none", "returned NoneType instead of"),
        ("a-list", "returned list instead of"),
        ("only-padding", "leaves no id to draw"),
    ],
)
def test_a_sampler_is_named(hostile, run, name, fault):
    error = error_of(hostile("sample", run, "--sampler", f"{name} | multinomial", "--seed", 1))
    assert error.startswith(f"textgen: error: the sampler '{name}' of acme 0 {fault}")


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("big", "drew the id 1000000, but ids are from 0 to 5"),
        ("wrapping", "drew the id 4294967297, but ids are from 0 to 5"),
        ("negative", "drew the id -3, but ids are from 0 to 5"),
        ("real", "drew float64 (3,) instead of ids int32 (3,)"),
        ("short", "drew int32 (2,) instead of ids int32 (3,)"),
        ("column", "drew int32 (3, 1) instead of ids int32 (3,)"),
        ("forbidden", "drew the id 0, which must never be drawn"),
        ("nobody", "drew NoneType instead of ids int32 (3,)"),
    ],
)
def test_a_selector_is_named(hostile, run, name, fault):
    error = error_of(hostile("sample", run, "--sampler", name, "--num", 3, "--seed", 1))
    assert error.startswith(f"textgen: error: the sampler '{name}' of acme 0 {fault}")


def test_a_selector_may_not_draw_what_samplers_exclude(hostile, work):
    path = work.train("plain", stream=True).path  # without forbidden ids
    error = error_of(hostile("sample", path, "--sampler", "top-k(2) | excluded", "--seed", 1))
    assert "the sampler 'excluded' of acme 0 drew the id" in error
    assert "which the samplers before it exclude" in error


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("raising", "plugin hostile of acme 0 failed: RuntimeError: half-way"),
        ("leaving", "plugin hostile of acme 0 failed: SystemExit: 0"),
        ("nothing", "the corpus nothing has NoneType as document 41, which is not a text"),
        ("number", "the corpus number has int as document 41, which is not a text"),
        ("changing", "the corpus changing is not the same when it is read again"),
        ("growing", "the corpus growing is not the same when it is read again"),
    ],
)
def test_a_corpus_is_named_and_no_run_is_left(hostile, name, fault):
    assert fault in error_of(hostile("train", "--corpus", name, "--model", "counting", "--out", "made"))
    assert not Path("made").exists()


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("outofrange", "returned ids from 10"),
        ("floats", "returned float64 ("),
        ("noids", "NoneType"),
        ("miscounting", "but other numbers of ids for its"),
        ("undecoded", "decodes ids to bytes, which is not a text"),
        ("emptied", "has 0 ids"),
        ("endbeyond", "has the eos_id 999, but its vocabulary has 258"),
        ("weightless", "the tokenizer weightless does not say how many characters"),
    ],
)
def test_a_tokenizer_is_named_and_no_run_is_finished(hostile, name, fault):
    train = ["train", "--corpus", "texts", "--tokenizer", name, "--model", "counting", "--epochs", 1, "--out", "made"]
    error = error_of(hostile(*train))
    assert fault in error
    assert name in error.lower()
    if Path("made").exists():
        assert Artifact.open(Path("made")).manifest.status == "training"


def test_a_tokenizer_that_changes_after_training_is_named(hostile, monkeypatch):
    parts = ["--corpus", "texts", "--tokenizer", "bytes", "--model", "counting"]
    assert hostile("train", *parts, "--epochs", 1, "--out", "made")[0] == 0
    monkeypatch.setattr(Bytes, "encode", lambda self, text, on_unknown=None: np.array([999]))
    assert "returned ids from 999 to 999" in error_of(hostile("sample", "made", "--prompt", "doc"))
    monkeypatch.setattr(Bytes, "encode", lambda self, text, on_unknown=None: [5])
    assert "returned list instead of ids int32 [n]" in error_of(hostile("sample", "made", "--prompt", "doc"))


def test_a_model_that_trains_nothing_is_named(hostile, work):
    train = ["train", work.lines, "--set", "corpus.layout=lines", "--model", "untrained", "--out", "made"]
    assert "the model 'untrained' ended its training without reporting an epoch" in error_of(hostile(*train))
    assert Artifact.open(Path("made")).manifest.status == "training"


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("nanlogits", "returned logits that are not finite"),
        ("narrowlogits", "returned the logits float32 (3, 2) instead of float32 (3, 6)"),
        ("wrongstate", "returned a wrong state: the state does not fit the model"),
        ("shortstate", "returned the state of 0 rows instead of 3"),
        ("wildblock", "drew the id 429496"),
        ("forbiddenblock", "drew the id 0, which must never be drawn"),
        ("noblock", "wrote NoneType instead of a Block"),
    ],
)
def test_a_runtime_is_named(hostile, run, name, fault):
    sample = ["sample", run, "--num", 3, "--seed", 1, "--prompt", "abc"]
    error = error_of(hostile(*sample, "--runtime", name))
    assert error.startswith(f"textgen: error: the runtime '{name}' of acme 0 ")
    assert fault in error
    assert hostile(*sample, "--runtime", "faulty")[:2] == hostile(*sample)[:2]


@pytest.mark.parametrize("name", ["narrowlogits", "wrongstate"])
def test_a_runtime_is_named_when_a_state_is_loaded(hostile, run, name):
    sample = ["sample", run, "--num", 1, "--seed", 1, "--prompt", "abc"]
    assert hostile(*sample, "--save-state", "state")[0] == 0
    generator = textgen.load(run, runtime=name)
    with pytest.raises(PluginError, match=f"the runtime '{name}' of acme 0 returned"):
        generator.load_continuation("state")


@pytest.mark.parametrize("name", ["nanlogits", "narrowlogits", "wrongstate"])
def test_a_runtime_is_named_in_evaluation(hostile, run, name):
    assert f"the runtime '{name}' of acme 0 returned" in error_of(hostile("evaluate", run, "--runtime", name))


def test_a_model_is_named_if_its_sample_in_training_is_senseless(hostile, work):
    train = ["train", work.lines, "--set", "corpus.layout=lines", "--model", "senseless", "--out", "made"]
    assert "the model 'senseless' of acme 0 returned logits that are not finite" in error_of(hostile(*train))
    assert Artifact.open(Path("made")).manifest.status == "training"


def test_a_model_whose_logits_are_wrong_is_named(hostile, run, monkeypatch):
    forward = CountingModel.forward
    monkeypatch.setattr(CountingModel, "forward", lambda *arguments: (forward(*arguments)[0] * np.nan, None))
    assert "the runtime 'counting' of testing 0 returned logits that are not finite" in error_of(hostile("sample", run))


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("idle", "has written no file"),
        ("lying", "has not written model.bin"),
        ("speechless", "returned NoneType instead of a report"),
        ("unmeasured", "has measured no difference"),
    ],
)
def test_an_exporter_is_named(hostile, run, name, fault):
    assert f"the exporter '{name}' of acme 0 {fault}" in error_of(hostile("export", run, "--to", name))


def test_a_corpus_that_changes_the_folder_does_not_move_the_run(hostile, tmp_path):
    code, out, err = hostile("train", "--corpus", "wandering", "--model", "counting", "--epochs", 1, "--out", "made")
    assert (code, out) == (0, "made\n")
    assert "on stdout" in err
    Artifact.open(tmp_path / "made").verify()


def test_a_model_that_changes_the_folder_does_not_move_the_run(hostile, work, tmp_path):
    train = ["train", work.lines, "--set", "corpus.layout=lines", "--model", "roaming"]
    assert hostile(*train, "--epochs", 2, "--out", "made")[0] == 0
    Artifact.open(tmp_path / "made").verify()


@pytest.mark.parametrize(
    ("hook", "total"),
    [("batch_ended", 3), ("batch_ended", 9), ("epoch_ended", 7), ("epoch_ended", 14), ("epoch_ended", 21)],
)
def test_a_run_whose_folder_is_deleted_is_not_finished(hostile, work, hook, total):
    def delete(folder, position):
        if position.total == total:
            shutil.rmtree(folder)

    deleting = SimpleNamespace(**{f"textgen_{hook}": hookimpl(delete)})
    train = ["train", work.lines, "--set", "corpus.layout=lines", "--batch-size", 8, "--epochs", 3, "--out", "made"]
    with registered(deleting, name="deleting"):
        code, out, err = hostile(*train, "--model", "counting")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1] == "textgen: error: made was deleted or moved while it was trained; train again"
    assert "done: " not in err
    assert not Path("made").exists()


PRINTING = """
import atexit, os, sys, threading
from textgen import Sampler, hookimpl

def shout(where):
    print(f"{where} prints")
    os.write(1, f"{where} writes\\n".encode())
    os.system(f"echo {where} runs")
    if os.environ.get("STREAMS") == "close":
        sys.stdout.close()
        sys.stderr.close()
    if os.environ.get("STREAMS") == "none":
        sys.stdout = sys.stderr = None

def go_on():
    while not ended.wait(0.002):
        print("thread prints")

if os.environ.get("STREAMS") == "late":
    ended = threading.Event()
    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    atexit.register(lambda: (print("end prints"), ended.set(), thread.join()))
if os.environ.get("END") == "end":
    atexit.register(lambda: os._exit(0))

class Loud(Sampler):
    def transform(self, logits, parameters, seen):
        shout("sampler")
        if os.environ.get("END") == "sampler":
            os._exit(0)
        if os.environ.get("END") == "pipe":
            raise BrokenPipeError(32, "broken pipe")
        if os.environ.get("END") == "text":
            raise Unsayable
        if os.environ.get("END") == "long":
            raise RuntimeError("x" * 100_000)
        if os.environ.get("END") == "memory":
            raise MemoryError
        return logits

class Unsayable(Exception):
    def __str__(self):
        raise ValueError("no text")

def speak():
    shout("command")
    if os.environ.get("END") == "command":
        os._exit(3)

@hookimpl
def textgen_register_samplers(register):
    shout("registration")
    register("loud", Loud)

@hookimpl
def textgen_register_commands(register):
    register("speak", speak, "Speaks.")

@hookimpl
def textgen_before_generation(request):
    shout("hook")

shout("import")
if os.environ.get("END") == "import":
    os._exit(0)
"""


@pytest.fixture
def printing(tmp_path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """The command line in a process of its own, with a plugin that prints wherever it can."""
    (tmp_path / "printing.py").write_text(PRINTING)

    def call(*arguments: object, **variables: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "textgen", *map(str, arguments), "--plugin", "printing.py"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TEXTGEN_")}
        return subprocess.run(
            command, cwd=tmp_path, env=environment | variables, capture_output=True, text=True, check=False
        )

    return call


RECORDED = Path(__file__).parents[2] / "recorded" / "gru-names"


@pytest.mark.parametrize("streams", ["", "close", "none"])
def test_what_a_plugin_prints_never_reaches_stdout(printing, streams):
    sample = ["sample", RECORDED, "--runtime", "numpy", "--seed", 1, "--length", 3]
    plain = printing(*sample).stdout
    assert plain.count("\n") == 1
    loud = printing(*sample, "--sampler", "loud | temperature(1) | multinomial", STREAMS=streams)
    assert (loud.returncode, loud.stdout.count("\n")) == (0, 1), loud.stderr
    for where in ("import", "registration", "hook"):
        for how in ("prints", "writes", "runs"):
            assert f"{where} {how}" not in loud.stdout
            assert f"{where} {how}" in loud.stderr
    assert "sampler prints" in loud.stderr
    shown = printing("plugins", "list", "--json", STREAMS=streams)
    assert (shown.returncode, shown.stdout[:2], shown.stdout[-2:]) == (0, "{\n", "}\n")


def test_a_command_of_a_plugin_prints_on_stdout(printing):
    done = printing("speak")
    assert (done.returncode, sorted(done.stdout.splitlines())) == (
        0,
        ["command prints", "command runs", "command writes"],
    )


def test_threads_and_exit_functions_of_a_plugin_never_print_on_stdout(printing):
    plain = printing("sample", RECORDED, "--runtime", "numpy", "--seed", 1)
    late = printing("sample", RECORDED, "--runtime", "numpy", "--seed", 1, STREAMS="late")
    assert (late.returncode, late.stdout) == (0, plain.stdout)
    assert "thread prints" in late.stderr
    assert "end prints" in late.stderr
    assert printing("--help", STREAMS="late").stdout == printing("--help").stdout != ""


LOUD = ["sample", RECORDED, "--runtime", "numpy", "--sampler", "loud | temperature(1) | multinomial"]


def test_a_sampler_cannot_end_the_program_as_if_all_were_done(printing):
    done = printing(*LOUD, END="sampler")
    assert (done.returncode, done.stdout) == (2, "")
    assert "error: plugin ./printing.py failed: SystemExit: os._exit(0) (" in done.stderr
    assert printing("speak", END="command").returncode == 3
    missing = printing("sample", "missing", END="end")
    assert (missing.returncode, missing.stdout) == (2, "")


@pytest.mark.parametrize(
    ("end", "message"),
    [
        ("pipe", "error: plugin ./printing.py failed: BrokenPipeError: [Errno 32] broken pipe ("),
        ("text", "error: plugin ./printing.py failed: Unsayable ("),
        ("long", "error: plugin ./printing.py failed: RuntimeError: xxx"),
        ("memory", "error: too little memory: an allocation failed; use less at a time"),
    ],
)
def test_an_error_of_a_sampler_is_a_short_line(printing, end, message):
    done = printing(*LOUD, END=end)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()[-1]) < 2_000


def test_a_hook_whose_error_has_no_text_is_left_out(hostile, work):
    class Unsayable(Exception):
        def __str__(self):
            raise ValueError("no text")

    @hookimpl
    def textgen_batch_ended() -> None:
        raise Unsayable

    train = ["train", work.lines, "--set", "corpus.layout=lines", "--model", "counting", "--out", "made"]
    with registered(SimpleNamespace(textgen_batch_ended=textgen_batch_ended), name="unsayable"):
        code, out, err = hostile(*train)
    assert (code, out) == (0, "made\n")
    assert "textgen_batch_ended raised Unsayable; it failed 3 times in a row and is left out" in err


def test_a_plugin_cannot_end_the_program_as_if_all_were_done(printing):
    done = printing("sample", RECORDED, "--runtime", "numpy", END="import")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("plugin ./printing.py: cannot be imported: SystemExit: os._exit(0)\n")


def test_commands_write_results_in_one_way():
    import re

    for path in (Path(__file__).parents[3] / "textgen" / "cli").glob("*.py"):
        if path.name != "__init__.py":
            found = re.findall(r"(?<![\w.])print\(|sys\.stdout", path.read_text(encoding="utf-8"))
            assert not found, f"{path.name}: use print_result or results of textgen.base.streams"
