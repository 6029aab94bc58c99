"""Draws of transistors: the same copy every time, the law that is stated and not one close to it."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from circuits.benches.testbench import Device
from circuits.pdk.technology import Size, Technology
from montecarlo.mismatch.seeds import generator
from montecarlo.mismatch.transistors import draw, draw_capacitor, draw_chip

FEW = settings(max_examples=30, deadline=None)
SIZE = Size("p", 0.3e-6, 2e-6)
MANY = 20_000


def devices(n: int, vth: float = 4e-3, beta: float = 0.1) -> list[Device]:
    return [Device(f"w{k}_ma", "source_mirror", SIZE, 1, vth, beta) for k in range(n)]


def columns(n: int, entropy: int = 3, **sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Threshold shifts and logarithms of current factors of n devices."""
    drawn = np.array(list(draw(devices(n, **sigma), generator(entropy, 0)).values()))
    return drawn[:, 0], np.log(drawn[:, 1])


@FEW
@given(st.integers(0, 2**64), st.integers(0, 10**6))
def test_sample_k_of_an_entropy_is_always_the_same_and_no_other(entropy, k):
    one, again, next_ = (draw(devices(5), generator(entropy, j)) for j in (k, k, k + 1))
    assert one == again
    assert all(one[path] != next_[path] for path in one)


@FEW
@given(st.integers(0, 2**32), st.integers(1, 20), st.integers(1, 20))
def test_devices_added_at_the_end_leave_the_others_alone(entropy, n, more):
    few, many = (draw(devices(m), generator(entropy, 0)) for m in (n, n + more))
    assert few == {path: many[path] for path in few}


@FEW
@given(st.integers(0, 2**32))
def test_four_times_the_area_is_the_same_chip_with_half_the_deviations(entropy):
    """1e-14: exp and log give back their argument to an ulp or two."""
    small, large = (
        draw(devices(4, vth, beta), generator(entropy, 0)) for vth, beta in ((4e-3, 0.1), (2e-3, 0.05))
    )
    for path, (shift, factor) in small.items():
        assert large[path][0] == pytest.approx(shift / 2, rel=1e-14)
        assert math.log(large[path][1]) == pytest.approx(math.log(factor) / 2, rel=1e-12, abs=1e-14)


def test_moments():
    """20 000 devices know their sigma to 0.5 % and their mean to sigma / 141: 4 of each."""
    shift, log_factor = columns(MANY)
    for value, sigma in ((shift, 4e-3), (log_factor, 0.1)):
        assert value.std() == pytest.approx(sigma, rel=0.02)
        assert abs(value.mean()) < 4 * sigma / math.sqrt(MANY)
    assert abs(np.corrcoef(shift, log_factor)[0, 1]) < 4 / math.sqrt(MANY)
    assert abs(np.corrcoef(shift[1:], shift[:-1])[0, 1]) < 4 / math.sqrt(MANY)


def test_the_law_is_the_stated_one_and_a_wrong_one_is_told_apart():
    """Kolmogorov-Smirnov: sigma off by 7 %, or a current factor that is normal, not lognormal."""
    shift, log_factor = columns(MANY, beta=0.3)
    assert stats.kstest(shift, "norm", (0, 4e-3)).pvalue > 1e-3
    assert stats.kstest(log_factor, "norm", (0, 0.3)).pvalue > 1e-3
    assert stats.kstest(shift, "norm", (0, 4e-3 * 1.07)).pvalue < 1e-6
    assert stats.kstest(np.exp(log_factor), "norm", (1, 0.3)).pvalue < 1e-6


def test_each_device_has_its_own_sigma():
    one, other = devices(1)[0], dataclasses.replace(devices(1)[0], path="w1_ma", sigma_vth=0.0)
    drawn = draw([one, other], generator(0, 0))
    assert drawn["w0_ma"][0] != 0
    assert drawn["w1_ma"][0] == 0
    assert drawn["w1_ma"][1] != 1
    assert set(draw(devices(3, 0.0, 0.0), generator(0, 0)).values()) == {(0.0, 1.0)}


def test_capacitors_follow_their_plate_area():
    """1 % um at 1.5 fF/um^2: 100 fF are 67 um^2, so 0.122 %; four standard errors of 4000 draws."""
    process = Technology.load("generic130").transistors()
    for farads, sigma in ((100e-15, 1.2247e-3), (25e-15, 2.4495e-3)):
        drawn = [draw_capacitor(farads, process, generator(0, k)) for k in range(4000)]
        assert np.std(drawn) == pytest.approx(sigma, rel=4 / math.sqrt(2 * 4000))


def bench(synapses: int) -> list[Device]:
    """Devices as a neuron's bench lists them: references, synapses, the neuron."""
    paths = ["ref_mpb", "ref_mnb", *(f"w{j}_ma" for j in range(synapses)), "n_slope_mb1", "n_cmp_m1"]
    return [dataclasses.replace(devices(1)[0], path=p) for p in paths]


PROCESS = Technology.load("generic130").transistors()


def test_neurons_of_a_layer_share_its_references_and_layers_share_nothing():
    chip, next_layer = (draw_chip([bench(2), bench(2)], [1e-13] * 2, PROCESS, 1, 0, n) for n in (0, 1))
    one, two = chip.transistors
    assert set(one) == {d.path for d in bench(2)}
    assert all((one[p] == two[p]) == p.startswith("ref_") for p in one)
    assert chip.capacitors[0] != chip.capacitors[1]
    assert all(one[p] != next_layer.transistors[0][p] for p in one)
    assert chip.capacitors[0] != next_layer.capacitors[0]


@FEW
@given(st.integers(0, 2**32), st.integers(0, 100))
def test_a_neuron_of_a_chip_keeps_its_devices_when_fan_in_or_layer_grow(entropy, chip):
    small = draw_chip([bench(2), bench(2)], [1e-13] * 2, PROCESS, entropy, chip)
    large = draw_chip([bench(5), bench(2), bench(3)], [1e-13] * 3, PROCESS, entropy, chip)
    few, many = small.transistors[0], large.transistors[0]
    assert few == {p: many[p] for p in few}
    assert small.capacitors.tolist() == large.capacitors[:2].tolist()


def test_chips_differ():
    chips = [draw_chip([bench(1)], [1e-13], PROCESS, *key).transistors[0] for key in ((1, 0), (1, 1), (2, 0))]
    assert all(len({c[p] for c in chips}) == 3 for p in chips[0])
