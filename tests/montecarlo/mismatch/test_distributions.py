"""Tails, correlations and common parts of a law: planted ones are found again, wrong ones are rejected."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from circuits.errors import InputError
from circuits.model.layer import Layer
from montecarlo.mismatch.distributions import cholesky, shaped
from montecarlo.mismatch.law import NEURON, TERMS, MismatchLaw, draw_chips
from montecarlo.mismatch.seeds import generator
from montecarlo.statistics.intervals import correlation_interval, normality

PLAIN = MismatchLaw.of(dict.fromkeys(TERMS, 0.05))
ALL = replace(
    PLAIN,
    mean=(("slope", 0.01),),
    distribution=(("synapse_sink", "student-t:4.5"), ("slope", "normal"), ("threshold", "student-t:3")),
    correlation=(("slope", "threshold", 0.6), ("threshold", "capacitance", -0.3)),
    common=(("slope", 0.02), ("synapse_source", 0.01)),
)


def two_layers():
    rng = np.random.default_rng(0)
    shapes = ((3, 4), (2, 3))
    return [Layer(rng.normal(size=s), np.zeros(s[0]), t_min=1.0, t_max=3.0) for s in shapes]


def neurons(law, n, entropy=0):
    return law.draw(np.ones((n, 1)), generator(entropy, 0))


def test_a_planted_correlation_is_found_again_and_a_wrong_one_is_not():
    """95 % intervals of 60 draws of 1000 neurons: fewer than 51 hold the truth once in 1000 times."""
    law = replace(PLAIN, correlation=(("slope", "threshold", 0.6),))
    inside, wrong = 0, 0
    for entropy in range(60):
        drawn = neurons(law, 1000, entropy)
        _, low, high = correlation_interval(np.log1p(drawn["slope"]), drawn["threshold"])
        inside += low <= 0.6 <= high
        wrong += low <= 0.4 <= high
    assert inside >= 51
    assert wrong == 0


def test_a_correlation_leaves_every_spread_and_the_other_terms_as_they_were():
    """20 000 values know their std to 0.5 %."""
    law = replace(PLAIN, correlation=(("slope", "threshold", 0.6), ("slope", "capacitance", -0.5)))
    drawn, before = neurons(law, 20_000), neurons(PLAIN, 20_000)
    for term in NEURON:
        value = drawn[term] if term == "threshold" else np.log1p(drawn[term])
        assert value.std() == pytest.approx(0.05, rel=0.02)
    assert np.array_equal(drawn["synapse"], before["synapse"])
    np.testing.assert_allclose(drawn["slope"], before["slope"], rtol=1e-14)  # the first keeps its own


@given(st.floats(2.05, 50), st.floats(-8, 8))
def test_heavy_tails_keep_the_order_and_the_quantiles_of_their_normals(df, z):
    """rtol 1e-6: what the inverse of the t distribution is good for at these tails."""
    t = float(shaped(np.array([z]), f"student-t:{df!r}")[0]) / np.sqrt((df - 2) / df)
    assert t * z >= 0
    assert stats.t.sf(abs(t), df) == pytest.approx(stats.norm.sf(abs(z)), rel=1e-6)


def test_tails_are_detected_and_the_right_law_is_not_rejected():
    """2000 logarithms of t5 of the same sigma: a normal is rejected, the t is not; and vice versa."""
    heavy = np.log1p(neurons(replace(PLAIN, distribution=(("slope", "student-t:5"),)), 2000)["slope"])
    light = np.log1p(neurons(PLAIN, 2000)["slope"])
    t5 = stats.t(5, scale=0.05 * np.sqrt(3 / 5))
    assert heavy.std() == pytest.approx(0.05, rel=0.1)
    assert normality(heavy) < 1e-6 < 0.01 < normality(light)
    assert stats.kstest(heavy, t5.cdf).pvalue > 0.01
    assert stats.kstest(heavy, stats.norm(0, 0.05).cdf).pvalue < 0.01
    assert stats.kstest(light, stats.norm(0, 0.05).cdf).pvalue > 0.01
    assert stats.kstest(light, t5.cdf).pvalue < 0.01


def test_a_linear_normal_is_normal_on_the_linear_scale():
    """At sigma 0.12 a lognormal has skewness 0.36: 9 standard errors of 5000 values."""
    law = MismatchLaw(slope=0.12, capacitance=0.12, distribution=(("slope", "normal"),))
    drawn = neurons(law, 5000)
    assert normality(drawn["slope"]) > 0.001
    assert normality(drawn["capacitance"]) < 1e-9


def test_even_the_heaviest_tails_leave_devices_that_can_be_simulated():
    law = replace(PLAIN, slope=1.0, distribution=(("slope", "student-t:2.1"),))
    drawn = law.deviations(np.ones((2, 1)), np.array([[-8.0, 8.0]] * 3), np.zeros((2, 1)))
    assert drawn["slope"][0] > -1
    assert np.isfinite(drawn["slope"][1])


def test_a_common_part_moves_a_whole_chip_and_only_its_term():
    law = MismatchLaw(common=(("slope", 0.1), ("synapse_sink", 0.2)))
    one, other = draw_chips(law, two_layers(), range(400), 0)
    logs = np.log1p(one.slope)
    assert np.ptp(logs, axis=1).max() < 1e-15
    assert np.array_equal(one.slope[:, 0], other.slope[:, 0])
    assert logs[:, 0].std() == pytest.approx(0.1, rel=0.14)  # 4 standard errors of 400
    assert not one.threshold.any()
    sinks = two_layers()[0].weights < 0
    assert not one.synapse[:, ~sinks].any()
    assert np.ptp(one.synapse[:, sinks], axis=1).max() < 1e-15


def test_asking_for_more_changes_no_normal_of_what_there_was():
    """The devices of a chip are the same with a common part, tails and correlations that are nil."""
    before = draw_chips(PLAIN, two_layers(), [0, 5], 3)
    extended = replace(
        PLAIN,
        distribution=tuple((t, "lognormal") for t in TERMS if t != "threshold"),
        correlation=(("slope", "threshold", 0.0),),
        common=(("slope", 0.0),),
    )
    for a, b in zip(before, draw_chips(extended, two_layers(), [0, 5], 3), strict=True):
        for name in ("synapse", "slope", "threshold", "capacitance"):
            assert np.array_equal(getattr(a, name), getattr(b, name))


@pytest.mark.parametrize("law", [PLAIN, ALL, MismatchLaw(mean=(("slope", 0.1),))])
def test_a_law_comes_back_from_json(law):
    assert MismatchLaw.from_dict(json.loads(law.to_json())) == law


def test_a_law_says_what_it_has_beyond_independent_terms():
    assert PLAIN.special == ()
    assert ALL.special == ("distribution", "correlation", "common")


def test_a_root_gives_its_correlations_back():
    root = cholesky(NEURON, ALL.correlation)
    np.testing.assert_allclose(root @ root.T, [[1, 0.6, 0], [0.6, 1, -0.3], [0, -0.3, 1]], atol=1e-15)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"distribution": (("slope", "cauchy"),)}, "unknown distribution 'cauchy' of slope"),
        ({"distribution": (("speed", "normal"),)}, "unknown term 'speed'"),
        ({"distribution": (("slope", "student-t:2"),)}, "DF > 2"),
        ({"distribution": (("slope", "student-t"),)}, "DF > 2"),
        ({"distribution": (("threshold", "lognormal"),)}, "cannot be lognormal"),
        ({"distribution": (("slope", "normal"),), "slope": 0.2}, "sigma <= 0.125"),
        ({"distribution": (("slope", "normal"),), "common": (("slope", 0.2),)}, "change a device's sign"),
        ({"distribution": (("slope", "normal"), ("slope", "lognormal"))}, "given twice"),
        ({"correlation": (("slope", "synapse_sink", 0.5),)}, "give each pair of slope, threshold"),
        ({"correlation": (("slope", "slope", 0.5),)}, "each pair"),
        ({"correlation": (("slope", "threshold", 0.5), ("threshold", "slope", 0.5))}, "once"),
        ({"correlation": (("slope", "threshold", 1.0),)}, "between -1 and 1"),
        ({"correlation": (("slope", "threshold", float("nan")),)}, "between -1 and 1"),
        (
            {
                "correlation": (
                    ("slope", "threshold", 0.9),
                    ("threshold", "capacitance", 0.9),
                    ("slope", "capacitance", -0.9),
                )
            },
            "not positive definite",
        ),
        ({"common": (("slope", 2.0),)}, "common sigma of 'slope'"),
        ({"common": (("speed", 0.1),)}, "common sigma of 'speed'"),
    ],
)
def test_what_cannot_be_drawn_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        replace(PLAIN, **change)


def test_a_file_that_is_no_law_is_refused():
    with pytest.raises(InputError, match=r"mismatch law has unknown keys \['speed'\]"):
        MismatchLaw.from_dict({"speed": 0.1})
    with pytest.raises(InputError, match="its normals are needed"):
        ALL.deviations(np.ones((1, 1)), np.zeros((3, 1)), np.zeros((1, 1)))
