"""Evaluation of a run: how well it predicts its held-out text, and how its texts compare with training documents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from textgen.errors import CorpusError, OptionError, UnknownCharacterError
from textgen.evaluation.curve import draw_curve
from textgen.evaluation.evaluation import Evaluation, WrittenTexts
from textgen.evaluation.labels import evaluate_labels
from textgen.evaluation.novelty import Documents, Pieces
from textgen.evaluation.samples import (
    Progress,
    RealText,
    compare_samples,
    discard_progress,
    write_texts,
    written_sample,
)
from textgen.evaluation.scoring import Reading, Score, judge
from textgen.evaluation.statistics import compare_texts, count_lengths, mann_whitney
from textgen.files.writing import quoted
from textgen.generation.request import Generation, Request
from textgen.generation.runtime import ModelRuntime, Runtime
from textgen.runs.quality import ALL_TEXT
from textgen.saved_run import SavedRun
from textgen.text.corpus import Corpus, Layout
from textgen.text.encoded import EncodedText
from textgen.text.labels import LabelledTokenizer
from textgen.text.tokenizer import Tokenizer
from textgen.training.layout import arrange_batches, split
from textgen.training.settings import common_options
from textgen.training.text import Text
from textgen.training.yardstick import YARDSTICK, count_yardstick

#: What is written by default: texts, for documents, or characters, for a stream.
TEXTS, CHARACTERS = 1000, 20_000

#: Characters of a piece of a held-out stream; an n-gram model predicts the first few of each with less context.
HELD_OUT_PIECE = 5_000


@dataclass(frozen=True, kw_only=True)
class SplitText:
    """The text of a run, split as in training.

    Attributes:
        layout: the layout of the corpus.
        encoded: the held-out part.
        encoded_training: the other part.
        held_out: the held-out part as texts, if these are documents.
        training: the other documents.
        same_text: whether the run was trained on this text.
        characters_per_id: the number of characters that each id stands for, ``[vocab]`` float64.
        text: the whole text.
    """

    text: Text
    layout: Layout
    encoded: EncodedText
    encoded_training: EncodedText
    held_out: Documents | None
    training: Documents | None
    same_text: bool
    characters_per_id: NDArray[np.float64]


def read_split(run: SavedRun, corpus: Corpus, tokenizer: Tokenizer) -> SplitText:
    """Reads the corpus of a run again, and splits it as in training.

    Raises:
        OptionError: if the run has no held-out text.
        CorpusError: if the text is not available, too short to hold anything out, or not in the run's vocabulary.
    """
    options, path = common_options(run.settings), run.artifact.path
    if (refit := run.artifact.manifest.refit) is not None:
        raise OptionError(
            f"{path} is {ALL_TEXT}; evaluate the run that it repeats: textgen evaluate {quoted(refit['run'])}"
        )
    if not options.held_out:
        raise OptionError(f"{path} held out no text to judge by: train it with a training.held_out above 0")
    try:
        text = Text.encode(corpus, tokenizer, run.settings)
    except UnknownCharacterError as error:
        raise CorpusError(
            f"the corpus of {path} has changed: {error.character!r} is not in the run's vocabulary; "
            "restore it, or train a new run"
        ) from None
    parts = split(text.encoded, text.layout, options)
    numbers = parts.documents
    if (len(parts.held_out.ids) < 2) if numbers is None else not len(numbers):
        raise CorpusError(f"the held-out text of {path} is too short to judge by; the corpus has changed")
    return SplitText(
        text=text,
        layout=text.layout,
        encoded=parts.held_out,
        encoded_training=parts.training,
        held_out=None if numbers is None else Documents(corpus, text.corpus_name, numbers),
        training=None if numbers is None else Documents(corpus, text.corpus_name, numbers, inverse=True),
        same_text=text.is_text_of(run.artifact),
        characters_per_id=text.characters_per_id,
    )


def evaluate_run(
    run: SavedRun,
    runtime: Runtime,
    text: SplitText,
    *,
    runtime_name: str,
    context: int | None = None,
    request: Request,
    write: Callable[[Request], list[Generation]],
    curve: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluates a run.

    Args:
        run: the run.
        runtime: the loaded model.
        text: the run's text.
        runtime_name: the runtime's registered name.
        context: the number of tokens per window that a stream is read in; by default the state is carried through
            all of it.
        request: the texts to write, all with one chain.
        write: writes the texts of a request.
        curve: whether to write them at several temperatures, too.
        progress: called with the progress of the work.

    Raises:
        OptionError: if there is a context, and the text is documents.
    """
    report = progress or discard_progress
    reading = _choose_reading(text, context)
    score = _judge(runtime, reading, text, report)
    carried = _judge(runtime, Reading.carried(text.encoded.ids), text, report) if context is not None else None
    ngram = _judge_yardstick(run, reading, text, report)
    tokenizer, labels = run.tokenizer(), None
    if isinstance(tokenizer, LabelledTokenizer):
        assert text.held_out is not None  # only documents have labels
        assert text.training is not None
        labels = evaluate_labels(
            runtime,
            tokenizer,
            encoded=text.encoded,
            held_out=text.held_out,
            training=text.training,
            characters_per_id=text.characters_per_id,
            request=request,
            write=lambda divided: write_texts(divided, write, report, "texts written by label"),
        )
    generations = write_texts(request, write, report, "texts written")
    real = _real_text(text, tokenizer, request.length)
    samples = compare_samples(written_sample(generations, is_stream=real.is_stream), real, run.registry, request)
    drawn = None
    if curve:
        count, registry = samples.written.texts, run.registry
        drawn = draw_curve(request, real, registry, count=count, make_chain=run.chain, write=write, progress=report)
    return Evaluation(
        run=str(run.artifact.path),
        runtime=runtime_name,
        device=runtime.device,
        corpus=run.settings["corpus"]["name"],
        same_text=text.same_text,
        documents=len(text.encoded) if text.layout == "documents" else None,
        context=reading.context,
        held_out=score,
        carried=carried,
        ngram=ngram,
        written=None if real.is_stream else _judge_texts(generations, request, text),
        labels=labels,
        samples=samples,
        curve=drawn,
    )


def _real_text(text: SplitText, tokenizer: Tokenizer, length: int) -> RealText:
    """The text that what is written is compared with; the pieces of a stream have ``length`` characters."""
    if text.layout == "documents":
        assert text.training is not None
        assert text.held_out is not None
        return RealText.of(text.training, text.held_out, is_stream=False)
    training = Pieces(tokenizer, text.encoded_training.ids, length)
    return RealText.of(training, Pieces(tokenizer, text.encoded.ids, HELD_OUT_PIECE), is_stream=True)


def _judge(runtime: Runtime, reading: Reading, text: SplitText, progress: Progress, what: str = "held-out") -> Score:
    return judge(runtime, reading, text.characters_per_id, lambda done, total: progress(f"{what} tokens", done, total))


def _judge_yardstick(run: SavedRun, reading: Reading, text: SplitText, progress: Progress) -> Score | None:
    """The score of an n-gram that is counted in the run's training text."""
    if run.settings["model"]["name"] == YARDSTICK:
        return None
    dataset = arrange_batches(text.text, common_options(run.settings))
    found = count_yardstick(dataset, len(text.characters_per_id), run.registry)
    return None if found is None else _judge(ModelRuntime(found[0]), reading, text, progress, "n-gram, held-out")


def _choose_reading(text: SplitText, context: int | None) -> Reading:
    if text.layout == "documents":
        if context is not None:
            raise OptionError("a context is for streams; each document is read from its beginning")
        return Reading.documents(text.encoded)
    if context is None:
        return Reading.carried(text.encoded.ids)
    return Reading.windows(text.encoded.ids, context)


def _judge_texts(generations: list[Generation], request: Request, text: SplitText) -> WrittenTexts:
    assert text.held_out is not None
    assert text.training is not None
    texts = compare_texts([generation.whole for generation in generations], text.training)
    held_out = compare_texts(list(islice(text.held_out, len(generations))), text.training)
    return WrittenTexts(
        sampler=generations[0].sampler,
        seed=request.seed,
        length=request.length,
        ended=float(np.mean([generation.finish_reason != "length" for generation in generations])),
        texts=texts,
        held_out=held_out,
        training_lengths=count_lengths(text.training),
        copying=mann_whitney(texts.neighbours.distances, held_out.neighbours.distances),
    )
