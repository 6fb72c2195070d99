"""A saved run, and the parts that it is made of: tokenizer, model, sampler chains, corpus, runtime."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textgen.base.console import notice
from textgen.errors import ArtifactError, PluginError, UnavailableError, UnknownCharacterError, UnsupportedModelError
from textgen.options import build_options
from textgen.plugins.recorded import check_recorded, needing, recorded_part, recorded_tokenizer, report_changes
from textgen.plugins.registry import Registry, plugins
from textgen.runs.artifact import Artifact, Trust
from textgen.runs.folder import find_run, tidy
from textgen.runs.manifest import MANIFEST
from textgen.text.boundaries import Boundaries

if TYPE_CHECKING:
    from textgen.generation.request import GenerationOptions
    from textgen.generation.runtime import Runtime
    from textgen.model.model import Model
    from textgen.sampling.chain import Chain
    from textgen.text.corpus import Corpus
    from textgen.text.tokenizer import Tokenizer

#: Sampler chains that a run keeps, the latest ones.
CHAINS_KEPT = 256


class SavedRun:
    """A run's folder, together with the plugins that make its parts.

    Args:
        artifact: the run's folder, opened.
        registry: the plugins to look names up in.
    """

    def __init__(self, artifact: Artifact, registry: Registry) -> None:
        self.artifact = artifact
        self.registry = registry
        self._tokenizer: Tokenizer | None = None
        self._chain = lru_cache(CHAINS_KEPT)(registry.chain)  # building one takes longer than all else of a request

    @classmethod
    def open(
        cls, path: str | Path | None = None, registry: Registry | None = None, trust: Trust = "weights"
    ) -> SavedRun:
        """Open a run; plugins that have changed since it was made are reported on stderr.

        Args:
            path: its folder, or its name in the folder of runs; ``None`` for the latest run.
            registry: the plugins to look names up in, by default those of this process.
            trust: what in the folder may run; see :class:`~textgen.runs.artifact.Artifact`.

        Raises:
            ArtifactError: if there is no such run, or it cannot be read.
        """
        folder = find_run(None if path is None else Path(path))
        run = cls(Artifact.open(folder, trust), registry or plugins())
        if run.artifact.manifest.export is None:
            run._check_training()
        tidy(run.artifact)
        report_changes(run.artifact, run.registry)
        return run

    def _check_training(self) -> None:
        """Check the recorded training options that every model has; which devices there are, models say."""
        from textgen.model.fitting import TrainingOptions  # an export is opened without it

        names = TrainingOptions.model_fields.keys() - {"device"}
        common = {name: each for name, each in self.settings["training"].items() if name in names}
        check_recorded(self.artifact, TrainingOptions, common, "training")

    @property
    def settings(self) -> dict[str, dict[str, Any]]:
        """The complete options of corpus, tokenizer, model, training and generation, by table."""
        return self.artifact.manifest.settings

    def tokenizer(self) -> Tokenizer:
        """The tokenizer, fitted; the same object at each call.

        Raises:
            ArtifactError: if its plugin is not installed, its file was altered, or it does not fit the model.
        """
        if self._tokenizer is None:
            self._tokenizer = recorded_tokenizer(self.artifact, self.registry)
        return self._tokenizer

    def boundaries(self) -> Boundaries:
        """The beginnings and the end of the model's texts.

        Raises:
            ArtifactError: as :meth:`tokenizer`, for a run of format 1, which counts beginnings by character.
        """
        manifest = self.artifact.manifest
        if manifest.first_ids or not manifest.starts:
            return Boundaries(manifest.end_id, manifest.first_ids)
        try:
            ids = [int(self.tokenizer().encode(character, "error")[0]) for character in manifest.starts]
        except UnknownCharacterError as error:
            raise ArtifactError(f"{self.artifact.path / MANIFEST}: starts: {error.character!r} has no id") from None
        return Boundaries(manifest.end_id, dict(zip(ids, manifest.starts.values(), strict=True)))

    def model(self) -> Model:
        """A new model, without weights.

        Raises:
            ArtifactError: if its plugin is not installed.
        """
        model: Model = self._make("model", self.artifact.manifest.vocab_size)
        return model

    def corpus(self, data_dir: Path | None = None) -> Corpus:
        """The corpus, with duplicates if the run kept them.

        ``data_dir`` is searched for its files before anything is downloaded.

        Raises:
            ArtifactError: if its plugin is not installed.
        """
        corpus: Corpus = self._make("corpus", data_dir)
        corpus.drops_duplicates = self.settings["training"]["drop_duplicates"]
        return corpus

    def chain(self, text: str | None = None) -> Chain:
        """A sampler chain, by default the one that the run generates with.

        Raises:
            OptionError: if the text is not a chain, or an argument is out of range.
            UnknownNameError: if no plugin provides a sampler of it.
            ArtifactError: if that was a sampler of the run's own chain.
        """
        with needing(self.artifact, self.registry):
            return self._chain(self.generation().sampler if text is None else text)

    def generation(self) -> GenerationOptions:
        """How the run generates by default.

        Raises:
            ArtifactError: if an option is not what a run records.
        """
        from textgen.generation.request import GenerationOptions

        values = self.settings["generation"]
        check_recorded(self.artifact, GenerationOptions, values, "generation")
        return build_options(GenerationOptions, values, where="generation")

    def runtime(self, name: str = "auto", device: str = "auto", *, from_weights: bool = False) -> tuple[str, Runtime]:
        """Load the model in a runtime.

        Args:
            name: the runtime, as registered; ``"auto"`` for the first that can run the model, by their
                :attr:`~textgen.generation.runtime.Runtime.priority`, and for the model's own if there is none.
            device: ``"auto"``, ``"cpu"`` or ``"cuda[:N]"``.
            from_weights: whether ``"auto"`` leaves out runtimes that run an export of the run.

        Returns:
            The name of the runtime, and the runtime.

        Raises:
            UnavailableError: if a library or the device is missing.
            ArtifactError: if the runtime cannot run the model, or the weights are damaged.
        """
        self.tokenizer()  # it proves the size of the vocabulary, by which models take memory
        if name != "auto":
            return name, self._open(name, device)
        candidates = self._candidates(from_weights)
        fastest_lacks: UnavailableError | None = None
        for place, candidate in enumerate(candidates):
            try:
                return candidate, self._open(candidate, device)
            except UnavailableError as error:
                if place == 0:
                    fastest_lacks = error
            except UnsupportedModelError:
                continue  # the model's own runtime may run it
            except PluginError as error:
                notice(f"{error}; using another runtime", once=True)
            except ArtifactError as error:
                runs_export = not self.registry.find("runtime", candidate).load().runs_weights
                if not runs_export or self.artifact.manifest.export is not None:
                    raise
                notice(f"{error}; using the weights of the run instead", once=True)
        native = self.model().native_runtime
        try:
            return native, self._open(native, device)
        except UnavailableError as error:
            raise fastest_lacks or error from None

    def _candidates(self, from_weights: bool) -> list[str]:
        """The names of the runtimes that ``"auto"`` tries, the one to try first first."""
        priorities: dict[str, int] = {}
        for name in dict.fromkeys(item.name for item in self.registry.provided("runtime")):
            try:
                runtime = self.registry.find("runtime", name).load()
            except PluginError as error:
                notice(f"{error}; using another runtime", once=True)
                continue
            priority = getattr(runtime, "priority", 0)  # a plugin that registers something else breaks itself alone
            if priority > 0 and (runtime.runs_weights or not from_weights):
                priorities[name] = priority
        return sorted(priorities, key=lambda name: -priorities[name])

    def _open(self, name: str, device: str) -> Runtime:
        manifest = self.artifact.manifest
        runtime: Runtime = self.registry.get("runtime", name).open(self.artifact, self.model, device)
        if (runtime.vocab_size, runtime.state_spec) != (manifest.vocab_size, self.artifact.state_spec):
            raise ArtifactError(
                f"{self.artifact.path / MANIFEST}: vocab_size or state_spec is not that of the weights; "
                "restore it from a copy"
            )
        return runtime

    def _make(self, kind: str, *arguments: Any) -> Any:
        return recorded_part(self.artifact, self.registry, kind, *arguments)
