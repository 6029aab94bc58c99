r"""The alpha form: a constant current alpha from the start, synapses that stay on, a forced last spike.

.. math:: \tau_c \dot V_i = \alpha_i + \sum_j J_{ij} H(t - t_j), \qquad
          J_{ij} = \frac{\alpha_i \bar w_{ij}}{1 - \sum_k \bar w_{ik}}

.. math:: \vartheta_i = \alpha_i (t_{max} - t_{min}^{in}) + \sum_j J_{ij} (t_{max} - t_{min})
          - (\alpha_i + \sum_j J_{ij}) \bar b_i

An input that has not fired by t_min is forced to fire there; a neuron silent at t_max is forced to fire
at t_max. Once all inputs are on, the slope is B = alpha + sum J > 0.

The threshold is held high until t_min, unless the slope can never be negative: then it may stay
constant. J is proportional to alpha, so no alpha makes slopes positive; the condition is
sum of positive weights < 1 (`positive_slope`), reached by rescaling the ReLU network.

Source: Stanojevic et al., Neural Networks 2023 (A. Stanojevic, thesis, EPFL 2023, eqs. 2.2-2.6,
2.25-2.28).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from circuits.errors import InputError
from circuits.ideal.stimulus import place
from circuits.ideal.switched_sources import Cell, Grid, Sources
from circuits.model.layer import Array, LayerMismatch
from circuits.model.operating_point import OperatingPoint


@dataclass(frozen=True)
class AlphaLayer:
    """A layer in the alpha form; times in tau_c from the start of the input window."""

    weights: Array  #: J, (n_out, n_in)
    bias: Array  #: ReLU bias b of the scaled network, (n_out,)
    alpha: Array  #: (n_out,), > 0
    t_min: float
    t_max: float
    blocked: bool = True  #: threshold held high until t_min

    def __post_init__(self) -> None:
        if np.any(self.alpha <= 0) or np.any(self.slope <= 0):
            raise InputError(
                "alpha form: alpha and alpha + sum J must be > 0 (the sum of each neuron's ReLU weights must "
                f"be below 1); smallest slope {float(self.slope.min()):.3g}: rescale the weights"
            )
        if not self.t_max > self.t_min > 0:
            raise InputError(f"need t_max > t_min > 0, got {self.t_max} and {self.t_min}")

    @classmethod
    def from_relu(
        cls,
        w: Array,
        b: Array,
        t_min: float,
        t_max: float,
        *,
        alpha: Array | float = 1.0,
        blocked: bool = True,
    ) -> AlphaLayer:
        """Weights of eq. 2.28 from those of a ReLU layer.

        Parameters
        ----------
        w, b : array, shape (n_out, n_in), (n_out,)
            ReLU weights, whose sum is below 1 in every neuron, and biases [tau_c].
        t_min, t_max : start and end of the firing window [tau_c]
        alpha : float or array, shape (n_out,), constant current
        blocked : whether the threshold is held high until t_min

        Raises
        ------
        InputError
            If the weights of a neuron sum to 1 or more.
        """
        w, b = np.asarray(w, float), np.asarray(b, float)
        alpha = np.broadcast_to(np.asarray(alpha, float), b.shape)
        room = 1.0 - w.sum(1)
        if np.any(room <= 0):
            raise InputError(
                f"alpha form: the ReLU weights of neuron {int(np.argmin(room))} sum to "
                f"{1 - float(room.min()):.3g}, the sum must be below 1; rescale the network"
            )
        return cls(alpha[:, None] * w / room[:, None], b, alpha, t_min, t_max, blocked)

    @classmethod
    def equal_weights(cls, w: Array, b: Array, t_min: float, t_max: float) -> AlphaLayer:
        """J = w with alpha_i = 1 - sum w, eq. 2.6: every neuron has slope 1 in its firing window.

        Parameters
        ----------
        w, b, t_min, t_max : as of `from_relu`
        """
        return cls.from_relu(w, b, t_min, t_max, alpha=1.0 - np.asarray(w, float).sum(1))

    @property
    def slope(self) -> Array:
        """B = alpha + sum J, (n_out,)."""
        return self.alpha + self.weights.sum(1)

    @property
    def theta(self) -> Array:
        """Thresholds, eqs. 2.25-2.27, (n_out,)."""
        window = self.t_max - self.t_min
        return self.alpha * self.t_min + self.slope * (window - self.bias)

    @property
    def positive_slope(self) -> bool:
        """Whether no order of input spikes can make a slope negative, eq. 2.4."""
        return bool(np.all(self.alpha + np.minimum(self.weights, 0.0).sum(1) > 0))

    def forced(self, spike_times: Array) -> Array:
        """Input times with silent inputs fired at t_min."""
        return np.minimum(spike_times, self.t_min)


def response(layer: AlphaLayer, spike_times: Array, mismatch: LayerMismatch) -> Array:
    """Closed form: spike times after t_min [tau_c], (sample, n_out); forced at t_max - t_min.

    Exact while the threshold is held until t_min. With a constant threshold it is exact too as long as
    no neuron crosses early; a negative value is then the time before t_min of a crossing after the
    last input.

    Parameters
    ----------
    spike_times : array, shape (n_in,) [tau_c]; inf = silent
    mismatch : `slope` deviates alpha
    """
    x = layer.t_min - layer.forced(spike_times)
    synapse = layer.weights * (1.0 + mismatch.synapse)
    alpha = layer.alpha * (1.0 + mismatch.slope)
    slope = alpha + synapse.sum(-1)
    charge = alpha * layer.t_min + synapse @ x
    missing = layer.theta * (1.0 + mismatch.capacitance) + mismatch.threshold - charge
    window = layer.t_max - layer.t_min
    with np.errstate(divide="ignore", invalid="ignore"):
        # deviations can turn a small slope negative: such a neuron fires at once or is forced
        late = np.where(slope > 0, missing / slope, np.where(missing > 0, window, 0.0))
    return np.clip(late, 0.0 if layer.blocked else -np.inf, window)


def cell(layer: AlphaLayer, spike_times: Array, point: OperatingPoint, mismatch: LayerMismatch) -> Cell:
    """Columns: each synapse until t_min (charge exact) and after it, then alpha in both phases.

    Parameters
    ----------
    spike_times : array, shape (n_in,) [tau_c]; inf = silent: forced at t_min
    mismatch : `slope` deviates alpha
    """
    samples, n_out = mismatch.slope.shape
    neuron, tau = samples * n_out, point.tau_c
    grid = Grid.spanning(layer.t_max * tau)
    phase = place(np.zeros(1), np.full(1, layer.t_min * tau), grid)
    inputs = place(layer.forced(spike_times) * tau, np.full(spike_times.shape, layer.t_min * tau), grid)
    n_in, n_min, end = len(spike_times), int(phase.off[0]), 2 * grid.stop
    synapse = (layer.weights * (1.0 + mismatch.synapse)).reshape(neuron, n_in)
    alpha = (layer.alpha * (1.0 + mismatch.slope)).reshape(neuron, 1)
    columns = [synapse * inputs.gain, synapse, alpha * phase.gain, alpha]
    after = np.full(n_in, n_min)
    return Cell(
        Sources(
            amps=point.i_unit * np.hstack(columns),
            on=np.concatenate([inputs.on, after, [0, n_min]]),
            off=np.concatenate([inputs.off, np.full(n_in, end), [n_min, end]]),
            labels=(*(f"{x}{j}" for x in "wv" for j in range(n_in)), "a", "b"),
        ),
        capacitance=point.c_mem * (1.0 + mismatch.capacitance).reshape(neuron),
        threshold=point.volts(
            (layer.theta + mismatch.threshold / (1.0 + mismatch.capacitance)).reshape(neuron)
        ),
        grid=grid,
        v_reset=point.v_reset,
        armed=n_min if layer.blocked else 0,
    )


def read(layer: AlphaLayer, point: OperatingPoint, time: Array, samples: int) -> Array:
    """Measured crossings [s after the comparators are armed] -> the same as `response`.

    Parameters
    ----------
    time : array, shape (sample x n_out,), crossings [s]
    samples : copies of the layer in the cell
    """
    delay = time / point.tau_c - (0.0 if layer.blocked else layer.t_min)
    return np.minimum(delay, layer.t_max - layer.t_min).reshape(samples, len(layer.bias))
