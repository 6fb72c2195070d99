"""Triton as far as a repository of textgen depends on it, after its sources.

Those are ``core`` (``model_config_utils.cc``, ``sequence_batch_scheduler.cc``, ``sequence_state.cc``) and
``onnxruntime_backend`` (``onnxruntime.cc``, ``onnxruntime_utils.cc``), as of June 2026. The schema is Triton's own.
"""

import importlib.util
import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
import pytest
from google.protobuf import text_format  # type: ignore[import-untyped]
from numpy.typing import NDArray

Tensors = Mapping[str, NDArray[Any]]

#: By Triton's name of a type of elements: that of ONNX Runtime, and the dtype.
TYPES: dict[str, tuple[str, type[np.generic]]] = {
    "TYPE_FP32": ("tensor(float)", np.float32),
    "TYPE_INT32": ("tensor(int32)", np.int32),
    "TYPE_INT64": ("tensor(int64)", np.int64),
    "TYPE_BOOL": ("tensor(bool)", np.bool_),
}


class RefusedError(Exception):
    """What Triton does not load, or does not answer."""


def check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise RefusedError(otherwise)


@dataclass(frozen=True)
class Request:
    """A request: its tensors, and its place in a sequence."""

    inputs: Tensors
    sequence: int = 0
    start: bool = False
    end: bool = False


class Model:
    """A model of a repository."""

    def __init__(self, folder: Path, schema: ModuleType) -> None:
        self.config = text_format.Parse((folder / "config.pbtxt").read_text(), schema.ModelConfig())
        self.states = self.config.sequence_batching.state
        self.session = onnxruntime.InferenceSession(folder / "1" / "model.onnx", providers=["CPUExecutionProvider"])
        self.of_type: Callable[[int], str] = schema.DataType.Name
        self.inputs = {each.name: each for each in self.session.get_inputs()}
        self.outputs = {each.name: each for each in self.session.get_outputs()}
        self.initial: dict[str, NDArray[Any]] = {}
        self.sequences: dict[int, dict[str, NDArray[Any]]] = {}
        self.batches: list[int] = []
        self._check(folder)

    def _check(self, folder: Path) -> None:
        config = self.config
        check(config.name == folder.name, "the folder has another name than the model")
        check(config.backend == "onnxruntime" and not config.platform, "another backend")
        check(config.max_batch_size > 0, "models of state need batches")
        check([group.kind for group in config.instance_group] == [2], "not one group on the CPU")
        check(len(self.inputs) == len(config.input) + len(self.states), "configuration expects other inputs")
        for tensor in config.input:
            self._check_tensor(tensor, self.inputs, is_exact=False)
        for tensor in config.output:
            self._check_tensor(tensor, self.outputs, is_exact=True)
        for state in self.states:
            self._check_state(state, folder / "initial_state")
        # Of a state, Triton takes the output that has the place of its input in the order of names (server, #8586).
        pairs = sorted((state.input_name, state.output_name) for state in self.states)
        check([output for _, output in pairs] == sorted(output for _, output in pairs), "states would change places")

    def _check_tensor(self, tensor: Any, found: Mapping[str, Any], *, is_exact: bool) -> None:
        check(tensor.name in found, f"unexpected tensor {tensor.name}")
        check(bool(tensor.dims), f"{tensor.name} must specify 'dims'")
        check(all(dim >= 1 or dim == -1 for dim in tensor.dims), f"{tensor.name}: dimensions must be >= 1, or -1")
        dims = list(tensor.dims)
        if tensor.HasField("reshape"):
            check((dims, list(tensor.reshape.shape)) == ([1], []), f"{tensor.name} has different size for reshape")
            dims = []
        kind, shape = TYPES[self.of_type(tensor.data_type)][0], found[tensor.name].shape
        check(kind == found[tensor.name].type, f"{tensor.name}: the model provides {found[tensor.name].type}")
        given = [each if isinstance(each, int) else -1 for each in shape]
        check(given[:1] == [-1], f"{tensor.name}: the first dimension must be -1")
        fits = len(given) == len(dims) + 1 and all(
            has == wants or (has == -1 and not is_exact) for has, wants in zip(given[1:], dims, strict=True)
        )
        check(fits, f"{tensor.name}: the model expects {given}")

    def _check_state(self, state: Any, files: Path) -> None:
        kind, dtype = TYPES[self.of_type(state.data_type)]
        for name, found in ((state.input_name, self.inputs), (state.output_name, self.outputs)):
            check(name in found, f"the model has no {name}")
            check(found[name].type == kind, f"{name}: the model provides {found[name].type}")
            check(found[name].shape[1:] == list(state.dims), f"{name}: the model expects {found[name].shape}")
        check(len(state.initial_state) == 1, "a state without an initial one begins as memory comes")
        (begin,) = state.initial_state
        check(begin.data_type == state.data_type, "the data type used for 'initial_state' does not match")
        check(bool(begin.name), "field 'name' must be set")
        check(list(begin.dims) == list(state.dims), "'initial_state' dim doesn't match")
        array = np.zeros([1, *state.dims], dtype)
        if begin.WhichOneof("state_data") == "data_file":
            content = (files / begin.data_file).read_bytes()
            check(len(content) == array.nbytes, f"expects {array.nbytes} bytes")
            array = np.frombuffer(content, dtype).reshape(array.shape)
        self.initial[state.input_name] = array

    def infer(self, requests: Sequence[Request]) -> list[dict[str, NDArray[Any]]]:
        """Answer requests that wait at the same time: those of equal shapes in one batch."""
        answers: dict[int, dict[str, NDArray[Any]]] = {}
        alike = defaultdict(list)
        for number, request in enumerate(requests):
            self._check_request(request)
            alike[tuple(sorted((name, array.shape[1:]) for name, array in request.inputs.items()))].append(number)
        for numbers in alike.values():
            for at in range(0, len(numbers), self.config.max_batch_size):
                part = numbers[at : at + self.config.max_batch_size]
                answers |= dict(zip(part, self._run([requests[number] for number in part]), strict=True))
        return [answers[number] for number in range(len(requests))]

    def _check_request(self, request: Request) -> None:
        check(request.inputs.keys() == {each.name for each in self.config.input}, "other inputs than expected")
        rows = {len(array) for array in request.inputs.values()}
        check(len(rows) == 1 and max(rows) <= self.config.max_batch_size, "other batch sizes than expected")
        for tensor in self.config.input:
            array = request.inputs[tensor.name]
            check(array.dtype == TYPES[self.of_type(tensor.data_type)][1], f"{tensor.name} has dtype {array.dtype}")
            fits = array.ndim == len(tensor.dims) + 1 and all(
                wants in (-1, has) for has, wants in zip(array.shape[1:], tensor.dims, strict=True)
            )
            check(fits, f"unexpected shape for {tensor.name}: {array.shape}")
        if self.states:
            check(rows == {1}, "must specify batch-size 1 due to requirements of sequence batcher")
            check(request.sequence != 0, "must specify a non-zero or non-empty correlation ID")
            check(request.start or request.sequence in self.sequences, "must specify the START flag")

    def _run(self, requests: Sequence[Request]) -> list[dict[str, NDArray[Any]]]:
        self.batches.append(len(requests))
        inputs = {each.name: np.concatenate([r.inputs[each.name] for r in requests]) for each in self.config.input}
        for tensor in self.config.input:
            if tensor.HasField("reshape"):
                inputs[tensor.name] = inputs[tensor.name][:, 0]
        for request in requests:
            if request.start:
                self.sequences[request.sequence] = dict(self.initial)
        for name in self.initial:
            inputs[name] = np.concatenate([self.sequences[request.sequence][name] for request in requests])
        found = dict(zip(self.outputs, self.session.run(list(self.outputs), inputs), strict=True))
        ends = np.cumsum([len(next(iter(request.inputs.values()))) for request in requests])[:-1]
        for state in self.states:
            for request, part in zip(requests, np.split(found[state.output_name], ends), strict=True):
                self.sequences[request.sequence][state.input_name] = part
        for request in requests:
            if request.end:
                del self.sequences[request.sequence]
        for tensor in self.config.output:
            if tensor.HasField("reshape"):
                found[tensor.name] = found[tensor.name][:, None]
        parts = {each.name: np.split(found[each.name], ends) for each in self.config.output}
        return [{name: each[number] for name, each in parts.items()} for number in range(len(requests))]


class Server:
    """The models of a repository, as files lie in it."""

    def __init__(self, repository: Path, schema: ModuleType) -> None:
        self.models = {path.name: Model(path, schema) for path in sorted(repository.iterdir()) if path.is_dir()}

    @contextmanager
    def listening(self) -> Iterator[str]:
        """Answers ``POST /v2/models/NAME/infer`` in JSON; yields the address."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self.models))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """The inference protocol, https://github.com/kserve/open-inference-protocol, with Triton's sequences."""

    def __init__(self, models: Mapping[str, Model], *arguments: Any) -> None:
        self.models = models
        super().__init__(*arguments)

    def do_POST(self) -> None:
        assert self.headers["Content-Type"] == "application/json"
        model = self.models[self.path.removeprefix("/v2/models/").removesuffix("/infer")]
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        inputs = {
            each["name"]: np.array(each["data"], TYPES[f"TYPE_{each['datatype']}"][1]).reshape(each["shape"])
            for each in body["inputs"]
        }
        about = {name.removeprefix("sequence_"): value for name, value in body.get("parameters", {}).items()}
        try:
            request = Request(inputs, about.get("id", 0), about.get("start", False), about.get("end", False))
            (found,) = model.infer([request])
            answer = {
                "model_name": model.config.name,
                "outputs": [
                    {"name": name, "shape": list(array.shape), "data": array.ravel().tolist()}
                    for name, array in found.items()
                ],
            }
        except RefusedError as error:
            answer = {"error": str(error)}
        self.send_response(400 if "error" in answer else 200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="session")
def schema() -> ModuleType:
    """Triton's own schema of configurations; importing the package around it would need gRPC."""
    package = importlib.util.find_spec("tritonclient")
    if package is None or package.origin is None:
        pytest.skip("Triton's schema is missing: pip install --no-deps tritonclient")
    path = Path(package.origin).with_name("grpc") / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def serve(schema) -> Callable[[Path], Server]:
    """Loads the models of a repository."""
    return lambda repository: Server(repository, schema)


@pytest.fixture(scope="session")
def request_of() -> type[Request]:
    """The class of requests."""
    return Request
