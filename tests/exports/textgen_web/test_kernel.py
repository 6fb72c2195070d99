"""The WebAssembly module computes what NumPy does."""

import base64
import json
import shutil
import subprocess

import numpy as np
import pytest

from textgen_web.kernel import PANEL, SIGMOID, TANH, kernel_module

#: Calls functions of the module, each in a memory of its own.
PROGRAM = """
const bytes = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
const {module, calls} = JSON.parse(require('fs').readFileSync(0, 'utf8'));
console.log(JSON.stringify(calls.map(([name, memory, numbers]) => {
  const own = new WebAssembly.Memory({initial: Math.ceil(atob(memory).length / 65536)});
  new Uint8Array(own.buffer).set(bytes(memory));
  new WebAssembly.Instance(new WebAssembly.Module(bytes(module)), {env: {memory: own}}).exports[name](...numbers);
  return Buffer.from(own.buffer).toString('base64');
})));
"""

Call = tuple[str, list[np.ndarray], list[int]]


def run(calls: list[Call]) -> list[np.ndarray]:
    """The memory after each call, as bytes. A call gets the addresses of its arrays, and then numbers."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node")
    orders = []
    for name, arrays, numbers in calls:
        places = np.cumsum([0, *(array.nbytes for array in arrays)]).tolist()
        memory = b"".join(array.tobytes() for array in arrays)
        orders.append([name, base64.b64encode(memory).decode(), [*places[:-1], *numbers]])
    order = {"module": base64.b64encode(kernel_module()).decode(), "calls": orders}
    done = subprocess.run([node, "-e", PROGRAM], input=json.dumps(order), capture_output=True, text=True, check=True)
    return [np.frombuffer(base64.b64decode(memory), np.uint8) for memory in json.loads(done.stdout)]


def panels_of(matrix: np.ndarray) -> np.ndarray:
    """A matrix ``[rows, panels * PANEL]`` as it lies in memory."""
    return np.ascontiguousarray(matrix.reshape(len(matrix), -1, PANEL).transpose(1, 0, 2))


SHAPES = [(1, 1), (3, 2), (40, 1), (129, 3)]


def test_products_round_after_each_operation():
    rng = np.random.default_rng(0)
    calls: list[Call] = []
    expected = []
    for rows, panels in SHAPES:
        x = rng.normal(size=(rows + 3) // 4 * 4).astype(np.float32)
        w, addend = (rng.normal(size=size).astype(np.float32) for size in ((rows, panels * PANEL), panels * PANEL))
        calls.append(("product", [x, panels_of(w), addend, np.zeros_like(addend)], [rows, panels]))
        total = addend
        for row in range(rows):
            total = total + x[row] * w[row]
        expected.append(total)
    for total, memory, (_, arrays, _) in zip(expected, run(calls), calls, strict=True):
        end = sum(array.nbytes for array in arrays)
        np.testing.assert_array_equal(memory[end - total.nbytes : end].view(np.float32), total)


def test_products_of_whole_numbers_are_exact():
    rng = np.random.default_rng(1)
    calls: list[Call] = []
    expected = []
    for pairs, panels in SHAPES:
        x = rng.integers(-127, 128, 2 * ((pairs + 1) // 2 * 2)).astype(np.int16)
        w = rng.integers(-127, 128, (2 * pairs, panels * PANEL)).astype(np.int8)
        in_turns = panels_of(w).reshape(panels, pairs, 2, PANEL).transpose(0, 1, 3, 2)
        out = np.zeros(panels * PANEL, np.float32)
        calls.append(("product_int8", [x, np.ascontiguousarray(in_turns), out], [pairs, panels]))
        expected.append((x[: 2 * pairs].astype(np.int64) @ w.astype(np.int64)).astype(np.float32))
    for total, memory, (_, arrays, _) in zip(expected, run(calls), calls, strict=True):
        end = sum(array.nbytes for array in arrays)
        np.testing.assert_array_equal(memory[end - total.nbytes : end].view(np.float32), total)


def test_sigmoid_and_tanh():
    x = np.linspace(-30, 30, 4096).astype(np.float32)
    sigmoid, tanh = (
        memory[: x.nbytes].view(np.float32) for memory in run([("sigmoid", [x], [1024]), ("tanh", [x], [1024])])
    )
    for found, formula, exact in (
        (sigmoid, SIGMOID, 1 / (1 + np.exp(-x.astype(float)))),
        (tanh, TANH, np.tanh(x.astype(float))),
    ):
        np.testing.assert_allclose(found, exact, rtol=0, atol=4e-7)
        bound, numerator, denominator, added = formula
        value = np.clip(x.astype(float), -bound, bound)
        rational = value * np.polyval(numerator, value**2) / np.polyval(denominator, value**2) + added
        np.testing.assert_allclose(found, rational, rtol=0, atol=4e-7)
