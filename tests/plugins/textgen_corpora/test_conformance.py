"""The bundled corpora in the public suite."""

from pathlib import Path

import pytest

from textgen.testing.suites import CorpusSuite


class PublishedSuite(CorpusSuite):
    """A corpus with files in the folder of the real corpora."""

    @pytest.fixture(autouse=True)
    def at_hand(self, data_dir, monkeypatch):
        monkeypatch.setattr(type(self), "data_dir", data_dir)


class TestShakespeare(PublishedSuite):
    name = "shakespeare"


class TestDinos(PublishedSuite):
    name = "dinos"


class TestAgNews(PublishedSuite):
    name = "agnews"
    options = {"split": "test"}


class TestDinosLite(CorpusSuite):
    name = "dinos-lite"


class TestStream(CorpusSuite):
    name = "file"
    options = {"path": __file__}


class TestAgNewsByClass(PublishedSuite):
    name = "agnews"
    options = {
        "split": "test",
        "label": "class",
        "field": "both",
        "unescape_html": True,
        "backslash_breaks": True,
    }


class TestParagraphs(CorpusSuite):
    name = "file"
    options = {"path": __file__, "layout": "paragraphs", "normalize": "nfc", "label": "filename"}


class TestFolder(CorpusSuite):
    name = "file"
    options = {"path": str(Path(__file__).parent), "normalize": "nfc", "unescape_html": True}


class TestFilesByFolder(CorpusSuite):
    name = "file"
    options = {"path": [__file__, str(Path(__file__).parent / "*.py")], "layout": "files", "label": "folder"}


class TestTable(CorpusSuite):
    """A table with a bad row, in the encoding and with the delimiter of a spreadsheet."""

    name = "file"

    @pytest.fixture(autouse=True)
    def table(self, tmp_path, monkeypatch):
        path = tmp_path / "titles.csv"
        path.write_bytes("Class;Title\r\nA;Größe\r\nB;e\u0301t\u00e9\r\nC\r\n".encode("utf-16"))
        options = {"column": "Title", "label": "Class", "on_bad_row": "skip", "normalize": "nfc"}
        monkeypatch.setattr(type(self), "options", {"path": str(path), **options})


class TestLines(CorpusSuite):
    name = "file"
    options = {"path": __file__, "layout": "lines"}
