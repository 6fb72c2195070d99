"""From settings to everything a training run needs: corpus → tokenizer → dataset → model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textgen.base.environment import data_folder
from textgen.errors import OptionError, TextgenError
from textgen.generation.prompts import encode_prompt
from textgen.generation.request import GenerationOptions
from textgen.model.fitting import TrainingOptions
from textgen.model.model import Model
from textgen.options import Options, Settings, build_options, merge_settings
from textgen.plugins.registry import Registry
from textgen.runs.artifact import Artifact
from textgen.text.batches import Dataset
from textgen.text.boundaries import Boundaries
from textgen.text.corpus import Corpus, Layout
from textgen.text.encoding import TextFacts, encode, fit, read_documents, text_sha256
from textgen.text.tokenizer import Tokenizer
from textgen.training.layout import arrange_batches

#: Tokenizer and model where none is named, by the corpus's layout.
DEFAULT_TOKENIZER: dict[Layout, str] = {"stream": "char-index", "documents": "char-eos"}
DEFAULT_MODEL = "gru"

#: Batches that a default number of epochs comes to, about, and the bounds of that number.
DEFAULT_STEPS = 3000
DEFAULT_EPOCHS = (5, 60)


@dataclass(frozen=True)
class Plan:
    """A training run that could start now.

    Attributes:
        settings: complete: every option of every part has its value.
        documents: in the corpus.
        text_sha256: of the encoded text; a run can only go on with the text that it began with.
        recipe: the name of the recipe that the settings come from.
    """

    settings: Settings
    corpus: Corpus
    tokenizer: Tokenizer
    model: Model
    dataset: Dataset
    training: TrainingOptions
    generation: GenerationOptions
    boundaries: Boundaries
    documents: int
    characters: int
    text_sha256: str
    recipe: str | None = None

    def describe(self) -> dict[str, Any]:
        """What ``textgen train --dry-run`` prints, as JSON values."""
        held_out = self.dataset.held_out
        return {
            "vocab_size": self.tokenizer.vocab_size,
            "documents": self.documents,
            "characters": self.characters,
            "examples": self.dataset.train.examples,
            "steps_per_epoch": self.dataset.train.steps,
            "held_out_examples": held_out.examples if held_out else 0,
            "epochs": self.training.epochs,
            "parameters": self.model.parameter_count,
            "settings": self.settings,
        }


def has_text_of(plan: Plan, artifact: Artifact) -> bool:
    """Whether a plan has the text and the vocabulary that a run began with."""
    same_text = plan.text_sha256 == artifact.manifest.provenance.get("text_sha256")
    return same_text and plan.tokenizer.to_json() == artifact.tokenizer_json()


def make_plan(
    settings: Mapping[str, Mapping[str, Any]],
    plugins: Registry,
    data_dir: Path | None = None,
    *,
    held_out: NDArray[np.intp] | None = None,
) -> Plan:
    """Build every part that settings name.

    Args:
        settings: by table; ``corpus.name`` is needed, all else has defaults.
        plugins: where names are looked up.
        data_dir: searched for the corpus's files before anything is downloaded; by default ``TEXTGEN_DATA_DIR``.
        held_out: the numbers of the documents to judge by; by default as ``training.held_out`` says.

    Raises:
        OptionError: for an option that is unknown or out of range.
        CorpusError: for text that cannot be read, or is too short for one batch.
    """
    settings = merge_settings(settings)
    data_dir = data_folder(data_dir)
    if "name" not in settings["corpus"]:
        raise OptionError("no corpus is chosen: give a text file, --corpus NAME or --recipe NAME")
    training = build_options(TrainingOptions, settings["training"], where="training")
    generation = build_options(GenerationOptions, settings["generation"], where="generation")
    plugins.chain(generation.sampler)  # a chain that cannot be built is told before anything is read

    corpus: Corpus = plugins.make("corpus", settings["corpus"], data_dir)
    tokenizer_settings = {"name": DEFAULT_TOKENIZER[corpus.layout], **settings["tokenizer"]}
    tokenizer: Tokenizer = plugins.make("tokenizer", tokenizer_settings)
    fit(corpus.layout, read_documents(corpus, settings["corpus"]["name"]), tokenizer)
    _check_prompt(generation.prompt or "", tokenizer)
    facts = TextFacts()
    text = encode(corpus.layout, read_documents(corpus, settings["corpus"]["name"]), tokenizer, facts)
    boundaries = Boundaries(None if corpus.layout == "stream" else int(text.ids[-1]), facts.starts(corpus.layout))
    model_name = settings["model"].get("name", DEFAULT_MODEL)
    suggested = plugins.get("model", model_name).suggested_options(facts.characters)
    model_settings = {**suggested, **settings["model"], "name": model_name}
    model: Model = plugins.make("model", model_settings, tokenizer.vocab_size)
    dataset = arrange_batches(corpus.layout, text, tokenizer, boundaries, training, held_out)

    if "epochs" not in training.model_fields_set:
        epochs = model.suggested_epochs or int(np.clip(round(DEFAULT_STEPS / dataset.train.steps), *DEFAULT_EPOCHS))
        training = training.model_copy(update={"epochs": epochs})
    if generation.length is None:
        length = 400 if corpus.layout == "stream" else 2 * facts.longest
        generation = generation.model_copy(update={"length": length})
    complete: Settings = {
        "corpus": _complete(settings["corpus"]["name"], corpus.settled_options),
        "tokenizer": _complete(tokenizer_settings["name"], tokenizer.options),
        "model": _complete(model_settings["name"], model.options),
        "training": training.model_dump(mode="json"),
        "generation": generation.model_dump(mode="json"),
    }
    return Plan(
        complete,
        corpus,
        tokenizer,
        model,
        dataset,
        training,
        generation,
        boundaries,
        documents=len(text),
        characters=facts.characters,
        text_sha256=text_sha256(text),
    )


def provenance(plan: Plan) -> dict[str, Any]:
    """What the artifact records of the corpus, as JSON values."""
    return {**asdict(plan.corpus.provenance()), "layout": plan.corpus.layout, "text_sha256": plan.text_sha256}


def _complete(name: str, options: Options) -> dict[str, Any]:
    return {"name": name, **options.model_dump(mode="json")}


def _check_prompt(prompt: str, tokenizer: Tokenizer) -> None:
    try:
        encode_prompt(tokenizer, prompt)
    except TextgenError as error:  # a recipe may have been made for another text
        raise OptionError(f"generation.prompt: {error}; or choose another: --set generation.prompt=TEXT") from None
