"""The names and numbers that exporter and runtime agree on; docs/onnx.md has them for other hosts.

Importing this module imports neither onnx nor onnxruntime.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from textgen import Artifact, Cell, Chain, Draw, recurrent_state_spec
from textgen.errors import ArtifactError, UnsupportedModelError
from textgen.options import first_problem

if TYPE_CHECKING:
    from textgen import Model

#: The folder of an export in the run's folder, and the value of ``format`` in its ``textgen.json``.
FOLDER = "onnx"

#: The graphs: reading text, writing text, and writing one block of it without control flow.
STEP, GENERATE, BLOCK = "step.onnx", "generate.onnx", "block.onnx"

#: The other files. The tokenizer's is a copy of the run's.
TOKENIZER, GOLDEN, CARD, SUMS = "tokenizer.json", "golden.safetensors", "README.md", "SHA256SUMS"

#: The file by which Git leaves all files as they are, and its content: with other line ends, no hash would be right.
GIT_ATTRIBUTES, UNCONVERTED = ".gitattributes", "* -text\n"

#: Version of the operators, and of the file format, that ONNX Runtime 1.15 and later read.
OPSET, IR_VERSION = 17, 8

Precision = Literal["fp32", "fp16", "int8"]


class Loop(BaseModel):
    """What is fixed in a generating graph; see :func:`describe_loop`."""

    model_config = ConfigDict(strict=True, extra="forbid")
    sampler_names: list[str]
    selector_options: dict[str, Any]
    forbidden_ids: list[Annotated[int, Field(ge=0)]]


class NGram(BaseModel):
    """What the shapes and dtypes of an n-gram's tensors depend on.

    Attributes:
        contexts: their number.
        entries: the number of ids that were seen after contexts, in all.
        largest_gap: in a table ``[contexts, V]``, the most places from one entry to the next.
        is_half: whether half precision holds its numbers exactly.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    contexts: Annotated[int, Field(ge=2, lt=2**31)]
    entries: Annotated[int, Field(ge=0, lt=2**31)]
    largest_gap: Annotated[int, Field(ge=0, lt=2**31)]
    is_half: bool


class Description(BaseModel):
    """The entry ``export`` of an export's ``textgen.json``, as far as running its graphs depends on it.

    Attributes:
        via: ``"weights"`` if textgen built the graphs from weights; then ``cell``, ``units`` and ``ngram`` describe
            these.
        precision: of the kernels.
        cell: of all layers; ``None`` for an n-gram alone.
        units: of each layer; none for an n-gram alone.
        ngram: that is mixed into the layers, or alone; ``None`` if there is none.
        generate: the loop in ``generate.onnx``, as :func:`describe_loop` has it; ``None`` if there is no such file.
        parameters: the numbers of its samplers, by graph input.
        opset: version of the operators.
        ir_version: version of the file format.
        weights_sha256: of the file of weights that was exported.
    """

    model_config = ConfigDict(strict=True, frozen=True)
    via: str = ""
    precision: Precision = "fp32"
    cell: Cell | None = None
    units: Annotated[list[Annotated[int, Field(ge=1, le=2**28)]], Field(max_length=1000)] = []
    ngram: NGram | None = None
    generate: dict[str, Any] | None = None
    parameters: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = {}
    opset: Annotated[int, Field(ge=1, le=1000)] = OPSET
    ir_version: Annotated[int, Field(ge=1, le=1000)] = IR_VERSION
    weights_sha256: str | None = None

    @field_validator("generate")
    @classmethod
    def _describes_a_loop(cls, loop: dict[str, Any] | None) -> dict[str, Any] | None:
        if loop is not None:
            Loop.model_validate(loop)
        return loop

    @property
    def model(self) -> str:
        """What the graphs were built from, in words."""
        layers = "" if self.cell is None else f"a {self.cell} of {self.units} units"
        ngram = "" if self.ngram is None else f"an n-gram of {self.ngram.contexts:,} contexts"
        return " and ".join(filter(None, (layers, ngram)))

    @property
    def is_built(self) -> bool:
        """Whether textgen built the graphs from weights, so that it can build them again."""
        return self.via == "weights"


def read_description(export: Artifact) -> Description:
    """The description of an export.

    Raises:
        UnsupportedModelError: if the folder is not an ONNX export.
        ArtifactError: if it describes no graphs that could be run.
    """
    if export.manifest.export is None or export.manifest.export.get("format") != FOLDER:
        raise UnsupportedModelError(f"{export.path} is not an ONNX export; make one with: textgen export --onnx")
    where = f"the entry export of {export.path / 'textgen.json'} is not valid"
    try:
        about = Description.model_validate(export.manifest.export)
    except ValidationError as error:
        raise ArtifactError(f"{where}: {first_problem(error)}; export again") from None
    if not about.is_built:
        return about
    if (about.cell is None) != (not about.units) or (about.cell is None and about.ngram is None):
        raise ArtifactError(f"{where}: it names no cell or no units; export again")
    if export.state_spec != recurrent_state_spec(about.cell or "gru", about.units, has_ngram=about.ngram is not None):
        raise ArtifactError(f"{where}: its state is not that of {about.model}; export again")
    return about


def check_exportable(run: Artifact, model: Model) -> None:
    """Checks that there may be a way to export a run: its model describes itself, or has a step function.

    Raises:
        UnsupportedModelError: if there is none.
    """
    from textgen import Model

    described = type(model).describe is not Model.describe
    if not described and not hasattr(model, "keras_step"):
        raise UnsupportedModelError(
            f"this model ({run.manifest.settings['model']['name']}) cannot be exported to ONNX; "
            f"write text with --runtime {model.native_runtime}"
        )


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
