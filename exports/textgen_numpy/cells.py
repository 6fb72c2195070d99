"""One step of a GRU and of an LSTM, in NumPy.

The formulas are those of Keras's layers (https://keras.io/api/layers/recurrent_layers/): the GRU of Cho et al. 2014
with the reset gate after the recurrent product (``reset_after=True``), the LSTM of Hochreiter & Schmidhuber 1997.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from textgen import Cell, RecurrentLayer

Array = NDArray[np.float32]

#: A layer's state: ``(h,)`` for a GRU, ``(h, c)`` for an LSTM, each ``[batch, units]`` float32.
Parts = tuple[Array, ...]


def gru_step(layer: RecurrentLayer, projected: Array, parts: Parts) -> Parts:
    """Read one id per row.

    Args:
        layer: a GRU.
        projected: ``[batch, 3 * units]``, the input's projection with its bias.
        parts: ``(h,)`` before the id.

    Returns:
        ``(h,)`` after it.
    """
    (h,) = parts
    units = layer.units
    recurrent = h @ layer.recurrent_kernel
    recurrent += layer.bias[1]
    gates = _sigmoid(projected[:, : 2 * units] + recurrent[:, : 2 * units])
    update, reset = gates[:, :units], gates[:, units:]
    candidate = np.tanh(projected[:, 2 * units :] + reset * recurrent[:, 2 * units :])
    return (candidate + update * (h - candidate),)


def lstm_step(layer: RecurrentLayer, projected: Array, parts: Parts) -> Parts:
    """Read one id per row.

    Args:
        layer: an LSTM.
        projected: ``[batch, 4 * units]``, the input's projection with the bias.
        parts: ``(h, c)`` before the id.

    Returns:
        ``(h, c)`` after it.
    """
    h, c = parts
    units = layer.units
    gates = h @ layer.recurrent_kernel
    gates += projected
    take, forget = _sigmoid(gates[:, :units]), _sigmoid(gates[:, units : 2 * units])
    candidate, output = np.tanh(gates[:, 2 * units : 3 * units]), _sigmoid(gates[:, 3 * units :])
    c = forget * c + take * candidate
    return output * np.tanh(c), c


def _sigmoid(x: Array) -> Array:
    # Written with tanh, which does not overflow for large negative x as exp(-x) does.
    half: Array = np.tanh(0.5 * x)
    half *= 0.5
    half += 0.5
    return half


#: The tensors of a layer's state, in the order of :data:`Parts`.
PARTS: dict[Cell, tuple[str, ...]] = {"gru": ("h",), "lstm": ("h", "c")}

STEPS: dict[Cell, Callable[[RecurrentLayer, Array, Parts], Parts]] = {"gru": gru_step, "lstm": lstm_step}
