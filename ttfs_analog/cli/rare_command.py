"""What the command `rare` does: the probability that a neuron's spike fails. No torch here."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from circuits.errors import InputError
from circuits.model.coding import decode
from circuits.model.layer import Array
from circuits.model.layer_file import read_layer
from circuits.pdk.technology import Technology
from circuits.simulation import ideal_point
from montecarlo.analysis.importance_sampling import Estimate, Fails, importance, plain
from montecarlo.analysis.spike_failure import bad_spike
from montecarlo.mismatch.seeds import PLAN, generator
from ttfs_analog.cli.console import Result, Tick
from ttfs_analog.cli.law_items import Items, parse_law

STEPS = 10
"""Steps of a usual search: what the progress bar counts on at first."""


def rare_failure(
    layer_file: str,
    technology: str,
    neuron: int,
    earliest: float | None,
    latest: float | None,
    samples: int,
    plain_samples: int,
    level: str,
    workers: int,
    out: str,
    seed: int,
    progress: Tick,
    **law_items: Items,
) -> Result:
    """One neuron of a layer file, by importance sampling and, where asked, by plain Monte Carlo."""
    if earliest is None and latest is None:
        raise InputError("give --latest, --earliest or both: the limits of a good spike, after t_min [tau_c]")
    layer, times = read_layer(layer_file)
    if not 0 <= neuron < layer.n_out:
        raise InputError(f"neuron {neuron} does not exist: the layer has {layer.n_out} (0 is the first)")
    if not layer.spiking:
        raise InputError("read-out neurons do not fire: there is no spike to be late")
    k = slice(neuron, neuron + 1)
    one = dataclasses.replace(layer, weights=layer.weights[k], bias=layer.bias[k], slope=layer.slope[k])
    tech = Technology.load(technology)
    fails, dimensions = bad_spike(
        parse_law(tech, **law_items),
        one,
        times,
        earliest=-math.inf if earliest is None else earliest,
        latest=math.inf if latest is None else latest,
        point=ideal_point(layer, decode(times, layer.t_min)[None, :], tech),
        level=level,
        workers=workers,
    )
    expected = samples + STEPS * max(250, STEPS * dimensions) + plain_samples
    counted = _counted(fails, expected, progress)
    found = importance(counted, dimensions, samples, generator(seed, PLAN, 4))
    result: dict[str, Any] = {
        "path": out,
        "neuron": neuron,
        "limits": [earliest, latest],
        "level": level,
        **_numbers(found),
        "distance_sigma": found.distance,
        "plain_evaluations_needed": found.plain_evaluations,
        "gain": found.gain,
    }
    rows = [
        f"{_text('importance sampling', found)}",
        f"nearest failures {found.distance:.2f} sigma away; plain Monte Carlo would need "
        f"{found.plain_evaluations:.3g} samples for this standard error, {found.gain:.3g} times as many",
    ]
    if plain_samples:
        other = plain(counted, dimensions, plain_samples, generator(seed, PLAN, 5))
        result["plain"] = _numbers(other)
        rows.append(_text("plain Monte Carlo", other))
    progress(1, 1)
    Path(out).write_text(json.dumps(result, indent=1) + "\n")
    return result, "\n".join([*rows, out])


def _counted(fails: Fails, expected: int, progress: Tick) -> Fails:
    """The same question, counting how often it is asked."""
    asked = 0

    def counting(u: Array) -> np.ndarray:
        nonlocal asked
        found = fails(u)
        asked += len(u)
        progress(asked, max(expected, asked))
        return found

    return counting


def _numbers(found: Estimate) -> dict[str, Any]:
    return {
        "probability": found.probability,
        "se": found.se,
        "ci95": [found.low, found.high],
        "evaluations": found.evaluations,
        "failures": found.failures,
        "effective_failures": found.effective,
    }


def _text(name: str, found: Estimate) -> str:
    return (
        f"{name:<20} {found.probability:.4g} +- {found.se:.2g}, 95 % interval [{found.low:.4g}, "
        f"{found.high:.4g}], {found.evaluations} samples, {found.failures} failures"
    )
