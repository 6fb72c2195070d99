"""``textgen sample``."""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from textgen.cli.parameters import DataDir, Device, OnUnknown, Run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from textgen.generation.request import Generation, Request
    from textgen.text_generator import TextGenerator


def sample(
    run: Run = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="Text to continue; may be repeated. By default the run's own, or none."),
    ] = None,
    prompts_file: Annotated[Path | None, typer.Option(help="A file with one prompt per line.")] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABEL", help="The label of the texts, for a run that has labels; repeat it for a block each."
        ),
    ] = None,
    num: Annotated[int, typer.Option(min=1, help="Texts per prompt.")] = 1,
    length: Annotated[
        int | None,
        typer.Option(
            min=1, help="Characters to write, at most; without a prompt, the drawn first character is not counted."
        ),
    ] = None,
    temperature: Annotated[
        list[float] | None,
        typer.Option(metavar="NUMBER", help="Below 1 is safer, above 1 is wilder; repeat it for several blocks."),
    ] = None,
    top_k: Annotated[int | None, typer.Option(help="Draw from the k likeliest characters.")] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Draw from the likeliest characters that together have this probability.")
    ] = None,
    min_p: Annotated[
        float | None,
        typer.Option(help="Draw from characters whose probability is at least this share of the likeliest one's."),
    ] = None,
    repetition_penalty: Annotated[
        float | None, typer.Option(help="Above 1, characters that have occurred become less likely.")
    ] = None,
    sampler: Annotated[
        str | None, typer.Option(help="A whole chain, as in 'temperature(0.8) | top-k(40) | multinomial'.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="The same seed gives the same text; by default a new one, which is printed.")
    ] = None,
    stop: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="A text that ends the generation; may be repeated.")
    ] = None,
    ignore_eos: Annotated[bool, typer.Option("--ignore-eos", help="Continue after the end of a document.")] = False,
    on_unknown: OnUnknown = None,
    runtime: Annotated[
        str, typer.Option(help="The runtime to use: auto, numpy, onnx, keras, or one of a plugin.")
    ] = "auto",
    device: Device = None,
    stream: Annotated[bool, typer.Option("--stream", help="Show the text as it is written.")] = False,
    novelty: Annotated[
        bool, typer.Option("--novelty", help="Print the share of texts that are not training documents.")
    ] = False,
    data_dir: DataDir = None,
    save_state: Annotated[
        Path | None, typer.Option(help="Write the state after the text to this file, to continue from.")
    ] = None,
    load_state: Annotated[
        Path | None, typer.Option(help="Continue from a state that --save-state wrote; a prompt is read after it.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print text, prompt, ids, log-probability, seed and more.")
    ] = False,
) -> None:
    """Write text with a trained model."""
    import json

    from textgen.api import load
    from textgen.base.console import say
    from textgen.errors import OptionError

    if stream and as_json:
        raise OptionError("--stream and --json exclude each other")
    many = max(len(given or []) for given in (prompt, label, temperature)) > 1
    if save_state is not None and (num > 1 or many or prompts_file):
        raise OptionError(
            "--save-state keeps the state of a single text: use one prompt, one text, one temperature, one label"
        )
    prompts = [*(prompt or []), *_read_prompts(prompts_file)]
    generator = load(run, runtime=runtime, device=device or "auto")
    continuation = generator.load_continuation(load_state) if load_state else None
    request = generator.request(
        prompts or None,
        num=num,
        label=label or None,
        length=length,
        temperature=temperature or None,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        sampler=sampler,
        seed=seed,
        stop=stop or None,
        ignore_eos=ignore_eos,
        on_unknown=on_unknown,
        score=as_json,
        stream=stream,
        keep_state=save_state is not None,
        continuation=continuation,
    )
    training = _read_training(generator, data_dir) if novelty else None
    if as_json:
        generations = generator.sample(request)
        print(json.dumps([_as_json(generation) for generation in generations], indent=1))
    else:
        separators = _separators(generator, request, _headings(label or [], temperature or []))
        show = _stream if stream else _print
        generations = show(generator, request, separators)
    if save_state is not None:
        continued = generations[0].continuation
        assert continued is not None  # the request asked for it
        generator.save_continuation(save_state, continued)
    if seed is None and continuation is None and not as_json:
        say(f"seed {request.seed}; the same text again: --seed {request.seed}")
    if device is None and generator.runtime.device != "cpu":
        say(f"ran on {generator.runtime.device}")
    if training is not None:
        from textgen.evaluation.novelty import count_new

        new = count_new([generation.whole for generation in generations], training)
        say(f"{new} of {len(generations)} ({new / len(generations):.0%}) are not training documents")


def _read_prompts(path: Path | None) -> list[str]:
    from textgen.errors import OptionError

    if path is None:
        return []
    try:
        prompts = [line for line in path.read_text(encoding="utf-8-sig").split("\n") if line]
    except OSError as error:
        raise OptionError(f"the prompts in {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise OptionError(f"the prompts in {path} are not UTF-8 text at byte {error.start}") from None
    if not prompts:
        raise OptionError(f"{path} has no prompts; write one per line")
    return prompts


def _read_training(generator: TextGenerator, data_dir: Path | None) -> Iterable[str]:
    """The documents that the run was trained on."""
    from textgen.errors import OptionError
    from textgen.evaluation.novelty import training_documents

    corpus = generator.run.corpus(data_dir)
    if corpus.layout != "documents":
        raise OptionError("--novelty compares documents; this run was trained on a stream")
    return training_documents(generator.run, corpus)


def _headings(labels: Sequence[str], temperatures: Sequence[float]) -> list[str]:
    """The heading of each block of texts: its label if there are several, and its temperature if there are several."""
    named = [f"label {label}" for label in labels] if len(labels) > 1 else [""]
    heated = [f"temperature {temperature:g}" for temperature in temperatures] if len(temperatures) > 1 else [""]
    return [", ".join(filter(None, parts)) for parts in product(named, heated)]


def _separators(generator: TextGenerator, request: Request, headings: Sequence[str]) -> Iterator[str]:
    """The separator before each text, with the heading of its block if it has one.

    Documents are printed one per line; texts of several lines have an empty line between them.
    """
    many_lines = generator.boundaries.end_id is None or request.ignore_eos
    each = len(request.prompts) // len(headings)
    for index in range(len(request.prompts)):
        block, row = divmod(index, each)
        gap = "\n" if index and (many_lines or not row) else ""
        heading = f"--- {headings[block]}\n" if headings[block] and not row else ""
        yield gap + heading


def _as_json(generation: Generation) -> dict[str, Any]:
    """The fields of a generation, but for its state."""
    return {name: value for name, value in vars(generation).items() if name != "continuation"}


def _print(generator: TextGenerator, request: Request, separators: Iterator[str]) -> list[Generation]:
    """Write all texts, then print them."""
    generations = generator.sample(request)
    for separator, generation in zip(separators, generations, strict=True):
        sys.stdout.write(f"{separator}{generation.whole}\n")
    return generations


def _stream(generator: TextGenerator, request: Request, separators: Iterator[str]) -> list[Generation]:
    """Print the texts while they are written, one after the other."""
    pieces = generator.pieces(request)
    begun = 0

    def begin_texts(until: int) -> None:
        """Print what comes before the next texts, up to a number of texts; a text may turn out to be empty."""
        nonlocal begun
        for prompt in request.prompts[begun:until]:
            sys.stdout.write(("\n" if begun else "") + next(separators) + prompt)
            begun += 1

    while True:
        try:
            piece = next(pieces)
        except StopIteration as stop:
            begin_texts(len(request.prompts))
            sys.stdout.write("\n")
            return list(stop.value)
        begin_texts(piece.index + 1)
        sys.stdout.write(piece.text)
        sys.stdout.flush()
