r"""What a campaign asks of a placed network: neurons of every layer, and inputs that make them fire.

Neurons are taken evenly over the fan-in of a layer. For each of them the stimuli are chosen, among what the
layer sees of calibration images, by the time its ramp takes,

.. math:: s = \vartheta - \sum_j W_j x_j \approx \frac{r + 1/2}{R}\,T, \qquad r = 0 \dots R - 1

the middle of the window first. Some layers fire too seldom on real inputs to tell their constants apart:
where no image comes near, one is made of the inputs of many, each synapse with that of another image.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from circuits.errors import InputError
from circuits.model.closed_form import trajectory_range
from circuits.model.coding import encode
from circuits.model.layer import Array, Layer
from montecarlo.campaign.campaign import Campaign
from montecarlo.campaign.rows import Rows
from montecarlo.mismatch.seeds import PLAN, generator
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.placement.neurons import placement_of, technology_of

PATTERNS, STIMULI, NOMINAL, TRIALS, BATCH = 8, 4, 72, 24, 16
"""Of the campaign on a layer."""
CONDITIONS = ("corner", "temperature", "supply")
IMAGES = 400
"""Calibration images that stimuli are taken from; as many are mixed."""
NEAR = 0.05
"""Distance from the ramp that is wanted, in parts of the window, up to which a real image is preferred."""


@torch.no_grad()
def campaigns(
    net: TTFSNetwork, x: torch.Tensor, samples: int, entropy: int, **conditions: Any
) -> list[Campaign]:
    """One campaign a layer, on its own neurons at its own operating point.

    Parameters
    ----------
    net : TTFSNetwork
        Placed.
    x : Tensor, shape (image, n_in)
        Calibration images.
    samples : int
        Of each layer.
    entropy : int
        Seed.
    **conditions
        corner, temperature [degrees C], supply [V]: where they are operated; None: as placed for.

    Raises
    ------
    InputError
        If the network is not placed.
    """
    about, technology = placement_of(net), technology_of(net)
    at = {
        k: about.get(k) if conditions.get(k) is None else conditions[k]
        for k in ("corner", "temperature", "supply")
    }
    corner = at["corner"] or technology.corners[0]
    temperature = 27.0 if at["temperature"] is None else float(at["temperature"])
    images = x[:: max(1, len(x) // IMAGES)][:IMAGES].to(net.like)
    made, fingerprint = [], net.provenance()["network"]
    for n, (layer, inputs) in enumerate(zip(net.to_circuit(), net.inputs(images), strict=True)):
        entry, point = about["layers"][n], net.points[n].at_supply(at["supply"])
        rng = generator(entropy, PLAN, 13, n)
        seen = inputs.double().cpu().numpy()
        neurons = _neurons(layer, seen)
        stimuli = [_stimuli(layer, i, seen, (entry["low"], entry["high"]), rng) for i in neurons]
        rows = Rows(
            layer=n,
            neurons=tuple(int(i) for i in neurons),
            units=int(entry["units"]),
            most=int(entry["most"]) / int(entry["units"]),
            t_min=layer.t_min,
            window=layer.window,
            delay=float(entry["delay_tau_c"]),
            weights=_numbers(layer.weights[neurons]),
            theta=_numbers(layer.theta[neurons]),
            input_time=_numbers(np.stack([encode(s, layer.t_min) for s in stimuli])),
            lowest=float(entry["lowest"]),
            network=fingerprint,
        )
        made.append(
            Campaign(
                technology.name, point, samples, synapses=layer.n_in, entropy=entropy, patterns=len(neurons),
                random=STIMULI, batch=BATCH, corner=corner, temperature=temperature,
                area=float(about["area"]), comparator="ota", nominal=NOMINAL, trials=TRIALS, rows=rows,
            )
        )  # fmt: skip
    return made


def _numbers(values: Array) -> Any:
    """Nested tuples of an array."""
    return tuple(_numbers(v) for v in values) if values.ndim else float(values)


def _neurons(layer: Layer, seen: Array) -> np.ndarray:
    """Numbers of neurons, evenly over the fan-in; those that nothing moves are left out."""
    fan_in = np.count_nonzero(layer.weights, axis=1)
    moved = np.ptp(seen @ layer.weights.T, axis=0) > NEAR * layer.window
    order = np.flatnonzero(moved)[np.argsort(fan_in[moved], kind="stable")]
    if not len(order):
        raise InputError("calibration images move no neuron of a layer: calibrate with other data")
    return order[np.unique(np.linspace(0, len(order) - 1, min(PATTERNS, len(order))).round().astype(int))]


def _stimuli(
    layer: Layer, neuron: int, seen: Array, swing: tuple[float, float], rng: np.random.Generator
) -> Array:
    """Activations (stimulus, synapse) that make a neuron fire over its window, its middle first."""
    mixed = rng.permuted(seen, axis=0)
    one = Layer(layer.weights[[neuron]], layer.bias[[neuron]], layer.t_min, layer.t_max)
    candidates, worth = [], []
    for x, penalty in ((seen, 0.0), (mixed, NEAR * layer.window)):
        low, _ = trajectory_range(one, x)
        inside = (low[:, 0] >= swing[0]) & ((x @ layer.weights[neuron]) <= swing[1])
        candidates.append(x[inside])
        worth.append(np.full(int(inside.sum()), penalty))
    x, penalties = np.concatenate(candidates), np.concatenate(worth)
    ramp = layer.theta[neuron] - x @ layer.weights[neuron]
    targets = (np.arange(STIMULI) + 0.5) / STIMULI * layer.window
    targets = targets[np.argsort(np.abs(targets - 0.5 * layer.window), kind="stable")]
    chosen: list[int] = []
    for target in targets:
        distance = np.abs(ramp - target) + penalties
        distance[chosen] = np.inf
        chosen.append(int(np.argmin(distance)))
    return x[chosen]
