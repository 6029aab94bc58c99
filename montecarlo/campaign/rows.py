r"""Neurons of a layer of a network under test: rows of its weights, its thresholds, what arrives at them.

The same campaign as that of a test neuron, at the layer's own operating point. A pattern is one neuron of the
layer, with inputs of its own, chosen by when they make it fire (`stimulus`). The runs without mismatch have
the same weights and inputs, and a threshold for which the ramp takes a stated time,

.. math:: \theta = Q + s, \qquad s \in \{\text{below two delays}\} \cup \{\text{the window}\}

so that they show both the constants of the equation and what comes earlier of a comparator that is overdriven
when it is switched on. Read-outs have no threshold: theirs are the inputs of the patterns, each once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from circuits.model.layer import Array
from circuits.model.operating_point import OperatingPoint
from circuits.model.shape import OrNever
from montecarlo.campaign.transistor_protocol import TransistorStimuli
from montecarlo.mismatch.seeds import PLAN, generator

EARLY = 2 / 5
"""Share of the runs without mismatch whose ramp crosses within two delays."""
EARLIEST = 0.3
"""Of those, in delays."""


@dataclass(frozen=True)
class Rows:
    """What a plan says of a layer; plain numbers, so that it is hashed and sent whole."""

    layer: int  #: its number in the network
    neurons: tuple[int, ...]  #: (pattern,) their numbers in the layer
    units: int  #: unit devices of W = 1
    most: float  #: largest weight that a switch has room for
    t_min: float  #: length of the input window [tau_c]
    window: float  #: of the firing window, without the delay [tau_c]
    delay: float  #: by which the firing window is longer [tau_c]
    weights: tuple[tuple[float, ...], ...]  #: (pattern, synapse)
    theta: tuple[float, ...]  #: (pattern,)
    input_time: tuple[tuple[tuple[OrNever, ...], ...], ...]  #: (pattern, stimulus, synapse) [tau_c]
    lowest: float  #: lowest threshold that the comparator works at [1]
    network: str = ""  #: fingerprint of the network
    spiking: bool = True  #: False: read-outs, whose potentials are sampled; window, delay and theta are 0

    def stimuli(self, nominal: int, entropy: int, point: OperatingPoint) -> TransistorStimuli:
        """Weights and inputs of all parts of a campaign.

        Parameters
        ----------
        nominal : int
            Runs without mismatch.
        entropy : int
            Seed of the campaign.
        point : OperatingPoint
            Of the layer: thresholds stay in its swing.
        """
        weights, inputs = np.array(self.weights), np.array(self.input_time)
        patterns, count = inputs.shape[:2]
        rng = generator(entropy, PLAN, 12)
        run = np.arange(nominal)
        pattern, stimulus = run % patterns, run // patterns % count
        if self.spiking:
            stimulus = rng.integers(0, count, nominal)
        times, theta = inputs[pattern, stimulus], np.zeros(nominal)
        if self.spiking:
            ramp = charge(weights[pattern], times, self.t_min) + self._ramps(nominal, rng)
            top = float(point.unit_free(point.v_high)) - self.delay
            theta = np.clip(ramp, self.lowest, top)
        return TransistorStimuli(
            label=tuple(f"input_{r}" for r in range(count)),
            input_time=inputs,
            theta=np.array(self.theta),
            weights=weights,
            t_min=self.t_min,
            window=self.window + self.delay,
            nominal_weight=weights[pattern],
            nominal_input_time=times,
            nominal_theta=theta,
        )

    def _ramps(self, nominal: int, rng: np.random.Generator) -> Array:
        """How long the ramps of the runs without mismatch should take, shape (run,) [tau_c]."""
        early = round(EARLY * nominal)
        first = np.linspace(EARLIEST, 2.0, early) * self.delay
        rest = np.linspace(2.0 * self.delay, 0.95 * self.window, nominal - early)
        return rng.permutation(np.concatenate([first, rest]))


def charge(weights: Array, times: Array, t_min: float) -> Array:
    """Charge at t_min of neurons with an input each, shape (neuron,).

    Parameters
    ----------
    weights, times : array, shape (neuron, synapse)
        [1]; [tau_c], inf = silent.
    t_min : float
        [tau_c]
    """
    x = np.where(np.isfinite(times), t_min - times, 0.0)
    return (weights * x).sum(axis=1)
