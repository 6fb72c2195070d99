"""The tables of docs/onnx.md name what the graphs have."""

import re
from pathlib import Path

import onnx
import pytest

PAGE = (Path(__file__).parents[3] / "docs" / "onnx.md").read_text(encoding="utf-8")

LONG = "repetition-penalty(1.3) | temperature(0.9) | top-k(20) | top-p(0.95) | min-p(0.01) | multinomial"


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
