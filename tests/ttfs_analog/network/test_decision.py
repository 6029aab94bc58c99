"""First-spike read-out: who wins, who is rejected, and what training sees."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from comparing_chips import identity
from placing import first_spike

from circuits.simulation import feed_forward
from montecarlo.mismatch.law import MismatchLaw
from ttfs_analog.conversion.mapping import agreement, to_relu
from ttfs_analog.evaluation.accuracy import evaluate, summarize
from ttfs_analog.evaluation.energy import energy
from ttfs_analog.network.decision import REJECTED, classes, read_out_of
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.network.windows import choose_windows, latency
from ttfs_analog.neuron.layers import SCORES
from ttfs_analog.noise.chips import Chips
from ttfs_analog.noise.per_image import PerImage
from ttfs_analog.training.recipe import Recipe
from ttfs_analog.training.training import accuracy, train

QUIET, LOUD = MismatchLaw(0.0, 0.0, 0.0, 0.0, 0.0), MismatchLaw(0.1, 0.1, 0.1, 0.1, 0.1)


@pytest.fixture(scope="module")
def spiking(net, digits):
    """Not to be changed; clone it."""
    return first_spike(net, digits.x_train)


def test_the_largest_activation_wins_and_nobody_is_rejected():
    logits = torch.tensor([[0.0, 0.2, 0.1], [0.0, 0.0, 0.0], [-1.0, -0.5, -2.0]])
    assert classes(logits, "first-spike").tolist() == [1, REJECTED, REJECTED]
    assert classes(logits).tolist() == [1, 0, 1]
    assert classes(logits.expand(4, 3, 3), "first-spike").shape == (4, 3)


def test_networks_say_how_they_are_read_out(net, spiking, trained):
    assert [read_out_of(m) for m in (net, spiking, trained[0])] == ["sampled", "first-spike", "sampled"]


def test_the_first_to_fire_is_the_largest_potential_where_one_is_above_zero(net, spiking, digits):
    logits = net(digits.x_test)
    expected = torch.where(logits.max(-1).values > 0, logits.argmax(-1), REJECTED)
    assert torch.equal(classes(spiking(digits.x_test), "first-spike"), expected)
    assert torch.equal(spiking(digits.x_test), logits.clamp_min(0))  # windows clip nothing here
    assert agreement(spiking, to_relu(spiking), digits.x_test)[0] == 1.0


def test_windows_are_those_of_all_layers_and_the_last_has_no_successor(net, spiking, digits):
    assert len(spiking.windows) == len(net.windows) + 1
    changed = spiking.clone()
    changed.set_windows([2.0, 3.0])
    assert changed.windows == [2.0, 3.0]
    assert [float(layer.input_window) for layer in changed.layers] == [1.0, 2.0]
    assert latency(changed) == 6.0
    top = float(spiking(digits.x_train).detach().max())
    windows = choose_windows(spiking.clone().train(), digits.x_train)  # of x with its bounds
    assert windows[-1] == pytest.approx(1.5 * top, rel=1e-12)


def test_a_file_brings_it_back(spiking, digits, tmp_path):
    back = TTFSNetwork.load(spiking.save(tmp_path / "net.pt"))
    assert back.read_out == "first-spike"
    assert back.windows == spiking.windows
    assert torch.equal(back(digits.x_test), spiking(digits.x_test))


def test_the_circuit_fires_as_the_network(spiking, digits):
    chips, x = Chips.draw(LOUD, spiking, range(2), entropy=4), digits.x_test[:4]
    logits = spiking(x, chips.deviations(x)).detach().numpy()
    circuit = spiking.to_circuit()
    run = feed_forward(circuit, spiking.points, x.numpy(), list(chips.layers), level="closed-form")
    for image, responses in run:
        last = responses[-1].activation(circuit[-1].window)
        np.testing.assert_allclose(logits[:, image], last, rtol=1e-11, atol=1e-11)
    assert (logits == 0).any()


@pytest.mark.parametrize("way", ["ideal", "response", "per image"])
def test_in_training_alone_a_silent_output_has_a_gradient(spiking, digits, way):
    model = spiking.clone()
    x = digits.x_test[:8]
    chips = {
        "ideal": None,
        "response": identity(spiking).deviations(x),
        "per image": PerImage(QUIET, torch.Generator()),
    }[way]
    bounded = model(x, chips)
    assert float(bounded.detach().min()) == 0.0
    free = model.train()(x, chips)
    assert float(free.detach().min()) < 0.0
    scale = SCORES / spiking.layers[-1].window_length
    torch.testing.assert_close(free.clamp_min(0.0), bounded * scale)
    assert float(model.trace(x, chips)[0].detach().min()) == 0.0  # hidden layers fire as ever
    (slopes,) = torch.autograd.grad(free[..., 3].sum(), model.layers[-1].bias)
    # each image passes one on, silent or not
    assert float(slopes[3]) == pytest.approx(8.0 * scale, rel=1e-9)


def test_it_learns(digits, spiking):
    fresh = spiking.clone()
    with torch.no_grad():
        for layer, seed in zip(fresh.layers, (1, 2), strict=True):
            draws = torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(seed))
            layer.weight.copy_(draws / layer.weight.shape[1] ** 0.5)
            layer.bias.zero_()
    before = accuracy(fresh, digits.x_test, digits.y_test)
    train(fresh, digits, Recipe(epochs=12, lr=5e-3))
    assert not fresh.training
    after = accuracy(fresh, digits.x_test, digits.y_test)
    assert after > 0.85 > 0.5 > before
    # windows grew with the activations of the outputs too
    assert fresh.windows[-1] > float(fresh(digits.x_test).detach().max())


def test_evaluation_counts_what_is_rejected(net, digits, make_noise):
    shy = first_spike(net, digits.x_train, shift=-3.0)
    dataset = evaluate(shy, digits, identity(shy))
    expected = classes(shy(digits.x_test), "first-spike")
    assert np.array_equal(dataset["predicted"].values[0], expected.numpy())
    assert np.array_equal(dataset["nominal"].values, expected.numpy())
    share = float((expected == REJECTED).double().mean())
    assert 0.02 < share < 0.98
    assert float(dataset["rejected"][0]) == pytest.approx(share, rel=1e-12)
    assert summarize(dataset, 0.5)["rejected"] == pytest.approx(share, rel=1e-12)
    right = float((expected == digits.y_test).double().mean())
    assert float(dataset["accuracy"][0]) == pytest.approx(right, rel=1e-12)
    assert accuracy(shy, digits.x_test, digits.y_test) == pytest.approx(right, rel=1e-12)
    sampled = evaluate(net, digits, identity(net))
    assert float(sampled["rejected"][0]) == 0.0
    # hidden neurons alone are counted, as before
    for name in ("early", "silent", "spikes_per_neuron"):
        assert float(dataset[name][0]) == pytest.approx(float(sampled[name][0]), rel=1e-12)


def test_outputs_that_spike_take_energy(net, spiking, digits, noise):
    images = (digits.x_test[:5], digits.y_test[:5])
    sampled, fired = (energy(n, images, noise, chips=2) for n in (net, spiking))
    last = {"layer": 1, "part": "source.slope"}
    assert float(fired["energy"].sel(last).mean()) > 0.0 == float(sampled["energy"].sel(last).mean())
    assert np.array_equal(fired["spikes_per_neuron"], sampled["spikes_per_neuron"])


def test_the_command_says_what_is_rejected(net, digits, noise, tmp_path, monkeypatch, call):
    monkeypatch.chdir(tmp_path)
    first_spike(net, digits.x_train, shift=-3.0).save("shy.pt")
    net.save("net.pt")
    noise.save("noise.json")
    common = ("--noise", "noise.json", "--chips", 2, "--out", "e.nc")
    code, out, _ = call("evaluate", "shy.pt", *common, "--json")
    assert code == 0
    assert 0.02 < json.loads(out)["rejected"] < 0.98
    _, out, _ = call("evaluate", "shy.pt", *common)
    assert "rejected, for no output fired: " in out
    code, out, _ = call("evaluate", "net.pt", *common)
    assert "rejected" not in out
