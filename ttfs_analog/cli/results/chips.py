"""What `chip` and `evaluate` do: chips of a network, on file and in the model."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from circuits import whole_file
from circuits.errors import InputError
from montecarlo.campaign.schema import save_dataset
from montecarlo.mismatch.law import OFFSETS
from montecarlo.plots.drawing import Drawing
from ttfs_analog.cli.console import Drawn, Result
from ttfs_analog.conversion.mapping import to_relu
from ttfs_analog.data.datasets import Data
from ttfs_analog.evaluation import accuracy as evaluation
from ttfs_analog.network.decision import FIRST_SPIKE, classes
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.noise.chips import Chips
from ttfs_analog.noise.lot import Lot
from ttfs_analog.noise.noise_model import Noise, NoiseModel
from ttfs_analog.training.training import Progress, accuracy
from ttfs_analog.training.trimming import shifts

if TYPE_CHECKING:
    from montecarlo.plots.style import Figure


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
    plot: str | None = None,
    out: str,
    seed: int,
    progress: Progress,
) -> Drawn:
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
    plot : str, optional
        Figure to draw: the accuracy of every chip.
    out : str
        File of the dataset; a table with one row a chip lies beside it (.csv).
    seed : int
        Entropy of the chips.
    progress : callable
        (done, total) of the chips.
    """
    drawn: Chips | Lot
    if chips_from is not None:
        drawn = chips_of(net, chips_from)
    elif noise is not None:
        drawn = Lot.of(noise, net, chips, seed)
    else:
        raise InputError("chips come from a noise model or from a file")
    chips = len(drawn)
    if trim:
        drawn = drawn.moved(shifts(net, drawn, data.x_train, bits=bits, most=most, progress=progress))
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
    rows = Path(out).with_suffix(".csv")
    whole_file.write(rows, evaluation.table(dataset))
    figures = evaluation.summarize(dataset, target)
    with torch.no_grad():
        twin = to_relu(net)
        relu = torch.cat([classes(twin(x), net.read_out) for x in data.x_test.split(500)]).cpu().numpy()
    same = float((dataset["predicted"].values == relu).mean())
    result = {
        "path": out, "table": str(rows), **figures, "nominal_accuracy": nominal, "agreement_with_relu": same
    }  # fmt: skip
    drawings = []
    if plot:
        values, good = dataset["accuracy"].values, target
        drawings.append(Drawing((Path(plot),), lambda: _strip(values, reference, good)))
    a, y = figures["accuracy"], figures["yield"]
    low, high = (100 * v for v in y["ci95"])
    silent = net.read_out == FIRST_SPIKE
    text = (
        f"accuracy {100 * a['mean']:.2f} %, std {100 * a['std']:.2f}, over {chips} chip{'s' * (chips > 1)} "
        f"(worst {100 * a['min']:.2f}, without mismatch {100 * nominal:.2f})\n"
        f"yield at {100 * target:.1f} %: {100 * y['value']:.1f} % [{low:.1f}, {high:.1f}]\n"
        + f"rejected, for no output fired: {100 * figures['rejected']:.2f} %\n" * silent
        + f"{rows}\n{out}"
    )
    return result, text, drawings


def _strip(accuracy: np.ndarray, reference: float, target: float) -> Figure:
    from montecarlo.plots.plotting import accuracies  # matplotlib loads only here

    return accuracies({"": accuracy}, reference, target)
