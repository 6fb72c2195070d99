"""The hooks that a plugin may implement.

A plugin is a module (or any object) with functions of these names, marked with :data:`hookimpl`, and named by an entry
point in the group ``textgen``::

    from textgen import hookimpl

    @hookimpl
    def textgen_register_samplers(register):
        register("typical", "my_package.typical:Typical", "Keeps ids of typical surprise.")

Registration hooks give names to lazy factories. A target is ``"module:attribute"``, imported when the name is first
used, or the object itself; a plugin's own module should import nothing heavy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pluggy

if TYPE_CHECKING:
    from textgen.generation.request import Generation, Request
    from textgen.model.fitting import Position
    from textgen.text.batches import Batch

PROJECT = "textgen"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Register(Protocol):
    """Gives a name to a target."""

    def __call__(self, name: str, target: str | Callable[..., Any] | Mapping[str, Any], summary: str = "") -> None:
        """Register.

        Args:
            name: lower case, words joined by hyphens.
            target: ``"module:attribute"``, or the object.
            summary: one line for lists.
        """


@hookspec
def textgen_register_corpora(register: Register) -> None:
    """Name subclasses of :class:`textgen.text.corpus.Corpus`.

    .. versionadded:: 0.1

    Args:
        register: call it once a corpus.
    """


@hookspec
def textgen_register_tokenizers(register: Register) -> None:
    """Name subclasses of :class:`textgen.text.tokenizer.Tokenizer`.

    .. versionadded:: 0.1

    Args:
        register: call it once a tokenizer.
    """


@hookspec
def textgen_register_models(register: Register) -> None:
    """Name subclasses of :class:`textgen.model.model.Model`.

    .. versionadded:: 0.1

    Args:
        register: call it once a model.
    """


@hookspec
def textgen_register_samplers(register: Register) -> None:
    """Name subclasses of :class:`textgen.generation.sampler.Sampler` and :class:`textgen.generation.sampler.Selector`.

    .. versionadded:: 0.1

    Args:
        register: call it once a sampler.
    """


@hookspec
def textgen_register_exporters(register: Register) -> None:
    """Name subclasses of :class:`textgen.exporting.exporter.Exporter`.

    .. versionadded:: 0.1

    Args:
        register: call it once an exporter.
    """


@hookspec
def textgen_register_runtimes(register: Register) -> None:
    """Name subclasses of :class:`textgen.generation.runtime.Runtime`.

    .. versionadded:: 0.1

    Args:
        register: call it once a runtime.
    """


@hookspec
def textgen_register_recipes(register: Register) -> None:
    """Name recipes: nested settings, as a configuration file has them, complete enough to train without any other.

    .. versionadded:: 0.1

    Args:
        register: call it once a recipe; the target is a mapping, or the import path of one.
    """


@hookspec
def textgen_register_commands(register: Register) -> None:
    """Name sub-commands of the command line.

    .. versionadded:: 0.1

    Args:
        register: call it once a command; the target is a function as ``typer`` takes it, or a ``typer.Typer``.
    """


@hookspec
def textgen_transform_batch(batch: Batch, position: Position) -> Batch | None:
    """Change a training batch before the model sees it, for a curriculum, say.

    Plugins are called one after the other, each with the batch that the former one gave. A run records which plugins
    implement this hook, and goes on only with them.

    .. versionadded:: 0.1

    Args:
        batch: the batch as it is so far.
        position: how far training has come before this batch.

    Returns:
        The batch to use instead, or ``None`` to leave it.
    """


@hookspec
def textgen_batch_ended(position: Position, loss: float) -> None:
    """Be told of a training batch.

    .. versionadded:: 0.1

    Args:
        position: how far training has come, this batch included.
        loss: the batch's mean loss in nats a character.
    """


@hookspec
def textgen_epoch_ended(position: Position, metrics: Mapping[str, float], folder: Path) -> None:
    """Be told of an epoch.

    .. versionadded:: 0.1

    Args:
        position: how far training has come, this epoch included.
        metrics: the epoch's line of ``history.jsonl``.
        folder: the run's folder.
    """


@hookspec
def textgen_checkpoint_saved(position: Position, path: Path) -> None:
    """Be told of a checkpoint that is whole on the disk.

    .. versionadded:: 0.1

    Args:
        position: how far training had come.
        path: the checkpoint's file.
    """


@hookspec
def textgen_before_generation(request: Request) -> None:
    """Be told of a generation that is about to start.

    .. versionadded:: 0.1

    Args:
        request: what was asked for.
    """


@hookspec
def textgen_after_generation(request: Request, generations: Sequence[Generation]) -> None:
    """Be told of texts that were generated.

    .. versionadded:: 0.1

    Args:
        request: what was asked for.
        generations: the texts, one a row.
    """
