"""The published corpora, as they are on disk, and the embedded one."""

import csv
import re

import pytest

from textgen.errors import CorpusError
from textgen.files.writing import sha256
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


def test_agnews_classes_are_those_of_its_list(data_dir):
    names = (data_dir / "agnews" / "classes.txt").read_text().split()
    corpus = AgNews(AgNews.Options(split="test", label="class"), data_dir)
    with (data_dir / "agnews" / "test.csv").open(encoding="utf-8", newline="") as file:
        expected = [(names[int(label) - 1], title) for label, title, _ in csv.reader(file)]
    assert corpus.is_labelled
    assert list(corpus.labelled_documents()) == expected
    assert list(corpus.documents()) == [title for _, title in expected]
    assert not AgNews(AgNews.Options(split="test"), data_dir).is_labelled


def test_agnews_entities_and_backslashes_by_option(data_dir):
    def read(**options):
        return list(AgNews(AgNews.Options(split="test", field="description", **options), data_dir).documents())

    plain, clean = read(), read(unescape_html=True, backslash_breaks=True)
    assert len(plain) == len(clean)
    assert "competing for the  #36;10 million Ansari X Prize, a contest for\\privately" in plain[1]
    assert "competing for the $10 million Ansari X Prize, a contest for privately" in clean[1]
    assert [text for text in clean if re.search(r"&(lt|gt|quot|amp);|#\d+;| (lt|gt|quot|amp);|\\", text)] == []
    assert not re.search(r"\\", "".join(read(backslash_breaks=True)))


def test_agnews_as_kaggle_has_it(tmp_path):
    (tmp_path / "agnews").mkdir()
    rows = '"Class Index","Title","Description"\n"3","A title","Its\\description"\n"4","Another","One"\n'
    (tmp_path / "agnews" / "test.csv").write_text(rows)
    corpus = AgNews(AgNews.Options(split="test", label="class", field="both", backslash_breaks=True), tmp_path)
    assert list(corpus.labelled_documents()) == [("Business", "A title. Its description"), ("Sci/Tech", "Another. One")]
    (tmp_path / "agnews" / "test.csv").write_text('"3","A title","One"\n"5","Another","Two"\n')
    with pytest.raises(CorpusError, match="line 2 has the class '5', which is not a number from 1 to 4"):
        list(AgNews(AgNews.Options(split="test", label="class"), tmp_path).documents())


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
