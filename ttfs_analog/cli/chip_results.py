"""What `chip`, `evaluate` and `verify` do: chips of a network, on file, in the model and in ngspice."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from circuits import whole_file
from circuits.errors import InputError
from circuits.pdk.technology import Technology
from montecarlo.campaign.schema import save_dataset
from montecarlo.mismatch.law import OFFSETS
from ttfs_analog.cli.console import Result, plain
from ttfs_analog.conversion.mapping import to_relu
from ttfs_analog.data.datasets import Data
from ttfs_analog.evaluation import accuracy as evaluation
from ttfs_analog.evaluation import verification
from ttfs_analog.evaluation.audit import audit as audit_neurons
from ttfs_analog.evaluation.transistor_verification import summarize as summarize_transistors
from ttfs_analog.evaluation.transistor_verification import verify_transistors
from ttfs_analog.network.decision import FIRST_SPIKE, classes
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.noise.chips import Chips
from ttfs_analog.noise.noise_model import Noise, NoiseModel
from ttfs_analog.placement.neurons import placement_of
from ttfs_analog.remedies.on_transistors import inside, verify_remedy
from ttfs_analog.remedies.remedies import Setting
from ttfs_analog.training.training import Progress, accuracy
from ttfs_analog.training.trimming import trimmed

TOLERANCE, KIT_TOLERANCE = 0.01, 0.02
"""Largest spike-time RMS that passes, of a built-in technology and of a kit, in windows of a placed network
[tau_c of ideal sources]."""

AGREEMENT, ENERGY = 0.99, 0.05
"""Of whole transistor chips: least share of equal decisions, largest relative error of their energy."""
STEPS = 460
"""Of a training of thresholds before chips are verified."""


def draw_chip(net: str, noise: str | None, number: int, extrapolate: bool, out: str, seed: int) -> Result:
    """Draw one chip, every device's deviation, for this network, and save it.

    Parameters
    ----------
    net : str
        File of the network.
    noise : str or None
        File of the noise model.
    number : int
        Of the chip under this seed.
    extrapolate : bool
        Allow use outside the noise model's range.
    out : str
        File of the chip.
    seed : int
        Entropy.
    """
    if noise is None:
        raise InputError("--noise names the law that a chip is drawn from; a file .nc is only looked at")
    model = NoiseModel.load(noise)
    model = model.extrapolated() if extrapolate else model
    chips = model.sample(TTFSNetwork.load(net), 1, seed, first=number)
    chips.save(out)
    result, text = contents(chips)
    return {"path": out, **result}, f"{text}\n{out}"


def inspect_chip(file: str) -> Result:
    """Where the chips of a file come from, and the spread of what was really drawn."""
    result, text = contents(Chips.load(file))
    return {"path": file, **result}, text


def contents(chips: Chips) -> Result:
    """Entropy, numbers, law, layers, and sigma of every term as drawn (over all layers and chips)."""
    drawn: dict[str, float] = {}
    for term in asdict(chips.layers[0]):
        values = np.concatenate([getattr(layer, term).ravel() for layer in chips.layers])
        values = values if term in OFFSETS else np.log1p(values)
        drawn[term] = float(values.std())
    law: dict[str, Any] | list[dict[str, Any]] = json.loads(chips.law or "{}")
    shapes = [list(layer.synapse.shape[1:]) for layer in chips.layers]
    result = {
        "entropy": chips.entropy,
        "numbers": list(chips.numbers),
        "law": law,
        "layers": shapes,
        "n_devices": sum(n * (m + 3) for n, m in shapes),
        "drawn_std": drawn,
    }
    rows = [
        f"chip {', '.join(map(str, chips.numbers))} of entropy {chips.entropy}: "
        f"{result['n_devices']} devices, layers {' '.join(f'{n}x{m}' for n, m in shapes)}",
        *_laws(law),
        "drawn  " + ", ".join(f"{k} {v:.4g}" for k, v in drawn.items()),
    ]
    return result, "\n".join(rows)


def _laws(law: dict[str, Any] | list[dict[str, Any]]) -> list[str]:
    """Sigmas of the law of all layers, or a line a layer."""
    several = enumerate(law) if isinstance(law, list) else [("", law)]
    return [
        f"law {n}".strip() + "  " + ", ".join(f"{k} {v:.4g}" for k, v in own.items() if isinstance(v, float))
        for n, own in several
    ]


def chips_of(net: TTFSNetwork, file: str | Path) -> Chips:
    """Chips from a file.

    Parameters
    ----------
    net : TTFSNetwork
    file : str or Path

    Raises
    ------
    InputError
        If they are chips of a network of another shape.
    """
    chips = Chips.load(file)
    try:
        chips.require_fit(net)
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    return chips


def evaluate_chips(
    net: TTFSNetwork,
    data: Data,
    noise: Noise | None,
    *,
    chips: int,
    chips_from: str | None = None,
    target: float | None,
    trim: bool = False,
    bits: int | None = None,
    most: int | None = None,
    out: str,
    seed: int,
    progress: Progress,
) -> Result:
    """Accuracy over chips: from a file, or drawn from a noise model.

    Parameters
    ----------
    net : TTFSNetwork
    data : Data
        Its test part counts.
    noise : NoiseModel or LayeredNoise or None
        Draws the chips where `chips_from` is None.
    chips : int
        How many are drawn.
    chips_from : str, optional
        File of chips.
    target : float or None
        Yield target; None: the reference accuracy less 0.02.
    trim : bool
        Trim the thresholds of every chip first (`ttfs_analog.training.trimming`).
    bits, most : int, optional
        Of the DACs; None: any value. How many neurons have one; None: all.
    out : str
        File of the dataset.
    seed : int
        Entropy of the chips.
    progress : callable
        (done, total) of the chips.
    """
    if chips_from is not None:
        drawn = chips_of(net, chips_from)
    elif noise is not None:
        drawn = noise.sample(net, chips, seed)
    else:
        raise InputError("chips come from a noise model or from a file")
    chips = len(drawn)
    if trim:
        drawn = trimmed(net, drawn, data.x_train, bits=bits, most=most, progress=progress)
    elif bits is not None or most is not None:
        raise InputError("--bits and --most are those of a trim: give --trim, too")
    ideal = all(c.ideal for c in drawn.constants)
    nominal = accuracy(net, data.x_test, data.y_test) if ideal else 0.0
    dataset = evaluation.evaluate(net, data, drawn, progress=progress)
    if not ideal:
        nominal = float((dataset["nominal"] == dataset["label"]).mean())
    reference = float(net.metadata.get("reference_accuracy", nominal))
    target = max(reference - 0.02, 0.0) if target is None else evaluation.check_target(target)
    dataset.attrs["trimmed"] = int(trim)
    dataset["target"] = ((), target, {"units": "1", "long_name": "yield target"})
    save_dataset(dataset, out)
    figures = evaluation.summarize(dataset, target)
    with torch.no_grad():
        twin = to_relu(net)
        relu = torch.cat([classes(twin(x), net.read_out) for x in data.x_test.split(500)]).cpu().numpy()
    same = float((dataset["predicted"].values == relu).mean())
    result = {"path": out, **figures, "nominal_accuracy": nominal, "agreement_with_relu": same}
    a, y = figures["accuracy"], figures["yield"]
    low, high = (100 * v for v in y["ci95"])
    silent = net.read_out == FIRST_SPIKE
    return result, (
        f"accuracy {100 * a['mean']:.2f} %, std {100 * a['std']:.2f}, over {chips} chip{'s' * (chips > 1)} "
        f"(worst {100 * a['min']:.2f}, without mismatch {100 * nominal:.2f})\n"
        f"yield at {100 * target:.1f} %: {100 * y['value']:.1f} % [{low:.1f}, {high:.1f}]\n"
        + f"rejected, for no output fired: {100 * figures['rejected']:.2f} %\n" * silent
        + out
    )


def verify_chips(
    net: TTFSNetwork,
    data: Data,
    noise: Noise,
    *,
    chips: int,
    chips_from: str | None = None,
    images: int,
    technology: str | None,
    audit: int | None,
    remedy: str | None,
    patterns: int,
    error: float,
    tolerance: float | None,
    workers: int,
    out: str,
    seed: int,
    progress: Progress,
) -> Result:
    """The model against ngspice on fresh chips of ideal sources.

    Parameters
    ----------
    net : TTFSNetwork
    data : Data
        Its test part counts.
    noise : NoiseModel or LayeredNoise
    chips : int
        How many are drawn from the technology where `chips_from` is None.
    chips_from : str, optional
        File of chips.
    images : int
        The first so many test images.
    technology : str, optional
    audit, remedy, patterns, error : optional
        Of transistors only.
    tolerance : float, optional
        Largest spike-time RMS that passes [tau_c].
    workers : int
        ngspice processes at a time.
    out : str
        File of the dataset.
    seed : int
        Entropy of the chips.
    progress : callable
        (done, total) of the images.
    """
    technology = technology or "ideal"
    if audit is not None or remedy is not None:
        raise InputError("--audit and --remedy take a network that is placed on transistors ('place')")
    if Technology.load(technology).process:
        placement_of(net)  # which refuses a network that is on none
    if chips_from is None:
        drawn = verification.fresh_chips(net, Technology.load(technology), noise, chips, seed)
    else:
        drawn = chips_of(net, chips_from)
    dataset = verification.verify(
        net,
        data,
        drawn,
        noise=noise,
        technology=technology,
        images=images,
        workers=workers,
        seed=seed,
        progress=progress,
    )
    save_dataset(dataset, out)
    figures = verification.summarize(dataset, tolerance=TOLERANCE if tolerance is None else tolerance)
    text = "\n".join(f"{k:<24} {v}" for k, v in figures.items())
    return {"path": out, **figures}, f"{text}\n{out}"


def verify_placed(
    net: TTFSNetwork,
    data: Data,
    noise: Noise,
    *,
    chips: int,
    chips_from: str | None,
    images: int,
    technology: str | None,
    audit: int | None,
    remedy: str | None,
    patterns: int,
    error: float,
    tolerance: float | None,
    workers: int,
    out: str,
    seed: int,
    progress: Progress,
) -> Result:
    """The model against ngspice on fresh transistor chips.

    Parameters
    ----------
    net, data, noise, chips, chips_from, images, technology, tolerance, workers, out, seed, progress
        As of `verify_chips`; chips are drawn from the matching of the process.
    audit : int, optional
        Neurons to ask instead of whole chips.
    remedy : str, optional
        What every chip is treated with first (`ttfs_analog.remedies.on_transistors`).
    patterns, error
        Of its calibration.
    """
    about = placement_of(net)
    if technology not in (None, about["technology"]):
        raise InputError(f"--technology {technology}: the network is placed on {about['technology']}")
    if chips_from is not None:
        raise InputError("--chips-from: chips of transistors are drawn device by device, from --seed")
    if tolerance is None:  # rescaling a layer rescales its window and its residual alike
        kit = Technology.load(about["technology"]).environment
        tolerance = (KIT_TOLERANCE if kit else TOLERANCE) * max(net.windows)
    options: dict[str, Any] = {"workers": workers, "seed": seed, "progress": progress}
    figures: dict[str, Any]
    promise: dict[str, Any] = {}
    if audit and remedy:
        raise InputError("--audit asks single neurons, --remedy treats whole chips: give one of them")
    if audit:
        figures = audit_neurons(net, data, noise, audit, **options)
        out = str(Path(out).with_suffix(".json"))
        whole_file.write(out, json.dumps(plain(figures), indent=1) + "\n")
    elif remedy:
        seen = dataclasses.replace(data, x_test=data.x_test[:images], y_test=data.y_test[:images])
        setting = Setting(seen, noise, STEPS, patterns=patterns, error=error, seed=seed)
        dataset, promise = verify_remedy(
            net, setting, remedy, chips=chips, workers=workers, progress=progress
        )
        dataset.attrs["remedy"] = remedy
        save_dataset(dataset, out)
        figures = summarize_transistors(dataset) | promise
    else:
        dataset = verify_transistors(net, data, noise, chips=chips, images=images, **options)
        save_dataset(dataset, out)
        figures = summarize_transistors(dataset)
    checks = [
        (f"spike-time RMS above {tolerance:g}", figures["spike_time_rms_tau_c"] <= tolerance),
        (f"class agreement below {AGREEMENT:g}", figures.get("class_agreement", 1.0) >= AGREEMENT),
        (f"energy off by more than {ENERGY:g}", abs(figures.get("energy_ratio", 1.0) - 1.0) <= ENERGY),
    ]
    if promise:
        low, high = (100 * v for v in promise["accuracy_predicted_ci95"])
        words = f"accuracy in ngspice outside of the predicted {low:.1f} .. {high:.1f} %"
        checks.append((words, inside(figures["accuracy_spice"], promise)))
    failed = [words for words, holds in checks if not holds]
    figures |= {"failed_checks": failed, "passed": not failed}
    text = "\n".join(f"{k:<34} {_short(v)}" for k, v in figures.items())
    return {"path": out, **figures}, f"{text}\n{out}"


def _short(value: Any) -> str:
    """A figure for people: four digits."""
    if isinstance(value, dict):
        return ", ".join(f"{k} {_short(v)}" for k, v in value.items())
    if isinstance(value, list):
        return " ".join(map(_short, value)) or "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
