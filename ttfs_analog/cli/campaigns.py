"""Commands about how neurons vary: attribute, rare, characterize, describe, sweep, fit."""

from __future__ import annotations

import resource
from collections.abc import Callable
from typing import Any

import click

from circuits.errors import InputError
from circuits.pdk.technology import Technology
from ttfs_analog.cli.console import (
    Result,
    common,
    progress,
    scheduler_option,
    technology_option,
    workers_option,
)

LEAST_SYNAPSES = 4
"""Of a characterization at transistor level."""


sigma_option = click.option(
    "--sigma",
    "sigmas",
    multiple=True,
    metavar="S or TERM=S",
    help="Sigma of all terms, or of one (repeatable); default: the technology's.",
)


def law_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The whole mismatch law: sigmas, distributions, correlations, common parts."""
    for name, variable, metavar, text in (
        ("--common", "commons", "S or TERM=S", "Sigma of the part that all devices of a chip share."),
        (
            "--correlation",
            "correlations",
            "TERM.TERM=RHO",
            "Correlation of two of slope, threshold, capacitance in one neuron.",
        ),
        ("--distribution", "distributions", "TERM=NAME", "lognormal, normal or student-t:DF."),
    ):
        command = click.option(name, variable, multiple=True, metavar=metavar, help=f"{text} Repeatable.")(
            command
        )
    return sigma_option(command)


@click.command()
@click.argument("layer_file", metavar="LAYER.json", type=click.Path())
@technology_option
@click.option("--neuron", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--samples", type=click.IntRange(1), default=4000, show_default=True, help="Monte Carlo samples."
)
@sigma_option
@click.option(
    "--quantity",
    type=click.Choice(["spike_time", "slope", "threshold", "energy"]),
    default="spike_time",
    show_default=True,
    help="What the table and the shares are about.",
)
@click.option(
    "--enlarge",
    multiple=True,
    metavar="DEVICE=X",
    help="Make a device (or all of a term, or 'all') X times larger; repeatable.",
)
@click.option("--target", type=float, default=None, help="Sigma to reach: how much larger must devices be?")
@click.option("--level", type=click.Choice(["closed-form", "ngspice"]), default="ngspice", show_default=True)
@click.option("--plot", type=click.Path(), default=None, help="Also draw the shares; no suffix: PNG and SVG.")
@workers_option
@common(out="attribution.nc")
def attribute(**options: Any) -> Result:
    """Which device of a neuron makes it vary, and what a larger one buys."""
    from ttfs_analog.cli.neuron_results import attribute_neuron

    return attribute_neuron(**options)


@click.command()
@click.argument("layer_file", metavar="LAYER.json", type=click.Path())
@technology_option
@click.option("--neuron", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--latest", type=float, default=None, help="Later spikes fail, and silence [tau_c after t_min]."
)
@click.option("--earliest", type=float, default=None, help="Earlier spikes fail [tau_c after t_min].")
@click.option(
    "--samples", type=click.IntRange(1), default=2000, show_default=True, help="Besides those of the search."
)
@click.option(
    "--plain", "plain_samples", type=click.IntRange(0), default=0, help="Plain samples to compare with."
)
@law_options
@click.option("--level", type=click.Choice(["closed-form", "ngspice"]), default="ngspice", show_default=True)
@workers_option
@common(out="rare.json")
def rare(**options: Any) -> Result:
    """Probability that a spike comes too late, too early or never, by importance sampling."""
    from ttfs_analog.cli.neuron_results import rare_failure

    with progress("rare: samples") as tick:
        return rare_failure(progress=tick, **options)


@click.command()
@click.argument("dataset", type=click.Path())
@click.option(
    "--against",
    type=click.Path(),
    default=None,
    help="Noise model to test these samples against (not its own).",
)
@click.option("--plot", type=click.Path(), default=None, help="Folder for figures (PNG and SVG).")
@common(out="description.nc")
def describe(**options: Any) -> Result:
    """Statistics of a characterization: moments, quantiles, tolerance limits, tests, figures."""
    from ttfs_analog.cli.description import describe_campaign

    return describe_campaign(**options)


@click.command()
@technology_option
@click.option("--samples", type=click.IntRange(1), default=1000, show_default=True)
@click.option("--synapses", type=click.IntRange(1), default=8, show_default=True)
@law_options
@click.option(
    "--design",
    type=click.Choice(["plain", "latin", "sobol"]),
    default="plain",
    show_default=True,
    help="How samples fill the space of deviations; sobol is best with a power of 2.",
)
@click.option(
    "--at",
    "conditions",
    multiple=True,
    metavar="AXIS=VALUE",
    help="Condition by an axis of 'sweep', such as supply=1.0, size=4 or window=8; repeatable.",
)
@workers_option
@scheduler_option
@common(out="characterization.zarr", folder=True)
def characterize(
    technology: str,
    samples: int,
    synapses: int,
    design: str,
    conditions: tuple[str, ...],
    workers: int,
    scheduler: str | None,
    out: str,
    seed: int,
    **law: tuple[str, ...],
) -> Result:
    """Monte Carlo campaign in ngspice; the same command again resumes it (CPU time: this machine's)."""
    from montecarlo.campaign.campaign import Campaign
    from ttfs_analog.cli.law_items import parse_conditions, parse_law

    tech = Technology.load(technology)
    if tech.process and synapses < LEAST_SYNAPSES:
        raise InputError(
            f"--synapses {synapses}: fewer than {LEAST_SYNAPSES} do not tell the systematic constants apart"
        )
    plan = Campaign.characterize(
        tech,
        samples,
        seed,
        synapses=synapses,
        law=parse_law(tech, **law),
        settings=parse_conditions(conditions),
        design=design,
    )
    with progress("characterize: samples") as tick:
        dataset = plan.run(out, workers=workers, scheduler=scheduler, progress=tick)
    failed = int((dataset["status"] != 0).sum())
    used = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(u.ru_utime + u.ru_stime for u in used)
    result = {"path": out, "n_samples": samples, "n_failed": failed, "cpu_s": cpu}
    if failed:
        result["reasons"] = sorted(set(dataset["reason"].values.tolist()) - {""})
    text = f"{out}: {samples} samples, {failed} failed, {cpu:.1f} s CPU"
    return result, text


@click.command()
@click.argument("toml", metavar="SWEEP.toml", type=click.Path())
@workers_option
@scheduler_option
@common(out="sweep", folder=True)
def sweep(**options: Any) -> Result:
    """Neurons, or chips of a network, over a grid of conditions; the same command again resumes it."""
    from ttfs_analog.cli.sweeping import run_sweep

    with progress("sweep: samples") as tick:
        return run_sweep(progress=tick, **options)


@click.command()
@click.argument("dataset", type=click.Path())
@common(out="noise_model.json")
def fit(dataset: str, out: str, seed: int) -> Result:
    """Fit the noise model of a campaign, with intervals and held-out figures."""
    from ttfs_analog.cli.description import fit_campaign

    return fit_campaign(dataset, out, seed)
