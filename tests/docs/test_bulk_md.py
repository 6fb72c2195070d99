"""docs/bulk.md, run as it is: its files are written, its commands and its program run."""

import csv
import inspect
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import textgen
from tests.docs.blocks import blocks, variables
from textgen.bulk import distinct, write
from textgen.bulk.batch_file import Body
from textgen_local import engine

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "bulk.md").read_text(encoding="utf-8")
RUN = Path(__file__).parents[1] / "recorded" / "gru-names"


BLOCKS = blocks(PAGE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder in which all blocks of the page were run, in order."""
    folder = tmp_path_factory.mktemp("bulk")
    shutil.copytree(RUN, folder / "runs" / "dinos")
    environment = variables(folder)
    for block in BLOCKS:
        if block.file:
            (folder / block.file).write_text(block.content, encoding="utf-8")
            continue
        for command in block.content.splitlines() if block.language == "sh" else ():
            if ".parquet" in command:
                pytest.importorskip("pyarrow")
            shell = ["sh", "-ec", command]
            done = subprocess.run(shell, cwd=folder, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{command}\n{done.stderr}"
        if block.language == "python":
            program = [sys.executable, "-c", block.content]
            done = subprocess.run(program, cwd=folder, env=environment, capture_output=True, text=True, check=True)
            assert re.fullmatch(r"1000 texts of \d{4} drawn\n", done.stdout)
    return folder


def sampled(**options):
    generator = textgen.load(RUN)
    return generator.sample(generator.request(**{"seed": 7, **options}))


@pytest.mark.slow
def test_the_commands_write_what_the_page_says(folder):
    names = [json.loads(line) for line in (folder / "names.jsonl").read_text().splitlines()]
    assert [name["text"] for name in names] == [each.text for each in sampled(num=1000)]
    assert sorted(path.name for path in (folder / "names.parquet").iterdir()) == [
        "job.json",
        *(f"part-0000{number}.parquet" for number in range(3)),
    ]
    with (folder / "new.csv").open(newline="") as file:
        new = [record["text"] for record in csv.DictReader(file)]
    assert len(set(new)) == len(new) == 500
    assert all(re.fullmatch("[A-Z][a-z]{0,11}", name) for name in new)
    with (folder / "continued.csv").open(newline="") as file:
        assert [(record["id"], record["prompt"]) for record in csv.DictReader(file)] == [
            ("t1", "Ty"), ("t1", "Ty"), ("t2", "Bra"), ("t2", "Bra"),
        ]  # fmt: skip
    answers = [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]
    assert [(answer["custom_id"], answer["response"]["status_code"]) for answer in answers] == [
        ("first", 200),
        ("second", 200),
    ]


def test_every_block_is_run():
    assert {block.language for block in BLOCKS} == {"sh", "python", "csv", "json"}
    assert len(BLOCKS) == PAGE.count("```") / 2


def test_the_numbers_on_the_page_are_those_of_the_code():
    defaults = inspect.signature(textgen.TextGenerator.write).parameters
    assert f"by default {defaults['shard_rows'].default:,} texts" in PAGE
    assert f"none of {write.PATIENCE:,} rows in a row" in PAGE
    assert f"{distinct.MEMORY // 2**10} MB of memory" in PAGE
    assert engine.DEATHS == 3
    assert "after three deaths" in PAGE


def test_the_fields_of_a_batch_are_those_of_the_code():
    (sentence,) = re.findall(r"The fields of a body are (.*?), as for", PAGE)
    assert set(re.findall(r"`(\w+)`", sentence)) == Body.model_fields.keys() - {"stream"}


def test_the_arithmetic_is_right():
    measured = [float(number) for number in re.findall(r"^\| .* \| ([\d.]+) µs \|$", PAGE, re.MULTILINE)]
    worker, writer, unique = (number * 1e-6 for number in measured)
    assert f"10⁹ × {worker * 1e6:g} µs / 1,600 | {1e9 * worker / 1600:.0f} s |" in PAGE
    assert f"10⁹ × {writer * 1e6:g} µs | {1e9 * writer / 60:.0f} min |" in PAGE
    assert f"85 GB of JSON Lines | {85e9 / 500e6 / 60:.0f} min |" in PAGE
    assert re.search(rf"10⁹ × {unique * 1e6:g} µs, .* \| {1e9 * unique / 3600:g} h \|", PAGE)
    assert f"about {worker / writer // 10 * 10:.0f} workers" in PAGE
