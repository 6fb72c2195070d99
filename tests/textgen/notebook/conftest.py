"""Notebooks, run by a real kernel."""

import asyncio
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

#: The first cell: the model that counts, a text of random letters, and training on it.
FIRST = """
import contextlib, random, time
import textgen
from textgen.testing import counting, registered

class Slow:
    # A batch takes a while, so that there is time to interrupt it.
    seconds = 0

    @textgen.hookimpl
    def textgen_batch_ended(self, position):
        time.sleep(Slow.seconds)

plugins = contextlib.ExitStack()
plugins.enter_context(registered(counting))
plugins.enter_context(registered(Slow(), name="slow"))
letters = random.Random(5)
stream = "".join(letters.choices("abcde", k=21_000))
names = ["".join(letters.choices("abcd", k=letters.randint(3, 9))) for _ in range(300)]

def train(epochs=2, display="auto", **named):
    training = {"batch_size": 8, "length": 10, "layout": "windows", "epochs": epochs}
    return textgen.train(text=stream, model="counting", settings={"training": training}, display=display, **named)
"""


class Notebook:
    """A notebook and its kernel: cells are run one by one, as a reader does.

    Args:
        folder: in which it runs.

    Attributes:
        messages: every message of an output, in the order in which they came.
        on_message: is called with each.
    """

    def __init__(self, folder: Path) -> None:
        import nbformat.v4
        from nbclient import NotebookClient

        book = self

        class Client(NotebookClient):  # type: ignore[misc]
            def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
                book.messages.append(msg)
                book.on_message(msg)
                return super().process_message(msg, cell, cell_index)

        self.messages: list[dict[str, Any]] = []
        self.on_message: Callable[[dict[str, Any]], None] = lambda message: None
        self.content = nbformat.v4.new_notebook()
        self._new_cell = nbformat.v4.new_code_cell
        self.client = Client(self.content, timeout=60, resources={"metadata": {"path": str(folder)}})

    def run(self, source: str) -> list[Any]:
        """Run a new cell; returns its outputs, an error among them if it raises."""
        self.messages.clear()
        self.content.cells.append(cell := self._new_cell(source))
        self.client.execute_cell(cell, len(self.content.cells) - 1)
        return list(cell.outputs)

    def interrupt(self) -> None:
        """Press the stop button: Jupyter sends SIGINT."""
        task: asyncio.Future[None] = asyncio.ensure_future(self.client.km.interrupt_kernel())
        task.add_done_callback(lambda done: done.result())


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notebook]:
    """A notebook in a folder of its own; it takes two seconds to start."""
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    folder = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as process:
        process.setenv("TEXTGEN_CACHE_DIR", str(folder / "cache"))
        process.setenv("IPYTHONDIR", str(folder / "ipython"))
        notebook = Notebook(folder)
        with notebook.client.setup_kernel():
            assert notebook.run(FIRST) == []
            yield notebook
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def notebook(kernel: Notebook) -> Iterator[Notebook]:
    """The notebook; a test may wait for its messages, and see errors among its outputs."""
    kernel.client.allow_errors = True
    yield kernel
    kernel.on_message = lambda message: None
