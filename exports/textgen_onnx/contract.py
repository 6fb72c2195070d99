"""The names and numbers that exporter and runtime agree on; docs/onnx.md has them for other hosts.

Importing this module imports neither onnx nor onnxruntime.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from textgen import Chain, Draw

#: The folder of an export in the run's folder, and the value of ``format`` in its ``textgen.json``.
FOLDER = "onnx"

#: The graphs: reading text, writing text, and writing one block of it without control flow.
STEP, GENERATE, BLOCK = "step.onnx", "generate.onnx", "block.onnx"

#: The other files. The tokenizer's is a copy of the run's.
TOKENIZER, GOLDEN, CARD, SUMS = "tokenizer.json", "golden.safetensors", "README.md", "SHA256SUMS"

#: Version of the operators, and of the file format, that ONNX Runtime 1.14 and later read.
OPSET, IR_VERSION = 17, 8


def describe_loop(chain: Chain, forbidden: Sequence[int]) -> dict[str, Any]:
    """The part of a chain that is fixed in a generating graph, as JSON values; the samplers' numbers are its inputs."""
    return {
        "sampler_names": list(chain.names),
        "selector_options": chain.selector.options.model_dump(mode="json"),
        "forbidden_ids": list(forbidden),
    }


def parameter_name(index: int, chain: Chain, parameter: str) -> str:
    """The graph input for a number of the sampler at ``index``, such as ``0.temperature.temperature``."""
    return f"{index}.{chain.names[index]}.{parameter}"


def default_parameters(chain: Chain) -> dict[str, float]:
    """The numbers of a chain, by graph input."""
    return {
        parameter_name(index, chain, name): value
        for index, sampler in enumerate(chain.samplers)
        for name, value in sampler.parameters.items()
    }


def parameter_feeds(draw: Draw) -> dict[str, NDArray[Any]]:
    """The numbers of the chains of a batch, each ``[batch, 1]`` float32, by graph input."""
    return {
        parameter_name(index, draw.chain, name): column
        for index, columns in enumerate(draw.parameters)
        for name, column in columns.items()
    }
