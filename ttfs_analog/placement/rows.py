r"""What a campaign asks of a placed network: neurons of every layer, and inputs that make them fire.

Neurons are taken evenly over the fan-in of a layer. For each of them the stimuli are chosen, among what the
layer sees of calibration images, by the time its ramp takes,

.. math:: s = \vartheta - \sum_j W_j x_j \approx \frac{r + 1/2}{R}\,T, \qquad r = 0 \dots R - 1

the middle of the window first. Some layers fire too seldom on real inputs to tell their constants apart:
where no image comes near, one is made of the inputs of many, each synapse with that of another image.

Read-outs do not fire: their inputs are spread over the range of their potentials in the same way,

.. math:: \sum_j W_j x_j \approx V_{low} + \frac{r + 1/2}{R} (V_{high} - V_{low})
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
from montecarlo.campaign.conditions import CONDITIONS
from montecarlo.campaign.rows import Rows
from montecarlo.mismatch.seeds import PLAN, generator
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.placement.neurons import placement_of, technology_of

PATTERNS, STIMULI, NOMINAL, TRIALS, BATCH = 8, 4, 72, 24, 16
"""Of the campaign on a layer."""
SAMPLED = 8
"""Stimuli of a read-out: without thresholds, inputs alone tell its constants apart."""
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
    at = {k: about.get(k) if conditions.get(k) is None else conditions[k] for k in CONDITIONS}
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
        counts = (STIMULI, NOMINAL) if layer.spiking else (SAMPLED, SAMPLED * len(neurons))
        rows = Rows(
            layer=n,
            neurons=tuple(int(i) for i in neurons),
            units=int(entry["units"]),
            most=int(entry["most"]) / int(entry["units"]),
            t_min=layer.t_min,
            window=layer.window,
            delay=float(entry["delay_tau_c"]),
            weights=_numbers(layer.weights[neurons]),
            theta=_numbers(layer.theta[neurons] if layer.spiking else np.zeros(len(neurons))),
            input_time=_numbers(np.stack([encode(s, layer.t_min) for s in stimuli])),
            lowest=float(entry["lowest"]),
            network=fingerprint,
            spiking=layer.spiking,
        )
        made.append(
            Campaign(
                technology.name, point, samples, synapses=layer.n_in, entropy=entropy, patterns=len(neurons),
                random=counts[0], batch=BATCH, corner=corner, temperature=temperature,
                area=float(about["area"]), comparator="ota" if layer.spiking else None,
                nominal=counts[1], trials=TRIALS, rows=rows,
            )
        )  # fmt: skip
    return made


def _numbers(values: Array) -> Any:
    """Nested tuples of an array."""
    return tuple(_numbers(v) for v in values) if values.ndim else float(values)


def _neurons(layer: Layer, seen: Array) -> np.ndarray:
    """Numbers of neurons, evenly over the fan-in; those that nothing moves are left out."""
    fan_in = np.count_nonzero(layer.weights, axis=1)
    moved = np.ptp(seen @ layer.weights.T, axis=0) > NEAR * (layer.window or layer.t_min)
    order = np.flatnonzero(moved)[np.argsort(fan_in[moved], kind="stable")]
    if not len(order):
        raise InputError("calibration images move no neuron of a layer: calibrate with other data")
    return order[np.unique(np.linspace(0, len(order) - 1, min(PATTERNS, len(order))).round().astype(int))]


def _stimuli(
    layer: Layer, neuron: int, seen: Array, swing: tuple[float, float], rng: np.random.Generator
) -> Array:
    """Activations (stimulus, synapse) that make a neuron fire over its window, its middle first.

    Those of a read-out cover the range of its potentials.
    """
    mixed = rng.permuted(seen, axis=0)
    one = Layer(layer.weights[[neuron]], np.zeros(1), layer.t_min, layer.t_min, spiking=False)
    candidates, worth = [], []
    for x, penalty in ((seen, 0.0), (mixed, NEAR * (layer.window or layer.t_min))):
        low, high = trajectory_range(one, x)
        top = x @ layer.weights[neuron] if layer.spiking else high[:, 0]
        inside = (low[:, 0] >= swing[0]) & (top <= swing[1])
        candidates.append(x[inside])
        worth.append(np.full(int(inside.sum()), penalty))
    x, penalties = np.concatenate(candidates), np.concatenate(worth)
    charge = x @ layer.weights[neuron]
    at = layer.theta[neuron] - charge if layer.spiking else charge - charge.min()
    count, span = (STIMULI, layer.window) if layer.spiking else (SAMPLED, float(at.max()))
    targets = (np.arange(count) + 0.5) / count * span
    targets = targets[np.argsort(np.abs(targets - 0.5 * span), kind="stable")]
    chosen: list[int] = []
    for target in targets:
        distance = np.abs(at - target) + penalties
        distance[chosen] = np.inf
        chosen.append(int(np.argmin(distance)))
    return x[chosen]
