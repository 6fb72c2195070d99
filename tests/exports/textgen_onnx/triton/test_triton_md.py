"""The client of docs/triton.md writes the same text as ``textgen sample``; its tables name every tensor."""

import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from textgen import api

PAGE = (Path(__file__).parents[4] / "docs" / "triton.md").read_text(encoding="utf-8")

PENALTY = "repetition-penalty(1.3) | temperature(0.9) | top-k(20) | multinomial"

LABELLED: dict[str, Any] = {
    "text": "text,label\n" + "the sun rises,day\nthe moon sets,night\nstars,night\n" * 8,
    "corpus_options": {"format": "csv", "layout": "lines", "column": "text", "label": "label"},
    "tokenizer": "char-eos",
}


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> Path:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    path: Path = tmp_path_factory.mktemp("client") / "client.py"
    path.write_text(code, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("prompt", "length", "options", "labels"),
    [
        ("The quick brown fox\njumps over\nthe", 150, {}, []),
        ("", 1, {}, []),
        ("", 150, {"cell": "lstm", "tokenizer": "char-eos", "sampler": PENALTY, "contexts": 60}, []),
        ("ju", 150, {"tokenizer": "char-eos"}, []),
        ("sta", 40, LABELLED, []),
        ("", 40, LABELLED, ["night"]),
    ],
)
def test_the_client_writes_the_text_of_textgen_sample(
    make_run, serve, client, textgen, tmp_path, monkeypatch, capfd, prompt, length, options, labels
):
    run, seed = make_run(tmp_path / "run", **options), 2**64 - 1
    arguments = ("--prompt", prompt, "--length", length, "--seed", seed, *(f"--label={label}" for label in labels))
    expected = textgen("sample", run.path, "--runtime", "numpy", *arguments).out
    folder = api.export(run.path, to="triton").folder
    server = serve(folder)
    with server.listening() as address:
        monkeypatch.setattr(sys, "argv", [str(client), address, str(folder), prompt, str(length), str(seed), *labels])
        runpy.run_path(str(client), run_name="__main__")
    sys.stdout.flush()
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == (expected, "")
    assert server.models["textgen_sequence"].sequences == {}


def test_the_tables_name_every_tensor_of_every_model(make_run, serve, tmp_path):
    run = make_run(tmp_path / "run", cell="lstm", layers=2, sampler=PENALTY, contexts=60)
    server = serve(api.export(run.path, to="triton").folder)
    section = PAGE.split("\n## The models\n")[1].split("\n## ")[0]
    tables = [
        re.findall(r"^\| (`.*?`) \| (\w+) \| (B.*?) \| (.*?) \|", t, re.MULTILINE) for t in section.split("| output |")
    ]
    for kind in ("step", "write", "sequence"):
        config = server.models[f"textgen_{kind}"].config
        for table, tensors in zip(tables, (config.input, config.output), strict=True):
            documented = {
                name: (data_type, shape.count("×"))
                for names, data_type, shape, models in table
                if kind in models.split(", ")
                for name in re.findall(r"`(.*?)`", names)
            }
            found = {}
            for each in tensors:
                name = re.sub(r"^\d\..*", "POSITION.SAMPLER.PARAMETER", re.sub(r"\.\d\.", ".i.", each.name))
                data_type = server.models["textgen_step"].of_type(each.data_type)
                found[name] = (data_type.removeprefix("TYPE_"), len(each.dims))
            assert found == documented
