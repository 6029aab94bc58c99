"""One set of noise a layer: each layer is what its own model makes of it, and the file brings all back."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
import xarray as xr
from comparing_chips import same_chip

from circuits.errors import InputError
from circuits.model.closed_form import IDEAL, Constants
from circuits.pdk.technology import Technology
from montecarlo.mismatch.law import MismatchLaw
from ttfs_analog.conversion.mapping import convert
from ttfs_analog.evaluation.accuracy import evaluate
from ttfs_analog.evaluation.verification import fresh_chips
from ttfs_analog.noise.chips import Chips
from ttfs_analog.noise.layered import LayeredNoise
from ttfs_analog.noise.noise_model import NoiseModel
from ttfs_analog.noise.summary import figures
from ttfs_analog.training.finetuning import finetune

NO = MismatchLaw()


@pytest.fixture(scope="module")
def first(transistor_noise):
    """Transistors, with jitter and delays of which layers share a part."""
    return transistor_noise.extrapolated()


@pytest.fixture(scope="module")
def both(first, make_noise):
    return LayeredNoise((first, make_noise(0.05)), "a network")


@pytest.fixture
def toy(make_relu):
    return convert(make_relu((6, 12, 3), seed=7), torch.rand(8, 6, dtype=torch.float64))


def test_chips_are_those_of_each_layers_own_model(both, toy):
    """Bit for bit, by hand: layer n of the chips that model n alone would draw."""
    chips = both.sample(toy, 3, seed=4, first=2)
    assert chips.numbers == (2, 3, 4)
    alone = [m.sample(toy, 3, seed=4, first=2) for m in both.layers]
    assert same_chip(chips, Chips(4, chips.numbers, tuple(c.layers[n] for n, c in enumerate(alone))))
    assert chips.constants == tuple(m.constants for m in both.layers)
    assert chips.jitter == (both.of(0).jitter, 0.0)
    assert [json.loads(m.law.to_json()) for m in both.layers] == json.loads(chips.law)


@torch.no_grad()
def test_a_network_runs_as_its_layers_do_one_by_one(both, toy):
    x = torch.rand(5, 6, generator=torch.Generator().manual_seed(1)).double()
    chips = both.sample(toy, 4)
    hidden, logits = toy.trace(x, chips.deviations(x))
    one, two = (m.sample(toy, 4).deviations(x) for m in both.layers)
    by_hand = toy.layers[0](x, one[0])
    assert torch.equal(hidden, by_hand)
    assert torch.equal(logits, toy.layers[1](by_hand, two[1]))
    jittery = toy.trace(x, chips.model(x))[0]
    assert torch.equal(jittery, toy.trace(x, both.of(0).sample(toy, 4).model(x))[0])
    assert not torch.equal(jittery, hidden)


def test_the_evaluation_of_equal_layers_is_that_of_one_model(first, net, digits):
    few = (digits.x_test[:50], digits.y_test[:50])
    twice, once = LayeredNoise((first, first)).sample(net, 3, 1), first.sample(net, 3, 1)
    assert twice == dataclasses.replace(once, layers=twice.layers)
    assert evaluate(net, few, twice).identical(evaluate(net, few, once))


@torch.no_grad()
def test_jitter_is_that_of_its_layer(make_relu):
    net = convert(make_relu((6, 12, 9, 3), seed=7), torch.rand(8, 6, dtype=torch.float64))
    layers = Chips.draw(NO, net, [0], 1).layers
    x = torch.rand(40, 6, generator=torch.Generator().manual_seed(1)).double()
    chips = Chips(1, (0,), layers, jitter=(0.0, 0.02, 0.0))
    still, late = ([values[0] for values in net.trace(x, c)] for c in (chips.deviations(x), chips.model(x)))
    assert torch.equal(late[0], still[0])
    moved = late[1] - still[1]
    inside = (still[1] > 0.1) & (still[1] < net.windows[1] - 0.1)
    # n normal numbers: four standard errors of their standard deviation
    count = int(inside.sum())
    assert float(moved[inside].std()) == pytest.approx(0.02, rel=4 / (2 * count) ** 0.5)


def test_the_file_brings_everything_back(both, tmp_path):
    path = both.save(tmp_path / "folder" / "noise.json")
    assert NoiseModel.load(path) == both
    content = json.loads(path.read_text())
    assert content["schema"] == "ttfs-analog/noise-model/2"
    assert content["network"] == "a network"
    assert len(content["layers"]) == 2
    back = NoiseModel.load(LayeredNoise(both.layers).save(path))
    assert back.network == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["layers"][1].pop("terms"), r"layer 1 is not a complete noise model: lacks \['terms'\]"),
        (lambda c: c["layers"][0]["terms"]["delay"].update(unit="1"), "layer 0 .* delay has unit '1'"),
        (lambda c: c.update(layers=[]), "set of at least one layer"),
        (lambda c: c.update(layers=3), "layers must be a list, each entry an object, got 3"),
        (lambda c: c.update(terms={}), r"unknown keys \['terms'\]; known keys: layers, network"),
    ],
)
def test_a_file_that_is_not_whole_is_refused(both, tmp_path, change, message):
    path = both.save(tmp_path / "noise.json")
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        NoiseModel.load(path)


def test_chips_come_back_from_their_file_and_from_that_of_one_set(both, first, toy, tmp_path):
    chips = both.sample(toy, 2)
    back = Chips.load(chips.save(tmp_path / "chips.nc"))
    assert same_chip(back, chips)
    assert (back.constants, back.jitter, back.law) == (chips.constants, chips.jitter, chips.law)
    with xr.open_dataset(tmp_path / "chips.nc") as stored:
        stored = stored.load()
    single = {"constants": json.dumps(dataclasses.asdict(first.constants)), "jitter": first.jitter}
    del stored.attrs["digest"]  # as files were before there were any
    stored.assign_attrs(single).to_netcdf(tmp_path / "single.nc")
    single = Chips.load(tmp_path / "single.nc")
    assert (single.constants, single.jitter) == ((first.constants,) * 2, (first.jitter,) * 2)


def test_another_number_of_layers_is_refused(both, toy, make_relu, digits):
    deep = convert(make_relu((6, 12, 9, 3)), torch.rand(8, 6, dtype=torch.float64))
    message = "holds 2 layers, the network has 3"
    with pytest.raises(InputError, match=message):
        both.check_range(deep)
    with pytest.raises(InputError, match=message):
        both.sample(deep, 1)
    with pytest.raises(InputError, match=message):
        finetune(deep, (torch.rand(8, 6).double(), torch.zeros(8, dtype=torch.int64)), both, epochs=1)
    with pytest.raises(InputError, match="layer 2: the noise model holds 2 layers"):
        both.of(2)
    with pytest.raises(InputError, match="2 constants for a network of 3 layers"):
        Chips.draw(NO, deep, [0], 0, [IDEAL, Constants(kick=0.1)])
    with pytest.raises(InputError, match="at least one layer"):
        LayeredNoise(())


def test_each_layer_has_a_range_of_its_own(both, first, toy):
    narrow = dataclasses.replace(both.of(1), validity={"weight": {"max": 1e-3}, "window": {"max": None}})
    with pytest.raises(InputError, match="layer 1: weight"):
        LayeredNoise((first, narrow)).check_range(toy)
    with pytest.raises(InputError, match="layer 0: weight"):
        LayeredNoise((narrow, first)).check_range(toy)
    LayeredNoise((first, narrow)).extrapolated().check_range(toy)


def test_the_silent_model_has_no_spread_in_any_layer(both, toy):
    quiet = both.silent()
    assert [m.constants for m in quiet.layers] == [m.constants for m in both.layers]
    chips = quiet.sample(toy, 2)
    assert all(np.ptp(layer.slope) == 0.0 for layer in chips.layers)
    assert chips.jitter == (0.0, 0.0)


def test_figures_are_by_layer_and_those_held_out_are_pooled(both):
    found = figures(both)
    assert found["terms"]["layer0.slope"]["std"] == both.of(0).terms["slope"].std
    assert found["reference"]["layer0.tail"]["std"] == both.of(0).reference["tail"].std
    assert "layer1.jitter" not in found["terms"]
    assert found["constants"]["layer0.delay"]["value"] == both.of(0).constants.delay
    assert found["energy"]["layer1.source"] == both.of(1).energy["source"]
    assert (found["n_samples"], found["technology"]) == (500, "generic130, ideal")
    held, (a, b) = found["holdout"], (m.holdout for m in both.layers)
    assert held["n_neurons"] == a["n_neurons"] + b["n_neurons"]
    # by hand: 200 and 300 good samples
    assert held["coverage_95"] == pytest.approx(0.4 * a["coverage_95"] + 0.6 * b["coverage_95"], rel=1e-12)
    rms = (0.4 * a["rms_without_model_tau_c"] ** 2 + 0.6 * b["rms_without_model_tau_c"] ** 2) ** 0.5
    assert held["rms_without_model_tau_c"] == pytest.approx(rms, rel=1e-12)
    low, high = held["coverage_95_ci"]
    assert low <= held["coverage_95"] <= high
    assert high - low < max(np.ptp(m["coverage_95_ci"]) for m in (a, b))
    json.dumps(found)


def test_layers_of_one_campaign_pool_to_its_own_figures(noise):
    assert LayeredNoise((noise, noise)).holdout["rms_without_model_tau_c"] == pytest.approx(
        noise.holdout["rms_without_model_tau_c"], rel=1e-12
    )


def test_the_summary_has_a_block_a_layer(both):
    text = both.summary()
    assert text.count("term  ") == 2
    assert text.index("layer 0\n") < text.index("reference tail") < text.index("layer 1\n")


def test_one_model_is_that_of_every_layer(noise):
    assert noise.of(0) is noise.of(5) is noise.sets[0] is noise


def test_fresh_chips_are_drawn_at_the_sigmas_of_each_layers_campaign(make_dataset, toy):
    one, two = (
        NoiseModel.fit(make_dataset(40, dict.fromkeys(("slope", "threshold"), sigma)))
        for sigma in (0.02, 0.2)
    )
    chips = fresh_chips(toy, Technology.load("ideal"), LayeredNoise((one, two)), 2, 3)
    laws = [m.provenance["plan"]["law"]["slope"] for m in (one, two)]
    assert [law["slope"] for law in json.loads(chips.law)] == laws


def test_a_training_of_other_noise_in_one_layer_is_another(both, toy, tmp_path):
    data = (torch.rand(16, 6).double(), torch.zeros(16, dtype=torch.int64))
    options = {"epochs": 1, "checkpoint": tmp_path / "run.pt", "resume": True}
    finetune(toy, data, both, **options)
    other = LayeredNoise((both.of(0), both.of(1).silent()))
    with pytest.raises(InputError, match="noise model: "):
        finetune(toy, data, other, **options)
