"""From an artifact to its parts: tokenizer, model, runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from textgen.errors import ArtifactError, PluginError, UnavailableError, UnknownNameError, UnsupportedModelError
from textgen.generation.runtime import Runtime
from textgen.model.model import Model
from textgen.plugins.recorded import needing
from textgen.plugins.registry import Plugins
from textgen.runs.artifact import Artifact
from textgen.text.tokenizer import Tokenizer

#: Runtimes that ``"auto"`` tries before the model's own, the fastest first.
PREFERRED_RUNTIMES = ("onnx", "numpy")


def make_part(artifact: Artifact, found: Plugins, kind: str, *arguments: Any) -> Any:
    """The corpus, tokenizer or model that an artifact was made with, from its recorded options.

    Raises:
        ArtifactError: where its plugin is not installed; says which distribution to install.
    """
    with needing(artifact, found):
        return found.make(kind, artifact.manifest.settings[kind], *arguments)


def open_runtime(
    name: str, artifact: Artifact, make_model: Callable[[], Model], device: str, found: Plugins
) -> tuple[str, Runtime]:
    """Open an artifact in a runtime, by its registered name or ``"auto"``; its name, too."""

    def open_(name: str) -> tuple[str, Runtime]:
        return name, found.get("runtime", name).open(artifact, make_model, device)

    if name != "auto":
        return open_(name)
    fastest_lacks: UnavailableError | None = None
    for preferred in PREFERRED_RUNTIMES:
        try:
            return open_(preferred)
        except UnavailableError as error:
            if preferred == PREFERRED_RUNTIMES[0]:
                fastest_lacks = error
        except (UnsupportedModelError, UnknownNameError):
            continue  # the model's own runtime may run it
        except PluginError as error:
            found.tell_once(f"{error}; another runtime is taken")
    try:
        return open_(make_model().native_runtime)
    except UnavailableError as error:
        raise fastest_lacks or error from None


def model_maker(artifact: Artifact, found: Plugins) -> Callable[[], Model]:
    """Makes the artifact's model, without weights."""

    def make_model() -> Model:
        model: Model = make_part(artifact, found, "model", artifact.manifest.vocab_size)
        return model

    return make_model


def load_tokenizer(artifact: Artifact, found: Plugins) -> Tokenizer:
    """The artifact's tokenizer, fitted; raises :class:`ArtifactError` where it is not the model's."""
    tokenizer: Tokenizer = make_part(artifact, found, "tokenizer")
    tokenizer.load_json(artifact.tokenizer_json())
    if tokenizer.vocab_size != artifact.manifest.vocab_size:
        raise ArtifactError(
            f"{artifact.path}: the tokenizer has {tokenizer.vocab_size} ids, the model {artifact.manifest.vocab_size}"
        )
    return tokenizer
