"""The folder that ``textgen export --to web`` writes, and what it refuses."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from tests.exports.random_runs import save_run
from tests.npm import npm_packages
from textgen import Sampler, api, hookimpl
from textgen.errors import ArtifactError, TextgenError
from textgen.testing.plugins import registered

FILES = {"README.md", "SHA256SUMS", "model.json", "model.safetensors", "package.json", "textgen.d.ts", "textgen.js"}
FILES |= {"index.html", "page"}


def test_the_files(exported):
    _, folder = exported()
    assert {path.name for path in folder.iterdir()} == FILES
    sums = dict(line.split("  ")[::-1] for line in (folder / "SHA256SUMS").read_text().splitlines())
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "SHA256SUMS"]
    assert sums == {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


def test_the_command(command_line, tmp_path):
    run = save_run(tmp_path / "run")
    code, out, _ = command_line("export", "--to", "web", run.path, "--precision", "fp16")
    assert (code, out.strip()) == (0, str(run.path / "web"))
    tensors = safetensors.numpy.load_file(run.path / "web" / "model.safetensors")
    expected = {
        name: array.astype(np.float16) if name.endswith("recurrent_kernel") or name == "head.kernel" else array
        for name, array in run.weights().items()
    }
    assert tensors.keys() == expected.keys()
    for name, array in expected.items():
        assert tensors[name].dtype == array.dtype
        np.testing.assert_array_equal(tensors[name], array)


def test_one_file(command_line, tmp_path):
    """It replaces a page of ours, and nothing else; by default it lies in the run's folder."""
    run = save_run(tmp_path / "run")
    command = ("export", "--to", "web", "--single", run.path)
    code, out, err = command_line(*command, "--precision", "fp16")
    page = run.path / "web.html"
    assert (code, out.strip()) == (0, str(page))
    assert f"open it in a browser: {page}" in err
    before = page.stat().st_size
    assert command_line(*command)[0] == 0
    assert page.stat().st_size > before
    for unfit in (tmp_path, tmp_path / "page", "-"):
        code, out, err = command_line(*command, "--out", unfit)
        assert (code, out) == (2, "")
        assert f"a page in one file needs a name that ends in .html, not {unfit}; choose another --out" in err
        assert not Path(f"{unfit}.html").exists()
    mine = tmp_path / "mine.html"
    mine.write_text("<!doctype html><title>mine</title>")
    code, out, err = command_line(*command, "--out", mine)
    assert (code, out) == (2, "")
    assert "mine.html already exists and is not a page of textgen; choose another --out" in err
    assert mine.read_text() == "<!doctype html><title>mine</title>"


def test_no_folder_of_the_machine_is_named(exported):
    run, folder = exported()
    for name in ("model.json", "README.md", "package.json"):
        assert str(run.parent) not in (folder / name).read_text()


def test_it_is_an_npm_package(exported, tmp_path):
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("needs npm")
    _, folder = exported()
    (tmp_path / "package.json").write_text('{"type": "module"}')
    name = json.loads((folder / "package.json").read_text())["name"]
    done = subprocess.run(
        [npm, "install", "--offline", "--no-audit", "--no-fund", folder], cwd=tmp_path, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    program = f"""
        import {{load}} from '{name}';
        const generator = await load(new URL('.', import.meta.resolve('{name}')));
        console.log(generator.check().passed);
    """
    (tmp_path / "main.js").write_text(program)
    assert subprocess.run(["node", "main.js"], cwd=tmp_path, capture_output=True, check=True).stdout == b"true\n"


def test_the_types(exported, tmp_path):
    """A program that uses all of the interface passes ``tsc --strict``, and a wrong one does not."""
    modules = npm_packages("typescript", ["typescript@5.9.3"])
    _, folder = exported()
    shutil.copytree(folder, tmp_path / "model")
    program = (Path(__file__).parent / "types.ts").read_text()
    options = ["--strict", "--noEmit", "--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom"]

    def compile_(text: str) -> str:
        (tmp_path / "program.mts").write_text(text)
        command: list[str | Path] = ["node", modules / "typescript" / "bin" / "tsc", *options, "program.mts"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.stdout

    assert compile_(program) == ""
    assert "not assignable to type 'number'" in compile_(program.replace("topK: 40", "topK: 'many'"))


def test_damaged_files_are_one_line(exported, node, tmp_path):
    _, folder = exported()
    content = (folder / "model.safetensors").read_bytes()
    model = json.loads((folder / "model.json").read_text())
    changes = {
        "cut": ("model.safetensors", content[:-3]),
        "empty": ("model.safetensors", b""),
        "no json": ("model.json", b"{"),
        "other": ("model.json", json.dumps(model | {"format": "textgen-web-0"}).encode()),
        "renamed": ("model.safetensors", content.replace(b"head.kernel", b"head.kernal")),
        "changed": ("model.safetensors", content[:-400] + content[:-401:-1]),
    }
    jobs = []
    for name, (file, changed) in changes.items():
        shutil.copytree(folder, tmp_path / name)
        (tmp_path / name / file).write_bytes(changed)
        jobs.append({"folder": str(tmp_path / name), "requests": []})
    shutil.copytree(folder, tmp_path / "gone")
    (tmp_path / "gone" / "model.safetensors").unlink()
    found = dict(zip(changes, node(jobs), strict=True))
    for name in changes:
        assert found[name]["kind"] == "TextgenError"
        assert "export the run again" in found[name]["error"]
        assert "\n" not in found[name]["error"]
    (missing,) = node([{"folder": str(tmp_path / "gone"), "requests": []}])
    assert "model.safetensors cannot be read: ENOENT" in missing["error"]


class Backwards(Sampler):
    def transform(self, logits, parameters, seen):
        return logits


class ThirdParty:
    @hookimpl
    def textgen_register_samplers(self, register):
        register("backwards", Backwards, "A sampler of somebody else.")


def test_a_sampler_of_somebody_else_is_refused(tmp_path):
    with registered(ThirdParty()):
        run = save_run(tmp_path / "run", sampler="backwards | multinomial")
        with pytest.raises(TextgenError, match="the sampler 'backwards' cannot be exported for the web") as refused:
            api.export(run.path, to="web", notice=pytest.fail)
        assert "\n" not in str(refused.value)
        assert not (run.path / "web").exists()
        api.export(run.path, to="web", sampler="temperature(0.9) | multinomial", notice=pytest.fail)


def test_a_tokenizer_of_somebody_else_is_refused(tmp_path):
    run = save_run(tmp_path / "run")
    run.manifest.providers["tokenizer"] = "somebody-else"
    run.commit()
    with pytest.raises(TextgenError, match="the tokenizer 'char-index' cannot be exported for the web"):
        api.export(run.path, to="web", notice=lambda _: None)


def test_only_an_export_is_replaced(tmp_path):
    run = save_run(tmp_path / "run")
    folder = api.export(run.path, to="web", notice=pytest.fail).folder
    api.export(run.path, to="web", notice=pytest.fail)
    (folder / "thesis.txt").write_text("the only copy")
    with pytest.raises(ArtifactError, match=r"has thesis\.txt, which is not of an export for the web"):
        api.export(run.path, to="web", notice=pytest.fail)
    with pytest.raises(ArtifactError, match="already exists and is not of an export for the web"):
        api.export(run.path, to="web", out=run.path, notice=pytest.fail)
