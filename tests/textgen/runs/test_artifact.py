import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from textgen import api
from textgen.errors import ArtifactError, TextgenError
from textgen.model.state import StateSpec, TensorSpec
from textgen.runs.artifact import Artifact
from textgen.runs.manifest import FileRecord, Manifest, read_manifest


def make(path: Path) -> Artifact:
    parts = {kind: {"name": "x"} for kind in ("corpus", "tokenizer", "model", "training", "generation")}
    return Artifact(
        path, Manifest(settings=parts, vocab_size=10, state_spec=StateSpec((TensorSpec("h", (2,)),)).to_json())
    )


@given(content=st.one_of(st.binary(), st.text(st.characters(codec="utf-8"))))
def test_a_file_that_was_put_is_verified(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("artifact") / "run"
    artifact = make(path)
    artifact.put("a/b.bin", content)
    artifact.commit()
    again = Artifact.open(path)
    data = content.encode() if isinstance(content, str) else content
    assert again.verified("a/b.bin").read_bytes() == data
    assert again.manifest.files["a/b.bin"].size == len(data)
    assert again.manifest == artifact.manifest
    again.manifest.status = "finished"
    again.verify()


def test_a_manifest_survives_writing_and_reading(tmp_path):
    artifact = make(tmp_path)
    artifact.manifest.first_ids = {9: 3, 0: 1, 4: 2}
    artifact.manifest.end_id = 7
    artifact.manifest.metrics = {"loss": 1 / 3}
    artifact.commit()
    again = Artifact.open(tmp_path)
    assert (again.manifest.end_id, list(again.manifest.first_ids.items())) == (7, [(9, 3), (0, 1), (4, 2)])
    assert again.state_spec == StateSpec((TensorSpec("h", (2,)),))
    assert again.manifest.metrics == {"loss": 1 / 3}
    assert json.loads((tmp_path / "textgen.json").read_text())["format_version"] == 2


def test_a_file_is_listed_once_its_record_is_committed(tmp_path):
    artifact = make(tmp_path)
    artifact.put("a", "1")
    artifact.commit()
    artifact.put("b", "2")
    with pytest.raises(ArtifactError, match=r"textgen\.json does not list b"):
        Artifact.open(tmp_path).verified("b")


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "/etc/hostname", "unknown"])
def test_a_name_outside_the_folder_is_refused(tmp_path, name):
    (tmp_path / "outside").write_text("secret")
    artifact = make(tmp_path / "run")
    if name != "unknown":
        artifact.manifest.files[name] = FileRecord(size=6, sha256="0" * 64)
    with pytest.raises(ArtifactError, match="does not list"):
        artifact.verified(name)


@pytest.fixture
def run(work, monkeypatch) -> Path:
    """A finished run that loads."""
    path: Path = work.train("run").path
    assert api.load(path).generate("a", length=3, seed=0)
    return path


def fails(path: Path) -> str:
    """The message of the error that loading a run raises; it must be one line."""
    with pytest.raises(TextgenError) as raised:
        api.load(path)
    message = str(raised.value)
    assert "\n" not in message
    assert len(message) < 500
    return message


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        (name, damage)
        for name in ("textgen.json", "tokenizer.json", "weights.safetensors")
        for damage in ("missing", "truncated", "emptied", "folder", "altered")
        if (name, damage) != ("textgen.json", "altered")  # see refused_in_one_line
    ],
)
def test_a_damaged_file_is_named(run, name, damage):
    file = run / name
    content = file.read_bytes()
    if damage == "missing":
        file.unlink()
    elif damage == "truncated":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "altered":
        file.write_bytes(content[:-3] + bytes([content[-3] ^ 1]) + content[-2:])
    elif damage == "emptied":
        file.write_bytes(b"")
    else:
        file.unlink()
        file.mkdir()
    message = fails(run)
    assert name in message
    if name != "textgen.json":
        words = {"altered": "was altered", "missing": "is missing; restore it", "folder": "is missing"}
        assert words.get(damage, "bytes instead of the recorded") in message


def test_a_run_with_damaged_logs_loads_but_does_not_verify(run):
    (run / "history.jsonl").write_text("")
    assert api.load(run).generate("a", length=3, seed=0)
    with pytest.raises(ArtifactError, match=r"history\.jsonl has 0 bytes instead of the recorded"):
        Artifact.open(run).verify()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("not json", "cannot be read"),
        ("[" * 10_000, "cannot be read"),
        ("\0", "cannot be read"),
        ("[]", "does not describe a textgen run"),
        ("3", "does not describe a textgen run"),
        ("{}", "does not describe a textgen run"),
        ('{"format": "other"}', "does not describe a textgen run"),
        ('{"format": "textgen"}', "has no format_version"),
        ('{"format": "textgen", "format_version": "1"}', "has no format_version"),
        (
            '{"format": "textgen", "format_version": 3}',
            "has format 3, but this textgen reads formats up to 2: install a later",
        ),
        ('{"format": "textgen", "format_version": 0}', "is not valid: format_version"),
        ('{"format": "textgen", "format_version": 1}', "is not valid: settings: "),
    ],
)
def test_content_that_is_not_a_manifest_of_this_format_is_refused(run, content, expected):
    (run / "textgen.json").write_text(content)
    assert expected in fails(run)


def test_a_manifest_that_is_not_text_is_refused(run):
    (run / "textgen.json").write_bytes(b"\xff\xfe\x00")
    assert "cannot be read" in fails(run)


def paths_within(value, path=()):
    yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from paths_within(inner, (*path, key))


def refused_in_one_line(run: Path, change: tuple) -> bool:
    """Returns whether loading a run and writing with it is refused; any error that is not one line fails the test."""
    try:
        api.load(run).generate("", length=2, seed=0)
    except TextgenError as error:
        message = str(error)
    except Exception as error:
        raise AssertionError(f"{change}: {error!r}") from error
    else:
        return False
    assert "\n" not in message, change
    return True


def test_a_manifest_with_any_value_missing_or_of_another_type_is_a_one_line_error(run):
    file = run / "textgen.json"
    whole = json.loads(file.read_text())
    replacements: tuple[Any, ...] = ("missing", None, [], {}, "../x", -1, {"name": "unheard-of"})
    refused = 0
    for path in paths_within(whole):
        for replacement in replacements:
            if not path:
                changed = replacement
            else:
                changed = json.loads(json.dumps(whole))
                *parents, last = path
                inner = changed
                for key in parents:
                    inner = inner[key]
                if replacement == "missing":
                    del inner[last]
                else:
                    inner[last] = replacement
            file.write_text(json.dumps(changed))
            refused += refused_in_one_line(run, (*path, replacement))
    assert refused > 200


def test_weights_that_do_not_fit_the_model_are_refused(run):
    artifact = Artifact.open(run)
    artifact.put("weights.safetensors", safetensors.numpy.save({"counts": np.zeros((2, 2), np.float32)}))
    artifact.commit()
    assert "the weights have the shapes" in fails(run)
    artifact.put("weights.safetensors", b"nothing")
    artifact.commit()
    assert "is not a readable safetensors file" in fails(run)


def test_a_vocabulary_that_does_not_fit_the_model_is_refused(run):
    artifact = Artifact.open(run)
    vocabulary = artifact.tokenizer_json()
    artifact.put("tokenizer.json", json.dumps({"characters": vocabulary["characters"][:-1]}))
    artifact.commit()
    assert re.search("the tokenizer has 5 ids, the model 6", fails(run))
    for content in ("[]", '{"characters": 3}', '{"letters": []}', "{"):
        artifact.put("tokenizer.json", content)
        artifact.commit()
        assert "vocabulary" in fails(run)


@pytest.mark.parametrize("what", ["nothing", "a file", "an empty folder"])
def test_a_path_that_is_not_a_run_is_refused(tmp_path, what):
    path = tmp_path / "thing"
    if what == "a file":
        path.write_text("text")
    elif what == "an empty folder":
        path.mkdir()
    message = fails(path)
    assert str(path) in message
    said = {
        "nothing": "does not exist; textgen runs list shows the runs",
        "an empty folder": "is not a run: it has no textgen.json; textgen runs list shows the runs",
    }
    assert said.get(what, "thing") in message


def test_a_run_may_be_moved(run, tmp_path):
    shutil.move(run, tmp_path / "elsewhere")
    assert api.load(tmp_path / "elsewhere").generate("a", length=3, seed=0)


def test_the_current_weights_are_read_if_training_has_replaced_the_recorded_ones(run):
    writer = Artifact.open(run)
    writer.manifest.status = "training"
    first = writer.weights()["counts"]
    writer.put("checkpoints/step-1.safetensors", safetensors.numpy.save({"weights/counts": first}))
    writer.manifest.weights = "checkpoints/step-1.safetensors"
    writer.commit()
    reader = Artifact.open(run)
    writer.put("checkpoints/step-2.safetensors", safetensors.numpy.save({"weights/counts": first + 1}))
    writer.manifest.weights = "checkpoints/step-2.safetensors"
    writer.commit()
    (run / "checkpoints/step-1.safetensors").unlink()
    np.testing.assert_array_equal(reader.weights()["counts"], first + 1)
    (run / "checkpoints/step-2.safetensors").unlink()
    with pytest.raises(ArtifactError, match=r"step-2\.safetensors is missing"):
        reader.weights()


@pytest.fixture
def under_way(run, monkeypatch):
    """A run whose training replaces the checkpoint whenever somebody has just read the manifest, some times."""
    writer = Artifact.open(run)
    counts = writer.weights()["counts"]
    writer.manifest.status = "training"
    step = 0

    def save() -> None:
        nonlocal step
        step += 1
        former = writer.manifest.weights
        name = f"checkpoints/step-{step}.safetensors"
        writer.put(name, safetensors.numpy.save({"weights/counts": counts + step}))
        writer.manifest.weights = writer.manifest.last_checkpoint = name
        writer.commit()
        (run / former).unlink()

    save()
    reading = read_manifest
    left = 0

    def read(file):
        nonlocal left
        manifest = reading(file)
        if left:
            left -= 1
            save()
        return manifest

    def hurry(times: int) -> Artifact:
        nonlocal left
        left = times
        return Artifact.open(run)

    monkeypatch.setattr("textgen.runs.artifact.read_manifest", read)
    return SimpleNamespace(hurry=hurry, counts=counts, last=lambda: step)


@pytest.mark.parametrize("times", [1, 2, 10])
def test_however_often_training_replaces_the_weights_a_reader_gets_those_of_one_checkpoint(under_way, times):
    reader = under_way.hurry(times)
    np.testing.assert_array_equal(reader.weights()["counts"], under_way.counts + under_way.last())
    assert reader.manifest.weights == f"checkpoints/step-{under_way.last()}.safetensors"
    reader = under_way.hurry(times)
    reader.verify()
    reader = under_way.hurry(times)
    reader.check_weights()


def test_weights_that_are_kept_are_the_same_for_all_later_readers(under_way):
    reader = under_way.hurry(3)
    reader.keep_weights()
    first, digest = reader.weights()["counts"], reader.weights_sha256
    under_way.hurry(5).weights()
    np.testing.assert_array_equal(reader.weights()["counts"], first)
    assert reader.weights_sha256 == digest


def test_a_reader_does_not_wait_for_a_file_that_stays_missing(under_way, run):
    reader = under_way.hurry(0)
    (run / str(reader.manifest.weights)).unlink()
    with pytest.raises(ArtifactError, match="is missing"):
        reader.weights()
