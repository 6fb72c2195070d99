"""The recipes: complete settings of the five programs that the project set out to reproduce, and ``agnews-labels``.

The five train as their sources do: Keras's default learning rate for Adam, no gradient clipping, no dropout, no
n-gram, no held-out text, duplicates kept, examples in shuffled order. They also sample text as their sources do.
"""

from __future__ import annotations

from textgen.options import Settings

_SOURCE = {
    "held_out": 0.0,
    "drop_duplicates": False,
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "schedule": "constant",
    "warmup_steps": 0,
    "average": 0.0,
    "clip_norm": None,
}
_NETWORK_ALONE = {"dropout": 0.0, "weight_dropout": 0.0, "input_weight_dropout": 0.0, "ngram": 0}
_GRU_1024 = {"name": "gru", "input": "embedding", "units": 1024, "layers": 1, **_NETWORK_ALONE}

SHAKESPEARE_GRU: Settings = {
    "corpus": {"name": "shakespeare"},
    "tokenizer": {"name": "string-lookup"},
    "model": _GRU_1024,
    "training": {
        **_SOURCE,
        "layout": "windows",
        "length": 100,
        "batch_size": 64,
        "drop_remainder": True,
        "epochs": 5,
    },
    "generation": {"prompt": "ROMEO:", "length": 1000, "sampler": "temperature(1.0) | multinomial"},
}

SHAKESPEARE_GRU_STATEFUL: Settings = {
    "corpus": {"name": "shakespeare"},
    "tokenizer": {"name": "char-index"},
    "model": _GRU_1024,
    "training": {
        **_SOURCE,
        "layout": "lanes",
        "length": 100,
        "batch_size": 64,
        "carry_state": True,
        "epochs": 30,
        "checkpoint_every": 5,
    },
    "generation": {"prompt": "Q", "length": 1000, "sampler": "temperature(1.0) | multinomial"},
}

_AGNEWS_TRAINING = {
    **_SOURCE,
    "layout": "documents",
    "batch_size": 8,
    "bucket": False,
    "pad": "batch",
    "mask_padding": True,
    "carry_state": False,
    "epochs": 5,
    "sample_every": 1,
}
_AGNEWS_MODEL = {"name": "lstm", "input": "one-hot", "units": 128, "layers": 1, **_NETWORK_ALONE}
_AGNEWS_GENERATION = {"length": 200, "sampler": "temperature(0.7) | multinomial"}

AGNEWS_LSTM: Settings = {
    "corpus": {"name": "agnews"},
    "tokenizer": {"name": "char-eos", "order": "sorted"},
    "model": _AGNEWS_MODEL,
    "training": _AGNEWS_TRAINING,
    "generation": _AGNEWS_GENERATION,
}

AGNEWS_LSTM_FREQUENCY: Settings = AGNEWS_LSTM | {"tokenizer": {"name": "char-eos", "order": "frequency"}}

DINOS_GRU: Settings = {
    "corpus": {"name": "dinos"},
    "tokenizer": {"name": "char-index"},
    "model": _GRU_1024,
    "training": {
        **_SOURCE,
        "layout": "documents",
        "batch_size": 64,
        "bucket": False,
        "drop_remainder": True,
        "pad": "longest",
        "mask_padding": False,
        "carry_state": True,
        "epochs": 20,
        "checkpoint_every": 1,
    },
    "generation": {"prompt": "Ram", "length": 30, "sampler": "temperature(0.2) | multinomial"},
}

#: Parts of words rather than characters: fewer steps separate the label from the words that depend on it, so the
#: network still remembers it.
AGNEWS_LABELS: Settings = {
    "corpus": {"name": "agnews", "split": "test", "label": "class"},
    "tokenizer": {"name": "byte-bpe", "vocab_size": 2000},
    "model": {
        "name": "lstm",
        "embedding_dim": 160,
        "units": 160,
        "layers": 1,
        "dropout": 0.5,
        "weight_dropout": 0.0,
        "input_weight_dropout": 0.0,
        "tie_weights": True,
    },
    "training": {"layout": "documents", "batch_size": 32, "learning_rate": 5e-3, "epochs": 25, "sample_every": 5},
    "generation": {"sampler": "temperature(0.4) | multinomial"},
}
