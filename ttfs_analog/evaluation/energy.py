r"""Joules per inference, by supply and part and layer, and how sure they are.

The account of `montecarlo.extraction.energy_fit` with the coefficients that were measured on the circuit
(noise model). Ideal sources have two parts: synapses while they are on, and the slope source from t_min
to the spike (or t_max),

.. math:: E = V_{DD} I_u \tau_c \Big[ k_{syn} \sum_{W_{ij}>0} W_{ij}\left((1+e_{ij})\, g x_j + \delta\right)
              + k_{ramp}\, B (1+\beta) \min(s, T) \Big]

Transistors add what their nodes, comparators and latches take: a current while a comparator waits for the
ramp, and C V_DD^2 a neuron or a spike; and the references of a layer, a known current from the start of its
input window to the end of its firing window and the delay, however many neurons share it. Every layer has
coefficients and a point of its own. Sinks take nothing from the supply: they discharge the membrane. What
is not in the account is listed with it (`not_included`).

For comparison, the capacitor estimate of Stanojevic et al., Nat. Commun. 2024, Methods:
0.5 C theta^2 per spike and 0.5 C V(t_max)^2 per silent neuron, without the cost of transmission.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
import xarray as xr

from circuits.model.closed_form import IDEAL
from montecarlo.campaign.schema import package_version, with_units
from montecarlo.extraction.energy_fit import IDEAL_PARTS, scale
from montecarlo.statistics.intervals import mean_interval
from ttfs_analog.data.inputs import inputs_for
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.neuron.functional import Deviations
from ttfs_analog.noise.noise_model import Noise
from ttfs_analog.noise.noise_set import NoiseSet
from ttfs_analog.training.training import Progress

SCHEMA = "ttfs-analog/energy/2"
OUTSIDE = ("comparator", "latch", "reset", "reference", "drivers", "wires", "clock")
"""Supplies that a circuit needs; those that a noise model has no coefficient of are not in the account."""
Part = tuple[str, str]


def coefficients(noise: NoiseSet | None) -> dict[Part, dict[str, Any]]:
    """Energy coefficients of one set by (supply, part); without a noise model, those of ideal sources."""
    if noise is None:
        return {part: {"value": 1.0, "ci95": [1.0, 1.0]} for part in IDEAL_PARTS}
    return {(s, p): entry for s, parts in noise.energy.items() for p, entry in parts.items()}


def parts_of(noise: Noise | None) -> list[Part]:
    """(Supply, part) of all layers: what one of them has, all list."""
    tables = [coefficients(model) for model in (noise.sets if noise else (None,))]
    return list(dict.fromkeys(part for table in tables for part in table))


def labels(noise: Noise | None) -> list[str]:
    """Names of the parts, as "source.synapse"."""
    return [".".join(part) for part in parts_of(noise)]


@torch.no_grad()
def layer_energies(
    net: TTFSNetwork, x: torch.Tensor, noise: Noise | None, deviations: list[Deviations]
) -> torch.Tensor:
    """Supply energy of every layer.

    Parameters
    ----------
    x : Tensor, shape (image, in)
        Activations [tau_c].
    noise : NoiseModel or LayeredNoise, optional
        None: ideal sources.
    deviations : list of Deviations
        One a layer, with a leading chip dimension.

    Returns
    -------
    Tensor, shape (chip, image, layer, part) [J]
        Parts in the order of `labels`; 0 where a layer has no such part.
    """
    net.require_points()
    parts, total = parts_of(noise), []
    layers = zip(net.layers, net.points, deviations, net.signals(x, deviations), net.weights(), strict=True)
    for n, (layer, point, deviation, (before, after), weight) in enumerate(layers):
        model = noise.of(n) if noise else None
        if model and "placement" in net.metadata:  # operated where its noise model was measured
            point = point.at_supply(model.validity.get("supply"))
        table, constants = coefficients(model), model.constants if model else IDEAL
        # feed-through comes from the gates
        sources = replace(constants, feed_through_source=0.0, feed_through_sink=0.0)
        charge = layer.charge(before, weight.clamp(min=0), deviation._replace(constants=sources)).sum(-1)
        nothing = torch.zeros_like(charge)
        amounts = {"synapse": charge, "slope": nothing, "bias": nothing, "switching": nothing}
        spikes, on_time = nothing, float(layer.input_window)
        if layer.spiking:
            ramp = (layer.per_neuron(layer.slopes()) * (1.0 + deviation.slope)).unsqueeze(-2)
            late = float(constants.delay) * layer.per_neuron(layer.slopes()) ** -constants.delay_exponent
            on = layer.window - after + late
            amounts |= {"slope": (ramp * on).sum(-1), "bias": on.sum(-1)}
            amounts["switching"] = nothing + after.shape[-1]
            on_time += layer.window_length + float(late.max())
            spikes = (after > 0).to(charge).sum(-1)
        else:
            if constants.ideal:  # others add the bias to the converted value
                amounts["synapse"] = charge + layer.shift().clamp(min=0).sum()
            if ("source", "slope") not in table:  # of a read-out's own
                amounts["switching"] = nothing + after.shape[-1]
        # bias lines are one set a layer; what a latch takes goes with its spikes
        by_supply = {"latch": spikes, "reference": nothing + on_time}
        columns = []
        for supply, part in parts:
            value = table[supply, part]["value"] * scale(part, point) if (supply, part) in table else 0.0
            columns.append(value * by_supply.get(supply, amounts[part]))
        total.append(torch.stack(columns, -1))
    return torch.stack(total, -2)


@torch.no_grad()
def energy(
    net: TTFSNetwork,
    data: Any,
    noise: Noise,
    *,
    chips: int = 100,
    seed: int = 0,
    progress: Progress | None = None,
) -> xr.Dataset:
    """Energy ledger over chips and images.

    Parameters
    ----------
    data : Data, loader, (x, y), or x
        As of `ttfs_analog.evaluation.accuracy.evaluate`; labels are not looked at.
    noise : NoiseModel or LayeredNoise
        Draws the chips and holds the energy coefficients.
    chips, seed : int
        How many chips, and their entropy.
    progress : callable, optional
        (done, total) of the chips.

    Returns
    -------
    xarray.Dataset
        `energy` (chip, layer, part) [J], mean over images; `per_image` (image), mean over chips;
        `capacitor_estimate` (image) [J], perfect devices; `spikes_per_neuron` (image).
    """
    x = inputs_for(net, data)
    drawn = noise.sample(net, chips, seed)
    per_chip, per_image = [], x.new_zeros(len(x))
    for chip in drawn:
        joules = layer_energies(net, x, noise, chip.deviations(x))[0]
        per_chip.append(joules.mean(0))
        per_image += joules.sum((-1, -2)) / len(drawn)
        if progress:
            progress(len(per_chip), chips)
    hidden = net.trace(x)[:-1]
    fired = sum(((h > 0).double().sum(-1) for h in hidden), x.new_zeros(len(x)))
    count = sum(h.shape[-1] for h in hidden) or 1
    supplies = {supply for supply, _ in parts_of(noise)}
    mean, low, high = _interval(torch.stack(per_chip).cpu().numpy(), noise)
    dataset = xr.Dataset(
        {
            "energy_mean": ((), mean, {"units": "J", "long_name": "supply energy per inference"}),
            "energy_ci95": ("bound", [low, high], {"units": "J", "long_name": "95 % interval"}),
            "energy": (
                ("chip", "layer", "part"),
                torch.stack(per_chip).cpu().numpy(),
                {"units": "J", "long_name": "supply energy per inference"},
            ),
            "per_image": (
                "image",
                per_image.cpu().numpy(),
                {"units": "J", "long_name": "supply energy, mean over chips"},
            ),
            "capacitor_estimate": (
                "image",
                _capacitor_estimate(net, x),
                {"units": "J", "long_name": "capacitor energy without transmission"},
            ),
            "spikes_per_neuron": (
                "image",
                fired.cpu().numpy() / count,
                {"units": "1", "long_name": "spikes per hidden neuron"},
            ),
        },
        {"chip": list(drawn.numbers), "layer": range(len(net.layers)), "part": labels(noise)},
        {
            "schema": SCHEMA,
            "not_included": ", ".join(s for s in OUTSIDE if s not in supplies),
            "entropy": seed,
            "law": drawn.law,
            **net.provenance(),
            "package_version": package_version(),
        },
    )
    return with_units(dataset)


def _interval(per_chip: np.ndarray, noise: Noise) -> tuple[float, float, float]:
    """Mean over chips, and its 95 % interval widened by that of the measured coefficients."""
    mean, _, high = mean_interval(per_chip.sum((1, 2)))
    sums: dict[int, np.ndarray] = {}
    for n, row in enumerate(per_chip.mean(0)):  # layers of one set share the errors of its coefficients
        k = noise.sets.index(noise.of(n))
        sums[k] = sums.get(k, 0.0) + row
    doubt = 0.0
    for k, row in sums.items():
        table = coefficients(noise.sets[k])
        for part, joules in zip(parts_of(noise), row, strict=True):
            if part in table and table[part]["value"]:
                end = np.abs(np.array(table[part]["ci95"]) / table[part]["value"] - 1.0).max()
                doubt += float(joules * end) ** 2
    half = float(np.hypot(high - mean, np.sqrt(doubt)))
    return mean, mean - half, mean + half


def _capacitor_estimate(net: TTFSNetwork, x: torch.Tensor) -> np.ndarray:
    total = x.new_zeros(len(x))
    for layer, point, (before, after), weight in zip(
        net.layers, net.points, net.signals(x), net.weights(), strict=True
    ):
        q = layer.charge(before, weight)
        if layer.spiking:
            top = q + layer.per_neuron(layer.slopes()) * layer.window
            v = torch.where(after > 0, layer.thresholds(), top)
            total += 0.5 * point.c_mem * ((v * point.v_unit) ** 2).sum(-1)
    return total.cpu().numpy()


def summarize(result: xr.Dataset) -> dict[str, Any]:
    """Mean with its interval over chips, and the ledger by layer and part."""
    mean, (low, high) = float(result["energy_mean"]), result["energy_ci95"].values.tolist()
    ledger = result["energy"].mean("chip")
    return {
        "energy_per_inference_j": {"mean": mean, "ci95": [low, high]},
        "ledger": {
            f"layer{n}.{part}": float(ledger.sel(layer=n, part=part))
            for n in result["layer"].values
            for part in result["part"].values
        },
        "spikes_per_neuron": float(result["spikes_per_neuron"].mean()),
        "capacitor_estimate_j": float(result["capacitor_estimate"].mean()),
        "not_included": result.attrs["not_included"].split(", "),
    }
