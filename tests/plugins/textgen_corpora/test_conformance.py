"""The bundled corpora in the public suite."""

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


class TestLines(CorpusSuite):
    name = "file"
    options = {"path": __file__, "layout": "lines"}
