"""Designs of samples: the same sample in any batch and order, true strata, and less variance of a mean."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import special, stats

from circuits.errors import InputError
from circuits.pdk.technology import Technology
from montecarlo.campaign.campaign import Campaign
from montecarlo.campaign.ideal_neuron import draw_samples
from montecarlo.mismatch.seeds import generator
from montecarlo.mismatch.space_filling import DESIGNS, normals

EVEN = ("latin", "sobol")
N, D = 100, 11


@pytest.mark.parametrize("design", DESIGNS)
def test_a_sample_does_not_depend_on_its_batch_or_order(design):
    """No tolerance: the same bits, from batches of any size, jumps, repeats and single samples."""
    whole = normals(design, 3, np.arange(N), N, D)
    rng = np.random.default_rng(0)
    for size in (1, 7, 64):
        batches = np.split(rng.permutation(N), range(size, N, size))
        for batch in batches:
            assert np.array_equal(normals(design, 3, batch, N, D), whole[batch])
    again = np.array([5, 0, 99, 5, 6])
    assert np.array_equal(normals(design, 3, again, N, D), whole[again])


@pytest.mark.parametrize("design", DESIGNS)
def test_seeds_tell_designs_apart(design):
    one, other = (normals(design, entropy, np.arange(8), 8, D) for entropy in (0, 1))
    assert not np.any(one == other)


@pytest.mark.parametrize("design", DESIGNS)
def test_every_column_is_standard_normal_and_no_two_are_alike(design):
    """D x 4 standard errors of 1024 values."""
    z = normals(design, 1, np.arange(1024), 1024, D)
    assert np.all(np.isfinite(z))
    assert np.abs(z.mean(0)).max() < 4 / 32
    assert np.abs(z.std(0) - 1).max() < 4 / np.sqrt(2 * 1024)
    assert np.abs(np.corrcoef(z.T) - np.eye(D)).max() < 4.5 / 32
    assert min(stats.kstest(column, stats.norm.cdf).pvalue for column in z.T) > 1e-3


@pytest.mark.parametrize("design", EVEN)
def test_every_stratum_has_one_sample(design):
    n = 128
    strata = np.floor(n * special.ndtr(normals(design, 2, np.arange(n), n, D))).astype(int)
    for column in strata.T:
        assert sorted(column) == list(range(n))


def test_a_plain_sample_is_the_stream_of_its_number():
    assert np.array_equal(normals("plain", 4, np.array([9]), N, D)[0], generator(4, 9).standard_normal(D))


def test_a_sobol_sample_does_not_depend_on_how_many_there_are():
    one, other = (normals("sobol", 4, np.array([3, 9]), n, D) for n in (10, 1000))
    assert np.array_equal(one, other)


def test_a_latin_sample_beyond_the_last_begins_again():
    assert np.array_equal(
        normals("latin", 4, np.array([N + 2]), N, D), normals("latin", 4, np.array([2]), N, D)
    )


def variance_of_the_mean(design, function, seeds=200, n=64):
    means = [function(normals(design, seed, np.arange(n), n, 5)).mean() for seed in range(seeds)]
    return np.var(means)


@pytest.mark.parametrize("design", EVEN)
def test_the_mean_of_a_spike_time_has_less_variance(design):
    """An additive law and a ratio of two: 10 times less at least; F of 200 means is known to 1.3."""

    def ratio(z):
        return (1 + 0.1 * z[:, 0]) * np.exp(0.1 * z[:, 1] - 0.1 * z[:, 2])

    for function in (lambda z: np.exp(0.1 * z).sum(1), ratio):
        plain = variance_of_the_mean("plain", function)
        assert variance_of_the_mean(design, function) < plain / 10


def test_sobol_is_even_in_pairs_of_devices_where_latin_is_not():
    """The mean of a product: a hypercube is only even in one device at a time."""
    plain, latin, sobol = (variance_of_the_mean(d, lambda z: z[:, 0] * z[:, 1]) for d in DESIGNS)
    assert latin > plain / 2
    assert sobol < plain / 5


@pytest.mark.parametrize("design", DESIGNS)
def test_a_campaign_draws_by_its_design(design):
    """Samples of a law that is log-linear in its normals are these normals; 1e-13 of exp and log."""
    plan = Campaign.characterize(Technology.load("ideal"), 16, 2, synapses=3, design=design)
    drawn = draw_samples(plan, np.arange(16))
    z = normals(design, 2, np.arange(16), 16, 6)
    np.testing.assert_allclose(np.log1p(drawn.slope[0]), 0.05 * z[:, 0], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(drawn.threshold[0], 0.05 * z[:, 1], rtol=1e-12)
    np.testing.assert_allclose(np.log1p(drawn.synapse[0]), 0.05 * z[:, 3:], rtol=1e-12, atol=1e-14)
    alone = draw_samples(plan, np.array([7]))
    for field in dataclasses.fields(drawn):
        assert np.array_equal(getattr(alone, field.name)[:, 0], getattr(drawn, field.name)[:, 7])


def test_every_sample_of_a_campaign_is_from_a_chip_of_its_own():
    plan = Campaign.characterize(Technology.load("ideal"), 8, 2, synapses=3)
    law = dataclasses.replace(plan.law, slope=0.0, common=(("slope", 0.1),))
    slope = draw_samples(dataclasses.replace(plan, law=law), np.arange(8)).slope[0]
    assert len(set(slope.tolist())) == 8
    assert np.array_equal(
        slope[[5]], draw_samples(dataclasses.replace(plan, law=law), np.array([5])).slope[0]
    )


def test_designs_that_cannot_be_made_are_refused():
    with pytest.raises(InputError, match="unknown design 'halton'; available: plain, latin, sobol"):
        Campaign.characterize(Technology.load("ideal"), 8, design="halton")
    with pytest.raises(InputError, match=r"Latin hypercube.*use sobol"):
        Campaign.characterize(Technology.load("ideal"), 10**7, design="latin")
    with pytest.raises(InputError, match="Sobol' sequence has 2\\^30"):
        normals("sobol", 0, np.array([0]), 2**31, 3)
    with pytest.raises(InputError, match="numbered from 0"):
        normals("plain", 0, np.array([-1]), 4, 3)
