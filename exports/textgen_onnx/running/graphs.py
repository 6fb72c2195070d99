"""The graphs of an export that may be run: those that textgen builds from its weights, and foreign ones, checked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from textgen import Artifact, Draw
from textgen.errors import ArtifactError
from textgen_onnx.checks.refused import Refused
from textgen_onnx.contract import GENERATE, STEP, describe_loop, read_description
from textgen_onnx.graphs.kinds import kinds_of_weights, size_of
from textgen_onnx.running.known import is_known, key_of, remember

if TYPE_CHECKING:
    import onnx

    from textgen_onnx.checks.foreign import ForeignGraph
    from textgen_onnx.graphs.weights import GraphWeights

#: The most bytes that ``step.onnx`` has besides the weights: for nodes and constants, in all and per layer.
BESIDE_WEIGHTS, PER_LAYER = 2**16, 2**16

#: The largest file of a foreign graph: that of a message of protocol buffers.
LARGEST_FILE = 2**31 - 1


class Runnable(NamedTuple):
    """A serialised graph that may be run.

    Attributes:
        content: the graph.
        is_confined: whether it may be run in a process of its own only.
        foreign: checks it before it is run on another number of ids; ``None`` if textgen built it.
    """

    content: bytes
    is_confined: bool = False
    foreign: ForeignGraph | None = None


def refusal(path: Path, reason: Exception) -> str:
    """The message for a graph that did not pass the checks."""
    return (
        f"{path} is not run: {reason}; if you trust where it comes from, run it all the same with --trust-graph "
        '(in Python trust="graph")'
    )


class Graphs:
    """Finds the graphs of an export that may be run.

    With the export's ``trust`` in ``"weights"``, nothing of a file reaches ONNX Runtime but weights: the graphs of a
    model that textgen can build are built anew from these, unless the file is known to be what comes out. Only graphs
    of other models are taken from files, if they pass the checks. With ``"graph"``, the files are run as they are,
    confined to a process of their own unless this textgen is known to have built them.

    Args:
        export: the export's folder.

    Raises:
        UnsupportedModelError: if the folder is not an ONNX export.
        ArtifactError: if its description is not valid.
    """

    def __init__(self, export: Artifact) -> None:
        self.about = read_description(export)
        self._export = export
        self._vocab_size = export.manifest.vocab_size
        self._contents: dict[str, bytes] = {}

    def read(self) -> None:
        """Read the files of all graphs that text is read and written with: later, another export may be in their place.

        Raises:
            ArtifactError: if one is missing or was altered.
        """
        for name in sorted({STEP, GENERATE} & self._export.manifest.files.keys()):
            self._contents[name] = self._read(name)

    def step(self) -> Runnable:
        """The graph that reads text.

        Raises:
            ArtifactError: if the file is missing, was altered, or does not hold what it should.
        """

        def build() -> onnx.ModelProto:
            from textgen_onnx.graphs.step import build_step

            return build_step(self._weights())

        return self._find(STEP, None, build)

    def generate(self, draw: Draw) -> Runnable:
        """The graph that writes text with a chain.

        Raises:
            UnsupportedModelError: if the chain cannot be written as ONNX nodes.
            ArtifactError: as :meth:`step`.
        """

        def build() -> onnx.ModelProto:
            from textgen_onnx.graphs.generate import build_generate

            return build_generate(self._weights(), draw.chain, draw.forbidden.tolist(), self._export.manifest.end_id)

        loop = describe_loop(draw.chain, draw.forbidden.tolist())
        if loop != self.about.generate:
            return Runnable(build().SerializeToString())
        return self._find(GENERATE, loop, build)

    def block(self, draw: Draw, steps: int) -> Runnable:
        """The graph of some steps of one row; errors as :meth:`generate`."""
        from textgen_onnx.graphs.generate import build_block

        parts = (self._weights(), draw.chain, draw.forbidden.tolist(), self._export.manifest.end_id)
        return Runnable(build_block(*parts, steps=steps, batch=1).SerializeToString())

    def remember(self, name: str, content: bytes) -> None:
        """Remember that this textgen built a file of the export, so that it need not be built or checked again."""
        remember(self._key(name, content, self.about.generate if name == GENERATE else None))

    def _find(self, name: str, loop: dict[str, Any] | None, build: Callable[[], onnx.ModelProto]) -> Runnable:
        """A file of the export, or what is built in its place."""
        content = self._read(name)
        if is_known(self._key(name, content, loop)):
            return Runnable(content)
        if self._export.trust == "graph":
            return self._confined(name, content)
        if not self.about.is_built:
            return self._checked(name, content)
        built = build().SerializeToString()
        if built == content:
            self.remember(name, content)
        return Runnable(built)

    def _confined(self, name: str, content: bytes) -> Runnable:
        """A file's own graph, for a process of its own; not even there does it read other files."""
        from textgen_onnx.graphs.parsing import parse

        try:
            parse(content)
        except ValueError as reason:
            raise ArtifactError(f"{self._export.path / name} cannot be run: {reason}; export again") from None
        return Runnable(content, is_confined=True)

    def _checked(self, name: str, content: bytes) -> Runnable:
        from textgen_onnx.checks.foreign import ForeignGraph

        try:
            return Runnable(content, foreign=ForeignGraph(content, self._export.state_spec, self._vocab_size))
        except Refused as reason:
            raise ArtifactError(refusal(self._export.path / name, reason)) from None

    def _key(self, name: str, content: bytes, loop: dict[str, Any] | None) -> str:
        """A key for everything that a file's graph is built from, besides the weights in it."""
        about, manifest = self.about, self._export.manifest
        model = about.model_dump(include={"via", "precision", "cell", "units", "ngram"})
        return key_of(content, name, model, manifest.vocab_size, manifest.state_spec, manifest.end_id, loop)

    def _read(self, name: str) -> bytes:
        """The content of a file, verified."""
        if name in self._contents:
            return self._contents[name]
        path = self._export.verified(name)
        if (size := path.stat().st_size) > LARGEST_FILE:
            raise ArtifactError(f"{path} has {size:,} bytes, which no ONNX graph has; export again")
        return path.read_bytes()

    def _weights(self) -> GraphWeights:
        """The weights in ``step.onnx``, whose size is compared with that of the model before it is parsed."""
        from textgen_onnx.graphs.reading import read_weights

        about, path = self.about, self._export.path / STEP
        content = self._read(STEP)
        size = size_of(kinds_of_weights(about.cell, about.units, self._vocab_size, about.precision, about.ngram))
        try:
            if not size <= len(content) <= size + BESIDE_WEIGHTS + PER_LAYER * len(about.units):
                raise ArtifactError(f"it has {len(content):,} bytes, and the weights of this model {size:,}")
            return read_weights(content, about, self._vocab_size)
        except ArtifactError as error:
            raise ArtifactError(f"{path} does not belong to this model: {error}; export again") from None
