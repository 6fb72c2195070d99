"""Keras callbacks: those named in the training options, and the list that calls them.

Importing this module imports Keras: see :func:`require_tensorflow`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

import keras

from textgen.errors import OptionError


def load_callbacks(callbacks: Iterable[Any]) -> list[Any]:
    """Import the callbacks that are given by a path.

    Args:
        callbacks: each a ``keras.callbacks.Callback``, or ``package.module:Name`` of one, or of a class or function
            that returns one when called without arguments.

    Raises:
        OptionError: if something is not a callback, or a path does not lead to one.
    """
    return [_load_callback(each) if isinstance(each, str) else _checked(each, each) for each in callbacks]


def _load_callback(path: str) -> Any:
    module, colon, name = path.partition(":")
    if not (module and colon and name):
        raise OptionError(f"training.callbacks: {path!r} is not of the form package.module:Name")
    try:
        found = getattr(importlib.import_module(module), name)
        callback = found if isinstance(found, keras.callbacks.Callback) else found()
    except Exception as error:  # a user's module may raise anything
        problem = " ".join(f"{type(error).__name__}: {error}".split())
        raise OptionError(f"training.callbacks: {path!r} cannot be loaded: {problem}") from error
    return _checked(callback, path)


def _checked(callback: Any, given: Any) -> Any:
    if not isinstance(callback, keras.callbacks.Callback):
        raise OptionError(f"training.callbacks: {given!r} is not a keras.callbacks.Callback")
    return callback


def make_callback_list(callbacks: list[Any], network: Any, epochs: int, steps: int) -> Any:
    """A ``keras.callbacks.CallbackList`` over the network, with the parameters that Keras's own ``fit`` sets."""
    return keras.callbacks.CallbackList(callbacks, model=network, epochs=epochs, steps=steps, verbose=0)
