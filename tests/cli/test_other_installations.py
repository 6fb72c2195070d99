"""Other packages that are installed beside textgen's, or in their place: one line that says what to do."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import textgen

ROOT = Path(textgen.__file__).parents[1]

#: Runs the command as its script does.
SCRIPT = "import sys; sys.argv[0] = 'textgen'; from textgen_start import main; main()"

#: What PyPI's project of the same name has at the same place.
THEIRS = {
    "needs more": "__version__ = '1.1.1'\nfrom textgen.augment.text_augment import TextAugment\n",
    "works": "__version__ = '1.1.1'\n",
}


def install(site: Path, name: str, version: str, *files: str) -> None:
    """Pretends that a distribution is installed."""
    folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (folder / "RECORD").write_text("".join(f"{file},,\n" for file in files))


def run(environment, site: Path, *arguments: str) -> subprocess.CompletedProcess:
    path = os.pathsep.join([str(site), *sys.path])
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        env={**environment, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("theirs", THEIRS)
def test_a_package_of_the_same_name_that_overwrote_textgen(environment, tmp_path, theirs):
    site = tmp_path / "site"
    (site / "textgen").mkdir(parents=True)
    for entry in (ROOT / "textgen").iterdir():
        if entry.name not in {"__init__.py", "__pycache__"}:
            (site / "textgen" / entry.name).symlink_to(entry)
    (site / "textgen" / "__init__.py").write_text(THEIRS[theirs])
    install(site, "textgen", "1.1.1", "textgen/__init__.py")
    done = run(environment, site, "runs", "list")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "textgen: error: textgen 1.1.1 is installed, another project whose files overwrite those of textgen-rnn; "
        "pip uninstall -y textgen textgen-rnn, then install textgen-rnn again, from a clone of its repository: "
        "pip install .\n"
    )


def test_doctor_names_a_package_of_the_same_name(environment, tmp_path):
    install(tmp_path / "site", "textgen", "1.1.1", "textgen/__init__.py", "textgen/augment/__init__.py")
    done = run(environment, tmp_path / "site", "doctor", "--json")
    assert done.returncode == 1
    (check,) = [check for check in json.loads(done.stdout) if "another project" in check["what"]]
    assert check["status"] == "broken"
    assert check["what"].startswith("textgen 1.1.1, another project")
    assert check["advice"].startswith("pip uninstall -y textgen textgen-rnn, then install")


def test_doctor_says_what_an_extra_lacks(environment, tmp_path):
    install(tmp_path / "site", "textgen-rnn", textgen.__version__)
    needed = ["numpy", 'unheard-of>=1; extra == "serve"', 'numpy; extra == "plots"']
    (metadata,) = (tmp_path / "site").glob("textgen_rnn-*/METADATA")
    metadata.write_text(metadata.read_text() + "".join(f"Requires-Dist: {each}\n" for each in needed))
    done = run(environment, tmp_path / "site", "doctor", "--json")
    (absent,) = [check for check in json.loads(done.stdout) if "textgen serve" in check["what"]]
    assert absent == {
        "what": "unheard-of, for textgen serve", "status": "absent", "advice": 'pip install "textgen-rnn[serve]"'
    }  # fmt: skip
    (works,) = [check for check in json.loads(done.stdout) if check["what"].endswith("for plots")]
    assert works["status"] == "works"
    assert works["what"].startswith("numpy ")


@pytest.mark.parametrize("left", ["", "raise ImportError('libonnxruntime.so is missing')"])
def test_a_half_removed_onnxruntime_is_one_line(environment, tmp_path, left):
    package = tmp_path / "site" / "onnxruntime"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(left)
    done = run(environment, tmp_path / "site", "doctor", "--json")
    (check,) = [check for check in json.loads(done.stdout) if "onnx" in check["what"]]
    assert check["status"] == "broken"
    assert "pip uninstall -y onnxruntime onnxruntime-gpu, then: pip install textgen-rnn" in check["advice"]
    assert "\n" not in check["advice"]


def test_both_packages_of_onnxruntime_are_one_line(environment, tmp_path):
    install(tmp_path / "site", "onnxruntime", "1.22.0")
    install(tmp_path / "site", "onnxruntime-gpu", "1.22.0")
    done = run(environment, tmp_path / "site", "doctor", "--json")
    (check,) = [check for check in json.loads(done.stdout) if check["what"].startswith("onnxruntime")]
    assert check["status"] == "broken"
    assert check["advice"] == (
        "they overwrite each other's files; keep one: pip uninstall -y onnxruntime onnxruntime-gpu, then: "
        "pip install textgen-rnn"
    )


def test_the_script_starts_the_command_line(environment, tmp_path):
    done = run(environment, tmp_path, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"textgen {textgen.__version__}\n", "")
