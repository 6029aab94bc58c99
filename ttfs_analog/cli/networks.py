"""Commands that make networks: train, convert, constrain, place, finetune."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from circuits.errors import InputError
from circuits.pdk.technology import Technology
from ttfs_analog.cli.console import (
    Result,
    common,
    data_option,
    extrapolate_option,
    load_network,
    load_noise,
    technology_option,
)
from ttfs_analog.cli.streams import progress

MODES = ("agnostic", "trim", "threshold", "chip", "gain", "loop")
FORMS = ("b1", "alpha", "positive", "dynamic", "equal", "single")
zeta_option = click.option("--zeta", type=float, default=0.5, show_default=True, help="Window margin.")
percentile_option = click.option(
    "--percentile", type=float, default=None, help="Window percentile instead of --zeta."
)
percentile_of_option = click.option(
    "--percentile-of",
    type=click.Choice(["nonzero", "all"]),
    default="nonzero",
    show_default=True,
    help="Activations that percentiles of windows are taken of; all: with those of silent neurons.",
)
alpha_option = click.option(
    "--alpha", type=float, default=1.0, show_default=True, help="Current of phase 1 in the alpha forms."
)
delta_option = click.option(
    "--delta", type=float, default=0.1, show_default=True, help="Weights of a neuron sum to <= 1 - delta."
)
b_low_option = click.option(
    "--b-low", type=float, default=10.0, show_default=True, help="... and to >= -b_low (not in form b1)."
)
resume_option = click.option("--resume", is_flag=True, help="Go on from OUT.checkpoint.")


@click.command()
@click.option(
    "--arch",
    default="fc-32",
    show_default=True,
    help="fc-WIDTH, fcDEPTH-WIDTH, lenet5, lenet5-bn, vgg16 or vgg16-bn.",
)
@click.option("--data", default="digits", show_default=True)
@click.option(
    "--form",
    type=click.Choice(["auto", "relu", *FORMS]),
    default="auto",
    show_default=True,
    help="Train spike times in this form, or a ReLU network that is mapped afterwards.",
)
@click.option(
    "--recipe",
    type=click.Choice(["default", "paper"]),
    default="default",
    show_default=True,
    help="paper: Adam, 5e-4 x 0.9^(step / 5000), batches of 8, 50 epochs.",
)
@click.option("--epochs", type=click.IntRange(1), default=None, help="Default: 40, more on small data.")
@click.option("--batch", type=click.IntRange(1), default=None)
@click.option("--lr", type=float, default=None, help="Learning rate.")
@click.option("--l1", type=float, default=0.0, show_default=True, help="Strength of sparse activity.")
@click.option("--dtype", type=click.Choice(["float64", "float32"]), default="float64", show_default=True)
@click.option("--device", default="cpu", show_default=True)
@alpha_option
@delta_option
@b_low_option
@zeta_option
@percentile_option
@percentile_of_option
@resume_option
@technology_option
@common(out="net.pt")
def train(technology: str, recipe: str, dtype: str, **options: Any) -> Result:
    """Train a TTFS network, or a ReLU network that is mapped exactly."""
    from ttfs_analog.cli.network_files import make_recipe, train_network

    changes = {k: options.pop(k) for k in ("epochs", "batch", "lr", "l1")}
    made = make_recipe(recipe, options["data"], seed=options["seed"], **changes)
    with progress("train: steps") as tick:
        return train_network(
            technology=Technology.load(technology), recipe=made, dtype=dtype, progress=tick, **options
        )


@click.command()
@click.argument("function", metavar="FILE.py:FUNCTION")
@click.option("--weights", type=click.Path(), default=None, help="state_dict to load (torch.save).")
@click.option("--data", default="digits", show_default=True, help="Calibration data.")
@click.option("--mapping", type=click.Choice(FORMS), default="b1", show_default=True)
@click.option(
    "--input-range",
    type=(float, float),
    default=(0.0, 1.0),
    show_default=True,
    help="What the model sees for data of 0 and 1.",
)
@alpha_option
@delta_option
@b_low_option
@zeta_option
@percentile_option
@percentile_of_option
@click.option(
    "--least-agreement",
    type=click.FloatRange(0, 100),
    default=100.0,
    show_default=True,
    metavar="PERCENT",
    help="Test images that network and model must decide alike; exit code 1 below.",
)
@technology_option
@common(out="net.pt")
def convert(technology: str, least_agreement: float, **options: Any) -> Result:
    """Map a ReLU network of your own: FUNCTION returns an nn.Module, a chain of layers.

    Exit code 1 if fewer test images than --least-agreement are decided as the model decides them.
    """
    from ttfs_analog.cli.network_files import convert_network

    with progress("convert: batches of images") as tick:
        return convert_network(
            technology=Technology.load(technology),
            least_agreement=least_agreement / 100,
            progress=tick,
            **options,
        )


@click.command()
@click.argument("net", type=click.Path())
@click.option("--jitter", type=float, default=None, help="Error of spike times, std [tau_c].")
@click.option("--jitter-scope", type=click.Choice(["neuron", "layer"]), default="neuron", show_default=True)
@click.option("--jitter-kind", type=click.Choice(["trial", "frozen"]), default="trial", show_default=True)
@click.option("--time-steps", type=int, default=None, help="Steps of each window.")
@click.option("--weight-bits", type=int, default=None)
@click.option("--latency", type=float, default=None, help="Percentile of activations that windows hold.")
@percentile_of_option
@data_option
@common(out="net_constrained.pt")
def constrain(net: str, data: str | None, out: str, seed: int, **options: Any) -> Result:
    """Put a network under hardware constraints, which then stay with it ('finetune' trains for them)."""
    from ttfs_analog.cli.network_files import constrain_network
    from ttfs_analog.constraints.constraints import Jitter, Latency, TimeSteps, WeightBits

    model, sets = load_network(net, data)
    parts: list[Any] = []
    if options["jitter"] is not None:
        parts.append(Jitter(options["jitter"], options["jitter_scope"], options["jitter_kind"]))
    of = {"percentile_of": options["percentile_of"]}
    if options["time_steps"] is not None:
        parts.append(TimeSteps(options["time_steps"], **of))
    if options["weight_bits"] is not None:
        parts.append(WeightBits(options["weight_bits"]))
    if options["latency"] is not None:
        parts.append(Latency(options["latency"], **of))
    if not parts:
        raise InputError("give at least one of --jitter, --time-steps, --weight-bits, --latency")
    with progress("constrain: batches of images") as tick:
        return constrain_network(model, sets, parts, out=out, seed=seed, progress=tick)


@click.command()
@click.argument("net", type=click.Path())
@click.option("--technology", required=True, help="One with transistors, see 'technologies'.")
@click.option(
    "--objective",
    type=click.Choice(["spread", "energy", "speed"]),
    default="spread",
    show_default=True,
    help="What the operating points are chosen for.",
)
@click.option(
    "--read-out",
    type=click.Choice(["first-spike", "sampled"]),
    default="first-spike",
    show_default=True,
    help="The last layer spikes, and the first to fire wins; or its potentials are sampled.",
)
@click.option(
    "--area",
    type=click.FloatRange(1 / 64, 16),
    default=1.0,
    show_default=True,
    help="Gate area of the matched transistors, as a multiple of the technology's.",
)
@click.option(
    "--dummies",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Relative coding: neurons without synapses, an odd number a layer, whose spikes close its window.",
)
@click.option(
    "--guard",
    type=click.FloatRange(0, 1),
    default=0.25,
    show_default=True,
    help="What relative coding makes windows longer by, in parts of them.",
)
@click.option("--corner", default=None, help="Where it will be operated; it is placed for the typical one.")
@click.option("--temperature", type=float, default=None, help="The same [degrees C]; placed for 27.")
@click.option("--supply", type=float, default=None, help="The same [V]; placed for the nominal one.")
@click.option(
    "--retrain", type=click.IntRange(0), default=0, help="Epochs of training in whole unit devices."
)
@data_option
@common(out="net_placed.pt")
def place(net: str, technology: str, data: str | None, out: str, **options: Any) -> Result:
    """Put a network on transistors: rescaled, with operating points and unit devices of every layer."""
    from ttfs_analog.cli.network_files import place_network

    model, sets = load_network(net, data)
    with progress("place: placements") as tick:
        return place_network(model, sets, Technology.load(technology), out=out, progress=tick, **options)


@click.command()
@click.argument("net", type=click.Path())
@click.option("--noise", default=None, type=click.Path(), help="Noise model; not needed under constraints.")
@click.option("--mode", type=click.Choice(MODES), default="agnostic", show_default=True)
@click.option(
    "--chip",
    type=click.Path(),
    default=None,
    help="All modes but agnostic: the chip, as 'calibrate' knows it; of mode loop as it is.",
)
@click.option(
    "--known",
    type=click.Path(),
    default=None,
    help="Mode loop: the chip whose gradient is taken, of 'calibrate'; default: one without deviations.",
)
@click.option("--bits", type=click.IntRange(1, 16), default=None, help="Of the DACs of mode trim.")
@click.option("--most", type=click.IntRange(0), default=None, help="Neurons of mode trim; default: all.")
@click.option(
    "--spread",
    type=click.FloatRange(0, 10),
    default=1.0,
    show_default=True,
    help="Mode agnostic: factor on the sigmas while training; more than 1 leaves a margin.",
)
@click.option(
    "--logit-penalty",
    type=click.FloatRange(0),
    default=None,
    show_default="0.001 of a placed network in mode agnostic, else 0",
    help="Factor of the mean square of the logits in the loss.",
)
@click.option(
    "--level",
    type=click.Choice(["closed-form", "ngspice"]),
    default="closed-form",
    show_default=True,
    help="Where mode loop measures the chip.",
)
@click.option(
    "--epochs",
    type=click.IntRange(0),
    default=None,
    help="Default: 20, more on small data, for one chip fewer; 0: windows and thresholds alone.",
)
@click.option("--batch", type=click.IntRange(1), default=64, show_default=True)
@click.option("--lr", type=float, default=None, help="Learning rate; default: by mode, 1e-3 to 1e-2.")
@click.option(
    "--percentile",
    type=float,
    default=99.5,
    show_default=True,
    help="Shorten the windows to this percentile first; 0: leave them.",
)
@percentile_of_option
@click.option("--control", is_flag=True, help="The same training without any spread, to compare with.")
@data_option
@extrapolate_option
@resume_option
@common(out="net_tuned.pt")
def finetune(
    net: str,
    noise: str | None,
    control: bool,
    chip: str | None,
    known: str | None,
    level: str,
    percentile: float,
    data: str | None,
    extrapolate: bool,
    out: str,
    **options: Any,
) -> Result:
    """Tune a network for all chips of a noise model, or for one chip, under its constraints if it has any.

    agnostic: one network for all chips. trim: thresholds of one chip, nothing is trained; threshold: trained;
    chip: all weights; gain: all weights, one gain a neuron being known; loop: all weights, the chip is
    measured in every step.
    """
    from ttfs_analog.calibration.measurement import answers
    from ttfs_analog.cli.network_files import save
    from ttfs_analog.cli.results.chips import chips_of
    from ttfs_analog.training.finetuning import finetune as tune

    model, sets = load_network(net, data)
    law = load_noise(noise, extrapolate) if noise else None
    if control and chip is not None:
        raise InputError("--control is the control of mode agnostic: a chip without spread is no chip")
    if control:
        if law is None:
            raise InputError("--control takes the spread out of a noise model: name one with --noise")
        law = law.silent()
    if (options["mode"] == "agnostic") != (chip is None):
        raise InputError("--chip names the chip of all modes but agnostic, which has none")
    if known is not None and options["mode"] != "loop":
        raise InputError("--known is what mode loop knows beside what it measures; others know --chip")
    one, in_loop = chips_of(model, chip) if chip else None, None
    if one is not None and options["mode"] == "loop":
        in_loop = answers(one, level)
        one = chips_of(model, known) if known else one.nominal()  # gradients know no more than that
    checkpoint = f"{out}.checkpoint"
    if options["resume"] and not Path(checkpoint).exists():
        raise InputError(f"{checkpoint} does not exist: nothing to resume; leave out --resume")
    before = {"--control": control, "--extrapolate": extrapolate, "--data": sets.name}
    with progress("finetune: steps") as tick:
        tuned = tune(
            model,
            sets,
            law,
            chip=one,
            measure=in_loop,
            percentile=percentile or None,
            checkpoint=checkpoint,
            options=before,
            progress=tick,
            **options,
        )
    result = save(tuned, sets, out, noise=law, finetuned="control" if control else options["mode"])
    Path(checkpoint).unlink(missing_ok=True)
    return result
