r"""Put a network on a technology: every layer rescaled, with an operating point and unit devices of its own.

Neurons are rescaled to fill windows and swing (`circuits.biasing.equalize`), operating points are chosen that
hold every bound of the circuit (`circuits.biasing.choose`). What only adds spread, offsets, jitter and the
rounding of weights to whole unit devices (an error r of potentials), is no bound here: it has a price,

.. math:: v_{n+1} = (W \circ W) v_n + \sigma_{n+1}^2 + r_{n+1}^2, \qquad
          \text{price} = \sqrt{\langle v_N \rangle} \,/\, \text{standard deviation of the outputs}

the expected error of the outputs in units of their own range. Windows and the room below the reset level are
chosen for the least price (objective `spread`), energy, or latency.

Where a network does not fit, its largest weights are what stands out: with `retrain` they are clipped at
falling percentiles until it does, and short training, in whole unit devices and inside the swing, takes back
what that costs. What is systematic in the circuit is taken out by thresholds, once it is measured
(`ttfs_analog.training.compensation`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import torch

from circuits.benches.bias_lines import reference_current
from circuits.biasing.bounds import Bounds
from circuits.biasing.cell_figures import Figures, figures
from circuits.biasing.choose import LayerBias, choose
from circuits.biasing.dummies import GUARD, with_dummies
from circuits.biasing.equalize import READ_OUTS, equalize
from circuits.biasing.layer_demand import propagate
from circuits.biasing.silicon import area
from circuits.errors import InputError
from circuits.model.layer import Array, Layer
from circuits.pdk.technology import Technology
from ttfs_analog.constraints.constraints import Constraints, WeightUnits
from ttfs_analog.data.inputs import pair_for
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.network.swing import project
from ttfs_analog.network.windows import Progress
from ttfs_analog.neuron.layers import TTFSLinear
from ttfs_analog.neuron.relative import Relative
from ttfs_analog.neuron.seeding import seeded
from ttfs_analog.training.recipe import Recipe
from ttfs_analog.training.training import accuracy, optimize

WINDOWS, ROOMS = (1.0, 1.5, 2.0, 3.0), (0.5, 1.0)
"""Firing windows [tau_c], and room below the reset level in parts of them, that are tried."""
IMAGES = 256
"""Calibration images."""
CLIPS = (100.0, 99.9, 99.5, 99.0, 98.0, 95.0)
"""Percentiles of the size of weights at which they are clipped, if a network may be trained again."""
ROUNDING = 0.02
"""Change of a potential by rounded weights that more unit devices are taken against, in parts of a window."""
SPOILED = 0.03
"""Change of a potential by rounded weights, rms in parts of a window, that energy and speed may cost."""
RATE = 0.06
"""Learning rate times fan-in, in windows."""
JUDGED = 5000
"""Training images by which training again is kept or not."""
PROJECT_EVERY = 20


def place(
    net: TTFSNetwork,
    technology: Technology | str,
    calibration: Any,
    *,
    objective: str = "spread",
    read_out: str = "first-spike",
    area: float = 1.0,
    dummies: int = 0,
    guard: float = GUARD,
    corner: str | None = None,
    temperature: float | None = None,
    supply: float | None = None,
    retrain: int = 0,
    seed: int = 0,
    progress: Progress | None = None,
) -> TTFSNetwork:
    """A new network that fits the circuits of a technology; the old one is untouched.

    Parameters
    ----------
    net : TTFSNetwork
        Fully connected layers in form b1.
    technology : Technology or str
        With transistors.
    calibration : Data, loader, or (x, y)
        What it was trained on: for the range of potentials, and to train again.
    objective : {"spread", "energy", "speed"}
    read_out : {"first-spike", "sampled"}
        The last layer spikes, and the first one to fire wins; or its potentials are sampled at t_min.
    area : float
        Gate area of the matched transistors, as a multiple of the technology's.
    dummies, guard : int, float
        Relative coding: dummies of every hidden layer, odd, and what its window is longer by, in parts of it
        (`circuits.biasing.dummies`); 0: absolute coding.
    corner, temperature, supply : optional
        Where the network will be operated; it is placed at the typical corner, 27 C, the nominal supply.
    retrain : int
        Epochs of training after the placement; 0: none. It is kept if it helps.
    progress : callable, optional
        (done, total) of the placements that are tried.

    Raises
    ------
    InputError
        If the technology has ideal sources, the network has convolutions, or no placement holds the bounds:
        naming layer, neuron, bound and remedy.
    """
    if read_out not in READ_OUTS:
        raise InputError(f"unknown read-out {read_out!r}; choose from {', '.join(READ_OUTS)}")
    if net.constraints is not None:
        raise InputError(
            "place takes a network without constraints: unit devices are its own grid of weights"
        )
    technology = Technology.load(technology) if isinstance(technology, str) else technology
    technology.transistors()
    data = pair_for(net, calibration, training=True)
    resized = technology.resized(area)
    x = data[0][:: max(1, len(data[0]) // IMAGES)][:IMAGES]
    measured, inputs = figures(resized), x.double().cpu().numpy()
    relative = (dummies, guard)
    chosen = _search(
        net.to_circuit(), inputs, resized, measured, objective, read_out, retrain, relative, progress
    )
    placed = _network(net, chosen, measured, read_out)
    placed.metadata |= {
        "technology": technology.name,
        "placement": {
            "technology": technology.name, "objective": objective, "read_out": read_out, "area": area,
            "dummies": dummies, "guard": guard if dummies else 0.0,
            "corner": corner, "temperature": temperature, "supply": supply,
            "layers": [_about(b, measured) for b in chosen],
        },
    }  # fmt: skip
    if retrain:
        trained = placed.clone()
        _train(trained, data, retrain, seed)
        # of wide layers the projection can take more than training gives
        before, after = (accuracy(v, data[0][:JUDGED], data[1][:JUDGED]) for v in (placed, trained))
        placed = trained if after >= before else placed
    return placed


def _search(
    layers: list[Layer],
    x: Array,
    technology: Technology,
    f: Figures,
    objective: str,
    read_out: str,
    retrain: int,
    relative: tuple[int, float],
    progress: Progress | None,
) -> list[LayerBias]:
    """The best of all placements that hold the bounds."""
    clips = CLIPS if retrain else CLIPS[:1]
    grid = list(product(WINDOWS, ROOMS))
    refusals: list[InputError] = []
    for c, clip in enumerate(clips):
        options: list[tuple[tuple[float, float], list[LayerBias]]] = []
        for k, (window, room) in enumerate(grid):
            scaled = [_clipped(layer, clip) for layer in equalize(layers, x, window, room, read_out)]
            scaled = with_dummies(scaled, *relative)
            circuits = [v if v.spiking else dataclasses.replace(v, bias=np.zeros(v.n_out)) for v in scaled]
            bounds = Bounds(offset=np.inf, jitter=np.inf, rounding=ROUNDING * window)
            try:
                biased = choose(circuits, x, technology, f, objective=objective, bounds=bounds)
            except InputError as error:
                refusals.append(error)
            else:
                kept = [
                    b if b.layer.spiking else _with_bias(b, v) for b, v in zip(biased, scaled, strict=True)
                ]
                options.append((_price(kept, scaled, x, objective), kept))
            if progress:
                progress(c * len(grid) + k + 1, len(clips) * len(grid))
        if options:
            return min(options, key=lambda option: option[0])[1]
    more = "" if retrain else "; or let --retrain 20 clip the largest weights and train again"
    raise InputError(f"{refusals[0]}{more}")


def _with_bias(bias: LayerBias, layer: Layer) -> LayerBias:
    """Biases of a sampled read-out are added to its samples: no current of the circuit."""
    return dataclasses.replace(bias, layer=dataclasses.replace(bias.layer, bias=layer.bias))


def _clipped(layer: Layer, percentile: float) -> Layer:
    size = np.abs(layer.weights)
    limit = np.percentile(size[size > 0], percentile) if size.any() else 1.0
    return dataclasses.replace(layer, weights=np.clip(layer.weights, -limit, limit))


def _price(
    biased: Sequence[LayerBias], scaled: Sequence[Layer], x: Array, objective: str
) -> tuple[float, float]:
    """What the search minimizes: whether rounding spoils the weights, then the objective."""
    variance, worst = np.zeros(x.shape[1]), 0.0
    for b, layer, before in zip(biased, scaled, propagate(scaled, x), strict=True):
        rounded = np.mean((before @ (b.layer.weights - layer.weights).T) ** 2, axis=0)
        worst = max(worst, float(np.sqrt(rounded.max())) / (layer.window or layer.t_min))
        spread = np.broadcast_to(_worth(b).spread, (layer.n_out,))
        # what dummies spread is common to a layer, and left out
        variance = (b.layer.weights**2 @ variance + spread**2 + rounded)[: layer.n_out - layer.dummies]
        outputs = before @ layer.weights.T
    price = float(np.sqrt(variance.mean()) / max(outputs.std(), 1e-12))
    spoiled = max(worst, SPOILED) if objective != "spread" else 0.0
    if objective == "energy":
        price = float(sum(_worth(b).energy.sum() for b in biased))
    elif objective == "speed":
        price = float(sum(b.phases.t_max - b.phases.t_min for b in biased))
    return spoiled, price


def _worth(bias: LayerBias) -> Any:
    assert bias.worth is not None, "a chosen bias knows what it is worth"
    return bias.worth


def _network(net: TTFSNetwork, chosen: Sequence[LayerBias], f: Figures, read_out: str) -> TTFSNetwork:
    """Layers in real weights, which unit devices round."""
    like = net.like
    blocks: list[torch.nn.Module] = []
    for b in chosen:
        layer = b.layer
        blocks.append(
            TTFSLinear(
                torch.as_tensor(layer.weights).to(like), torch.as_tensor(layer.bias).to(like),
                input_window=layer.t_min, window=layer.window, spiking=layer.spiking,
            )
        )  # fmt: skip
        if layer.dummies:
            blocks.append(Relative(layer.dummies))
    placed = TTFSNetwork(blocks, dict(net.metadata), net.input_shape)
    units = tuple(b.technology.transistors().units for b in chosen)
    placed.constraints = Constraints([WeightUnits(units, tuple(_most(b, f) for b in chosen))])
    placed.points = [b.point for b in chosen]
    return placed.eval()


def _most(bias: LayerBias, f: Figures) -> int:
    """Unit devices that one switch has room for."""
    return max(1, int(f.largest(Bounds().headroom) / bias.unit_current))


def _about(bias: LayerBias, f: Figures) -> dict[str, Any]:
    """What a network file says about a layer: what its circuit is built from, and what that is worth."""
    worth, point, silicon = _worth(bias), bias.point, area(bias)
    current = reference_current(bias.technology.transistors(), point, bias.layer.spiking)
    on = bias.layer.t_min + bias.layer.window + bias.delay  # both windows [tau_c]

    def mean(values: Array) -> float:
        return float(np.mean(np.broadcast_to(values, (bias.layer.n_out,))))

    return {
        "units": bias.technology.transistors().units,
        "most": _most(bias, f),
        "low": float(point.unit_free(point.v_low)),
        "high": float(point.unit_free(point.v_high)) - bias.delay,
        "lowest": float(point.unit_free(f.lowest_threshold)),
        "delay_tau_c": bias.delay,
        "tau_c_s": point.tau_c,
        "c_mem_f": point.c_mem,
        "i_unit_a": point.i_unit,
        "v_unit_v": point.v_unit,
        "window_tau_c": bias.layer.window if bias.layer.spiking else bias.layer.t_min,
        "expected_spread_tau_c": mean(worth.spread),
        "offset_tau_c": mean(worth.offset),
        "jitter_tau_c": mean(worth.jitter),
        "rounding": bias.rounded,
        "leakage": float(np.max(np.abs(worth.leakage))),
        "bounds": {k: float(np.max(v)) for k, v in worth.ratios.items() if np.max(v) > 0},
        "energy_j": float(np.sum(np.broadcast_to(worth.energy, (bias.layer.n_out,)))),
        "reference_j": point.vdd * current * on * point.tau_c,
        "area_m2": silicon.total,
        "area_parts_m2": dataclasses.asdict(silicon),
        "thresholds_beyond_swing": bias.unreached,
    }


def _train(placed: TTFSNetwork, data: tuple[torch.Tensor, torch.Tensor], epochs: int, seed: int) -> None:
    """Train in whole unit devices, inside the swing."""
    x, y = data[0].to(placed.like), data[1].to(placed.like.device)
    some = x[torch.randperm(len(x), generator=seeded(seed, 1))[:IMAGES]]

    def loss_of(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(placed(images), labels)

    def after(step: int) -> None:
        if step % PROJECT_EVERY == 0:
            project(placed, some)

    # one step of Adam moves all weights of a neuron: together by a small part of its window
    step = min(max(v.window_length, float(v.input_window)) / v.weight.shape[1] for v in placed.layers)
    optimize(placed, (x, y), loss_of, Recipe(epochs, 64, RATE * step, seed=seed), after=after)
    project(placed, x[:1024])
    placed.eval()
