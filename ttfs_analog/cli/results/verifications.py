"""What `verify` does: the model against ngspice, on chips of ideal sources and on transistors."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from circuits import whole_file
from circuits.errors import InputError
from circuits.pdk.technology import Technology
from montecarlo.campaign.schema import save_dataset
from ttfs_analog.cli.console import Result, plain
from ttfs_analog.cli.results.chips import chips_of
from ttfs_analog.data.datasets import Data
from ttfs_analog.evaluation import verification
from ttfs_analog.evaluation.audit import audit as audit_neurons
from ttfs_analog.evaluation.transistor_summary import summarize as summarize_transistors
from ttfs_analog.evaluation.transistor_verification import verify_transistors
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.noise.noise_model import Noise
from ttfs_analog.placement.neurons import placement_of
from ttfs_analog.remedies.on_transistors import inside, verify_remedy
from ttfs_analog.remedies.remedies import Setting
from ttfs_analog.training.training import Progress

TOLERANCE, KIT_TOLERANCE = 0.01, 0.02
"""Largest spike-time RMS that passes, of a built-in technology and of a kit, in windows of a placed network
[tau_c of ideal sources]."""

AGREEMENT, ENERGY = 0.99, 0.05
"""Of whole transistor chips: least share of equal decisions, largest relative error of their energy."""
STEPS = 460
"""Of a training of thresholds before chips are verified."""


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
