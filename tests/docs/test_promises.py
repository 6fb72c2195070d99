"""What the pages promise about installation, versions and texts is what is tested or measured, and nothing else."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def page(name: str) -> str:
    """A page of the documentation on one line."""
    return " ".join((ROOT / "docs" / name).read_text(encoding="utf-8").split())


def agreement() -> dict[str, Any]:
    """What ``python -m benchmarks.agreement`` has measured."""
    found: dict[str, Any] = json.loads((ROOT / "benchmarks" / "results" / "agreement.json").read_text(encoding="utf-8"))
    return found


#: The package of ONNX Runtime that has wheels, by ``sys_platform`` and ``platform_machine``.
WHEELS = {
    ("linux", "x86_64"): "onnxruntime-gpu",
    ("linux", "aarch64"): "onnxruntime",
    ("darwin", "x86_64"): "onnxruntime",
    ("darwin", "arm64"): "onnxruntime",
    ("win32", "AMD64"): "onnxruntime-gpu",
    ("win32", "ARM64"): "onnxruntime",
}


@pytest.mark.parametrize("platform", WHEELS, ids=" ".join)
def test_the_markers_ask_for_the_wheels_that_exist(platform):
    environment = dict(zip(("sys_platform", "platform_machine"), platform, strict=True))
    wanted = [Requirement(each) for each in PROJECT["dependencies"]]
    chosen = [each.name for each in wanted if each.marker is None or each.marker.evaluate(environment)]
    assert [name for name in chosen if name.startswith("onnxruntime")] == [WHEELS[platform]]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_page_installs_what_is_not_published(path):
    commands = re.findall(r"pip install ([^`\n]*)", path.read_text(encoding="utf-8"))
    assert [command for command in commands if re.match(r'"?textgen-rnn', command)] == []


def test_the_readme_says_how_to_install_today_and_what_else_has_the_name():
    installation = README.partition("\n## Installation\n")[2].partition("\n## ")[0]
    assert "git clone REPOSITORY textgen-rnn\ncd textgen-rnn\n" in installation
    assert 'pip install ".[train]"' in installation
    assert "`pip install textgen` installs another project" in installation
    assert "`pip uninstall -y textgen textgen-rnn`" in installation


def test_the_versions_of_python_are_those_that_the_package_names():
    prefix = "Programming Language :: Python :: "
    classified = [each.removeprefix(prefix) for each in PROJECT["classifiers"] if each.startswith(prefix)]
    promised = re.findall(r"^\| Python (.*?);", README, re.MULTILINE)
    assert [re.findall(r"3\.\d+", each) for each in promised] == [classified]
    assert PROJECT["requires-python"] == f">={classified[0]}"


def test_the_oldest_onnx_runtime_that_is_promised_is_tried():
    oldest = re.findall(r"IR version 8, which ONNX Runtime.*?(1\.\d+)", page("onnx.md"))
    tried = re.findall(r"oldest\.py --host (1\.\d+)\.\d+", MAKEFILE)
    assert oldest == tried != []
    assert "oldest" in re.findall(r"^trials: (.*)$", MAKEFILE, re.MULTILINE)[0].split()


def test_the_rate_at_which_texts_part_is_the_one_that_was_measured():
    assert "One seed gives one text: exactly in the `onnx` runtime, alone or in a batch" in README
    assert "two or three times per million characters" in README
    _, _, rate, error = agreement()["figures"][1]["rows"]["multinomial"]
    ((parted, characters, promised),) = re.findall(
        r"(\d+) rows of 2,000 characters parted in ([\d,]+) characters, ([\d.]+) per million", page("stability.md")
    )
    assert float(promised) == round(int(parted) / int(characters.replace(",", "")) * 1e6, 1)
    assert int(characters.replace(",", "")) > 10**8
    assert abs(float(promised) - rate) < 2 * error
    assert 2 <= rate <= 3


def test_how_far_a_row_alone_and_in_a_batch_differ_is_what_was_measured():
    (promised,) = re.findall(
        r"In `numpy` and `keras`,.*? differ by up to ([\d.e-]+) in their logits", page("stability.md")
    )
    read = agreement()["figures"][0]["rows"]
    measured = max(read[f"{runtime}{way}"][1] for runtime in ("numpy", "keras") for way in ("", ", each row alone"))
    assert measured <= float(promised) < 2 * measured
    assert read["onnx, each row alone"] == [0, 0]
