"""The whole loop on scikit-learn's handwritten digits, in one folder."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from circuits.errors import InputError
from circuits.ideal.ideal_layer import IdealNeuron
from circuits.model.coding import encode
from circuits.pdk.technology import Technology
from circuits.spice.ngspice import Ngspice
from montecarlo.campaign.campaign import Campaign
from montecarlo.campaign.schema import package_version
from ttfs_analog.cli.console import err, progress
from ttfs_analog.cli.layers import write_decks
from ttfs_analog.conversion.mapping import agreement, convert
from ttfs_analog.data import datasets
from ttfs_analog.evaluation import accuracy as evaluation
from ttfs_analog.evaluation import energy as ledger
from ttfs_analog.evaluation import figures_of_record as summary
from ttfs_analog.evaluation import verification
from ttfs_analog.evaluation.report import WAVEFORM, write
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.network.windows import tighten
from ttfs_analog.noise.chips import Chips
from ttfs_analog.noise.noise_model import NoiseModel
from ttfs_analog.training import training
from ttfs_analog.training.architectures import build
from ttfs_analog.training.finetuning import finetune

ARCH, HIDDEN_SHOWN = "fc-32", 6
CHIPS, IMAGES = 4, 25
"""Fresh chips and test images that go back to ngspice."""
PERCENTILE = 99.5


def run_demo(
    folder: Path, *, samples: int, chips: int, workers: int, seed: int
) -> tuple[dict[str, Any], str]:
    """Run every stage; files go into `folder`.

    Parameters
    ----------
    folder : Path
        Made if missing.
    samples : int
        Neurons of the campaign.
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
    folder.mkdir(parents=True, exist_ok=True)
    simulator = Ngspice()  # before any work: a missing program is known at once
    technology = Technology.load("ideal")
    data = datasets.load("digits")

    with progress("1 train: steps") as tick:
        relu = build(ARCH, data.features, data.classes, seed, torch.float64)
        recipe = training.Recipe(
            epochs=training.least_epochs(training.Recipe(), len(data.x_train)), weight_decay=1e-4, seed=seed
        )
        training.train(relu, data, recipe, progress=tick)
        score = training.accuracy(relu, data.x_test, data.y_test)
    _json(folder / "relu.json", {"accuracy": score, "arch": "64-32-10", "seed": seed})
    metadata = {"data": "digits", "arch": ARCH, "technology": "ideal", "reference_accuracy": score}
    net = convert(relu, data, technology=technology, metadata=metadata)
    net.save(folder / "net.pt")
    same, error = agreement(net, relu, data.x_test)
    _json(
        folder / "net.json",
        {
            "accuracy": training.accuracy(net, data.x_test, data.y_test),
            "agreement": same,
            "logits_relative_error": error,
            "spikes_per_neuron": net.spikes_per_neuron(data.x_test),
            "windows": net.windows,
            "operating_points": [json.loads(p.to_json()) for p in net.points],
        },
    )
    err.print(f"  TTFS network = ReLU network on {100 * same:.0f} % of the test images")

    x = data.x_test[:1].double().numpy()
    write_decks(
        "net.pt", net.to_circuit(), x, points=net.points, technology="ideal", chip=0,
        out=str(folder / "netlist"), seed=seed,
    )  # fmt: skip
    with progress("2 characterize: samples in ngspice") as tick:
        plan = Campaign.characterize(technology, samples, seed)
        dataset = plan.run(folder / "characterization.zarr", workers=workers, progress=tick)
    with progress("3 fit: noise model") as tick:
        tick(0, 1)
        noise = NoiseModel.fit(dataset, seed)
        noise.save(folder / "noise_model.json")
        tick(1, 1)
    err.print(noise.summary(), markup=False)

    with progress("4 fine-tune: steps") as tick:
        tuned = finetune(net, data, noise, percentile=PERCENTILE, seed=seed, progress=tick)
    tuned.save(folder / "net_tuned.pt")
    target = max(score - 0.02, 0.0)
    with progress("  control: the same without mismatch") as tick:
        control = finetune(net, data, noise.silent(), percentile=PERCENTILE, seed=seed, progress=tick)
    networks = {
        "1_before": net,
        "2_windows": tighten(net, data.x_train, PERCENTILE),
        "3_control": control,
        "4_tuned": tuned,
    }
    with progress("5 evaluate: chips") as tick:
        for k, (label, candidate) in enumerate(networks.items()):
            # other chips every time: none that fine-tuning or an earlier evaluation has met
            drawn = noise.sample(candidate, chips, seed, first=k * chips)
            judged = evaluation.evaluate(candidate, data, drawn)
            judged["target"] = ((), target, {"units": "1", "long_name": "yield target"})
            judged["relu_accuracy"] = ((), score, {"units": "1", "long_name": "ReLU accuracy"})
            judged.to_netcdf(folder / f"evaluation_{label}.nc")
            tick((k + 1) * chips, len(networks) * chips)
    ledger.energy(tuned, data, noise, chips=chips, seed=seed).to_netcdf(folder / "energy.nc")

    fresh = verification.fresh_chips(tuned, technology, noise, CHIPS, seed + 1_000_003)
    fresh.save(folder / "chips.nc")
    with progress("6 verify: images x 4 fresh chips") as tick:
        verification.verify(
            tuned, data, fresh, noise=noise, images=IMAGES, workers=workers, seed=seed, progress=tick
        ).to_netcdf(folder / "verification.nc")
    _save_waveforms(folder / "waveforms.nc", tuned, fresh, data.x_test[0].numpy(), simulator)
    figures = summary.write(folder)
    page = write(folder, folder / "report.html")
    spent = time.perf_counter() - started
    return figures, _text(figures, page, spent)


def _json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")


def _save_waveforms(
    path: Path, net: TTFSNetwork, chips: Chips, image: np.ndarray, simulator: Ngspice
) -> None:
    """Membranes of a few hidden neurons of one fresh chip, from ngspice."""
    layer, point = net.to_circuit()[0], net.points[0]
    one = chips[0]
    times = encode(image, layer.t_min)
    t, volts, threshold = IdealNeuron(point).waveforms(layer, times, one.layers[0], simulator=simulator)
    delay = net.trace(torch.tensor(image)[None], one.deviations(torch.tensor(image)))[0][0, 0].detach()
    spikes = np.where(delay > 0, layer.t_max - delay.numpy(), np.inf)
    pick = np.argsort(spikes, kind="stable")[:: max(len(spikes) // HIDDEN_SHOWN, 1)][:HIDDEN_SHOWN]
    xr.Dataset(
        {
            "volts": (("time", "neuron"), volts[:, pick], {"units": "V", "long_name": "membrane"}),
            "threshold": ("neuron", threshold[pick], {"units": "V", "long_name": "trip voltage"}),
            "spike_time": ("neuron", spikes[pick], {"units": "tau_c", "long_name": "predicted spike"}),
        },
        {"time": ("time", t, {"units": "tau_c"}), "neuron": pick},
        {
            "schema": WAVEFORM,
            "t_min": layer.t_min,
            "t_max": layer.t_max,
            "operating_point": point.to_json(),
            "package_version": package_version(),
        },
    ).to_netcdf(path)


def _text(figures: dict[str, dict[str, Any]], page: Path, spent: float) -> str:
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
energy               {v["energy_per_inference"]:.3g} J per inference (sources only)
report               {page}   ({spent:.0f} s)"""
