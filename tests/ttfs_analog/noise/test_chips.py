"""Chips: the same deviations on every level, and draws that follow the law."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from comparing_chips import identity, same_chip

from circuits.errors import InputError
from circuits.model.closed_form import Constants
from montecarlo.mismatch.law import TERMS, MismatchLaw
from ttfs_analog.conversion.mapping import convert
from ttfs_analog.noise.chips import Chips

LAW = MismatchLaw(0.03, 0.05, 0.07, 0.09, 0.11)


@pytest.fixture
def toy(make_relu):
    return convert(make_relu((6, 12, 9, 3), seed=7), torch.rand(8, 6, dtype=torch.float64))


def test_the_same_number_is_the_same_chip(toy):
    assert same_chip(Chips.draw(LAW, toy, range(3), 5), Chips.draw(LAW, toy, range(3), 5))
    assert not same_chip(Chips.draw(LAW, toy, [1], 5), Chips.draw(LAW, toy, [2], 5))
    assert not same_chip(Chips.draw(LAW, toy, [1], 5), Chips.draw(LAW, toy, [1], 6))


def test_chip_k_does_not_depend_on_how_many_are_drawn(toy):
    many = Chips.draw(LAW, toy, range(10), 5)
    assert same_chip(many[7], Chips.draw(LAW, toy, [7], 5))
    assert same_chip(many[2:4], Chips.draw(LAW, toy, [2, 3], 5))
    assert same_chip(many[-1], Chips.draw(LAW, toy, [9], 5))


def test_slices_and_iteration_keep_the_numbers(toy):
    chips = Chips.draw(LAW, toy, range(4, 9), 5)
    assert len(chips) == 5
    assert chips[1:3].numbers == (5, 6)
    assert [c.numbers for c in chips] == [(4,), (5,), (6,), (7,), (8,)]
    assert chips[-1].numbers == (8,)
    for bad in (5, -6):
        with pytest.raises(IndexError):
            chips[bad]


def test_tensors_hold_the_numbers_of_the_arrays(toy):
    chips = Chips.draw(LAW, toy, range(2), 5)
    for arrays, tensors in zip(chips.layers, chips.deviations(torch.zeros(1).double()), strict=True):
        for name in tensors._fields[:5]:
            assert np.array_equal(getattr(tensors, name).numpy(), getattr(arrays, name))
    assert chips.deviations(torch.zeros(1))[0].synapse.dtype == torch.float32


def test_the_file_brings_the_same_chips_back(toy, tmp_path):
    chips = Chips.draw(LAW, toy, [3, 8], 5)
    back = Chips.load(chips.save(tmp_path / "chips.nc"))
    assert same_chip(back, chips)
    assert (back.numbers, back.entropy) == ((3, 8), 5)


@torch.no_grad()
def test_constants_and_jitter_go_with_the_chips(toy, tmp_path):
    constants = Constants(theta_scale=1.03, turn_on_sink=0.05)
    chips = Chips.draw(LAW, toy, [3, 8], 5, constants, 0.02)
    back = Chips.load(chips.save(tmp_path / "chips.nc"))[1:]
    assert (back.constants, back.jitter) == ((constants,) * 3, (0.02,) * 3)
    x = torch.rand(5, 6, generator=torch.Generator().manual_seed(1)).double()
    assert not torch.equal(toy(x, back.deviations(x)), toy(x, Chips.draw(LAW, toy, [8], 5).deviations(x)))
    together, alone = (c.model(x) for c in (chips, back))
    first, second = toy.trace(x, together)[0][1:], toy.trace(x, together)[0][1:]
    assert torch.equal(first, toy.trace(x, alone)[0])  # a chip's trials are its own
    still = toy.trace(x, back.deviations(x))[0]
    late = (still - first)[(still > 0) & (first > 0) & (first < toy.windows[0])]
    # some 30 normal numbers: four standard errors of their std
    assert float(late.std()) == pytest.approx(0.02, rel=4 / (2 * len(late)) ** 0.5)
    assert not torch.equal(first, second)


@torch.no_grad()
def test_jitter_of_a_read_out_is_added_to_its_logits(toy):
    chips = Chips.draw(LAW, toy, [3], 5, jitter=(0.0, 0.0, 0.02))
    x = torch.rand(1, 6, generator=torch.Generator().manual_seed(1)).double().expand(2000, 6)
    more = toy(x, chips.model(x)) - toy(x, chips.deviations(x))
    # 6000 normal numbers: five standard errors
    assert float(more.std()) == pytest.approx(0.02, rel=5 / (2 * more.numel()) ** 0.5)
    assert abs(float(more.mean())) < 5 * 0.02 / more.numel() ** 0.5


def test_another_file_is_not_taken_for_chips(tmp_path):
    xr.Dataset(attrs={"schema": "other"}).to_netcdf(tmp_path / "other.nc")
    (tmp_path / "text.nc").write_text("chips")
    for name, message in (("other.nc", "schema"), ("text.nc", "cannot be read"), ("none.nc", "not exist")):
        with pytest.raises(InputError, match=message):
            Chips.load(tmp_path / name)


def test_at_least_one_chip_is_needed(toy):
    with pytest.raises(InputError, match="at least one chip"):
        Chips.draw(LAW, toy, [], 0)


def test_identity_deviates_nowhere(toy):
    for layer in identity(toy).layers:
        assert not layer.synapse.any()
        assert not layer.slope.any()
        assert not layer.threshold.any()
        assert not layer.capacitance.any()


def test_same_chip_sees_one_bit(toy):
    a, b = Chips.draw(LAW, toy, [0], 5), Chips.draw(LAW, toy, [0], 5)
    b.layers[1].slope[0, 3] = np.nextafter(b.layers[1].slope[0, 3], 1)
    assert not same_chip(a, b)


def within_law(samples, sigma, mean=0.0):
    """Whether mean and standard deviation of normal samples lie within four standard errors."""
    n = samples.size
    right_mean = abs(samples.mean() - mean) < 4 * sigma / np.sqrt(n)
    right_std = abs(samples.std(ddof=1) - sigma) < 4 * sigma / np.sqrt(2 * n)
    return bool(right_mean and right_std)


def columns(drawn, net):
    """Deviations by term, on the axis on which the law is normal."""
    parts = {term: [] for term in TERMS}
    for layer, d in zip(net.layers, drawn, strict=True):
        weight = layer.weight.detach().numpy()
        synapse = np.log1p(np.asarray(d.synapse))
        parts["synapse_source"].append(synapse[:, weight >= 0].ravel())
        parts["synapse_sink"].append(synapse[:, weight < 0].ravel())
        parts["slope"].append(np.log1p(np.asarray(d.slope)).ravel())
        parts["threshold"].append(np.asarray(d.threshold).ravel())
        parts["capacitance"].append(np.log1p(np.asarray(d.capacitance)).ravel())
    return {term: np.concatenate(v) for term, v in parts.items()}


MEAN = (("synapse_sink", 0.02), ("slope", -0.03), ("threshold", 0.05))


def test_frozen_chips_have_the_moments_of_the_same_law(toy):
    law = MismatchLaw(**LAW.sigma, mean=MEAN)
    for term, samples in columns(Chips.draw(law, toy, range(300), 11).layers, toy).items():
        assert within_law(samples, LAW.sigma[term], dict(MEAN).get(term, 0.0)), term
        assert not within_law(samples, 1.1 * LAW.sigma[term], dict(MEAN).get(term, 0.0)), term


def test_frozen_chips_share_their_common_part_over_all_layers(toy):
    """One draw for both layers of a chip, and none of it in the devices themselves."""
    shared = Chips.draw(MismatchLaw(common=(("slope", 0.1),)), toy, range(3), 1).layers
    for a, b in zip(shared[0].slope, shared[1].slope, strict=True):
        assert len({*a, *b}) == 1
    assert len({float(s) for s in shared[0].slope[:, 0]}) == 3
    with_common, without = (
        Chips.draw(law, toy, [2], 1).layers[1] for law in (replace(LAW, common=(("slope", 0.1),)), LAW)
    )
    assert np.array_equal(with_common.synapse, without.synapse)
    np.testing.assert_allclose(
        np.log1p(with_common.slope) - np.log1p(without.slope), np.log1p(shared[1].slope[2]).mean(), atol=1e-14
    )


def test_a_changed_deviation_is_refused(toy, tmp_path):
    path = Chips.draw(LAW, toy, range(3), 5).save(tmp_path / "chips.nc")
    with xr.open_dataset(path) as stored:
        stored = stored.load()
    stored["slope_1"].values[1, 2] += 1e-9
    stored.to_netcdf(path)
    with pytest.raises(InputError, match=r"chips\.nc is damaged, .* draw the chips again"):
        Chips.load(path)
    del stored.attrs["digest"]  # as files were before there were any
    stored.to_netcdf(path)
    assert not same_chip(Chips.load(path), Chips.draw(LAW, toy, range(3), 5))
