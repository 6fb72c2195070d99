import json
import random
import tempfile
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from textgen.errors import CorpusError, OptionError, UnknownNameError
from textgen.text import encoding, id_store
from textgen.text.batches import Lanes, PackedDocuments, PaddedDocuments, Windows
from textgen.training.plan import make_plan
from textgen.training.settings import read_settings
from textgen.training.text import read_text

#: The number of ids of the stream in conftest's Workplace.
STREAM = 1000


def test_the_description_counts_text_batches_and_parameters(work):
    described = work.plan().describe()
    json.dumps(described)
    ids = 4 + 2  # a to d, padding, <eos>
    assert {name: value for name, value in described.items() if name != "settings"} == {
        "vocab_size": ids,
        "documents": 60,
        "duplicates": 0,
        "characters": sum(map(len, work.words)),
        "tokens": sum(map(len, work.words)) + len(work.words),
        "examples": 54,
        "steps_per_epoch": 7,
        "held_out_examples": 6,
        "epochs": 3,
        "parameters": (ids + 1) * ids * ids,
    }


def test_a_prompt_may_be_nothing_but_a_mark_that_the_text_lacks(work):
    settings = {"generation": {"prompt": "\ufeff"}}
    assert work.plan(settings).settings["generation"]["prompt"] == ""


def test_settings_are_complete_and_give_the_same_plan_again(work):
    plan = work.plan({"generation": {"stop": ["x"]}})
    assert plan.settings["model"] == {"name": "counting", "smoothing": 1.0}
    options = {"order": "sorted", "on_unknown": None, "min_count": 1, "rare": "unk"}
    assert plan.settings["tokenizer"] == {"name": "char-eos", **options}
    assert plan.settings["generation"]["length"] == 2 * max(map(len, work.words))
    assert plan.settings["training"]["patience"] is None
    again = make_plan(json.loads(json.dumps(plan.settings)), work.registry)
    assert again.settings == plan.settings
    assert again.text.sha256 == plan.text.sha256


@pytest.mark.parametrize(
    ("options", "kind", "carries"),
    [
        ({"stream": True}, Lanes, True),
        ({"stream": True, "layout": "windows"}, Windows, False),
        ({"stream": True, "layout": "windows", "carry_state": True}, Windows, True),
        ({"stream": True, "carry_state": False}, Lanes, False),
        ({}, PaddedDocuments, False),
        ({"layout": "windows"}, Windows, False),
        ({"layout": "lanes"}, Lanes, True),
    ],
)
def test_the_layout_follows_from_corpus_and_options(work, options, kind, carries):
    dataset = work.plan(**options).dataset
    assert isinstance(dataset.train, kind)
    assert isinstance(dataset.held_out, kind)
    assert dataset.carries_state is carries


def test_packed_documents_are_judged_one_per_row_each_from_the_initial_state(work):
    dataset = work.plan(layout="packed").dataset
    assert isinstance(dataset.train, PackedDocuments)
    assert isinstance(dataset.held_out, PaddedDocuments)
    assert dataset.carries_state
    assert dataset.held_out.examples == 6
    plain = work.plan(layout="documents").dataset.held_out
    for batch, alone in zip(dataset.held_out.batches(0), plain.batches(0), strict=True):
        assert batch.resets_state
        np.testing.assert_array_equal(batch.inputs, alone.inputs)


@pytest.mark.parametrize(
    ("stream", "layout"),
    [(True, "windows"), (True, "lanes"), *[(False, layout) for layout in ("documents", "packed", "windows", "lanes")]],
)
def test_a_large_corpus_gives_the_batches_of_a_small_one(work, monkeypatch, tmp_path, stream, layout):
    plain = work.plan(stream=stream, layout=layout)
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr(id_store, "LARGE", 10)
    monkeypatch.setattr(encoding, "PIECE", 99)
    large = work.plan(stream=stream, layout=layout)
    assert large.describe() == plain.describe()
    assert (large.text.sha256, large.text.boundaries) == (plain.text.sha256, plain.text.boundaries)
    for ours, theirs in ((large.dataset.train, plain.dataset.train), (large.dataset.held_out, plain.dataset.held_out)):
        for batch, expected in zip(ours.batches(1), theirs.batches(1), strict=True):
            assert batch.inputs.dtype == np.int32
            np.testing.assert_array_equal(batch.inputs, expected.inputs)
            np.testing.assert_array_equal(batch.targets, expected.targets)
            np.testing.assert_array_equal(batch.weights, expected.weights)
    assert list(folder.iterdir()) == []


def test_packed_documents_count_the_targets_that_padded_ones_count(work):
    def counted(**options):
        batches = list(work.plan(batch_size=1, held_out=0, **options).dataset.train.batches(0))
        return sorted(int(i) for batch in batches for i in batch.targets[batch.weights > 0])

    assert counted(layout="packed") == counted(layout="documents")


@pytest.mark.parametrize("share", [0.05, 0.1, 0.333, 0.5])
def test_the_tail_of_a_stream_is_held_out(work, share):
    dataset = work.plan(stream=True, layout="windows", batch_size=1, shuffle=False, held_out=share).dataset
    held = round(STREAM * share)
    text = work.stream.read_text()
    ids = {character: i for i, character in enumerate(sorted(set(text)))}
    encoded = [ids[character] for character in text]
    np.testing.assert_array_equal(dataset.train.text.ids, encoded[: STREAM - held])
    np.testing.assert_array_equal(dataset.held_out.text.ids, encoded[STREAM - held :])


@pytest.mark.parametrize(("share", "seed"), [(0.1, 0), (0.1, 1), (0.25, 0)])
def test_documents_are_held_out_by_seed(work, share, seed):
    plan = work.plan(held_out=share, seed=seed)
    train, held = (
        [plan.tokenizer.decode(ids).strip() for ids in np.split(part.text.ids, part.text.offsets[1:-1])]
        for part in (plan.dataset.train, plan.dataset.held_out)
    )
    assert len(held) == round(60 * share)
    assert sorted(train + held) == sorted(work.words)
    others = work.plan(held_out=share, seed=seed + 1).dataset.held_out.text.ids
    assert others.tolist() != plan.dataset.held_out.text.ids.tolist()


def test_a_text_that_was_read_is_not_read_again(work, registry, monkeypatch):
    settings = work.settings()
    text = read_text(settings, registry)
    work.lines.unlink()
    plan = make_plan(settings, registry, text=text, held_out=np.array([7, 3]))
    assert isinstance(plan.dataset.held_out, PaddedDocuments)
    held_out = plan.dataset.held_out.text
    documents = np.split(held_out.ids, held_out.offsets[1:-1])
    assert [plan.tokenizer.decode(ids).strip() for ids in documents] == [work.words[3], work.words[7]]


def test_nothing_is_held_out_on_request(work):
    plan = work.plan(held_out=0)
    assert plan.dataset.held_out is None
    assert plan.describe()["held_out_examples"] == 0
    assert plan.dataset.train.examples == 60


def test_documents_end_with_an_end_id_or_a_newline(work):
    with_id = work.plan()
    assert with_id.text.boundaries.end_id == with_id.tokenizer.eos_id
    with_newline = work.plan({"tokenizer": {"name": "char-index"}}, layout="windows")
    assert with_newline.tokenizer.decode([with_newline.text.boundaries.end_id]) == "\n"
    assert with_newline.tokenizer.vocab_size == 5
    for plan in (with_id, with_newline):
        text = plan.dataset.train.text
        assert (text.ids[text.offsets[1:] - 1] == plan.text.boundaries.end_id).all()
        assert (text.ids == plan.text.boundaries.end_id).sum() == len(text)
    assert work.plan(stream=True).text.boundaries.end_id is None


def test_marks_are_all_ids_but_those_of_characters(work):
    labelled = work.folder / "words.csv"
    labelled.write_text("text,kind\n" + "\n".join(f"{word},{len(word) % 2}" for word in work.words))
    table = {"corpus": {"path": str(labelled), "layout": "auto", "label": "kind"}}
    kinds = [{}, {"tokenizer": {"name": "char-index"}}, {"tokenizer": {"name": "string-lookup"}}, table]
    for plan in (*map(work.plan, kinds[:2]), work.plan(kinds[2], stream=True), work.plan(kinds[3])):
        letters = {*plan.text.facts.head} - ({"\n"} if plan.text.layout == "documents" else set())
        characters = plan.tokenizer.encode("".join(letters)).tolist()
        assert sorted([*characters, *plan.dataset.marks]) == [*range(plan.tokenizer.vocab_size)]


def test_padding_is_the_padding_id_or_the_end(work):
    assert work.plan().dataset.train.pad_id == 0
    plan = work.plan({"tokenizer": {"name": "char-index"}}, pad="longest", held_out=0)
    assert plan.dataset.train.pad_id == plan.text.boundaries.end_id
    assert plan.dataset.train.pad_to == max(map(len, work.words)) + 1


def test_texts_begin_as_the_documents_or_the_lines_of_the_stream(work):
    lines = work.stream.read_text().splitlines()
    for plan, texts in ((work.plan(), work.words), (work.plan(stream=True), lines)):
        letters = [text[0] for text in texts if text]
        starts = plan.text.boundaries.starts
        assert {plan.tokenizer.decode([i]): count for i, count in starts.items()} == Counter(letters)


@pytest.mark.parametrize(("documents", "expected"), [(1, 60), (150_000, 47)])
def test_epochs_are_chosen_by_the_size_of_the_text(work, documents, expected):
    work.lines.write_text("\n".join(["ab"] * documents))  # of three tokens each
    settings = work.settings(held_out=0, batch_size=1, drop_duplicates=False)
    del settings["training"]["epochs"]
    assert make_plan(settings, work.registry).training.epochs == expected
    settings["training"]["epochs"] = 2
    assert make_plan(settings, work.registry).training.epochs == 2


def test_the_hash_of_the_text_depends_on_the_boundaries_of_documents(work):
    one = work.plan(held_out=0).text.sha256
    words = list(work.words)
    words[0:2] = [words[0][:-1], words[0][-1] + words[1]]
    work.lines.write_text("\n".join(words))
    assert work.plan(held_out=0).text.sha256 != one


def test_every_option_of_every_layout_is_a_plan_or_an_error_of_one_line(work):
    from textgen.errors import TextgenError

    rng = random.Random(0)
    outcomes = []
    for _ in range(150):
        options = {
            "stream": rng.random() < 0.5,
            "layout": rng.choice(["auto", "windows", "lanes", "documents", "packed"]),
            "length": rng.choice([1, 5, 99, 500, 2000]),
            "batch_size": rng.choice([1, 7, 64, 5000]),
            "held_out": rng.choice([0, 0.001, 0.1, 0.5]),
            "drop_remainder": rng.random() < 0.5,
            "pad": rng.choice(["batch", "longest"]),
        }
        try:
            plan = work.plan(**options)
        except TextgenError as error:
            outcomes.append(str(error))
            continue
        outcomes.append("")
        assert len(list(plan.dataset.train.batches(0))) == plan.describe()["steps_per_epoch"] > 0
        if options["held_out"]:
            assert len(list(plan.dataset.held_out.batches(0))) > 0
    assert not any("\n" in message for message in outcomes)
    assert 20 < outcomes.count("") < 130


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"stream": True, "layout": "documents"}, OptionError, "needs a corpus of documents; a stream takes windows"),
        ({"stream": True, "length": 2000}, CorpusError, "the corpus has 900 tokens to train on, a window"),
        ({"stream": True, "layout": "windows", "length": 200}, CorpusError, "held-out share of the corpus is shorter"),
        ({"stream": True, "layout": "windows", "batch_size": 999, "drop_remainder": True}, CorpusError, "81 training"),
        ({"held_out": 0.001}, CorpusError, "or --set training.held_out=0.2 or --set training.held_out=0"),
        ({"stream": True, "layout": "packed"}, OptionError, "needs a corpus of documents; a stream takes windows"),
        ({"held_out": 0.6}, OptionError, "training.held_out must be at most 0.5, not 0.6"),
        ({"batch_size": 100, "drop_remainder": True}, CorpusError, "54 training examples, fewer than one batch"),
        ({"epoch": 3}, OptionError, "training has no option 'epoch' for the model 'counting'; did you mean epochs?"),
        ({"device": "gpu"}, OptionError, "training.device: "),
    ],
)
def test_a_plan_that_cannot_be_trained_is_an_error_of_one_line(work, options, error, message):
    with pytest.raises(error) as raised:
        work.plan(**options)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"corpus": {"name": "filet"}}, UnknownNameError, "unknown corpus 'filet'; did you mean file"),
        ({"model": {"name": "counts"}}, UnknownNameError, "unknown model 'counts'; did you mean counting?"),
        ({"tokenizer": {"name": "char"}}, UnknownNameError, "unknown tokenizer 'char'; did you mean char-"),
        ({"model": {"smoothing": 0}}, OptionError, "model.smoothing must be above 0, not 0"),
        ({"generation": {"sampler": "top-k"}}, OptionError, "must end in a selector"),
        ({"generation": {"length": 0}}, OptionError, "generation.length must be "),
        ({"generation": {"sampler": "topk | greedy"}}, UnknownNameError, "unknown sampler 'topk'; did you mean top-k"),
        ({"corpus": {"colum": 1}}, OptionError, "corpus has no option 'colum'; did you mean column?"),
        ({"modle": {}}, OptionError, "unknown table 'modle'; did you mean model?"),
    ],
)
def test_unknown_names_and_options_are_an_error_with_a_suggestion(work, settings, error, message):
    with pytest.raises(error) as raised:
        work.plan(settings)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_plan_needs_a_corpus(registry):
    with pytest.raises(OptionError, match="no corpus is chosen: give a text file, --corpus NAME or --recipe NAME"):
        make_plan({"model": {"name": "counting"}}, registry)


@pytest.mark.parametrize("content", ["", "\n", " \n \n"])
def test_an_empty_corpus_is_an_error(work, content):
    work.lines.write_text(content)
    with pytest.raises(CorpusError, match="is empty"):
        work.plan()


@given(text=st.text("ab\r\n\u2028\x85\x1c\ufeff\u0301😀\U0010ffff", min_size=200, max_size=300))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_unicode_text_can_be_planned(work, text):
    work.stream.write_bytes(("x" + text).encode())
    plan = work.plan(stream=True)
    read = ("x" + text).replace("\r\n", "\n").replace("\r", "\n")
    assert plan.tokenizer.decode(plan.dataset.train.text.ids) == read[: len(plan.dataset.train.text.ids)]
    assert sum(plan.text.boundaries.starts.values()) == sum(bool(line) for line in read.splitlines())


def test_a_recipe_for_another_model_lends_what_this_one_has(registry, capsys):
    settings = read_settings(registry, {"corpus": "tiny-stream", "model": "counting"}, recipe="dinos-gru")
    assert "optimizer" not in settings["training"]
    assert settings["training"]["epochs"] == 20
    assert (
        "the recipe dinos-gru sets training options that the model 'counting' does not use" in capsys.readouterr().err
    )
    own = read_settings(registry, {"model": "gru"}, recipe="dinos-gru")["training"]
    assert own == registry.get("recipe", "dinos-gru")["training"]
