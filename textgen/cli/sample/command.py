"""``textgen sample``."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from textgen.base.streams import print_json, print_result, results
from textgen.cli.parameters import (
    DataDir,
    Device,
    OnUnknown,
    Run,
    TrustGraph,
    complete_chain,
    complete_engine,
    complete_runtime,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from textgen.cli.sample.output import Output
    from textgen.generation.continuation import Continuation
    from textgen.generation.request import Generation, Request
    from textgen.text_generator import TextGenerator


def sample(
    run: Run = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="Text to continue; may be repeated. By default the run's own, or none."),
    ] = None,
    prompt_file: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="A file that is one prompt of any length, but for the line end at its very end; - for stdin.",
        ),
    ] = None,
    prompts_file: Annotated[
        str | None, typer.Option(metavar="PATH", help="A file with one prompt per line; - for stdin.")
    ] = None,
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
            min=1, help="Characters to write, at most; without a prompt, the drawn first token is not counted."
        ),
    ] = None,
    temperature: Annotated[
        list[float] | None,
        typer.Option(metavar="NUMBER", help="Below 1 is safer, above 1 is wilder; repeat it for several blocks."),
    ] = None,
    top_k: Annotated[int | None, typer.Option(help="Draw from the k likeliest tokens.")] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Draw from the likeliest tokens that together have this probability.")
    ] = None,
    min_p: Annotated[
        float | None,
        typer.Option(help="Draw from tokens whose probability is at least this share of the likeliest one's."),
    ] = None,
    repetition_penalty: Annotated[
        float | None, typer.Option(help="Above 1, tokens that have occurred become less likely.")
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(
            help="A whole chain, as in 'temperature(0.8) | top-k(40) | multinomial'.", autocompletion=complete_chain
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="The same seed gives the same text; by default a new one, which is printed.")
    ] = None,
    stop: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help=r"A text that ends the generation, as in $'\n' (in bash); may be repeated."),
    ] = None,
    ignore_eos: Annotated[bool, typer.Option("--ignore-eos", help="Continue after the end of a document.")] = False,
    on_unknown: OnUnknown = None,
    normalize: Annotated[
        bool, typer.Option("--normalize", help="Compose letters and accents of prompts and stop texts (NFC).")
    ] = False,
    runtime: Annotated[
        str,
        typer.Option(
            help="The runtime to use: auto, numpy, onnx, keras, or one of a plugin.", autocompletion=complete_runtime
        ),
    ] = "auto",
    device: Device = None,
    trust_graph: TrustGraph = False,
    stream: Annotated[bool, typer.Option("--stream", help="Show the text as it is written.")] = False,
    interactive: Annotated[
        bool,
        typer.Option(
            "--interactive",
            help="Write a text together, on a terminal: choose among the next tokens, type, undo, let the model write.",
        ),
    ] = False,
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
    out: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Write to a .jsonl, .csv or .parquet file, or to a folder of such files if it ends with a slash; "
            "continues a job that was stopped.",
        ),
    ] = None,
    column: Annotated[str | None, typer.Option(help="Column of the prompts file, by default prompt.")] = None,
    keep: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="Also write this column of the file; may be repeated.")
    ] = None,
    unique: Annotated[bool, typer.Option("--unique", help="Of equal texts, keep the first.")] = False,
    novel: Annotated[bool, typer.Option("--novel", help="Keep no training document.")] = False,
    match: Annotated[str | None, typer.Option(metavar="REGEX", help="Keep texts in which this is found.")] = None,
    max_length: Annotated[int | None, typer.Option(min=0, help="Keep texts of so many characters at most.")] = None,
    log_probability: Annotated[
        bool, typer.Option("--log-probability", help="Also write the log-probability of each text.")
    ] = False,
    on_bad_row: Annotated[
        Literal["stop", "skip"] | None,
        typer.Option(help="What to do with a row of the prompts file that cannot be used.", show_default=False),
    ] = None,
    shard_rows: Annotated[int | None, typer.Option(min=1, help="Texts per part, by default 50,000.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Workers, by default one per core.")] = None,
    engine: Annotated[
        str | None,
        typer.Option(help="Where to write: local (default), or one of a plugin.", autocompletion=complete_engine),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="OPTION=VALUE", help="An option of the engine; may be repeated."),
    ] = None,
) -> None:
    """Write text with a trained model."""
    from textgen.api import load
    from textgen.base.console import notice, say
    from textgen.cli.sample.interactive import is_terminal
    from textgen.cli.sample.job import check_options, write
    from textgen.cli.sample.prompts import read_prompts
    from textgen.errors import OptionError
    from textgen.generation.continuation import check_state_output
    from textgen.generation.prompts import remarks

    way = _way(interactive=interactive, stream=stream, json=as_json)
    job: dict[str, Any] = {
        **{"column": column, "keep": keep, "unique": unique, "novel": novel, "match": match, "max_length": max_length},
        **{"log_probability": log_probability, "on_bad_row": on_bad_row, "shard_rows": shard_rows},
        **{"workers": workers, "engine": engine},
    }
    shown = {"interactive": interactive, "stream": stream, "json": as_json, "novelty": novelty}
    shown |= {"save_state": save_state is not None, "load_state": load_state is not None}
    check_options(out, {**job, "set": assignments}, shown)
    texts: dict[str, Any] = {
        **{
            "label": label or None,
            "length": length,
            "temperature": temperature or None,
            "top_k": top_k,
            "top_p": top_p,
        },
        **{"min_p": min_p, "repetition_penalty": repetition_penalty, "sampler": sampler, "seed": seed},
        **{"stop": stop or None, "ignore_eos": ignore_eos, "on_unknown": on_unknown, "normalize": normalize},
    }
    many = max(num, *(len(given or []) for given in (prompt, label, temperature))) > 1 or (prompt and prompt_file)
    if (interactive or save_state is not None) and (many or prompts_file):
        single = "--interactive writes" if interactive else "--save-state keeps the state of"
        raise OptionError(f"{single} a single text: use one prompt, one text, one temperature, one label")
    prompts = [*(prompt or []), *read_prompts(prompt_file, prompts_file if out is None else None)]
    if save_state is not None:
        check_state_output(save_state, "--save-state")
    generator = load(run, runtime=runtime, device=device or "auto", trust="graph" if trust_graph else "weights")
    continuation = generator.load_continuation(load_state) if load_state else None
    request = generator.request(
        prompts or None,
        num=num if out is None else 1,
        **texts,
        score=as_json,
        stream=stream,
        keep_state=save_state is not None,
        continuation=continuation,
    )
    typed = [*(("--prompt", text) for text in prompt or []), *(("--stop", text) for text in stop or [])]
    for line in remarks(generator.tokenizer, request.prompts, request.stop, on_unknown=request.on_unknown, typed=typed):
        notice(line)
    if out is not None:
        write(
            generator, out, prompts_file, assignments or [], prompt=prompts, num=num, data_dir=data_dir, **job, **texts
        )
        return
    training = _read_training(generator, data_dir) if novelty else None
    headings = _headings(label or [], temperature or [])
    written, continued = _write(way, generator, request, headings, {**texts, "continuation": continuation})
    if save_state is not None:
        if continued is not None:
            generator.save_continuation(save_state, continued)
        else:  # only a conversation can end without any
            notice("no text was written, so --save-state has no state to save")
    if seed is None and continuation is None and not as_json:
        how = "the same text from the same input" if interactive else "the same text again"
        say(f"seed {request.seed}; {how}: --seed {request.seed}")
        if not (interactive or prompts) and results().isatty() and is_terminal():
            say("to write together with the model: --interactive")
    if device is None and generator.runtime.device != "cpu":
        say(f"ran on {generator.runtime.device}")
    if training is not None:
        from textgen.evaluation.novelty import count_new

        new = count_new(written, training)
        say(f"{new} of {len(written)} ({new / len(written):.0%}) are not training documents")


def _way(**wished: bool) -> str:
    """The way to show texts that was asked for, by the name of its option; empty if none was.

    Raises:
        OptionError: if several were asked for, or it needs a terminal and has none.
    """
    from textgen.cli.sample.interactive import check_terminal
    from textgen.errors import OptionError

    ways = [name for name, is_wished in wished.items() if is_wished]
    if len(ways) > 1:
        raise OptionError(f"--{ways[0]} and --{ways[1]} exclude each other")
    if wished["interactive"]:
        check_terminal()
    return "".join(ways)


def _write(
    way: str, generator: TextGenerator, request: Request, headings: Sequence[str], wishes: dict[str, Any]
) -> tuple[list[str], Continuation | None]:
    """Write the texts of a request, in one of the ways to show them; returns them, and where the first ends."""
    from textgen.cli.sample.interactive import Conversation
    from textgen.cli.sample.output import Output
    from textgen.generation.prompts import remarks

    if way == "interactive":
        draft = generator.draft(*request.prompts, **wishes | {"seed": request.seed})
        remark = partial(
            remarks, generator.tokenizer, stop=(), on_unknown=request.on_unknown, compose="type that, or undo it"
        )
        try:
            Conversation(draft, remark).hold()
        finally:  # whatever ended it, the text is not lost
            print_result(draft.text)
        return [draft.text], draft.continuation
    generations: list[Generation]
    if way == "json":
        generations = generator.sample(request)
        print_json([_as_json(generation) for generation in generations])
    else:
        show = _stream if way == "stream" else _print
        generations = show(generator, request, Output(generator, request, headings))
    return [generation.whole for generation in generations], generations[0].continuation


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


def _as_json(generation: Generation) -> dict[str, Any]:
    """The fields of a generation, but for its state and tokens; a seed that JavaScript would round is text."""
    fields = {name: value for name, value in vars(generation).items() if name not in ("continuation", "tokens")}
    seed = generation.seed if generation.seed < 2**53 else str(generation.seed)
    return {**fields, "seed": seed, "unknown": [asdict(each) for each in generation.unknown]}


def _print(generator: TextGenerator, request: Request, output: Output) -> list[Generation]:
    """Write all texts, then print them."""
    generations = generator.sample(request)
    for generation in generations:
        output.begin()
        output.write(generation.text)
    output.end()
    return generations


def _stream(generator: TextGenerator, request: Request, output: Output) -> list[Generation]:
    """Print the texts while they are written, one after the other."""
    pieces = generator.pieces(request)
    while True:
        try:
            piece = next(pieces)
        except StopIteration as stop:
            output.end()
            return list(stop.value)
        output.begin_until(piece.index)
        output.write(piece.text)
        results().flush()
