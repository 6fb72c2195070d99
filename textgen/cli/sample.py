"""``textgen sample``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textgen.api import TextGenerator
    from textgen.generation import Generation, Request


def sample(
    run: Path | None = typer.Argument(None, help="Folder or name of the run; by default the latest."),
    prompt: list[str] = typer.Option(
        [], help="Text to go on from; may be repeated. By default the run's own, or none."
    ),
    prompts_file: Path | None = typer.Option(None, help="A file with one prompt a line."),
    num: int = typer.Option(1, help="Texts a prompt."),
    length: int | None = typer.Option(None, help="Characters to write, at most."),
    temperature: list[float] = typer.Option([], help="Below 1 is safer, above 1 wilder; repeat it for a block each."),
    top_k: int | None = typer.Option(None, help="Draw among the k likeliest characters."),
    top_p: float | None = typer.Option(None, help="Draw among the likeliest characters that make up this share."),
    min_p: float | None = typer.Option(None, help="Draw among characters this times as likely as the likeliest."),
    repetition_penalty: float | None = typer.Option(None, help="Above 1, characters seen before get less likely."),
    sampler: str | None = typer.Option(None, help="A whole chain, as in 'temperature(0.8) | top-k(40) | multinomial'."),
    seed: int | None = typer.Option(None, help="The same seed gives the same text; drawn and told by default."),
    stop: list[str] = typer.Option([], help="A text that ends the generation; may be repeated."),
    ignore_eos: bool = typer.Option(False, "--ignore-eos", help="Go on after the end of a document."),
    on_unknown: Literal["error", "skip", "unk"] | None = typer.Option(
        None, help="Characters of the prompt that the vocabulary lacks: error, skip or unk."
    ),
    runtime: str = typer.Option("auto", help="What runs the model: auto, numpy, keras, or a plugin's."),
    device: str = typer.Option("auto", help="auto, cpu or cuda[:N]."),
    stream: bool = typer.Option(False, "--stream", help="Show the text as it is written."),
    novelty: bool = typer.Option(False, "--novelty", help="Tell the share of texts that the corpus does not have."),
    as_json: bool = typer.Option(False, "--json", help="Print text, prompt, ids, log-probability, seed and more."),
) -> None:
    """Write text with a trained model."""
    import json
    from dataclasses import asdict

    from textgen.api import load
    from textgen.errors import OptionError

    if stream and as_json:
        raise OptionError("--stream and --json exclude each other")
    prompts = [*prompt, *_read_prompts(prompts_file)]
    generator = load(run, runtime=runtime, device=device)
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
    )
    blocks = len(temperature) or 1
    if stream:
        generations = _stream(generator, request, temperature)
    else:
        generations = generator.sample(request)
        if as_json:
            typer.echo(json.dumps([asdict(generation) for generation in generations], indent=1, ensure_ascii=False))
        else:
            each = len(generations) // blocks
            for block in range(blocks):
                _print_heading(temperature, block)
                texts = [g.prompt + g.text for g in generations[block * each : (block + 1) * each]]
                separator = "\n\n" if any("\n" in text for text in texts) else "\n"
                typer.echo(separator.join(texts))
    if seed is None and not as_json:
        typer.echo(f"seed {request.seed}; the same text again: --seed {request.seed}", err=True)
    if novelty:
        _print_novelty(generator, generations)


def _read_prompts(path: Path | None) -> list[str]:
    from textgen.errors import OptionError

    if path is None:
        return []
    try:
        prompts = [line for line in path.read_text(encoding="utf-8-sig").split("\n") if line]
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"cannot read the prompts in {path}: {error}") from None
    if not prompts:
        raise OptionError(f"{path} has no prompts; write one a line")
    return prompts


def _print_heading(temperatures: Sequence[float], block: int) -> None:
    """What a block of the temperature grid was drawn with; nothing where there is no grid."""
    if len(temperatures) > 1:
        typer.echo(f"{'' if block == 0 else chr(10)}--- temperature {temperatures[block]:g}")


def _stream(generator: TextGenerator, request: Request, temperatures: Sequence[float]) -> list[Generation]:
    """Write the texts one after the other, each as it comes."""
    from dataclasses import replace

    generations = []
    each = len(request.prompts) // (len(temperatures) or 1)
    for index in range(len(request.prompts)):
        if index % each == 0:
            _print_heading(temperatures, index // each)
        row = slice(index, index + 1)
        one = replace(
            request, prompts=request.prompts[row], chains=request.chains[row], rows=request.rows[row], chunk=8
        )
        sys.stdout.write(one.prompts[0])
        pieces = generator.pieces(one)
        while True:
            try:
                sys.stdout.write(next(pieces).text)
                sys.stdout.flush()
            except StopIteration as stop:
                generations += stop.value
                break
        sys.stdout.write("\n")
    return generations


def _print_novelty(generator: TextGenerator, generations: Sequence[Generation]) -> None:
    """Tell how many of the texts are new, by the corpus that the run was trained on."""
    from textgen.api import make_part
    from textgen.errors import OptionError
    from textgen.plan import data_folder
    from textgen.plugins import plugins

    corpus = make_part(generator.artifact, plugins(), "corpus", data_folder(None))
    if corpus.layout != "documents":
        raise OptionError("--novelty compares documents; this run was trained on a stream")
    known = set(corpus.documents())
    new = sum(g.prompt + g.text not in known for g in generations)
    typer.echo(f"{new} of {len(generations)} ({new / len(generations):.0%}) are not in the corpus", err=True)
