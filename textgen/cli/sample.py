"""``textgen sample``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from textgen.cli.parameters import DataDir, Device, OnUnknown, Run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from textgen.generation.request import Generation, Request
    from textgen.text_generator import TextGenerator


def sample(
    run: Run = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="Text to go on from; may be repeated. By default the run's own, or none."),
    ] = None,
    prompts_file: Annotated[Path | None, typer.Option(help="A file with one prompt a line.")] = None,
    num: Annotated[int, typer.Option(min=1, help="Texts a prompt.")] = 1,
    length: Annotated[
        int | None,
        typer.Option(
            min=1, help="Characters to write, at most; a first one, drawn where there is no prompt, comes on top."
        ),
    ] = None,
    temperature: Annotated[
        list[float] | None,
        typer.Option(metavar="NUMBER", help="Below 1 is safer, above 1 wilder; repeat it for a block each."),
    ] = None,
    top_k: Annotated[int | None, typer.Option(help="Draw among the k likeliest characters.")] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Draw among the likeliest characters that make up this share.")
    ] = None,
    min_p: Annotated[
        float | None, typer.Option(help="Draw among characters at least this times as likely as the likeliest.")
    ] = None,
    repetition_penalty: Annotated[
        float | None, typer.Option(help="Above 1, characters seen before get less likely.")
    ] = None,
    sampler: Annotated[
        str | None, typer.Option(help="A whole chain, as in 'temperature(0.8) | top-k(40) | multinomial'.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="The same seed gives the same text; drawn and told by default.")
    ] = None,
    stop: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="A text that ends the generation; may be repeated.")
    ] = None,
    ignore_eos: Annotated[bool, typer.Option("--ignore-eos", help="Go on after the end of a document.")] = False,
    on_unknown: OnUnknown = None,
    runtime: Annotated[
        str, typer.Option(help="What runs the model: auto, numpy, onnx, keras, or a plugin's.")
    ] = "auto",
    device: Device = None,
    stream: Annotated[bool, typer.Option("--stream", help="Show the text as it is written.")] = False,
    novelty: Annotated[
        bool, typer.Option("--novelty", help="Print the share of texts that are not training documents.")
    ] = False,
    data_dir: DataDir = None,
    save_state: Annotated[
        Path | None, typer.Option(help="Write the state after the text to this file, to go on from.")
    ] = None,
    load_state: Annotated[
        Path | None, typer.Option(help="Go on from a state that --save-state wrote; a prompt is read after it.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print text, prompt, ids, log-probability, seed and more.")
    ] = False,
) -> None:
    """Write text with a trained model."""
    import json
    from dataclasses import asdict

    from textgen.api import load
    from textgen.errors import OptionError

    if stream and as_json:
        raise OptionError("--stream and --json exclude each other")
    if save_state is not None and (num > 1 or len(prompt or []) > 1 or prompts_file or len(temperature or []) > 1):
        raise OptionError(
            "--save-state keeps the state of a single text: ask for one prompt, one text, one temperature"
        )
    prompts = [*(prompt or []), *_read_prompts(prompts_file)]
    generator = load(run, runtime=runtime, device=device or "auto")
    continuation = generator.load_continuation(load_state) if load_state else None
    request = generator.request(
        prompts or None,
        num=num,
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
        continuation=continuation,
    )
    training = _read_training(generator, data_dir) if novelty else None
    if as_json:
        generations = generator.sample(request)
        print(json.dumps([asdict(generation) for generation in generations], indent=1))
    else:
        before = _separators(generator, request, temperature or [])
        generations = _stream(generator, request, before) if stream else _print(generator.sample(request), before)
    if save_state is not None:
        generator.save_continuation(save_state, generator.continue_after(request, generations[0]))
    if seed is None and continuation is None and not as_json:
        print(f"seed {request.seed}; the same text again: --seed {request.seed}", file=sys.stderr)
    if device is None and generator.runtime.device != "cpu":
        print(f"ran on {generator.runtime.device}", file=sys.stderr)
    if training is not None:
        from textgen.evaluation.texts import count_new

        new = count_new([g.prompt + g.text for g in generations], training)
        print(f"{new} of {len(generations)} ({new / len(generations):.0%}) are not training documents", file=sys.stderr)


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
        raise OptionError(f"{path} has no prompts; write one a line")
    return prompts


def _read_training(generator: TextGenerator, data_dir: Path | None) -> Iterator[str]:
    """The documents that the run was trained on."""
    from textgen.errors import OptionError
    from textgen.evaluation.texts import training_documents

    corpus = generator.run.corpus(data_dir)
    if corpus.layout != "documents":
        raise OptionError("--novelty compares documents; this run was trained on a stream")
    return training_documents(generator.run, corpus)


def _separators(generator: TextGenerator, request: Request, temperatures: Sequence[float]) -> Iterator[str]:
    """What stands before each text: the heading of its block of the temperature grid, or what parts it from the last.

    Documents are one a line; texts of many lines have an empty line between them.
    """
    many_lines = generator.artifact.boundaries.end_id is None or request.ignore_eos
    each = len(request.prompts) // (len(temperatures) or 1)
    for index in range(len(request.prompts)):
        block, row = divmod(index, each)
        gap = "\n" if index and (many_lines or not row) else ""
        heading = f"--- temperature {temperatures[block]:g}\n" if len(temperatures) > 1 and not row else ""
        yield gap + heading


def _print(generations: list[Generation], before: Iterator[str]) -> list[Generation]:
    for separator, generation in zip(before, generations, strict=True):
        sys.stdout.write(f"{separator}{generation.prompt}{generation.text}\n")
    return generations


def _stream(generator: TextGenerator, request: Request, before: Iterator[str]) -> list[Generation]:
    """Write the texts one after the other, each as it comes."""
    from dataclasses import replace

    from textgen.generation.prompts import encode_prompt

    for prompt in request.prompts:
        encode_prompt(generator.tokenizer, prompt, request.on_unknown)  # a bad one is told before any text is shown
    generations: list[Generation] = []
    for index, separator in enumerate(before):
        row = slice(index, index + 1)
        one = replace(
            request, prompts=request.prompts[row], chains=request.chains[row], rows=request.rows[row], chunk=8
        )
        text = separator + one.prompts[0]
        pieces = generator.pieces(one)
        while True:
            try:
                text += next(pieces).text
            except StopIteration as stop:
                generations += stop.value
                break
            sys.stdout.write(text)
            sys.stdout.flush()
            text = ""
        sys.stdout.write(text + "\n")
    return generations
