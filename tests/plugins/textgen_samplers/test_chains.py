"""Whole chains: rows in a batch, ids that are never drawn, and the distribution of the others."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgen.errors import OptionError
from textgen.sampling.draw import Draw, uniforms

V = 7

links = {
    "repetition-penalty": st.floats(1e-3, 1e3),
    "temperature": st.one_of(st.just(0.0), st.floats(1e-40, 1e6)),
    "top-k": st.integers(1, 10),
    "top-p": st.floats(1e-6, 1),
    "min-p": st.floats(0, 1),
}


@st.composite
def chain_texts(draw, rows: int):
    """The same samplers for all rows, with different numbers."""
    names = draw(st.permutations(list(links)).flatmap(lambda order: st.integers(0, 5).map(lambda n: order[:n])))
    selector = draw(st.sampled_from(["multinomial", "greedy"]))
    return [" | ".join([*(f"{name}({draw(links[name])!r})" for name in names), selector]) for _ in range(rows)]


HUGE = 2.0**100
huge = st.floats(-HUGE, HUGE, width=32)
extreme = st.one_of(huge, st.sampled_from([0.0, -0.0, 1e-40, -HUGE, HUGE, 88.0, -104.0, -math.inf]))
edges = st.sampled_from([0.0, 1 - 2**-24, 0.5, 2**-24])


@given(texts=chain_texts(1), forbidden=st.sets(st.integers(0, V - 1), max_size=V - 1), u=edges, data=st.data())
def test_a_forbidden_id_is_never_drawn(chain, texts, forbidden, u, data):
    row = data.draw(st.lists(extreme, min_size=V, max_size=V))
    for i in data.draw(st.sets(st.sampled_from(sorted(set(range(V)) - forbidden)), min_size=1)):
        row[i] = data.draw(huge)  # at least one id that may be drawn is possible
    drawing = Draw([chain(texts[0])], V, sorted(forbidden))
    logits = np.array([row], np.float32)
    drawing.note(np.zeros(3, np.intp), np.array([0, 3, 3], np.int32))
    for _ in range(3):
        (drawn,) = drawing.draw(logits, np.array([u], np.float32))
        assert drawn not in forbidden
        assert row[drawn] > -math.inf
    np.testing.assert_array_equal(logits[0], np.float32(row))


def test_a_vocabulary_without_an_id_to_draw_is_an_error(chain):
    with pytest.raises(OptionError, match="nothing to draw"):
        Draw([chain("multinomial")], 2, (0, 1))


@settings(max_examples=50)
@given(texts=chain_texts(6), seed=st.integers(0, 999))
def test_a_row_alone_draws_what_it_draws_in_a_batch(chain, texts, seed):
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=3, size=(4, 6, V)).astype(np.float32)
    randoms = uniforms(seed, range(6), 0, 4)
    chains = [chain(text) for text in texts]
    together = Draw(chains, V, (0,))
    alone = [Draw([one], V, (0,)) for one in chains]
    for step in range(4):
        drawn = together.draw(logits[step], randoms[step])
        for row in range(6):
            np.testing.assert_array_equal(alone[row].draw(logits[step, [row]], randoms[step, [row]]), drawn[[row]])


@settings(max_examples=50)
@given(texts=chain_texts(5), keep=st.sets(st.integers(0, 4), min_size=1).map(sorted))
def test_rows_that_end_leave_the_others_as_they_are(chain, texts, keep):
    logits = np.random.default_rng(0).normal(size=(2, 5, V)).astype(np.float32)
    randoms = uniforms(3, range(5), 0, 2)
    whole, part = (Draw([chain(text) for text in texts], V) for _ in range(2))
    for drawing in (whole, part):
        drawing.draw(logits[0], randoms[0])
    part.keep(np.array(keep))
    np.testing.assert_array_equal(part.draw(logits[1, keep], randoms[1, keep]), whole.draw(logits[1], randoms[1])[keep])


LOGITS = np.log(np.array([0.3, 0.02, 0.18, 0.25, 0.1, 0.05, 0.1]))


def expected_distribution(text: str) -> np.ndarray:
    chances: np.ndarray = np.exp(LOGITS)
    for link in text.split(" | ")[:-1]:
        name, number = link.rstrip(")").split("(")
        value = float(number)
        order = np.argsort(-chances, kind="stable")
        if name == "temperature":
            chances = chances ** (1 / value)
        elif name == "top-k":
            chances[order[int(value) :]] = 0
        elif name == "top-p":
            before = np.cumsum(chances[order] / chances.sum()) - chances[order] / chances.sum()
            chances[order[before >= value]] = 0
        elif name == "min-p":
            chances[chances < value * chances.max()] = 0
        chances /= chances.sum()
    return chances


@pytest.mark.parametrize(
    "text",
    [
        "multinomial",
        "temperature(0.5) | multinomial",
        "temperature(1.8) | top-k(4) | multinomial",
        "top-k(5) | temperature(0.7) | multinomial",
        "top-p(0.62) | temperature(2.0) | multinomial",
        "temperature(1.3) | min-p(0.3) | multinomial",
    ],
)
def test_chi_square_holds_draws_to_their_distribution(draw, text):
    count = 40_000
    randoms = uniforms(11, range(100), 5, count // 100).ravel()
    drawn = draw(text, np.tile(LOGITS, (count, 1)), randoms)
    found, expected = np.bincount(drawn, minlength=V), count * expected_distribution(text)
    possible = expected > 0
    assert (found[~possible] == 0).all()
    statistic = ((found - expected)[possible] ** 2 / expected[possible]).sum()
    assert statistic < chi_square_quantile(possible.sum() - 1)


def chi_square_quantile(freedom: int) -> float:
    """The value that chi-square exceeds with a probability of 1 in 10,000 (Wilson & Hilferty, 1931)."""
    spread = 2 / (9 * freedom)
    return float(freedom * (1 - spread + 3.7 * math.sqrt(spread)) ** 3)  # 3.7 is that quantile of the normal one
