"""The command line: families of commands, each a few lines over the library."""

from __future__ import annotations

from pathlib import Path

import click

from circuits import whole_file
from ttfs_analog.cli import campaigns, chips, layers, networks
from ttfs_analog.cli.console import Result, common, run, workers_option


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
    calibrate, remedies a chip from its spike times; what helps against mismatch
    size, iso           the smallest devices that reach a yield; silicon at one accuracy
    energy              joules per inference
    verify              the model against ngspice on chips never seen
    demo, report        all of it, on one page
    """


for family in (layers, campaigns, networks, chips):
    for command in vars(family).values():
        if isinstance(command, click.Command):
            cli.add_command(command)


def main(arguments: list[str] | None = None) -> int:
    """Entry point: the exit code is 0 done, 1 check failed, 2 bad input, 3 simulator, 130 interrupted."""
    return run(cli, arguments)


@cli.command()
@click.argument("folder", metavar="DIR", type=click.Path())
@common(out="")
def report(folder: str, out: str | None, seed: int) -> Result:
    """One self-contained HTML page of whatever results a folder holds (nothing is drawn)."""
    from ttfs_analog.evaluation.report import render

    page, left_out = render(Path(folder))
    path = whole_file.write(Path(out) if out else Path(folder) / "report.html", page)
    return {"path": str(path), "left_out": left_out}, "\n".join(
        [*(f"left out: {f}" for f in left_out), str(path)]
    )


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
