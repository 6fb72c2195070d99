import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import textgen
from textgen import api
from textgen.evaluation.curve import TEMPERATURES
from textgen.evaluation.n_grams import distinct_share, new_shares
from textgen.evaluation.novelty import Pieces
from textgen.evaluation.samples import RealText, Sample, reverse_loss
from textgen.evaluation.scoring import Reading, judge
from textgen.evaluation.statistics import compare_texts, mann_whitney
from textgen.generation.request import Generation
from textgen.plugins import plugins
from textgen.text.encoded import EncodedText, draw_documents

NAMES = random.Random(1).sample(list(plugins().make("corpus", {"name": "dinos-lite"}, None).documents()), 900)
TRAINING, HELD_OUT, OTHERS = NAMES[:500], NAMES[500:700], NAMES[700:]


def documents(texts: list[str]) -> Sample:
    return Sample(texts, [True] * len(texts))


def loss_of(sample: Sample, held_out: Sample) -> float:
    loss = reverse_loss(sample, held_out, plugins())
    assert loss is not None
    return loss


@given(st.lists(st.tuples(st.text("ab", max_size=5), st.booleans()), min_size=1), st.integers(1, 30))
def test_a_sample_is_cut_after_some_characters(texts, most):
    sample = Sample.of(iter(texts), most)
    whole = "".join(text for text, _ in texts)
    assert "".join(sample.texts) == whole[:most]
    assert sample.characters == min(most, len(whole))
    for (text, ended), own, has_ended in zip(texts, sample.texts, sample.ended, strict=False):
        assert has_ended == (ended and own == text)


def test_the_reverse_loss_is_that_of_an_n_gram_run_of_the_texts(tmp_path):
    settings = {"training": {"held_out": 0, "sample_every": 0}}
    run = textgen.train(text=TRAINING, model="ngram", tokenizer="char-index", out=tmp_path / "run", settings=settings)
    ids = EncodedText.join([run.tokenizer.encode(text + "\n") for text in HELD_OUT])
    expected = judge(run.runtime, Reading.documents(ids), np.ones(run.tokenizer.vocab_size))
    assert loss_of(documents(TRAINING), documents(HELD_OUT)) == pytest.approx(expected.nats, rel=1e-6)


def test_the_reverse_loss_rises_with_lack_of_variety_and_of_quality():
    letters = random.Random(2)
    cases = {
        "real": TRAINING,
        "shuffled": ["".join(letters.sample(text, len(text))) for text in TRAINING],
        "repeated": TRAINING[:20] * 25,
        "fewer": TRAINING[:250],
        "constant": TRAINING[:1] * 500,
    }
    loss = {name: loss_of(documents(texts), documents(HELD_OUT)) for name, texts in cases.items()}
    assert loss["real"] < loss["fewer"] < loss["repeated"] < loss["constant"]
    assert loss["fewer"] < loss["shuffled"]


def test_the_end_of_a_text_is_counted_only_if_it_has_ended():
    ended, cut = documents(TRAINING), Sample(TRAINING, [False] * len(TRAINING))
    inside = Sample(HELD_OUT, [False] * len(HELD_OUT))
    losses = [loss_of(sample, documents(HELD_OUT)) for sample in (ended, cut)]
    assert losses[0] < losses[1] - 0.1
    assert loss_of(cut, inside) < losses[1]


@pytest.mark.parametrize(("sample", "held_out"), [([""], ["ab"]), (["a", "b"], ["ab"]), (["ab"], ["a"])])
def test_there_is_no_reverse_loss_of_texts_without_a_second_character(sample, held_out):
    part, judged = (Sample(texts, [False] * len(texts)) for texts in (sample, held_out))
    assert reverse_loss(part, judged, plugins()) is None


def test_training_texts_are_drawn_once_each_by_the_seed():
    real = RealText.of(iter(TRAINING), [], is_stream=False)
    assert sorted(real.draw(1000, 10**6, seed=0).texts) == sorted(TRAINING)
    real = replace(real, training=TRAINING)
    drawn = [real.draw(100, 10**6, seed).texts for seed in (0, 0, 1)]
    assert len({*drawn[0]}) == 100
    assert {*drawn[0]} < {*TRAINING}
    assert drawn[0] == drawn[1] != drawn[2]
    assert real.draw(100, 55, seed=0).characters == 55


@pytest.mark.parametrize("name", ["char-index", "words", "byte-bpe"])
@pytest.mark.parametrize("decoded", [1, 3, 1000])
def test_pieces_are_the_text_of_a_stream(make_tokenizer, monkeypatch, name, decoded):
    pytest.importorskip("tokenizers")
    text = "the größte 𝄞 and the größte tree\n" * 3
    tokenizer = make_tokenizer(name, [text])
    monkeypatch.setattr("textgen.evaluation.novelty.DECODED", decoded)
    pieces = Pieces(tokenizer, tokenizer.encode(text), 7)
    assert "".join(pieces) == text
    assert [len(piece) for piece in pieces] == [7] * (len(text) // 7) + [len(text) % 7] * (len(text) % 7 > 0)


# --- runs


def test_a_run_that_writes_training_documents_is_seen_to_copy(tmp_path, monkeypatch, registry):
    settings = {"training": {"held_out": 0.3, "epochs": 1, "sample_every": 0, "seed": 3}}
    run = textgen.train(text=NAMES, model="counting", out=tmp_path / "run", settings=settings)
    drawn = {*draw_documents(len(NAMES), 0.3, 3).tolist()}
    training = [name for number, name in enumerate(NAMES) if number not in drawn]
    parrot = training[:200]
    changed = [f"{name[:3]}{name[2]}{name[3:]}" for name in parrot]  # one letter more

    def evaluate(texts: list[str]):
        def sample(generator, request):
            assert request.prompts == ("",) * len(texts)
            chain = request.chains[0].text
            return [
                Generation(prompt=t[:1], text=t[1:], ids=(), seed=0, row=0, sampler=chain, finish_reason="eos")
                for t in texts
            ]

        monkeypatch.setattr("textgen.text_generator.TextGenerator.sample", sample)
        monkeypatch.setattr("textgen.evaluation.samples.TEXTS_AT_ONCE", 10**6)
        return run.evaluate(num=len(texts))

    copies, near = evaluate(parrot), evaluate(changed)
    assert copies.written is not None
    assert near.written is not None
    assert copies.written.copying < -15
    assert near.written.copying < -8
    assert copies.written.texts.novelty == 0
    assert near.written.texts.novelty > 0.9
    assert {*copies.samples.written.novelty.values()} == {0}
    assert copies.samples.held_out.novelty[6] > 0.3


def test_held_out_documents_are_as_far_from_training_documents_as_others():
    found = [compare_texts(texts, TRAINING).neighbours.distances for texts in (HELD_OUT, OTHERS)]
    assert abs(mann_whitney(*found)) < 2
    assert sum(found[0].values()) == len(HELD_OUT)


def test_all_training_documents_have_the_loss_of_the_n_gram(work):
    evaluation = api.load(work.train("run", {"tokenizer": {"name": "char-index"}}).path).evaluate(num=200)
    assert evaluation.ngram is not None
    assert evaluation.samples.training.texts == evaluation.samples.written.texts == 54
    assert evaluation.samples.training.reverse_loss == pytest.approx(evaluation.ngram.nats)


@pytest.mark.parametrize("stream", [False, True])
def test_samples_are_what_the_run_writes(work, registry, stream):
    generator = api.load(work.train("run", stream=stream).path)
    evaluation = generator.evaluate(num=5, seed=3, temperature=0.5)
    written = generator.sample(generator.request("", num=5, seed=3, temperature=0.5))
    texts = [each.whole for each in written]
    if stream:
        whole = work.stream.read_text()
        training, held_out = [whole[:900]], [whole[900:]]
    else:
        drawn = draw_documents(60, 0.1, 0)
        held_out = [work.words[number] for number in drawn]
        training = [word for number, word in enumerate(work.words) if number not in drawn]
    samples = evaluation.samples
    if stream:  # as much of the training text as there is
        assert (samples.written.texts, samples.training.texts, samples.held_out.texts) == (3, 3, 1)
        texts = texts[:3]
        assert samples.training.characters == 900
    else:
        assert (samples.written.texts, samples.training.texts, samples.held_out.texts) == (5, 5, 6)
    sample = Sample(texts, [not stream and each.finish_reason != "length" for each in written][: len(texts)])
    real = Sample(held_out, [not stream] * len(held_out))
    novelty = new_shares([texts, held_out], training, is_stream=stream)
    assert samples.written.characters == sample.characters
    assert samples.written.reverse_loss == reverse_loss(sample, real, registry)
    assert samples.written.distinct == distinct_share(texts, 4)
    assert [samples.written.novelty, samples.held_out.novelty] == novelty
    assert samples.held_out.characters == sum(map(len, held_out))
    assert (samples.sampler, samples.seed) == ("temperature(0.5) | multinomial", 3)


def test_a_stream_is_written_in_texts_of_20_000_characters_in_all(work):
    length = {"generation": {"length": 30}}
    written = api.load(work.train("run", length, stream=True).path).evaluate().samples.written
    assert (written.texts, written.characters) == (30, 30 * 31)  # the training text has 30 pieces of 30 characters


def test_a_curve_is_that_of_evaluations_at_each_temperature(work):
    generator = api.load(work.train("run", {"generation": {"sampler": "top-k(3) | multinomial"}}).path)
    curve = generator.evaluate(num=30, seed=2, curve=True).curve
    assert curve is not None
    assert tuple(point.temperature for point in curve.points) == TEMPERATURES
    for point in curve.points[::4]:
        alone = generator.evaluate(num=30, seed=2, sampler=f"temperature({point.temperature}) | top-k(3) | multinomial")
        assert (point.reverse_loss, point.distinct) == (
            alone.samples.written.reverse_loss,
            alone.samples.written.distinct,
        )
        assert alone.curve is None
    losses = [point.reverse_loss for point in curve.points if point.reverse_loss is not None]
    assert curve.best == TEMPERATURES[np.argmin(losses)]


def test_a_curve_without_differences_has_no_best_temperature(work):
    generator = api.load(work.train("run", {"generation": {"sampler": "top-k(1) | multinomial"}}).path)
    curve = generator.evaluate(num=30, curve=True).curve
    assert curve is not None
    assert len({point.reverse_loss for point in curve.points}) == 1
    assert curve.best is None


def test_there_is_no_reverse_loss_without_the_plugin(work, monkeypatch):
    generator = api.load(work.train("run").path)
    monkeypatch.setattr("textgen.training.yardstick.YARDSTICK", "none such")
    evaluation = generator.evaluate(num=5, curve=True)
    assert evaluation.samples.written.reverse_loss is None
    assert evaluation.curve is not None
    assert evaluation.curve.best is None
    assert evaluation.samples.written.distinct is not None
