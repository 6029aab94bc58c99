r"""Joules per inference, by part and layer, and how sure they are.

Supply energy of one neuron: synapse sources while they are on, and the slope source from t_min to the
spike (or t_max):

.. math:: E = V_{DD} I_u \tau_c \Big[ k_{syn} \sum_{W_{ij}>0} W_{ij}(1+e_{ij}) x_j
              + k_{ramp}\, B (1+\beta) \min(s, T) \Big]

with k measured on the circuit (noise model). Sinks take nothing from the supply: they discharge the
membrane. In the account: synapse and slope sources, read-out drive. Not in it: comparators, latches,
references, wires and clocks, which the ideal technology does not have.

For comparison, the capacitor estimate of Stanojevic et al., Nat. Commun. 2024, Methods:
0.5 C theta^2 per spike and 0.5 C V(t_max)^2 per silent neuron, without the cost of transmission.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr

from montecarlo.campaign.schema import package_version, with_units
from montecarlo.statistics.intervals import mean_interval
from ttfs_analog.data.datasets import pair_of
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.neuron.functional import Deviations
from ttfs_analog.noise.noise_model import NoiseModel
from ttfs_analog.training.training import Progress

SCHEMA = "ttfs-analog/energy/1"
PARTS = ("synapse", "slope")


@torch.no_grad()
def layer_energies(
    net: TTFSNetwork, x: torch.Tensor, noise: NoiseModel | None, deviations: list[Deviations]
) -> torch.Tensor:
    """Energy [J], shape (chip, image, layer, part); without a noise model, of ideal sources."""
    k_synapse, k_slope = (noise.energy[p]["value"] if noise else 1.0 for p in PARTS)
    net.require_points()
    total = []
    flow = net.signals(x, deviations)
    for layer, point, deviation, (before, after), weight in zip(
        net.layers, net.points, deviations, flow, net.weights(), strict=True
    ):
        q = layer.charge(before, weight.clamp(min=0), deviation.synapse).sum(-1)
        if not layer.spiking:
            q = q + layer.shift().clamp(min=0).sum()
        unit = point.unit_energy
        synapse = q * unit * k_synapse
        if layer.spiking:
            ramp = (layer.per_neuron(layer.slopes()) * (1.0 + deviation.slope)).unsqueeze(-2)
            on = (ramp * (layer.window - after)).sum(-1)
        else:
            on = torch.zeros_like(after[..., 0])
        total.append(torch.stack([synapse, on * unit * k_slope], -1))
    return torch.stack(total, -2)


@torch.no_grad()
def energy(
    net: TTFSNetwork,
    data: Any,
    noise: NoiseModel,
    *,
    chips: int = 100,
    seed: int = 0,
    progress: Progress | None = None,
) -> xr.Dataset:
    """Energy ledger over chips and images.

    Returns
    -------
    xarray.Dataset
        `energy` (chip, layer, part) [J], mean over images; `per_image` (image), mean over chips;
        `capacitor_estimate` (image) [J], perfect devices; `spikes_per_neuron` (image).
    """
    x, _ = pair_of(data)
    x = x.to(net.like)
    drawn = noise.sample(net, chips, seed)
    per_chip, per_image = [], x.new_zeros(len(x))
    for chip in drawn:
        found = layer_energies(net, x, noise, chip.deviations(x))[0]
        per_chip.append(found.mean(0))
        per_image += found.sum((-1, -2)) / len(drawn)
        if progress:
            progress(len(per_chip), chips)
    hidden = net.trace(x)[:-1]
    fired = sum(((h > 0).double().sum(-1) for h in hidden), x.new_zeros(len(x)))
    count = sum(h.shape[-1] for h in hidden) or 1
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
        {"chip": list(drawn.numbers), "layer": range(len(net.layers)), "part": list(PARTS)},
        {
            "schema": SCHEMA,
            "entropy": seed,
            "law": drawn.law,
            **net.provenance(),
            "package_version": package_version(),
        },
    )
    return with_units(dataset)


def _interval(per_chip: np.ndarray, noise: NoiseModel) -> tuple[float, float, float]:
    """Mean over chips, and its 95 % interval widened by that of the measured coefficients."""
    mean, _, high = mean_interval(per_chip.sum((1, 2)))
    share = per_chip.mean(0).sum(0) / mean if mean else np.zeros(len(PARTS))
    doubt = 0.0
    for part, weight in zip(PARTS, share, strict=True):
        coefficient = noise.energy[part]
        ends = np.abs(np.array(coefficient["ci95"]) / coefficient["value"] - 1.0)
        doubt += (weight * float(ends.max())) ** 2
    half = float(np.hypot(high - mean, mean * np.sqrt(doubt)))
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
        "not_included": ["comparator", "latch", "references", "wires", "clock"],
    }
