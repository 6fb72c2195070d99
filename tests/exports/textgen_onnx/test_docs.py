"""The script of docs/onnx.md writes the same text as ``textgen sample``."""

import re
import runpy
import sys
from pathlib import Path

import onnx
import pytest

PAGE = (Path(__file__).parents[3] / "docs" / "onnx.md").read_text(encoding="utf-8")

LONG = "repetition-penalty(1.3) | temperature(0.9) | top-k(20) | top-p(0.95) | min-p(0.01) | multinomial"


@pytest.fixture(scope="module")
def script(tmp_path_factory) -> Path:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    imports = {line.split()[1] for line in code.splitlines() if line.startswith(("import ", "from "))}
    assert imports == {"json", "re", "sys", "pathlib", "numpy", "onnxruntime"}
    path: Path = tmp_path_factory.mktemp("script") / "write.py"
    path.write_text(code, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("prompt", "options"),
    [
        ("The", {}),
        ("T", {"cell": "lstm", "layers": 2, "tokenizer": "char-eos"}),
        ("jumps over", {"cell": "lstm", "tokenizer": "string-lookup", "sampler": LONG}),
        ("the lazy", {"tokenizer": "char-eos", "sampler": "greedy"}),
        ("", {"tokenizer": "char-eos"}),
        ("", {"tokenizer": "char-index"}),
        ("the lazy dog", {"tokenizer": "words"}),
        ("", {"tokenizer": "words", "cell": "lstm"}),
        ("jumps", {"tokenizer": "byte-bpe", "sampler": LONG}),
        ("", {"tokenizer": "byte-bpe"}),
        ("The", {"contexts": 60}),
        ("", {"cell": "lstm", "tokenizer": "char-eos", "sampler": LONG, "contexts": 60}),
    ],
)
@pytest.mark.parametrize("seed", [7, 2**64 - 1])
def test_the_script_writes_the_text_of_textgen_sample(
    exported, textgen, script, monkeypatch, capfd, prompt, options, seed
):
    folder = exported(**options).run.path / "onnx"
    arguments = ("--prompt", prompt, "--length", 150, "--seed", seed)
    expected = textgen("sample", folder, "--runtime", "onnx", *arguments).out
    monkeypatch.setattr(sys, "argv", [str(script), str(folder), prompt, "150", str(seed)])
    runpy.run_path(str(script), run_name="__main__")
    sys.stdout.flush()
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == (expected, "")
    assert len(expected) > len(prompt) + 1


@pytest.mark.parametrize("name", ["step.onnx", "generate.onnx"])
def test_the_tables_name_every_input_and_output(exported, name):
    folder = exported("lstm", layers=2, sampler=LONG, contexts=60).run.path / "onnx"
    section = PAGE.split(f"\n`{name}`:\n")[1].split("\n`")[0]
    kinds = {name: onnx.TensorProto.DataType.Value(name.upper()) for name in ("int64", "int32", "bool")}
    kinds["float32"] = onnx.TensorProto.FLOAT
    tables = [
        dict(re.findall(r"^\| (`.*?`) \| (\w+) \|", table, re.MULTILINE))
        for table in re.split(r"\| output \|", section)
    ]
    graph = onnx.load(folder / name).graph
    for table, values in zip(tables, (graph.input, graph.output), strict=True):
        documented = {each: kind for names, kind in table.items() for each in re.findall(r"`(.*?)`", names)}
        used = set()
        for value in values:
            generic = re.sub(r"\.\d\.", ".i.", value.name)
            generic = re.sub(r"^\d\..*", "POSITION.SAMPLER.PARAMETER", generic)
            assert value.type.tensor_type.elem_type == kinds[documented[generic]], value.name
            used.add(generic)
        assert used == set(documented)
