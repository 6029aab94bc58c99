"""Plans of sweeps: what can be asked for, what cannot, and what every point means."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from circuits.errors import InputError
from circuits.pdk.technology import Technology
from montecarlo.campaign.conditions import law_at
from montecarlo.campaign.schema import open_dataset
from montecarlo.mismatch.law import TERMS, MismatchLaw
from montecarlo.sweeps import neuron_sweep, sweep
from montecarlo.sweeps.neuron_sweep import campaign_at
from montecarlo.sweeps.sweep import SCHEMA, Sweep

IDEAL = Technology.load("ideal")
PLAN = Sweep(
    "ideal", (("sigma", (0.02, 0.04)), ("window", (2.0, 4.0, 8.0))), samples=20, synapses=2, entropy=3
)


def read(tmp_path, text: str, **options) -> Sweep:
    (tmp_path / "s.toml").write_text(text)
    return Sweep.from_toml(tmp_path / "s.toml", **options)


def test_a_file_gives_a_plan_that_json_can_hold(tmp_path):
    text = "samples = 20\nsynapses = 2\nseed = 3\n[axes]\nsigma = [0.02, 0.04]\nwindow = [2.0, 4.0, 8.0]\n"
    plan = read(tmp_path, text, entropy=8)
    assert plan == PLAN
    content = json.loads(plan.to_json())
    assert content["axes"] == [["sigma", [0.02, 0.04]], ["window", [2.0, 4.0, 8.0]]]
    assert plan.hash == PLAN.hash != dataclasses.replace(PLAN, entropy=4).hash
    assert read(tmp_path, "[axes]\nsize = [1]\n", entropy=8).entropy == 8


def test_points_run_through_the_grid_with_the_last_axis_fastest():
    points = list(PLAN.points())
    assert [place for place, _ in points] == [(i, j) for i in range(2) for j in range(3)]
    assert points[4] == ((1, 1), {"sigma": 0.04, "window": 4.0})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[axes]\nvolume = [1]", "unknown axis 'volume'; known: sigma"),
        ("[axes]\ncorner = [1, 2]", "the ideal technology has no corner"),
        ("[axes]\ntemperature = [1, 2]", "the ideal technology has no temperature"),
        ("[axes]\nbits = [4]", "name one with network"),
        ("[axes]\nsigma = 0.1", "axes.sigma must be a list, each entry a finite number or text, got 0.1"),
        ("[axes]\nsigma = []", "list of different numbers"),
        ("[axes]\nsigma = [0.1, 0.1]", "list of different numbers"),
        ("[axes]\nsigma = [true]", r"axes.sigma\[0\] must be a finite number or text, got True"),
        ("[axes]\nsigma = ['x']", "list of different numbers"),
        ("[axes]\nsigma = [nan]", r"axes.sigma\[0\] is nan; every number must be finite"),
        ("[axes]\nsigma = [-0.1]", "must be > 0"),
        ("[axes]\nsize = [0]", "must be > 0"),
        ("", r"lacks \['axes'\]"),
        ("[axes]", r"\[axes\] is empty"),
        ("[axes]\nsigma = [0.1]\n[common]\nslope = true", "common.slope must be a finite number, got True"),
        ("[axes]\nsigma = [0.1]\n[common]", r"\[common\] must hold lines such as slope"),
        ("[axes]\nsize = [%s]\nsigma = [%s]" % ((",".join(map(str, range(1, 401))),) * 2), "160000 points"),
        ("samples = 1\n[axes]\nsize = [1]", "samples must be a whole number"),
        ("technology = 'gaas'\n[axes]\nsize = [1]", "unknown technology 'gaas'"),
        ("sample = 1\n[axes]\nsize = [1]", r"unknown keys \['sample'\]; known keys: .*samples"),
        ("entropy = 1\n[axes]\nsize = [1]", r"unknown keys \['entropy'\]; known keys: .*seed"),
        ("seed = -1\n[axes]\nsize = [1]", "seed must be a whole number"),
        ("noise = 'n.json'\n[axes]\nsize = [1]", "noise .*does not exist"),
        ("data = 'digits'\n[axes]\nsize = [1]", "belong to a network"),
        ("network = 'net.pt'\n[axes]\nsize = [1]", "network .*does not exist"),
        ("axes = 3", "axes must be an object, got 3"),
        ("][", "is not a TOML file"),
    ],
)
def test_a_mistake_is_named(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, text)
    with pytest.raises(InputError, match="does not exist"):
        Sweep.from_toml(tmp_path / "none.toml")


def test_sigmas_and_sizes():
    """Four times the area, half the sigma; a term's own sigma goes before the common one."""
    base = MismatchLaw.of(IDEAL.mismatch)
    assert law_at({}, base) == base
    assert law_at({"size": 4.0}, base).sigma == dict.fromkeys(TERMS, 0.025)
    law = law_at({"sigma": 0.02, "sigma_slope": 0.1, "size": 100.0}, base)
    assert law.slope == pytest.approx(0.01)
    assert law.threshold == pytest.approx(0.002)


def test_operating_points():
    """Volts per unit stay; time x current = volts x capacitance."""
    plain = point_of({})
    for settings in ({"current": 1e-6}, {"capacitance": 5e-14}, {"current": 1e-8, "capacitance": 1e-12}):
        point = point_of(settings)
        assert point.v_unit == pytest.approx(plain.v_unit)
        assert point.i_unit * point.tau_c == pytest.approx(point.v_unit * point.c_mem, rel=1e-9, abs=0)
        assert point.i_unit == pytest.approx(settings.get("current", point.i_unit))
    assert point_of({"capacitance": 5e-14}).tau_c == plain.tau_c
    assert point_of({"supply": 1.5}).vdd == 1.5
    assert point_of({"window": 8.0}).v_unit < plain.v_unit
    with pytest.raises(InputError, match=r"supply 0.5 V: .*stay within"):
        point_of({"supply": 0.5})
    with pytest.raises(InputError, match=r"window\) must lie in \[2, 10\]"):
        point_of({"window": 50.0})


def point_of(settings):
    return campaign_at(PLAN, IDEAL, settings).point


@pytest.mark.ngspice
def test_a_sweep_that_was_interrupted_goes_on_where_it_was(tmp_path):
    plan = dataclasses.replace(PLAN, axes=(("sigma", (0.02, 0.04)),), samples=4)

    def stop(done: int, total: int) -> None:
        assert total == 8
        if done > 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        neuron_sweep.run(plan, tmp_path / "out", progress=stop)
    half = open_dataset(tmp_path / "out" / "sweep.zarr", SCHEMA)
    assert half["status"].values.tolist() == [0, -1]
    seen: list[int] = []
    resumed = neuron_sweep.run(plan, tmp_path / "out", progress=lambda d, _: seen.append(d)).load()
    assert min(seen) >= 4
    assert resumed.identical(neuron_sweep.run(plan, tmp_path / "whole").load())


@pytest.mark.ngspice
def test_a_sweep_says_what_theory_says(tmp_path):
    """Spread over neurons at random inputs, to first order: the ramp lasts theta - u, its errors are those of
    slope and capacitor; the offset adds. Twice the sigma is nearly twice the spread of the same neurons."""
    dataset = neuron_sweep.run(PLAN, tmp_path / "out", workers=2).load()
    std, ci = dataset["spike_time_std"], dataset["spike_time_std_ci95"]
    assert std.dims == ("sigma", "window")
    assert np.all((ci.sel(bound="low") < std) & (std < ci.sel(bound="high")))
    ratio = std.isel(sigma=1) / std.isel(sigma=0)
    np.testing.assert_allclose(ratio, 2.0, rtol=0.03)  # second order in sigma: 4 % of 4 %, x 20
    assert np.all(np.diff(std.values, axis=1) > 0)
    theta = 8.0
    expected = 0.04 * math.sqrt(2 * theta**2 + 1)
    low, high = ci.isel(sigma=1, window=2).values
    assert 0.8 * low < expected < 1.2 * high
    assert np.all(dataset["failed"] == 0)
    assert np.all(dataset["silent"] == 0)
    for name in dataset.data_vars:
        assert dataset[name].attrs["units"]
        assert dataset[name].attrs["long_name"]


@pytest.mark.ngspice
def test_a_spike_that_is_alone_in_its_pattern_adds_no_spread(make_dataset):
    dataset = make_dataset(40).copy(deep=True)
    times, pattern = dataset["spike_time"], dataset["sample"].values % dataset.sizes["pattern"]
    random = [str(s).startswith("random_") for s in dataset["stimulus"].values]
    first = np.flatnonzero(random)[0]
    times[np.flatnonzero(pattern == 0)[1:], first] = np.inf
    times[:, np.flatnonzero(random)[1:]] = np.inf
    left = [times.values[pattern == k, first] for k in range(1, dataset.sizes["pattern"])]
    variance = np.mean([t.var(ddof=1) for t in left])  # of groups of eight
    seen = neuron_sweep.summarize(dataset, 1)
    # 32 residuals about four means, over 31 instead of 32
    assert seen["spike_time_std"] == pytest.approx(np.sqrt(variance * 32 / 31), rel=1e-9)
    assert seen["silent"] == pytest.approx(1 - 33 / (8 * 40))


def test_energy_follows_the_supply_and_not_the_speed(tmp_path):
    """E = vdd * charge; the charge is C * volts whatever the current. 1e-6: rounding of ngspice's times."""
    axes = (("supply", (1.0, 1.5)), ("current", (1e-7, 4e-7)))
    plan = dataclasses.replace(PLAN, axes=axes, samples=4)
    energy = neuron_sweep.run(plan, tmp_path / "out")["energy"].load()
    np.testing.assert_allclose(energy.isel(supply=1), 1.5 * energy.isel(supply=0), rtol=1e-6)
    np.testing.assert_allclose(energy.isel(current=1), energy.isel(current=0), rtol=1e-6)


def test_the_folder_of_another_sweep_is_left_alone(tmp_path):
    def measure(number, settings):
        return {"x": 1.0}

    variables: sweep.Variables = {"x": ((), "1", "x")}
    sweep.run(PLAN, tmp_path, variables, {}, measure)
    other = dataclasses.replace(PLAN, entropy=4)
    with pytest.raises(InputError, match="another sweep"):
        sweep.run(other, tmp_path, variables, {}, measure)
