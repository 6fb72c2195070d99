"""The options of training by gradient. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_serializer, model_validator
from pydantic.json_schema import SkipJsonSchema

from textgen import TrainingOptions


class GradientOptions(TrainingOptions):
    """The training options of models that train by gradient."""

    resumable: ClassVar[tuple[str, ...]] = (
        *TrainingOptions.resumable,
        "learning_rate",
        "clip_norm",
        "weight_decay",
        "callbacks",
    )
    names_code: ClassVar[tuple[str, ...]] = ("callbacks",)
    from_trained: ClassVar[Mapping[str, Any]] = {
        "learning_rate": 2e-3,
        "schedule": "cosine",
        "warmup_steps": 100,
        "freeze": (),
    }

    optimizer: Literal["adam", "adamw", "rmsprop", "sgd"] = Field("adam", description="Rule that changes the weights.")
    learning_rate: float = Field(2e-3, gt=0, description="Highest step size of the schedule.")
    schedule: Literal["constant", "cosine", "plateau"] = Field(
        "cosine",
        description="How the step size falls: not at all; along half a cosine to 0 at the last batch; or by half "
        "whenever the held-out loss has not fallen for two epochs.",
    )
    warmup_steps: int = Field(
        100, ge=0, description="Batches in which the step size rises from 0; at most a tenth of the run."
    )
    weight_decay: float = Field(
        0.0, ge=0, description="Decoupled weight decay, as a share of the step size; needs optimizer=adamw."
    )
    average: float = Field(
        0.99,
        ge=0,
        lt=1,
        description="Decay per batch of the moving average of the weights, which is judged and kept; 0 averages "
        "nothing.",
    )
    noise: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of the ids that are read which training replaces at random, by others of the same batch.",
    )
    state_reset: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Probability that a row of a training batch starts with the initial state instead of the carried "
        "one.",
    )
    clip_norm: float | None = Field(1.0, gt=0, description="Upper bound of the gradients' global norm.")
    freeze: tuple[str, ...] = Field(
        (),
        description="Weights that training leaves as they are, by name or by the first parts of it: "
        '["embedding", "layers.0"].',
    )
    callbacks: tuple[str | SkipJsonSchema[Any], ...] = Field(
        (),
        description="Keras callbacks to call, by import path (package.module:Name); to be given again on resuming.",
    )
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, or cuda[:N].")
    mixed_precision: bool = Field(
        False,
        description="Multiply in bfloat16, on a GPU or a CPU with AMX or AVX-512 BF16; weights, states and losses stay "
        "float32.",
    )

    @model_validator(mode="after")
    def _decay_needs_adamw(self) -> Self:
        if self.weight_decay and self.optimizer != "adamw":
            raise ValueError(f"weight_decay has no effect with optimizer={self.optimizer}; set optimizer=adamw")
        return self

    @field_serializer("callbacks")
    def _record_import_paths(self, callbacks: tuple[Any, ...]) -> list[str]:
        """Import paths as they are given; of an object that Python code passes, the path of its class."""
        return [callback if isinstance(callback, str) else _class_path(callback) for callback in callbacks]


def _class_path(callback: object) -> str:
    return f"{type(callback).__module__}:{type(callback).__qualname__}"
