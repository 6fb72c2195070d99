"""The corpus ``shakespeare``."""

from __future__ import annotations

from collections.abc import Iterator

from textgen import Layout, Source
from textgen_corpora.published import PublishedCorpus
from textgen_corpora.reading import not_all_blank, read_pieces

SOURCE = Source(
    file="shakespeare.txt",
    addresses=(
        "https://storage.googleapis.com/download.tensorflow.org/data/shakespeare.txt",
        "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
    ),
    sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
)


class Shakespeare(PublishedCorpus):
    """Tiny Shakespeare: 1,115,394 characters from the plays, 65 of them distinct, as one text."""

    licence = "public domain"
    homepage = "https://github.com/karpathy/char-rnn"

    @property
    def sources(self) -> tuple[Source, ...]:
        return (SOURCE,)

    @property
    def layout(self) -> Layout:
        return "stream"

    def documents(self) -> Iterator[str]:
        (path,) = self.fetch()
        return not_all_blank(path, read_pieces(path))
