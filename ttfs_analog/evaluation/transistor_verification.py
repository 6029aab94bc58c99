r"""Is the model of a placed network true on transistor chips that nothing was fitted on?

Fresh chips are drawn from the matching of the process, device by device, and simulated in ngspice layer by
layer (`ttfs_analog.evaluation.transistor_runs`). What is asked:

* known chips: spike times against the equation with the chip's own devices, by layer and by chip; spikes on
  one side only count by the activation that they carry;
* sampled chips: do spike times lie in the 95 % intervals of chips drawn from the noise model;
* decisions: the share of images that both sides decide alike, and the accuracy of each;
* energy: by supply, image by image.

An audit asks single neurons instead of whole chips, of networks too large to run: random (chip, image,
neuron), with the inputs that a chip drawn from the noise model gives. Its residuals, as independent errors of
all spike times, say how many decisions could change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr

from circuits.biasing.transistor_layer import TransistorMismatch, TransistorNeuron
from circuits.errors import InputError
from circuits.model.closed_form import fire
from circuits.model.coding import encode
from circuits.model.layer import Array, LayerMismatch
from circuits.spice.ngspice import Ngspice, parallel
from montecarlo.campaign.schema import package_version, with_units
from montecarlo.extraction.known_chip import known, perfect
from montecarlo.mismatch.law import draw_chips as draw_from_law
from montecarlo.mismatch.seeds import PLAN, generator
from montecarlo.mismatch.transistors import draw_chip
from montecarlo.statistics.intervals import proportion_interval
from ttfs_analog.data.datasets import pair_of
from ttfs_analog.evaluation.energy import labels, layer_energies
from ttfs_analog.evaluation.transistor_runs import (
    Chip,
    Run,
    activation,
    draw_chips,
    equation,
    reference_energy,
    run_chips,
)
from ttfs_analog.network.decision import classes
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.neuron.functional import Deviations
from ttfs_analog.noise.chips import Chips
from ttfs_analog.noise.noise_model import Noise
from ttfs_analog.placement.neurons import neurons_of, placement_of

SCHEMA = "ttfs-analog/transistor-verification/1"
FRESH = 2_000_000
"""Chip numbers from here on are reserved for verification on transistors."""
POPULATION = 400
"""Chips drawn from the noise model for the prediction intervals."""
SUPPLIES = ("source", "comparator", "latch", "reference")
DRAWS = 20
"""Of errors, for the bound on decisions that could change."""
Progress = Callable[[int, int], None]


@torch.no_grad()
def verify_transistors(
    net: TTFSNetwork,
    data: Any,
    noise: Noise,
    *,
    chips: int = 4,
    images: int = 10,
    corner: str | None = None,
    temperature: float | None = None,
    supply: float | None = None,
    workers: int = 1,
    seed: int = 0,
    progress: Progress | None = None,
) -> xr.Dataset:
    """Whole chips of a placed network in ngspice beside the model.

    Parameters
    ----------
    net : TTFSNetwork
        Placed.
    data : Data, loader, or (x, y)
    noise : NoiseModel or LayeredNoise
        Fitted on the neurons of this network; what is judged.
    chips, images : int
        How many.
    corner, temperature, supply : optional
        Where the circuits are operated; None: as placed for.
    workers : int
        ngspice processes at a time.
    seed : int
        Entropy of the chips.
    progress : callable, optional
        (done, total) of chip and image pairs.

    Returns
    -------
    xarray.Dataset
        Dims chip, image, neuron (spiking neurons of all layers, by `layer`): `spike_time_spice`,
        `spike_time_model`, `spike_time_nominal` [tau_c], inf = silent; `interval_low`, `interval_high`;
        `predicted_spice`, `predicted_model`, `label`; `energy_spice`, `energy_model` (chip, image, supply) [J].

    Raises
    ------
    InputError
        If the network is not placed, or the noise model is that of another technology or condition.
    SimulatorError
        If ngspice is missing or a circuit fails.
    """
    x, y = pair_of(data)
    x, y = x[:images].to(net.like), y[:images]
    kinds, simulator = _kinds(net, noise, corner, temperature, supply), Ngspice()
    laws = [noise.of(n).delay_law for n in range(len(kinds))]
    numbers = range(FRESH, FRESH + chips)
    drawn = draw_chips(kinds, laws, numbers, seed, simulator)
    population = _population(kinds, noise, seed)
    places = _Places(kinds)
    shape = (chips, len(x), places.count)
    times = {k: np.full(shape, np.nan) for k in ("spice", "model", "nominal", "low", "high")}
    energy = np.zeros((chips, len(x), len(SUPPLIES)))
    spice, model = (np.full((chips, len(x)), -1) for _ in range(2))
    energy[..., 3] = sum(reference_energy(kind) for kind in kinds)
    numpy_x = x.double().cpu().numpy()
    for done, run in enumerate(run_chips(kinds, drawn, numpy_x, workers, simulator), 1):
        _note(run, kinds, places, population, times)
        at = run.chip, run.image
        energy[at][:3] = sum(layer.energy.sum(axis=0) for layer in run.layers)
        outputs = activation(run.layers[-1].spice, kinds[-1].layer)
        spice[at], model[at] = (_class(net, v) for v in (outputs, run.outputs))
        if progress:
            progress(done, chips * len(x))
    joules = np.stack([_model_energy(net, x, noise, chip) for chip in drawn])
    return _dataset(net, places, times, energy, joules, (spice, model, y.cpu().numpy()), numbers, seed)


class _Places:
    """Where a layer's spiking neurons lie among those of all layers."""

    def __init__(self, kinds: Sequence[TransistorNeuron]) -> None:
        sizes = [kind.layer.n_out if kind.layer.spiking else 0 for kind in kinds]
        ends = np.cumsum(sizes)
        self.count = int(ends[-1])
        self.slices = [slice(int(e - s), int(e)) for e, s in zip(ends, sizes, strict=True)]
        self.layer = np.repeat(np.arange(len(sizes)), sizes)
        self.window = np.repeat([kind.layer.window for kind in kinds], sizes)


def _kinds(
    net: TTFSNetwork,
    noise: Noise,
    corner: str | None,
    temperature: float | None,
    supply: float | None,
) -> list[TransistorNeuron]:
    about = placement_of(net)
    if noise.technology != about["technology"]:
        raise InputError(
            f"the noise model was measured on {noise.technology!r}, the network is placed on "
            f"{about['technology']!r}; characterize the network itself"
        )
    constants = [noise.of(n).constants for n in range(len(net.layers))]
    kinds = neurons_of(net, constants, corner=corner, temperature=temperature, supply=supply)
    for n, kind in enumerate(kinds):
        valid = noise.of(n).validity
        here = {"corner": kind.corner or kind.bias.technology.corners[0], "temperature": kind.celsius}
        here |= {"supply": kind.point.vdd}
        for what, value in here.items():
            measured = valid.get(what)
            if measured is not None and measured != value:
                raise InputError(
                    f"layer {n}: the noise model was measured at {what} {measured}, the circuit is asked at "
                    f"{value}; characterize the network there"
                )
    return kinds


def _population(kinds: Sequence[TransistorNeuron], noise: Noise, seed: int) -> list[LayerMismatch]:
    """Chips of the noise model, by layer."""
    laws = [noise.of(n).law for n in range(len(kinds))]
    return draw_from_law(laws, [kind.layer for kind in kinds], range(POPULATION), seed + 1)


def _note(
    run: Run,
    kinds: Sequence[TransistorNeuron],
    places: _Places,
    population: Sequence[LayerMismatch],
    times: dict[str, Array],
) -> None:
    """Write one run into the arrays."""
    for kind, layer, place, many in zip(kinds, run.layers, places.slices, population, strict=True):
        at = run.chip, run.image, place
        times["spice"][at], times["model"][at], times["nominal"][at] = (
            layer.spice,
            layer.equation,
            layer.nominal,
        )
        ranked = np.sort(equation(kind, layer.inputs, many), axis=0)
        last = len(ranked) - 1
        times["low"][at] = ranked[int(np.floor(0.025 * last))]
        times["high"][at] = ranked[int(np.ceil(0.975 * last))]


def _class(net: TTFSNetwork, outputs: Array) -> int:
    return int(classes(torch.as_tensor(outputs), net.read_out))


def _deviations(net: TTFSNetwork, noise: Noise, chip: Chip) -> list[Deviations]:
    constants = tuple(noise.of(n).constants for n in range(len(net.layers)))
    return Chips(0, (chip.number,), chip.known, "", constants, (0.0,) * len(constants)).deviations(net.like)


def _model_energy(net: TTFSNetwork, x: torch.Tensor, noise: Noise, chip: Chip) -> Array:
    """By image and supply, shape (image, supply) [J]."""
    joules = layer_energies(net, x, noise, _deviations(net, noise, chip))[0].sum(1).cpu().numpy()
    supplies = np.array([label.partition(".")[0] for label in labels(noise)])
    return np.stack([joules[:, supplies == s].sum(1) for s in SUPPLIES], axis=1)


def _dataset(
    net: TTFSNetwork,
    places: _Places,
    times: dict[str, Array],
    energy: Array,
    joules: Array,
    decided: tuple[Array, Array, Array],
    numbers: Sequence[int],
    seed: int,
) -> xr.Dataset:
    names = {
        "spike_time_spice": ("spice", "spike time in ngspice; inf = silent"),
        "spike_time_model": ("model", "the same by the equation with the chip's devices"),
        "spike_time_nominal": ("nominal", "the same without deviations"),
        "interval_low": ("low", "95 % interval of chips of the noise model, low end"),
        "interval_high": ("high", "the same, high end"),
    }
    dims = ("chip", "image", "neuron")
    data: dict[str, Any] = {
        name: (dims, times[k], {"units": "tau_c", "long_name": text}) for name, (k, text) in names.items()
    }
    for name, values, text in (
        ("energy_spice", energy, "supply energy in ngspice"),
        ("energy_model", joules, "supply energy by the noise model's coefficients"),
    ):
        data[name] = (("chip", "image", "supply"), values, {"units": "J", "long_name": text})
    for name, values in zip(("predicted_spice", "predicted_model"), decided[:2], strict=True):
        data[name] = (("chip", "image"), values, {"units": "1", "long_name": "class; -1 = rejected"})
    data["label"] = ("image", decided[2], {"units": "1", "long_name": "true class"})
    data["layer"] = ("neuron", places.layer, {"units": "1", "long_name": "layer of a neuron"})
    data["window"] = ("neuron", places.window, {"units": "tau_c", "long_name": "firing window"})
    attrs = {"schema": SCHEMA, "entropy": seed, **net.provenance(), "package_version": package_version()}
    coords = {"chip": list(numbers), "supply": list(SUPPLIES)}
    return with_units(xr.Dataset(data, coords, attrs))


def summarize(result: xr.Dataset) -> dict[str, Any]:
    """Figures of `verify_transistors`.

    Parameters
    ----------
    result : Dataset

    Returns
    -------
    dict
        JSON-serializable; see the command `verify`.
    """
    spice, model, nominal = (result[f"spike_time_{k}"].values for k in ("spice", "model", "nominal"))
    both = np.isfinite(spice) & np.isfinite(model)
    residual = np.where(both, np.where(both, spice, 0.0) - np.where(both, model, 0.0), np.nan)
    apart = np.isfinite(spice) & np.isfinite(nominal)
    without = np.where(apart, np.where(apart, spice, 0.0) - np.where(apart, nominal, 0.0), np.nan)
    window, layer = result["window"].values, result["layer"].values
    carried = np.where(np.isfinite(spice), window - np.where(np.isfinite(spice), spice, 0.0), 0.0)
    claimed = np.where(np.isfinite(model), window - np.where(np.isfinite(model), model, 0.0), 0.0)
    one_sided = np.where(np.isfinite(spice) != np.isfinite(model), np.maximum(carried, claimed), 0.0)
    inside = (spice >= result["interval_low"].values - 1e-9) & (
        spice <= result["interval_high"].values + 1e-9
    )
    label = result["label"].values
    decided = {k: result[f"predicted_{k}"].values for k in ("spice", "model")}
    right = decided["spice"] == label
    same = decided["spice"] == decided["model"]
    measured, expected = result["energy_spice"].values, result["energy_model"].values
    by_image = (
        np.corrcoef(measured.sum(-1).ravel(), expected.sum(-1).ravel())[0, 1] if same.size > 2 else np.nan
    )
    return {
        "spike_time_rms_tau_c": _rms(residual),
        "spike_time_rms_by_layer": {f"layer{n}": _rms(residual[..., layer == n]) for n in np.unique(layer)},
        "spike_time_rms_by_chip": [_rms(chip) for chip in residual],
        "spike_time_rms_without_deviations": _rms(without),
        "one_sided_spikes": int((one_sided > 0).sum()),
        "one_sided_activation": float(one_sided.sum() / max(carried.sum(), 1e-30)),
        "coverage_95": float(inside.mean()),
        "coverage_95_by_chip": inside.mean(axis=(1, 2)).tolist(),
        "class_agreement": float(same.mean()),
        "class_agreement_ci95": list(proportion_interval(int(same.sum()), same.size)),
        "accuracy_spice": float(right.mean()),
        "accuracy_spice_ci95": list(proportion_interval(int(right.sum()), right.size)),
        "accuracy_model": float((decided["model"] == label).mean()),
        "rejected_spice": float((decided["spice"] < 0).mean()),
        "energy_spice_j": float(measured.sum(-1).mean()),
        "energy_ratio": float(expected.sum() / measured.sum()),
        "energy_ratio_by_supply": {
            s: float(expected[..., k].sum() / measured[..., k].sum()) for k, s in enumerate(SUPPLIES)
        },
        "energy_correlation": float(by_image),
        "chips": int(result.sizes["chip"]),
        "images": int(result.sizes["image"]),
    }


def _rms(residual: Array) -> float:
    finite = residual[np.isfinite(residual)]
    return float(np.sqrt(np.mean(finite**2))) if finite.size else 0.0


@torch.no_grad()
def audit(
    net: TTFSNetwork,
    data: Any,
    noise: Noise,
    count: int,
    *,
    images: int = 200,
    chips: int = 20,
    corner: str | None = None,
    temperature: float | None = None,
    supply: float | None = None,
    workers: int = 1,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Random neurons of random chips under random images, instead of whole chips.

    Parameters
    ----------
    net, data, noise, corner, temperature, supply, workers, seed
        As of `verify_transistors`.
    count : int
        Triples of chip, image and neuron.
    images, chips : int
        What they are taken from.
    progress : callable, optional
        (done, total) of the triples.

    Returns
    -------
    dict
        Residual (rms, by layer), coverage of the 95 % intervals, spikes on one side only, and the share of
        decisions that residuals as large could change, with its 95 % interval.
    """
    x, y = pair_of(data)
    x = x[:images].to(net.like)
    kinds, simulator = _kinds(net, noise, corner, temperature, supply), Ngspice()
    population = _population(kinds, noise, seed)
    rng = generator(seed, PLAN, 14)
    sizes = np.array([kind.layer.n_out for kind in kinds])
    devices = [kind.devices() for kind in kinds]
    model = noise.sample(net, chips, seed, FRESH)
    inputs = [v.double().cpu().numpy() for v in net.inputs(x, model.deviations(x))]

    def one(place: int, chip: int, image: int) -> tuple[int, float, float, float, float, float]:
        n = int(np.searchsorted(np.cumsum(sizes), place, side="right"))
        i, kind = place - int(sizes[:n].sum()), kinds[n]
        active = inputs[n][chip, image] if inputs[n].ndim == 3 else inputs[n][image]
        drawn = _one_neuron(kind, devices[n], i, seed, FRESH + chip, n)
        nominal = perfect(kind, neurons=[i], simulator=simulator)
        terms = known(kind, drawn, noise.of(n).delay_law, nominal, neurons=[i], simulator=simulator)
        times = encode(active[None], kind.layer.t_min)[0]
        (measured,) = kind.measured(times, drawn, neurons=[i], simulator=simulator)
        single = _alone(kind, i)
        spice = float(fire(np.array([measured.spike_time - kind.bias.delays[i]]), kind.layer.window)[0])
        expected = float(equation(single, active, terms)[0])
        plain = float(equation(single, active)[0])
        ranked = np.sort(equation(single, active, _of_neuron(population[n], i))[:, 0])
        low, high = (ranked[int(q * (len(ranked) - 1))] for q in (0.025, 0.975))
        return n, spice, expected, plain, float(low), float(high)

    triples = [
        (int(rng.integers(sizes.sum())), int(rng.integers(chips)), int(rng.integers(len(x))))
        for _ in range(count)
    ]
    rows = []
    for done, (_, row) in enumerate(parallel((lambda t=t: one(*t) for t in triples), workers, simulator), 1):
        rows.append(row)
        if progress:
            progress(done, count)
    layer, spice, expected, plain, low, high = (np.array(column) for column in zip(*rows, strict=True))
    both = np.isfinite(spice) & np.isfinite(expected)
    residual = np.where(both, np.where(both, spice, 0.0) - np.where(both, expected, 0.0), np.nan)
    apart = np.isfinite(spice) & np.isfinite(plain)
    without = np.where(apart, np.where(apart, spice, 0.0) - np.where(apart, plain, 0.0), np.nan)
    inside = (spice >= low - 1e-9) & (spice <= high + 1e-9)
    by_layer = [_rms(residual[layer == n]) for n in range(len(kinds))]
    changed = _could_change(net, x, model, by_layer, rng)
    return {
        "audited": count,
        "spike_time_rms_tau_c": _rms(residual),
        "spike_time_rms_by_layer": {f"layer{n}": v for n, v in enumerate(by_layer)},
        "spike_time_rms_without_deviations": _rms(without),
        "one_sided_spikes": int((np.isfinite(spice) != np.isfinite(expected)).sum()),
        "coverage_95": float(inside.mean()),
        "coverage_95_ci95": list(proportion_interval(int(inside.sum()), count)),
        "decisions_that_could_change": changed[0] / changed[1],
        "decisions_that_could_change_ci95": list(proportion_interval(*changed)),
        "chips": chips,
        "images": len(x),
        "labels": len(y),
    }


def _one_neuron(
    kind: TransistorNeuron, devices: Sequence[Any], neuron: int, entropy: int, chip: int, layer: int
) -> TransistorMismatch:
    """Devices of one neuron of a chip at its place in the layer; all others are the same."""
    process = kind.bias.technology.transistors()
    only = [devices[neuron] if i == neuron else devices[neuron][:0] for i in range(kind.layer.n_out)]
    return draw_chip(only, kind.bias.capacitors, process, entropy, chip, layer)


def _alone(kind: TransistorNeuron, neuron: int) -> TransistorNeuron:
    """A layer of one of its neurons, for the equation."""
    from dataclasses import replace

    layer = kind.layer
    one = replace(
        layer, weights=layer.weights[[neuron]], bias=layer.bias[[neuron]], slope=layer.slope[[neuron]]
    )
    return replace(kind, bias=replace(kind.bias, layer=one, delays=kind.bias.delays[[neuron]]))


def _of_neuron(many: LayerMismatch, neuron: int) -> LayerMismatch:
    from dataclasses import fields

    return LayerMismatch(**{f.name: getattr(many, f.name)[:, [neuron]] for f in fields(many)})


def _could_change(
    net: TTFSNetwork, x: torch.Tensor, model: Chips, rms: Sequence[float], rng: np.random.Generator
) -> tuple[int, int]:
    """Decisions that independent errors of the residuals' size change, and how many were asked."""
    deviations = model.deviations(x)
    before = classes(net(x, deviations), net.read_out)
    generator_ = torch.Generator().manual_seed(int(rng.integers(2**31)))
    changed = 0
    for _ in range(DRAWS):

        def respond(n: int, layer: Any, active: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
            shape = (len(model), len(x), layer.n_out)
            late = rms[n] * torch.randn(shape, generator=generator_, dtype=x.dtype)
            return layer(active, deviations[n], weight, late)

        changed += int((classes(net(x, respond), net.read_out) != before).sum())
    return changed, DRAWS * before.numel()
