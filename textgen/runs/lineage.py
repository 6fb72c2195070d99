"""Lineage: the run whose trained weights another run begins with, or whose options and best epoch it takes over."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from textgen.errors import ArtifactError
from textgen.files.writing import quoted
from textgen.model.fitting import Tensors
from textgen.runs.artifact import Artifact


@dataclass(frozen=True)
class Base:
    """A run whose trained weights another one begins with.

    Attributes:
        artifact: the run.
        weights: its best weights so far, by name.
        weights_sha256: the SHA-256 of their file.
    """

    artifact: Artifact
    weights: Tensors
    weights_sha256: str

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Reads the weights of a run, which may be finished, interrupted or still in training.

        Raises:
            ArtifactError: if the folder is not a run, has no weights yet, or was altered; or if it is an export.
        """
        artifact = Artifact.open(folder)
        if artifact.manifest.export is not None:
            raise ArtifactError(
                f"{folder} is an export, which has no weights to train on; give the run that it was made from"
            )
        if artifact.manifest.weights is None:
            raise ArtifactError(
                f"{folder} has no weights yet: it stopped before its first checkpoint; "
                f"resume it first, with: textgen train --resume {quoted(folder)}"
            )
        weights = artifact.weights()  # a process that trains the run may replace the file: its hash is that of now
        return cls(artifact, weights, str(artifact.weights_sha256))

    @classmethod
    def of(cls, artifact: Artifact) -> Self:
        """Reads the weights that a run began with, to begin again.

        Raises:
            ArtifactError: if they are no longer where they were, or have changed.
        """
        begun_with = artifact.manifest.lineage[0]
        needs = f"{artifact.path} has to begin again with the weights of "
        try:
            base = cls.open(Path(begun_with["run"]))
        except ArtifactError as error:
            raise ArtifactError(f"{needs}a run that cannot be read: {error}") from None
        if base.weights_sha256 != begun_with["weights_sha256"]:
            raise ArtifactError(f"{needs}{begun_with['run']}, which has other weights now; train a new run with --from")
        return base

    @property
    def path(self) -> Path:
        """The folder of the run."""
        return self.artifact.path

    @property
    def lineage(self) -> list[dict[str, Any]]:
        """The lineage of a run that begins with these weights, as its manifest records it."""
        manifest = self.artifact.manifest
        own = {
            "run": str(self.path.absolute()),
            "weights_sha256": self.weights_sha256,
            "corpus": manifest.settings["corpus"]["name"],
            "text_sha256": manifest.provenance.get("text_sha256"),
            "settings": manifest.settings,
        }
        return [own, *manifest.lineage]


@dataclass(frozen=True)
class Refit:
    """A finished run that is to be trained again on all text, for as many epochs as its best weights were.

    Attributes:
        artifact: the run.
    """

    artifact: Artifact

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Opens a run.

        Raises:
            ArtifactError: if the folder is not a run, or an export; or if its best epoch is not known.
        """
        artifact = Artifact.open(folder)
        manifest = artifact.manifest
        if manifest.export is not None:
            raise ArtifactError(f"{folder} is an export, which does not train; give the run that it was made from")
        if manifest.status != "finished":
            raise ArtifactError(
                f"the best epoch of {folder} is not known before it is finished; "
                f"resume it first, with: textgen train --resume {quoted(folder)}"
            )
        if manifest.refit is not None:
            raise ArtifactError(
                f"{folder} is itself a refit, whose best epoch is not known; refit the run that it comes from: "
                f"textgen train --refit {quoted(Path(manifest.refit['run']))}"
            )
        if not {"held_out_loss", "epoch", "step"} <= manifest.metrics.keys():
            raise ArtifactError(
                f"{folder} has no held-out loss, by which its best epoch would be known; train it with a "
                "training.held_out above 0"
            )
        artifact.check_weights()
        return cls(artifact)

    @property
    def path(self) -> Path:
        """The folder of the run."""
        return self.artifact.path

    @property
    def options(self) -> dict[str, Any]:
        """The training options that differ from those of the run.

        The best weights of a run that ``max_steps`` ended may be those of its last batch, within an epoch.
        """
        metrics = self.artifact.manifest.metrics
        ended = metrics["step"] == self.artifact.manifest.settings["training"].get("max_steps")
        if ended:
            return {"held_out": 0.0, "patience": None, "stop_after": None}
        return {"held_out": 0.0, "patience": None, "max_steps": None, "stop_after": int(metrics["epoch"])}

    @property
    def record(self) -> dict[str, Any]:
        """What the manifest of the new run says of this one."""
        metrics = self.artifact.manifest.metrics
        return {
            "run": str(self.path.absolute()),
            "weights_sha256": self.artifact.weights_sha256,
            "epoch": int(metrics["epoch"]),
            "held_out_loss": metrics["held_out_loss"],
        }
