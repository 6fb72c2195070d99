"""The published corpora, as they are on disk, and the embedded one."""

import csv
import re

import pytest

from textgen.base.files import sha256
from textgen.options import Options
from textgen_corpora import agnews, dinos, shakespeare
from textgen_corpora.agnews import AgNews
from textgen_corpora.dinos import Dinos, DinosLite
from textgen_corpora.shakespeare import Shakespeare


def test_shakespeare_is_one_text(data_dir):
    corpus = Shakespeare(Options(), data_dir)
    (text,) = corpus.documents()
    assert corpus.layout == "stream"
    assert (len(text), len(set(text))) == (1_115_394, 65)


def test_dinos_are_names_without_line_ends(data_dir):
    corpus = Dinos(Options(), data_dir)
    names = list(corpus.documents())
    assert corpus.layout == "documents"
    assert len(names) == 1_543
    assert len(set("\n".join(names))) == 53
    assert "\n".join(names) == (data_dir / "dinos.txt").read_text()


def test_agnews_titles_of_the_test_split(data_dir):
    titles = list(AgNews(AgNews.Options(split="test"), data_dir).documents())
    assert (len(titles), len(set("".join(titles))), max(map(len, titles))) == (7_600, 81, 96)


def test_agnews_fields_are_exactly_those_of_the_file(data_dir):
    with (data_dir / "agnews" / "test.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    texts = {
        field: list(AgNews(AgNews.Options(split="test", field=field), data_dir).documents())
        for field in ("title", "description", "both")
    }
    assert texts["title"] == [title for _, title, _ in rows]
    assert texts["description"] == [description for _, _, description in rows]
    for both, (_, title, description) in zip(texts["both"], rows, strict=True):
        separator = both.removeprefix(title.rstrip()).removesuffix(description)
        assert separator == (" " if title.rstrip()[-1] in ".?!" else ". ")


@pytest.mark.parametrize(
    "source", [shakespeare.SOURCE, dinos.SOURCE, agnews.TRAIN, agnews.TEST], ids=lambda source: source.file
)
def test_addresses_and_hashes_are_those_of_the_data_folders_table(data_dir, source):
    table = (data_dir / "README.md").read_text(encoding="utf-8").splitlines()
    (row,) = [line for line in table if line.startswith(f"| `{source.file}` |")]
    quoted = re.findall(r"`([^`]+)`", row)
    assert tuple(text for text in quoted if text.startswith("https://")) == source.addresses
    assert source.sha256 in quoted


@pytest.mark.parametrize("source", [shakespeare.SOURCE, dinos.SOURCE, agnews.TEST], ids=lambda source: source.file)
def test_the_files_at_hand_are_the_published_ones(data_dir, source):
    assert sha256(data_dir / source.file) == source.sha256


def test_dinos_lite_is_a_sorted_list_of_genus_names():
    corpus = DinosLite(Options())
    names = list(corpus.documents())
    assert corpus.layout == "documents"
    assert len(names) >= 600
    assert names == sorted(set(names))
    assert [name for name in names if not re.fullmatch("[A-Z][a-z]+", name)] == []
    assert {"Iguanodon", "Megalosaurus", "Stegosaurus", "Tyrannosaurus", "Yi"} <= set(names)


def test_dinos_lite_reads_no_files():
    corpus = DinosLite(Options())
    assert corpus.fetch() == []
    assert corpus.provenance().sources == ()
