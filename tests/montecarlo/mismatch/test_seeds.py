"""Random streams depend on what is drawn, and on nothing else."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.errors import InputError
from montecarlo.mismatch.seeds import CHIP, PLAN, generator

FEW = settings(max_examples=50, deadline=None)


@FEW
@given(st.integers(0, 2**64), st.integers(0, 10**6))
def test_a_stream_is_the_same_every_time(entropy, k):
    assert np.array_equal(generator(entropy, k).random(5), generator(entropy, k).random(5))


def test_samples_chips_trials_and_plans_never_share_a_stream():
    """Exact equality of 64-bit words: by chance one in 1e19."""
    keys = [(k,) for k in range(30)]
    keys += [(kind, k) for kind in (CHIP, PLAN) for k in range(30)]
    words = {(e, key): generator(e, *key).integers(2**63) for e in (0, 1) for key in keys}
    assert len(set(words.values())) == len(words)


def test_streams_of_neighbors_are_not_correlated():
    """4 sigma of 1/sqrt(20000) over 6 pairs."""
    drawn = [generator(0, k).standard_normal(20_000) for k in range(4)]
    for a, b in itertools.combinations(drawn, 2):
        assert abs(np.corrcoef(a, b)[0, 1]) < 4 / np.sqrt(20_000)


def test_a_stream_ignores_global_state():
    np.random.seed(1)  # noqa: NPY002
    one = generator(7, 3).random()
    np.random.seed(2)  # noqa: NPY002
    assert generator(7, 3).random() == one


@pytest.mark.parametrize(("entropy", "key"), [(-1, (0,)), (0, (-1,)), (0, (CHIP, -5))])
def test_negative_seeds_are_refused(entropy, key):
    with pytest.raises(InputError, match="a seed must be a whole number >= 0"):
        generator(entropy, *key)


@pytest.mark.parametrize("seed", [1.5, "3", None, True, [1, 2], np.float64(4)])
def test_what_is_no_seed_is_refused_in_words(seed):
    with pytest.raises(InputError, match="a seed must be a whole number >= 0"):
        generator(seed, 0)
