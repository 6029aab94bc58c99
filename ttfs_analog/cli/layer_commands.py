"""What the commands about circuits do. No torch here: a designer need not wait for it, or have it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from circuits.errors import InputError
from circuits.ideal.layer_circuit import layer_cell
from circuits.ideal.netlist import build
from circuits.ideal.stimulus import stimulus
from circuits.model.closed_form import response, trajectory_range
from circuits.model.coding import decode, encode
from circuits.model.layer import Array, Layer, LayerMismatch
from circuits.model.layer_file import read_layer
from circuits.model.operating_point import SWING_MARGIN, OperatingPoint
from circuits.pdk.technology import Technology
from circuits.simulation import simulate, waveform
from montecarlo.mismatch.law import MismatchLaw, draw_chips
from ttfs_analog.cli.console import Result
from ttfs_analog.cli.transistor_commands import (
    Condition,
    refuse_conditions,
    simulate_transistors,
    write_transistor_netlists,
)

if TYPE_CHECKING:
    from ttfs_analog.data.datasets import Data
    from ttfs_analog.network.network import TTFSNetwork


CALIBRATION = 64
"""Test images that the layers of a network are biased for."""


def scale_of(layer: Layer, x: Array, technology: Technology) -> OperatingPoint:
    """An operating point in which this layer's trajectory stays within the swing."""
    low, high = trajectory_range(layer, x[None, :])
    return technology.operating_point.fit_swing(float(low.min()), float(high.max()), SWING_MARGIN)


def _chip(layers: list[Layer], technology: Technology, chip: int | None, seed: int) -> list[LayerMismatch]:
    if chip is None:
        return [LayerMismatch.none(layer) for layer in layers]
    return draw_chips(MismatchLaw.of(technology.mismatch), layers, [chip], seed)


def simulate_layer(
    layer_file: str,
    technology: str,
    chip: int | None,
    level: str,
    plot: str | None,
    out: str | None,
    seed: int,
    objective: str,
    workers: int,
    corner: str | None,
    temperature: float | None,
    supply: float | None,
) -> Result:
    """One layer, one input."""
    tech = Technology.load(technology)
    if tech.process and level == "ngspice":
        condition = Condition(corner, temperature, supply, chip, seed)
        return simulate_transistors(layer_file, technology, plot, out, objective, workers, condition)
    refuse_conditions(tech, _why(tech), corner=corner, temperature=temperature, supply=supply)
    if tech.process:
        refuse_conditions(tech, "has no closed form of its mismatch; use --level ngspice", chip=chip)
    layer, times = read_layer(layer_file)
    point = scale_of(layer, decode(times, layer.t_min), tech)
    (mismatch,) = _chip([layer], tech, chip, seed)
    found = simulate(layer, times, point, mismatch, level=level)
    spikes = found.spike_times(layer.t_min)[0]
    result = {
        "spike_times": [float(t) if np.isfinite(t) else None for t in spikes],
        "v_t_min": found.v_t_min[0].tolist(),
        "slope": [float(s) if np.isfinite(s) else None for s in found.slope[0]],
        "energy_j": float(found.energy.sum()),
        "energy_per_neuron_j": found.energy[0].tolist(),
        "technology": technology,
        "level": level,
        "chip": chip,
        "operating_point": dataclasses.asdict(point),
    }
    if plot:
        from montecarlo.plots.plotting import save, waveforms

        try:
            save(
                waveforms(*waveform(layer, times, point, mismatch), layer.t_min, layer.t_max, spikes),
                plot,
            )
        except ValueError as error:  # matplotlib's own list of formats
            raise InputError(f"--plot {plot}: {error}") from None
        result["plot"] = plot
    if out:
        Path(out).write_text(json.dumps(result, indent=1) + "\n")
        result["path"] = out
    rows = [
        f"potentials in units of {point.v_unit:.4g} V above the reset level of {point.v_reset:.4g} V",
        f"{'neuron':>6} {'spike [tau_c]':>14} {'V(t_min)':>12} {'energy [J]':>12}",
    ]
    for k, t in enumerate(spikes):
        when = f"{t:.9g}" if np.isfinite(t) else "silent"
        when += " (early)" if found.delay[0, k] == 0 else ""
        rows.append(f"{k:>6} {when:>14} {found.v_t_min[0, k]:>12.6g} {found.energy[0, k]:>12.4g}")
    return result, "\n".join(rows)


def write_netlists(
    source: str,
    pair: tuple[TTFSNetwork, Data] | None,
    technology: str,
    chip: int | None,
    form: str,
    image: int,
    out: str | None,
    seed: int,
    objective: str = "spread",
    corner: str | None = None,
    temperature: float | None = None,
    supply: float | None = None,
) -> Result:
    """Decks of one layer (a file) or of a network's layers (a folder); of transistors always a folder."""
    tech = Technology.load(technology)
    if tech.process:
        if form != "pulse":
            raise InputError(f"--form {form} is one of ideal sources; transistors have one form")
        condition = Condition(corner, temperature, supply, chip, seed)
        return write_transistor_netlists(
            *_layers_and_inputs(source, pair, image), technology, out or f"{Path(source).stem}_netlist",
            objective, condition,
        )  # fmt: skip
    refuse_conditions(tech, _why(tech), corner=corner, temperature=temperature, supply=supply)
    if pair is None:
        layer, times = read_layer(source)
        layers, inputs = [layer], [times]
        points = [scale_of(layer, decode(times, layer.t_min), tech)]
        mismatch = _chip(layers, tech, chip, seed)
    else:
        net, data = pair
        net.require_points()
        if image >= len(data.x_test):
            raise InputError(f"--image {image}: {data.name} has {len(data.x_test)} test images")
        layers, points = net.to_circuit(), net.points
        mismatch = _chip(layers, tech, chip, seed)
        x, inputs = data.x_test[image].double().numpy(), []
        for layer, point, deviation in zip(layers, points, mismatch, strict=True):
            inputs.append(encode(x, layer.t_min))
            x = response(layer, inputs[-1], point, deviation).activation(layer.window)[0]
    target = Path(out or (Path(source).stem + (".cir" if pair is None else "_netlist")))
    folder = target.parent if pair is None else target
    folder.mkdir(parents=True, exist_ok=True)
    devices = 0
    for n, layer in enumerate(layers):
        path = target if pair is None else folder / f"layer{n}.cir"
        devices += _write_deck(path, layer, inputs[n], points[n], mismatch[n], form)
    result = {"path": str(target), "n_devices": devices, "n_decks": len(layers), "form": form}
    return result, f"{target}: {devices} devices in {len(layers)} deck{'s' * (len(layers) > 1)}"


def _why(technology: Technology) -> str:
    if technology.process:
        return "has it at --level ngspice only: the closed form knows no transistors"
    return "has ideal sources, which know none; choose a --technology with transistors"


def _layers_and_inputs(
    source: str, pair: tuple[TTFSNetwork, Data] | None, image: int
) -> tuple[list[Layer], Array]:
    """Layers, and the inputs that they are biased for, the one asked for first."""
    if pair is None:
        layer, times = read_layer(source)
        return [layer], decode(times, layer.t_min)[None, :]
    net, data = pair
    if image >= len(data.x_test):
        raise InputError(f"--image {image}: {data.name} has {len(data.x_test)} test images")
    x = data.x_test.double().numpy().reshape(len(data.x_test), -1)
    return net.to_circuit(), np.vstack([x[image], x[:CALIBRATION]])


def _write_deck(
    path: Path, layer: Layer, times: Array, point: OperatingPoint, mismatch: LayerMismatch, form: str
) -> int:
    cell = layer_cell(layer, stimulus(layer, times, point), point, mismatch)
    options: dict[str, dict[str, Any]] = {
        "table": {"prefix": f"{path.stem}_t"},
        "pulse": {"vdd": point.vdd},
        "pwl": {},
    }
    deck = build(cell, form, waveform=True, **options[form])
    path.write_text(deck.text)
    for name, text in deck.files.items():
        (path.parent / name).write_text(text)
    return deck.n_devices
