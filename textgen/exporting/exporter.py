"""The Exporter interface: from a run to files that run without the libraries that trained it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textgen.options import Options as BaseOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from textgen.generation.chain import Chain
    from textgen.generation.runtime import Runtime
    from textgen.model.model import Model
    from textgen.runs.artifact import Artifact


@dataclass(frozen=True)
class ExportSource:
    """What an exporter starts from.

    Attributes:
        artifact: the run.
        make_model: builds its model, without weights.
        chain: the sampler chain that the run generates with.
        forbidden_ids: ids that are never drawn.
        open_runtime: opens the run in a runtime, by name, as the reference to compare with.
        measure_loss: mean loss of a runtime, in nats a character, on the same text at each call.
        text: what that text is.
        notice: tells the user something, in one line.
    """

    artifact: Artifact
    make_model: Callable[[], Model]
    chain: Chain
    forbidden_ids: tuple[int, ...]
    open_runtime: Callable[[str], Runtime]
    measure_loss: Callable[[Runtime], float]
    text: str
    notice: Callable[[str], None]


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
    """Writes a run in another format.

    Args:
        options: an instance of the class attribute ``Options``.
    """

    Options: ClassVar[type[BaseOptions]] = BaseOptions

    def __init__(self, options: BaseOptions) -> None:
        self.options = options

    @abstractmethod
    def export(self, source: ExportSource, folder: Path) -> ExportReport:
        """Write the files and compare them with their source.

        Raises:
            ArtifactError: where the difference is past the bound or the model cannot be exported; nothing is left.
        """
