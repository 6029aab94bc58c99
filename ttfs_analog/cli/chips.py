"""Commands about chips of a network: chip, evaluate, energy, verify, calibrate, remedies, size, iso."""

from __future__ import annotations

from typing import Any

import click

from circuits.errors import InputError
from ttfs_analog.cli.console import (
    Drawn,
    Result,
    check_plot,
    common,
    data_option,
    extrapolate_option,
    load_network,
    load_noise,
    workers_option,
)
from ttfs_analog.cli.streams import progress

noise_option = click.option("--noise", required=True, type=click.Path(), help="Noise model, made by 'fit'.")
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
    from ttfs_analog.cli.results.chips import draw_chip, inspect_chip

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
@click.option(
    "--trim", is_flag=True, help="Trim the thresholds of every chip first, its devices being known exactly."
)
@click.option("--bits", type=click.IntRange(1, 16), default=None, help="Of the DACs; default: no limits.")
@click.option("--most", type=click.IntRange(0), default=None, help="Neurons with a trim; default: all.")
@click.option(
    "--reference",
    "references",
    multiple=True,
    metavar="LINE=SIGMA",
    help="Other spread of what a layer shares, by bias line: source, sink, slope, tail; repeatable.",
)
@click.option("--plot", type=click.Path(), default=None, help="Draw every chip's accuracy.")
@data_option
@extrapolate_option
@common(out="evaluation.nc")
def evaluate(
    net: str,
    noise: str | None,
    data: str | None,
    extrapolate: bool,
    references: tuple[str, ...],
    **options: Any,
) -> Drawn:
    """Accuracy and yield over chips drawn from a noise model, or from a file.

    Beside OUT lies a CSV with one row a chip. Memory does not grow with the number of chips.
    """
    from montecarlo.mismatch.notation import parse_spreads
    from ttfs_analog.cli.results.chips import evaluate_chips

    check_plot(options["plot"])
    if noise is None and options["chips_from"] is None:
        raise InputError("give --noise, or --chips-from")
    model, sets = load_network(net, data)
    law = load_noise(noise, extrapolate) if noise else None
    if references and (law is None or options["chips_from"] is not None):
        raise InputError("--reference changes how chips are drawn: give --noise, and no --chips-from")
    if law is not None and references:
        law = law.with_references(parse_spreads(references))
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
    "--remedy",
    default=None,
    metavar="NAME",
    help="Of a placed network: treat every chip first: trim-BITS, trim-BITS@NEURONS or threshold.",
)
@patterns_option
@error_option
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
    from ttfs_analog.cli.results.verifications import verify_chips, verify_placed

    model, sets = load_network(net, data)
    law = load_noise(noise, extrapolate)
    placed = "placement" in model.metadata
    with progress("verify: images") as tick:
        return (verify_placed if placed else verify_chips)(model, sets, law, progress=tick, **options)


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
    from ttfs_analog.cli.results.remedies import calibrate_chip

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
    from ttfs_analog.cli.results.remedies import compare

    check_plot(options["plot"])
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


@click.command()
@click.argument("nets", metavar="NET.pt...", nargs=-1, required=True, type=click.Path())
@click.option(
    "--noise",
    "models",
    multiple=True,
    required=True,
    type=click.Path(),
    help="Noise model, made by 'fit'; one for every network, in their order.",
)
@click.option(
    "--target", type=click.FloatRange(0, 1), default=None, help="Of an accuracy; default: clean - 1."
)
@click.option(
    "--yield", "wanted", type=click.FloatRange(0, 1), default=0.9, show_default=True, help="Share of chips."
)
@click.option(
    "--least",
    type=click.Choice(["silicon", "energy"]),
    default="silicon",
    show_default=True,
    help="What the chosen point takes least of.",
)
@click.option("--remedies", default=None, help="Names, separated by commas; default: windows and trims.")
@click.option("--chips", type=click.IntRange(20), default=200, show_default=True, help="Of every judging.")
@click.option("--steps", type=click.IntRange(1), default=460, show_default=True, help="Of every training.")
@click.option("--batch", type=click.IntRange(1), default=64, show_default=True)
@patterns_option
@error_option
@click.option("--plot", type=click.Path(), default=None, help="Draw silicon and energy of the points.")
@data_option
@extrapolate_option
@common(out="size.json")
def size(
    nets: tuple[str, ...], models: tuple[str, ...], data: str | None, extrapolate: bool, **options: Any
) -> Drawn:
    """The smallest devices of placed networks that reach a yield, remedy by remedy.

    Gates shrink, sigmas grow with one over the root of their area; windows and capacitors are those of a
    placement: give several placements of a network to choose among them. Every point is judged again on
    fresh chips; exit code 1 if the first of them does not keep its promise, or no remedy reaches the yield.
    """
    from ttfs_analog.cli.results.remedies import size_network

    check_plot(options["plot"])
    if len(models) != len(nets):
        raise InputError(f"{len(nets)} networks need as many --noise, in their order; got {len(models)}")
    names = options.pop("remedies")
    placements = [
        (net, *load_network(net, data), load_noise(model, extrapolate))
        for net, model in zip(nets, models, strict=True)
    ]
    with progress("size: judgings") as tick:
        return size_network(
            placements, remedies=names.split(",") if names else None, progress=tick, **options
        )


@click.command()
@click.argument("results", metavar="REMEDIES.nc...", nargs=-1, required=True, type=click.Path())
@click.option(
    "--accuracy",
    type=click.FloatRange(0, 1),
    default=None,
    help="Mean over chips; default: the best without mismatch (remedy windows), less 0.005.",
)
@click.option("--against", default="control", show_default=True, help="Remedy to compare with.")
@click.option("--plot", type=click.Path(), default=None, help="Draw it.")
@common(out="iso.json")
def iso(results: tuple[str, ...], **options: Any) -> Drawn:
    """Silicon and energy of every remedy at one accuracy, with intervals.

    REMEDIES.nc are datasets of 'remedies': one network placed at several areas, or compared at several
    --scale.
    """
    from ttfs_analog.cli.results.remedies import at_one_accuracy

    check_plot(options["plot"])
    return at_one_accuracy(results, **options)
