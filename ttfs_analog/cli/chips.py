"""Commands about chips of a network: chip, evaluate, energy, verify."""

from __future__ import annotations

from typing import Any

import click

from circuits.errors import InputError
from ttfs_analog.cli.console import (
    Result,
    common,
    data_option,
    extrapolate_option,
    load_network,
    load_noise,
    progress,
    workers_option,
)

noise_option = click.option("--noise", required=True, type=click.Path(), help="Noise model, made by 'fit'.")
chips_from_option = click.option(
    "--chips-from", type=click.Path(), default=None, help="Chips of this file instead (made by 'chip')."
)


@click.command()
@click.argument("source", metavar="NET.pt|CHIP.nc", type=click.Path())
@click.option("--noise", type=click.Path(), default=None, help="Noise model that the chip is drawn from.")
@click.option("--number", type=click.IntRange(0), default=0, show_default=True, help="Chip of this seed.")
@extrapolate_option
@common(out="chip.nc")
def chip(source: str, out: str, **options: Any) -> Result:
    """Draw one chip of a network into a file, or say what such a file holds."""
    from ttfs_analog.cli.chip_results import draw_chip, inspect_chip

    if source.endswith(".nc"):
        return inspect_chip(source)
    return draw_chip(source, out=out, **options)


@click.command()
@click.argument("net", type=click.Path())
@click.option("--noise", type=click.Path(), default=None, help="Noise model; not needed for --chips-from.")
@click.option("--chips", type=click.IntRange(1), default=100, show_default=True)
@chips_from_option
@click.option(
    "--target",
    type=float,
    default=None,
    help="Yield target; default: accuracy of the mapped network less 0.02.",
)
@click.option("--trim", is_flag=True, help="Trim the thresholds of every chip first, as it is known.")
@click.option("--bits", type=click.IntRange(1, 16), default=None, help="Of the DACs; default: no limits.")
@data_option
@extrapolate_option
@common(out="evaluation.nc")
def evaluate(net: str, noise: str | None, data: str | None, extrapolate: bool, **options: Any) -> Result:
    """Accuracy and yield over chips drawn from a noise model, or from a file."""
    from ttfs_analog.cli.chip_results import evaluate_chips

    if noise is None and options["chips_from"] is None:
        raise InputError("give --noise, or --chips-from")
    model, sets = load_network(net, data)
    law = load_noise(noise, extrapolate) if noise else None
    with progress("evaluate: chips") as tick:
        return evaluate_chips(model, sets, law, progress=tick, **options)


@click.command()
@click.argument("net", type=click.Path())
@noise_option
@click.option("--chips", type=click.IntRange(2), default=100, show_default=True)
@data_option
@extrapolate_option
@common(out="energy.nc")
def energy(
    net: str, noise: str, chips: int, data: str | None, extrapolate: bool, out: str, seed: int
) -> Result:
    """Joules per inference, by layer and part."""
    from montecarlo.campaign.schema import save_dataset
    from ttfs_analog.evaluation import energy as ledger

    model, sets = load_network(net, data)
    with progress("energy: chips") as tick:
        dataset = ledger.energy(
            model, sets, load_noise(noise, extrapolate), chips=chips, seed=seed, progress=tick
        )
    save_dataset(dataset, out)
    figures = ledger.summarize(dataset)
    mean, (low, high) = (figures["energy_per_inference_j"][k] for k in ("mean", "ci95"))
    lines = [f"{mean:.4g} J per inference, 95 % interval over chips [{low:.4g}, {high:.4g}]"]
    lines += [f"  {part:<16} {joule:.4g} J" for part, joule in figures["ledger"].items()]
    lines += [f"  spikes per neuron {figures['spikes_per_neuron']:.3f}", str(out)]
    return {"path": out, **figures}, "\n".join(lines)


@click.command()
@click.argument("net", type=click.Path())
@noise_option
@click.option("--chips", type=click.IntRange(1), default=4, show_default=True)
@chips_from_option
@click.option("--images", type=click.IntRange(1), default=20, show_default=True)
@click.option(
    "--technology", default=None, show_default="ideal, or where NET is placed", help="See 'technologies'."
)
@click.option(
    "--audit",
    type=click.IntRange(1),
    default=None,
    metavar="N",
    help="Of a placed network: N random neurons of random chips instead of whole chips.",
)
@click.option(
    "--tolerance",
    type=float,
    default=None,
    show_default="0.01; of a placed network 1 % of its longest window, on kits 2 %",
    help="Spike-time RMS [tau_c].",
)
@data_option
@extrapolate_option
@workers_option
@common(out="verification.nc")
def verify(net: str, noise: str, data: str | None, extrapolate: bool, **options: Any) -> Result:
    """Whole chips in ngspice against the noise model's prediction; exit code 1 if it does not hold.

    A network that is placed on transistors is simulated there, at the corner, temperature and supply of the
    noise model.
    """
    from ttfs_analog.cli.chip_results import verify_chips, verify_placed

    model, sets = load_network(net, data)
    law = load_noise(noise, extrapolate)
    placed = "placement" in model.metadata
    with progress("verify: images") as tick:
        return (verify_placed if placed else verify_chips)(model, sets, law, progress=tick, **options)
