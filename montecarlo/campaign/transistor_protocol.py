r"""What is asked of neurons of transistors: which weights, inputs and thresholds.

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

from dataclasses import dataclass

import numpy as np

from circuits.errors import InputError
from circuits.model.layer import Array
from circuits.model.operating_point import OperatingPoint
from montecarlo.campaign.protocol import Stimuli
from montecarlo.campaign.schema import Values
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


@dataclass(frozen=True, kw_only=True)
class TransistorStimuli(Stimuli):
    """Weights, whole multiples of 1 / units, and inputs that fit every pattern; those of the nominal runs.

    Of neurons of a layer, inputs are (pattern, stimulus, synapse) and thresholds (pattern,).
    """

    nominal_weight: Array  #: (nominal, synapse): the patterns in turn
    nominal_input_time: Array  #: (nominal, synapse) [tau_c]
    nominal_theta: Array  #: (nominal,)

    def of(self, pattern: int) -> tuple[Array, Array]:
        """Input times (stimulus, synapse) [tau_c] and thresholds (stimulus,) of a pattern."""
        if self.input_time.ndim == 2:
            return self.input_time, self.theta
        return self.input_time[pattern], np.full(self.input_time.shape[1], self.theta[pattern])

    @property
    def inputs(self) -> Values:
        """The same, and those of the nominal runs if there are any."""
        names = ("nominal_weight", "nominal_input_time", "nominal_theta") if len(self.nominal_theta) else ()
        common = super().inputs
        if self.input_time.ndim == 3:
            common = {
                "weight": self.weights,
                "pattern_input_time": self.input_time,
                "pattern_theta": self.theta,
            }
        return common | {name: getattr(self, name) for name in names}


def stimuli(
    synapses: int, patterns: int, random: int, nominal: int, entropy: int, units: int, point: OperatingPoint
) -> TransistorStimuli:
    """Draw the weights and inputs of a plan.

    Parameters
    ----------
    synapses, patterns, random, nominal : int
        How many of each; `random` inputs are common to all samples.
    entropy : int
        Seed of the campaign.
    units : int
        Unit devices of W = 1.
    point : OperatingPoint
        Its swing bounds every partial sum.

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
    single = [_inputs(weights[[k % patterns]], 1, rng, point) for k in range(nominal)]
    runs = np.arange(nominal)
    return TransistorStimuli(
        label=tuple(f"random_{r}" for r in range(random)),
        input_time=common,
        theta=np.ones(random),
        weights=weights,
        t_min=INPUT_WINDOW,
        window=WINDOW,
        nominal_weight=weights[runs % patterns],
        nominal_input_time=np.concatenate([common[:0], *single]),
        nominal_theta=np.array(THETAS)[runs // patterns % len(THETAS)],
    )


def trajectory(weights: Array, input_time: Array) -> Array:
    """Potentials at every input spike and at t_min, shape (spike + 1,): where a path can turn.

    Parameters
    ----------
    weights, input_time : array, shape (synapse,)
        Unit-free; [tau_c], inf = silent.
    """
    at = np.append(input_time[np.isfinite(input_time)], INPUT_WINDOW)
    length = np.maximum(at[:, None] - input_time, 0.0)
    return length @ weights


def _inputs(weights: Array, count: int, rng: np.random.Generator, point: OperatingPoint) -> Array:
    """Inputs that suit all the given weights."""
    low, high = (point.unit_free(v) for v in (point.v_low, point.v_high))
    suitable: list[Array] = []
    for _ in range(DRAWS):
        if len(suitable) == count:
            return np.stack(suitable)
        times = rng.uniform(0.0, 0.95 * INPUT_WINDOW, size=(weights.shape[1],))
        times[rng.random(times.shape) < SILENT] = np.inf
        paths = [trajectory(w, times) for w in weights]
        inside = all(0.9 * low <= p.min() and p.max() <= 0.9 * high for p in paths)
        if inside and all(CHARGES[0] <= p[-1] <= CHARGES[1] for p in paths):
            suitable.append(times)
    raise InputError(
        f"no random inputs of {weights.shape[1]} synapses stay inside {low:.2f}..{high:.2f} units of "
        "potential; lower i_unit or raise c_mem"
    )
