"""Commands about single layers: technologies, simulate, netlist. No torch: a designer need not have it."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from circuits import whole_file
from circuits.errors import InputError
from circuits.pdk.technology import Technology
from ttfs_analog.cli.console import (
    Drawn,
    Result,
    check_plot,
    common,
    load_network,
    technology_option,
    workers_option,
)

if TYPE_CHECKING:
    from circuits.model.layer import Layer
    from circuits.simulation import Neuron
    from circuits.spice.deck import Deck
    from montecarlo.plots.style import Figure

CALIBRATION = 64
"""Test images that the layers of a network are biased for."""

chip_option = click.option(
    "--chip", type=click.IntRange(0), default=None, help="Chip number; default: no mismatch."
)


def condition_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Where transistors are operated, and what their operating point is chosen for."""
    for option in (
        click.option(
            "--objective",
            type=click.Choice(["spread", "energy", "speed"]),
            default="spread",
            show_default=True,
            help="What the operating point of transistors is chosen for.",
        ),
        click.option("--supply", type=float, default=None, help="[V]; default: nominal."),
        click.option("--temperature", type=float, default=None, help="[degrees C]; default: 27."),
        click.option("--corner", default=None, help="Process corner; default: the typical one."),
    ):
        command = option(command)
    return command


@click.command()
@common(out="")
def technologies(out: str | None, seed: int) -> Result:
    """List technologies and what each needs (nothing is drawn: --seed has no effect)."""
    rows = []
    for name in Technology.available():
        t = Technology.load(name)
        missing = [v for v in t.environment if not os.environ.get(v)]
        rows.append(
            {
                "name": name,
                "description": t.description,
                "needs": t.needs,
                "environment": list(t.environment),
                "missing": missing,
                "mismatch": t.mismatch,
                "operating_point": dataclasses.asdict(t.operating_point),
            }
        )
    text = "\n".join(f"{r['name']:<12} {r['description']} (needs: {r['needs']})" for r in rows)
    result: dict[str, Any] = {"technologies": rows}
    if out:
        whole_file.write(out, json.dumps(result, indent=1) + "\n")
        result["path"] = out
    return result, text


@click.command()
@click.argument("layer_file", metavar="LAYER.json", type=click.Path())
@technology_option
@chip_option
@click.option("--level", type=click.Choice(["closed-form", "ngspice"]), default="ngspice", show_default=True)
@condition_options
@workers_option
@click.option("--plot", type=click.Path(), default=None, help="Also draw the waveforms (ngspice).")
@common(out="")
def simulate(
    layer_file: str,
    technology: str,
    chip: int | None,
    level: str,
    workers: int,
    plot: str | None,
    out: str | None,
    seed: int,
    **conditions: Any,
) -> Drawn:
    """One layer, one input: spike times, potentials, slopes, energy; of transistors: one deck a neuron."""
    from circuits import simulation
    from circuits.model.coding import decode
    from circuits.model.layer_file import read_layer
    from circuits.spice.ngspice import Ngspice
    from montecarlo.mismatch.chip import draw
    from montecarlo.plots.drawing import Drawing

    check_plot(plot)
    layer, times = read_layer(layer_file)
    tech = Technology.load(technology)
    (neuron,) = simulation.neurons([layer], decode(times, layer.t_min)[None, :], tech, **conditions)
    (mismatch,) = [None] if chip is None else draw([layer], [neuron], tech, chip, seed)
    response = simulation.simulate(layer, times, neuron, mismatch, level=level, workers=workers)
    expected = simulation.expected_response(layer, times, neuron)
    spikes, energy = response.spike_times(layer.t_min)[0], response.energy_by_supply[0]
    result = {
        "spike_times": _finite(spikes),
        "v_t_min": response.v_t_min[0].tolist(),
        "slope": _finite(response.slope[0]),
        "expected_spike_times": _finite(expected.spike_times(layer.t_min)[0]),
        "energy_j": float(energy.sum()),
        "energy_per_neuron_j": energy.sum((1, 2)).tolist(),
        "energy_by_supply_j": dict(zip(response.supplies, energy.sum((0, 2)).tolist(), strict=True)),
        "technology": technology,
        "level": level,
        "chip": chip,
        "operating_point": dataclasses.asdict(neuron.point),
        **neuron.electrical(),
    }
    if plot:
        result["plot"] = plot
    if out:
        whole_file.write(out, json.dumps(result, indent=1) + "\n")
        result["path"] = out

    def figure() -> Figure:
        from montecarlo.plots.plotting import waveforms

        curves = neuron.waveforms(layer, times, mismatch, simulator=Ngspice(), workers=workers)
        late = neuron.constants.delays(layer.slope)
        return waveforms(*curves, layer.t_min, layer.t_max + float(np.max(late)), spikes + late)

    return result, _table(result), [Drawing((Path(plot),), figure)] if plot else []


def _finite(values: np.ndarray) -> list[float | None]:
    return [float(v) if np.isfinite(v) else None for v in values]


def _table(result: dict[str, Any]) -> str:
    point = result["operating_point"]
    v_unit = point["i_unit"] * point["tau_c"] / point["c_mem"]
    rows = [
        f"potentials in units of {v_unit:.4g} V above the reset level of {point['v_reset']:.4g} V; energy of "
        f"{', '.join(result['energy_by_supply_j'])}"
    ]
    if "unit_devices" in result:
        rows.append(
            f"tau_c {point['tau_c']:.4g} s, membrane {point['c_mem']:.4g} F, unit device "
            f"{result['unit_current']:.4g} A, {result['unit_devices']} of them for W = 1 (weights rounded by "
            f"{result['rounded']:.3g} at most); comparator's delay of "
            f"{max(result['comparator_delay']):.3g} tau_c taken off"
        )
    rows.append(f"{'neuron':>6} {'spike [tau_c]':>14} {'V(t_min)':>12} {'slope':>8} {'energy [J]':>12}")
    columns = (result[k] for k in ("spike_times", "v_t_min", "slope", "energy_per_neuron_j"))
    for k, (spike, v, slope, joule) in enumerate(zip(*columns, strict=True)):
        when = "silent" if spike is None else f"{spike:.9g}"
        rate = "-" if slope is None else f"{slope:.4g}"
        rows.append(f"{k:>6} {when:>14} {v:>12.6g} {rate:>8} {joule:>12.4g}")
    return "\n".join(rows)


@click.command()
@click.argument("source", metavar="LAYER.json|NET.pt", type=click.Path())
@click.option(
    "--technology", default=None, show_default="ideal, or where NET is placed", help="See 'technologies'."
)
@chip_option
@click.option(
    "--form",
    type=click.Choice(["pulse", "table", "pwl"]),
    default=None,
    help="Of decks with ideal sources; default: pulse.",
)
@click.option("--image", type=click.IntRange(0), default=0, show_default=True, help="Test image of a NET.")
@click.option("--data", default=None, help="Dataset of a NET; default: the network's own.")
@condition_options
@common(out="", folder=None)
def netlist(source: str, data: str | None, image: int, **options: Any) -> Result:
    """Write the deck of a layer, or of every layer of a network; of transistors: one a neuron."""
    from circuits.model.coding import decode
    from circuits.model.layer_file import read_layer

    if not source.endswith(".pt"):
        layer, times = read_layer(source)
        options["technology"] = options["technology"] or "ideal"
        return write_decks(source, [layer], decode(times, layer.t_min)[None, :], **options)
    net, sets = load_network(source, data)
    kinds, placement = None, net.metadata.get("placement")
    options["technology"] = options["technology"] or (placement or {}).get("technology", "ideal")
    if placement and options["technology"] == placement["technology"]:
        from ttfs_analog.placement.neurons import neurons_of

        where = ("corner", "temperature", "supply")
        kinds = neurons_of(net, **{k: options.get(k) for k in where})
    elif Technology.load(options["technology"]).process is None:
        net.require_points()
    if image >= len(sets.x_test):
        raise InputError(f"--image {image}: {sets.name} has {len(sets.x_test)} test images")
    x = sets.x_test[[image, *range(min(CALIBRATION, len(sets.x_test)))]].flatten(1).double().numpy()
    return write_decks(source, net.to_circuit(), x, kinds=kinds, points=net.points, **options)


def write_decks(
    source: str,
    layers: list[Layer],
    x: np.ndarray,
    *,
    technology: str,
    chip: int | None,
    out: str | None,
    seed: int,
    kinds: Sequence[Neuron] | None = None,
    **conditions: Any,
) -> Result:
    """Decks of layers for one input: one deck of a layer file is a file, all else a folder of decks.

    Parameters
    ----------
    x : array, shape (image, n_in)
        Activations that the layers are biased for; the decks are those of the first.
    kinds : sequence of Neuron, optional
        Neurons of a placed network; None: biased for `x`.
    """
    from circuits.simulation import expected_inputs, neurons
    from montecarlo.mismatch.chip import draw

    tech = Technology.load(technology)
    kinds = kinds or neurons(layers, x, tech, **conditions)
    mismatch = [None] * len(layers) if chip is None else draw(layers, kinds, tech, chip, seed)
    linear = [None] * len(layers) if tech.process else mismatch
    inputs = expected_inputs(layers, kinds, x[0], linear)  # type: ignore[arg-type]
    network, single = source.endswith(".pt"), tech.process is None and not source.endswith(".pt")
    target = Path(out or f"{Path(source).stem}{'.cir' if single else '_netlist'}")
    folder = target.parent if single else target
    decks: dict[Path, Deck] = {}
    left = 0
    for n, (layer, kind, times) in enumerate(zip(layers, kinds, inputs, strict=True)):
        place = f"layer{n}" if network else ""
        tables = f"{target.stem if single else place}_t"
        parts = kind.decks(layer, times, mismatch[n], prefix=tables)
        left += 0 if parts else layer.n_out
        for part, deck in parts.items():
            name = "_".join(filter(None, (place, part)))
            decks[target if single else folder / f"{name}.cir"] = deck
    folder.mkdir(parents=True, exist_ok=True)
    for path, deck in decks.items():
        whole_file.write(path, deck.text)
        for file, content in deck.files.items():
            whole_file.write(folder / file, content)
    devices = sum(d.n_devices for d in decks.values())
    electrical = [{"operating_point": dataclasses.asdict(k.point), **k.electrical()} for k in kinds]
    result = {"path": str(target), "n_devices": devices, "n_decks": len(decks), "layers": electrical}
    result["read_out_neurons_left_out"] = left
    text = f"{target}: {devices} devices in {len(decks)} deck{'s' * (len(decks) > 1)}"
    return result, text + (f"; {left} read-out neurons have none" if left else "")
