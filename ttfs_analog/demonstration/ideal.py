"""The loop with ideal sources: trained, mapped exactly, characterized, fine-tuned, taken back to ngspice."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from circuits import whole_file
from circuits.ideal.ideal_layer import IdealNeuron
from circuits.model.coding import encode
from circuits.model.layer import Array
from circuits.model.operating_point import OperatingPoint
from circuits.pdk.technology import Technology
from circuits.spice.ngspice import Ngspice
from montecarlo.campaign.campaign import Campaign
from montecarlo.campaign.schema import package_version, save_dataset
from ttfs_analog.conversion.mapping import agreement, convert
from ttfs_analog.data import datasets
from ttfs_analog.evaluation import accuracy as evaluation
from ttfs_analog.evaluation import energy as ledger
from ttfs_analog.evaluation import verification
from ttfs_analog.evaluation.transistor_report import WAVEFORM
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.network.windows import tighten
from ttfs_analog.noise.chips import Chips
from ttfs_analog.noise.noise_model import Noise, NoiseModel
from ttfs_analog.training import training
from ttfs_analog.training.architectures import build
from ttfs_analog.training.finetuning import finetune

Stage = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]
"""A progress bar by its label; inside, a callable (done, total)."""

ARCH, HIDDEN_SHOWN = "fc-32", 6
CHIPS, IMAGES = 4, 25
"""Fresh chips and test images that go back to ngspice."""
LOSS = 0.02
"""Accuracy below that of the ReLU network that a chip may have and counts as good."""
PERCENTILE = 99.5


def run_ideal(
    folder: Path,
    *,
    samples: int,
    chips: int,
    workers: int,
    seed: int,
    stage: Stage,
    say: Callable[[str], None],
) -> tuple[TTFSNetwork, datasets.Data]:
    """Run every stage; files go into `folder`.

    Parameters
    ----------
    folder : Path
        Must exist.
    samples : int
        Neurons of the campaign.
    chips : int
        That networks are judged on.
    workers : int
        ngspice processes at a time.
    seed : int
        Of everything that is drawn.
    stage : callable
        Progress bars.
    say : callable
        Prints a line for people.

    Returns
    -------
    network, data
        The mapped network, before fine-tuning, and the digits.
    """
    simulator, technology = Ngspice(), Technology.load("ideal")
    data = datasets.load("digits")

    with stage("1 train: steps") as tick:
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
    say(f"  TTFS network = ReLU network on {100 * same:.0f} % of the test images")

    with stage("2 characterize: samples in ngspice") as tick:
        plan = Campaign.characterize(technology, samples, seed)
        dataset = plan.run(folder / "characterization.zarr", workers=workers, progress=tick)
    with stage("3 fit: noise model") as tick:
        tick(0, 1)
        noise = NoiseModel.fit(dataset, seed)
        noise.save(folder / "noise_model.json")
        tick(1, 1)
    say(noise.summary())

    with stage("4 fine-tune: steps") as tick:
        tuned = finetune(net, data, noise, percentile=PERCENTILE, seed=seed, progress=tick)
    tuned.save(folder / "net_tuned.pt")
    with stage("  control: the same without mismatch") as tick:
        control = finetune(net, data, noise.silent(), percentile=PERCENTILE, seed=seed, progress=tick)
    networks = {
        "1_before": net,
        "2_windows": tighten(net, data.x_train, PERCENTILE),
        "3_control": control,
        "4_tuned": tuned,
    }
    with stage("5 evaluate: chips") as tick:
        judge(networks, data, noise, folder, chips=chips, seed=seed, progress=tick)
    save_dataset(ledger.energy(tuned, data, noise, chips=chips, seed=seed), folder / "energy.nc")

    fresh = verification.fresh_chips(tuned, technology, noise, CHIPS, seed + 1_000_003)
    fresh.save(folder / "chips.nc")
    with stage("6 verify: images x 4 fresh chips") as tick:
        verified = verification.verify(
            tuned, data, fresh, noise=noise, images=IMAGES, workers=workers, seed=seed, progress=tick
        )
    save_dataset(verified, folder / "verification.nc")
    _save_waveforms(folder / "waveforms.nc", tuned, fresh, data.x_test[0].numpy(), simulator)
    return net, data


def judge(
    networks: dict[str, TTFSNetwork],
    data: datasets.Data,
    noise: Noise,
    folder: Path,
    *,
    chips: int,
    seed: int,
    progress: Callable[[int, int], None],
) -> None:
    """Accuracy of networks over chips, a file each: other chips every time, none that one has met before.

    Parameters
    ----------
    networks : dict
        By the name in the file's.
    data : Data
        Its test part counts.
    noise : NoiseModel or LayeredNoise
        Draws the chips.
    folder : Path
        Of the files.
    chips, seed : int
        How many a network, and their entropy.
    progress : callable
        (done, total) of the chips.
    """
    for k, (label, net) in enumerate(networks.items()):
        score = float(net.metadata["reference_accuracy"])
        judged = evaluation.evaluate(net, data, noise.sample(net, chips, seed, first=k * chips))
        target = max(score - LOSS, 0.0)
        judged["target"] = ((), target, {"units": "1", "long_name": "yield target"})
        judged["relu_accuracy"] = ((), score, {"units": "1", "long_name": "ReLU accuracy"})
        save_dataset(judged, folder / f"evaluation_{label}.nc")
        progress((k + 1) * chips, len(networks) * chips)


def _json(path: Path, content: dict[str, Any]) -> None:
    whole_file.write(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


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
    windows = (layer.t_min, layer.t_max)
    save_dataset(waveform_dataset(t, volts, threshold, spikes, windows, point), path)


def waveform_dataset(
    t: Array,
    volts: Array,
    threshold: Array,
    spikes: Array,
    windows: tuple[float, float],
    point: OperatingPoint,
) -> xr.Dataset:
    """A few neurons of a layer, from the first to spike to the last.

    Parameters
    ----------
    t : array, shape (n,)
        [tau_c].
    volts : array, shape (n, neuron)
        Membranes [V].
    threshold, spikes : array, shape (neuron,)
        Trip voltages [V], and predicted spikes [tau_c]; inf = silent.
    windows : (float, float)
        Ends of the input and of the firing window [tau_c].
    point : OperatingPoint
        Of the layer.
    """
    pick = np.argsort(spikes, kind="stable")[:: max(len(spikes) // HIDDEN_SHOWN, 1)][:HIDDEN_SHOWN]
    return xr.Dataset(
        {
            "volts": (("time", "neuron"), volts[:, pick], {"units": "V", "long_name": "membrane"}),
            "threshold": ("neuron", threshold[pick], {"units": "V", "long_name": "trip voltage"}),
            "spike_time": ("neuron", spikes[pick], {"units": "tau_c", "long_name": "predicted spike"}),
        },
        {"time": ("time", t, {"units": "tau_c"}), "neuron": pick},
        {
            "schema": WAVEFORM,
            "t_min": windows[0],
            "t_max": windows[1],
            "operating_point": point.to_json(),
            "package_version": package_version(),
        },
    )
