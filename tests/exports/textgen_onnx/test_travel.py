"""An export travels: it names no folder of its author's machine, survives Git, and has the chain that was asked for."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from textgen import api
from textgen.runs.artifact import Artifact
from textgen.testing import recurrent, registered


@pytest.fixture
def private(make_run, tmp_path) -> Artifact:
    """A run whose manifest names folders wherever it can."""
    home = tmp_path / "home" / "mallory" / "secret"
    run: Artifact = make_run(home / "run")
    manifest, inside = run.manifest, str(home / "novel.txt")
    manifest.provenance |= {
        "sources": [
            {"file": inside, "addresses": [f"file://{inside}"], "sha256": "0" * 64},
            {"file": r"C:\Users\mallory\secret\novel.txt", "addresses": [], "sha256": "1" * 64},
            {"file": "news.txt", "addresses": ["https://example.org/mine/news.txt"], "sha256": "2" * 64},
        ],
        "licence": "the user's own",
    }
    manifest.providers["recipe mine"] = f"{home}/plug.py"
    manifest.versions[f"{home}/plug.py"] = "abc"
    earlier: dict[str, Any] = json.loads(json.dumps(manifest.settings))
    earlier["corpus"]["path"] = ["mallory/secret/a.txt", "~mallory/secret/b.txt", r"..\secret\*.txt"]
    manifest.lineage = [
        {
            "run": str(home / "former"),
            "weights_sha256": "3" * 64,
            "corpus": "file",
            "text_sha256": "4" * 64,
            "settings": earlier,
        }
    ]
    manifest.refit = {"run": str(home / "judged"), "weights_sha256": "5" * 64, "epoch": 3, "held_out_loss": 1.25}
    home.joinpath("prompt.txt").write_text("T")
    manifest.settings["training"]["watched"] = str(home / "prompt.txt")
    manifest.settings["generation"]["prompt"] = "/The lazy"
    run.commit()
    return run


def test_an_export_names_no_folder(private):
    api.export(private.path, options={"block": 2}, notice=lambda _: None)
    folder = private.path / "onnx"
    for path in folder.iterdir():
        content = path.read_bytes()
        for word in (b"mallory", b"secret", str(private.path.parent).encode(), b"Users"):
            assert word not in content, (path.name, word)
    about = json.loads((folder / "textgen.json").read_text())
    assert about["settings"]["corpus"]["path"] == "run.txt"
    assert [source["file"] for source in about["provenance"]["sources"]] == ["novel.txt", "novel.txt", "news.txt"]
    assert about["provenance"]["sources"][2]["addresses"] == ["https://example.org/mine/news.txt"]
    assert about["lineage"][0]["run"] == "former"
    assert about["lineage"][0]["settings"]["corpus"]["path"] == ["a.txt", "b.txt", "*.txt"]
    assert about["refit"]["run"] == "judged"
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert (
        "Trained on all text, not judged; judged, a run with the same options that held text out, had 1.2500 nats"
        in card
    )
    assert about["providers"]["recipe mine"] == "./plug.py"
    assert about["versions"]["./plug.py"] == "abc"
    assert about["settings"]["training"]["watched"] == "prompt.txt"
    assert about["settings"]["generation"]["prompt"] == "/The lazy"
    assert api.load(folder).generate("The", length=5)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
@pytest.mark.parametrize("of", ["the export", "a run that says so"])
def test_it_survives_the_line_ends_of_git(tmp_path, of):
    settings: dict[str, Any] = {"training": {"epochs": 1, "batch_size": 4, "length": 20}}
    with registered(recurrent):
        api.train(text="The quick brown fox\n" * 30, model="fixed-gru", settings=settings, out=tmp_path / "run")
        api.export(tmp_path / "run")
    source = tmp_path / "run" / ("onnx" if of == "the export" else "")
    here, there = tmp_path / "here", tmp_path / "there"

    def git(*arguments: object, at: Path = here) -> None:
        options = ("user.name=a", "user.email=a@b", "core.autocrlf=true", "core.safecrlf=false")
        command = ["git", *(word for option in options for word in ("-c", option)), *map(str, arguments)]
        subprocess.run(command, cwd=at, check=True, capture_output=True)

    shutil.copytree(source, here / "model")
    if of != "the export":  # as docs/artifact.md advises
        (here / "model" / ".gitattributes").write_text("* -text\n")
    git("init")
    git("add", ".")
    git("commit", "-m", "a model")
    git("clone", here, there, at=tmp_path)
    files = [path.relative_to(there) for path in (there / "model").rglob("*") if path.is_file()]
    assert len(files) > 5
    for file in files:
        assert (there / file).read_bytes() == (here / file).read_bytes()
    Artifact.open(there / "model").verify()


@pytest.mark.parametrize("sampler", ["greedy", "temperature(1.5) | top-k(3) | multinomial"])
def test_an_export_with_another_chain(make_run, tmp_path, textgen, sampler):
    run = make_run(tmp_path / "run")
    before = (run.path / "textgen.json").read_bytes()
    done = textgen("export", "--onnx", run.path, "--sampler", sampler)
    assert done.code == 0, done.err
    assert (run.path / "textgen.json").read_bytes() == before
    about = json.loads((run.path / "onnx" / "textgen.json").read_text())
    assert about["settings"]["generation"]["sampler"] == sampler
    names = [link.partition("(")[0] for link in sampler.split(" | ")]
    assert about["export"]["generate"]["sampler_names"] == names
    assert [key for key in about["providers"] if key.startswith("sampler ")] == [f"sampler {name}" for name in names]
    options: dict[str, Any] = {"length": 50, "seed": 2}
    expected = api.load(run.path, runtime="numpy").generate("The", sampler=sampler, **options)
    assert api.load(run.path / "onnx").generate("The", **options) == expected
    assert api.load(run.path, runtime="onnx").generate("The", sampler=sampler, **options) == expected
    card = (run.path / "onnx" / "README.md").read_text()
    assert f"sampler = {sampler}" in card


@pytest.mark.parametrize("sampler", ["", "greedy | greedy", "warm(2) | multinomial", "temperature(0.5)"])
def test_a_chain_that_is_none(make_run, tmp_path, textgen, sampler):
    run = make_run(tmp_path / "run")
    done = textgen("export", "--onnx", run.path, "--sampler", sampler)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert not (run.path / "onnx").exists()


def test_an_export_of_another_chain_by_the_api(make_run, tmp_path):
    run = make_run(tmp_path / "run")
    api.export(run.path, out=tmp_path / "greedy", sampler="greedy")
    texts = {api.load(tmp_path / "greedy").generate("The", length=30, seed=seed) for seed in range(5)}
    assert len(texts) == 1
