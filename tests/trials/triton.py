"""Compares a real Triton with textgen: golden vectors, and texts of many clients at once.

Exports two runs with random weights, starts the server on their models, sends it the golden vectors of the models whose
state is passed, then writes texts by sequences whose state Triton keeps, many at a time. It needs the program
``tritonserver`` and a folder of backends with ONNX Runtime's, so it is not part of the test suite:

    python tests/trials/triton.py --server /opt/tritonserver/bin/tritonserver --backends /opt/tritonserver/backends

It prints what was compared, and fails if anything differs.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.exports.random_runs import save_run  # noqa: E402
from textgen import api, uniforms  # noqa: E402

PENALTY = "repetition-penalty(1.3) | temperature(0.9) | top-k(20) | top-p(0.95) | min-p(0.01) | multinomial"

#: The runs: both cells, with and without an n-gram, an end, and a chain that needs the ids of the text.
RUNS: dict[str, dict[str, Any]] = {
    "gru": {"cell": "gru", "units": 64},
    "n-gram": {"cell": "lstm", "layers": 2, "contexts": 60, "tokenizer": "char-eos", "sampler": PENALTY},
}

#: Texts of each run, clients at a time, characters of a text, slots of a request, and the seed.
TEXTS, CLIENTS, LENGTH, SLOTS, SEED = 200, 64, 100, 16, 7

#: Seconds in which the server must be ready.
PATIENCE = 120

TYPES = {"int64": "INT64", "int32": "INT32", "float32": "FP32", "bool": "BOOL"}


@contextmanager
def serving(server: Path, backends: Path, repository: Path) -> Iterator[str]:
    """Runs the server; yields its address once all models are ready."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(server), f"--model-repository={repository}", f"--backend-directory={backends}"]
    command += [f"--http-port={port}", "--http-address=127.0.0.1", "--allow-grpc=false", "--allow-metrics=false"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        log: list[str] = []
        with ThreadPoolExecutor(1) as reader:
            reader.submit(lambda: log.extend(process.stdout or ()))
            try:
                yield _when_ready(f"http://127.0.0.1:{port}", process, log)
            finally:
                process.terminate()


def _when_ready(address: str, process: subprocess.Popen[str], log: list[str]) -> str:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/v2/health/ready"):
                return address
        except OSError:
            time.sleep(0.2)
    raise SystemExit("the server is not ready:\n" + "".join(log[-30:]))


def infer(address: str, model: str, inputs: dict[str, Any], **parameters: Any) -> dict[str, Any]:
    """The outputs of a model by name."""
    tensors = [
        {"name": name, "shape": array.shape, "datatype": TYPES[str(array.dtype)], "data": array.ravel().tolist()}
        for name, array in inputs.items()
    ]
    body = json.dumps({"inputs": tensors, "parameters": parameters}).encode()
    request = urllib.request.Request(f"{address}/v2/models/{model}/infer", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        found = json.load(answer)["outputs"]
    return {each["name"]: np.array(each["data"]).reshape(each["shape"]) for each in found}


def compare_golden(address: str, model: str, vectors: dict[str, Any]) -> float:
    """Sends golden vectors, named after the tensors of the model; returns the largest difference."""
    with urllib.request.urlopen(f"{address}/v2/models/{model}") as answer:
        inputs = {each["name"]: vectors[each["name"]] for each in json.load(answer)["inputs"]}
    found, largest = infer(address, model, inputs), 0.0
    if "logits" in found:
        found["logits"][np.arange(found["logits"].shape[1]) >= inputs["lengths"]] = 0
    for name, array in found.items():
        if array.shape != vectors[name].shape:
            raise SystemExit(f"{model}: {name} has the shape {array.shape}, not {vectors[name].shape}")
        largest = max(largest, float(np.abs(array.astype(np.float64) - vectors[name]).max()))
    return largest


def write(address: str, about: dict[str, Any], row: int, ids: list[int]) -> list[int]:
    """The ids that a sequence writes after some."""
    given = np.array([[*ids, *[-1] * LENGTH]])
    drawn = np.concatenate([np.zeros(len(ids), np.float32), uniforms(SEED, [row], 1, LENGTH)[:, 0]])[None]
    parameters = {name: np.array([[value]], np.float32) for name, value in about["parameters"].items()}
    written: list[int] = []
    for at in range(0, given.size, SLOTS):
        inputs = {"given": given[:, at : at + SLOTS], "uniforms": drawn[:, at : at + SLOTS], **parameters}
        about_sequence = {"sequence_start": at == 0, "sequence_end": at + SLOTS >= given.size}
        answer = infer(address, about["models"]["sequence"], inputs, sequence_id=row + 1, **about_sequence)
        written += answer["ids"][0].tolist()
    return written[len(ids) :]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", type=Path, required=True, help="the program tritonserver")
    parser.add_argument("--backends", type=Path, required=True, help="the folder of its backends")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        repository, generators = Path(temporary, "models"), {}
        for name, settings in RUNS.items():
            run = save_run(Path(temporary, name), **settings)
            generators[name] = api.load(run.path, runtime="numpy")
            folder = api.export(run.path, to="triton", options={"name": name}).folder
            for model in filter(Path.is_dir, folder.iterdir()):
                shutil.copytree(model, repository / model.name)
        with serving(options.server, options.backends, repository) as address:
            with urllib.request.urlopen(f"{address}/v2") as answer:
                print(f"Triton {json.load(answer)['version']}")
            for name, generator in generators.items():
                _compare(address, Path(temporary, name, "triton"), generator)


def _compare(address: str, folder: Path, generator: Any) -> None:
    about = json.loads((folder / "textgen.json").read_text(encoding="utf-8"))["export"]
    golden = safetensors.numpy.load_file(folder / "golden.safetensors")
    for kind in ("step", "write"):
        model, prefix = about["models"][kind], f"{kind}."
        own = {key.removeprefix(prefix): array for key, array in golden.items() if key.startswith(prefix)}
        largest = compare_golden(address, model, own)
        print(f"{model}: golden vectors, largest difference {largest:.1e}")
        if largest > 1e-5:
            raise SystemExit("the server computes something else")
    prompts = [("The quick", "j", "the lazy dog")[row % 3] for row in range(TEXTS)]
    begins = [generator.tokenizer.encode(prompt).tolist() for prompt in prompts]
    with ThreadPoolExecutor(CLIENTS) as clients:
        written = list(clients.map(lambda row: write(address, about, row, begins[row]), range(TEXTS)))
    request = generator.request(prompts, rows=range(TEXTS), seed=SEED, length=LENGTH)
    expected = [list(generation.ids) for generation in generator.sample(request)]
    same = sum(found[: len(ids)] == ids for found, ids in zip(written, expected, strict=True))
    model = about["models"]["sequence"]
    with urllib.request.urlopen(f"{address}/v2/models/{model}/stats") as answer:
        batches = [each["batch_size"] for each in json.load(answer)["model_stats"][0]["batch_stats"]]
    print(f"{model}: {same} of {TEXTS} texts are those of textgen, in batches of up to {max(batches)}")
    if same < TEXTS:
        raise SystemExit("the server writes something else")


if __name__ == "__main__":
    main()
