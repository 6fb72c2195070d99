"""The plan of a training run: from settings to text, batches and model."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textgen.base.console import notice
from textgen.errors import OptionError, TextgenError
from textgen.generation.prompts import remarks
from textgen.generation.request import GenerationOptions
from textgen.model.fitting import TrainingOptions
from textgen.model.model import Model
from textgen.options import Settings, build_options, merge_settings
from textgen.plugins.registry import Registry
from textgen.text.batches import Dataset
from textgen.text.tokenizer import Tokenizer
from textgen.text.vocabulary import as_in_training
from textgen.training.layout import arrange_batches
from textgen.training.settings import DEFAULT_MODEL, default_epochs, default_length, training_options
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
    """

    text: Text
    dataset: Dataset
    model: Model
    model_name: str
    training: TrainingOptions
    generation: GenerationOptions
    recipe: str | None

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the text."""
        return self.text.tokenizer

    @property
    def settings(self) -> Settings:
        """The complete settings by table, as JSON values: every option of every part has its value."""
        return {
            **self.text.settings,
            "model": named_options(self.model_name, self.model.options),
            "training": self.training.model_dump(mode="json"),
            "generation": self.generation.model_dump(mode="json"),
        }

    def describe(self) -> dict[str, Any]:
        """Returns what ``textgen train --dry-run`` prints, as JSON values."""
        held_out = self.dataset.held_out
        return {
            "vocab_size": self.tokenizer.vocab_size,
            "documents": len(self.text.encoded),
            "characters": self.text.facts.characters,
            "examples": self.dataset.train.examples,
            "steps_per_epoch": self.dataset.train.steps,
            "held_out_examples": held_out.examples if held_out else 0,
            "epochs": self.training.epochs,
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
) -> Plan:
    """Builds every part that settings name.

    Args:
        settings: by table; ``corpus.name`` is needed, everything else has defaults.
        registry: where names are looked up.
        data_dir: as for :func:`~textgen.training.text.read_text`.
        text: the text, if it has been read already.
        recipe: the name of the recipe that the settings come from, to be recorded.
        held_out: the numbers of the documents to judge by; by default as ``training.held_out`` says.

    Raises:
        OptionError: if an option is unknown, out of range, or not one of the model's.
        CorpusError: if the text cannot be read, or is too short for one batch.
    """
    settings = merge_settings(settings)
    model_name = settings["model"].get("name", DEFAULT_MODEL)
    model_class = registry.get("model", model_name)
    training = training_options(model_class.TrainingOptions, settings["training"], model_name)
    generation = build_options(GenerationOptions, settings["generation"], where="generation")
    registry.chain(generation.sampler)  # fails before a long text is read
    text = text or read_text(settings, registry, data_dir)
    generation = _settle_texts(generation, text)
    suggested = model_class.suggested_options(text.facts.characters)
    model_settings = {**suggested, **settings["model"], "name": model_name}
    model = registry.make("model", model_settings, text.tokenizer.vocab_size)
    dataset = arrange_batches(text, training, held_out)
    if "epochs" not in training.model_fields_set:
        epochs = model.suggested_epochs or default_epochs(dataset.train.steps)
        training = training.model_copy(update={"epochs": epochs})
    if generation.length is None:
        length = default_length(text.layout, text.facts.longest)
        generation = generation.model_copy(update={"length": length})
    return Plan(
        text=text,
        dataset=dataset,
        model=model,
        model_name=model_name,
        training=training,
        generation=generation,
        recipe=recipe,
    )


def _settle_texts(generation: GenerationOptions, text: Text) -> GenerationOptions:
    """Prompt and stop texts as the training text would have them; a notice says what the vocabulary lacks."""
    tokenizer, normalization = text.tokenizer, text.corpus.normalization
    prompt = as_in_training(tokenizer, generation.prompt or "", normalization)
    stop = tuple(as_in_training(tokenizer, each, normalization) for each in generation.stop)
    typed = [("--set generation.prompt", prompt), *(("--set generation.stop", each) for each in stop)]
    compose = f"--set generation.prompt={quote(unicodedata.normalize('NFC', prompt))}"
    try:
        for line in remarks(tokenizer, [prompt], stop, typed=typed, compose=compose):
            notice(line)
    except TextgenError as error:  # a recipe may have been made for another text
        raise OptionError(f"generation.prompt: {error}; or choose another: --set generation.prompt=TEXT") from None
    return generation.model_copy(update={"prompt": prompt, "stop": stop})
