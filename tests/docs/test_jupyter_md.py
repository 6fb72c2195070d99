"""The cells of docs/jupyter.md, run one after the other by a real kernel."""

from pathlib import Path

import pytest

from tests.docs.blocks import blocks

ROOT = Path(__file__).parents[2]


def test_every_cell_runs_and_the_outputs_are_small(tmp_path, monkeypatch):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    page = blocks((ROOT / "docs" / "jupyter.md").read_text(encoding="utf-8"))
    cells = [nbformat.v4.new_code_cell(block.content) for block in page if block.language == "python"]
    book = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(book, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [cell.outputs for cell in book.cells]
    assert [len(outputs) for outputs in shown] == [1, 2, 1, 1]
    assert all("text/html" in outputs[-1]["data"] for outputs in shown)
    assert shown[1][0].text.startswith("Aardonyx\nAbelisaurus\n")
    assert len(nbformat.writes(book)) < 100_000
