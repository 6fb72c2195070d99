"""Model repositories in an emulation of Triton: the texts of ``textgen sample``, whatever shares a batch."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from textgen import Sampler, TextGenerator, api, hookimpl, uniforms
from textgen.runs.artifact import Artifact
from textgen.testing import registered

PENALTY = "repetition-penalty(1.3) | temperature(0.9) | top-k(20) | top-p(0.95) | min-p(0.01) | multinomial"

#: Runs: both cells, one and several layers, one-hot and embedded input, with an n-gram, with and without an end.
RUNS: dict[str, dict[str, Any]] = {
    "gru": {},
    "lstm": {"cell": "lstm", "layers": 2, "width": None, "tokenizer": "char-eos", "sampler": PENALTY},
    "n-gram": {"layers": 3, "contexts": 60, "tokenizer": "char-eos", "sampler": PENALTY},
    "greedy": {"cell": "lstm", "sampler": "greedy"},
    "int8": {"precision": "int8"},
}

LENGTH, SEED = 50, 2**64 - 1


@dataclass
class Repository:
    """A repository, the texts that its run writes, and what a client knows of it."""

    folder: Path
    server: Any
    generator: TextGenerator
    about: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.about = json.loads((self.folder / "textgen.json").read_text())["export"]
        self.parameters = {name: np.array([[value]], np.float32) for name, value in self.about["parameters"].items()}

    def model(self, kind: str) -> Any:
        return self.server.models[self.about["models"][kind]]

    def texts(self, prompts: list[str], rows: list[int]) -> list[str]:
        texts: list[str] = self.generator.generate(prompts, rows=rows, length=LENGTH, seed=SEED)
        return texts

    def begin(self, prompt: str, row: int) -> list[int]:
        """The ids that a text begins with."""
        if prompt:
            return list(map(int, self.generator.tokenizer.encode(prompt)))
        starts, counts = zip(*self.about["host"]["starts"], strict=True)
        drawn = float(uniforms(SEED, [row], 0, 1)[0, 0]) * sum(counts)
        return [int(starts[np.searchsorted(np.cumsum(counts), drawn, side="right")])]

    def text(self, prompt: str, begin: list[int], written: list[int]) -> str:
        end = self.about["host"]["special_ids"]["end"]
        kept = written[: written.index(end)] if end in written else written
        texts = self.about["host"]["texts"]
        return (prompt or texts[begin[0]]) + "".join(texts[i] for i in kept)[:LENGTH]


@pytest.fixture(scope="module", params=RUNS)
def repository(request, make_run, serve, tmp_path_factory) -> Repository:
    options = dict(RUNS[request.param])
    precision = {"precision": options.pop("precision", "fp32")}
    run = make_run(tmp_path_factory.mktemp("runs") / "run", **options)
    folder = api.export(run.path, to="triton", options={"max_batch_size": 3, "name": "a-b_3", **precision}).folder
    if precision["precision"] == "fp32":
        generator = api.load(run.path, runtime="numpy")
    else:
        generator = api.load(api.export(run.path, options=precision).folder, device="cpu")
    return Repository(folder, serve(folder), generator)


def test_sequences_write_the_texts_of_textgen_sample(repository, request_of):
    """They begin at different times, read prompts of different lengths, and ask for different numbers of slots."""
    prompts, rows = ["The quick", "", "jumps over\nthe", "T", "the lazy dog.", ""], [0, 1, 2, 3, 2**63, 5]
    model, rng = repository.model("sequence"), np.random.default_rng(0)
    begins = [repository.begin(prompt, row) for prompt, row in zip(prompts, rows, strict=True)]
    slots = [np.array([*begin, *[-1] * LENGTH]) for begin in begins]
    drawn = [
        np.concatenate([np.full(len(begin), np.nan, np.float32), uniforms(SEED, [row], 1, LENGTH)[:, 0]])
        for begin, row in zip(begins, rows, strict=True)
    ]
    ids: list[list[int]] = [[] for _ in rows]
    turn = 0
    while any(len(found) < len(given) for found, given in zip(ids, slots, strict=True)):
        going = [row for row in range(min(len(rows), turn + 1)) if len(ids[row]) < len(slots[row])]
        requests = []
        for row in going:
            part = slice(len(ids[row]), len(ids[row]) + int(rng.choice([1, 5, 5, 8])))
            inputs = {"given": slots[row][None, part], "uniforms": drawn[row][None, part], **repository.parameters}
            about = {"start": not ids[row], "end": part.stop >= len(slots[row])}
            requests.append(request_of(inputs, sequence=row + 1, **about))
        for row, answer in zip(going, model.infer(requests), strict=True):
            ids[row] += answer["ids"][0].tolist()
        turn += 1
    written = [found[len(begin) :] for found, begin in zip(ids, begins, strict=True)]
    assert [found[: len(begin)] for found, begin in zip(ids, begins, strict=True)] == begins
    assert list(map(repository.text, prompts, begins, written)) == repository.texts(prompts, rows)
    assert max(model.batches) == 3
    assert model.sequences == {}


def test_a_sequence_begins_with_the_state_before_the_first_id(repository):
    model = repository.model("sequence")
    initial = Artifact.open(repository.folder).state_spec.initial_state(1)
    assert model.initial.keys() - {"seen"} == {f"past.{name}" for name in initial}
    for name, array in initial.items():
        np.testing.assert_array_equal(model.initial[f"past.{name}"], array.reshape(1, -1), strict=True)
    assert not model.initial.get("seen", np.zeros(1)).any()


def test_a_state_that_is_passed_is_read_once_and_continued_in_several_ways(repository, request_of):
    prompts, step, write = ["The quick brown", "j"], repository.model("step"), repository.model("write")
    begins = [repository.begin(prompt, 0) for prompt in prompts]
    spec = Artifact.open(repository.folder).state_spec.initial_state(2)
    ids = np.zeros((2, 20), np.int64)
    for row, begin in zip(ids, begins, strict=True):
        row[: len(begin)] = begin
    past = {f"past.{name}": array.reshape(2, -1) for name, array in spec.items()}
    (read,) = step.infer([request_of({"ids": ids, "lengths": np.array([[len(each)] for each in begins]), **past})])
    vocab_size = len(repository.about["host"]["texts"])
    for number, (prompt, begin) in enumerate(zip(prompts, begins, strict=True)):
        rows = [0, 1, 7]
        state = {f"past.{name}": np.repeat(read[f"present.{name}"][[number]], len(rows), axis=0) for name in spec}
        if "seen" in [tensor.name for tensor in write.config.input]:
            state["seen"] = np.repeat(np.isin(np.arange(vocab_size), begin)[None], len(rows), axis=0)
        numbers, found = uniforms(SEED, rows, 1, LENGTH).T, np.zeros((len(rows), 0), np.int64)
        parameters = {name: np.repeat(value, len(rows), axis=0) for name, value in repository.parameters.items()}
        for part in np.split(np.arange(LENGTH), [1, 20]):
            inputs = {"given": np.full((len(rows), len(part)), -1), "uniforms": numbers[:, part]}
            (answer,) = write.infer([request_of({**inputs, **parameters, **state})])
            found = np.concatenate([found, answer.pop("ids")], axis=1)
            state = {name.replace("present.seen", "seen").replace("present.", "past."): a for name, a in answer.items()}
        written = [repository.text(prompt, begin, each) for each in found.tolist()]
        assert written == repository.texts([prompt] * len(rows), rows)


def test_a_server_can_be_checked_by_the_golden_vectors(repository, request_of):
    vectors = safetensors.numpy.load_file(repository.folder / "golden.safetensors")
    for kind in ("step", "write"):
        model = repository.model(kind)
        inputs = {tensor.name: vectors[f"{kind}.{tensor.name}"] for tensor in model.config.input}
        (answer,) = model.infer([request_of(inputs)])
        if kind == "step":
            counts = np.arange(inputs["ids"].shape[1]) < inputs["lengths"]
            answer["logits"][~counts] = 0
        for name, array in answer.items():
            np.testing.assert_allclose(array, vectors[f"{kind}.{name}"], atol=1e-5)


def test_an_export_names_nothing_but_files_that_it_has(repository):
    export = Artifact.open(repository.folder)
    export.verify()
    sums = (repository.folder / "SHA256SUMS").read_text().splitlines()
    found = {path.relative_to(repository.folder).as_posix() for path in repository.folder.rglob("*") if path.is_file()}
    assert {line.partition("  ")[2] for line in sums} == found - {"SHA256SUMS"}
    card = (repository.folder / "README.md").read_text()
    assert all(
        f"`{name}`" in card and (repository.folder / name).is_dir() for name in repository.about["models"].values()
    )


class Doubling(Sampler):
    """A sampler that is not written as nodes."""

    def transform(self, logits, parameters, seen):
        return logits * 2


class Plugin:
    @hookimpl
    def textgen_register_samplers(self, register):
        register("doubling", Doubling)


def test_what_cannot_be_exported_is_one_line(make_run, textgen, tmp_path):
    run = make_run(tmp_path / "run")
    with registered(Plugin()):
        done = textgen("export", "--to", "triton", run.path, "--sampler", "doubling | multinomial")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert "doubling cannot be written into an ONNX graph, and Triton runs nothing else; choose another" in done.err
    assert not (run.path / "triton").exists()
    done = textgen("export", "--to", "triton", run.path, "--set", "name=a/b")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert "triton.name" in done.err


def test_a_repository_is_replaced_by_one_of_other_names_but_nothing_else_is(make_run, textgen, tmp_path):
    run = make_run(tmp_path / "run", contexts=60)
    assert textgen("export", "--to", "triton", run.path, "--set", "name=one").code == 0
    assert textgen("export", "--to", "triton", run.path, "--set", "name=two").code == 0
    folder = run.path / "triton"
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["two_sequence", "two_step", "two_write"]
    (folder / "two_write" / "2").mkdir()
    (folder / "two_write" / "2" / "model.onnx").write_text("the only copy")
    done = textgen("export", "--to", "triton", run.path)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "triton has two_write/2, which is not of an export and would be lost" in done.err
    assert (folder / "two_write" / "2" / "model.onnx").read_text() == "the only copy"


def test_a_repository_writes_no_text_itself(make_run, textgen, tmp_path):
    folder = api.export(make_run(tmp_path / "run").path, to="triton").folder
    done = textgen("sample", folder)
    assert (done.code, done.out) == (2, "")
    assert "is an export and has no weights to load; use the run that was exported" in done.err
