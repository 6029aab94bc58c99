"""Jacobian spectra at initialization, and training in lockstep with the ReLU network."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

from circuits.errors import InputError
from montecarlo.campaign.schema import open_dataset
from montecarlo.plots.plotting import save
from ttfs_analog.conversion.mapping import convert, to_relu
from ttfs_analog.training import diagnostic_plots
from ttfs_analog.training.architectures import build
from ttfs_analog.training.diagnostics import (
    RECORDS,
    SPECTRUM,
    TRAJECTORIES,
    initial_spectrum,
    jacobian_spectrum,
    layer_jacobian,
    trajectories,
)
from ttfs_analog.training.recipe import Recipe
from ttfs_analog.training.training import Diverged, accuracy, train

SGD = Recipe(2, 32, 1e-2, "sgd", "constant")
ADAM = Recipe.paper(epochs=3, batch=32, lr=2e-3)


def deep(digits, arch="fc4-24", seed=0):
    return build(arch, digits.features, digits.classes, seed, torch.float64)


@pytest.fixture(scope="module")
def spectrum():
    return initial_spectrum()


@pytest.fixture(scope="module")
def quiet(digits):
    """A learning rate that alpha1 survives."""
    return trajectories(deep(digits), digits, replace(SGD, lr=1e-3), interval=20)


@pytest.fixture(scope="module")
def wild(digits):
    """One that it does not."""
    return trajectories(deep(digits), digits, ADAM, interval=20)


def test_b1_starts_at_the_edge_of_the_unit_circle(spectrum):
    radius = spectrum.spectral_radius.sel(case="b1")
    # circular law: 1 for n to infinity; at n = 340 real eigenvalues stick out by about 1 / sqrt(n) = 0.05
    assert float(radius.min()) > 0.98
    assert float(radius.max()) < 1.12
    assert 1.0 < float(radius.mean()) < 1.06
    assert float(spectrum.share_unusable.sel(case="b1").max()) == 0


def test_naive_alpha1_starts_far_outside(spectrum):
    naive = spectrum.sel(case="alpha1")
    assert float(naive.spectral_radius.min()) > 3
    assert float(naive.share_outside.mean()) == pytest.approx(0.36, abs=0.03)
    # P(N(0, 1) < -1) = 15.9 %; 3400 neurons: standard error 0.63 %
    assert float(naive.share_unusable.mean()) == pytest.approx(0.1587, abs=0.019)


def test_smart_alpha1_has_the_jacobian_of_rescaled_relu_weights(spectrum):
    smart = spectrum.sel(case="alpha1 smart")
    assert float(smart.spectral_radius.max()) < 1.25
    assert float(smart.share_unusable.max()) == 0
    generator = torch.Generator().manual_seed(3)
    first, second, _ = (torch.randn(3, 340, 340, generator=generator, dtype=torch.float64) / 340**0.5).numpy()
    total = first.sum(1)
    first = np.where(total > 0.9, 0.9 / total, 1.0)  # thesis, eq. 2.16; no sum is below -10
    rescaled = second / first
    total = rescaled.sum(1)
    rescaled *= np.where(total > 0.9, 0.9 / total, 1.0)[:, None]
    expected = np.sort(np.abs(np.linalg.eigvals(rescaled)))[::-1]
    modulus = np.abs(smart.eigenvalue_real + 1j * smart.eigenvalue_imag).sel(seed=3)
    np.testing.assert_allclose(modulus, expected, atol=1e-10)


@pytest.mark.parametrize("mapping", ["b1", "alpha"])
def test_closed_form_jacobian_is_that_of_autograd(digits, mapping):
    net = convert(deep(digits), digits, mapping=mapping)
    net.set_windows([0.7 * w / 1.5 for w in net.windows])  # some neurons are clipped at t_min
    x = digits.x_test[:40]
    clipped = 0
    for layer, inputs in zip(net.layers[:-1], net.inputs(x), strict=False):
        single = torch.autograd.functional.jacobian(layer, inputs[0])
        torch.testing.assert_close(layer_jacobian(layer, inputs[:1]), single, rtol=1e-12, atol=1e-14)
        mean = torch.stack([torch.autograd.functional.jacobian(layer, row) for row in inputs]).mean(0)
        torch.testing.assert_close(layer_jacobian(layer, inputs), mean, rtol=1e-12, atol=1e-14)
        clipped += int((layer(inputs) == layer.window_length).sum())
    assert clipped > 0


def test_smart_alpha1_has_the_jacobian_of_its_relu_network(digits):
    model = deep(digits)
    with torch.no_grad():
        for module in model:
            if isinstance(module, nn.Linear):
                module.bias.normal_(generator=torch.Generator().manual_seed(1))
    net = convert(model, digits, mapping="alpha")
    twin = to_relu(net)
    x = digits.x_test[0]
    jacobian = torch.autograd.functional.jacobian
    torch.testing.assert_close(jacobian(net, x), jacobian(model, x), rtol=1e-10, atol=1e-12)
    for layer, inputs, linear in zip(net.layers[:-1], net.inputs(x[None]), twin[::2], strict=False):
        firing = (layer(inputs)[0] > 0).double()[:, None]
        torch.testing.assert_close(layer_jacobian(layer, inputs), firing * linear.weight)


def test_the_spectrum_of_a_network_is_that_of_its_square_layers(digits):
    net = convert(deep(digits), digits)
    dataset = jacobian_spectrum(net, digits.x_test)
    assert dataset.layer.values.tolist() == [1, 2]
    one = layer_jacobian(net.layers[1], net.inputs(digits.x_test)[1]).numpy()
    radius = np.abs(np.linalg.eigvals(one)).max()
    assert float(dataset.spectral_radius.sel(layer=1)) == pytest.approx(radius, rel=1e-12)
    with pytest.raises(InputError, match="square"):
        jacobian_spectrum(convert(deep(digits, "fc-24"), digits), digits.x_test)


@pytest.mark.parametrize("recipe", [replace(SGD, lr=0.1), ADAM], ids=["sgd", "adam"])
def test_b1_walks_the_way_of_the_relu_network(digits, recipe):
    dataset = trajectories(deep(digits), digits, recipe, interval=10)
    b1 = dataset.sel(snn="b1")
    assert float(b1.largest_difference.max()) <= 1e-10
    assert float(b1.cosine.min()) == pytest.approx(1, abs=1e-12)
    for key in ("loss", "accuracy", "test_accuracy"):
        xr.testing.assert_allclose(
            dataset[key].sel(network="b1", drop=True), dataset[key].sel(network="relu", drop=True), rtol=1e-9
        )
    assert float(dataset.accuracy.sel(network="b1")[-1]) > 0.5
    assert (b1.smallest_slope == 1).all()
    assert (b1.window.diff("step") >= 0).all()


def test_lockstep_is_the_training_of_each_network_alone(digits, quiet):
    nets = {"alpha1": convert(deep(digits), digits, mapping="alpha")}
    nets["relu"] = to_relu(nets["alpha1"])
    for name, net in nets.items():
        history = train(net, digits, replace(SGD, lr=1e-3), judge=True)
        assert [h["accuracy"] for h in history] == quiet.test_accuracy.sel(network=name).values.tolist()
        share = accuracy(net, digits.x_train[:1000], digits.y_train[:1000])
        assert share == pytest.approx(float(quiet.accuracy.sel(network=name)[-1]), abs=1e-12)
    assert nets["alpha1"].windows == quiet.window.sel(snn="alpha1")[-1].values.tolist()


def test_all_start_as_one_function_and_alpha1_leaves(quiet):
    start = quiet.isel(step=0)
    assert float(start.loss.max() - start.loss.min()) < 1e-12
    assert float(start.largest_difference.max()) < 1e-14
    cosine = quiet.cosine.sel(snn="alpha1")
    assert quiet.attrs["diverged_step"] == -1
    assert not cosine.isnull().any()
    assert 1 - float(cosine[-1]) > 1e-6
    assert float(quiet.smallest_slope.min()) > 0


def test_alpha1_diverges_and_the_dataset_says_where(wild):
    step = wild.attrs["diverged_step"]
    assert 0 < step < int(wild.step[-1])
    assert "slope B = -" in wild.attrs["diverged_reason"]
    for key in ("cosine", "smallest_slope", "largest_difference"):
        known = wild[key].sel(snn="alpha1").notnull()
        assert (known == (wild.step < step)).all()
    assert wild.test_accuracy.sel(network="alpha1").isnull().all()
    assert wild.sel(network=["relu", "b1"], snn="b1").notnull().all().to_array().all()


def test_a_loss_that_is_not_finite_ends_alpha1_alone(digits, monkeypatch):
    def explode(net, seen, gamma=10.0):
        if net.layers[0].form == "alpha":
            net.layers[-1].weight.fill_(float("inf"))
        return False

    monkeypatch.setattr("ttfs_analog.training.diagnostics.widen", explode)
    dataset = trajectories(deep(digits), digits, SGD)
    assert dataset.attrs["diverged_step"] == 1
    assert dataset.attrs["diverged_reason"] == "the loss is not finite"
    assert dataset.loss.sel(network="relu").notnull().all()


def test_divergence_of_the_relu_network_is_an_error(digits):
    with pytest.raises(Diverged, match="diverged in epoch 1"):
        trajectories(deep(digits), digits, replace(SGD, lr=1e300))


def test_the_same_seed_gives_the_same_bits(digits, wild):
    again = trajectories(deep(digits), digits, ADAM, interval=20)
    xr.testing.assert_identical(again, wild)
    other = trajectories(deep(digits), digits, replace(ADAM, seed=1), interval=20)
    assert not np.array_equal(other.loss.values, wild.loss.values, equal_nan=True)
    xr.testing.assert_identical(initial_spectrum(20, [3]), initial_spectrum(20, [2, 3]).isel(seed=[1]))


def test_progress_reaches_the_end_and_the_model_is_left_alone(digits):
    model, seen = deep(digits), []
    before = [p.clone() for p in model.parameters()]
    trajectories(model, digits, replace(SGD, epochs=1), progress=lambda *step: seen.append(step))
    assert seen[-1] == (43, 43)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize(
    ("change", "interval", "norm"),
    [({"l1": 0.1}, 10, nn.Identity()), ({}, 0, nn.Identity()), ({}, 10, nn.BatchNorm1d(8))],
    ids=["l1 counts spikes", "no interval", "normalization"],
)
def test_settings_that_cannot_be_compared_are_refused(digits, change, interval, norm):
    model = nn.Sequential(nn.Linear(64, 8), norm, nn.ReLU(), nn.Linear(8, 10)).double()
    with pytest.raises(InputError, match=r"l1 = 0, interval >= 1, .* a model without BatchNorm"):
        trajectories(model, digits, replace(SGD, **change), interval=interval)


def test_results_are_files_with_units(spectrum, wild, tmp_path):
    for dataset, schema in ((spectrum, SPECTRUM), (wild, TRAJECTORIES)):
        dataset.to_netcdf(tmp_path / "found.nc")
        with open_dataset(tmp_path / "found.nc", schema) as read:
            xr.testing.assert_equal(read.load(), dataset)
            assert read.attrs["package_version"]
            assert all("units" in v.attrs for v in read.variables.values())
            assert all("long_name" in v.attrs for v in read.data_vars.values())
    assert set(wild.data_vars) == set(RECORDS)
    assert json.loads(wild.attrs["recipe"])["optimizer"] == "adam"


def test_figures_are_written(digits, spectrum, quiet, wild, tmp_path):
    layers = jacobian_spectrum(convert(deep(digits), digits), digits.x_test[:1])
    figures = [diagnostic_plots.spectrum(spectrum), diagnostic_plots.spectrum(layers)]
    figures += [diagnostic_plots.trajectories(quiet), diagnostic_plots.trajectories(wild)]
    for k, figure in enumerate(figures):
        assert save(figure, tmp_path / f"{k}.png").read_bytes().startswith(b"\x89PNG")
        assert save(figure, tmp_path / f"{k}.svg").read_bytes().startswith(b"<?xml")
    labels = [text.get_text() for text in figures[-1].axes[0].get_legend().get_texts()]
    assert f"alpha1 diverges, step {wild.attrs['diverged_step']}" in labels
