"""Campaigns of ideal neurons in ngspice: same seed same bits, planted sigmas recovered."""

from __future__ import annotations

import numpy as np

from circuits.pdk.technology import Technology
from montecarlo.campaign.campaign import Campaign
from montecarlo.campaign.schema import MEASURED, open_dataset
from montecarlo.extraction.by_technology import extract
from montecarlo.mismatch.law import TERMS
from ttfs_analog.noise.noise_model import NoiseModel

IDEAL = Technology.load("ideal")


def bytes_of(folder) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_same_seed_same_bits_and_another_seed_other_bits(tmp_path):
    for name, seed, workers in (("a", 3, 1), ("b", 3, 2), ("c", 4, 1)):
        Campaign.characterize(IDEAL, 40, seed).run(tmp_path / name, workers=workers)
    a, b, c = (bytes_of(tmp_path / name) for name in "abc")
    assert a == b
    assert a != c
    assert not np.array_equal(
        open_dataset(tmp_path / "a")["spike_time"],
        open_dataset(tmp_path / "c")["spike_time"],
    )


def test_a_sample_does_not_depend_on_how_many_were_asked_for(tmp_path):
    """To the last bit: the last deck of a campaign is as full as the others."""
    few = Campaign.characterize(IDEAL, 30, 5).run(tmp_path / "few").load()
    many = Campaign.characterize(IDEAL, 50, 5).run(tmp_path / "many").load()
    for name in MEASURED:
        assert np.array_equal(few[name], many[name].isel(sample=slice(30)), equal_nan=True), name


def test_zero_mismatch_has_zero_spread(tmp_path):
    """1e-9 of a unit is asked for; rounding leaves about 1e-12."""
    zero = dict.fromkeys(TERMS, 0.0)
    dataset = Campaign.characterize(IDEAL, 60, 0, sigma=zero).run(tmp_path / "run").load()
    model = NoiseModel.fit(dataset)
    for name, term in model.terms.items():
        assert term.std < 1e-9, name
        assert abs(term.mean) < 1e-9, name
    same_pattern = dataset.isel(sample=dataset["sample"] % dataset.sizes["pattern"] == 0)
    for name in ("spike_time", "v_t_min", "slope"):
        assert float(same_pattern[name].std("sample").max()) < 1e-9, name


def test_extraction_finds_what_was_injected(tmp_path):
    """Every single deviation, not only the sigmas, from spike times alone: 1e-9."""
    dataset = Campaign.characterize(IDEAL, 50, 9).run(tmp_path / "run").load()
    found = extract(dataset).deviations
    for name in found:
        np.testing.assert_allclose(found[name], dataset[f"deviation_{name}"], rtol=0, atol=1e-9)


def test_injected_sigmas_lie_in_the_reported_intervals(tmp_path):
    """At least 18 of 20 seeds a term; 95 % intervals miss one seed in twenty on average."""
    sigma = {"synapse_source": 0.04, "synapse_sink": 0.06, "slope": 0.05, "threshold": 0.03}
    inside = dict.fromkeys(TERMS, 0)
    for seed in range(20):
        plan = Campaign.characterize(IDEAL, 200, seed, sigma=sigma)
        model = NoiseModel.fit(plan.run(tmp_path / str(seed), workers=2), seed)
        for name, term in model.terms.items():
            inside[name] += term.std_ci[0] <= plan.law.sigma[name] <= term.std_ci[1]
    assert all(count >= 18 for count in inside.values()), inside
