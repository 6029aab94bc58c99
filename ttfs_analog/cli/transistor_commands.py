"""What `simulate` and `netlist` do with transistors: a layer biased for its input, one deck a neuron.

The operating point is chosen as a designer would: at the typical corner, 27 C and the nominal supply. The
circuit then runs at the corner, temperature and supply that are asked for, with the same bias currents,
capacitors and windows.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from circuits.benches.neuron import NeuronBench
from circuits.benches.neuron_waveforms import Measured, measure
from circuits.biasing.cell_figures import figures
from circuits.biasing.choose import LayerBias, choose
from circuits.biasing.layer_demand import activations
from circuits.biasing.transistor_layer import decks, expected, record
from circuits.errors import InputError
from circuits.model.layer import Array, Layer
from circuits.model.layer_file import read_layer
from circuits.pdk.technology import Technology
from circuits.spice.ngspice import Ngspice
from circuits.spice.rawfile import Plot
from montecarlo.mismatch.transistors import draw_chip
from ttfs_analog.cli.console import Result

SUPPLY = 0.25
"""Part by which a supply may differ from the nominal one."""
TYPICAL = 27.0


@dataclasses.dataclass(frozen=True)
class Condition:
    """Where a circuit is operated, and which copy of it."""

    corner: str | None = None
    temperature: float | None = None  #: [degrees C]
    supply: float | None = None  #: [V]
    chip: int | None = None
    seed: int = 0

    def of(self, bias: LayerBias, times: Array) -> list[NeuronBench]:
        """The decks of a layer."""
        options: dict[str, Any] = {
            "corner": self.corner,
            "temperature": TYPICAL if self.temperature is None else self.temperature,
        }
        if self.supply is not None:
            nominal = bias.point.vdd
            if not abs(self.supply / nominal - 1.0) <= SUPPLY:
                raise InputError(
                    f"--supply {self.supply:g}: {bias.technology.name} is made for {nominal:g} V; stay "
                    f"within {(1 - SUPPLY) * nominal:g} to {(1 + SUPPLY) * nominal:g} V"
                )
            options["point"] = dataclasses.replace(
                bias.point, vdd=self.supply, v_high=min(bias.point.v_high, self.supply)
            )
        benches = decks(bias, times, **options)
        if self.chip is None:
            return benches
        process = bias.technology.transistors()
        devices = [b.bench.devices for b in benches]
        chip = draw_chip(devices, bias.capacitors.tolist(), process, self.seed, self.chip)
        return decks(bias, times, deviations=chip.transistors, capacitors=chip.capacitors, **options)

    def said(self) -> dict[str, Any]:
        """For the result of a command."""
        return {"corner": self.corner or "typical", "temperature": self.temperature, "supply": self.supply}


def refuse_conditions(technology: Technology, why: str, **given: object) -> None:
    """Corners and the like where there are no transistors to have them."""
    if asked := [name for name, value in given.items() if value is not None]:
        raise InputError(f"--{asked[0]}: {technology.name} {why}")


def biased(layers: list[Layer], x: Array, technology: Technology, objective: str) -> list[LayerBias]:
    """Operating points at the typical corner."""
    return choose(layers, x, technology, figures(technology), objective=objective)


def simulate_transistors(
    layer_file: str,
    technology: str,
    plot: str | None,
    out: str | None,
    objective: str,
    workers: int,
    condition: Condition,
) -> Result:
    """One layer, one input."""
    layer, times = read_layer(layer_file)
    tech, x = Technology.load(technology), activations(times, layer.t_min)[None, :]
    (bias,) = biased([layer], x, tech, objective)
    benches = condition.of(bias, times)
    plots = record(benches, Ngspice(), workers)
    found = [measure(b, p) for b, p in zip(benches, plots, strict=True)]
    spikes = [_spike(layer, float(d), m) for d, m in zip(bias.delays, found, strict=True)]
    slopes = [_slope(*item) for item in zip(benches, plots, found, strict=True)]
    result = {
        "spike_times": [t if np.isfinite(t) else None for t in spikes],
        "v_t_min": [m.v_t_min for m in found],
        "slope": slopes,
        "energy_j": sum(m.total for m in found),
        "energy_per_neuron_j": [m.total for m in found],
        "energy_by_supply_j": {d: sum(sum(m.energy[d]) for m in found) for d in found[0].energy},
        "expected_spike_times": (layer.t_min + expected(bias, x)[0] - bias.delays).tolist(),
        "technology": technology,
        "level": "ngspice",
        "chip": condition.chip,
        **condition.said(),
        **_numbers(bias),
    }
    if plot:
        _draw(plot, layer, bias, benches, plots, np.array(spikes))
        result["plot"] = plot
    if out:
        Path(out).write_text(json.dumps(result, indent=1) + "\n")
        result["path"] = out
    return result, _table(bias, found, spikes, slopes)


def _spike(layer: Layer, delay: float, m: Measured) -> float:
    """From the start of the input window, the comparator's expected delay taken off; inf = silent."""
    return layer.t_min + max(m.spike_time - delay, 0.0)


def _slope(bench: NeuronBench, plot: Plot, m: Measured) -> float:
    """dV/dt of the ramp below the threshold; of a neuron that does not come near it, over its whole ramp."""
    if np.isfinite(m.slope):
        return m.slope
    phases, point = bench.phases, bench.point
    end = min(phases.t_max, phases.t_min + max(m.spike_time, 0.0) * phases.tau_c)
    start = phases.t_min + 0.1 * phases.tau_c
    if end < start + 0.1 * phases.tau_c:
        return np.nan
    first, last = np.interp([start, end], plot["time"], plot["v(vm)"])
    return float((last - first) / point.v_unit / ((end - start) / phases.tau_c))


def _numbers(bias: LayerBias) -> dict[str, Any]:
    """Bias numbers of a layer, for a result."""
    return {
        "operating_point": dataclasses.asdict(bias.point),
        "unit_devices": bias.technology.transistors().units,
        "unit_current": bias.unit_current,
        "rounded": bias.rounded,
        "comparator_delay": bias.delays.tolist(),
        "threshold": "a node of each neuron's own",
        "thresholds_v": bias.v_th.tolist(),
        "thresholds_beyond_swing": bias.unreached,
        "capacitors_f": bias.capacitors.tolist(),
    }


def _table(bias: LayerBias, found: list[Measured], spikes: list[float], slopes: list[float]) -> str:
    point = bias.point
    rows = [
        f"tau_c {point.tau_c:.4g} s, membrane {point.c_mem:.4g} F, {point.v_unit:.4g} V a unit above "
        f"{point.v_reset:.4g} V, unit device {bias.unit_current:.4g} A, "
        f"{bias.technology.transistors().units} of them for W = 1 (weights rounded by {bias.rounded:.3g} at "
        f"most); comparator's delay of {bias.delay:.3g} tau_c taken off",
        f"{'neuron':>6} {'spike [tau_c]':>14} {'V(t_min)':>12} {'slope':>8} {'energy [J]':>12}",
    ]
    for k, (m, t, slope) in enumerate(zip(found, spikes, slopes, strict=True)):
        when = f"{t:.6g}" if np.isfinite(t) else "silent"
        rows.append(f"{k:>6} {when:>14} {m.v_t_min:>12.6g} {slope:>8.4g} {m.total:>12.4g}")
    return "\n".join(rows)


def _draw(
    path: str, layer: Layer, bias: LayerBias, benches: list[NeuronBench], plots: list[Plot], spikes: Array
) -> None:
    from montecarlo.plots.plotting import save, waveforms

    phases = bias.phases
    t_max = layer.t_max + bias.delay
    time = np.linspace(0.0, t_max, 600)
    seconds = phases.start + time * phases.tau_c
    volts = np.column_stack([np.interp(seconds, p["time"], p["v(vm)"]) for p in plots])
    try:
        save(waveforms(time, volts, bias.v_th, layer.t_min, t_max, spikes + bias.delays), path)
    except ValueError as error:  # matplotlib's own list of formats
        raise InputError(f"--plot {path}: {error}") from None


def write_transistor_netlists(
    layers: list[Layer],
    x: Array,
    technology: str,
    out: str,
    objective: str,
    condition: Condition,
) -> Result:
    """Decks of every spiking neuron, into a folder; layer 0 alone: neuron0.cir, else layer0_neuron0.cir.

    Parameters
    ----------
    x : array, shape (image, n_in)
        Inputs that the layers are biased for; the decks are those of the first one.
    """
    tech, folder = Technology.load(technology), Path(out)
    chosen = biased(layers, x, tech, objective)
    folder.mkdir(parents=True, exist_ok=True)
    active, devices, written, left = x[0], 0, 0, 0
    for n, bias in enumerate(chosen):
        layer = bias.layer
        if not layer.spiking:
            left += layer.n_out
            continue
        times = np.where(active > 0, layer.t_min - active, np.inf)
        for i, bench in enumerate(condition.of(bias, times)):
            prefix = f"layer{n}_" if len(layers) > 1 else ""
            (folder / f"{prefix}neuron{i}.cir").write_text(bench.deck.text)
            devices, written = devices + bench.deck.n_devices, written + 1
        late = expected(bias, active[None, :])[0] - bias.delays
        active = np.where(np.isfinite(late), np.clip(layer.window - late, 0.0, layer.window), 0.0)
    result: dict[str, Any] = {"path": out, "n_devices": devices, "n_decks": written, "form": "transistors"}
    result |= {"layers": [_numbers(b) for b in chosen], "read_out_neurons_left_out": left, **condition.said()}
    text = f"{out}: {devices} transistors in {written} deck{'s' * (written > 1)}, one a neuron"
    return result, text + (f"; {left} read-out neurons have none" if left else "")
