"""CONTRIBUTING.md: its table lists the rooms that exist, in an order in which each imports only from those above."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
HOUSE = runpy.run_path(str(ROOT / "tests" / "textgen" / "test_rooms.py"))

PACKAGES = ("textgen", "plugins/textgen_keras", "plugins/textgen_serve", "exports/textgen_onnx")


def listed(package: str) -> list[str]:
    """The rooms of a package in the order of the table."""
    return re.findall(rf"^\| `{package}/([^`]+)` \|", PAGE, re.MULTILINE)


def rooms(package: str) -> list[str]:
    """The same, without slash or suffix, as the tests of rooms name them."""
    return [name.removesuffix("/").removesuffix(".py") for name in listed(package)]


@pytest.mark.parametrize("package", PACKAGES)
def test_the_table_lists_exactly_the_rooms_that_exist(package):
    paths = [path for path in (ROOT / package).iterdir() if path.name != "__pycache__"]
    existing = [
        f"{path.name}/" if path.is_dir() else path.name for path in paths if path.is_dir() or path.suffix == ".py"
    ]
    assert sorted(listed(package)) == sorted(existing)


def test_the_table_has_the_order_of_the_floors():
    assert [name for name in rooms("textgen") if name not in ("templates", "page")] == list(HOUSE["ROOMS"])


@pytest.mark.parametrize("package", PACKAGES[1:])
def test_a_room_of_a_plugin_imports_only_from_rooms_above_it(package):
    name, order = Path(package).name, rooms(package)
    for module, others in HOUSE["GRAPH"].items():
        if module.partition(".")[0] == name:
            own = HOUSE["room"](module)
            used = {HOUSE["room"](other) for other in others if other.partition(".")[0] == name and other != name}
            assert used <= set(order[: order.index(own) + 1]), module


def test_every_link_leads_somewhere():
    for target in re.findall(r"\]\((?!https?:)([^)#]*)", PAGE):
        assert (ROOT / target).exists(), target
