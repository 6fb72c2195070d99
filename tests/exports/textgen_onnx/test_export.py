"""The files of an export: they work on their own, and a failed export leaves nothing."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import safetensors.numpy

from textgen import api
from textgen.errors import ArtifactError, OptionError, UnsupportedModelError
from textgen.exporting import parity
from textgen.model.network import RecurrentLayer, RecurrentNetwork
from textgen.runs.artifact import Artifact
from textgen.sampling.draw import uniforms
from textgen_onnx.exporter import OnnxExporter
from textgen_onnx.graphs.step import build_step
from textgen_onnx.graphs.weights import GraphWeights
from textgen_onnx.runtime import OnnxRuntime

FILES = {
    ".gitattributes",
    "README.md",
    "SHA256SUMS",
    "generate.onnx",
    "golden.safetensors",
    "step.onnx",
    "textgen.json",
    "tokenizer.json",
}
DYNAMIC = {"batch", "sequence", "steps"}


@pytest.fixture(
    scope="module",
    params=[("gru", "char-index", 1, 0), ("lstm", "char-eos", 2, 0), ("gru", "char-eos", 2, 50)],
    ids=["gru", "lstm", "n-gram"],
)
def folder(request, exported) -> Path:
    """An export, not to be changed."""
    cell, tokenizer, layers, contexts = request.param
    sampler = "repetition-penalty(1.2) | temperature(0.7) | top-k(9) | multinomial"
    run: Artifact = exported(cell, tokenizer=tokenizer, layers=layers, sampler=sampler, contexts=contexts).run
    return run.path / "onnx"


def graphs(folder: Path) -> dict[str, onnx.ModelProto]:
    return {path.name: onnx.load(path, load_external_data=False) for path in folder.glob("*.onnx")}


def tensors(graph: onnx.GraphProto):
    """The initializers of a graph, at any depth."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from tensors(attribute.g)


def test_the_files_and_their_check_sums(folder):
    assert {path.name for path in folder.iterdir()} == FILES
    sums = dict(line.split("  ")[::-1] for line in (folder / "SHA256SUMS").read_text().splitlines())
    assert set(sums) == FILES - {"SHA256SUMS"}
    for name, expected in sums.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == expected
    Artifact.open(folder).verify()
    assert (folder / "tokenizer.json").read_bytes() == (folder.parent / "tokenizer.json").read_bytes()


def test_versions_that_old_hosts_read(folder):
    for model in graphs(folder).values():
        assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)]
        assert model.ir_version == 8


def test_the_weights_are_inside(folder):
    expected = safetensors.numpy.load_file(folder.parent / "weights.safetensors")
    for model in graphs(folder).values():
        inside = list(tensors(model.graph))
        assert all(tensor.data_location == onnx.TensorProto.DEFAULT and not tensor.external_data for tensor in inside)
        arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in inside}
        power = expected.get("ngram.powers", np.ones(2, np.float32))[0]
        np.testing.assert_array_equal(arrays["head.kernel"], power * expected["head.kernel"])
        kernels = [array for name, array in arrays.items() if name.startswith("layers.0.recurrent_kernel")]
        np.testing.assert_array_equal(
            np.sort(np.concatenate(kernels, axis=1)), np.sort(expected["layers.0.recurrent_kernel"])
        )


def test_names_within_a_graph_are_unique_at_every_depth(make_run, tmp_path):
    # The id that ends a document is a constant after the loop, and 1 is one inside of it too.
    run = make_run(tmp_path / "run", tokenizer="char-eos", text="\n".join("a" * n for n in range(1, 30)))
    run.manifest.end_id = 1
    run.commit()
    api.export(run.path)

    def check(graph: onnx.GraphProto, outer: set[str]) -> None:
        names = [value.name for value in (*graph.input, *graph.initializer)]
        names += [name for node in graph.node for name in node.output]
        assert len(names) == len(set(names))
        assert not outer & set(names)
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    check(attribute.g, outer | set(names))

    for model in graphs(run.path / "onnx").values():
        check(model.graph, set())


def test_only_batch_sequence_and_steps_are_dynamic(folder):
    about = json.loads((folder / "textgen.json").read_text())
    sizes = {about["vocab_size"], 1, *(size for tensor in about["state_spec"] for size in tensor["shape"])}
    for model in graphs(folder).values():
        for value in (*model.graph.input, *model.graph.output):
            for dimension in value.type.tensor_type.shape.dim:
                assert dimension.dim_param in DYNAMIC or dimension.dim_value in sizes


def test_the_signature(folder):
    state = {tensor["name"] for tensor in json.loads((folder / "textgen.json").read_text())["state_spec"]}
    past, present = {f"past.{name}" for name in state}, {f"present.{name}" for name in state}
    parameters = {"0.repetition-penalty.penalty", "1.temperature.temperature", "2.top-k.k"}
    expected = {
        "step.onnx": ({"ids", "lengths"} | past, {"logits"} | present),
        "generate.onnx": (
            {"last_ids", "uniforms", "seen"} | parameters | past,
            {"ids", "finished", "present.seen"} | present,
        ),
    }
    for name, model in graphs(folder).items():
        assert {value.name for value in model.graph.input} == expected[name][0]
        assert {value.name for value in model.graph.output} == expected[name][1]


def test_golden_vectors_replay_in_plain_onnxruntime(folder, rounding):
    golden = safetensors.numpy.load_file(folder / "golden.safetensors")
    for name in ("step", "generate"):
        session = onnxruntime.InferenceSession(folder / f"{name}.onnx", providers=["CPUExecutionProvider"])
        feeds = {value.name: golden[f"{name}.{value.name}"] for value in session.get_inputs()}
        names = [value.name for value in session.get_outputs()]
        outputs = dict(zip(names, session.run(names, feeds), strict=True))
        recorded = {each.removeprefix(f"{name}."): array for each, array in golden.items() if each.startswith(name)}
        for output in set(recorded) - set(feeds):
            found = outputs[output]
            if output == "logits":
                found = np.where((np.arange(5) < golden["step.lengths"][:, None])[:, :, None], found, 0)
            assert found.dtype == recorded[output].dtype
            np.testing.assert_allclose(found, recorded[output], atol=rounding)
        assert {"step": "logits", "generate": "ids"}[name] in recorded


def test_finished_marks_the_rows_that_drew_the_end_of_a_document(exported):
    made = exported("lstm", tokenizer="char-eos")
    folder, end = made.run.path / "onnx", made.run.manifest.end_id
    session = onnxruntime.InferenceSession(folder / "generate.onnx", providers=["CPUExecutionProvider"])
    rows = 200
    feeds = {f"past.{name}": array for name, array in made.numpy.initial_state(rows).items()}
    feeds |= {"last_ids": np.arange(rows) % made.onnx.vocab_size, "uniforms": uniforms(0, range(rows), 1, 6)}
    feeds["0.temperature.temperature"] = np.full((rows, 1), 2, np.float32)
    ids, finished = session.run(["ids", "finished"], feeds)
    np.testing.assert_array_equal(finished, (ids == end).any(axis=0))
    assert 0 < finished.sum() < rows


def test_the_manifest_has_what_a_host_needs(folder):
    about = json.loads((folder / "textgen.json").read_text())
    export = about["export"]
    assert export["precision"] == "fp32"
    assert (export["opset"], export["ir_version"]) == (17, 8)
    assert export["parameters"] == {
        "0.repetition-penalty.penalty": 1.2,
        "1.temperature.temperature": 0.7,
        "2.top-k.k": 9,
    }
    assert export["weights_sha256"] == hashlib.sha256((folder.parent / "weights.safetensors").read_bytes()).hexdigest()
    assert export["parity"]["max_logit_difference"] <= 1e-4
    assert export["parity"]["greedy_agreement"] > 0.999
    assert abs(export["parity"]["loss_increase"]) < 1e-5
    assert about["weights"] is None


def test_the_model_card(folder):
    card = (folder / "README.md").read_text(encoding="utf-8")
    about = json.loads((folder / "textgen.json").read_text())
    loss = about["export"]["parity"]["export_loss"]
    for tensor in about["state_spec"]:
        row = "int32 | batch |" if tensor["name"] == "context" else "float32 | batch × 6 |"
        assert f"`past.{tensor['name']}`, `present.{tensor['name']}` | {row}" in card
    for text in (
        f"# {about['settings']['model']['name']} on file",
        "licence: the user's own",
        "| training loss, nats per character | 1.2500 |",
        "| held-out loss, nats per character | 1.5000 |",
        f"| loss of this export on held-out text, nats per character | {loss:.4f} |",
        "units = 6",
        "sampler = repetition-penalty(1.2) | temperature(0.7) | top-k(9) | multinomial",
        "opset 17, IR version 8",
        f"batch × sequence × {about['vocab_size']}",
        "textgen sample FOLDER --runtime onnx",
        "docs/hosts.md",
    ):
        assert text in card, text
    assert ("of an n-gram of 50 contexts: 1 before" in card) == ("context" in card.split("## Signature")[1])
    assert "|\n\n|" not in card  # which would split a table


def test_the_same_run_gives_the_same_graphs(folder, tmp_path):
    api.export(folder.parent, out=tmp_path / "again")
    for name in ("step.onnx", "generate.onnx", "golden.safetensors", "tokenizer.json"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_the_command_line(make_run, tmp_path, textgen):
    run = make_run(tmp_path / "run")
    done = textgen("export", run.path, "--to", "onnx", "--out", tmp_path / "here", "--json")
    report = json.loads(done.out)
    assert (done.code, done.err, report["folder"]) == (0, "", str(tmp_path / "here"))
    assert set(report["files"]) == FILES
    assert report["parity"]["max_logit_difference"] <= 1e-4

    shown = textgen("export", "--onnx", run.path)
    assert (shown.code, shown.out) == (0, f"{run.path / 'onnx'}\n")
    assert "max logit difference" in shown.err
    command = next(line for line in shown.err.splitlines() if line.startswith("write text with: textgen "))
    arguments = command.removeprefix("write text with: textgen ").split()
    assert textgen(*arguments, "--length", 9, "--seed", 1) == textgen(
        "sample", tmp_path / "here", "--length", 9, "--seed", 1
    )


@pytest.mark.parametrize("precision", ["fp16", "int8"])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_other_precisions_predict_nearly_as_well(exported, cell, precision):
    made = exported(cell, layers=2, units=64, precision=precision)
    plain = exported(cell, layers=2, units=64)
    size, plain_size = ((each.run.path / "onnx" / "step.onnx").stat().st_size for each in (made, plain))
    assert size < plain_size * (0.75 if precision == "fp16" else 0.6)
    types = {tensor.data_type for tensor in tensors(graphs(made.run.path / "onnx")["step.onnx"].graph)}
    assert {"fp16": onnx.TensorProto.FLOAT16, "int8": onnx.TensorProto.INT8}[precision] in types

    # Text of the model itself, which no other model can predict better.
    ids = text_of(plain.numpy, rows=20, steps=200)
    loss, other = (nats(runtime, ids) for runtime in (plain.numpy, made.onnx))
    assert loss > 0.2
    assert loss - 1e-3 < other < loss * 1.01
    generator = api.load(made.run.path / "onnx", device="cpu")
    assert generator.generate("The", length=200, seed=1) == generator.generate("The", length=200, seed=1)


def text_of(runtime, rows: int, steps: int) -> np.ndarray:
    """Ids ``[rows, steps]`` that a model draws at temperature 1."""
    rng = np.random.default_rng(0)
    ids, state = np.zeros((rows, steps), np.int32), runtime.initial_state(rows)
    for step in range(1, steps):
        logits, state = runtime.step(ids[:, step - 1], state)
        ids[:, step] = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    return ids


def nats(runtime, ids: np.ndarray) -> float:
    """Mean cross-entropy of a text."""
    logits, _ = runtime.forward(ids[:, :-1], runtime.initial_state(len(ids)))
    logits = logits.astype(float)
    chosen = np.take_along_axis(logits, ids[:, 1:, None], axis=2)[:, :, 0]
    return float((np.log(np.exp(logits).sum(axis=2)) - chosen).mean())


def test_int8_rows_do_not_depend_on_their_neighbours(exported, rounding):
    runtime = exported("lstm", layers=2, units=64, precision="int8").onnx
    ids = np.random.default_rng(0).integers(0, 30, (7, 20)).astype(np.int32)
    together, _ = runtime.forward(ids, runtime.initial_state(7))
    for row in range(7):
        alone, _ = runtime.forward(ids[[row]], runtime.initial_state(1))
        np.testing.assert_allclose(alone[0], together[row], atol=rounding)


def test_without_its_corpus_an_export_is_compared_on_text_of_the_model(make_run, tmp_path):
    run = make_run(tmp_path / "run")
    (tmp_path / "run.txt").unlink()
    api.export(run.path, options={"precision": "int8"})
    about = Artifact.open(run.path / "onnx").manifest.export
    assert about is not None
    assert about["parity"]["text"] == "text of the model itself"
    assert -1e-3 < about["parity"]["loss_increase"] <= 0.01


def test_a_text_of_a_single_character(make_run, tmp_path):
    run = make_run(tmp_path / "run", text="a" * 300)
    report = api.export(run.path)
    assert report.parity["loss_increase"] == 0
    assert api.load(run.path, runtime="onnx", device="cpu").generate("a", length=4) == "aaaaa"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(params=["nothing there", "an earlier export"])
def place(request, exported, tmp_path: Path) -> Path:
    """A folder with a run, exported before or not."""
    run = exported("gru").run
    shutil.copytree(run.path, tmp_path / "place" / "run")
    if request.param == "nothing there":
        shutil.rmtree(tmp_path / "place" / "run" / "onnx")
    return tmp_path / "place"


@pytest.mark.parametrize(
    ("bound", "precision", "message"),
    [
        ("LOGITS_BOUND", "fp32", "differs from its source by .* in logits, more than -1e"),
        ("LOSS_BOUND", "fp32", "fp32 export's loss on held-out text"),
        ("LOSS_BOUND", "fp16", "fp16 export's loss on held-out text"),
        ("LOSS_BOUND", "int8", "int8 export's loss on held-out text"),
    ],
)
def test_an_export_past_its_bound_changes_nothing(place, monkeypatch, bound, precision, message):
    monkeypatch.setattr(parity, bound, -1.0)
    before = contents(place)
    with pytest.raises(ArtifactError, match=message) as error:
        api.export(place / "run", options={"precision": precision})
    assert "nothing was written" in str(error.value)
    assert "\n" not in str(error.value)
    assert contents(place) == before
    assert not [name for name in os.listdir(place / "run") if name.startswith(".")]


@pytest.mark.parametrize("problem", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_interrupted_export_changes_nothing(place, monkeypatch, problem):
    before = contents(place)

    def fail(*arguments: object) -> None:
        raise problem

    monkeypatch.setattr("textgen_onnx.exporter.golden_vectors", fail)
    with pytest.raises(type(problem)):
        api.export(place / "run")
    assert contents(place) == before
    assert not [name for name in os.listdir(place / "run") if name.startswith(".")]


def test_a_graph_that_computes_something_else_is_not_an_export(place, monkeypatch):
    from textgen_onnx import exporter

    before = contents(place)

    def build_wrong(weights):
        weights.tensors["head.bias"] = weights.tensors["head.bias"] + 0.01
        return build_step(weights)

    monkeypatch.setattr(exporter, "build_step", build_wrong)
    with pytest.raises(ArtifactError, match=r"1\.0e-02 in logits"):
        api.export(place / "run")
    assert contents(place) == before


def test_an_export_replaces_an_earlier_one(make_run, tmp_path):
    run = make_run(tmp_path / "run")
    api.export(run.path, options={"block": 3})
    former = contents(run.path / "onnx")
    make_run(tmp_path / "run", seed=4)
    api.export(run.path)
    assert set(contents(run.path / "onnx")) == FILES
    assert contents(run.path / "onnx")["step.onnx"] != former["step.onnx"]
    Artifact.open(run.path / "onnx").verify()
    assert not [name for name in os.listdir(run.path) if name.startswith(".")]


def test_nothing_but_an_export_is_replaced(make_run, tmp_path, textgen):
    run = make_run(tmp_path / "run")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "precious.txt").write_text("kept")
    before = contents(tmp_path)
    for out in (run.path, tmp_path / "folder", tmp_path / "run.txt"):
        done = textgen("export", "--onnx", run.path, "--out", out)
        assert done.code == 2
        assert f"{out} already exists and is not an export" in done.err
        assert done.err.count("\n") == 1
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["README.md", "tokenizer.json", ".gitattributes", "step.onnx", "textgen.json"])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_file_with_the_name_of_one_of_an_export_is_not_replaced(exported, tmp_path, textgen, name, kind):
    path = tmp_path / "d" / name
    path.parent.mkdir()
    if kind == "folder":
        path.mkdir()
        path /= "thesis.txt"
    path.write_text("the only copy")
    done = textgen("export", "--onnx", exported("gru").run.path, "--out", tmp_path / "d")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "d already exists and is not an export" in done.err
    assert path.read_text() == "the only copy"


@pytest.mark.parametrize("place", ["run/onnx", "elsewhere"])
def test_a_folder_with_the_name_of_a_file_of_an_export_is_not_lost_with_it(place, make_run, tmp_path, textgen):
    run, out = make_run(tmp_path / "run"), tmp_path / place
    api.export(run.path, out=out)
    (out / "README.md").unlink()
    (out / "README.md").mkdir()
    (out / "README.md" / "thesis.txt").write_text("the only copy")
    assert "has README.md, which is not of an export" in textgen("export", "--onnx", run.path, "--out", out).err
    assert (out / "README.md" / "thesis.txt").read_text() == "the only copy"


def test_a_damaged_export_elsewhere_is_replaced(make_run, tmp_path):
    run, out = make_run(tmp_path / "run"), tmp_path / "elsewhere"
    out.mkdir()
    api.export(run.path, out=out)
    os.truncate(out / "textgen.json", 50)
    api.export(run.path, out=out)
    Artifact.open(out).verify()


@pytest.mark.parametrize("target", ["an export", "nothing"])
def test_an_export_does_not_follow_a_link_out_of_the_run(make_run, tmp_path, textgen, target):
    run, out = make_run(tmp_path / "run"), tmp_path / "elsewhere"
    if target == "an export":
        api.export(run.path, out=out)
    (run.path / "onnx").symlink_to(out)
    before = contents(tmp_path)
    done = textgen("export", "--onnx", run.path)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert f"{run.path / 'onnx'} is a link that leaves the folder" in done.err
    assert contents(tmp_path) == before
    assert textgen("export", "--onnx", run.path, "--out", run.path / "onnx").code == 0  # the user has named it
    Artifact.open(out).verify()


@pytest.mark.parametrize("out", ["loop", "loop/x", "one", "other/x/y"])
def test_a_link_to_itself_is_no_place_for_an_export(exported, tmp_path, textgen, out):
    for name, target in (("loop", "loop"), ("one", "other"), ("other", "one")):
        (tmp_path / name).symlink_to(target)
    done = textgen("export", "--onnx", exported("gru").run.path, "--out", tmp_path / out)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "is a link that leads to itself; choose another --out" in done.err
    assert {path.name: os.readlink(path) for path in tmp_path.iterdir()} == {
        "loop": "loop",
        "one": "other",
        "other": "one",
    }


@pytest.mark.parametrize("options", [{"precision": "int8"}, {"precision": "fp16"}, {"block": 4}])
def test_tf2onnx_takes_no_other_option(exported, options):
    with pytest.raises(OptionError, match="leave precision and block out"):
        api.export(exported("gru").run.path, options={"via": "tf2onnx", **options})


def test_an_export_cannot_be_exported(exported, textgen):
    done = textgen("export", "--onnx", exported("gru").run.path / "onnx")
    assert done.code == 2
    assert "is an export" in done.err


#: As in an installation without the extra "train".
WITHOUT_TRAINING = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "keras", "numba", "tf2onnx"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from textgen.cli import main
main()
"""


def without_training(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT_TRAINING, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("corpus", ["at hand", "gone"])
def test_without_the_training_libraries(make_run, tmp_path, corpus):
    run = make_run(tmp_path / "run", "lstm")
    if corpus == "gone":
        (tmp_path / "run.txt").unlink()
    done = without_training("export", "--onnx", run.path)
    assert done.returncode == 0, done.stderr
    written = without_training("sample", run.path, "--runtime", "onnx", "--prompt", "The", "--seed", 1)
    assert written.stdout == api.load(run.path, runtime="numpy").generate("The", seed=1) + "\n"


def test_tf2onnx_without_tensorflow(make_run, tmp_path):
    run = make_run(tmp_path / "run")
    done = without_training("export", "--onnx", run.path, "--via", "tf2onnx")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert 'pip install "textgen-rnn[train]"' in done.stderr
    assert not (run.path / "onnx").exists()


def test_the_exporter_has_options_of_its_own(exported):
    with pytest.raises(OptionError, match="onnx"):
        api.export(exported("gru").run.path, options={"precison": "int8"})
    assert OnnxExporter.Options().precision == "fp32"


def test_an_export_works_without_its_run(folder, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("textgen.json", "tokenizer.json", "step.onnx", "generate.onnx"):
        (elsewhere / name).write_bytes((folder / name).read_bytes())
    options: dict[str, Any] = {"num": 3, "seed": 2, "length": 30}
    generator = api.load(elsewhere, device="cpu")
    assert isinstance(generator.runtime, OnnxRuntime)
    assert generator.generate("The", **options) == api.load(folder.parent, runtime="numpy").generate("The", **options)


@pytest.mark.parametrize("change", [lambda text: text + "~", lambda text: text.replace("q", "~")])
@pytest.mark.parametrize("tokenizer", ["char-index", "char-eos"])
def test_if_the_corpus_has_changed_an_export_is_compared_on_text_of_the_model(make_run, tmp_path, tokenizer, change):
    run = make_run(tmp_path / "run", tokenizer=tokenizer)
    corpus = tmp_path / "run.txt"
    corpus.write_text(change(corpus.read_text(encoding="utf-8")), encoding="utf-8")
    api.export(run.path)
    about = Artifact.open(run.path / "onnx").manifest.export
    assert about is not None
    assert about["parity"]["text"] == "text of the model itself"


def test_a_vocabulary_too_large_for_a_file_is_refused():
    vocab, units = 200_000, 1024

    def zeros(*shape):
        return np.broadcast_to(np.float32(0), shape)  # a view that takes no memory

    layer = RecurrentLayer("gru", zeros(vocab, 3 * units), zeros(units, 3 * units), zeros(2, 3 * units))
    network = RecurrentNetwork(None, (layer,), zeros(units, vocab), zeros(vocab))
    with pytest.raises(UnsupportedModelError, match="a vocabulary of 200,000 ids is too large"):
        GraphWeights.from_network(network)
