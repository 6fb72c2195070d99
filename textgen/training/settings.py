"""The settings of a run: the defaults, and everything that the user asked for, merged."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import PydanticUndefined

from textgen.base.console import notice
from textgen.errors import OptionError, suggestion
from textgen.files.writing import quoted
from textgen.generation.request import DEFAULT_LENGTH, GenerationOptions
from textgen.model.fitting import TrainingOptions
from textgen.options import PLUGINS, Options, Settings, Typed, build_options, merge_settings, read_config, set_arguments
from textgen.plugins.recorded import check_recorded
from textgen.plugins.registry import Registry
from textgen.runs.artifact import Artifact
from textgen.runs.lineage import Base
from textgen.text.corpus import Layout
from textgen.text.encoded import usual_longest

#: The default model.
DEFAULT_MODEL = "gru"

#: The default tokenizer, by the corpus's layout.
DEFAULT_TOKENIZER: dict[Layout, str] = {"stream": "char-index", "documents": "char-eos"}

#: Tokens that the default number of epochs comes to, about, and the bounds of that number.
DEFAULT_TOKENS = 21_000_000
DEFAULT_EPOCHS = (5, 60)

#: Options that every run recorded before models declared their own training options, whatever its model used.
FORMERLY_COMMON = (
    "optimizer",
    "learning_rate",
    "schedule",
    "warmup_steps",
    "weight_decay",
    "average",
    "clip_norm",
    "callbacks",
    "mixed_precision",
)

#: Options of a run that another one does not take over which begins with its weights.
LEFT_BEHIND = {
    "training": ("epochs", "stop_after", "max_steps", "device", "drop_duplicates"),
    "generation": ("length",),
}

#: Options of training that it takes over only if its text is of the same kind: both a stream, or both documents.
LAYOUT_OPTIONS = ("layout", "carry_state", "state_reset")


def read_settings(
    registry: Registry,
    names: Mapping[str, str | Path | Sequence[str | Path] | None],
    *layers: Mapping[str, Mapping[str, Any]],
    recipe: str | None = None,
    config: Path | None = None,
) -> Settings:
    """Merges settings; later ones take precedence: recipe, configuration file, layers in their order, names.

    A table of the configuration file is left out if it is for another plugin than the one named. A path without the
    name of a corpus is that of the corpus ``file``.

    Args:
        registry: where names are looked up.
        names: the plugins named one by one, by table; a corpus may also be the path of a text file, a folder
            or a pattern, or several of them.
        *layers: settings by table.
        recipe: the name of a recipe.
        config: a TOML file.

    Raises:
        OptionError: if the file cannot be read, or has an unknown table, or ``--set`` names another text than
            ``names``.
        UnknownNameError: if there is no such recipe.
    """
    named = {table: {"name": str(name)} for table, name in names.items() if name is not None}
    if (corpus := names.get("corpus")) is not None:
        named["corpus"] = _corpus_settings(registry, corpus)
        typed = [path for layer in layers if isinstance(path := layer.get("corpus", {}).get("path"), Typed)]
        if typed and "path" in named["corpus"]:
            raise OptionError(f"give the text either by its name or by --set corpus.path={typed[0]}, not both")
    configured = {
        table: values
        for table, values in (read_config(config) if config else {}).items()
        if table not in named or values.get("name") in (None, named[table]["name"])
    }
    chosen = merge_settings(configured, *layers, named)
    if recipe is None:
        return _with_corpus(chosen)
    base = merge_settings(registry.get("recipe", recipe))
    model = chosen["model"].get("name")
    if model not in (None, base["model"].get("name")):
        base["training"] = _known_to(registry, model, base["training"], f"the recipe {recipe}")
    return _with_corpus(merge_settings(base, chosen))


def _with_corpus(settings: Settings) -> Settings:
    """Names the corpus of settings that only have the path of a text."""
    if "path" in settings["corpus"]:
        settings["corpus"].setdefault("name", "file")
    return settings


def _corpus_settings(registry: Registry, corpus: str | Path | Sequence[str | Path]) -> dict[str, Any]:
    if not isinstance(corpus, str | Path):
        paths = [str(path) for path in corpus]
        return {"name": "file", "path": paths[0] if len(paths) == 1 else paths}
    is_name = isinstance(corpus, str) and any(item.name == corpus for item in registry.provided("corpus"))
    looks_like_path = Path(corpus).suffix or Path(corpus).name != corpus or re.search(r"[*?]|^-$", str(corpus))
    if not is_name and (isinstance(corpus, Path) or looks_like_path or Path(corpus).exists()):
        return {"name": "file", "path": str(corpus)}
    return {"name": str(corpus)}


def training_options(schema: type[TrainingOptions], values: Mapping[str, Any], model: str) -> TrainingOptions:
    """Validates the table ``training`` against the options that a model declares.

    Raises:
        OptionError: if an option is out of range, or not one of the model's.
    """
    for name in values:
        if name not in schema.model_fields:
            offer = suggestion(name, schema.model_fields)
            raise OptionError(f"training has no option {name!r} for the model {model!r}; {offer}")
    return build_options(schema, values, where="training")


def common_options(settings: Mapping[str, Mapping[str, Any]]) -> TrainingOptions:
    """Returns the training options that every model has, which decide the held-out text and the batches.

    The model's plugin is not needed. The device, which models may extend, has its default.
    """
    common = TrainingOptions.model_fields.keys() - {"device"}
    values = {name: value for name, value in settings.get("training", {}).items() if name in common}
    return build_options(TrainingOptions, values, where="training")


def recorded_settings(artifact: Artifact, registry: Registry) -> Settings:
    """Returns the settings of a run, to plan it again, without those that name code: see :func:`recorded_code`.

    Training options that an earlier version recorded although the model did not use them are dropped with a notice.
    """
    settings = merge_settings(artifact.manifest.settings)
    for table in ("corpus", "tokenizer", "model"):
        if any(item.name == settings[table]["name"] for item in registry.provided(table)):
            values = {option: value for option, value in settings[table].items() if option != "name"}
            check_recorded(artifact, registry.get(table, settings[table]["name"]).Options, values, table)
    # An option that an earlier version did not have is as it was then, not what now suits the length of the text.
    options = registry.get("model", settings["model"]["name"]).Options.model_fields
    defaults = {name: each.get_default(call_default_factory=True) for name, each in options.items()}
    settings["model"] = {name: v for name, v in defaults.items() if v is not PydanticUndefined} | settings["model"]
    schema = registry.get("model", settings["model"]["name"]).TrainingOptions
    known = {option: value for option, value in settings["training"].items() if option in schema.model_fields}
    check_recorded(artifact, schema, known, "training")
    check_recorded(artifact, GenerationOptions, settings["generation"], "generation")
    training = _known_to(registry, settings["model"]["name"], settings["training"], str(artifact.path))
    of_plugins = settings.pop(PLUGINS, {})
    loaded = registry.schemas()
    if lost := [name for name in of_plugins if name not in loaded]:
        notice(f"{artifact.path} was made with options of plugins that are not loaded: {', '.join(lost)}", once=True)
    kept = {name: options for name, options in of_plugins.items() if name in loaded}
    settings |= {"training": _without(training, _code_options(settings, registry))}
    return settings | ({PLUGINS: kept} if kept else {})


def plugin_options(wanted: Mapping[str, Mapping[str, Any]], registry: Registry) -> dict[str, Options]:
    """Validates the options of life-cycle plugins; returns those of each plugin that has some, by its name.

    Raises:
        OptionError: if an option is unknown or out of range, or a plugin has none.
    """
    schemas = registry.schemas()
    for name in wanted:
        if name not in schemas:
            raise OptionError(f"no plugin {name!r} with options is loaded; {suggestion(name, schemas)}")
    return {
        name: build_options(schema, wanted.get(name, {}), where=f"{PLUGINS}.{name}") for name, schema in schemas.items()
    }


def recorded_code(artifact: Artifact, registry: Registry) -> dict[str, Any]:
    """Returns the training options of a run that name code, for information: what a run's folder names is never run."""
    settings = artifact.manifest.settings
    training = settings.get("training", {})
    return {name: training[name] for name in _code_options(settings, registry) if training.get(name)}


def _code_options(settings: Mapping[str, Mapping[str, Any]], registry: Registry) -> tuple[str, ...]:
    names: tuple[str, ...] = registry.get("model", settings["model"]["name"]).TrainingOptions.names_code
    return names


def check_code(artifact: Artifact, wanted: Settings, registry: Registry) -> Settings:
    """Returns the wanted training options that name code, after a check that none is left open which the run had.

    Args:
        artifact: the run to resume.
        wanted: the user's settings, by table.
        registry: where names are looked up.

    Raises:
        OptionError: if the run was trained with such an option, and it is not among the wanted ones.
    """
    given = wanted.get("training", {})
    fields = registry.get("model", artifact.manifest.settings["model"]["name"]).TrainingOptions.model_fields
    for name, value in recorded_code(artifact, registry).items():
        if name not in given:
            values = (value, fields[name].get_default())
            again, none = (shlex.join(set_arguments("training", {name: each})) for each in values)
            raise OptionError(
                f"{artifact.path} was trained with training.{name}, which names code, and a run's folder never says "
                f"what is run: add {again} if you trust it, or {none} to resume without it"
            )
    names = _code_options(artifact.manifest.settings, registry)
    return {"training": {name: given[name] for name in names if name in given}}


def report_code(artifact: Artifact, wanted: Settings, registry: Registry) -> None:
    """Reports, once, the training options that name code and are not taken over from a run."""
    for name, value in recorded_code(artifact, registry).items():
        if name not in wanted.get("training", {}):
            again = shlex.join(set_arguments("training", {name: value}))
            notice(f"what training.{name} of {artifact.path} names is not run here: {again}", once=True)


def _known_to(registry: Registry, model: str, training: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Returns training options without those of models that learn by gradient, if a model does not have them.

    They are dropped with a notice: a recipe for another model, or an earlier version of textgen, has set them.
    """
    known = registry.get("model", model).TrainingOptions.model_fields
    unused = [name for name in training if name in FORMERLY_COMMON and name not in known]
    if unused:
        notice(f"{source} sets training options that the model {model!r} does not use: {', '.join(unused)}")
    return {name: value for name, value in training.items() if name not in unused}


def changes_to(recorded: Settings, wanted: Settings, registry: Registry) -> Settings:
    """Returns the wanted settings that differ from the recorded ones, as JSON values by table.

    Raises:
        OptionError: if an option is unknown or out of range.
    """
    changes: Settings = {}
    for table, values in wanted.items():
        if table == PLUGINS:
            then, now = (plugin_options(each, registry) for each in _plugin_tables(recorded, wanted))
            if differing := {name: _differing(then[name], now[name], values[name]) for name in values}:
                changes |= {PLUGINS: differing} if any(differing.values()) else {}
            continue
        name = recorded[table].get("name")
        if values.get("name", name) != name:
            changes[table] = {"name": values["name"]}
        elif options := {option: value for option, value in values.items() if option != "name"}:
            before = {option: value for option, value in recorded[table].items() if option != "name"}
            old, new = (_validated(table, each, recorded, registry) for each in (before, before | options))
            if differing := _differing(old, new, options):
                changes[table] = differing
    return changes


def _plugin_tables(recorded: Settings, wanted: Settings) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of plugins as they are recorded, and as they are wanted."""
    before = {PLUGINS: recorded.get(PLUGINS, {})}
    return before[PLUGINS], merge_settings(before, {PLUGINS: wanted[PLUGINS]})[PLUGINS]


def _differing(then: Options, now: Options, names: Iterable[str]) -> dict[str, Any]:
    """The options of the given names that differ, with their new values as JSON values."""
    new = now.model_dump(mode="json", include=set(names))
    return {name: new[name] for name in names if _plain(getattr(then, name)) != _plain(getattr(now, name))}


def _plain(value: Any) -> Any:
    """A value to compare by: the path of a file may be given in several ways."""
    if isinstance(value, Path):
        return value.expanduser().resolve()
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value


def _validated(table: str, values: Mapping[str, Any], recorded: Settings, registry: Registry) -> Options:
    """The options of a table, for the plugin that is recorded for it."""
    if table == "generation":
        return build_options(GenerationOptions, values, where=table)
    if table == "training":
        model = recorded["model"]["name"]
        return training_options(registry.get("model", model).TrainingOptions, values, model)
    schema: type[Options] = registry.get(table, recorded[table]["name"]).Options
    return build_options(schema, values, where=table)


def check_resumable(artifact: Artifact, recorded: Settings, changes: Settings, registry: Registry) -> None:
    """Checks that a run which is resumed keeps its options, but for those that the model declares as ``resumable``.

    Args:
        artifact: the run.
        recorded: its settings.
        changes: those that are to differ.
        registry: where names are looked up.

    Raises:
        OptionError: if another option is changed; the message says how to do that, if it can be done.
    """
    schema = registry.get("model", recorded["model"]["name"]).TrainingOptions
    fixed = [
        (table, option)
        for table, values in changes.items()
        for option in values
        if table != PLUGINS and (table != "training" or option not in schema.resumable)
    ]
    if not fixed:
        return
    allowed = _listed(("training", name) for name in schema.resumable)
    message = f"{_listed(fixed)} cannot change when a run is resumed{f' (these can: {allowed})' if allowed else ''}"
    if _unchangeable(changes, recorded, registry):
        raise OptionError(f"{message}; train a new run instead")
    command = _from_command(artifact, recorded, changes, registry)
    raise OptionError(f"{message}; to fine-tune its weights: {command}")


def _listed(options: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{table}.{option}" for table, option in options)


def _unchangeable(changes: Settings, recorded: Settings, registry: Registry) -> list[tuple[str, str]]:
    """The changes that trained weights do not allow: of the tokenizer, and of the model unless it is adjustable."""
    adjustable = registry.get("model", recorded["model"]["name"]).adjustable
    fixed = [("tokenizer", option) for option in changes.get("tokenizer", {})]
    return fixed + [("model", option) for option in changes.get("model", {}) if option not in adjustable]


def _from_command(artifact: Artifact, recorded: Settings, changes: Settings, registry: Registry) -> str:
    """The command that fine-tunes a run's weights with changed options, on the same text unless that changes too."""
    settings = merge_settings(recorded, changes)
    corpus = dict(settings["corpus"])
    name = corpus.pop("name")
    fields = registry.get("corpus", name).Options.model_fields
    is_file = name == "file" and "path" in corpus
    source = f"--corpus {shlex.quote(name)}"
    if is_file:
        paths = corpus.pop("path")
        source = " ".join(quoted(Path(path)) for path in ([paths] if isinstance(paths, str) else paths))
    selected = {option: value for option, value in corpus.items() if value != fields[option].get_default()}
    tables = {**changes, "corpus": selected}
    assigned = [word for table, values in tables.items() for word in set_arguments(table, values)]
    return " ".join(["textgen train", source, f"--from {quoted(artifact.path)}", *map(shlex.quote, assigned)])


def check_taken(run: str, named: Mapping[str, object]) -> None:
    """Checks that nothing is named that is taken over from a run.

    Args:
        run: the option that names the run.
        named: the options that may not be given with it, by name, such as those of the model, tokenizer and recipe.

    Raises:
        OptionError: if one is given.
    """
    for name, value in named.items():
        if value is not None:
            raise OptionError(f"{name} cannot be combined with {run}: that comes from the run")


def settings_from(base: Base, wanted: Settings, registry: Registry) -> Settings:
    """Returns the settings of a run that begins with the weights of another one: what is wanted, over its settings.

    Model and tokenizer are those of the base, and so are the options of training and generation, except those that
    belong to its text, its machine or the length of its training.

    Args:
        base: the run to begin with.
        wanted: the user's settings, by table.
        registry: where names are looked up.

    Raises:
        OptionError: if an option is changed that the weights depend on.
    """
    recorded = recorded_settings(base.artifact, registry)
    report_code(base.artifact, wanted, registry)
    parts = {table: wanted.get(table, {}) for table in ("tokenizer", "model")}
    fixed = _unchangeable(changes_to(recorded, parts, registry), recorded, registry)
    if fixed:
        adjustable = registry.get("model", recorded["model"]["name"]).adjustable
        allowed = _listed(("model", name) for name in adjustable)
        raise OptionError(
            f"{_listed(fixed)} cannot change: the weights of {base.path} depend on this"
            + (f"; these can: {allowed}" if allowed else "")
        )
    schema = registry.get("model", recorded["model"]["name"]).TrainingOptions
    taken = {
        "tokenizer": recorded["tokenizer"],
        "model": recorded["model"],
        "training": _without(recorded["training"], LEFT_BEHIND["training"]) | dict(schema.from_trained),
        "generation": _without(recorded["generation"], LEFT_BEHIND["generation"]),
    }
    return merge_settings(taken, wanted)


def _without(values: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


def default_epochs(tokens: int) -> int:
    """The default number of epochs of a text of so many tokens, for a model that suggests none."""
    return min(max(round(DEFAULT_TOKENS / tokens), DEFAULT_EPOCHS[0]), DEFAULT_EPOCHS[1])


def default_length(layout: Layout, lengths: NDArray[np.int64]) -> int:
    """The default length of a generated text, in characters: for documents, twice the longest one that is not long.

    Args:
        layout: the corpus's.
        lengths: the number of characters of each document, ``[documents]``.
    """
    return DEFAULT_LENGTH if layout == "stream" else 2 * min(int(np.max(lengths)), usual_longest(lengths))
