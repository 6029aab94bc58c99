r"""Is the model of a placed network true on transistor chips that nothing was fitted on?

Fresh chips are drawn from the matching of the process, device by device, and simulated in ngspice layer by
layer (`ttfs_analog.evaluation.transistor_runs`). What is asked:

* known chips: spike times against the equation with the chip's own devices, by layer and by chip; spikes on
  one side only count by the activation that they carry;
* sampled chips: do spike times inside the windows lie in the 95 % intervals of chips drawn from the noise
  model;
* decisions: the share of images that both sides decide alike, and the accuracy of each;
* energy: by supply, image by image.

Of networks too large to run whole: `ttfs_analog.evaluation.audit`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr

from circuits.biasing.transistor_layer import TransistorNeuron
from circuits.errors import InputError
from circuits.model.layer import Array, LayerMismatch
from circuits.spice.ngspice import Ngspice
from montecarlo.campaign.schema import package_version, with_units
from montecarlo.mismatch.law import draw_chips as draw_from_law
from ttfs_analog.data.inputs import pair_for
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
from ttfs_analog.noise.chips import Chips
from ttfs_analog.noise.chips import join as join_chips
from ttfs_analog.noise.noise_model import Noise
from ttfs_analog.placement.neurons import neurons_of, placement_of

SCHEMA = "ttfs-analog/transistor-verification/1"
FRESH = 2_000_000
"""Chip numbers from here on are reserved for verification on transistors."""
POPULATION = 400
"""Chips drawn from the noise model for the prediction intervals."""
SUPPLIES = ("source", "comparator", "latch", "reference")
PERFECT = 5
"""Images that a chip without mismatch is asked, too."""
Progress = Callable[[int, int], None]
Tune = Callable[[Chips], Sequence[TTFSNetwork]]


@torch.no_grad()
def verify_transistors(
    net: TTFSNetwork,
    data: Any,
    noise: Noise,
    *,
    chips: int = 4,
    images: int | None = 10,
    workers: int = 1,
    seed: int = 0,
    tune: Tune | None = None,
    progress: Progress | None = None,
) -> xr.Dataset:
    """Whole chips of a placed network in ngspice beside the model.

    Parameters
    ----------
    net : TTFSNetwork
        Placed.
    data : Data, loader, or (x, y)
    noise : NoiseModel or LayeredNoise
        Fitted on the neurons of this network; what is judged. The circuits are operated where it was
        measured.
    chips, images : int
        How many, at least one; images None: all.
    workers : int
        ngspice processes at a time.
    seed : int
        Entropy of the chips.
    tune : callable, optional
        Networks of all chips, with other thresholds, from the chips in the terms of the equation: there are
        no prediction intervals of spike times then.
    progress : callable, optional
        (done, total) of chip and image pairs.

    Returns
    -------
    xarray.Dataset
        Dims chip, image, neuron (of all layers, by `layer`): `spike_time_spice`, `spike_time_model`,
        `spike_time_nominal` [tau_c], inf = silent, of a sampled read-out potentials [1] (`spiking` 0);
        `interval_low`, `interval_high`;
        `predicted_spice`, `predicted_model`, `label`; `energy_spice`, `energy_model` [J] (chip, image,
        supply).

    Raises
    ------
    InputError
        If the network is not placed, or the noise model is that of another technology or condition.
    SimulatorError
        If ngspice is missing or a circuit fails.
    """
    x, y = pair_for(net, data, images=images)
    kinds, simulator = neurons_at(net, noise), Ngspice()
    laws = [noise.of(n).delay_law for n in range(len(kinds))]
    numbers = range(FRESH, FRESH + chips)
    drawn = draw_chips(kinds, laws, numbers, seed, simulator)
    population = drawn_population(kinds, noise, seed) if tune is None else None
    nets = [net] * chips if tune is None else list(tune(_as_chips(net, noise, drawn)))
    several = [kinds] * chips if tune is None else [neurons_at(own, noise) for own in nets]
    places = Places(kinds)
    shape = (chips, len(x), places.count)
    times = {k: np.full(shape, np.nan) for k in ("spice", "model", "nominal", "low", "high")}
    added = np.zeros(kinds[-1].layer.n_out) if kinds[-1].layer.spiking else net.to_circuit()[-1].bias
    energy = np.zeros((chips, len(x), len(SUPPLIES)))
    spice, model = (np.full((chips, len(x)), -1) for _ in range(2))
    energy[..., 3] = sum(reference_energy(kind) for kind in kinds)
    numpy_x = x.double().cpu().numpy()
    plain = _without_mismatch(kinds, numpy_x[:PERFECT], workers, simulator, places)
    for done, run in enumerate(run_chips(several, drawn, numpy_x, workers, simulator), 1):
        _note(run, several[run.chip], places, population, times)
        at = run.chip, run.image
        energy[at][:3] = sum(layer.energy.sum(axis=0) for layer in run.layers)
        outputs = activation(run.layers[-1].spice, kinds[-1].layer)
        spice[at], model[at] = (_class(net, v + added) for v in (outputs, run.outputs))
        if progress:
            progress(done, chips * len(x))
    joules = np.stack([_model_energy(own, x, noise, chip) for own, chip in zip(nets, drawn, strict=True)])
    joules[..., SUPPLIES.index("comparator")] += _own_currents(kinds, drawn, noise, places, times["model"])
    dataset = _dataset(net, places, times, energy, joules, (spice, model, y.cpu().numpy()), numbers, seed)
    text = "spike time of a chip without mismatch, ngspice less equation; NaN = on one side only"
    dataset["residual_perfect"] = (("perfect_image", "neuron"), plain, {"units": "tau_c", "long_name": text})
    return dataset


def _without_mismatch(
    kinds: Sequence[TransistorNeuron], x: Array, workers: int, simulator: Ngspice, places: Places
) -> Array:
    """Spike times of perfect devices less the equation's, shape (image, neuron)."""
    residual = np.full((len(x), places.count), np.nan)
    for run in run_chips([kinds], [Chip.perfect(len(kinds))], x, workers, simulator):
        for layer, place in zip(run.layers, places.slices, strict=True):
            both = np.isfinite(layer.spice) & np.isfinite(layer.equation)
            row = residual[run.image, place]
            row[both] = layer.spice[both] - layer.equation[both]
    return residual


class Places:
    """Where a layer's neurons lie among those of all layers."""

    def __init__(self, kinds: Sequence[TransistorNeuron]) -> None:
        sizes = [kind.layer.n_out for kind in kinds]
        ends = np.cumsum(sizes)
        self.count = int(ends[-1])
        self.slices = [slice(int(e - s), int(e)) for e, s in zip(ends, sizes, strict=True)]
        self.layer = np.repeat(np.arange(len(sizes)), sizes)
        self.window = np.repeat([kind.layer.window for kind in kinds], sizes)
        self.spiking = np.repeat([int(kind.layer.spiking) for kind in kinds], sizes)


def neurons_at(net: TTFSNetwork, noise: Noise) -> list[TransistorNeuron]:
    """Neurons of the network where the noise model was measured."""
    about = placement_of(net)
    if noise.technology != about["technology"]:
        raise InputError(
            f"the noise model was measured on {noise.technology!r}, the network is placed on "
            f"{about['technology']!r}; characterize the network itself"
        )
    valid = noise.of(0).validity
    at = {name: valid.get(name) for name in ("corner", "temperature", "supply")}
    return neurons_of(net, [noise.of(n).constants for n in range(len(net.layers))], **at)


def drawn_population(kinds: Sequence[TransistorNeuron], noise: Noise, seed: int) -> list[LayerMismatch]:
    """Chips of the noise model, by layer."""
    laws = [noise.of(n).law for n in range(len(kinds))]
    return draw_from_law(laws, [kind.layer for kind in kinds], range(POPULATION), seed + 1)


def _note(
    run: Run,
    kinds: Sequence[TransistorNeuron],
    places: Places,
    population: Sequence[LayerMismatch] | None,
    times: dict[str, Array],
) -> None:
    """Write one run into the arrays."""
    for n, (kind, layer, place) in enumerate(zip(kinds, run.layers, places.slices, strict=True)):
        at = run.chip, run.image, place
        times["spice"][at], times["model"][at], times["nominal"][at] = (
            layer.spice,
            layer.equation,
            layer.nominal,
        )
        if population is None:
            continue
        ranked = np.sort(equation(kind, layer.inputs, population[n]), axis=0)
        last = len(ranked) - 1
        times["low"][at] = ranked[int(np.floor(0.025 * last))]
        times["high"][at] = ranked[int(np.ceil(0.975 * last))]


def _class(net: TTFSNetwork, outputs: Array) -> int:
    return int(classes(torch.as_tensor(outputs), net.read_out))


def _as_chips(net: TTFSNetwork, noise: Noise, chips: Sequence[Chip]) -> Chips:
    """Transistor chips in the terms of the equation."""
    constants = tuple(noise.of(n).constants for n in range(len(net.layers)))
    jitter = (0.0,) * len(constants)
    return join_chips(
        [
            Chips(0, (chip.number,), tuple(v for v in chip.known if v is not None), "", constants, jitter)
            for chip in chips
        ]
    )


def _model_energy(net: TTFSNetwork, x: torch.Tensor, noise: Noise, chip: Chip) -> Array:
    """By image and supply, shape (image, supply) [J]."""
    joules = (
        layer_energies(net, x, noise, _as_chips(net, noise, [chip]).deviations(net.like))[0]
        .sum(1)
        .cpu()
        .numpy()
    )
    supplies = np.array([label.partition(".")[0] for label in labels(noise)])
    return np.stack([joules[:, supplies == s].sum(1) for s in SUPPLIES], axis=1)


def _own_currents(
    kinds: Sequence[TransistorNeuron], chips: Sequence[Chip], noise: Noise, places: Places, model: Array
) -> Array:
    """What the comparators of these chips take beyond those of mean current, (chip, image) [J]."""
    more = np.zeros(model.shape[:2])
    for n, (kind, place) in enumerate(zip(kinds, places.slices, strict=True)):
        entry = noise.of(n).energy.get("comparator", {}).get("bias")
        if entry and kind.layer.spiking:
            on = np.minimum(model[..., place], kind.layer.window) + kind.bias.delay
            mean = float(entry.get("mean_tail", 1.0))
            tails = np.stack([(1.0 + chip.tails[n]) / mean - 1.0 for chip in chips])
            scale = float(entry["value"]) * kind.point.vdd * kind.point.tau_c
            more += scale * np.einsum("cin,cn->ci", on, tails)
    return more


def _dataset(
    net: TTFSNetwork,
    places: Places,
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
    data["spiking"] = ("neuron", places.spiking, {"units": "1", "long_name": "0: a sampled read-out"})
    data["window"] = ("neuron", places.window, {"units": "tau_c", "long_name": "firing window"})
    attrs = {"schema": SCHEMA, "entropy": seed, **net.provenance(), "package_version": package_version()}
    coords = {"chip": list(numbers), "supply": list(SUPPLIES)}
    return with_units(xr.Dataset(data, coords, attrs))
