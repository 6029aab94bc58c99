"""The command line: one function a command, each a few lines over the library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from circuits.errors import InputError
from circuits.pdk.technology import Technology
from ttfs_analog.cli import cli_circuit, layers
from ttfs_analog.cli.console import (
    Result,
    common,
    load_network,
    progress,
    run,
    technology_option,
    workers_option,
)

data_option = click.option("--data", default=None, help="Dataset; default: the network's own.")
FORMS = ("b1", "alpha", "positive", "dynamic", "equal", "single")
noise_option = click.option("--noise", required=True, type=click.Path(), help="Noise model, made by 'fit'.")
chips_from_option = click.option(
    "--chips-from", type=click.Path(), default=None, help="Chips of this file instead (made by 'chip')."
)
extrapolate_option = click.option(
    "--extrapolate", is_flag=True, help="Allow use outside the noise model's range."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ttfs-analog")
def cli() -> None:
    """Analog time-to-first-spike networks: from PyTorch to ngspice and back.

    \b
    train or convert    a ReLU network becomes an exact TTFS network
    constrain           jitter, time steps, weight bits, latency
    characterize, fit   Monte Carlo in ngspice becomes a noise model
    sweep               neurons, or chips of a network, over a grid of conditions
    chip                one chip of a network as a file
    describe, attribute statistics of a campaign; which device makes a neuron vary
    rare                how likely it is that a spike comes too late or too early
    evaluate, finetune  accuracy and yield over chips, and training for them
    energy              joules per inference
    verify              the model against ngspice on chips never seen
    demo, report        all of it, on one page
    """


for command in (layers.technologies, layers.simulate, layers.netlist):
    cli.add_command(command)
for command in (
    "attribute",
    "rare",
    "characterize",
    "describe",
    "sweep",
    "fit",
):
    cli.add_command(getattr(cli_circuit, command))


def main(arguments: list[str] | None = None) -> int:
    """Entry point: the exit code is 0 done, 1 check failed, 2 bad input, 3 simulator, 130 interrupted."""
    return run(cli, arguments)


def _noise(path: str, extrapolate: bool = False):
    from ttfs_analog.noise.noise_model import NoiseModel

    noise = NoiseModel.load(path)
    return noise.extrapolated() if extrapolate else noise


zeta_option = click.option("--zeta", type=float, default=0.5, show_default=True, help="Window margin.")
percentile_option = click.option(
    "--percentile", type=float, default=None, help="Window percentile instead of --zeta."
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


@cli.command()
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
@resume_option
@technology_option
@common(out="net.pt")
def train(technology: str, recipe: str, dtype: str, **options: Any) -> Result:
    """Train a TTFS network, or a ReLU network that is mapped exactly."""
    from ttfs_analog.cli.commands import make_recipe, train_network

    given = {k: options.pop(k) for k in ("epochs", "batch", "lr", "l1")}
    made = make_recipe(recipe, options["data"], seed=options["seed"], **given)
    with progress("train: steps") as tick:
        return train_network(
            technology=Technology.load(technology), recipe=made, dtype=dtype, progress=tick, **options
        )


@cli.command()
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
@technology_option
@common(out="net.pt")
def convert(technology: str, **options: Any) -> Result:
    """Map a ReLU network of your own: FUNCTION returns an nn.Module, a chain of layers."""
    from ttfs_analog.cli.commands import convert_network

    with progress("convert: batches of images") as tick:
        return convert_network(technology=Technology.load(technology), progress=tick, **options)


@cli.command()
@click.argument("net", type=click.Path())
@click.option("--jitter", type=float, default=None, help="Error of spike times, std [tau_c].")
@click.option("--jitter-scope", type=click.Choice(["neuron", "layer"]), default="neuron", show_default=True)
@click.option("--jitter-kind", type=click.Choice(["trial", "frozen"]), default="trial", show_default=True)
@click.option("--time-steps", type=int, default=None, help="Steps of each window.")
@click.option("--weight-bits", type=int, default=None)
@click.option("--latency", type=float, default=None, help="Percentile of activations that windows hold.")
@data_option
@common(out="net_constrained.pt")
def constrain(net: str, data: str | None, out: str, seed: int, **options: Any) -> Result:
    """Put a network under hardware constraints, which then stay with it ('finetune' trains for them)."""
    from ttfs_analog.cli.commands import constrain_network
    from ttfs_analog.constraints.constraints import Jitter, Latency, TimeSteps, WeightBits

    model, sets = load_network(net, data)
    parts: list[Any] = []
    if options["jitter"] is not None:
        parts.append(Jitter(options["jitter"], options["jitter_scope"], options["jitter_kind"]))
    for name, kind in (("time_steps", TimeSteps), ("weight_bits", WeightBits), ("latency", Latency)):
        if options[name] is not None:
            parts.append(kind(options[name]))
    if not parts:
        raise InputError("give at least one of --jitter, --time-steps, --weight-bits, --latency")
    with progress("constrain: batches of images") as tick:
        return constrain_network(model, sets, parts, out=out, seed=seed, progress=tick)


@cli.command()
@click.argument("net", type=click.Path())
@click.option("--noise", default=None, type=click.Path(), help="Noise model; not needed under constraints.")
@click.option("--mode", type=click.Choice(["agnostic"]), default="agnostic", show_default=True)
@click.option("--epochs", type=click.IntRange(1), default=20, show_default=True)
@click.option("--batch", type=click.IntRange(1), default=64, show_default=True)
@click.option("--lr", type=float, default=2e-3, show_default=True)
@click.option(
    "--percentile",
    type=float,
    default=99.5,
    show_default=True,
    help="Shorten the windows to this percentile first; 0 keeps them.",
)
@data_option
@extrapolate_option
@resume_option
@common(out="net_tuned.pt")
def finetune(
    net: str,
    noise: str | None,
    percentile: float,
    data: str | None,
    extrapolate: bool,
    out: str,
    **options: Any,
) -> Result:
    """Train a network for chips drawn from a noise model, under its constraints if it has any."""
    from ttfs_analog.cli.commands import describe
    from ttfs_analog.training.finetuning import finetune as tune

    model, sets = load_network(net, data)
    law = _noise(noise, extrapolate) if noise else None
    checkpoint = f"{out}.checkpoint"
    if options["resume"] and not Path(checkpoint).exists():
        raise InputError(f"{checkpoint} does not exist: nothing to resume; leave out --resume")
    with progress("finetune: steps") as tick:
        tuned = tune(
            model,
            sets,
            law,
            percentile=percentile or None,
            checkpoint=checkpoint,
            progress=tick,
            **options,
        )
    result = describe(tuned, sets, out, finetuned=options["mode"])
    Path(checkpoint).unlink(missing_ok=True)
    return result


@cli.command()
@click.argument("source", metavar="NET.pt|CHIP.nc", type=click.Path())
@click.option("--noise", type=click.Path(), default=None, help="Noise model that the chip is drawn from.")
@click.option("--number", type=click.IntRange(0), default=0, show_default=True, help="Chip of this seed.")
@extrapolate_option
@common(out="chip.nc")
def chip(source: str, out: str, **options: Any) -> Result:
    """Draw one chip of a network into a file, or say what such a file holds."""
    from ttfs_analog.cli.chip_command import draw_chip, inspect_chip

    if source.endswith(".nc"):
        return inspect_chip(source)
    return draw_chip(source, out=out, **options)


@cli.command()
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
@data_option
@extrapolate_option
@common(out="evaluation.nc")
def evaluate(net: str, noise: str | None, data: str | None, extrapolate: bool, **options: Any) -> Result:
    """Accuracy and yield over chips drawn from a noise model, or from a file."""
    from ttfs_analog.cli.commands import evaluate_chips

    if noise is None and options["chips_from"] is None:
        raise InputError("give --noise, or --chips-from")
    model, sets = load_network(net, data)
    law = _noise(noise, extrapolate) if noise else None
    with progress("evaluate: chips") as tick:
        return evaluate_chips(model, sets, law, progress=tick, **options)


@cli.command()
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
    from ttfs_analog.evaluation import energy as ledger

    model, sets = load_network(net, data)
    with progress("energy: chips") as tick:
        found = ledger.energy(model, sets, _noise(noise, extrapolate), chips=chips, seed=seed, progress=tick)
    found.to_netcdf(out)
    figures = ledger.summarize(found)
    mean, (low, high) = (figures["energy_per_inference_j"][k] for k in ("mean", "ci95"))
    lines = [f"{mean:.4g} J per inference, 95 % interval over chips [{low:.4g}, {high:.4g}]"]
    lines += [f"  {part:<16} {joule:.4g} J" for part, joule in figures["ledger"].items()]
    lines += [f"  spikes per neuron {figures['spikes_per_neuron']:.3f}", str(out)]
    return {"path": out, **figures}, "\n".join(lines)


@cli.command()
@click.argument("net", type=click.Path())
@noise_option
@click.option("--chips", type=click.IntRange(1), default=4, show_default=True)
@chips_from_option
@click.option("--images", type=click.IntRange(1), default=20, show_default=True)
@technology_option
@click.option("--tolerance", type=float, default=0.01, show_default=True, help="Spike-time RMS [tau_c].")
@data_option
@extrapolate_option
@workers_option
@common(out="verification.nc")
def verify(net: str, noise: str, data: str | None, extrapolate: bool, **options: Any) -> Result:
    """Whole chips in ngspice against the noise model's prediction; exit code 1 if it does not hold."""
    from ttfs_analog.cli.commands import verify_chips

    model, sets = load_network(net, data)
    with progress("verify: images") as tick:
        return verify_chips(model, sets, _noise(noise, extrapolate), progress=tick, **options)


@cli.command()
@click.argument("folder", metavar="DIR", type=click.Path())
@common(out="")
def report(folder: str, out: str | None, seed: int) -> Result:
    """One self-contained HTML page of whatever results a folder holds (nothing is drawn)."""
    from ttfs_analog.evaluation.report import write

    path = write(Path(folder), Path(out) if out else Path(folder) / "report.html")
    return {"path": str(path)}, str(path)


@cli.command()
@click.option("--samples", type=click.IntRange(200), default=1000, show_default=True)
@click.option("--chips", type=click.IntRange(100), default=200, show_default=True)
@workers_option
@common(out="demo", folder=True)
def demo(samples: int, chips: int, workers: int, out: str, seed: int) -> Result:
    """The whole loop on handwritten digits: train, characterize, fit, fine-tune, verify, report."""
    from ttfs_analog.cli.demo import run_demo

    summary, text = run_demo(Path(out), samples=samples, chips=chips, workers=workers, seed=seed)
    return {"path": out, "summary": summary}, text
