"""The runtime ``onnx``: prompts through ``step.onnx``, whole chunks of text through a generating graph."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from textgen import Artifact, Block, Chain, Check, Draw, Ids, Runtime, State, distribution_version, quoted, usable_cores
from textgen.errors import ArtifactError, UnavailableError, UnsupportedModelError
from textgen.generation.loop import CHUNK, CHUNK_TO_END
from textgen.generation.runtime import Drawing
from textgen_onnx.checks.signature import check_signature
from textgen_onnx.running.cuda import resolve_device, why_no_cuda
from textgen_onnx.running.cuda_block import BlockLoop
from textgen_onnx.running.device_state import DeviceState, on_host, place
from textgen_onnx.running.session import open_session
from textgen_onnx.running.threads import choose_threads

if TYPE_CHECKING:
    from textgen import Model
    from textgen_onnx.graphs.weights import GraphWeights

#: Folder of the export in a run's folder, and the graphs in it.
FOLDER, STEP, GENERATE = "onnx", "step.onnx", "generate.onnx"

#: How a tensor of a serialised graph says that its values lie in another file: a key of its ``external_data``.
EXTERNAL_DATA = b"\x0a\x08location"

#: Steps of the run that measures threads, at least and at most. Handing rows to threads costs as much as some steps of
#: a small model, which then would look slower than it is in a whole chunk: it is measured by as many steps as large
#: models need for some multiplications.
MEASURED_STEPS, MEASURED_MULTIPLICATIONS = (8, CHUNK), 5e8


class OnnxRuntime(Runtime):
    """Runs an export with ONNX Runtime; imports neither TensorFlow nor, for the exported sampler chain, onnx.

    Args:
        export: the export's folder.
        device: ``"cpu"`` or ``"cuda:N"``.
        blocks: whether to write text in blocks without control flow, replayed as CUDA graphs; by default on CUDA only.
        binds: whether states stay in ``OrtValue``s, through I/O binding; by default on CUDA only, since on the CPU a
            binding costs as much as some steps of a small model.
    """

    def __init__(self, export: Artifact, device: str, *, blocks: bool | None = None, binds: bool | None = None) -> None:
        if export.manifest.export is None or export.manifest.export.get("format") != FOLDER:
            raise UnsupportedModelError(f"{export.path} holds no ONNX export; make one with: textgen export --onnx")
        self._about = export.manifest.export
        if device != "cpu" and self._about["precision"] == "int8":
            raise UnavailableError(
                f"{export.path} is an int8 export, which runs on the CPU; for {device} export with --precision fp16"
            )
        self.device = device
        self.vocab_size = export.manifest.vocab_size
        self.state_spec = export.state_spec
        self._export = export
        self._bytes: dict[str, bytes] = {}
        self._sessions: dict[tuple[Any, ...], Any] = {}
        self._blocks: dict[tuple[str, int], BlockLoop] | None = {} if blocks or device != "cpu" else None
        self._binds = device != "cpu" if binds is None else binds
        self._told: set[tuple[str, ...]] = set()

    @classmethod
    def open(cls, artifact: Artifact, make_model: Callable[[], Model], device: str = "auto") -> Self:
        if artifact.manifest.export is not None:
            return cls(artifact, _device_for(artifact, device))
        try:
            export = Artifact.open(artifact.path / FOLDER)
        except ArtifactError as error:
            if (artifact.path / FOLDER).exists():
                raise
            hint = f"{artifact.path} has no ONNX export; make one with: textgen export --onnx {quoted(artifact.path)}"
            raise UnsupportedModelError(hint) from error
        runtime = cls(export, _device_for(export, device))
        if artifact.weights_sha256 != runtime._about.get("weights_sha256"):
            raise UnsupportedModelError(
                f"{export.path} was exported from other weights than {artifact.path} has now; "
                f"export again with: textgen export --onnx {quoted(artifact.path)}"
            )
        return runtime

    @classmethod
    def diagnose(cls) -> list[Check]:
        installed = [name for name in ("onnxruntime", "onnxruntime-gpu") if distribution_version(name) != "unknown"]
        what = " and ".join(f"{name} {distribution_version(name)}" for name in installed)
        if len(installed) > 1:
            advice = (
                "they overwrite each other's files; keep one: pip uninstall -y onnxruntime onnxruntime-gpu, then "
                'pip install --force-reinstall "textgen-rnn"'
            )
            return [Check(what, "broken", advice)]
        missing = why_no_cuda()
        cuda = Check("CUDA in ONNX Runtime", "absent" if missing else "works", missing)
        return [Check(f"{what} on the CPU, with {usable_cores()} cores", "works"), cuda]

    def forward(self, ids: Ids, state: State, lengths: Ids | None = None) -> tuple[NDArray[np.float32], State]:
        logits, after = self._read(ids, state, lengths, "logits")
        return on_host(logits), after

    def prefill(self, ids: Ids, state: State, lengths: Ids | None = None) -> State:
        return self._read(ids, state, lengths, None)[1]

    def _read(self, ids: Ids, state: State, lengths: Ids | None, extra: str | None) -> tuple[Any, State]:
        batch, time = ids.shape
        if time == 0:
            empty = np.empty((batch, 0, self.vocab_size), np.float32)
            return empty, state
        feeds = {
            "ids": ids.astype(np.int64),
            "lengths": np.full(batch, time) if lengths is None else lengths.astype(np.int64),
        }
        outputs = [*([extra] if extra else []), *(f"present.{t.name}" for t in self.state_spec.tensors)]
        found = self._run(self._session(STEP, batch, feeds, state), feeds, state, outputs)
        return found.pop(extra) if extra else None, self._state(found)

    def generate(self, ids: Ids, state: State, chain: Drawing, uniforms: NDArray[np.float32]) -> Block:
        graph = self._generating_graph(chain)
        if graph is None:
            return super().generate(ids, state, chain, uniforms)
        assert isinstance(chain, Draw)
        feeds: dict[str, NDArray[Any]] = {"last_ids": ids.astype(np.int64), "uniforms": uniforms}
        for index, (name, values) in enumerate(zip(chain.chain.names, chain.parameters, strict=False)):
            feeds |= {f"{index}.{name}.{parameter}": value for parameter, value in values.items()}
        if chain.seen is not None:
            feeds["seen"] = chain.seen
        # One row, since each batch size would be captured anew, and batches shrink as rows end.
        if self._blocks is not None and len(ids) == 1 and len(uniforms) in (CHUNK, CHUNK_TO_END):
            loop = self._block_loop(graph, chain.chain, chain.forbidden.tolist(), len(uniforms))
            feeds.pop("last_ids")
            written, after, chain.seen = loop.run(ids, state, feeds)
            return Block(written, after)
        outputs = ["ids", *(f"present.{t.name}" for t in self.state_spec.tensors)]
        if chain.seen is not None:
            outputs.append("present.seen")
        found = self._run(self._session(graph, len(ids), feeds, state), feeds, state, outputs)
        if chain.seen is not None:
            chain.seen = on_host(found.pop("present.seen"))
        written = on_host(found.pop("ids")).astype(np.int32)
        if written.max(initial=0) >= self.vocab_size:
            raise ArtifactError(
                f"{self._export.path / GENERATE} is no graph of this model: it writes ids past {self.vocab_size - 1}"
            )
        return Block(written, self._state(found))

    def _generating_graph(self, draw: Drawing) -> str | None:
        """The name of a graph that has the chain inside, built if need be; ``None`` where it cannot be."""
        if not isinstance(draw, Draw) or draw.chain.names in self._told:
            return None
        chain, forbidden = draw.chain, draw.forbidden.tolist()
        if "cell" not in self._about:
            return None  # exported through tf2onnx: there are no weights to build a loop from
        loop = describe_loop(chain, forbidden)
        if loop == self._about["generate"]:
            return GENERATE
        name = f"graph for {json.dumps(loop)}"
        if name not in self._bytes:
            try:
                self._bytes[name] = self._build(chain, forbidden)
            except UnsupportedModelError as error:
                self._told.add(chain.names)
                print(f"textgen: {error}; the loop runs outside of the graph, more slowly", file=sys.stderr)
                return None
        return name

    def _build(self, chain: Chain, forbidden: list[int]) -> bytes:
        from textgen_onnx.graphs.generate import build_generate

        model = build_generate(self._weights(), chain, forbidden, self._export.manifest.end_id)
        return bytes(model.SerializeToString())

    def _block_loop(self, graph: str, chain: Chain, forbidden: list[int], steps: int) -> BlockLoop:
        from textgen_onnx.graphs.generate import build_block

        assert self._blocks is not None
        key = (graph, steps)
        if key not in self._blocks:
            end_id = self._export.manifest.end_id
            model = build_block(self._weights(), chain, forbidden, end_id, steps=steps, batch=1)
            session = open_session(
                bytes(model.SerializeToString()), "the block graph", self.device, cuda_graph=self.device != "cpu"
            )
            self._blocks[key] = BlockLoop(session, self.state_spec, self.device)
        return self._blocks[key]

    def _weights(self) -> GraphWeights:
        from textgen_onnx.graphs.weights import GraphWeights

        about, model = self._about, self._content(STEP)
        try:
            return GraphWeights.from_model(
                model, about["cell"], tuple(about["units"]), self.vocab_size, about["precision"]
            )
        except ArtifactError as error:
            raise ArtifactError(
                f"{self._export.path / STEP} is no graph of this model: {error}; export again"
            ) from None

    def _content(self, name: str) -> bytes:
        if name not in self._bytes:
            path = self._export.verified(name)
            content = path.read_bytes()
            if EXTERNAL_DATA in content:
                raise ArtifactError(f"{path} keeps weights in another file, which nothing vouches for; export again")
            self._bytes[name] = content
        return self._bytes[name]

    def _session(self, name: str, batch: int, feeds: Mapping[str, NDArray[Any]], state: State) -> Any:
        """The session of a graph, with the threads that suit batches of this size."""
        key = (name, batch.bit_length() if self.device == "cpu" else 0)
        if key in self._sessions:
            return self._sessions[key]
        model = self._content(name)
        path = str(self._export.path / name)
        if self.device == "cpu":
            record = self._export.manifest.files.get(name) or self._export.manifest.files[STEP]
            identity = f"{onnxruntime.__version__}:{record.sha256[:16]}:{name}:{key[1]}"
            measured = _shortened(feeds, self._measured_steps(batch))
            session = choose_threads(
                identity,
                1 if self._binds else batch,  # a binding is for all rows
                lambda threads: self._open(model, path, feeds, threads),
                lambda session: self._run(session, measured, state, []),
            )
        else:
            session = self._open(model, path, feeds)
        self._sessions[key] = session
        return session

    def _measured_steps(self, batch: int) -> int:
        least, most = MEASURED_STEPS
        of_a_step = batch * sum(prod(tensor.shape) ** 2 for tensor in self.state_spec.tensors)
        return least if batch == 1 else int(np.clip(MEASURED_MULTIPLICATIONS / max(1, of_a_step), least, most))

    def _open(self, model: bytes, path: str, feeds: Mapping[str, NDArray[Any]], threads: int = 0) -> Any:
        """A session of a graph whose inputs and outputs are those of this model and of the feeds."""
        state = {t.name: (t.dtype, (None, *t.shape)) for t in self.state_spec.tensors}
        inputs = {f"past.{name}": tensor for name, tensor in state.items()}
        outputs = {f"present.{name}": tensor for name, tensor in state.items()}
        for name, array in feeds.items():
            is_dynamic = name in ("ids", "lengths", "last_ids", "uniforms")
            shape = [None] * array.ndim if is_dynamic else [None, *array.shape[1:]]
            inputs[name] = (array.dtype.name, tuple(shape))
        if "ids" in feeds:
            outputs["logits"] = ("float32", (None, None, self.vocab_size))
        else:
            outputs["ids"] = ("int64", (None, None))
        if "seen" in feeds:
            outputs["present.seen"] = inputs["seen"]
        session = open_session(model, path, self.device, threads=threads)
        check_signature(session, path, inputs, outputs)
        return session

    def _run(self, session: Any, feeds: Mapping[str, NDArray[Any]], state: State, outputs: list[str]) -> dict[str, Any]:
        """Run; on a device with I/O binding: what is there stays there, outputs included."""
        names = outputs or [value.name for value in session.get_outputs()]
        if not self._binds:
            past = {f"past.{name}": array for name, array in state.items()}
            return dict(zip(names, session.run(names, {**feeds, **past}), strict=True))
        binding = session.io_binding()
        # A value on the CPU lies in its array's memory, which the binding does not keep: this does, until the run ends.
        inputs = {name: place(array, self.device) for name, array in feeds.items()}
        inputs |= {f"past.{name}": value for name, value in DeviceState.of(state, self.device).values_on_device()}
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, value)
        kind, _, index = self.device.partition(":")
        for name in names:
            binding.bind_output(name, kind, int(index or 0))
        session.run_with_iobinding(binding)
        return dict(zip(names, binding.get_outputs(), strict=True))

    def _state(self, found: Mapping[str, Any]) -> State:
        values = {name.removeprefix("present."): value for name, value in found.items()}
        return DeviceState(values, self.device) if self._binds else State(values)


def _shortened(feeds: Mapping[str, NDArray[Any]], steps: int) -> dict[str, NDArray[Any]]:
    """The feeds of a run of a few steps."""
    short = dict(feeds)
    if "uniforms" in feeds:
        short["uniforms"] = feeds["uniforms"][:steps]
    else:
        short["ids"] = feeds["ids"][:, :steps]
        short["lengths"] = np.minimum(feeds["lengths"], steps)
    return short


def describe_loop(chain: Chain, forbidden: Sequence[int]) -> dict[str, Any]:
    """What a generating graph is made for, as JSON values; the samplers' parameters are its inputs."""
    return {
        "sampler_names": list(chain.names),
        "selector_options": chain.selector.options.model_dump(mode="json"),
        "forbidden_ids": list(forbidden),
    }


def _device_for(export: Artifact, device: str) -> str:
    """The device that a request stands for; ``"auto"`` keeps int8 exports on the CPU."""
    is_int8 = (export.manifest.export or {}).get("precision") == "int8"
    return resolve_device("cpu" if is_int8 and device == "auto" else device)
