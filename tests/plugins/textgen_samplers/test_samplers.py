"""Each sampler, compared with its definition in plain Python."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.errors import OptionError
from textgen.plugins.registry import plugins
from textgen.testing.graph import OnnxGraph

INF, V = math.inf, 5

#: A few distinct values, so that ties are common; -inf is an excluded id.
tied = st.lists(st.sampled_from([-INF, -3.0, -1.0, 0.0, 0.5, 2.0]), min_size=1, max_size=9).filter(
    lambda row: max(row) > -INF
)
spread = st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=9)
distinct = st.lists(st.integers(-3000, 3000).map(lambda n: n / 100), min_size=1, max_size=9, unique=True)
rows = st.one_of(tied, spread)


def ranking(row: list[float]) -> list[int]:
    """Ids by falling probability; ties go to the lower id."""
    return sorted(range(len(row)), key=lambda i: (-row[i], i))


def kept(result: np.ndarray) -> set[int]:
    return set(np.flatnonzero(result[0] > -INF).tolist())


def probabilities(row) -> np.ndarray:
    weights: np.ndarray = np.exp(np.asarray(row, np.float64) - max(row))
    weights /= weights.sum()
    return weights


@given(row=rows, temperature=st.floats(0.05, 20))
def test_temperature_raises_probabilities_to_a_power_and_renormalises(apply, row, temperature):
    # The form in the sources of two recipes: p ** (1 / T), divided by the sum.
    power = probabilities(row) ** (1 / temperature)
    expected = power / power.sum()
    np.testing.assert_allclose(probabilities(apply(f"temperature({temperature})", row)[0]), expected, atol=1e-5)


@given(row=distinct)
def test_temperature_0_keeps_the_most_likely_id(apply, row):
    np.testing.assert_array_equal(probabilities(apply("temperature(0)", row)[0]), np.eye(len(row))[np.argmax(row)])


def test_temperature_0_keeps_ties(apply):
    np.testing.assert_array_equal(probabilities(apply("temperature(0)", [1.0, 2.0, 2.0, -INF])[0]), [0, 0.5, 0.5, 0])


@given(row=distinct, u=st.floats(0, 1 - 2**-24))
def test_temperature_0_is_greedy(draw, row, u):
    expected = draw("greedy", [row], [0])
    np.testing.assert_array_equal(draw("temperature(0) | multinomial", [row], [u]), expected)
    np.testing.assert_array_equal(draw("temperature(1e-9) | multinomial", [row], [u]), expected)


@given(row=rows)
def test_temperature_1_changes_no_probability(apply, row):
    np.testing.assert_allclose(probabilities(apply("temperature", row)[0]), probabilities(row), atol=1e-6)


@given(row=rows, k=st.integers(1, 12))
def test_top_k_keeps_exactly_k_and_ties_go_to_the_lower_id(apply, row, k):
    result = apply(f"top-k({k})", row)[0]
    expected = set(ranking(row)[:k])
    for i, logit in enumerate(row):
        assert result[i] == (np.float32(logit) if i in expected else -INF)


@given(row=rows, p=st.floats(2**-10, 1))
def test_top_p_keeps_the_most_likely_ids_up_to_their_share(apply, row, p):
    chances = probabilities(row)
    result = apply(f"top-p({p})", row)[0]
    before = 0.0
    for i in ranking(row):
        if row[i] > -INF:
            is_kept = result[i] > -INF
            assert result[i] in (np.float32(row[i]), -INF)
            if abs(before - p) > 1e-5:
                assert is_kept == (before < p)
        before += chances[i]


@pytest.mark.parametrize(
    ("p", "expected"),
    [(0.4, {0}), (0.5, {0}), (0.51, {0, 1}), (0.75, {0, 1}), (0.76, {0, 1, 2}), (1, {0, 1, 2, 3}), (1e-6, {0})],
)
def test_top_p_stops_where_the_share_is_reached(apply, p, expected):
    assert kept(apply(f"top-p({p})", [0.0, -math.log(2), -math.log(4), -math.log(4)])) == expected


def test_top_p_breaks_ties_towards_the_lower_id(apply):
    assert kept(apply("top-p(0.5)", [1.0, 1.0, 1.0, 1.0])) == {0, 1}


@given(row=rows, p=st.floats(0, 1))
def test_min_p_keeps_ids_at_least_p_times_as_likely_as_the_most_likely_one(apply, row, p):
    result = apply(f"min-p({p})", row)[0]
    chances = probabilities(row)
    for i, logit in enumerate(row):
        assert result[i] in (np.float32(logit), -INF)
        if logit > -INF and not math.isclose(chances[i], p * chances.max(), rel_tol=1e-4, abs_tol=1e-30):
            assert (result[i] > -INF) == (chances[i] > p * chances.max())


def test_min_p_at_its_bounds(apply):
    assert kept(apply("min-p(0)", [0.0, -90.0, -INF])) == {0, 1}
    assert kept(apply("min-p(1)", [2.0, 1.999, 2.0])) == {0, 2}


@given(row=rows, penalty=st.floats(0.1, 10), data=st.data())
def test_repetition_penalty_is_that_of_ctrl(apply, row, penalty, data):
    seen = [data.draw(st.booleans()) for _ in row]
    result = apply(f"repetition-penalty({penalty})", row, seen=np.array([seen]))[0]
    for logit, was_seen, found in zip(row, seen, result, strict=True):
        expected = logit if not was_seen else logit / penalty if logit > 0 else logit * penalty
        assert found == pytest.approx(expected, rel=1e-5)


def test_the_penalty_knows_the_ids_of_each_row(chain):
    from textgen.sampling.draw import Draw

    drawing = Draw([chain("repetition-penalty(1000) | greedy")] * 2, 3)
    drawing.note(np.array([0]), np.array([2], np.int32))
    logits = np.array([[1, 2, 3], [1, 2, 3]], np.float32)
    drawn = [drawing.draw(logits, np.zeros(2, np.float32)).tolist() for _ in range(3)]
    assert drawn == [[1, 2], [0, 1], [2, 0]]


@pytest.mark.parametrize("name", ["repetition-penalty", "temperature", "top-k", "top-p", "min-p"])
@given(
    row=st.lists(st.floats(width=32, allow_nan=False).filter(lambda x: x < INF), min_size=V, max_size=V), data=st.data()
)
def test_neutral_numbers_leave_each_bit_of_the_logits(name, row, data):
    row[data.draw(st.integers(0, V - 1))] = data.draw(
        st.floats(-(2.0**100), 2.0**100, width=32)
    )  # at least one id remains
    made: Any = plugins().get("sampler", name)
    sampler = made(made.Options())
    logits = np.array([row, row], np.float32)
    seen = np.array(data.draw(st.lists(st.booleans(), min_size=2 * V, max_size=2 * V))).reshape(2, V)
    parameters = {name: np.full((2, 1), number, np.float32) for name, number in sampler.neutral.items()}
    assert sampler.transform(logits, parameters, seen).tobytes() == logits.tobytes()
    graph = OnnxGraph(V)
    feeds = {"logits": logits, "seen": seen, **parameters}
    found = graph.run(sampler.emit(graph, "logits", {name: name for name in parameters}, "seen"), feeds)
    np.testing.assert_array_equal(found, logits)  # the sign of 0 may be lost


def test_greedy_breaks_ties_towards_the_lower_id(draw):
    np.testing.assert_array_equal(draw("greedy", [[1, 3, 3, 0], [-INF, -INF, -5, -INF]], [0.9, 0.0]), [1, 2])


@given(row=rows, u=st.integers(0, 2**24 - 1).map(lambda n: n / 2**24))
def test_multinomial_inverts_the_cumulative_distribution(draw, row, u):
    (drawn,) = draw("multinomial", [row], [u])
    cumulative = np.cumsum(probabilities(row))
    before = cumulative[drawn - 1] if drawn else 0.0
    assert before - 1e-6 <= u <= cumulative[drawn] + 1e-6
    assert row[drawn] > -INF


@pytest.mark.parametrize(
    ("link", "message"),
    [
        ("temperature(-1)", "temperature must be at least 0"),
        ("temperature(inf)", "temperature must be"),
        ("temperature(nan)", "temperature must be"),
        ("temperature(1e30)", "temperature must be"),
        ("top-k(0)", "top-k.k must be at least 1"),
        ("top-k(1.5)", "top-k.k must be a whole number"),
        ("top-p(1e-50)", "top-p.p must be at least 1e-06"),
        ("top-p(1.1)", "top-p.p must be at most 1"),
        ("min-p(-0.1)", "min-p.p must be at least 0"),
        ("repetition-penalty(0)", "repetition-penalty.penalty must be"),
        ("repetition-penalty(1e9)", "repetition-penalty.penalty must be"),
    ],
)
def test_a_number_out_of_range_is_named(apply, link, message):
    with pytest.raises(OptionError) as raised:
        apply(link, [0.0, 1.0])
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)
