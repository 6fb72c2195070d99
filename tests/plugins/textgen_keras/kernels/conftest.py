"""Layers with random weights and input, for the tests of the kernels."""

from typing import Any

import numpy as np
import pytest

#: More than one block of 128 rows per core.
TIME, BATCH, UNITS, VOCAB = 40, 13, 21, 5


@pytest.fixture(scope="session")
def run_layer():
    """A function that runs a layer forward and backward."""

    def run(cell, *, time=TIME, batch=BATCH, units=UNITS, is_look_up=True, dtype="float32", edit=lambda arrays: None):
        """All results of a layer, the states first; ``edit`` may change the arrays that it reads."""
        from textgen_keras.kernels import gru, lstm

        rng = np.random.default_rng(1)

        def normal(*shape):
            return rng.normal(size=shape).astype(dtype)

        columns = {"gru": 3, "lstm": 4}[cell] * units
        rows = VOCAB if is_look_up else time * batch
        table, kernel = normal(rows, columns), normal(units, columns) * np.dtype(dtype).type(units**-0.5)
        index = rng.integers(0, VOCAB, (batch, time)) if is_look_up else np.arange(rows).reshape(time, batch).T
        arrays: dict[str, Any] = {"table": table, "index": np.ascontiguousarray(index, np.int32), "kernel": kernel}
        state, upstream = normal(batch, units), normal(time, batch, units)
        edit(arrays)
        if cell == "gru":
            states, gates, candidates = gru.forward(**arrays, state=state, bias=normal(units))
            kept = {"states": states, "gates": gates, "candidates": candidates}
            return [states, *gru.backward(upstream, **arrays, **kept)]
        states, cells, gates = lstm.forward(**arrays, state=state, cell=normal(batch, units))
        kept = {"states": states, "cells": cells, "gates": gates}
        return [states, cells, *lstm.backward(upstream, **arrays, **kept)]

    return run
