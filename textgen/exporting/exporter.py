"""The Exporter interface: from a run to files that run without the libraries that trained it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textgen.options import Options as BaseOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from textgen.generation.runtime import Runtime
    from textgen.model.model import Model
    from textgen.runs.artifact import Artifact
    from textgen.sampling.chain import Chain


@dataclass(frozen=True, kw_only=True)
class ExportSource:
    """The run to export, and the means to compare an export with it.

    Attributes:
        artifact: the run.
        make_model: builds its model, without weights.
        chain: the sampler chain that the export generates with: the run's, or one that the user has chosen.
        is_own_chain: whether it is the run's.
        forbidden_ids: ids that are never drawn.
        open_runtime: opens the run on the CPU as the reference to compare with, in the runtime of a name; ``"auto"`` is
            the fastest that runs the run's own weights.
        measure_loss: measures the mean loss of a runtime, in nats per character, on the same text at each call.
        text: a description of that text.
        notice: shows the user a line.
        host: what a program without textgen needs to know of the run besides its network and its chain, as JSON values;
            docs/onnx.md describes it.
    """

    artifact: Artifact
    make_model: Callable[[], Model]
    chain: Chain
    is_own_chain: bool
    forbidden_ids: tuple[int, ...]
    open_runtime: Callable[[str], Runtime]
    measure_loss: Callable[[Runtime], float]
    text: str
    notice: Callable[[str], None]
    host: dict[str, Any]


@dataclass(frozen=True)
class ExportReport:
    """The files of an export, and how far it is from its source.

    Attributes:
        folder: the folder of the files.
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

    #: The schema of its options.
    Options: ClassVar[type[BaseOptions]] = BaseOptions

    def __init__(self, options: BaseOptions) -> None:
        self.options = options

    @abstractmethod
    def export(self, source: ExportSource, folder: Path) -> ExportReport:
        """Write the files and compare them with their source.

        Raises:
            ArtifactError: if the difference exceeds the bound, or the model cannot be exported; no file is left then.
        """
