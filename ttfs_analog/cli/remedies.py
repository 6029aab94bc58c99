"""Commands against mismatch: calibrate a chip from its spike times, compare all remedies."""

from __future__ import annotations

from typing import Any

import click

from circuits.errors import InputError
from ttfs_analog.cli.chips import noise_option
from ttfs_analog.cli.console import (
    Drawn,
    Result,
    common,
    data_option,
    extrapolate_option,
    load_network,
    load_noise,
    progress,
)

patterns_option = click.option(
    "--patterns", type=click.IntRange(0), default=16, show_default=True, help="Stimuli of every layer."
)
error_option = click.option(
    "--error",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.01,
    show_default=True,
    help="Standard deviation of a measured time, as a share of the window.",
)


@click.command()
@click.argument("net", type=click.Path())
@click.argument("chip", metavar="[CHIP.nc]", type=click.Path(), required=False)
@noise_option
@patterns_option
@error_option
@click.option("--repeats", type=click.IntRange(1), default=1, show_default=True)
@click.option(
    "--level", type=click.Choice(["closed-form", "ngspice"]), default="closed-form", show_default=True
)
@click.option("--plan", type=click.Path(), default=None, help="Write the patterns to this CSV.")
@click.option("--times", type=click.Path(), default=None, help="Spike times of a laboratory, a CSV.")
@data_option
@extrapolate_option
@common(out="chip_known.nc")
def calibrate(net: str, data: str | None, noise: str, extrapolate: bool, **options: Any) -> Result:
    """What spike times say of a chip: CHIP is measured here, or --times were measured elsewhere.

    With --plan and neither, only the patterns are written. OUT holds the chip as it is then known, for
    'finetune --chip'; beside it lies a CSV with the 95 % intervals of every neuron.
    """
    from ttfs_analog.cli.remedy_results import calibrate_chip

    model, sets = load_network(net, data)
    with progress("calibrate: patterns") as tick:
        return calibrate_chip(model, sets, load_noise(noise, extrapolate), progress=tick, **options)


@click.command()
@click.argument("net", type=click.Path())
@noise_option
@click.option("--chips", type=click.IntRange(2), default=200, show_default=True)
@click.option("--remedies", default=None, help="Names, separated by commas; default: the usual ones.")
@click.option(
    "--scale",
    "scales",
    default="1",
    show_default=True,
    help="Factors on the sigmas of transistors, separated by commas: 4 is a sixteenth of the gate area.",
)
@click.option("--steps", type=click.IntRange(1), default=460, show_default=True, help="Of every training.")
@click.option("--batch", type=click.IntRange(1), default=64, show_default=True)
@click.option("--percentile", type=float, default=99.5, show_default=True, help="Of the windows.")
@click.option("--images", type=click.IntRange(1), default=None, help="The first so many test images only.")
@click.option("--target", type=click.FloatRange(0, 1), default=None, help="Of the yield; default: clean - 1.")
@patterns_option
@error_option
@click.option("--plot", type=click.Path(), default=None, help="Draw it.")
@data_option
@extrapolate_option
@common(out="remedies.nc")
def remedies(net: str, data: str | None, noise: str, extrapolate: bool, **options: Any) -> Drawn:
    """What helps against mismatch: all remedies on the same chips, at the same number of steps.

    nothing, windows, control, agnostic, trim-BITS, threshold, chip, gain, loop; joined with + they follow
    each other. What trim, threshold, chip and gain know of a chip comes from so many measured --patterns; of
    0 it is the truth. The same command again goes on where it stopped.
    """
    from ttfs_analog.cli.remedy_results import compare

    scales, names = options.pop("scales"), options.pop("remedies")
    try:
        factors = [float(word) for word in scales.split(",")]
    except ValueError:
        raise InputError(f"--scale takes numbers separated by commas, got {scales!r}") from None
    model, sets = load_network(net, data)
    with progress("remedies: trainings and chips") as tick:
        return compare(
            model,
            sets,
            load_noise(noise, extrapolate),
            remedies=names.split(",") if names else None,
            scales=factors,
            progress=tick,
            **options,
        )
