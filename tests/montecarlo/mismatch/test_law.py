"""The mismatch law: what each sigma moves, and that a chip stays the same chip."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.errors import InputError
from circuits.model.layer import Layer
from montecarlo.mismatch.law import OFFSETS, TERMS, MismatchLaw, draw_chips
from montecarlo.mismatch.seeds import generator

FEW = settings(max_examples=50, deadline=None)
SIGMA = st.floats(0, 0.5)
WEIGHTS = np.array([[1.0, -0.5, 0.25, 0.0], [-1.0, -0.1, 0.3, 2.0]])
EVERY = MismatchLaw.of(dict.fromkeys(TERMS, 0.05))
NEURON = ("slope", "threshold", "capacitance")


def layers(n_in=4) -> list[Layer]:
    rng = np.random.default_rng(0)
    return [
        Layer(rng.normal(size=(3, n_in)), np.zeros(3), t_min=1.0, t_max=3.0),
        Layer(rng.normal(size=(2, 3)), np.zeros(2), t_min=2.0, t_max=4.0),
    ]


def logs(drawn) -> dict[str, np.ndarray]:
    """Deviations as the normals they came from."""
    return {k: v if k in OFFSETS else np.log1p(v) for k, v in drawn.items()}


@FEW
@given(st.integers(0, 2**32), st.tuples(*(SIGMA for _ in TERMS)))
def test_half_the_sigma_is_the_same_chip_with_half_the_log_deviations(entropy, sigma):
    """1e-14: expm1 and log1p give back their argument to an ulp or two."""
    whole = MismatchLaw(*sigma)
    half = MismatchLaw(*(s / 2 for s in sigma))
    one, other = (logs(law.draw(WEIGHTS, generator(entropy, 0))) for law in (whole, half))
    for term in one:
        np.testing.assert_allclose(other[term], one[term] / 2, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("term", TERMS)
def test_a_sigma_moves_its_own_devices_only(term):
    drawn = MismatchLaw.of({term: 0.1}).draw(WEIGHTS, generator(0, 0))
    positive = WEIGHTS >= 0
    moved = {
        "synapse_source": drawn["synapse"][positive],
        "synapse_sink": drawn["synapse"][~positive],
        **{k: drawn[k] for k in NEURON},
    }
    for name, value in moved.items():
        assert np.all(value != 0) if name == term else not value.any(), name


@pytest.mark.parametrize("term", TERMS)
def test_the_drawn_spread_is_the_sigma_asked_for(term):
    """20 000 values know their std to 0.5 % and their mean to sigma / 141: 4 of each."""
    n = 20_000
    weights = np.ones((n, 1)) if term != "synapse_sink" else -np.ones((n, 1))
    drawn = logs(MismatchLaw.of({term: 0.2}).draw(weights, generator(1, 0)))
    value = drawn.get(term, drawn["synapse"])
    assert value.std() == pytest.approx(0.2, rel=0.02)
    assert abs(value.mean()) < 4 * 0.2 / math.sqrt(n)


def test_a_mean_shifts_its_term_and_no_other():
    """1e-13 of rounding in exp and log."""
    shifted = dataclasses.replace(EVERY, mean=(("slope", 0.3), ("threshold", -0.2)))
    one, other = (logs(law.draw(WEIGHTS, generator(0, 0))) for law in (EVERY, shifted))
    by = {"slope": 0.3, "threshold": -0.2}
    for term in one:
        np.testing.assert_allclose(other[term] - one[term], by.get(term, 0.0), rtol=0, atol=1e-13)


@FEW
@given(st.integers(0, 2**32))
def test_no_device_changes_sign_even_at_the_largest_sigma(entropy):
    drawn = MismatchLaw.of(dict.fromkeys(TERMS, 1.0)).draw(WEIGHTS, generator(entropy, 0))
    for term in ("synapse", "slope", "capacitance"):
        assert np.all(drawn[term] > -1)


def test_a_neuron_keeps_its_own_devices_when_its_fan_in_changes():
    narrow = EVERY.draw(WEIGHTS[:, :1], generator(5, 0))
    wide = EVERY.draw(WEIGHTS, generator(5, 0))
    assert all(np.array_equal(narrow[k], wide[k]) for k in NEURON)


def test_a_chip_does_not_depend_on_the_chips_drawn_beside_it():
    together = draw_chips(EVERY, layers(), [0, 3, 7], entropy=2)
    alone = draw_chips(EVERY, layers(), [3], entropy=2)
    assert len(together) == len(alone) == 2
    for many, one in zip(together, alone, strict=True):
        assert many.samples == 3
        for field in dataclasses.fields(one):
            assert np.array_equal(getattr(many, field.name)[1:2], getattr(one, field.name))


def test_chips_differ_from_each_other_and_from_those_of_another_seed():
    first = draw_chips(EVERY, layers(), [0, 1], entropy=0)[0].slope
    assert not np.any(first[0] == first[1])
    assert not np.any(first == draw_chips(EVERY, layers(), [0, 1], entropy=1)[0].slope)


def test_zero_sigma_is_a_perfect_chip():
    for drawn in draw_chips(MismatchLaw(), layers(), [0, 1], entropy=0):
        assert not any(getattr(drawn, f.name).any() for f in dataclasses.fields(drawn))


@pytest.mark.parametrize("value", [-0.01, math.nan, math.inf, "0.05", None])
@pytest.mark.parametrize("term", TERMS)
def test_a_sigma_that_is_none_is_refused(term, value):
    with pytest.raises(InputError, match=rf"sigma of {term} must"):
        MismatchLaw.of({term: value})


def test_unknown_terms_and_unusable_means_are_refused():
    with pytest.raises(InputError, match=r"\['speed'\]; known: synapse_source"):
        MismatchLaw.of({"speed": 0.1})
    for mean in ("speed", 0.1), ("slope", math.nan):
        with pytest.raises(InputError, match="not usable"):
            MismatchLaw(mean=(mean,))


def test_relative_errors_end_at_one_but_a_threshold_is_a_potential():
    with pytest.raises(InputError, match=r"sigma of slope must lie in \[0, 1\]"):
        MismatchLaw(slope=1.01)
    assert MismatchLaw(threshold=3.0, delay=2.0).threshold == 3.0


def test_unit_devices_make_small_weights_differ_more():
    """By hand: sigma / sqrt(|W|), at W = 1/4 twice that of W = 1; one device is the least, 1/8."""
    law = MismatchLaw(synapse_source=0.03, synapse_sink=0.02, units=8)
    sigma = law.synapse_sigma(np.array([[1.0, 0.25, -0.25, 0.01]]))
    np.testing.assert_allclose(sigma, [[0.03, 0.06, 0.04, 0.03 * np.sqrt(8)]], rtol=1e-15)


def test_layers_of_a_chip_have_references_and_delays_of_their_own():
    layer = Layer(np.ones((3, 2)), np.zeros(3), t_min=1.0, t_max=2.0)
    law = MismatchLaw(delay=0.1, reference=(("synapse_source", 0.1), ("slope", 0.2)))
    first, second = draw_chips(law, [layer, layer], [0, 1], 7)
    assert np.ptp(first.slope[0]) == 0.0  # one reference for all neurons of a layer
    assert first.slope[0, 0] != second.slope[0, 0] != first.slope[1, 0]
    assert len(np.unique(np.concatenate([first.delay, second.delay]))) == 12
    plain = draw_chips(MismatchLaw(slope=0.05), [layer, layer], [0], 7)
    more = draw_chips(MismatchLaw(slope=0.05, delay=0.1), [layer, layer], [0], 7)
    assert np.array_equal(plain[1].slope, more[1].slope)  # devices stay as they are without the delays


def test_a_layer_has_its_own_law_and_the_normals_that_it_always_has():
    """Bit for bit what its law draws where all layers have it; a chip shares one draw for all laws."""
    quiet = MismatchLaw(0.02, 0.01, units=8, delay=0.03, reference=(("slope", 0.1), ("delay", 0.2)))
    loud = dataclasses.replace(EVERY, common=(("capacitance", 0.1),))
    mixed = draw_chips([quiet, loud], layers(), [0, 4], entropy=3)
    for n, law in enumerate((quiet, loud)):
        alone = draw_chips(law, layers(), [0, 4], entropy=3)[n]
        for field in dataclasses.fields(alone):
            assert np.array_equal(getattr(mixed[n], field.name), getattr(alone, field.name)), field.name
    only = MismatchLaw(common=(("slope", 0.1),))
    first, second = draw_chips([only, dataclasses.replace(only, common=(("slope", 0.2),))], layers(), [0], 3)
    # 1e-13: rounding of exp and log
    np.testing.assert_allclose(2 * np.log1p(first.slope[0, 0]), np.log1p(second.slope[0]), rtol=1e-13)


def test_laws_that_are_not_one_a_layer_are_refused():
    with pytest.raises(InputError, match="3 laws for a network of 2 layers; give one, or one a layer"):
        draw_chips([EVERY] * 3, layers(), [0], 0)


def test_delays_of_a_layer_share_a_part_that_adds_and_leaves_all_else_as_it_was():
    layer = Layer(np.ones((4, 2)), np.zeros(4), t_min=1.0, t_max=2.0)
    plain = MismatchLaw(0.05, 0.05, 0.05, delay=0.01, reference=(("slope", 0.1),))
    more = dataclasses.replace(plain, reference=(("slope", 0.1), ("delay", 0.2)))
    for before, after in zip(
        draw_chips(plain, [layer, layer], [0, 1], 7), draw_chips(more, [layer, layer], [0, 1], 7), strict=True
    ):
        assert np.array_equal(before.slope, after.slope)
        assert np.array_equal(before.synapse, after.synapse)
        late = after.delay - before.delay
        np.testing.assert_allclose(late, late[:, :1] * np.ones(4), rtol=0, atol=1e-15)  # float64 rounding
        assert late[0, 0] != late[1, 0]
    one, other = (law.draw(WEIGHTS, generator(0, 0)) for law in (plain, more))  # also from one stream
    assert all(np.array_equal(one[k], other[k]) for k in ("synapse", "slope"))
    late = other["delay"] - one["delay"]
    assert late[0] == pytest.approx(late[1], abs=1e-15)


def test_the_spread_of_shared_delays_is_their_sigma():
    """4000 chips know a standard deviation to 1.1 %: four of these."""
    layer = Layer(np.ones((1, 1)), np.zeros(1), t_min=1.0, t_max=2.0)
    law = MismatchLaw(mean=(("delay", 0.5),), reference=(("delay", 2.0),))
    late = draw_chips(law, [layer], range(4000), 1)[0].delay[:, 0]
    assert late.std() == pytest.approx(2.0, rel=0.045)
    assert late.mean() == pytest.approx(0.5, abs=4 * 2.0 / math.sqrt(4000))


@pytest.mark.parametrize("value", [-0.1, math.inf, math.nan])
def test_a_shared_delay_is_finite_and_not_negative(value):
    with pytest.raises(InputError, match="reference sigma of 'delay' must be finite and >= 0"):
        MismatchLaw(reference=(("delay", value),))
    with pytest.raises(InputError, match="common sigma of 'delay'"):
        MismatchLaw(common=(("delay", 0.1),))
