"""The recurrent state as a value: created, passed in, returned, indexed, saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textgen.errors import ArtifactError
from textgen.files.reading import parse_tensors


@dataclass(frozen=True)
class TensorSpec:
    """A tensor of a state.

    Attributes:
        name: of the tensor, such as ``0.h``.
        shape: without the batch axis.
        dtype: as NumPy names it.
        initial: the value of each element before the first token.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    initial: float = 0.0


@dataclass(frozen=True)
class StateSpec:
    """The tensors of a state, in order.

    Attributes:
        tensors: their names differ.

    Example:
        >>> spec = StateSpec((TensorSpec("0.h", (4,)),))
        >>> spec.initial_state(batch=2)["0.h"].shape
        (2, 4)
    """

    tensors: tuple[TensorSpec, ...]

    def initial_state(self, batch: int) -> State:
        """Returns the state before the first token: each tensor ``[batch, *shape]``, filled with its initial value."""
        return State({t.name: np.full((batch, *t.shape), t.initial, dtype=t.dtype) for t in self.tensors})

    def check(self, state: State) -> None:
        """Checks the names, shapes and dtypes of a state.

        Raises:
            ArtifactError: if they differ from this spec.
        """
        fits = len(state) == len(self.tensors) and all(
            t.name in state and state[t.name].shape[1:] == t.shape and state[t.name].dtype == t.dtype
            for t in self.tensors
        )
        if not fits:
            expected = {t.name: (t.shape, t.dtype) for t in self.tensors}
            found = {name: (array.shape[1:], str(array.dtype)) for name, array in state.items()}
            raise ArtifactError(f"the state does not fit the model: it has {found}, the model needs {expected}")

    @property
    def nbytes(self) -> int:
        """The number of bytes of a state of one row."""
        return sum(prod(tensor.shape) * np.dtype(tensor.dtype).itemsize for tensor in self.tensors)

    def to_json(self) -> list[dict[str, Any]]:
        """Returns a JSON list with one object per tensor."""
        return [{"name": t.name, "shape": list(t.shape), "dtype": t.dtype, "initial": t.initial} for t in self.tensors]

    @classmethod
    def from_json(cls, items: Sequence[Mapping[str, Any]]) -> StateSpec:
        """The inverse of :meth:`to_json`."""
        return cls(tuple(TensorSpec(i["name"], tuple(i["shape"]), i["dtype"], i["initial"]) for i in items))


class State(Mapping[str, NDArray[Any]]):
    """Named arrays with the batch axis first. Operations return new states and never write to an array in place."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._arrays = dict(arrays)

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    @property
    def batch(self) -> int:
        """The number of rows (0 for a model without state)."""
        return next((len(array) for array in self.values()), 0)

    def select(self, rows: NDArray[np.intp] | Sequence[int]) -> State:
        """Returns the state of the given rows, in the given order; rows may be repeated."""
        index = np.asarray(rows, dtype=np.intp)
        return State({name: array[index] for name, array in self.items()})

    def replaced(self, rows: NDArray[np.intp], state: State) -> State:
        """Returns a state with other values in some rows, which are those of ``state`` in this order."""
        found = self.copy()
        for name, array in found.items():
            array[rows] = state[name]
        return found

    def copy(self) -> State:
        """Returns a state that does not share memory with this one."""
        return State({name: array.copy() for name, array in self.items()})

    @staticmethod
    def concat(states: Sequence[State]) -> State:
        """Concatenates states along the batch axis."""
        return State({name: np.concatenate([state[name] for state in states]) for name in states[0]})

    def to_bytes(self, metadata: Mapping[str, str] | None = None) -> bytes:
        """Returns the content of a safetensors file, with ``metadata`` in its header."""
        from safetensors.numpy import save

        arrays = {name: np.ascontiguousarray(array) for name, array in self.items()}
        return save(arrays, metadata=dict(metadata or {}))

    @classmethod
    def from_bytes(cls, content: bytes, where: str) -> tuple[State, dict[str, str]]:
        """Reads what :meth:`to_bytes` returned: the state and its metadata.

        Args:
            content: that of the file.
            where: its name in errors.

        Raises:
            ArtifactError: if it is not that of a safetensors file.
        """
        arrays, metadata = parse_tensors(content, where)
        return cls(arrays), metadata
