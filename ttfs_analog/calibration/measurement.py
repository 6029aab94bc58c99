"""Spike times of a chip that is shown patterns: from the model, from ngspice, or from a file of a laboratory.

Files are CSV. Patterns: columns layer, pattern, synapse, spike_time; times of input spikes after the start of
the layer's input window [tau_c], synapses that stay silent left out. Spike times: columns layer, pattern,
neuron, spike_time after t_min [tau_c], empty where the neuron did not fire; repeated rows are averaged.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from circuits import whole_file
from circuits.errors import InputError
from circuits.model.coding import encode
from circuits.simulation import feed_forward, simulate
from circuits.spice.ngspice import Ngspice
from ttfs_analog.calibration.patterns import LayerPatterns
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.network.windows import Progress
from ttfs_analog.neuron.layers import TTFSLayer
from ttfs_analog.neuron.seeding import seeded
from ttfs_analog.noise.chips import Chips

LEVELS = ("closed-form", "ngspice")
PATTERNS = ("layer", "pattern", "synapse", "spike_time")
TIMES = ("layer", "pattern", "neuron", "spike_time")
Answers = Callable[[TTFSNetwork, Tensor], list[Tensor]]
MEASUREMENT = 7
"""Stream of a seed: errors of measured times."""


@torch.no_grad()
def measure(
    net: TTFSNetwork,
    chip: Chips,
    patterns: Sequence[LayerPatterns],
    *,
    level: str = "closed-form",
    error: float = 0.0,
    repeats: int = 1,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Tensor]:
    """Activations of every layer, (pattern, neuron), means of repeated measurements; 0 = silent.

    Parameters
    ----------
    chip : Chips
        One. Its jitter is that of every trial; in ngspice there is none.
    patterns : sequence of LayerPatterns
    level : {"closed-form", "ngspice"}
        ngspice: of ideal sources.
    error : float
        Standard deviation of a measured time, as a share of the window.
    repeats : int
        Measurements of every pattern.
    seed : int
        Of the errors.
    progress : callable, optional
        (done, total) of the patterns of all layers.

    Raises
    ------
    InputError
        For an unknown level, an error that is none, or ngspice where the chip has constants of transistors.
    """
    if not 0 <= error < 1 or repeats < 1:
        raise InputError(f"need an error of 0 to 1 windows and repeats >= 1, got {error} and {repeats}")
    _check_level(level, chip)
    devices, weights, generator = chip.deviations(net.like), net.weights(), seeded(seed, MEASUREMENT)
    simulator = Ngspice() if level == "ngspice" else None
    total, found = sum(len(plan.inputs) for plan in patterns), []
    for n, (layer, plan) in enumerate(zip(net.layers, patterns, strict=True)):
        if simulator is not None:
            rows = _in_ngspice(net, n, chip, plan.inputs, simulator)
        else:
            rows = layer(plan.inputs, devices[n], weights[n])[0].reshape(plan.expected.shape)
        sd = math.hypot(error * layer.window_length, chip.jitter[n] if simulator is None else 0.0)
        if layer.spiking and sd:
            late = torch.randn(repeats, *rows.shape, generator=generator, dtype=torch.float64).mean(0)
            noisy = (rows - sd * late.to(rows)).clamp(1e-9 * layer.window_length, None)
            rows = torch.where((rows > 0) & (rows < layer.window_length), noisy, rows)
            rows = rows.clamp_max(layer.window_length)
        found.append(rows)
        if progress:
            progress(sum(len(p.inputs) for p in patterns[: n + 1]), total)
    return found


def answers(chip: Chips, level: str = "closed-form", workers: int = 1) -> Answers:
    """What a whole chip answers to images: the forward pass of a training in the loop.

    Parameters
    ----------
    chip : Chips
        One, as it is.
    level, workers
        As of `measure`; ngspice processes at a time.

    Returns
    -------
    callable
        (network, images) -> activations of every layer, (image, neuron).
    """
    _check_level(level, chip)

    def in_the_model(net: TTFSNetwork, x: Tensor) -> list[Tensor]:
        learning = net.training
        net.eval()  # what a chip says are spikes, not the scores of a loss
        found = [rows[0] for rows in net.trace(x, chip.model(x))]
        net.train(learning)
        return found

    def in_ngspice(net: TTFSNetwork, x: Tensor) -> list[Tensor]:
        net.rescale(x)
        circuit = net.to_circuit()
        found = [torch.zeros(len(x), layer.n_out).to(net.like) for layer in net.layers]
        inputs = x.flatten(1).double().cpu().numpy()
        for image, responses in feed_forward(circuit, net.points, inputs, list(chip.layers), workers=workers):
            for n, (layer, given) in enumerate(zip(circuit, responses, strict=True)):
                row = given.activation(layer.window)[0] if layer.spiking else given.v_t_min[0]
                found[n][image] = torch.as_tensor(row).to(net.like)
        return found

    return in_ngspice if level == "ngspice" else in_the_model


def _check_level(level: str, chip: Chips) -> None:
    """Refuse what cannot be simulated."""
    if level not in LEVELS:
        raise InputError(f"unknown level {level!r}; choose from {', '.join(LEVELS)}")
    if level == "ngspice" and not all(c.ideal for c in chip.constants):
        raise InputError("level ngspice measures chips of ideal sources; take closed-form for this one")


def _in_ngspice(net: TTFSNetwork, n: int, chip: Chips, inputs: Tensor, simulator: Ngspice) -> Tensor:
    """Answers of layer n, (pattern, neuron), every pattern a transient of its own."""
    net.require_points()
    circuit = net.to_circuit()[n]
    rows = []
    for times in encode(inputs.double().cpu().numpy(), circuit.t_min):
        given = simulate(circuit, times, net.points[n], chip.layers[n], simulator=simulator)
        rows.append(given.activation(circuit.window)[0] if circuit.spiking else given.v_t_min[0])
    return torch.as_tensor(np.stack(rows)).to(net.like)


def write_patterns(path: str | Path, net: TTFSNetwork, patterns: Sequence[LayerPatterns]) -> Path:
    """Write the stimuli for a laboratory.

    Parameters
    ----------
    path : str or Path
    net : TTFSNetwork
    patterns : sequence of LayerPatterns
    """
    rows = []
    for n, (layer, plan) in enumerate(zip(net.layers, patterns, strict=True)):
        if not layer.spiking:
            continue
        start = float(layer.input_window)
        for p, x in enumerate(plan.inputs.flatten(1).tolist()):
            rows += [(n, p, j, start - v) for j, v in enumerate(x) if v > 0]
    return whole_file.write(path, _text(PATTERNS, rows))


def write_times(path: str | Path, net: TTFSNetwork, measured: Sequence[Tensor]) -> Path:
    """Write measured spike times, as `read_times` reads them.

    Parameters
    ----------
    path : str or Path
    net : TTFSNetwork
    measured : sequence of Tensor, shape (pattern, neuron)
        Activations by layer, of `measure`.
    """
    rows = []
    for n, (layer, x) in enumerate(zip(net.layers, measured, strict=True)):
        if layer.spiking:
            for p, values in enumerate(x.tolist()):
                times = (layer.window_length - v if v > 0 else "" for v in values)
                rows += [(n, p, i, t) for i, t in enumerate(times)]
    return whole_file.write(path, _text(TIMES, rows))


def read_times(path: str | Path, net: TTFSNetwork, count: int) -> list[Tensor]:
    """Measured spike times as activations, (pattern, neuron) by layer; NaN: not measured.

    Parameters
    ----------
    path : str or Path
    net : TTFSNetwork
    count : int
        Patterns a layer.

    Raises
    ------
    InputError
        Naming file and line: a column is missing, a number is none, or there is no such neuron.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}; give a CSV with columns {', '.join(TIMES)}") from None
    reader = csv.DictReader(io.StringIO(text))
    if missing := [name for name in TIMES if name not in (reader.fieldnames or ())]:
        raise InputError(f"{path} has no column {', '.join(missing)}; it needs {', '.join(TIMES)}")
    sums = [np.zeros((count, layer.n_out)) for layer in net.layers]
    counts = [np.zeros((count, layer.n_out)) for layer in net.layers]
    for row in reader:
        where = f"{path}, line {reader.line_num}"
        n, p, i = _place(row, where, net.layers, count)
        window, value = net.layers[n].window_length, (row["spike_time"] or "").strip()
        time = math.inf if value.lower() in ("", "inf") else _number(value, where)
        if math.isnan(time) or time < -window:
            raise InputError(
                f"{where}: spike_time must be a time after t_min [tau_c] or empty, got {value!r}"
            )
        sums[n][p, i] += min(max(window - time, 0.0), window)
        counts[n][p, i] += 1
    if not any(c.any() for c in counts):
        raise InputError(f"{path} has no spike time")
    return [_mean(total, number).to(net.like) for total, number in zip(sums, counts, strict=True)]


def _place(row: dict[str, str], where: str, layers: Sequence[TTFSLayer], count: int) -> tuple[int, int, int]:
    """Layer, pattern and neuron of a row."""
    place: list[int] = []
    for name, most in (("layer", len(layers)), ("pattern", count), ("neuron", None)):
        value = _number(row[name] or "", where)
        most = layers[place[0]].n_out if most is None else most
        if value != int(value) or not 0 <= value < most:
            raise InputError(
                f"{where}: {name} must be a whole number from 0 to {most - 1}, got {row[name]!r}"
            )
        place.append(int(value))
    if not layers[place[0]].spiking:
        raise InputError(f"{where}: layer {place[0]} is a read-out, its neurons do not spike")
    return place[0], place[1], place[2]


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise InputError(f"{where}: {text!r} is no number") from None
    if math.isinf(value):
        raise InputError(f"{where}: {text!r} is not finite")
    return value


def _mean(total: NDArray[np.float64], number: NDArray[np.float64]) -> Tensor:
    with np.errstate(invalid="ignore"):
        return torch.as_tensor(total / number)  # 0 / 0: not measured


def _text(names: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    return out.getvalue()
