"""A draft: what may come next, and texts of a person and a model together."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import textgen
from textgen.draft import Draft
from textgen.errors import OptionError, UnknownCharacterError
from textgen.text.boundaries import Boundaries

RECORDED = Path(__file__).parents[1] / "recorded"


@pytest.fixture(scope="module")
def trees():
    return textgen.load(RECORDED / "lstm-trees", runtime="numpy")


@pytest.fixture(scope="module")
def names():
    return textgen.load(RECORDED / "gru-names", runtime="numpy")


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    """A run of bytes and parts of words, with labels."""
    texts = [f"{start} ö 😀 {end}" for start in ("the oak", "an elm") for end in ("stands", "fell", "日本")] * 20
    return textgen.train(
        text=texts,
        labels=["tree", "wood", "wood"] * 40,
        model="ngram",
        tokenizer="byte-bpe",
        settings={"tokenizer": {"vocab_size": 290}, "training": {"drop_duplicates": False}},
        out=tmp_path_factory.mktemp("pieces") / "run",
    )


CHAIN = {"temperature": 0.7, "top_k": 5, "repetition_penalty": 1.3}


@pytest.mark.parametrize("options", [{}, CHAIN, {"sampler": "greedy"}, {"stop": ["ee", "a"]}, {"ignore_eos": True}])
@pytest.mark.parametrize(("run", "prompt"), [("trees", ""), ("trees", "the oak"), ("names", ""), ("names", "Ro")])
def test_what_the_model_writes_alone_is_the_text_of_the_seed(request, run, prompt, options):
    generator = request.getfixturevalue(run)
    for seed in range(8):
        draft = generator.draft(prompt, seed=seed, length=60, **options)
        text = draft.text + "".join(draft.write())
        whole = generator.sample(generator.request(prompt, seed=seed, length=60, **options))[0]
        assert draft.text == text
        assert text[: len(whole.whole)] == whole.whole  # a stop text stays
        assert text[len(whole.whole) :] in ("", "ee", "a")
        assert draft.is_ended == (whole.finish_reason == "eos")


@pytest.mark.parametrize("label", [None, "wood"])
def test_pieces_of_words_bytes_and_labels(pieces, label):
    for seed in range(8):
        (whole,) = pieces.sample(pieces.request("", seed=seed, label=label, length=400))
        draft = pieces.draft("", seed=seed, label=label)
        assert draft.text + "".join(draft.write(400)) == draft.text == whole.text
        assert draft.label == whole.label
        assert draft.is_ended


def test_a_character_can_be_chosen_byte_by_byte(pieces):
    """No text has é, so that it is two bytes."""
    first, second = pieces.tokenizer.encode("é").tolist()
    draft = pieces.draft("the oak ö ", label="tree")
    assert {choice.id: choice.text for choice in draft.choices(290)}[first] == ""
    draft.choose(first)
    assert draft.text == "the oak ö "
    assert {choice.id: choice.text for choice in draft.choices(290)}[second] == "é"
    draft.choose(second)
    assert draft.text == "the oak ö é"


def test_probabilities_are_those_of_the_chain(trees):
    """Temperature and top-k by their formulas, over a forward pass."""
    ids = trees.tokenizer.encode("the oak", None)
    logits = trees.runtime.forward(ids[None], trees.runtime.initial_state(1))[0][0, -1].astype(np.float64)
    logits[list(trees.boundaries.forbidden_ids(trees.tokenizer))] = -np.inf
    order = np.argsort(-logits)[:6]
    expected = np.exp(logits[order] / 0.5) / np.exp(logits[order] / 0.5).sum()
    choices = trees.draft("the oak", temperature=0.5, top_k=6).choices()
    assert [choice.id for choice in choices] == order.tolist()
    assert [choice.probability for choice in choices] == pytest.approx(expected, rel=1e-5)
    assert [choice.text for choice in choices] == [trees.tokenizer.decode([i]) for i in order]
    assert len(trees.draft("the oak", temperature=0.5, top_k=6).choices(2)) == 2


def test_the_model_draws_with_the_probabilities_that_it_shows(trees):
    """Pearson's chi-squared, with 5 degrees of freedom at 1 in 100,000: 30.9."""
    draft = trees.draft("the o", temperature=0.9, top_k=6, seed=5)
    expected = {choice.text: 3000 * choice.probability for choice in draft.choices()}
    drawn: Counter[str] = Counter()
    for _ in range(3000):
        drawn[draft.draw()] += 1
        assert draft.undo()
    assert sum((drawn[text] - count) ** 2 / count for text, count in expected.items()) < 30.9
    assert sum(drawn[text] for text in expected) == 3000


def test_the_beginning_is_chosen_among_those_of_training_texts(names):
    choices = names.draft("").choices(100)
    starts = names.boundaries.starts
    assert {choice.id: choice.probability for choice in choices} == pytest.approx(
        {i: count / sum(starts.values()) for i, count in starts.items()}
    )
    draft = names.draft("")
    draft.choose(choices[0])
    assert draft.text == choices[0].text
    assert [c.probability for c in draft.choices()] == [c.probability for c in names.draft(choices[0].text).choices()]


#: What a person may do.
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.text("the oakwil", min_size=1, max_size=4)),
        st.tuples(st.just("choose"), st.integers(0, 4)),
        st.tuples(st.just("draw"), st.none()),
        st.tuples(st.just("write"), st.integers(1, 9)),
        st.tuples(st.just("undo"), st.none()),
    ),
    max_size=12,
)


def do(draft, action, argument):
    if action == "append":
        draft.append(argument)
    elif action == "choose":
        draft.choose(draft.choices()[argument])
    elif action == "draw":
        draft.draw()
    elif action == "write":
        list(draft.write(argument))


@given(actions=ACTIONS, seed=st.integers(0, 2**64 - 1))
def test_any_way_to_a_text_ends_in_the_same_place(trees, actions, seed):
    draft, texts = trees.draft("a", seed=seed, **CHAIN), ["a"]
    for action, argument in actions:
        if action == "undo":
            assert draft.undo() == (len(texts) > 1)
            texts = texts[:-1] or texts
            assert draft.text == texts[-1]
        else:
            do(draft, action, argument)
            texts.append(draft.text)
    again = trees.draft("a", seed=seed, **CHAIN)
    for action, argument in actions:
        again.undo() if action == "undo" else do(again, action, argument)
    assert again.text == draft.text  # the same calls, the same text
    fresh = trees.draft(draft.text, **CHAIN)
    assert [choice.id for choice in fresh.choices()] == [choice.id for choice in draft.choices()]
    assert [c.probability for c in fresh.choices()] == pytest.approx([c.probability for c in draft.choices()], abs=1e-4)


def test_what_is_appended_in_parts_is_read_as_one(pieces):
    """A part of a word is another token than the word."""
    parts, whole = pieces.draft("the o", label="tree"), pieces.draft("the oak stands", label="tree")
    for part in ("a", "k st", "ands"):
        parts.append(part)
    assert parts.choices() == whole.choices()
    parts.undo()
    assert parts.text == "the oak st"
    assert parts.choices() == pieces.draft("the oak st", label="tree").choices()


def test_a_request_continues_a_draft(trees):
    draft = trees.draft("the ", seed=9)
    assert trees.draft("").continuation is None
    draft.choose(draft.choices()[2])
    list(draft.write(20))
    continued = trees.generate("", continuation=draft.continuation, num=3, length=30)
    assert len(set(continued)) == 3
    again = trees.draft("", continuation=draft.continuation, length=30)
    assert "".join(again.write()) == continued[0]
    assert "".join(draft.write(30)) == continued[0]


def test_a_draft_continues_in_the_middle_of_a_token(pieces):
    (first,) = pieces.sample(pieces.request("", seed=2, length=2, keep_state=True))
    draft = pieces.draft("", continuation=first.continuation)
    (whole,) = pieces.sample(pieces.request("", seed=2, length=400))
    list(draft.write())
    assert first.text + draft.text == whole.text


def test_the_end(names):
    draft = names.draft("Ada", seed=1)
    assert repr(draft) == "Draft('Ada', seed=1)"
    end = next(choice for choice in draft.choices(100) if choice.is_end)
    assert end.text == ""
    draft.choose(end)
    assert (draft.is_ended, draft.text, draft.choices()) == (True, "Ada", [])
    assert repr(draft) == "Draft('Ada', seed=1, ended)"
    for call in (lambda: draft.append("a"), lambda: draft.choose(1), draft.draw, lambda: list(draft.write())):
        with pytest.raises(OptionError, match="has ended; undo"):
            call()
    assert draft.undo()
    assert not draft.is_ended
    assert not draft.undo()  # the prompt stays


def test_mistakes(trees):
    with pytest.raises(OptionError, match="one text"):
        trees.draft("a", num=2)
    with pytest.raises(OptionError, match="one text"):
        trees.draft("a", temperature=[0.5, 1])
    draft = trees.draft("a")
    with pytest.raises(UnknownCharacterError):
        draft.append("é")
    with pytest.raises(OptionError, match="token must be a whole number"):
        draft.choose(10**6)
    with pytest.raises(OptionError, match="num"):
        draft.choices(0)
    draft.append("")
    assert (draft.text, draft.undo()) == ("a", False)


def test_what_fails_cannot_be_undone(trees):
    """A model that does not know how texts begin."""
    request = trees.request("", seed=1)
    draft = Draft(trees.runtime, trees.tokenizer, Boundaries(None), request)
    for write in (draft.draw, lambda: list(draft.write(5)), lambda: draft.append("é")):
        with pytest.raises((OptionError, UnknownCharacterError)):
            write()
        assert (draft.text, draft.undo()) == ("", False)


def test_padding_is_not_chosen(names):
    with pytest.raises(OptionError, match="not a part of texts"):
        names.draft("A").choose(names.boundaries.forbidden_ids(names.tokenizer)[0])
