"""``textgen export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from textgen.base.streams import messages, print_json, print_result
from textgen.cli.parameters import AsJson, Run, complete_exporter, out_path


def export(
    run: Run = None,
    onnx: Annotated[bool, typer.Option("--onnx", help="Export to ONNX; short for --to onnx.")] = False,
    to: Annotated[
        str | None,
        typer.Option(help="Exporter: onnx, web, triton, or one of a plugin.", autocompletion=complete_exporter),
    ] = None,
    precision: Annotated[
        Literal["fp32", "fp16", "int8"] | None,
        typer.Option(help="Precision of the weights: fp32, fp16 (CUDA) or int8 (CPU)."),
    ] = None,
    via: Annotated[
        Literal["weights", "tf2onnx"] | None,
        typer.Option(help="Build the graphs from the weights, or through tf2onnx."),
    ] = None,
    block: Annotated[
        int | None, typer.Option(help="Also write a loop of this many steps for batch 1, without control flow.")
    ] = None,
    single: Annotated[
        bool, typer.Option("--single", help="Of --to web: one HTML file, which opens without a server.")
    ] = False,
    sampler: Annotated[
        str | None,
        typer.Option(metavar="CHAIN", help="Sampler chain of the export; by default the run's own."),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="OPTION=VALUE", help="An option of the exporter; may be repeated."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            parser=out_path,
            metavar="PATH",
            help="Folder to write, or file with --single; by default in the run's folder, named after the exporter.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Export a run to files that do not need TensorFlow, and compare them with the run.

    The folder of the export is printed on stdout; everything else on stderr.
    """
    from textgen.api import export as export_run
    from textgen.base.console import folded, say
    from textgen.errors import OptionError
    from textgen.files.writing import quoted
    from textgen.options import parse_options
    from textgen.plugins.registry import plugins

    name = to or ("onnx" if onnx else None)
    if name is None or (onnx and to not in (None, "onnx")):
        raise OptionError("choose one exporter: --onnx, or --to NAME")
    chosen = {"precision": precision, "via": via, "block": block, "single": single or None}
    flags = {option: value for option, value in chosen.items() if value is not None}
    options = parse_options(assignments or [])
    if twice := sorted(flags.keys() & options.keys()):
        raise OptionError(f"--{twice[0]} and --set {twice[0]}=… are the same option; give one of them")
    report = export_run(run, to=name, out=out, sampler=sampler, options=options | flags, notice=say)
    if as_json:
        print_json({"folder": str(report.folder), "files": report.files, "parity": report.parity})
        return
    for figure, value in report.parity.items():
        say(f"{figure.replace('_', ' ')}: {value:.4g}")
    say(folded(f"{report.folder}: {', '.join(report.files)}", 4, messages()))
    if any(item.name == name for item in plugins().provided("runtime")):
        say(f"write text with: textgen sample {quoted(report.folder)} --runtime {name}")
    written = report.folder / report.files[0] if single else report.folder
    if single:
        say(f"open it in a browser: {quoted(written)}")
    print_result(written)
