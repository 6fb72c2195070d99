"""The hooks that a plugin may implement.

A plugin is a module (or any object) with functions of these names, marked with :data:`hookimpl`. An entry point in the
group ``textgen`` names it::

    from textgen import hookimpl

    @hookimpl
    def textgen_register_samplers(register):
        register("typical", "my_package.typical:Typical", "Keeps ids of typical surprisal.")

Registration hooks give names to targets. A target is ``"module:attribute"``, imported when the name is first used, or
the object itself. The module of a plugin should import nothing heavy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import pluggy

if TYPE_CHECKING:
    from textgen.generation.request import Generation, Request
    from textgen.model.fitting import Position
    from textgen.options import Options
    from textgen.text.batches import Batch

PROJECT = "textgen"

hookspec = pluggy.HookspecMarker(PROJECT)
#: Marks a function of a plugin as the implementation of the hook of its name.
hookimpl = pluggy.HookimplMarker(PROJECT)


class Register(Protocol):
    """Registers a name: the type of the argument of all registration hooks."""

    def __call__(self, name: str, target: str | Callable[..., Any] | Mapping[str, Any], summary: str = "") -> None:
        """Registers a name.

        Args:
            name: lower case, words joined by hyphens.
            target: ``"module:attribute"``, or the object itself.
            summary: one line for lists.
        """


@hookspec
def textgen_register_corpora(register: Register) -> None:
    """Register corpora: subclasses of :class:`textgen.Corpus`.

    .. versionadded:: 0.1

    Args:
        register: called once per corpus.
    """


@hookspec
def textgen_register_tokenizers(register: Register) -> None:
    """Register tokenizers: subclasses of :class:`textgen.Tokenizer`.

    .. versionadded:: 0.1

    Args:
        register: called once per tokenizer.
    """


@hookspec
def textgen_register_models(register: Register) -> None:
    """Register models: subclasses of :class:`textgen.Model`.

    .. versionadded:: 0.1

    Args:
        register: called once per model.
    """


@hookspec
def textgen_register_samplers(register: Register) -> None:
    """Register samplers: subclasses of :class:`textgen.Sampler` and :class:`textgen.Selector`.

    .. versionadded:: 0.1

    Args:
        register: called once per sampler.
    """


@hookspec
def textgen_register_exporters(register: Register) -> None:
    """Register exporters: subclasses of :class:`textgen.Exporter`.

    .. versionadded:: 0.1

    Args:
        register: called once per exporter.
    """


@hookspec
def textgen_register_runtimes(register: Register) -> None:
    """Register runtimes: subclasses of :class:`textgen.Runtime`.

    .. versionadded:: 0.1

    Args:
        register: called once per runtime.
    """


@hookspec
def textgen_register_engines(register: Register) -> None:
    """Register engines, which write the texts of a job: subclasses of :class:`textgen.Engine`.

    .. versionadded:: 0.1

    Args:
        register: called once per engine.
    """


@hookspec
def textgen_register_recipes(register: Register) -> None:
    """Register recipes: settings by table, as in a configuration file, complete enough to train with.

    .. versionadded:: 0.1

    Args:
        register: called once per recipe; the target is a mapping, or its ``"module:attribute"``.
    """


@hookspec
def textgen_register_commands(register: Register) -> None:
    """Register commands of the command line.

    .. versionadded:: 0.1

    Args:
        register: called once per command; the target is a function that ``typer`` can run, or a ``typer.Typer``.
    """


@hookspec
def textgen_run_started(
    folder: Path, settings: Mapping[str, Mapping[str, Any]], position: Position, options: Options | None
) -> None:
    """Called when a run begins to train, or is resumed.

    .. versionadded:: 0.1

    Args:
        folder: the folder of the run.
        settings: the complete options of the run, by table.
        position: the progress of training; for a run that is resumed, that of its last checkpoint.
        options: the plugin's own options; ``None`` if it has none.
    """


@hookspec
def textgen_run_ended(
    folder: Path,
    settings: Mapping[str, Mapping[str, Any]],
    status: Literal["finished", "interrupted", "failed"],
    metrics: Mapping[str, float],
    options: Options | None,
) -> None:
    """Called when a run ends, whatever the reason; not if the process is killed.

    .. versionadded:: 0.1

    Args:
        folder: the folder of the run.
        settings: the complete options of the run, by table.
        status: ``"interrupted"`` if the run was asked to stop, ``"failed"`` if an error ended it.
        metrics: the line of ``history.jsonl`` for the best weights; empty if there are none.
        options: the plugin's own options; ``None`` if it has none.
    """


@hookspec
def textgen_transform_batch(batch: Batch, position: Position, folder: Path, options: Options | None) -> Batch | None:
    """Called before each training batch; may replace it, for example for a curriculum.

    Each plugin gets the batch that the one before it returned. A run records the plugins that implement this hook and
    can only be resumed with them. A batch that cannot be trained on (other shapes or dtypes, ids outside the
    vocabulary, weights that are not finite) ends the run.

    .. versionadded:: 0.1

    Args:
        batch: the batch, as the plugins called before have left it.
        position: the progress of training before this batch.
        folder: the folder of the run.
        options: the plugin's own options; ``None`` if it has none.

    Returns:
        The batch to use instead, or ``None`` to keep it.
    """


@hookspec
def textgen_batch_ended(position: Position, loss: float, folder: Path, options: Options | None) -> None:
    """Called after each training batch.

    .. versionadded:: 0.1

    Args:
        position: the progress of training, including this batch.
        loss: the mean loss of the batch in nats per character.
        folder: the folder of the run.
        options: the plugin's own options; ``None`` if it has none.
    """


@hookspec
def textgen_epoch_ended(
    position: Position, metrics: Mapping[str, float], folder: Path, options: Options | None
) -> None:
    """Called after each epoch.

    .. versionadded:: 0.1

    Args:
        position: the progress of training, including this epoch.
        metrics: the line of ``history.jsonl`` for the epoch.
        folder: the folder of the run.
        options: the plugin's own options; ``None`` if it has none.
    """


@hookspec
def textgen_checkpoint_saved(position: Position, path: Path, folder: Path, options: Options | None) -> None:
    """Called once a checkpoint is safely on disk.

    .. versionadded:: 0.1

    Args:
        position: the progress of training at the checkpoint.
        path: the file of the checkpoint.
        folder: the folder of the run.
        options: the plugin's own options; ``None`` if it has none.
    """


@hookspec
def textgen_before_generation(request: Request) -> None:
    """Called before each generation.

    .. versionadded:: 0.1

    Args:
        request: the prompts and options of the generation.
    """


@hookspec
def textgen_after_generation(request: Request, generations: Sequence[Generation]) -> None:
    """Called after each generation.

    .. versionadded:: 0.1

    Args:
        request: the prompts and options of the generation.
        generations: the texts, one per row.
    """
