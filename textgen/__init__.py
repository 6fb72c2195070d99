"""textgen: from a text file to a small recurrent text generator that runs anywhere.

All public names are here and in :mod:`textgen.errors`, :mod:`textgen.options` and :mod:`textgen.testing`. The modules
that define them are private and may move. A name is imported when it is first used.

Example:
    >>> import textgen
    >>> textgen.train("dinos-lite").generate("Ram", temperature=0.8, seed=7)  # doctest: +SKIP
"""

from importlib import import_module

from textgen.base.version import __version__

#: The public names by the module that defines them; ``__init__.pyi`` has the same for type checkers.
_HOMES = {
    "textgen.api": ("Interrupted", "cross_validate", "export", "load", "read", "train"),
    "textgen.base.console": ("notice", "progress_bar", "show_progress"),
    "textgen.base.environment": ("cache_folder", "keep_in_cache"),
    "textgen.files.writing": ("quoted", "sha256", "write_atomically"),
    "textgen.files.folders": ("write_folder", "write_sums"),
    "textgen.base.machine": (
        "distribution_version",
        "killer_of",
        "limit_cores",
        "parse_device",
        "signals_handled",
        "start_process",
        "usable_cores",
    ),
    "textgen.bulk.engine": ("Engine",),
    "textgen.bulk.work": ("Chunk", "PackedWork", "Work", "Written"),
    "textgen.base.spool": ("spool",),
    "textgen.draft": ("Choice", "Draft"),
    "textgen.bulk.write": ("WriteReport",),
    "textgen.evaluation.evaluation": ("Evaluation",),
    "textgen.evaluation.folds": ("CrossValidation",),
    "textgen.exporting.notebook_page": ("Page",),
    "textgen.exporting.exporter": ("ExportReport", "ExportSource", "Exporter"),
    "textgen.exporting.exported_manifest": ("exported_manifest",),
    "textgen.exporting.model_card": ("describe_model",),
    "textgen.exporting.parity": ("Parity",),
    "textgen.generation.batching": ("Batching",),
    "textgen.generation.job": ("Event", "Failed", "Job"),
    "textgen.sampling.chain": ("Chain", "effective_numbers"),
    "textgen.generation.continuation": ("Continuation",),
    "textgen.sampling.draw": ("Draw", "uniforms"),
    "textgen.generation.probability": ("Scores", "score"),
    "textgen.generation.request": ("Generation", "Generations", "Piece", "Request", "Texts", "Token"),
    "textgen.generation.runtime": ("Block", "Check", "Ids", "ModelRuntime", "Runtime"),
    "textgen.sampling.sampler": (
        "GraphBuilder",
        "Logits",
        "Parameters",
        "RankSampler",
        "Sampler",
        "Selector",
        "ThresholdSampler",
        "emit_ranked",
    ),
    "textgen.model.fitting": ("Checkpoint", "Position", "Tensors", "TrainingOptions", "TrainingRun"),
    "textgen.model.model": ("Model",),
    "textgen.model.network": (
        "GATES",
        "NGRAM_STATE",
        "POWERS",
        "Cell",
        "RecurrentLayer",
        "RecurrentNetwork",
        "ngram_tensors",
        "ngram_weights",
        "recurrent_state_spec",
    ),
    "textgen.model.state": ("State", "StateSpec", "TensorSpec"),
    "textgen.ngrams.context_tree": ("ContextTree",),
    "textgen.ngrams.counts": ("NGramCounts",),
    "textgen.ngrams.kneser_ney": ("KneserNey",),
    "textgen.ngrams.pruning": ("make_tree",),
    "textgen.ngrams.reading": ("count_text", "largest_order", "read_codes", "read_contexts"),
    "textgen.plugins.hookspecs": ("Register", "hookimpl"),
    "textgen.plugins.registry": ("use_plugins",),
    "textgen.runs.artifact": ("Artifact",),
    "textgen.runs.manifest": ("Manifest",),
    "textgen.text.batches": ("Batch", "BatchPlan", "Dataset"),
    "textgen.text.boundaries": ("Boundaries",),
    "textgen.text.corpus": ("Corpus", "Layout", "Provenance", "Source"),
    "textgen.text.decoder": ("Decoder", "PlainDecoder"),
    "textgen.text.encoding": ("in_pieces",),
    "textgen.text.labels": ("label_id", "label_of", "labels_of", "without_labels"),
    "textgen.text.tokenizer": ("OnUnknown", "Tokenizer"),
    "textgen.text.vocabulary": ("Unknown",),
    "textgen.text_generator": ("TextGenerator",),
    "textgen.base.cluster": ("Cluster",),
    "textgen.training_text": ("Example", "TrainingText"),
    "textgen.training.display": ("Display", "LineDisplay", "make_display"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = ["__version__", *_HOME_OF]  # noqa: PLE0604 - they are strings


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME_OF[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
