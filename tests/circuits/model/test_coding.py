"""Activations and spike times are the same information."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.model.coding import decode, encode


@settings(max_examples=40, deadline=None)
@given(st.floats(0.1, 50.0), st.lists(st.floats(0.0, 1.0), min_size=1, max_size=8))
def test_decode_undoes_encode(window, shares):
    x = window * np.array(shares)
    # one subtraction each way: an error of at most one ulp of the window
    np.testing.assert_allclose(decode(encode(x, window), window), x, rtol=0, atol=np.spacing(window))


def test_strong_is_early_and_zero_is_silent():
    times = encode(np.array([0.0, 0.25, 1.0, 2.0]), 2.0)
    assert times.tolist() == [np.inf, 1.75, 1.0, 0.0]


def test_a_spike_at_the_end_of_the_window_and_silence_both_mean_zero():
    assert decode(np.array([2.0, np.inf]), 2.0).tolist() == [0.0, 0.0]


def test_shape_is_kept():
    assert encode(np.zeros((2, 3)), 1.0).shape == (2, 3)
    assert decode(np.zeros((2, 3)), 1.0).shape == (2, 3)
