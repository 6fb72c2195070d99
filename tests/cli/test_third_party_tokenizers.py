"""Two tokenizers of others, written from docs/plugins.md alone, through the whole command line.

One is a file that ``--plugin`` names, of bytes. The other is installed, with an entry point, and has words only.
"""

import json
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.slow

BYTES = r'''
"""Padding, the bytes of UTF-8, and the end of a document."""

import numpy as np

from textgen import Tokenizer, hookimpl
from textgen.errors import ArtifactError, OptionError, UnknownCharacterError


class PaddedBytes(Tokenizer):
    has_eos = True
    pad_id = 0
    eos_id = 257
    vocab_size = 258

    def fit(self, texts):
        for _ in texts:
            pass

    def encode(self, text, on_unknown=None):
        if on_unknown == "unk":
            raise OptionError("padded-bytes has no unknown id; use --on-unknown error or skip")
        known = []
        for position, character in enumerate(text):
            if not "\ud800" <= character <= "\udfff":
                known.append(character)
            elif on_unknown != "skip":
                raise UnknownCharacterError(character, position, ("skip",))
        return np.array([byte + 1 for byte in "".join(known).encode()], np.int32)

    def decode(self, ids):
        read = bytearray()
        for i in ids:
            if i == self.eos_id:
                read += b"\n"
            elif i != self.pad_id:
                read.append(int(i) - 1)
        return read.decode("utf-8", "replace")

    @property
    def characters_per_id(self):
        counts = np.ones(258, np.int32)
        counts[0] = 0
        counts[1 + 0x80 : 1 + 0xC0] = 0  # bytes that continue a character
        return counts

    def to_json(self):
        return {"bytes": "utf-8"}

    def load_json(self, vocabulary):
        if vocabulary != {"bytes": "utf-8"}:
            raise ArtifactError("this is not the vocabulary of padded-bytes; train again")


@hookimpl
def textgen_register_tokenizers(register):
    register("padded-bytes", PaddedBytes, "Padding, bytes, and an end.")
'''

WORDS = r'''
"""Words, each with the blank before it; a word that the corpus does not have is unknown."""

import re

import numpy as np
from pydantic import Field

from textgen import PlainDecoder, Tokenizer, hookimpl
from textgen.errors import ArtifactError, CorpusError, OptionError, UnknownCharacterError
from textgen.options import Options


class WholeWordsOptions(Options):
    lower: bool = Field(False, description="Whether texts are converted to lower case first.")


class WholeWords(Tokenizer):
    Options = WholeWordsOptions
    has_eos = True
    words = ()

    def _split(self, text):
        return re.findall(r" ?\S+|\s", text.lower() if self.options.lower else text)

    def fit(self, texts):
        self._set(sorted({word for text in texts for word in self._split(text)}))
        if not self.words:
            raise CorpusError("the corpus has no words; give it some text")

    def _set(self, words):
        self.words = list(words)
        self._ids = {word: i for i, word in enumerate(words)}

    def encode(self, text, on_unknown=None):
        if on_unknown == "unk":
            raise OptionError("whole-words has no unknown id; use --on-unknown error or skip")
        ids, position = [], 0
        for word in self._split(text):
            if word in self._ids:
                ids.append(self._ids[word])
            elif on_unknown != "skip":
                raise UnknownCharacterError(word, position)
            position += len(word)
        return np.array(ids, np.int32)

    def decode(self, ids):
        return "".join("\n" if i == self.eos_id else self.words[i] for i in ids)

    def decoder(self):
        return PlainDecoder(self.decode)

    def grow(self, texts):
        known = len(self.words)
        new = sorted({word for text in texts for word in self._split(text)} - self._ids.keys())
        self._set([*self.words, *new])
        return np.array([*range(known), *[-1] * len(new), known], np.int32)

    @property
    def vocab_size(self):
        return len(self.words) + 1

    @property
    def eos_id(self):
        return len(self.words)

    def to_json(self):
        return {"words": self.words}

    def load_json(self, vocabulary):
        if not isinstance(vocabulary.get("words"), list):
            raise ArtifactError('the vocabulary is not {"words": [...]}; train again')
        self._set(vocabulary["words"])


@hookimpl
def textgen_register_tokenizers(register):
    register("whole-words", "textgen_whole_words:WholeWords", "Words of the corpus only.")
'''

NETWORK = "from textgen.testing.recurrent import textgen_register_models, textgen_register_runtimes\n"

TITLES = [
    f"{first} wool {last} №{n}"
    for n, first in enumerate(["Silent", "Café", "Red 🌲"])
    for last in ("Bottle", "Blanket")
]


@pytest.fixture
def command(process, install, tmp_path):
    """Runs a command with the installed tokenizer of words, the file with that of bytes, and the model fixed-gru."""
    install("textgen_whole_words", WORDS)
    install("textgen_network", NETWORK)
    Path("padded.py").write_text(BYTES, encoding="utf-8")
    Path("titles.txt").write_text("\n".join(TITLES * 5) + "\n", encoding="utf-8")
    Path("poem.txt").write_text("\n".join(TITLES * 5) + "\n\nThe end, café.\n", encoding="utf-8")

    def run(*arguments):
        done = process(*arguments, "--plugin", "padded.py")
        assert done.code == 0, done.err
        return done.out

    return run


@pytest.mark.parametrize("tokenizer", ["whole-words", "padded-bytes"])
@pytest.mark.parametrize("layout", ["stream", "lines"])
def test_a_run_is_trained_sampled_streamed_stopped_evaluated_and_exported(command, process, tokenizer, layout):
    parts = ["--tokenizer", tokenizer, "--model", "fixed-gru", "--set", f"corpus.layout={layout}", "--epochs", 1]
    command(
        "train", "poem.txt", *parts, "--set", "training.length=10", "--set", "training.held_out=0.2", "--out", "run"
    )
    command("export", "run", "--onnx")
    wanted = ["sample", "run", "--seed", 5, "--length", 40, "--ignore-eos"]
    text = command(*wanted)
    assert text[0] in {title[0] for title in TITLES} | {"T"}
    for runtime in ("numpy", "onnx", "fixed-gru"):
        assert command(*wanted, "--runtime", runtime) == text
    assert command(*wanted, "--stream") == text
    stop = text[8:11]
    stopped = text[: text.index(stop)]
    assert command(*wanted, "--stop", stop).removesuffix("\n") == stopped
    assert command(*wanted, "--stop", stop, "--stream").removesuffix("\n") == stopped
    evaluation = json.loads(command("evaluate", "run", "--json"))
    assert 0 < evaluation["held_out"]["nats"] < 10
    prompted = command("sample", "run", "--prompt", "Café wool", "--seed", 1, "--length", 10)
    assert prompted.startswith("Café wool")


def test_an_unknown_word_is_named_with_its_position(command, process):
    parts = ["--tokenizer", "whole-words", "--model", "fixed-gru", "--set", "corpus.layout=lines", "--epochs", 1]
    command("train", "titles.txt", *parts, "--out", "run")
    refused = process("sample", "run", "--prompt", "Café zebra", "--plugin", "padded.py")
    assert "' zebra' at position 4 is not in the vocabulary; remove it, or use --on-unknown skip" in refused.error
    assert command("sample", "run", "--prompt", "Café zebra", "--on-unknown", "skip", "--length", 3).startswith("Café")


@pytest.mark.parametrize(("name", "module"), [("whole-words", "textgen_whole_words"), ("padded-bytes", "padded")])
def test_its_suite_passes(pytester, name, module):
    pytester.makepyfile(textgen_whole_words=WORDS, padded=BYTES)
    pytester.makepyfile(
        test_it=f"""
        import pytest
        import {module}
        from textgen.testing import registered
        from textgen.testing.suites import TokenizerSuite

        @pytest.fixture(scope="module", autouse=True)
        def plugin():
            with registered({module}):
                yield

        class TestIt(TokenizerSuite):
            name = {name!r}
        """
    )
    result = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider")
    outcomes = result.parseoutcomes()
    assert outcomes["passed"] > 20, result.stdout.str()
    assert "failed" not in outcomes
    assert "errors" not in outcomes
