r"""The plan of a characterization at transistor level: which neurons to draw, and what to ask of each.

=========  =======================================================  =====================================
part       what is simulated                                        what it shows
=========  =======================================================  =====================================
nominal    random inputs and weights, three thresholds, no          systematic terms: threshold scale, delay,
           mismatch                                                 turn-on charge, feed-through
sample     operating points of every mirror and comparator          frozen terms: synapses, slope, threshold
sample     transients of the same neuron under random inputs        the check: spike times, slope, delay,
                                                                    energy by supply
trial      transients with device noise, no mismatch                jitter
=========  =======================================================  =====================================

Weights are whole unit devices; inputs are drawn until no partial sum leaves the swing, and every spike
falls inside the window.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from circuits.benches.neuron import COMPARATORS
from circuits.errors import InputError
from circuits.model.layer import Array
from circuits.model.operating_point import OperatingPoint
from circuits.pdk.technology import TEMPERATURES, Technology
from montecarlo.mismatch.seeds import PLAN, generator

INPUT_WINDOW, WINDOW = 1.0, 2.0
"""Lengths of the two phases [tau_c]."""
THETAS = (1.0, 0.85, 1.15)
"""Thresholds of the nominal runs: they tell the delay from the scale of the threshold."""
CHARGES = (-0.6, 0.6)
"""Potentials at t_min that random inputs may give: the spike falls well inside the window."""
SILENT = 0.2
"""Share of inputs without a spike."""
DRAWS = 20000


@dataclass(frozen=True)
class TransistorPlan:
    """Two plans with the same hash give the same dataset, bit for bit."""

    technology: str
    point: OperatingPoint
    samples: int
    synapses: int = 8
    entropy: int = 0
    patterns: int = 5  #: weight patterns; sample k carries pattern k modulo this
    random: int = 3  #: transients of every sample
    nominal: int = 48  #: runs without mismatch
    trials: int = 40  #: runs with noise
    corner: str = "tt"
    temperature: float = 27.0  #: [degrees C]
    area: float = 1.0  #: gate area of all matched transistors, as a multiple of the technology's
    comparator: str = "ota"
    batch: int = 16  #: samples written at a time: what an interruption can lose

    def __post_init__(self) -> None:
        whole = ("samples", "synapses", "entropy", "patterns", "random", "nominal", "trials", "batch")
        for item in whole:
            least = 0 if item == "entropy" else 1
            value = getattr(self, item)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise InputError(f"campaign: {item} must be a whole number >= {least}, got {value!r}")
        if not 1 / 4 <= self.area <= 4:
            raise InputError(
                f"campaign: the area (size) must lie in 1/4..4, got {self.area!r}: beyond that the matched "
                "transistors load the membrane and the comparator too much, and the cells want another design"
            )
        if self.comparator not in COMPARATORS:
            raise InputError(f"campaign: comparator is one of {COMPARATORS}, got {self.comparator!r}")
        if not TEMPERATURES[0] <= self.temperature <= TEMPERATURES[1]:
            raise InputError(
                f"campaign: temperature {self.temperature!r} is outside {TEMPERATURES} degrees C"
            )

    @property
    def sized(self) -> Technology:
        """The technology, with its matched transistors at this plan's size."""
        return Technology.load(self.technology).resized(self.area)

    @property
    def stimuli(self) -> Stimuli:
        units = Technology.load(self.technology).transistors().units
        return stimuli(
            self.synapses, self.patterns, self.random, self.nominal, self.entropy, units, self.point
        )

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @property
    def hash(self) -> str:
        """Identifies the plan and so the dataset."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Stimuli:
    """Weights and inputs of a plan."""

    weights: Array  #: (pattern, synapse), whole multiples of 1 / units
    input_time: Array  #: (stimulus, synapse) [tau_c]; inf = silent; fits every pattern
    nominal_time: Array  #: (nominal, synapse) [tau_c]
    nominal_theta: Array  #: (nominal,)

    def nominal_weights(self) -> Array:
        """Weights of each nominal run, shape (nominal, synapse): the patterns in turn."""
        return self.weights[np.arange(len(self.nominal_time)) % len(self.weights)]


@lru_cache(maxsize=8)
def stimuli(
    synapses: int, patterns: int, random: int, nominal: int, entropy: int, units: int, point: OperatingPoint
) -> Stimuli:
    """Draw the weights and inputs of a plan.

    Raises
    ------
    InputError
        If the swing is too small for any random input.
    """
    rng = generator(entropy, PLAN, 10)
    most = max(1, round(0.75 * units * min(1.0, np.sqrt(8 / synapses))))
    size = np.rint(np.linspace(1, most, synapses)) / units
    sign = np.where(np.arange(synapses) % 2 == 0, 1.0, -1.0)
    weights = np.stack([rng.permutation(size) * sign for _ in range(patterns)])
    common = _inputs(weights, random, rng, point)
    own = [_inputs(weights[[k % patterns]], 1, rng, point) for k in range(nominal)]
    theta = np.array(THETAS)[np.arange(nominal) // patterns % len(THETAS)]
    return Stimuli(weights, common, np.concatenate(own) if own else common[:0], theta)


def trajectory(weights: Array, input_time: Array) -> Array:
    """Potentials at every input spike and at t_min, shape (spike + 1,): where a path can turn."""
    at = np.append(input_time[np.isfinite(input_time)], INPUT_WINDOW)
    length = np.maximum(at[:, None] - input_time, 0.0)
    return length @ weights


def _inputs(weights: Array, count: int, rng: np.random.Generator, point: OperatingPoint) -> Array:
    """Inputs that suit all the given weights."""
    low, high = (point.unit_free(v) for v in (point.v_low, point.v_high))
    found: list[Array] = []
    for _ in range(DRAWS):
        if len(found) == count:
            return np.stack(found)
        times = rng.uniform(0.0, 0.95 * INPUT_WINDOW, size=(weights.shape[1],))
        times[rng.random(times.shape) < SILENT] = np.inf
        paths = [trajectory(w, times) for w in weights]
        inside = all(0.9 * low <= p.min() and p.max() <= 0.9 * high for p in paths)
        if inside and all(CHARGES[0] <= p[-1] <= CHARGES[1] for p in paths):
            found.append(times)
    raise InputError(
        f"no random inputs of {weights.shape[1]} synapses stay inside {low:.2f}..{high:.2f} units of "
        "potential; lower i_unit or raise c_mem"
    )
