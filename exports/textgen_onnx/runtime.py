"""The runtime ``onnx``: prompts through ``step.onnx``, whole chunks of text through a generating graph."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from textgen import Artifact, Block, Check, Draw, Ids, Runtime, State, notice, quoted
from textgen.errors import ArtifactError, UnavailableError, UnsupportedModelError
from textgen_onnx.contract import FOLDER, GENERATE, STEP, check_exportable, describe_loop, parameter_feeds
from textgen_onnx.running.cuda import resolve_device
from textgen_onnx.running.cuda_block import BlockLoop
from textgen_onnx.running.device_state import DeviceState, on_host
from textgen_onnx.running.graphs import Graphs
from textgen_onnx.running.runner import Runner
from textgen_onnx.running.session import check_installation, open_session

if TYPE_CHECKING:
    from textgen import Model

#: Steps of the blocks that CUDA graphs replay: short for text that may end at any step or is read while it is written,
#: long for all other text.
SHORT_BLOCK, LONG_BLOCK = 16, 64

#: Attempts to read an export while others take its place.
ATTEMPTS = 10


class OnnxRuntime(Runtime):
    """Runs an export with ONNX Runtime; imports neither TensorFlow nor, for the exported sampler chain, onnx.

    Args:
        export: the export's folder.
        device: ``"cpu"`` or ``"cuda:N"``.
        blocks: whether to write single rows in blocks without control flow, replayed as CUDA graphs; by default on CUDA
            only.
        binds: whether states stay in ``OrtValue``s, through I/O binding; by default on CUDA only, since on the CPU a
            binding costs as much as some steps of a small model.

    Raises:
        UnsupportedModelError: if the folder is not an ONNX export.
        ArtifactError: if its description is not valid.
        UnavailableError: if an int8 export is to run on CUDA.
    """

    priority: ClassVar[int] = 20
    runs_weights: ClassVar[bool] = False

    def __init__(self, export: Artifact, device: str, *, blocks: bool | None = None, binds: bool | None = None) -> None:
        self._graphs = Graphs(export)
        if device != "cpu" and self._graphs.about.precision == "int8":
            raise UnavailableError(
                f"{export.path} is an int8 export, which runs on the CPU; for {device} export with --precision fp16"
            )
        self.device = device
        self.precision = self._graphs.about.precision
        self.vocab_size = export.manifest.vocab_size
        self.state_spec = export.state_spec
        self._export = export
        self._runner = Runner(export, device, binds=device != "cpu" if binds is None else binds)
        self._writes_blocks = device != "cpu" if blocks is None else blocks
        self._blocks: dict[tuple[int, str, int], BlockLoop] = {}  # by the process that opened them
        self._outside: set[tuple[str, ...]] = set()  # chains that no graph can have inside
        self._names: dict[Hashable, str] = {}  # of graphs that have a chain inside, by all that is fixed in them

    @classmethod
    def open(cls, artifact: Artifact, make_model: Callable[[], Model], device: str = "auto") -> Self:
        if artifact.manifest.export is not None:
            return cls._read_from(artifact, device)
        command = f"textgen export --onnx {quoted(artifact.path)}"
        try:
            runtime = cls._open_export_of(artifact, device)
        except ArtifactError as error:
            if (artifact.path / FOLDER).exists():
                raise ArtifactError(f"{error}; export again with: {command}") from None
            try:
                model = make_model()
            except ArtifactError:  # its plugin is missing
                pass
            else:
                check_exportable(artifact, model)
            raise UnsupportedModelError(f"{artifact.path} has no ONNX export; make one with: {command}") from error
        if artifact.weights_sha256 != runtime._graphs.about.weights_sha256:
            raise UnsupportedModelError(
                f"{runtime._export.path} was exported from other weights than {artifact.path} has now; "
                f"export again with: {command}"
            )
        return runtime

    @classmethod
    def _open_export_of(cls, run: Artifact, device: str) -> Self:
        """Opens the export of a run, again if another one takes its place meanwhile."""
        folder = run.path / FOLDER
        for _ in range(ATTEMPTS):
            export = Artifact.open(folder, run.trust)
            try:
                return cls._read_from(export, device)
            except ArtifactError:
                if Artifact.open(folder).manifest == export.manifest:
                    raise
        return cls._read_from(Artifact.open(folder, run.trust), device)

    @classmethod
    def _read_from(cls, export: Artifact, device: str) -> Self:
        """Opens an export and reads its graphs: once text is written, it is too late to do without them."""
        runtime = cls(export, _device_for(export, device))
        runtime._graphs.read()
        return runtime

    @classmethod
    def diagnose(cls) -> list[Check]:
        return check_installation()

    def preferred_steps(self, *, endless: bool, stream: bool) -> int | None:
        if not self._writes_blocks:
            return None
        return LONG_BLOCK if endless and not stream else SHORT_BLOCK

    def forward(self, ids: Ids, state: State, lengths: Ids | None = None) -> tuple[NDArray[np.float32], State]:
        found, after = self._read(ids, state, lengths, ["logits"])
        return on_host(found["logits"]), after

    def prefill(self, ids: Ids, state: State, lengths: Ids | None = None) -> State:
        for piece, counts in self.pieces(ids, lengths):
            state = self._read(piece, state, counts, [])[1]
        return state

    def _read(self, ids: Ids, state: State, lengths: Ids | None, outputs: list[str]) -> tuple[dict[str, Any], State]:
        self._check(state)
        batch, time = ids.shape
        if time == 0:
            return {"logits": np.empty((batch, 0, self.vocab_size), np.float32)}, state
        feeds = {
            "ids": ids.astype(np.int64),
            "lengths": np.full(batch, time) if lengths is None else lengths.astype(np.int64),
        }
        if not self._runner.has(STEP):
            self._runner.add(STEP, self._graphs.step())
        return self._runner.run(STEP, batch, feeds, state, outputs)

    def generate(self, ids: Ids, state: State, draw: Draw, uniforms: NDArray[np.float32]) -> Block:
        graph = self._generating_graph(draw)
        if graph is None:
            return super().generate(ids, state, draw, uniforms)
        self._check(state)
        feeds: dict[str, NDArray[Any]] = {"uniforms": uniforms, **parameter_feeds(draw)}
        if draw.seen is not None:
            feeds["seen"] = draw.seen
        # Single rows only: each batch size would be captured anew, and batches shrink as rows end.
        if self._writes_blocks and len(ids) == 1 and len(uniforms) in (SHORT_BLOCK, LONG_BLOCK):
            written, after, draw.seen = self._block_loop(graph, draw, len(uniforms)).run(ids, state, feeds)
            return Block(self.checked_ids(written, draw), after)
        feeds["last_ids"] = ids.astype(np.int64)
        outputs = ["ids"] if draw.seen is None else ["ids", "present.seen"]
        found, after = self._runner.run(graph, len(ids), feeds, state, outputs)
        if draw.seen is not None:
            draw.seen = on_host(found["present.seen"])
        return Block(self.checked_ids(on_host(found["ids"]), draw), after)

    def _check(self, state: State) -> None:
        """Check that an n-gram has the contexts of a state; those on a device come from its graphs."""
        about = self._graphs.about
        if about.is_built and about.ngram is not None and not isinstance(state, DeviceState):
            contexts = state["context"]
            if contexts.min(initial=0) < 0 or contexts.max(initial=0) >= about.ngram.contexts:
                raise ArtifactError(
                    f"the state does not belong to this model, whose n-gram has {about.ngram.contexts:,} contexts"
                )

    def _generating_graph(self, draw: Draw) -> str | None:
        """The name of a graph that has the chain inside, built if need be; ``None`` if it cannot be."""
        key = draw.chain.form, draw.forbidden.tobytes()
        if key in self._names:
            return self._names[key]
        if draw.chain.names in self._outside:
            return None
        if not self._graphs.about.is_built:
            return None  # it has no weights to build a loop from
        loop = describe_loop(draw.chain, draw.forbidden.tolist())
        name = GENERATE if loop == self._graphs.about.generate else f"graph for {json.dumps(loop)}"
        if not self._runner.has(name):
            try:
                self._runner.add(name, self._graphs.generate(draw))
            except UnsupportedModelError as error:
                self._outside.add(draw.chain.names)
                notice(f"{error}; the loop runs outside of the graph, more slowly")
                return None
        self._names[key] = name
        return name

    def _block_loop(self, graph: str, draw: Draw, steps: int) -> BlockLoop:
        key = (os.getpid(), graph, steps)
        if key not in self._blocks:
            content = self._graphs.block(draw, steps).content
            session = open_session(content, "the block graph", self.device, cuda_graph=self.device != "cpu")
            self._blocks[key] = BlockLoop(session, self.state_spec, self.device)
        return self._blocks[key]


def _device_for(export: Artifact, device: str) -> str:
    """The device that a request stands for; ``"auto"`` keeps int8 exports on the CPU."""
    is_int8 = (export.manifest.export or {}).get("precision") == "int8"
    return resolve_device("cpu" if is_int8 and device == "auto" else device)
