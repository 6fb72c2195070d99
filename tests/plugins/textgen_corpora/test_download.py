"""Missing files: downloaded completely or not at all."""

import hashlib
import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from textgen.errors import CorpusError, UnavailableError
from textgen.options import Options
from textgen.text.corpus import Source
from textgen_corpora import agnews, shakespeare
from textgen_corpora.agnews import AgNews
from textgen_corpora.shakespeare import Shakespeare

TEXT = "First Citizen:\nBefore we proceed any further, hear me speak.\n" * 5_000
CONTENT = TEXT.encode()


@pytest.fixture
def source(server, monkeypatch) -> Source:
    """Shakespeare as published by a server on this machine, at two addresses."""
    published = Source(
        "shakespeare.txt",
        (f"{server.address}/first.txt", f"{server.address}/mirror.txt"),
        hashlib.sha256(CONTENT).hexdigest(),
    )
    monkeypatch.setattr(shakespeare, "SOURCE", published)
    return published


def closed_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def read(data_dir: Path | None = None) -> str:
    (text,) = Shakespeare(Options(), data_dir).documents()
    return text


def test_a_file_is_downloaded_once(server, source, cache_dir):
    server.files["/first.txt"] = CONTENT
    assert read() == TEXT
    assert read() == TEXT
    assert server.requests == ["/first.txt"]
    assert files(cache_dir) == [cache_dir / "corpora" / "shakespeare.txt"]
    assert Shakespeare(Options()).fetch() == [cache_dir / "corpora" / "shakespeare.txt"]


def test_a_download_is_reported_on_one_line_outside_of_a_terminal(server, source, capsys):
    server.files["/first.txt"] = CONTENT
    read()
    assert capsys.readouterr() == ("", f"textgen: downloading shakespeare.txt from {source.addresses[0]}\n")


def test_a_terminal_shows_a_progress_bar(server, source, capsys, monkeypatch):
    server.files["/first.txt"] = CONTENT
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    assert read() == TEXT
    out, err = capsys.readouterr()
    assert out == ""
    assert "━" in err


@pytest.mark.parametrize("first", [None, b"something else", b""])
def test_the_mirror_is_next_if_an_address_does_not_serve_the_published_file(server, source, first):
    if first is not None:
        server.files["/first.txt"] = first
    server.files["/mirror.txt"] = CONTENT
    assert read() == TEXT
    assert server.requests == ["/first.txt", "/mirror.txt"]


def test_a_wrong_hash_leaves_nothing_behind(server, source, cache_dir):
    server.files = {"/first.txt": b"something else", "/mirror.txt": b"something else"}
    with pytest.raises(UnavailableError, match="not the published content"):
        read()
    assert files(cache_dir) == []


def test_an_interrupted_transfer_leaves_nothing_and_can_be_repeated(server, source, cache_dir):
    server.files = {"/first.txt": CONTENT, "/mirror.txt": CONTENT}
    server.broken = {"/first.txt", "/mirror.txt"}
    with pytest.raises(UnavailableError, match=r"the transfer was interrupted.*the transfer was interrupted"):
        read()
    assert files(cache_dir) == []
    server.broken.clear()
    assert read() == TEXT


def test_without_a_network_one_line_says_which_file_to_save_where(source, cache_dir, monkeypatch):
    address = f"{closed_port()}/shakespeare.txt"
    monkeypatch.setattr(shakespeare, "SOURCE", replace(source, addresses=(address,)))
    with pytest.raises(UnavailableError) as caught:
        read()
    message = str(caught.value)
    assert "\n" not in message
    assert f"{address} (no connection)" in message
    assert str(cache_dir / "corpora" / "shakespeare.txt") in message
    assert "TEXTGEN_DATA_DIR" in message
    assert files(cache_dir) == []


def test_a_cache_folder_that_cannot_be_written_is_named(server, source, tmp_path, monkeypatch):
    server.files["/first.txt"] = CONTENT
    (tmp_path / "occupied").write_text("a file, not a folder")
    monkeypatch.setenv("TEXTGEN_CACHE_DIR", str(tmp_path / "occupied"))
    with pytest.raises(UnavailableError, match=r"occupied.*cannot be written.*TEXTGEN_CACHE_DIR"):
        read()


def test_a_data_folder_without_the_file_leaves_it_to_the_cache(server, source, tmp_path, cache_dir):
    server.files["/first.txt"] = CONTENT
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    assert read(data_dir) == TEXT
    assert files(data_dir) == []
    assert files(cache_dir) == [cache_dir / "corpora" / "shakespeare.txt"]


@pytest.mark.parametrize("place", ["data", "cache/corpora"])
def test_a_users_own_version_is_used_with_one_notice(server, source, tmp_path, capsys, place):
    own = tmp_path / place / "shakespeare.txt"
    own.parent.mkdir(parents=True)
    own.write_text("To be, or not to be")
    assert read(tmp_path / "data") == "To be, or not to be"
    assert read(tmp_path / "data") == "To be, or not to be"
    assert server.requests == []
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{own} differs from the published shakespeare.txt" in line


def test_the_data_folder_comes_before_the_cache(source, tmp_path, cache_dir):
    for folder, text in [(tmp_path / "data", "from the data folder"), (cache_dir / "corpora", "from the cache")]:
        folder.mkdir(parents=True)
        (folder / "shakespeare.txt").write_text(text)
    assert read(tmp_path / "data") == "from the data folder"
    assert read() == "from the cache"


class TestAgNewsAuto:
    TRAIN = b'"1","a train title","its description"\n'
    TEST = b'"1","a test title","its description"\n'

    @pytest.fixture(autouse=True)
    def published(self, server, monkeypatch):
        for name, content in [("TRAIN", self.TRAIN), ("TEST", self.TEST)]:
            split = name.lower()
            sha256 = hashlib.sha256(content).hexdigest()
            monkeypatch.setattr(agnews, name, Source(f"agnews/{split}.csv", (f"{server.address}/{split}.csv",), sha256))

    @pytest.fixture
    def only_test(self, tmp_path: Path) -> Path:
        path = tmp_path / "data" / "agnews" / "test.csv"
        path.parent.mkdir(parents=True)
        path.write_bytes(self.TEST)
        return path

    def corpus(self, tmp_path, **options) -> AgNews:
        return AgNews(AgNews.Options(**options), tmp_path / "data")

    def test_it_downloads_train(self, server, only_test, tmp_path, cache_dir):
        server.files["/train.csv"] = self.TRAIN
        corpus = self.corpus(tmp_path)
        assert list(corpus.documents()) == ["a train title"]
        assert corpus.fetch() == [cache_dir / "corpora" / "agnews" / "train.csv"]
        assert [source.file for source in corpus.provenance().sources] == ["agnews/train.csv"]

    def test_it_falls_back_to_test_at_hand_with_a_notice(self, server, only_test, tmp_path, capsys):
        corpus = self.corpus(tmp_path)
        assert list(corpus.documents()) == ["a test title"]
        assert list(corpus.documents()) == ["a test title"]
        assert corpus.fetch() == [only_test]
        assert [source.file for source in corpus.provenance().sources] == ["agnews/test.csv"]
        assert server.requests == ["/train.csv"]
        assert "using the test split" in capsys.readouterr().err.splitlines()[-1]

    def test_it_fails_if_neither_is_available(self, tmp_path):
        with pytest.raises(UnavailableError, match=r"agnews/train\.csv"):
            self.corpus(tmp_path).fetch()

    def test_a_requested_split_is_not_replaced(self, only_test, tmp_path):
        with pytest.raises(UnavailableError, match=r"agnews/train\.csv"):
            self.corpus(tmp_path, split="train").documents()

    def test_a_row_that_is_too_short_is_named(self, only_test, tmp_path):
        only_test.write_bytes(self.TEST + b'"1","no description"\n')
        with pytest.raises(CorpusError, match="line 2 has 2 columns"):
            list(self.corpus(tmp_path, split="test").documents())
