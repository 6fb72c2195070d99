"""A run that was saved, and the parts that it is made of: tokenizer, model, sampler chains, corpus, runtime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from textgen.base.console import notice
from textgen.errors import ArtifactError, PluginError, UnavailableError, UnknownNameError, UnsupportedModelError
from textgen.plugins.recorded import needing, report_changes
from textgen.plugins.registry import Registry, plugins
from textgen.runs.artifact import Artifact
from textgen.runs.folder import find_run

if TYPE_CHECKING:
    from textgen.generation.chain import Chain
    from textgen.generation.runtime import Runtime
    from textgen.model.model import Model
    from textgen.text.corpus import Corpus
    from textgen.text.tokenizer import Tokenizer

#: Runtimes that ``"auto"`` tries before the model's own, the fastest first.
PREFERRED_RUNTIMES = ("onnx", "numpy")


class SavedRun:
    """A run's folder, with the plugins that its parts are made by.

    Args:
        artifact: the run's folder, opened.
        registry: the plugins to look names up in.
    """

    def __init__(self, artifact: Artifact, registry: Registry) -> None:
        self.artifact = artifact
        self.registry = registry

    @classmethod
    def open(cls, path: str | Path | None = None, registry: Registry | None = None) -> SavedRun:
        """Open a run; plugins that have changed since it was made are reported.

        Args:
            path: its folder, or its name in the folder of runs; the latest run for ``None``.
            registry: the plugins to look names up in, by default those of this process.

        Raises:
            ArtifactError: where there is no such run.
        """
        run = cls(Artifact.open(find_run(None if path is None else Path(path))), registry or plugins())
        report_changes(run.artifact, run.registry)
        return run

    @property
    def settings(self) -> dict[str, dict[str, Any]]:
        """The complete options of corpus, tokenizer, model, training and generation, by table."""
        return self.artifact.manifest.settings

    def tokenizer(self) -> Tokenizer:
        """The tokenizer, fitted.

        Raises:
            ArtifactError: where its plugin is not installed, or it is not the model's.
        """
        tokenizer: Tokenizer = self._make("tokenizer")
        tokenizer.load_json(self.artifact.tokenizer_json())
        vocab_size = self.artifact.manifest.vocab_size
        if tokenizer.vocab_size != vocab_size:
            raise ArtifactError(
                f"{self.artifact.path}: the tokenizer has {tokenizer.vocab_size} ids, the model {vocab_size}"
            )
        return tokenizer

    def model(self) -> Model:
        """The model, without weights."""
        model: Model = self._make("model", self.artifact.manifest.vocab_size)
        return model

    def corpus(self, data_dir: Path | None = None) -> Corpus:
        """The corpus; ``data_dir`` is searched for its files before anything is downloaded."""
        corpus: Corpus = self._make("corpus", data_dir)
        return corpus

    def chain(self, text: str | None = None) -> Chain:
        """A sampler chain, by default the one that the run generates with."""
        with needing(self.artifact, self.registry):
            return self.registry.chain(self.settings["generation"]["sampler"] if text is None else text)

    def runtime(self, name: str = "auto", device: str = "auto") -> tuple[str, Runtime]:
        """Load the model in a runtime, by its registered name or ``"auto"``; its name, too.

        Raises:
            UnavailableError: where a library or the device is missing.
            ArtifactError: where the runtime cannot run the model, or the weights are damaged.
        """
        if name != "auto":
            return name, self._open(name, device)
        fastest_lacks: UnavailableError | None = None
        for preferred in PREFERRED_RUNTIMES:
            try:
                return preferred, self._open(preferred, device)
            except UnavailableError as error:
                if preferred == PREFERRED_RUNTIMES[0]:
                    fastest_lacks = error
            except (UnsupportedModelError, UnknownNameError):
                continue  # the model's own runtime may run it
            except PluginError as error:
                notice(f"{error}; another runtime is taken", once=True)
        native = self.model().native_runtime
        try:
            return native, self._open(native, device)
        except UnavailableError as error:
            raise fastest_lacks or error from None

    def _open(self, name: str, device: str) -> Runtime:
        runtime: Runtime = self.registry.get("runtime", name).open(self.artifact, self.model, device)
        return runtime

    def _make(self, kind: str, *arguments: Any) -> Any:
        """Make a part from its recorded options; if its plugin is not installed, say which to install."""
        with needing(self.artifact, self.registry):
            return self.registry.make(kind, self.settings[kind], *arguments)
