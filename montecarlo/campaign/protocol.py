r"""What is asked of every sample of an ideal neuron, so that each of its devices can be told apart.

A spike time alone only shows ratios of currents to the slope current. One perfect test current fixes
the scale; two thresholds separate slope from offset; one stimulus per synapse shows its current:

=============  =======================================  ==========================
stimulus       what flows                               what it shows
=============  =======================================  ==========================
reference      test current instead of the slope source  capacitance
ramp_low       slope source, low threshold               slope and offset,
ramp_high      slope source, high threshold              together
synapse_j      input j alone, at the start of the window current of synapse j
sum_k          inputs k, k + G, ... likewise             their sum, of wide neurons
random_r       all inputs at random times                held out: tests the model
=============  =======================================  ==========================

One stimulus a synapse costs as the square of their number. Neurons with more than ONE_BY_ONE synapses are
asked for SUMS sums instead, which together hold every synapse once and have one sign each,

.. math:: \sum_{j\,\equiv\,k \bmod G} W_j (1 + e_j)

Sizes are in random order, so these are random sums. They tell the sigmas of independent deviations, not the
deviation of each synapse (`montecarlo.extraction.from_spike_times`).

Samples carry one of several weight patterns; the last pattern is held out too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from circuits.model.layer import Array, Layer
from montecarlo.campaign.schema import Values
from montecarlo.mismatch.seeds import PLAN, generator

T_MIN, WINDOW = 1.0, 20.0
"""The window is far longer than needed, so that slow neurons are not lost to the statistics."""
THETA_LOW, THETA_HIGH = 2.0, 4.0
"""Thresholds in units of potential: random patterns sum to about +-1, so nearly all fire inside."""
LEAST, MOST = 2.0, 10.0
"""Thresholds that can be asked for: random patterns stay below, slow neurons fire inside the window."""

ONE_BY_ONE = 512
"""Synapses that are asked one by one: 256 samples take 10 s then, and four times as long at twice as many."""
SUMS = 256
"""Sums that are asked of wider neurons; an even number, so that each has one sign."""
WIDEST = 4096
"""Synapses of a neuron: at 10,000 random input times lie too close for ngspice to meet t_min."""


@dataclass(frozen=True)
class Stimuli:
    """All input patterns of a campaign, and the weight patterns that samples carry."""

    label: tuple[str, ...]  #: (stimulus,)
    input_time: Array  #: (stimulus, synapse) [tau_c]; inf = silent
    theta: Array  #: (stimulus,) threshold
    weights: Array  #: (pattern, synapse)
    t_min: float = T_MIN  #: end of the input window [tau_c]
    window: float = WINDOW  #: length of the firing window [tau_c]

    @property
    def inputs(self) -> Values:
        """What a campaign is asked, as its dataset has it: values of `montecarlo.campaign.schema.INPUTS`."""
        return {"weight": self.weights, "input_time": self.input_time, "theta": self.theta}

    def layer(self, stimulus: int, samples: NDArray[np.integer]) -> Layer:
        """A layer whose neuron k is sample samples[k], with that sample's weights.

        Parameters
        ----------
        stimulus : int
            Its threshold.
        samples : array of int, shape (n,)
        """
        weights = self.weights[samples % len(self.weights)]
        bias = np.full(len(samples), self.window - self.theta[stimulus])
        return Layer(weights, bias, t_min=self.t_min, t_max=self.t_min + self.window)


def stimuli(
    synapses: int, patterns: int, random: int, entropy: int, threshold: float = THETA_HIGH
) -> Stimuli:
    """The protocol for neurons with a number of synapses.

    Parameters
    ----------
    synapses : int
        Even numbers are sources (W > 0), odd ones sinks; |W| is spread evenly over 0.2..1, in an
        order that differs from pattern to pattern, and scaled so that random inputs sum to about 1.
    patterns : int
        Weight patterns; sample k carries pattern k modulo this.
    random : int
        Held-out stimuli with random input times, one input in five silent.
    entropy : int
        Seed of the campaign.
    threshold : float
        In units of potential; `ramp_low` has half of it.
    """
    rng = generator(entropy, PLAN, 0)
    size = np.linspace(0.2, 1.0, synapses) if synapses > 1 else np.ones(1)
    size = size * min(1.0, np.sqrt(8 / synapses))
    sign = np.where(np.arange(synapses) % 2 == 0, 1.0, -1.0)
    weights = np.stack([rng.permutation(size) * sign for _ in range(patterns)])
    silent = np.full(synapses, np.inf)
    one_by_one = synapses <= ONE_BY_ONE
    number = np.arange(synapses if one_by_one else SUMS)
    some = np.where(np.arange(synapses) % len(number) == number[:, None], 0.0, np.inf)
    times = rng.uniform(0.0, T_MIN, (random, synapses))
    times[rng.random((random, synapses)) < 0.2] = np.inf
    label = ["reference", "ramp_low", "ramp_high"]
    label += [f"{'synapse' if one_by_one else 'sum'}_{k}" for k in number]
    label += [f"random_{r}" for r in range(random)]
    theta = np.full(len(label), float(threshold))
    theta[1] = threshold * THETA_LOW / THETA_HIGH
    return Stimuli(tuple(label), np.vstack([silent, silent, silent, some, times]), theta, weights)
