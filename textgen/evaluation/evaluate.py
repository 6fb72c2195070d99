"""How good a run is: its held-out text predicted, and what it writes beside the documents that it learned from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from textgen.errors import CorpusError, OptionError, UnknownCharacterError
from textgen.evaluation.scoring import Reading, Score, judge
from textgen.evaluation.texts import TextStatistics, compare_texts, count_lengths
from textgen.generation.request import Generation, Request
from textgen.generation.runtime import Runtime
from textgen.model.fitting import TrainingOptions
from textgen.options import build_options
from textgen.runs.artifact import Artifact
from textgen.text.corpus import Corpus, Layout
from textgen.text.encoded import EncodedText, draw_documents
from textgen.text.encoding import encode, read_documents, text_sha256
from textgen.text.tokenizer import Tokenizer

#: Texts that are written where no number is asked for, and how many at once.
TEXTS, TEXTS_AT_ONCE = 1000, 256

#: Is told what is under way, how much of it is done, and of how much.
Progress = Callable[[str, int, int], None]


def say_nothing(what: str, done: int, total: int) -> None:
    """The progress that nobody wants to be told of."""


@dataclass(frozen=True)
class WrittenTexts:
    """What a run writes, beside the documents that it learned from.

    Attributes:
        sampler: the chain that drew.
        seed: of the texts, whose own seeds are 0, 1, 2 and so on.
        length: characters after which a text was cut.
        ended: share of texts that came to their end (the end of a document, or a stop text) before that.
        texts: the texts beside the training documents.
        held_out: the held-out documents, as many at most, beside the training documents: what the figures of real
            texts are.
        training_lengths: how many training documents have a length in characters, by length.
    """

    sampler: str
    seed: int
    length: int
    ended: float
    texts: TextStatistics
    held_out: TextStatistics
    training_lengths: Mapping[int, int]


@dataclass(frozen=True)
class Evaluation:
    """How good a run is.

    Attributes:
        run: its folder.
        runtime: that ran it, by registered name.
        device: where it ran.
        corpus: its name.
        same_text: whether the corpus has the text that the run was trained on.
        documents: held-out documents; ``None`` for a stream.
        context: what each held-out character was predicted from, in words.
        held_out: how well the held-out text was predicted.
        written: what the run writes; ``None`` for a stream.
    """

    run: str
    runtime: str
    device: str
    corpus: str
    same_text: bool
    documents: int | None
    context: str
    held_out: Score
    written: WrittenTexts | None


@dataclass(frozen=True)
class SplitText:
    """A run's text, cut as the run cut it.

    Attributes:
        layout: of the corpus.
        encoded: what was held out.
        held_out: the same as texts, where the layout is documents.
        training: the other documents.
        same_text: whether the run was trained on this text.
    """

    layout: Layout
    encoded: EncodedText
    held_out: Sequence[str]
    training: Sequence[str]
    same_text: bool


def read_split(artifact: Artifact, corpus: Corpus, tokenizer: Tokenizer) -> SplitText:
    """Read the corpus of a run again, and cut it by the run's options.

    Raises:
        OptionError: where the run held nothing out.
        CorpusError: where the text is not at hand, too short to hold anything out, or not in the run's vocabulary.
    """
    settings = artifact.manifest.settings
    options = build_options(TrainingOptions, settings["training"], where="training")
    if not options.held_out:
        raise OptionError(f"{artifact.path} held out no text to judge by: train it with a training.held_out above 0")
    read = read_documents(corpus, settings["corpus"]["name"])
    documents = list(read) if corpus.layout == "documents" else []
    try:
        text = encode(corpus.layout, documents or read, tokenizer)
    except UnknownCharacterError as error:
        raise CorpusError(
            f"the corpus of {artifact.path} has changed: {error.character!r} is not in the run's vocabulary; "
            "restore it, or train a new run"
        ) from None
    same_text = text_sha256(text) == artifact.manifest.provenance.get("text_sha256")
    if corpus.layout == "stream":
        split = SplitText("stream", text.split_tail(options.held_out)[1], (), (), same_text)
        enough = len(split.encoded.ids) > 1
    else:
        drawn = draw_documents(len(text), options.held_out, options.seed)
        held_out = set(drawn.tolist())
        training = [document for number, document in enumerate(documents) if number not in held_out]
        texts = [documents[number] for number in drawn]
        split = SplitText("documents", text.select(drawn), texts, training, same_text)
        enough = len(drawn) > 0
    if not enough:
        raise CorpusError(f"the held-out text of {artifact.path} is too short to judge by; the corpus has changed")
    return split


def evaluate_run(
    artifact: Artifact,
    runtime: Runtime,
    tokenizer: Tokenizer,
    split: SplitText,
    *,
    runtime_name: str,
    context: int | None,
    request: Request | None,
    write: Callable[[Request], list[Generation]],
    progress: Progress,
) -> Evaluation:
    """Judge a run.

    Args:
        artifact: the run.
        runtime: the loaded model.
        tokenizer: the run's.
        split: the run's text.
        runtime_name: as registered.
        context: characters of a window that a stream is read in; ``None`` to carry the state through all of it.
        request: the texts to write, for documents.
        write: writes what a request asks for.
        progress: is told how the work comes along.

    Raises:
        OptionError: for a context below 1, or for documents.
    """
    reading = _choose_reading(split, context)
    score = judge(runtime, reading, lambda done, total: progress("held-out characters", done, total))
    return Evaluation(
        str(artifact.path),
        runtime_name,
        runtime.device,
        artifact.manifest.settings["corpus"]["name"],
        split.same_text,
        len(split.held_out) if split.layout == "documents" else None,
        reading.context,
        score,
        _judge_texts(request, write, split, progress) if request else None,
    )


def _choose_reading(split: SplitText, context: int | None) -> Reading:
    if split.layout == "documents":
        if context is not None:
            raise OptionError("a context is for streams; each document is read from its beginning")
        return Reading.documents(split.encoded)
    if context is None:
        return Reading.carried(split.encoded.ids)
    if context < 1:
        raise OptionError(f"the context must be at least 1 character, not {context}")
    return Reading.windows(split.encoded.ids, context)


def _judge_texts(
    request: Request, write: Callable[[Request], list[Generation]], split: SplitText, progress: Progress
) -> WrittenTexts:
    generations: list[Generation] = []
    total = len(request.prompts)
    for at in range(0, total, TEXTS_AT_ONCE):
        rows = slice(at, at + TEXTS_AT_ONCE)
        part = replace(
            request,
            prompts=request.prompts[rows],
            chains=request.chains[rows],
            row_seeds=request.row_seeds[rows],
        )
        generations += write(part)
        progress("texts written", len(generations), total)
    texts = [generation.whole for generation in generations]
    return WrittenTexts(
        generations[0].sampler,
        request.seed,
        request.length,
        float(np.mean([generation.finish_reason != "length" for generation in generations])),
        compare_texts(texts, split.training),
        compare_texts(split.held_out[:total], split.training),
        count_lengths(split.training),
    )
