from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.evaluation.statistics import mann_whitney

values = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=4)


def pairs_won(a: list[float], b: list[float]) -> float:
    return sum((x > y) + (x == y) / 2 for x in a for y in b)


@given(values, values)
def test_z_is_u_by_its_mean_and_deviation_over_all_ways_to_deal_the_values(a, b):
    pooled = np.array([*a, *b])
    dealt = []
    for chosen in combinations(range(len(pooled)), len(a)):
        mask = np.isin(np.arange(len(pooled)), chosen)
        dealt.append(pairs_won(pooled[mask].tolist(), pooled[~mask].tolist()))
    mean, deviation = np.mean(dealt), np.std(dealt)
    expected = (pairs_won(a, b) - mean) / deviation if deviation else 0
    assert mann_whitney(Counter(a), Counter(b)) == pytest.approx(expected)
    assert mann_whitney(Counter(b), Counter(a)) == pytest.approx(-expected)


def test_z_is_normal_for_samples_of_one_distribution():
    generator = np.random.default_rng(0)
    found = [
        mann_whitney(Counter(generator.integers(0, 20, 80).tolist()), Counter(generator.integers(0, 20, 50).tolist()))
        for _ in range(1000)
    ]
    assert abs(np.mean(found)) < 0.1
    assert np.std(found) == pytest.approx(1, abs=0.1)
    assert np.mean(np.abs(found) > 1.96) == pytest.approx(0.05, abs=0.02)
