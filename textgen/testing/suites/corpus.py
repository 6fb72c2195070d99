"""The requirements for a corpus."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import ClassVar

from textgen import Corpus, Provenance
from textgen.plugins.registry import plugins
from textgen.testing.suites.plugin import OptionsSuite


class CorpusSuite(OptionsSuite):
    """Cases for a :class:`textgen.Corpus`.

    Example:
        >>> class TestTrees(CorpusSuite):
        ...     name = "trees"

    Attributes:
        data_dir: a folder with the files of the corpus, if it would download them otherwise.
    """

    kind = "corpus"
    interface = Corpus

    data_dir: ClassVar[Path | None] = None

    def corpus(self) -> Corpus:
        """The corpus under test."""
        return plugins().make("corpus", {"name": self.name, **self.options}, self.data_dir)

    def light_use(self) -> str:
        return f"from textgen.plugins import plugins\nplugins().get('corpus', {self.name!r})"

    def test_documents_are_texts_of_its_layout(self) -> None:
        corpus = self.corpus()
        assert corpus.layout in ("stream", "documents")
        count = 0
        for text in corpus.documents():
            assert isinstance(text, str)
            assert text, "a document is not empty"
            text.encode("utf-8")  # a lone surrogate cannot be written to a file
            count += 1
        assert count > 0

    def test_each_reading_gives_the_same_text(self) -> None:
        corpus = self.corpus()
        first = list(corpus.documents())
        assert list(corpus.documents()) == first
        assert list(self.corpus().documents()) == first

    def test_settled_options_find_the_same_text(self) -> None:
        corpus = self.corpus()
        text = list(corpus.documents())
        settled = json.loads(json.dumps(corpus.settled_options.model_dump(mode="json")))
        again = plugins().make("corpus", {"name": self.name, **settled}, self.data_dir)
        assert list(again.documents()) == text
        assert again.is_labelled == corpus.is_labelled
        if corpus.is_labelled:
            assert list(again.labelled_documents()) == list(corpus.labelled_documents())

    def test_labels_belong_to_the_documents(self) -> None:
        corpus = self.corpus()
        if not corpus.is_labelled:
            return
        assert corpus.layout == "documents", "a stream has no labels"
        labelled = list(corpus.labelled_documents())
        assert [text for _, text in labelled] == list(corpus.documents())
        assert all(isinstance(label, str) and label.strip() for label, _ in labelled)
        assert list(corpus.labelled_documents()) == labelled, "each reading gives the same labels"

    def test_texts_have_the_normal_form_that_it_states(self) -> None:
        corpus = self.corpus()
        if corpus.normalization is not None:
            text = "".join(corpus.documents()) if corpus.layout == "stream" else "\n".join(corpus.documents())
            assert unicodedata.is_normalized(corpus.normalization, text)

    def test_provenance_names_sources_and_licence(self) -> None:
        provenance = self.corpus().provenance()
        assert isinstance(provenance, Provenance)
        assert provenance.licence
        json.dumps(asdict(provenance))
        for source in provenance.sources:
            path = PurePosixPath(source.file)
            assert not path.is_absolute()
            assert ".." not in path.parts
            assert source.sha256 is None or (len(source.sha256) == 64 and int(source.sha256, 16) >= 0)

    def test_fetching_makes_its_files_present(self) -> None:
        corpus = self.corpus()
        assert all(path.is_file() for path in corpus.fetch())
        assert next(iter(corpus.documents()))
