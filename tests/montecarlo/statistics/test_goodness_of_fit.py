"""Tests of laws: the right law passes as often as it should, planted wrong ones are found."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from circuits.errors import InputError
from montecarlo.statistics.goodness_of_fit import anderson_darling, kolmogorov_smirnov, tails


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(("critical", "p"), [(0.631, 0.1), (0.752, 0.05), (0.873, 0.025), (1.035, 0.01)])
def test_p_at_the_critical_values_of_the_handbook(critical, p):
    """D'Agostino & Stephens (1986), table 4.7: values scaled until A^2 is critical; the p of table 4.9 is
    within 3 %."""
    z = stats.norm.ppf((np.arange(1, 400) - 0.5) / 399)

    def statistic(bend):
        return anderson_darling(z + bend * z**2).statistic - critical

    low, high = 0.0, 0.3
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if statistic(middle) < 0 else (low, middle)
    assert anderson_darling(z + low * z**2).p == pytest.approx(p, rel=0.03)


def test_normal_samples_fail_as_often_as_they_should():
    """2000 normal samples at 5 %: 100 +- 4 x 9.7; p is uniform."""
    p = np.array([anderson_darling(x).p for x in rng(1).normal(size=(2000, 50))])
    assert abs(np.sum(p < 0.05) - 100) <= 39
    assert stats.kstest(p, "uniform").pvalue > 1e-4


@pytest.mark.parametrize("law", [stats.expon, stats.t(3), stats.uniform, stats.lognorm(0.5)])
def test_other_laws_are_found(law):
    assert anderson_darling(law.rvs(size=400, random_state=rng(2))).p < 1e-6


def test_the_place_and_scale_of_values_do_not_matter():
    x = rng(3).normal(size=100)
    assert anderson_darling(5 + 1e-9 * x).p == pytest.approx(anderson_darling(x).p, rel=1e-5)
    assert tails(1e-15 * x).p == pytest.approx(tails(x).p, rel=1e-3, abs=1e-6)


def test_a_far_outlier_has_p_near_0_and_not_a_fit_that_turned_up_again():
    assert anderson_darling(np.append(np.zeros(5000), 1.0) + 1e-6 * rng().normal(size=5001)).p < 1e-30


def test_what_does_not_vary_has_no_law():
    assert all(math.isnan(v) for v in anderson_darling(np.full(20, 0.3)))
    assert all(math.isnan(v) for v in tails(np.full(20, 0.3)))


@pytest.mark.parametrize("function", [anderson_darling, tails])
def test_few_or_broken_values_are_refused(function):
    with pytest.raises(InputError, match="at least 8"):
        function(np.arange(7.0))
    with pytest.raises(InputError, match="1 of 9 are not"):
        function(np.append(np.arange(8.0), np.nan))


@pytest.mark.parametrize("freedom", [3, 5, 8])
def test_a_planted_student_t_is_detected_and_measured(freedom):
    """4000 values: 1/nu is known to about 0.015 (information matrix); 4 of these."""
    fit = tails(0.05 * rng(4).standard_t(freedom, size=4000))
    assert fit.p < 1e-6
    assert fit.kurtosis_p < 1e-6
    assert 1 / fit.freedom == pytest.approx(1 / freedom, abs=0.06)


def test_normal_samples_have_heavy_tails_no_more_often_than_they_should():
    """300 normal samples at 5 %: 15 + 4 x 3.8 at most; the likelihood ratio is below its asymptotic law."""
    p = np.array([tails(x).p for x in rng(5).normal(size=(300, 200))])
    assert np.sum(p < 0.05) <= 30
    assert np.sum(p == 1.0) > 100  # the boundary: half of them


def test_light_tails_are_not_heavy():
    fit = tails(rng(6).uniform(size=500))
    assert (fit.freedom, fit.p) == (math.inf, 1.0)
    assert fit.kurtosis_p > 0.99


def test_kolmogorov_smirnov_is_scipys_and_finds_a_wrong_sigma():
    """3000 values: a sigma wrong by 20 % moves the law by 0.044, the 1 % limit is 0.030."""
    x = rng(7).normal(0.0, 0.05, size=3000)
    right, wrong = (kolmogorov_smirnov(x, stats.norm(0, sigma).cdf) for sigma in (0.05, 0.06))
    assert right.p > 0.01
    assert wrong.p < 0.01
    assert right.statistic == stats.kstest(x, stats.norm(0, 0.05).cdf).statistic


def test_kolmogorov_smirnov_takes_a_sample_of_the_model():
    x = rng(8).normal(size=(3, 500))
    assert kolmogorov_smirnov(x[0], x[1]).p > 0.01
    assert kolmogorov_smirnov(x[0], x[1] + 1).p < 1e-6
    with pytest.raises(InputError, match="distribution function or an array"):
        kolmogorov_smirnov(x[0], 0.05)
    with pytest.raises(InputError, match="not"):
        kolmogorov_smirnov(x[0], np.array([np.nan]))
