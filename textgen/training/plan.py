"""The plan of a training run: from settings to text, batches and model."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textgen.base.console import notice
from textgen.errors import OptionError, TextgenError, UnknownCharacterError
from textgen.generation.prompts import remarks
from textgen.generation.request import GenerationOptions
from textgen.model.fitting import Tensors, TrainingOptions
from textgen.model.model import Model
from textgen.options import PLUGINS, Options, Settings, build_options, merge_settings
from textgen.plugins.faults import contained
from textgen.plugins.recorded import needing, recorded_tokenizer
from textgen.plugins.registry import Registry
from textgen.runs.lineage import Base, Refit
from textgen.text.batches import Dataset
from textgen.text.growth import new_tokens
from textgen.text.labels import labels_of
from textgen.text.tokenizer import Tokenizer
from textgen.text.vocabulary import as_in_training
from textgen.training.layout import arrange_batches
from textgen.training.settings import (
    DEFAULT_MODEL,
    LAYOUT_OPTIONS,
    default_epochs,
    default_length,
    plugin_options,
    settings_from,
    training_options,
)
from textgen.training.text import Text, named_options, read_text


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A training run that could start now.

    Attributes:
        text: the text to train on.
        dataset: its batches.
        model: the model to train.
        model_name: its registered name.
        training: the options of training.
        generation: the options of generation.
        recipe: the name of the recipe that the settings come from, if any.
        base: the run whose trained weights it begins with, if any.
        refit: the run that is trained again on all text, if any.
        weights: these weights, by the model's ids; ``None`` for new ones.
        plugin_options: the options of life-cycle plugins, by the plugin's name.
    """

    text: Text
    dataset: Dataset
    model: Model
    model_name: str
    training: TrainingOptions
    generation: GenerationOptions
    recipe: str | None
    base: Base | None = None
    refit: Refit | None = None
    weights: Tensors | None = None
    plugin_options: Mapping[str, Options] = field(default_factory=dict)

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the text."""
        return self.text.tokenizer

    @property
    def _begins_with(self) -> dict[str, Any]:
        if self.base is None:
            return {}
        return {"from": str(self.base.path), "new_tokens": self.new_tokens, "new_labels": self.new_labels}

    @property
    def new_tokens(self) -> list[str]:
        """The texts of the ids that the weights it begins with do not know."""
        return self._new[0]

    @property
    def new_labels(self) -> list[str]:
        """The labels that the weights it begins with do not know."""
        return self._new[1]

    @cached_property
    def _new(self) -> tuple[list[str], list[str]]:
        return ([], []) if self.text.old_ids is None else new_tokens(self.tokenizer, self.text.old_ids)

    @property
    def settings(self) -> Settings:
        """The complete settings by table, as JSON values: every option of every part has its value."""
        return {
            **self.text.settings,
            "model": named_options(self.model_name, self.model.options),
            "training": self.training.model_dump(mode="json"),
            "generation": self.generation.model_dump(mode="json"),
            **({PLUGINS: self._plugin_settings} if self.plugin_options else {}),
        }

    @property
    def _plugin_settings(self) -> dict[str, Any]:
        return {name: options.model_dump(mode="json") for name, options in self.plugin_options.items()}

    def describe(self) -> dict[str, Any]:
        """Returns what ``textgen train --dry-run`` prints, as JSON values."""
        held_out = self.dataset.held_out
        return {
            **self._begins_with,
            **({"refit": str(self.refit.path)} if self.refit else {}),
            "vocab_size": self.tokenizer.vocab_size,
            "documents": len(self.text.encoded),
            "duplicates": self.text.duplicates,
            "characters": self.text.facts.characters,
            "tokens": len(self.text.encoded.ids),
            "examples": self.dataset.train.examples,
            "steps_per_epoch": self.dataset.train.steps,
            "held_out_examples": held_out.examples if held_out else 0,
            "epochs": self.training.last_epoch,
            "parameters": self.model.parameter_count,
            "settings": self.settings,
        }


def make_plan(
    settings: Mapping[str, Mapping[str, Any]],
    registry: Registry,
    data_dir: Path | None = None,
    *,
    text: Text | None = None,
    recipe: str | None = None,
    held_out: NDArray[np.intp] | None = None,
    base: Base | None = None,
    refit: Refit | None = None,
) -> Plan:
    """Builds every part that settings name.

    Args:
        settings: by table; ``corpus.name`` is needed, everything else has defaults.
        registry: where names are looked up.
        data_dir: as for :func:`~textgen.training.text.read_text`.
        text: the text, if it has been read already.
        recipe: the name of the recipe that the settings come from, to be recorded.
        held_out: the numbers of the documents to judge by; by default as ``training.held_out`` says.
        base: the run to begin with the weights of; its settings are the base of the given ones, and its vocabulary
            grows by what the text has and it lacks.
        refit: the run whose settings these are, to be recorded.

    Raises:
        OptionError: if an option is unknown, out of range, or not one of the model's.
        CorpusError: if the text cannot be read, or is too short for one batch.
        UnsupportedModelError: if the model cannot take the vocabulary that has grown.
    """
    wanted = merge_settings(settings)
    options = _settle_options(wanted, registry, base)
    if text is None:
        read = read_text if base is None else partial(grown_text, base)
        with contained():
            text = read(options.settings, registry, data_dir)
    training = options.training if base is None else _settle_layout(options, text, base, wanted)
    keeps_prompt = base is None or "prompt" in wanted["generation"]
    generation = _settle_generation(options.generation, text, keeps_prompt=keeps_prompt)
    suggested: dict[str, Any] = {}
    if base is None:
        suggested = options.model_class.suggested_options(text.facts.characters, len(labels_of(text.tokenizer)))
    model_settings = {**suggested, **options.settings["model"], "name": options.model_name}
    model = registry.make("model", model_settings, text.tokenizer.vocab_size)
    weights = None if base is None or text.old_ids is None else model.grow_weights(base.weights, text.old_ids)
    dataset = arrange_batches(text, training, held_out)
    return Plan(
        text=text,
        dataset=dataset,
        model=model,
        model_name=options.model_name,
        training=_settle_epochs(training, model, text),
        generation=generation,
        recipe=recipe,
        base=base,
        refit=refit,
        weights=weights,
        plugin_options=options.plugin_options,
    )


@dataclass(frozen=True, kw_only=True)
class _Options:
    """The settings of a run, and the options that are settled before its text is read."""

    settings: Settings
    model_name: str
    model_class: type[Model]
    training: TrainingOptions
    generation: GenerationOptions
    plugin_options: Mapping[str, Options]


def _settle_options(wanted: Settings, registry: Registry, base: Base | None) -> _Options:
    """Completes the wanted settings and checks them, so that mistakes are found before a long text is read."""
    with nullcontext() if base is None else needing(base.artifact, registry):
        settings = wanted if base is None else settings_from(base, wanted, registry)
        model_name = settings["model"].get("name", DEFAULT_MODEL)
        model_class = registry.get("model", model_name)
        training = training_options(model_class.TrainingOptions, settings["training"], model_name)
        generation = build_options(GenerationOptions, settings["generation"], where="generation")
        registry.chain(generation.sampler)
        of_plugins = plugin_options(settings.get(PLUGINS, {}), registry)
    return _Options(
        settings=settings,
        model_name=model_name,
        model_class=model_class,
        training=training,
        generation=generation,
        plugin_options=of_plugins,
    )


def grown_text(
    base: Base, settings: Mapping[str, Mapping[str, Any]], registry: Registry, data_dir: Path | None = None
) -> Text:
    """Reads and encodes a text with the tokenizer of a run, whose vocabulary grows.

    Raises:
        OptionError: if there is no corpus, or the tokenizer cannot learn one of its characters.
        CorpusError: if the text cannot be read, or is empty.
    """
    if "name" not in settings["corpus"]:
        raise OptionError(f"no text is chosen to fine-tune {base.path} on: give a text file or --corpus NAME")
    tokenizer = recorded_tokenizer(base.artifact, registry)
    try:
        text = read_text(settings, registry, data_dir, tokenizer=tokenizer, grows=True)
    except UnknownCharacterError as error:
        raise OptionError(
            f"the tokenizer {settings['tokenizer']['name']!r} of {base.path} cannot learn {error.character!r}: "
            "remove it from the text, or train a new run without --from"
        ) from None
    return text


def _settle_layout(options: _Options, text: Text, base: Base, wanted: Settings) -> TrainingOptions:
    """The options of training; those of the base that belong to streams do not apply to documents, and the reverse."""
    own = LAYOUT_OPTIONS if text.layout != base.artifact.manifest.provenance.get("layout", text.layout) else ()
    values = options.settings["training"]
    kept = {name: value for name, value in values.items() if name not in own or name in wanted["training"]}
    return training_options(options.model_class.TrainingOptions, kept, options.model_name)


def _settle_epochs(training: TrainingOptions, model: Model, text: Text) -> TrainingOptions:
    """The options of training, with a number of epochs."""
    if "epochs" in training.model_fields_set:
        return training
    epochs = model.suggested_epochs or default_epochs(len(text.encoded.ids))
    return training.model_copy(update={"epochs": epochs})


def _settle_generation(generation: GenerationOptions, text: Text, *, keeps_prompt: bool) -> GenerationOptions:
    """The options of generation, with a length, and with prompt and stop texts as the training text would have them.

    A notice says what the vocabulary lacks of them.

    Args:
        generation: the options.
        text: the training text.
        keeps_prompt: whether the prompt may have characters that the beginning of the text lacks; it is left out
            otherwise.
    """
    tokenizer, normalization = text.tokenizer, text.corpus.normalization
    prompt = generation.prompt if keeps_prompt or set(generation.prompt) <= set(text.facts.head) else ""
    prompt = as_in_training(tokenizer, prompt, normalization)
    stop = tuple(as_in_training(tokenizer, each, normalization) for each in generation.stop)
    _report_unknown(tokenizer, prompt, stop)
    length = generation.length
    if length is None:
        length = default_length(text.layout, text.facts.lengths)
    return generation.model_copy(update={"prompt": prompt, "stop": stop, "length": length})


def _report_unknown(tokenizer: Tokenizer, prompt: str, stop: Sequence[str]) -> None:
    """Reports what the vocabulary lacks of a run's prompt and stop texts, once for all folds of a cross-validation."""
    typed = [("--set generation.prompt", prompt), *(("--set generation.stop", each) for each in stop)]
    compose = f"--set generation.prompt={quote(unicodedata.normalize('NFC', prompt))}"
    try:
        for line in remarks(tokenizer, [prompt], stop, typed=typed, compose=compose):
            notice(line, once=True)
    except TextgenError as error:  # a recipe may have been made for another text
        another = "or choose another prompt: --set generation.prompt=TEXT"
        raise OptionError(f"generation.prompt: {error}, {another}") from None
