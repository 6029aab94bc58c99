"""The set of a read-out layer: what a noise model holds of it, and what networks take from it."""

from __future__ import annotations

import json

import pytest
import torch
from synthetic_transistors import JITTER, READ_OUT, campaign, read_outs

from circuits.errors import InputError
from ttfs_analog.conversion.mapping import convert
from ttfs_analog.noise.layered import LayeredNoise
from ttfs_analog.noise.noise_model import NoiseModel
from ttfs_analog.noise.per_image import PerImage
from ttfs_analog.noise.summary import figures
from ttfs_analog.noise.terms import SAMPLING


@pytest.fixture(scope="module")
def read_out():
    return NoiseModel.fit(read_outs(100))


@pytest.fixture(scope="module")
def both(read_out):
    return LayeredNoise((NoiseModel.fit(campaign(100)), read_out)).extrapolated()


@pytest.fixture
def toy(make_relu):
    return convert(make_relu((6, 12, 3), seed=7), torch.rand(8, 6, dtype=torch.float64))


def test_it_has_what_a_read_out_has(read_out):
    assert set(read_out.terms) == {"synapse_source", "synapse_sink", "capacitance", "reference", SAMPLING}
    assert read_out.jitter == pytest.approx(JITTER, rel=4 / 60**0.5)
    assert set(read_out.energy) == {"source", "reference"}
    assert read_out.constants.kick == pytest.approx(READ_OUT.kick, abs=1e-6)
    assert "samples from each neuron's own deviations" in read_out.summary()


def test_the_file_holds_it_among_others(both, tmp_path):
    back = NoiseModel.load(both.save(tmp_path / "model.json"))
    assert back == both
    found = json.loads(json.dumps(figures(back)))["holdout"]
    assert found["rms_potential"] == both.of(1).holdout["rms_potential"]
    assert found["rms_tau_c"] == pytest.approx(both.of(0).holdout["rms_tau_c"])


@torch.no_grad()
def test_a_network_draws_its_chips(both, toy):
    """Constants, devices and noise of the logits are those of the set."""
    chips = both.sample(toy, 2)
    assert chips.jitter == (both.of(0).jitter, both.of(1).jitter)
    assert chips.constants[1] == both.of(1).constants
    assert not chips.layers[1].slope.any()
    x = torch.rand(1, 6, generator=torch.Generator().manual_seed(1)).double().expand(1500, 6)
    laws, constants, jitter = zip(*(both.of(n).of_layer(n == 0) for n in (0, 1)), strict=True)
    drawn = PerImage(laws, torch.Generator().manual_seed(2), constants, (0.0, jitter[1]))
    assert float(toy(x, drawn).std(0).min()) > jitter[1]


def test_a_layer_that_spikes_is_refused(read_out, toy):
    with pytest.raises(InputError, match="layer 0: the noise model has no term slope, threshold"):
        read_out.extrapolated().check_range(toy)


def test_neurons_that_spike_stand_for_a_read_out_without_kick_or_jitter(both, toy):
    chips = both.of(0).sample(toy, 1)
    assert (chips.constants[1].kick, chips.jitter[1]) == (0.0, 0.0)
    assert (chips.constants[0], chips.jitter[0]) == (both.of(0).constants, both.of(0).jitter)
