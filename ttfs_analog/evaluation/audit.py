r"""Random neurons of random chips of a placed network in ngspice, where whole chips are too large to run.

A triple (chip, image, neuron) takes one transient: the neuron with its own devices, the references of its
layer's chip, and the input spikes that a chip drawn from the noise model gives it under that image. Its spike
is compared with the equation, as `ttfs_analog.evaluation.transistor_verification` does for whole chips.

How many decisions could change is bounded by the residuals: as independent normal errors of all spike times
of a layer, with their rms, they are added in the model, and decisions with and without them are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from circuits.biasing.transistor_layer import TransistorMismatch, TransistorNeuron
from circuits.model.closed_form import fire
from circuits.model.coding import encode
from circuits.model.layer import LayerMismatch
from circuits.spice.ngspice import Ngspice, parallel
from montecarlo.extraction.known_chip import known, perfect
from montecarlo.mismatch.seeds import PLAN, generator
from montecarlo.mismatch.transistors import draw_chip
from montecarlo.statistics.intervals import proportion_interval
from ttfs_analog.data.inputs import pair_for
from ttfs_analog.evaluation.transistor_runs import equation
from ttfs_analog.evaluation.transistor_summary import rms
from ttfs_analog.evaluation.transistor_verification import FRESH, drawn_population, neurons_at
from ttfs_analog.network.decision import classes
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.noise.chips import Chips
from ttfs_analog.noise.noise_model import Noise

DRAWS = 20
"""Of errors, for the bound on decisions that could change."""
Progress = Callable[[int, int], None]


@torch.no_grad()
def audit(
    net: TTFSNetwork,
    data: Any,
    noise: Noise,
    count: int,
    *,
    images: int = 200,
    chips: int = 20,
    workers: int = 1,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Random neurons of random chips under random images, instead of whole chips.

    Parameters
    ----------
    net, data, noise, workers, seed
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
        Residual (rms, by layer; of a sampled read-out in units of potential), coverage of the 95 %
        intervals, spikes on one side only, and the share of decisions that residuals as large could change,
        with its 95 % interval.
    """
    x, y = pair_for(net, data, images=images)
    kinds, simulator = neurons_at(net, noise), Ngspice()
    population = drawn_population(kinds, noise, seed)
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
        law = noise.of(n).delay_law
        terms, _ = known(kind, drawn, law, nominal, neurons=[i], simulator=simulator)
        times = encode(active[None], kind.layer.t_min)[0]
        (measured,) = kind.measured(times, drawn, neurons=[i], simulator=simulator)
        single = _alone(kind, i)
        spice = measured.v_t_min
        if kind.layer.spiking:
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
    for done, (_, row) in enumerate(parallel((partial(one, *t) for t in triples), workers, simulator), 1):
        rows.append(row)
        if progress:
            progress(done, count)
    layer, spice, expected, plain, low, high = (np.array(column) for column in zip(*rows, strict=True))
    both = np.isfinite(spice) & np.isfinite(expected)
    residual = np.where(both, np.where(both, spice, 0.0) - np.where(both, expected, 0.0), np.nan)
    apart = np.isfinite(spice) & np.isfinite(plain)
    without = np.where(apart, np.where(apart, spice, 0.0) - np.where(apart, plain, 0.0), np.nan)
    fires = np.array([kind.layer.spiking for kind in kinds])[layer]
    timed = np.isfinite(spice) & ((spice > 0) | ~fires)  # others are no test of an interval
    inside = ((spice >= low - 1e-9) & (spice <= high + 1e-9))[timed]
    by_layer = [rms(residual[layer == n]) for n in range(len(kinds))]
    changed = _could_change(net, x, model, by_layer, rng)
    return {
        "audited": count,
        "spike_time_rms_tau_c": rms(residual[fires]),
        "spike_time_rms_by_layer": {f"layer{n}": v for n, v in enumerate(by_layer)},
        "spike_time_rms_without_deviations": rms(without[fires]),
        "one_sided_spikes": int((np.isfinite(spice) != np.isfinite(expected)).sum()),
        "spikes": int(timed.sum()),
        "coverage_95": float(inside.mean()),
        "coverage_95_ci95": list(proportion_interval(int(inside.sum()), len(inside))),
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
    layer = kind.layer
    one = replace(
        layer, weights=layer.weights[[neuron]], bias=layer.bias[[neuron]], slope=layer.slope[[neuron]]
    )
    return replace(kind, bias=replace(kind.bias, layer=one, delays=kind.bias.delays[[neuron]]))


def _of_neuron(many: LayerMismatch, neuron: int) -> LayerMismatch:
    return LayerMismatch(**{f.name: getattr(many, f.name)[:, [neuron]] for f in fields(many)})


def _could_change(
    net: TTFSNetwork, x: torch.Tensor, model: Chips, errors: Sequence[float], rng: np.random.Generator
) -> tuple[int, int]:
    """Decisions that independent errors of the residuals' size change, and how many were asked."""
    deviations = model.deviations(x)
    before = classes(net(x, deviations), net.read_out)
    generator_ = torch.Generator().manual_seed(int(rng.integers(2**31)))
    changed = 0
    for _ in range(DRAWS):

        def respond(n: int, layer: Any, active: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
            shape = (len(model), len(x), layer.n_out)
            late = errors[n] * torch.randn(shape, generator=generator_, dtype=x.dtype)
            return layer(active, deviations[n], weight, late)

        changed += int((classes(net(x, respond), net.read_out) != before).sum())
    return changed, DRAWS * before.numel()
