"""The Exporter interface: from an artifact to files that run without the libraries that trained it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textgen.options import Options as BaseOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from textgen.artifact import Artifact
    from textgen.model import Model


@dataclass(frozen=True)
class ExportReport:
    """What an export wrote and how far it is from its source.

    Attributes:
        folder: where the files are.
        files: their paths below the folder.
        parity: figures by name, such as the largest difference of logits.
    """

    folder: Path
    files: tuple[str, ...]
    parity: dict[str, float]


class Exporter(ABC):
    """Writes an artifact in another format.

    Args:
        options: an instance of the class attribute ``Options``.
    """

    Options: ClassVar[type[BaseOptions]] = BaseOptions

    def __init__(self, options: BaseOptions) -> None:
        self.options = options

    @abstractmethod
    def export(self, artifact: Artifact, make_model: Callable[[], Model], folder: Path) -> ExportReport:
        """Write the files and compare them with the source.

        Raises:
            ArtifactError: where the difference is past the bound or the model cannot be exported; nothing is left.
        """
