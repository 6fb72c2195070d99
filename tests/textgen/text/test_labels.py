"""Labels as ids: encoding, decoding, counting."""

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import textgen
from textgen import Corpus, Layout, Provenance
from textgen.errors import ArtifactError, CorpusError, OptionError, PluginError
from textgen.plugins.registry import plugins
from textgen.runs.artifact import Artifact
from textgen.saved_run import SavedRun
from textgen.testing import recurrent, registered, tiny
from textgen.text import encoding
from textgen.text.encoding import encode_corpus, fit_corpus, read_documents, read_labelled
from textgen.text.growth import grow_for, new_tokens
from textgen.text.labels import LabelledTokenizer, label_id, label_of, labels_of

every_tokenizer = pytest.mark.parametrize("name", ["char-index", "char-eos", "string-lookup"])

documents = st.lists(
    st.tuples(st.sampled_from(["sea", "land", "air", ""]), st.text("abc é🦖", min_size=1, max_size=12)),
    min_size=1,
    max_size=30,
)


class Pairs(Corpus):
    """A corpus of given labels and texts."""

    layout: Layout = "documents"
    is_labelled = True
    pairs: list[tuple[str, str]]

    def documents(self):
        return (text for _, text in self.pairs)

    def labelled_documents(self):
        yield from self.pairs

    def provenance(self):
        return Provenance((), "CC0-1.0")


def corpus(pairs: list[tuple[str, str]]) -> Pairs:
    made = Pairs(Pairs.Options())
    made.pairs = pairs
    return made


@given(pairs=documents)
def test_dropped_duplicates_repeat_the_text_and_the_label_of_an_earlier_document(pairs):
    labelled, unlabelled, stream = (corpus([*pairs, ("sea", ""), *pairs]) for _ in range(3))
    unlabelled.is_labelled = stream.is_labelled = False
    stream.layout = "stream"
    for each in (labelled, unlabelled, stream):
        each.drops_duplicates = True
    for _ in range(2):
        assert [*read_labelled(labelled, "pairs")] == [*dict.fromkeys(pairs)]
        assert [*read_documents(labelled, "pairs")] == [text for _, text in dict.fromkeys(pairs)]
        assert [*read_documents(unlabelled, "pairs")] == [*dict.fromkeys(text for _, text in pairs)]
        assert [*read_documents(stream, "pairs")] == 2 * [text for _, text in pairs]


@every_tokenizer
@given(pairs=documents, piece=st.sampled_from([1, 7, 1 << 20]))
def test_each_document_begins_with_the_id_of_its_label(name, pairs, piece):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "PIECE", piece)
        tokenizer = fit_corpus(corpus(pairs), "pairs", plugins().make("tokenizer", {"name": name}))
        text = encode_corpus(corpus(pairs), "pairs", tokenizer)
    labels = sorted({label for label, _ in pairs})
    alone = plugins().make("tokenizer", {"name": name})
    alone.fit(text if alone.has_eos else text + "\n" for _, text in pairs)
    assert labels_of(tokenizer) == tuple(labels)
    assert tokenizer.vocab_size == alone.vocab_size + len(labels)
    for ids, (label, words) in zip(np.split(text.ids, text.offsets[1:-1]), pairs, strict=True):
        assert ids[0] == alone.vocab_size + labels.index(label) == label_id(tokenizer, label)
        assert label_of(tokenizer, ids.tolist()) == label
        assert tokenizer.decode(ids) == alone.decode(ids[1:]) == words + "\n"
        assert tokenizer.characters_per_id[ids].sum() == alone.characters_per_id[ids[1:]].sum()


def labelled(*labels: str) -> LabelledTokenizer:
    base = plugins().make("tokenizer", {"name": "char-eos"})
    base.fit(["abc"])
    return LabelledTokenizer(base, labels)


def test_a_labelled_tokenizer_is_its_base_but_for_the_labels():
    tokenizer = labelled("x", "y")
    base = tokenizer.base
    assert tokenizer.forbidden_ids == (*base.forbidden_ids, 5, 6)
    assert (tokenizer.pad_id, tokenizer.unk_id, tokenizer.eos_id, tokenizer.has_eos) == (0, 0, 4, True)
    assert tokenizer.encode("cab").tolist() == base.encode("cab").tolist()
    assert [part.tolist() for part in tokenizer.encode_batch(["ca", "b"])] == [[3, 1, 2], [2, 1]]
    assert tokenizer.to_json() == base.to_json()
    assert tokenizer.characters_per_id.tolist() == [*base.characters_per_id, 0, 0]
    decoder = tokenizer.decoder()
    assert [decoder.feed(ids) for ids in ([5], [1, 6, 2], np.array([3]))] == ["", "ab", "c"]
    assert decoder.flush() == ""


class Growing(textgen.Tokenizer):
    """Single characters in the order in which they were met; it can grow."""

    def __init__(self) -> None:
        super().__init__(self.Options())
        self.characters = ""

    def fit(self, texts):
        self.grow(texts)

    def encode(self, text, on_unknown=None):
        return np.array([self.characters.index(character) for character in text], np.int32)

    def decode(self, ids):
        return "".join(self.characters[i] for i in ids)

    def grow(self, texts):
        before = self.vocab_size
        self.characters += "".join(dict.fromkeys(c for text in texts for c in text if c not in self.characters))
        ids = np.arange(self.vocab_size, dtype=np.int32)
        return np.where(ids < before, ids, -1).astype(np.int32)

    @property
    def vocab_size(self):
        return len(self.characters)

    def to_json(self):
        return {"characters": self.characters}

    def load_json(self, vocabulary):
        self.characters = vocabulary["characters"]


def test_labels_keep_their_rows_when_the_vocabulary_grows():
    base = Growing()
    base.fit(["ab"])
    tokenizer = LabelledTokenizer(base, ["x", "y"])
    assert tokenizer.grow(["abcd"]).tolist() == [0, 1, -1, -1, 2, 3]
    assert [label_id(tokenizer, label) for label in "xy"] == [4, 5]


def test_new_labels_follow_the_old_ones_which_keep_their_ids():
    base = Growing()
    base.fit(["ab"])
    grown, old_ids = grow_for(corpus([("z", "bc"), ("x", "a"), ("a", "b")]), "pairs", LabelledTokenizer(base, "yx"))
    assert labels_of(grown) == ("y", "x", "a", "z")
    assert old_ids.dtype == np.int32
    assert old_ids.tolist() == [0, 1, -1, -1, 2, 3, -1, -1]
    assert new_tokens(grown, old_ids) == (["c", "\n"], ["a", "z"])


def test_the_author_of_a_tokenizer_that_grows_wrongly_is_named():
    class Wrong(Growing):
        def grow(self, texts):
            return super().grow(texts)[1:]

    base = Wrong()
    base.fit(["ab"])
    with pytest.raises(PluginError, match=r"Wrong\.grow must return .* each of its 4 ids"):
        grow_for(corpus([("x", "abc")]), "pairs", LabelledTokenizer(base, "x"))


def test_a_label_that_is_not_there_is_an_error_that_says_what_is():
    with pytest.raises(OptionError, match="no label 'Sprots'; did you mean Sports"):
        label_id(labelled("Business", "Sports"), "Sprots")
    with pytest.raises(OptionError, match="no label '7'; there are: Business, Sports"):
        label_id(labelled("Business", "Sports"), "7")
    with pytest.raises(OptionError, match=r"the run has no labels; .*corpus\.label=COLUMN"):
        label_id(labelled("x").base, "x")


def test_a_new_label_of_the_corpus_is_reported():
    tokenizer = fit_corpus(corpus([("sea", "ab")]), "pairs", plugins().make("tokenizer", {"name": "char-eos"}))
    with pytest.raises(CorpusError, match="the corpus pairs has the label 'land', which the run does not know"):
        encode_corpus(corpus([("sea", "ab"), ("land", "ab")]), "pairs", tokenizer)


@pytest.mark.parametrize(
    ("pairs", "layout", "error", "message"),
    [
        ([("sea", "ab")], "stream", PluginError, "has labels, but it is a stream"),
        ([(1, "ab")], "documents", PluginError, "has the label 1, which is not a text"),
        ([("sea", "")], "documents", CorpusError, "the corpus pairs is empty"),
    ],
)
def test_a_corpus_that_breaks_the_rules_of_labels_is_refused(pairs, layout, error, message):
    broken = corpus(pairs)
    broken.layout = layout
    with pytest.raises(error, match=message):
        fit_corpus(broken, "pairs", plugins().make("tokenizer", {"name": "char-eos"}))


def test_a_labelled_corpus_that_has_lost_its_text_is_empty():
    tokenizer = fit_corpus(corpus([("sea", "ab")]), "pairs", plugins().make("tokenizer", {"name": "char-eos"}))
    for pairs in ([], [("sea", "")]):
        with pytest.raises(CorpusError, match="the corpus pairs is empty"):
            encode_corpus(corpus(pairs), "pairs", tokenizer)


@pytest.fixture
def run(work):
    """A run of ``tiny-labelled``."""
    with registered(tiny, name="tiny"), registered(recurrent, name="recurrent"):
        yield textgen.train("tiny-labelled", "fixed-gru", settings={"training": {"epochs": 1}}, out=work.folder / "run")


def test_a_run_holds_its_labels_beside_the_vocabulary_of_its_text(run):
    manifest = Artifact.open(run.artifact.path).manifest
    words = Counter(label for label, _ in run.run.corpus().labelled_documents())
    assert manifest.labels == ["long", "medium", "short"]
    vocabulary = json.loads((run.artifact.path / "tokenizer.json").read_text())
    assert "long" not in json.dumps(vocabulary)
    base = manifest.vocab_size - 3
    assert manifest.first_ids == {base + number: words[label] for number, label in enumerate(manifest.labels)}
    assert labels_of(SavedRun.open(run.artifact.path).tokenizer()) == ("long", "medium", "short")


def test_a_run_whose_labels_were_altered_does_not_open(run):
    manifest = run.artifact.path / "textgen.json"
    manifest.write_text(manifest.read_text().replace('"medium",', ""))  # a label, but none of the ids
    with pytest.raises(ArtifactError, match="the tokenizer has"):
        SavedRun.open(run.artifact.path).tokenizer()
