"""The page of a run for a notebook: the file that ``textgen export --to web --single`` writes, in a frame."""

from __future__ import annotations

from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

from textgen.base import html
from textgen.exporting.source import export_run
from textgen.saved_run import SavedRun

#: Pixels: the height of the frame. The height of what it is in may depend on it, as in Colab.
HEIGHT = 640

#: What a page in a frame may do: run its scripts, apart from the notebook, and have its form handled by them. Its own
#: policy forbids the network.
ALLOWED = "allow-scripts allow-forms"


class Page:
    """The page of a run, which writes in any browser; a notebook shows it.

    Args:
        name: of the run.
        content: the page, a whole document.

    Attributes:
        html: the page, a whole document; it can be saved as a file of its own.
    """

    def __init__(self, name: str, content: str) -> None:
        self._name = name
        self.html = content

    @classmethod
    def of(cls, run: SavedRun, precision: str, sampler: str | None) -> Page:
        """The page of a run; arguments and errors as those of the exporter ``web``."""
        with TemporaryDirectory(prefix="textgen-") as folder:
            file = Path(folder) / "page.html"
            options = {"single": True, "precision": precision}
            export_run(run, "web", options, file, sampler=sampler, reads_corpus=False, notice=lambda line: None)
            return cls(run.artifact.path.absolute().name, file.read_text(encoding="utf-8"))

    @property
    def _size(self) -> str:
        return f"{len(self.html.encode()) / 1e6:,.1f} MB"

    def __repr__(self) -> str:
        return f"<the page of {self._name}, {self._size}: a notebook shows it, a browser opens its .html as a file>"

    def _repr_html_(self) -> str:
        style = f"width: 100%; height: {HEIGHT}px; border: 1px solid #8888; box-sizing: border-box"
        frame = f'<iframe sandbox="{ALLOWED}" style="{style}" title="textgen" srcdoc="{escape(self.html)}"></iframe>'
        return f"{frame}<div><small>{html.escaped(self._name)}: {self._size} in this notebook</small></div>"
