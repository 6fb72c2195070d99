"""The three graphs: prompts (``step.onnx``), the whole loop (``generate.onnx``), and a block without control flow."""

from __future__ import annotations

from textgen import Chain


def parameter_name(index: int, chain: Chain, parameter: str) -> str:
    """The graph input of a sampler's parameter, such as ``0.temperature.temperature``."""
    return f"{index}.{chain.names[index]}.{parameter}"


def default_parameters(chain: Chain) -> dict[str, float]:
    """The chain's own parameters by the names of the inputs that take them."""
    return {
        parameter_name(index, chain, name): value
        for index, sampler in enumerate(chain.samplers)
        for name, value in sampler.parameters.items()
    }
