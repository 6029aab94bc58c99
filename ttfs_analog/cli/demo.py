"""What `demo` does: the whole loop on handwritten digits in one folder, its figures, and its page."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from circuits.errors import InputError
from circuits.spice.ngspice import Ngspice
from ttfs_analog.cli.layers import write_decks
from ttfs_analog.cli.streams import err, progress
from ttfs_analog.demonstration import ideal, transistors
from ttfs_analog.evaluation import figures_of_record as summary
from ttfs_analog.evaluation.report import TRANSISTORS, write


def run_demo(
    folder: Path, *, samples: int, chips: int, workers: int, seed: int
) -> tuple[dict[str, Any], str]:
    """Run every stage; files go into `folder`, those on transistors into one in it.

    Parameters
    ----------
    folder : Path
        Made if missing.
    samples : int
        Neurons of the campaign with ideal sources.
    chips : int
        That networks are judged on.
    workers : int
        ngspice processes at a time.
    seed : int
        Of everything that is drawn.

    Returns
    -------
    summary, text
        The figures of record, and a few lines for people.
    """
    started = time.perf_counter()
    inner = folder / TRANSISTORS
    inner.mkdir(parents=True, exist_ok=True)
    Ngspice()  # before any work: a missing program is known at once
    options: dict[str, Any] = {
        "chips": chips, "workers": workers, "seed": seed, "stage": progress, "say": _say,
    }  # fmt: skip
    net, data = ideal.run_ideal(folder, samples=samples, **options)
    x = data.x_test[:1].double().numpy()
    write_decks(
        "net.pt", net.to_circuit(), x, points=net.points, technology="ideal", chip=0,
        out=str(folder / "netlist"), seed=seed,
    )  # fmt: skip
    transistors.run_transistors(net, data, inner, **options)
    figures = summary.write(folder)
    page = write(folder, folder / "report.html")
    spent = time.perf_counter() - started
    lines = [_on_sources(figures), _on_transistors(figures), f"report               {page}   ({spent:.0f} s)"]
    return figures, "\n".join(lines)


def _say(text: str) -> None:
    err.print(text, markup=False)


def _on_sources(figures: dict[str, dict[str, Any]]) -> str:
    """What the loop with ideal sources has shown."""

    def percent(name: str) -> str:
        return f"{100 * figures[name]['value']:.2f} %"

    v = {k: f["value"] for k, f in figures.items()}
    if v["ttfs_relu_agreement"] != 1.0:
        raise InputError("the TTFS network does not agree with the ReLU network on every test image")
    return f"""\
exact map            TTFS = ReLU on {percent("ttfs_relu_agreement")} of the test images, accuracy \
{percent("ttfs_accuracy")}
noise model          {v["samples"]} neurons in ngspice; sigma of slope {v["sigma_slope"]:.4f}, threshold \
{v["sigma_threshold"]:.4f} tau_c
                     held out: {v["holdout_rms"]:.1e} tau_c rms, 95 % intervals cover \
{percent("holdout_coverage_95")}
accuracy over chips  {percent("accuracy_before")} mapped, {percent("accuracy_windows_only")} with shorter \
windows,
                     {percent("accuracy_after")} fine-tuned for mismatch ({percent("accuracy_control")} \
fine-tuned without it)
worst chip           {percent("worst_chip_before")} mapped, {percent("worst_chip_after")} fine-tuned
back to ngspice      {v["verified_chips"]} fresh chips x {v["verified_images"]} images: spike times agree to \
{v["spike_time_rms"]:.1e} tau_c rms,
                     classes on {percent("class_agreement")}, energy ratio {v["energy_ratio"]:.4f}
energy               {v["energy_per_inference"]:.3g} J per inference (sources only)"""


def _on_transistors(figures: dict[str, dict[str, Any]]) -> str:
    """The same on transistors."""
    v = {k.removeprefix("transistor_"): f["value"] for k, f in figures.items() if k.startswith("transistor_")}
    percent = {k: f"{100 * x:.2f} %" for k, x in v.items() if k.startswith(("accuracy", "worst", "class"))}
    return f"""\
on transistors       {transistors.TECHNOLOGY}, {transistors.AREA:g} of the gate area, \
{v["samples"]} neurons a layer in ngspice
accuracy over chips  {percent["accuracy_placed"]} placed, {percent["accuracy_thresholds"]} with thresholds \
for the circuit's constants,
                     {percent["accuracy_tuned"]} fine-tuned for mismatch ({percent["accuracy_control"]} \
fine-tuned without it)
worst chip           {percent["worst_chip_placed"]} placed, {percent["worst_chip_tuned"]} fine-tuned
whole chips          {v["verified_chips"]} fresh chips x {v["verified_images"]} images, transistor by \
transistor: spike times agree to
                     {v["spike_time_rms_layer0"]:.1e} and {v["spike_time_rms_layer1"]:.1e} tau_c rms by layer,
                     {v["spike_time_rms_without_deviations"]:.1e} if the chip's deviations are left out;
                     classes on {percent["class_agreement"]}, energy ratio {v["energy_ratio"]:.3f}
energy               {v["energy_per_inference"]:.3g} J per inference (comparators, latches, references \
included)"""
