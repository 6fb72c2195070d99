"""docs/artifact.md documents every field and every file, and nothing else."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import safetensors

import textgen
from textgen.runs.manifest import FORMAT_VERSION, FileRecord, Manifest
from textgen.testing import counting, registered

PAGE = (Path(__file__).parents[2] / "docs" / "artifact.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    found: str
    (found,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return found


def rows(text: str) -> dict[str, str]:
    """The remaining cells of each row of a table, by the code in its first cell."""
    return dict(re.findall(r"^\| `(.+?)` \| (.*) \|$", text, re.MULTILINE))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    with registered(counting):
        textgen.train("dinos-lite", "counting", settings={"training": {"epochs": 2}}, out=folder)
    return folder


def test_the_table_has_every_field_of_the_manifest():
    fields = rows(section("The manifest"))
    assert list(fields) == list(Manifest.model_fields)
    assert fields["format_version"].endswith(f"| {FORMAT_VERSION}")
    for name in FileRecord.model_fields:
        assert f"`{name}`" in fields["files"]


def test_the_documented_types_are_those_of_the_schema():
    kinds = {"string": "string", "integer": "integer", "array": "list", "object": "object", "null": "null"}
    for name, text in rows(section("The manifest")).items():
        schema = Manifest.model_json_schema()["properties"][name]
        types = [each["type"] for each in schema.get("anyOf", [schema])]
        documented = text.split(" | ")[0].split(" or ")
        assert [each.split()[0] for each in documented] == [kinds[each] for each in types], name


def test_nested_fields_are_documented(run):
    fields, manifest = rows(section("The manifest")), json.loads((run / "textgen.json").read_text())
    for name in ("settings", "provenance"):
        for key in manifest[name]:
            assert f"`{key}`" in fields[name], key
    for key in manifest["state_spec"][0]:
        assert f"`{key}`" in fields["state_spec"], key
    assert set(manifest["files"]) == {p.relative_to(run).as_posix() for p in run.rglob("*") if p.is_file()} - {
        "textgen.json"
    }


def test_every_file_is_documented(run):
    patterns = [re.sub(r"<\w+>", r"\\d+", re.escape(path)) for path in rows(PAGE.split("\n## ")[0])]
    for file in (path for path in run.rglob("*") if path.is_file()):
        name = file.relative_to(run).as_posix()
        assert any(re.fullmatch(pattern, name) for pattern in patterns), name


def test_a_checkpoint_has_the_documented_content(run):
    (path,) = (run / "checkpoints").glob("*")
    text = section("Checkpoints")
    with safetensors.safe_open(path, "numpy") as file:
        names, metadata = file.keys(), file.metadata()
    assert list(metadata) == ["checkpoint"]
    about = json.loads(metadata["checkpoint"])
    assert set(about["shared"].values()) <= set(names)
    names = [*names, *(f"training/{name}" for name in about["shared"])]
    assert {name.split("/")[0] + "/" for name in names} == set(re.findall(r"`(\w+/)<name>`", text))
    for key in (*about, *about["position"]):
        assert f"`{key}`" in text, key


def test_the_history_has_the_documented_keys(run):
    for line in (run / "history.jsonl").read_text().splitlines():
        assert set(json.loads(line)) == set(re.findall(r"`(\w+)`", section("History")))


@pytest.mark.parametrize(("model", "gates"), [("gru", 3), ("lstm", 4)])
@pytest.mark.parametrize("one_hot", [False, True])
def test_the_weights_have_the_documented_names_and_shapes(model, gates, one_hot):
    from textgen.plugins.registry import plugins

    width, units, vocab = (7 if one_hot else 5), 4, 7
    options = {"input": "one-hot"} if one_hot else {"embedding_dim": 5}
    made: Any = plugins().make("model", {"name": model, "units": units, "layers": 2, **options}, vocab)
    sizes = {"V": vocab, "E": width, "U": units, "G": gates}
    documented = rows(section("The weights"))
    for name, shape in made.tensor_shapes.items():
        said = documented[re.sub(r"\.\d\.", ".<i>.", name)]
        parts = [part for part in re.split(r"[;,]| for ", said) if "U" in part or "V" in part]
        if "kernel" in name and name.startswith("layers") and "recurrent" not in name:
            said = parts["layers.1" in name]
        elif "bias" in name and name.startswith("layers"):
            said = next(part for part in parts if model.upper() in part).split(model.upper())[1]
        found = [
            [int(factor) if factor.isdigit() else sizes[factor] for factor in re.findall(r"\d|\b[VEUG]\b", part)]
            for part in said.split("×")
        ]
        assert tuple(first * (rest or [1])[0] for first, *rest in found) == shape, (name, said)
