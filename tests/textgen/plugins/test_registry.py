"""Discovery, with real distributions in folders on the path."""

import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from textgen.errors import PluginError, UnknownNameError
from textgen.plugins.discovery import Plugin
from textgen.plugins.registration import KINDS
from textgen.plugins.registry import Registry, is_bundled, plugins

GOOD = """
from textgen import hookimpl

@hookimpl
def textgen_register_samplers(register):
    register("{name}", "textgen.sampling.sampler:Sampler", "Of {name}.")
"""


class Site:
    """A folder of installed distributions, each with one module that is a plugin."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, distribution: str, source: str, *, entry: str = "plugin", module: str | None = None) -> None:
        module = module or distribution.lower().replace("-", "_")
        (self.folder / f"{module}.py").write_text(source)
        info = self.folder / f"{module}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[textgen]\n{entry} = {module}\n")


@pytest.fixture
def site(tmp_path, monkeypatch) -> Iterator[Site]:
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield Site(tmp_path)
    for name in set(sys.modules) - before:
        del sys.modules[name]


def names(registry: Registry, kind: str = "sampler") -> set[str]:
    return {provided.name for provided in registry.provided(kind)}


def third_party(registry: Registry) -> list[Plugin]:
    return [plugin for plugin in registry.plugins if not is_bundled(plugin)]


def test_a_distribution_that_is_installed_is_found(site):
    site.install("Acme-Samplers", GOOD.format(name="acme"), entry="more")
    registry = Registry()
    assert registry.problems == []
    assert third_party(registry) == [Plugin("more", "acme-samplers", "1.2")]
    provided = registry.find("sampler", "acme")
    assert (provided.summary, provided.plugin) == ("Of acme.", Plugin("more", "acme-samplers", "1.2"))
    assert registry.get("sampler", "acme").__name__ == "Sampler"


def test_lists_are_sorted():
    registry = plugins()
    assert registry.plugins == sorted(registry.plugins, key=lambda plugin: (plugin.distribution, plugin.name))
    for kind in KINDS:
        listed = [provided.name for provided in registry.provided(kind)]
        assert listed == sorted(listed)
        assert all(provided.summary for provided in registry.provided(kind))


def test_every_bundled_name_can_be_imported():
    registry = plugins()
    for kind in KINDS:
        for provided in registry.provided(kind):
            if is_bundled(provided.plugin):
                assert provided.load() is not None


def test_a_name_that_two_plugins_claim_names_both(site):
    site.install("first-plugin", GOOD.format(name="typical"))
    site.install("second-plugin", GOOD.format(name="typical"))
    site.install("third-plugin", GOOD.format(name="greedy"))
    registry = Registry()
    with pytest.raises(PluginError) as raised:
        registry.get("sampler", "typical")
    assert str(raised.value) == (
        "sampler 'typical' is claimed by first-plugin 1.2 and second-plugin 1.2; "
        "uninstall one, or leave it out with --no-plugin first-plugin or --no-plugin second-plugin"
    )
    with pytest.raises(PluginError, match=r"'greedy' is claimed by textgen-rnn .* and third-plugin 1\.2"):
        registry.get("sampler", "greedy")
    assert registry.get("sampler", "multinomial")
    assert Registry(frozenset({"first-plugin"})).get("sampler", "typical")


def test_a_broken_plugin_is_left_out_and_the_others_work(site):
    site.install("a-good-one", GOOD.format(name="before"))
    site.install("broken-one", GOOD.format(name="lost") + "    raise ValueError('two\\nlines')\n", entry="broken")
    site.install("other-one", GOOD.format(name="after"))
    registry = Registry()
    (problem,) = registry.problems
    assert str(problem) == "plugin broken of broken-one 1.2: cannot be registered: ValueError: two lines"
    assert {"before", "after", "greedy"} <= names(registry)
    assert "lost" not in names(registry)
    assert [plugin.distribution for plugin in third_party(registry)] == ["a-good-one", "other-one"]


def test_a_hook_of_a_later_version_may_be_optional(site):
    site.install("later", "from textgen import hookimpl\n@hookimpl(optionalhook=True)\ndef textgen_new(x): pass\n")
    assert Registry().problems == []


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("no_such_module:Thing", "ModuleNotFoundError: No module named 'no_such_module'"),
        (
            "textgen.sampling.sampler:Nothing",
            "AttributeError: module 'textgen.sampling.sampler' has no attribute 'Nothing'",
        ),
        ("nonsense", "ModuleNotFoundError"),
    ],
)
def test_a_target_that_cannot_be_loaded_names_its_owner(site, monkeypatch, target, message):
    site.install("acme", GOOD.format(name="lost").replace("textgen.sampling.sampler:Sampler", target))
    registry = Registry()
    with pytest.raises(PluginError) as raised:
        registry.get("sampler", "lost")
    assert str(raised.value).startswith(f"sampler 'lost' of acme 1.2 cannot be loaded from {target}: {message}")
    assert "\n" not in str(raised.value)
    monkeypatch.setenv("TEXTGEN_STRICT", "1")
    with pytest.raises((ImportError, AttributeError, ValueError)):
        registry.get("sampler", "lost")


def test_a_name_costs_no_import_until_it_is_used(site):
    site.install("acme", GOOD.format(name="lazy").replace("textgen.sampling.sampler:Sampler", "heavy_module:Thing"))
    (site.folder / "heavy_module.py").write_text("class Thing: pass")
    registry = Registry()
    assert registry.find("sampler", "lazy")
    assert "heavy_module" not in sys.modules
    assert registry.get("sampler", "lazy").__name__ == "Thing"


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        (None, {"one", "two"}),
        (frozenset(), set()),
        (frozenset({"plugin-one"}), {"one"}),
        (frozenset({"second"}), {"two"}),
        (frozenset({"plugin-one", "second", "else"}), {"one", "two"}),
    ],
)
def test_an_allow_list_names_plugins_or_distributions(site, allowed, expected):
    site.install("plugin-one", GOOD.format(name="one"), entry="first")
    site.install("plugin-two", GOOD.format(name="two"), entry="second")
    registry = Registry(allowed)
    assert names(registry) & {"one", "two"} == expected
    assert "greedy" in names(registry)


def test_a_plugin_that_is_not_allowed_is_not_imported(site):
    site.install("plugin-one", GOOD.format(name="one"))
    Registry(frozenset())
    assert "plugin_one" not in sys.modules


def test_the_first_of_two_copies_of_a_distribution_counts(site, tmp_path, monkeypatch):
    site.install("acme", GOOD.format(name="old"))
    newer = tmp_path / "newer"
    newer.mkdir()
    Site(newer).install("Acme", GOOD.format(name="new"), module="acme")
    monkeypatch.syspath_prepend(newer)
    assert names(Registry()) & {"old", "new"} == {"new"}


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("sampler", "greddy", "unknown sampler 'greddy'; did you mean greedy?"),
        ("recipe", "dino", "unknown recipe 'dino'; did you mean dinos-"),
        ("exporter", "zzzzzz", "unknown exporter 'zzzzzz'; there "),
    ],
)
def test_an_unknown_name_offers_the_nearest(kind, name, message):
    with pytest.raises(UnknownNameError) as raised:
        plugins().get(kind, name)
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize(
    ("listed", "expected"), [("", set()), ("good-one", {"good"}), (" good-one , other-one ,", {"good", "other"})]
)
def test_the_environment_names_the_plugins_to_load(site, monkeypatch, capsys, listed, expected):
    site.install("broken-one", "import no_such_library")
    site.install("good-one", GOOD.format(name="good"))
    site.install("other-one", GOOD.format(name="other"))
    monkeypatch.setenv("TEXTGEN_PLUGINS", listed)
    monkeypatch.setattr("textgen.plugins.registry._registry", None)  # as in a new process
    assert names(plugins()) & {"good", "other"} == expected
    assert plugins() is plugins()
    assert capsys.readouterr().err == ""


def test_a_plugin_in_a_wheel_on_the_path_is_found(tmp_path, monkeypatch):
    wheel = tmp_path / "zipped-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("zipped.py", GOOD.format(name="zipped"))
        archive.writestr("zipped-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: zipped\nVersion: 1.0\n")
        archive.writestr("zipped-1.0.dist-info/entry_points.txt", "[textgen]\nzipped = zipped\n")
    monkeypatch.syspath_prepend(str(wheel))
    assert Registry().find("sampler", "zipped").plugin == Plugin("zipped", "zipped", "1.0")
