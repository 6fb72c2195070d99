"""ONNX: the exporters ``onnx`` and ``triton``, and the runtime ``onnx`` on ONNX Runtime."""

from textgen import Register, hookimpl


@hookimpl
def textgen_register_exporters(register: Register) -> None:
    register("onnx", "textgen_onnx.exporter:OnnxExporter", "ONNX graphs of one step and of the whole loop.")
    register("triton", "textgen_onnx.triton.exporter:TritonExporter", "A model repository for Triton Inference Server.")


@hookimpl
def textgen_register_runtimes(register: Register) -> None:
    register("onnx", "textgen_onnx.runtime:OnnxRuntime", "ONNX Runtime on the CPU or CUDA; needs an export.")
