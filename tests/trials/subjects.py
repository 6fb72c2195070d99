"""What is damaged and read: small real files of every kind, and the public entry that reads each."""

import hashlib
import json
import math
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import textgen
from tests.trials import mutations
from tests.trials.mutations import Damage
from textgen.errors import LONGEST, TextgenError
from textgen.testing import tiny

TOKENIZERS = ("char-index", "string-lookup", "char-eos", "words", "byte-bpe")

QUICK: dict[str, dict[str, Any]] = {"training": {"batch_size": 8, "epochs": 1, "sample_every": 0}}


class AcceptedError(Exception):
    """What was read gives what it must not."""


@dataclass(frozen=True)
class Subject:
    """A kind of file.

    Attributes:
        share: how many of the cases it gets, relative to the others.
        folder: the base folder that is copied for each case.
        files: those that are damaged, one in each case.
        damage: damages a file.
        read: reads the copy of the folder, given the damaged file; checks what comes out.
    """

    share: int
    folder: str
    files: tuple[str, ...]
    damage: Callable[[random.Random, bytes], Damage]
    read: Callable[[Path, Path], None]


def make_base(folder: Path) -> None:
    """Trains and writes the files; takes seconds."""
    os.chdir(folder)
    words = folder / "words.txt"
    words.write_text("\n".join(tiny.WORDS) + "\n", encoding="utf-8")
    lines: dict[str, dict[str, Any]] = {"corpus": {"layout": "lines"}, **QUICK}
    textgen.train(words, "fixed-gru", settings=lines, out=folder / "gru")
    for name in TOKENIZERS:
        sized: dict[str, dict[str, Any]] = {"tokenizer": {"vocab_size": 270}} if name == "byte-bpe" else {}
        textgen.train(words, "fixed-gru", tokenizer=name, settings={**lines, **sized}, out=folder / f"of-{name}")
    textgen.export(folder / "gru", out=folder / "onnx")
    for each in (folder / "gru", *(folder / f"of-{name}" for name in TOKENIZERS)):
        shutil.rmtree(each / "plots", ignore_errors=True)
    for name in ("counting", "ngram"):
        textgen.train(words, name, settings=lines, out=folder / name)
    textgen.export(folder / "ngram", out=folder / "onnx-ngram")
    generator = textgen.load(folder / "gru", runtime="numpy")
    written = generator.sample(generator.request("a", length=9, seed=3, keep_state=True, ignore_eos=True))[0]
    assert written.continuation is not None
    shutil.copytree(folder / "gru", folder / "state")
    generator.save_continuation(folder / "state" / "a.state", written.continuation)
    _make_texts(folder / "texts")


def _make_texts(folder: Path) -> None:
    folder.mkdir()
    rows = [(f"the {word}, a tree", f'"{index % 3}"', index) for index, word in enumerate(tiny.WORDS)]
    (folder / "a.csv").write_text("text,label,n\n" + "".join(f'"{a}",{b},{c}\n' for a, b, c in rows))
    (folder / "a.tsv").write_text("text\tlabel\tn\n" + "".join(f"{a}\t{b}\t{c}\n" for a, b, c in rows))
    values = [{"text": a, "label": b, "n": c} for a, b, c in rows]
    (folder / "a.jsonl").write_text("".join(json.dumps(value) + "\n" for value in values))
    (folder / "a.json").write_text(json.dumps(values))
    (folder / "a.txt").write_text(tiny.TEXT)
    (folder / "config.toml").write_text(
        '[corpus]\nname = "tiny-documents"\n[tokenizer]\nname = "char-eos"\nmin_count = 1\n[model]\nname = "counting"\n'
        'smoothing = 0.5\n[training]\nepochs = 2\nbatch_size = 8\nlayout = "documents"\nheld_out = 0.2\nseed = 5\n'
        'pad = "longest"\npatience = 3\n[generation]\nlength = 20\nsampler = "temperature(0.8) | multinomial"\n'
        'stop = ["x", "y"]\nprompt = "a"\n'
    )
    cluster = {"cluster": {"worker": ["a:1", "b:2"], "chief": ["c:3"]}, "task": {"type": "worker", "index": 1}}
    (folder / "cluster.json").write_text(json.dumps(cluster))


def record_again(folder: Path, file: Path) -> None:
    """Records the damaged file in ``textgen.json``, so that its content is what is read."""
    manifest = folder / "textgen.json"
    about = json.loads(manifest.read_text(encoding="utf-8"))
    content = file.read_bytes()
    record = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    about["files"][file.relative_to(folder).as_posix()] = record
    manifest.write_text(json.dumps(about), encoding="utf-8")


def write(folder: Path, file: Path, runtime: str = "numpy") -> None:
    """Loads a run and writes with it."""
    if file.name != "textgen.json":
        record_again(folder, file)
    generator = textgen.load(folder, runtime=runtime)
    check_texts(generator, generator.sample(generator.request("", length=6, seed=1, score=True)))


def check_texts(generator: textgen.TextGenerator, written: list[textgen.Generation]) -> None:
    """Checks that texts are texts, ids ids, and all numbers finite."""
    for each in written:
        if not isinstance(each.text, str) or not all(0 <= i < generator.tokenizer.vocab_size for i in each.ids):
            raise AcceptedError(f"wrote {each.ids}")
        if each.log_probability is not None and not math.isfinite(each.log_probability):
            raise AcceptedError(f"the log-probability is {each.log_probability}")
        if each.ids:
            runtime = generator.runtime
            logits, state = runtime.forward(np.array([each.ids], np.int32), runtime.initial_state(1))
            if not all(np.isfinite(np.asarray(array)).all() for array in (logits, *state.values())):
                raise AcceptedError("logits or states are not finite")


def write_by_graph(folder: Path, file: Path) -> None:
    write(folder, file, "onnx")


def show(folder: Path, file: Path) -> None:
    """Lists a run, shows it, and writes with the runtime that suits it."""
    from textgen.runs.artifact import Artifact
    from textgen.runs.folder import list_runs

    os.environ["TEXTGEN_RUNS_DIR"] = str(folder.parent)
    assert folder in list_runs()
    Artifact.open(folder).verify()
    write(folder, file, "auto")


def continue_text(folder: Path, file: Path) -> None:
    generator = textgen.load(folder, runtime="numpy")
    continuation = generator.load_continuation(file)
    request = generator.request(length=6, continuation=continuation, ignore_eos=True, repetition_penalty=1.1)
    check_texts(generator, generator.sample(request))


def resume(folder: Path, file: Path) -> None:
    """Resumes a run for an epoch, and checks its history and weights."""
    from textgen.plugins import plugins
    from textgen.runs.folder import find_run
    from textgen.training.display import Display
    from textgen.training.train import resume as resume_run

    if file.name != "textgen.json":
        record_again(folder, file)
    artifact = resume_run(find_run(folder), plugins(), Display(), changes={"training": {"epochs": 2}})
    for line in (folder / "history.jsonl").read_text(encoding="utf-8").splitlines():
        if not all(math.isfinite(value) for value in json.loads(line).values()):
            raise AcceptedError(f"the history has {line}")
    if not all(np.isfinite(array).all() for array in artifact.weights().values()):
        raise AcceptedError("the weights are not finite")


def plan(folder: Path, file: Path) -> None:
    """Plans a run by a configuration."""
    from textgen.plugins import plugins
    from textgen.training.plan import make_plan
    from textgen.training.settings import read_settings

    described = make_plan(read_settings(plugins(), {}, config=file), plugins()).describe()
    json.loads(json.dumps(described, allow_nan=False))


def read_corpus(folder: Path, file: Path) -> None:
    """Reads a text file as a corpus, with labels where it is a table, and encodes it."""
    from textgen.plugins import plugins
    from textgen.training.text import read_text

    settings: dict[str, dict[str, Any]] = {"corpus": {"name": "file", "path": str(file)}, "tokenizer": {}}
    if file.suffix in (".csv", ".tsv", ".json", ".jsonl"):
        settings["corpus"]["label"] = "label"
    settings["corpus"]["on_bad_row"] = "skip" if len(file.read_bytes()) % 2 else "error"
    settings["tokenizer"]["name"] = "char-eos" if file.suffix != ".txt" else "char-index"
    corpus = plugins().make("corpus", settings["corpus"])
    documents = list(corpus.labelled_documents()) if corpus.is_labelled else list(corpus.documents())
    if not all(isinstance(part, str) for each in documents for part in (each if isinstance(each, tuple) else (each,))):
        raise AcceptedError("the corpus is not text")
    text = read_text(settings, plugins())
    if text.tokenizer.vocab_size < 1:
        raise AcceptedError("the vocabulary is empty")


def read_cluster(folder: Path, file: Path) -> None:
    """Reads ``TF_CONFIG``."""
    from textgen import Cluster

    os.environ["TF_CONFIG"] = file.read_bytes().decode("utf-8", "surrogateescape").replace("\0", "")
    try:
        cluster = Cluster.from_environment()
    finally:
        del os.environ["TF_CONFIG"]
    if cluster is not None and not 0 <= cluster.index < len(cluster.workers):
        raise AcceptedError(f"the index is {cluster.index}")


#: Every kind of file that textgen reads.
SUBJECTS: dict[str, Subject] = {
    "manifest": Subject(25, "gru", ("textgen.json",), mutations.damage_json, write),
    "manifest-auto": Subject(5, "counting", ("textgen.json",), mutations.damage_json, show),
    "manifest-resume": Subject(5, "counting", ("textgen.json",), mutations.damage_json, resume),
    "manifest-export": Subject(8, "onnx", ("textgen.json",), mutations.damage_json, write_by_graph),
    "manifest-export-ngram": Subject(4, "onnx-ngram", ("textgen.json",), mutations.damage_json, write_by_graph),
    **{
        f"tokenizer-{name}": Subject(4, f"of-{name}", ("tokenizer.json",), mutations.damage_json, write)
        for name in TOKENIZERS
    },
    "weights": Subject(12, "gru", ("weights.safetensors",), mutations.damage_tensors, write),
    "weights-ngram": Subject(6, "ngram", ("weights.safetensors",), mutations.damage_tensors, write),
    "state": Subject(12, "state", ("a.state",), mutations.damage_tensors, continue_text),
    "checkpoint": Subject(8, "counting", ("checkpoints/step",), mutations.damage_tensors, resume),
    "checkpoint-ngram": Subject(8, "ngram", ("checkpoints/step",), mutations.damage_tensors, resume),
    "history": Subject(4, "counting", ("history.jsonl",), mutations.damage_json, resume),
    "onnx": Subject(8, "onnx", ("step.onnx", "generate.onnx"), mutations.damage_onnx, write_by_graph),
    "onnx-ngram": Subject(8, "onnx-ngram", ("step.onnx", "generate.onnx"), mutations.damage_onnx, write_by_graph),
    "config": Subject(8, "texts", ("config.toml",), mutations.damage_toml, plan),
    "corpus": Subject(
        12, "texts", ("a.csv", "a.tsv", "a.json", "a.jsonl", "a.txt"), mutations.damage_table, read_corpus
    ),
    "cluster": Subject(3, "texts", ("cluster.json",), mutations.damage_json, read_cluster),
}


def run_case(base: Path, work: Path, name: str, seed: int, number: int) -> tuple[str, str, str]:
    """Runs a case; one with a negative number has no damage, and has to be accepted.

    Returns:
        Its outcome, ``"accepted"``, ``"refused"`` or ``"fault"``; what was damaged; the message or the fault.
    """
    import traceback

    subject = SUBJECTS[name]
    rng = random.Random(f"{name} {seed} {number}")
    folder = work / "case"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(base / subject.folder, folder)
    chosen = rng.choice(subject.files)
    file = next(path for path in sorted(folder.rglob("*")) if path.relative_to(folder).as_posix().startswith(chosen))
    content, what, must_fail = subject.damage(rng, file.read_bytes()) if number >= 0 else (file.read_bytes(), "", False)
    what = f"{chosen}: {what}"
    file.write_bytes(content)
    try:
        subject.read(folder, file)
        if must_fail and not _is_free(name, what):
            raise AcceptedError("a number of another type was taken")
    except TextgenError as error:
        message = str(error)
        if number < 0:
            return "fault", what, f"without damage: {message}"
        if "\n" in message or not message or len(message) > LONGEST:
            return "fault", what, f"the message is not one line: {message[:300]!r}"
        return "refused", what, message
    except AcceptedError as error:
        return "fault", what, f"accepted: {error}"
    except BaseException:
        return "fault", what, traceback.format_exc()
    return "accepted", what, ""


def _is_free(name: str, what: str) -> bool:
    """Whether a value belongs to something that is not read here: the corpus, how an export was trained, and what it
    tells programs without textgen.
    """
    of_exports = ("'training'", "'model'", "'host'") if name.startswith("manifest-export") else ()
    unread = ("'corpus'", "'provenance'", *of_exports)
    return any(part in what for part in unread)
