"""Commands about how neurons vary: attribute, rare, characterize, describe, sweep, fit."""

from __future__ import annotations

import resource
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from circuits.errors import InputError, SimulatorError
from circuits.pdk.technology import Technology
from ttfs_analog.cli.console import (
    Drawn,
    Result,
    common,
    data_option,
    load_network,
    scheduler_option,
    technology_option,
    workers_option,
)
from ttfs_analog.cli.streams import progress

if TYPE_CHECKING:
    from montecarlo.campaign.campaign import Campaign

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
def attribute(**options: Any) -> Drawn:
    """Which device of a neuron makes it vary, and what a larger one buys."""
    from ttfs_analog.cli.results.neurons import attribute_neuron

    return attribute_neuron(**options)


@click.command()
@click.argument("layer_file", metavar="LAYER.json", type=click.Path())
@technology_option
@click.option("--neuron", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--any", "any_neuron", is_flag=True, help="Any neuron of the layer that fails, not one of them."
)
@click.option(
    "--latest", type=float, default=None, help="Later spikes fail, and silence [tau_c after t_min]."
)
@click.option("--earliest", type=float, default=None, help="Earlier spikes fail [tau_c after t_min].")
@click.option(
    "--error",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.05,
    show_default=True,
    help="Relative standard error to reach.",
)
@click.option(
    "--method",
    type=click.Choice(["auto", "lines", "subset"]),
    default="auto",
    show_default=True,
    help="Lines through the nearest failures, or subset simulation; auto: lines, and in the closed form "
    "subset simulation where failures lie otherwise.",
)
@click.option(
    "--samples",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    help="Lines at most; samples of a level of subset simulation.",
)
@click.option(
    "--plain", "plain_samples", type=click.IntRange(0), default=0, help="Plain samples to compare with."
)
@law_options
@click.option("--level", type=click.Choice(["closed-form", "ngspice"]), default="ngspice", show_default=True)
@workers_option
@common(out="rare.json")
def rare(**options: Any) -> Result:
    """Probability that a spike comes too late, too early or never: of one neuron, or of any."""
    from ttfs_analog.cli.results.neurons import rare_failure

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
def describe(**options: Any) -> Drawn:
    """Statistics of a characterization: moments, quantiles, tolerance limits, tests, figures."""
    from ttfs_analog.cli.description import describe_campaign

    return describe_campaign(**options)


@click.command()
@click.argument("net", type=click.Path(), required=False)
@click.option(
    "--technology", default=None, show_default="ideal, or where NET is placed", help="See 'technologies'."
)
@click.option(
    "--samples",
    type=click.IntRange(1),
    default=None,
    show_default="1000, or 200 of each layer of NET",
)
@click.option("--synapses", type=click.IntRange(1), default=None, show_default="8, or those of NET")
@data_option
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
@common(out="characterization.zarr", folder=True, lock=False)
def characterize(
    net: str | None,
    technology: str | None,
    samples: int | None,
    synapses: int | None,
    data: str | None,
    design: str,
    conditions: tuple[str, ...],
    workers: int,
    scheduler: str | None,
    out: str,
    seed: int,
    **law: tuple[str, ...],
) -> Result:
    """Monte Carlo campaign in ngspice; the same command again resumes it (CPU time: this machine's).

    Of a test neuron; with NET, placed on transistors, of that network's own neurons, a campaign a layer.
    """
    from montecarlo.campaign.campaign import Campaign
    from montecarlo.mismatch.notation import parse_conditions, parse_law

    if net is not None:
        options = {"--technology": technology, "--synapses": synapses} | {f"--{k}": v for k, v in law.items()}
        if unused := [name for name, value in options.items() if value]:
            raise InputError(f"{', '.join(unused)}: NET has its own technology, synapses and matching")
        settings = parse_conditions(conditions)
        plans = _plans_of(net, data, samples or 200, seed, settings)
        return _carry_out(
            [(plan, f"{out}/layer{n}") for n, plan in enumerate(plans)], out, workers, scheduler
        )
    samples, synapses = samples or 1000, synapses or 8
    tech = Technology.load(technology or "ideal")
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
    return _carry_out([(plan, out)], out, workers, scheduler)


def _plans_of(
    net: str, data: str | None, samples: int, seed: int, settings: dict[str, Any]
) -> list[Campaign]:
    """Campaigns on the layers of a placed network."""
    from montecarlo.campaign.conditions import CONDITIONS
    from ttfs_analog.placement.rows import campaigns

    if unknown := sorted(set(settings) - set(CONDITIONS)):
        raise InputError(f"--at {unknown[0]}: a placed network is operated at a {', '.join(CONDITIONS)}")
    model, sets = load_network(net, data)
    return campaigns(model, sets.x_train, samples, seed, **settings)


def _carry_out(plans: list[tuple[Campaign, str]], out: str, workers: int, scheduler: str | None) -> Result:
    """Run campaigns one after the other."""
    from montecarlo.campaign.campaign import decks_run_alone

    failed, reasons, samples, alone = 0, set(), 0, 0
    for n, (plan, path) in enumerate(plans):
        label = "characterize: samples" if len(plans) == 1 else f"characterize: layer {n}"
        with progress(label) as tick:
            dataset = plan.run(path, workers=workers, scheduler=scheduler, progress=tick)
        samples += plan.samples
        failed += int((dataset["status"] != 0).sum())
        alone += decks_run_alone(dataset)
        reasons |= set(dataset["reason"].values.tolist()) - {""}
    if failed == samples:
        raise SimulatorError(
            f"all {samples} samples of {out} failed ({'; '.join(sorted(reasons))[:200]}): mend that, remove "
            f"{out} and give the command again"
        )
    used = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(u.ru_utime + u.ru_stime for u in used)
    result: dict[str, Any] = {
        "path": out,
        "n_samples": samples,
        "n_failed": failed,
        "n_alone": alone,
        "cpu_s": cpu,
    }
    if failed:
        result["reasons"] = sorted(reasons)
    text = f"{out}: {samples} samples, {failed} failed, {cpu:.1f} s CPU"
    return result, text


@click.command()
@click.argument("toml", metavar="SWEEP.toml", type=click.Path())
@click.option(
    "--target",
    type=click.FloatRange(0, 1),
    default=None,
    help="Of networks: accuracy of a good chip; default: the best without mismatch, less 0.01.",
)
@workers_option
@scheduler_option
@common(out="sweep", folder=True)
def sweep(**options: Any) -> Drawn:
    """Neurons, or chips of a network, over a grid of conditions; the same command again resumes it."""
    from ttfs_analog.cli.results.sweeps import run_sweep

    with progress("sweep: samples") as tick:
        return run_sweep(progress=tick, **options)


@click.command()
@click.argument("dataset", type=click.Path())
@common(out="noise_model.json")
def fit(dataset: str, out: str, seed: int) -> Result:
    """Fit the noise model of a campaign, with intervals and held-out figures."""
    from ttfs_analog.cli.description import fit_campaign

    return fit_campaign(dataset, out, seed)
