"""The settings of a run: the defaults, and everything that the user asked for, merged."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from textgen.base.console import notice
from textgen.errors import OptionError, suggestion
from textgen.model.fitting import TrainingOptions
from textgen.options import Settings, build_options, merge_settings, read_config
from textgen.plugins.registry import Registry
from textgen.runs.artifact import Artifact
from textgen.text.corpus import Layout

#: The default model.
DEFAULT_MODEL = "gru"

#: The default tokenizer, by the corpus's layout.
DEFAULT_TOKENIZER: dict[Layout, str] = {"stream": "char-index", "documents": "char-eos"}

#: Batches that the default number of epochs comes to, about, and the bounds of that number.
DEFAULT_STEPS = 3000
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


def read_settings(
    registry: Registry,
    names: Mapping[str, str | Path | Sequence[str | Path] | None],
    *layers: Mapping[str, Mapping[str, Any]],
    recipe: str | None = None,
    config: Path | None = None,
) -> Settings:
    """Merges settings; later ones take precedence: recipe, configuration file, layers in their order, names.

    A table of the configuration file is left out if it is for another plugin than the one named.

    Args:
        registry: where names are looked up.
        names: the plugins named one by one, by table; a corpus may also be the path of a text file, a folder
            or a pattern, or several of them.
        *layers: settings by table.
        recipe: the name of a recipe.
        config: a TOML file.

    Raises:
        OptionError: if the file cannot be read, or has an unknown table.
        UnknownNameError: if there is no such recipe.
    """
    named = {table: {"name": str(name)} for table, name in names.items() if name is not None}
    if (corpus := names.get("corpus")) is not None:
        named["corpus"] = _corpus_settings(registry, corpus)
    configured = {
        table: values
        for table, values in (read_config(config) if config else {}).items()
        if table not in named or values.get("name") in (None, named[table]["name"])
    }
    chosen = merge_settings(configured, *layers, named)
    if recipe is None:
        return chosen
    base = merge_settings(registry.get("recipe", recipe))
    model = chosen["model"].get("name")
    if model not in (None, base["model"].get("name")):
        base["training"] = _known_to(registry, model, base["training"], f"the recipe {recipe}")
    return merge_settings(base, chosen)


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


def recorded_layout(settings: Mapping[str, Mapping[str, Any]]) -> TrainingOptions:
    """Returns the recorded options that every model has, which decide the held-out text and the batches.

    The model's plugin is not needed. The device, which models may extend, has its default.
    """
    common = TrainingOptions.model_fields.keys() - {"device"}
    values = {name: value for name, value in settings["training"].items() if name in common}
    return build_options(TrainingOptions, values, where="training")


def recorded_settings(artifact: Artifact, registry: Registry) -> Settings:
    """Returns the settings of a run, to plan it again.

    Training options that an earlier version recorded although the model did not use them are dropped with a notice.
    """
    settings = merge_settings(artifact.manifest.settings)
    training = _known_to(registry, settings["model"]["name"], settings["training"], str(artifact.path))
    return settings | {"training": training}


def _known_to(registry: Registry, model: str, training: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Returns training options without those of models that learn by gradient, if a model does not have them.

    They are dropped with a notice: a recipe for another model, or an earlier version of textgen, has set them.
    """
    known = registry.get("model", model).TrainingOptions.model_fields
    unused = [name for name in training if name in FORMERLY_COMMON and name not in known]
    if unused:
        notice(f"{source} sets training options that the model {model!r} does not use: {', '.join(unused)}")
    return {name: value for name, value in training.items() if name not in unused}


def check_resumable(changes: Settings, schema: type[TrainingOptions]) -> None:
    """Checks that a run which is resumed keeps its options, but for those that the model declares as ``resumable``.

    Raises:
        OptionError: if another option is changed.
    """
    for table, values in changes.items():
        for option in values:
            if table != "training" or option not in schema.resumable:
                allowed = ", ".join(f"training.{name}" for name in schema.resumable)
                raise OptionError(f"{table}.{option} cannot change when a run is resumed; {allowed} can")


def default_epochs(steps: int) -> int:
    """The default number of epochs, each of ``steps`` batches, of a model that suggests none."""
    return min(max(round(DEFAULT_STEPS / steps), DEFAULT_EPOCHS[0]), DEFAULT_EPOCHS[1])


def default_length(layout: Layout, longest: int) -> int:
    """The default length of a generated text, in characters.

    Args:
        layout: the corpus's.
        longest: characters of its longest document.
    """
    return 400 if layout == "stream" else 2 * longest
