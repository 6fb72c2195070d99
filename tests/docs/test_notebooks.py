"""docs/notebooks: lessons that run to their end, write little, and are kept without their outputs."""

import os
import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
jupyter_client = pytest.importorskip("jupyter_client")
pytest.importorskip("ipykernel")

FOLDER = Path(__file__).parents[2] / "docs" / "notebooks"
README = (FOLDER / "README.md").read_text(encoding="utf-8")
PATHS = sorted(FOLDER.glob("*.ipynb"))

#: The recipes of the programs from which people learn text generation: each has a lesson.
PROGRAMS = ("agnews-lstm", "agnews-lstm-frequency", "dinos-gru", "shakespeare-gru", "shakespeare-gru-stateful")

#: Bytes that a notebook may have after it was executed, and seconds that one cell may take.
MOST_BYTES, MOST_SECONDS = 100_000, 300

lessons = pytest.mark.parametrize("name", PROGRAMS)


def lesson(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def test_each_program_has_a_lesson_which_trains_its_recipe():
    assert sorted(path.stem for path in PATHS) == sorted(PROGRAMS)
    for name in PROGRAMS:
        code = "\n".join(cell.source for cell in lesson(name).cells if cell.cell_type == "code")
        assert f'textgen.train(recipe="{name}"' in code


@lessons
def test_a_lesson_is_kept_as_it_was_written(name):
    """Whoever saves it after a run would commit its outputs, numbers of executions and a machine's description."""
    notebook = lesson(name)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None), cell.id
        assert re.fullmatch(r"[a-z-]+", cell.id), "a cell is named after what it does"
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    kept = (FOLDER / f"{name}.ipynb").read_text(encoding="utf-8")
    assert kept == nbformat.writes(notebook, indent=1, ensure_ascii=False) + "\n"


@lessons
def test_each_cell_of_code_is_followed_by_what_to_see_in_it(name):
    cells = lesson(name).cells
    for cell, following in zip(cells, [*cells[1:], None], strict=True):
        if cell.cell_type == "code":
            assert following is not None, cell.id
            assert following.id == f"{cell.id}-seen"


def test_every_link_leads_somewhere():
    prose = [cell.source for name in PROGRAMS for cell in lesson(name).cells if cell.cell_type == "markdown"]
    for text in (README, *prose):
        for target in re.findall(r"\]\((?!https?:)([^)#]*)", text):
            assert (FOLDER / target).exists(), target
        assert "`docs/" not in text, "a page that is named without a link"


def test_the_index_lists_each_lesson():
    assert re.findall(r"^\| \[([\w-]+)\]\(\1\.ipynb\)", README, re.MULTILINE) == [
        "dinos-gru",
        "shakespeare-gru",
        "shakespeare-gru-stateful",
        "agnews-lstm",
        "agnews-lstm-frequency",
    ]


@pytest.fixture(scope="module")
def kernel(data_dir, tmp_path_factory):
    """One kernel for all lessons, since each new one would import TensorFlow: its names are removed between them."""
    folder = tmp_path_factory.mktemp("notebooks")
    manager = jupyter_client.KernelManager(client_class="jupyter_client.asynchronous.AsyncKernelClient")
    variables = {name: value for name, value in os.environ.items() if not name.startswith("TEXTGEN_")}
    manager.start_kernel(env=variables | {"TEXTGEN_DATA_DIR": str(data_dir)}, cwd=str(folder))
    yield manager
    manager.shutdown_kernel(now=True)


def test_what_downloads_a_corpus_says_nothing_of_widgets(kernel):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("import textgen_corpora.download")])
    nbclient.NotebookClient(notebook, km=kernel, timeout=MOST_SECONDS).execute()
    assert notebook.cells[0].outputs == []


def executed(notebook, kernel):
    """What each cell printed or showed as text, by the cell's name; the notebook is trained for two batches."""
    (parameters,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    parameters.source += "\nSTEPS = 2"
    if "SPLIT" in parameters.source:
        parameters.source += '\nSPLIT = "test"'
    notebook.cells.insert(0, nbformat.v4.new_code_cell("%reset -f"))
    nbclient.NotebookClient(notebook, km=kernel, timeout=MOST_SECONDS).execute()
    return {
        cell.id: "".join(
            output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.get("outputs", ())
        )
        for cell in notebook.cells
    }


@pytest.mark.keras
@pytest.mark.slow
@lessons
def test_a_lesson_runs_to_its_end(name, kernel):
    notebook = lesson(name)
    texts = executed(notebook, kernel)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert {output.output_type for output in outputs} <= {"stream", "display_data", "execute_result"}
    assert not [output.text for output in outputs if output.get("name") == "stderr"]
    assert "\r" not in "".join(texts.values())
    assert len(nbformat.writes(notebook).encode()) <= MOST_BYTES
    # What the lessons say of their last cell: a process without TensorFlow writes what the run has written.
    *written, modules = texts["elsewhere"].strip().splitlines()
    text = "\n".join(written)
    if name == "agnews-lstm":
        assert modules == "imported: ['onnxruntime']"
        assert text in texts["greedy"]
        return
    assert modules == "TensorFlow is imported: False"
    if name == "dinos-gru":
        assert f"0.7: {text}\n" in texts["generate"]
    elif name == "agnews-lstm-frequency":
        assert texts["onnx"].splitlines()[-1] == text
    else:
        text = text.partition("output present.0.h ['batch', 1024]\n")[2] or text
        assert len(text) >= 200
        assert texts["generate"].startswith(text)
    if name == "shakespeare-gru-stateful":
        assert "as if written at once: True" in texts["continue"]
