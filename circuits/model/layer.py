r"""One layer of capacitor integrate-and-fire neurons (B1 model), unit-free, and how its devices deviate.

.. math:: \tau_c \dot V_i = \sum_j W_{ij} H(t - t_j) \;(t < t_{min}), \qquad
          \tau_c \dot V_i = B_i \;(t_{min} \le t < t_{max})

Times are in tau_c from the start of the input window. The neuron fires when V reaches theta inside
[t_min, t_max), at most once; theta_i = B_i ((t_max - t_min) - b_i).

Source: Stanojevic et al., Nat. Commun. 2024, eq. 1 with A = 0, and eq. 2.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from circuits.errors import InputError

Array = NDArray[np.float64]


def _finite(label: str, value: object, shape: tuple[int, ...] | None = None) -> Array:
    """`value` as a finite float64 array of `shape`, or a message that says what is wrong."""
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{label} must be numbers in equal rows, got {value!r:.80}") from None
    if not np.all(np.isfinite(array)):
        where = tuple(int(k) for k in np.argwhere(~np.isfinite(array))[0])
        raise InputError(f"{label}{list(where)} is {array[where]}; every value must be finite")
    if shape is not None and array.shape != shape:
        raise InputError(f"{label} must have shape {shape}, got {array.shape}")
    return array


@dataclass(frozen=True)
class Layer:
    """Weights and windows of one layer; validated on construction."""

    weights: Array  #: (n_out, n_in), unit-free; sign = source or sink
    bias: Array  #: (n_out,), ReLU bias b [tau_c]
    t_min: float  #: end of the input window = start of the firing window [tau_c]
    t_max: float  #: end of the firing window [tau_c]
    slope: Array = field(default_factory=lambda: np.array(1.0))  #: B, scalar or (n_out,)
    spiking: bool = True  #: False: read-out neurons, V is read at t_min and never fires
    dummies: int = 0  #: last neurons whose spikes close the window (`circuits.model.coding.relative`)

    def __post_init__(self) -> None:
        weights = _finite("weights", self.weights)
        if weights.ndim != 2 or 0 in weights.shape:
            raise InputError(f"weights must be n_out rows of n_in numbers, got {weights.shape}")
        n_out = weights.shape[0]
        slope = _finite("slope", self.slope)
        if slope.shape not in ((), (n_out,)):
            raise InputError(f"slope must be one number or {n_out} numbers, got shape {slope.shape}")
        slope = np.broadcast_to(slope, (n_out,)).copy()
        if np.any(slope <= 0):
            raise InputError(f"slope must be > 0, got {float(slope.min())}")
        if self.dummies < 0 or (self.dummies and not (self.spiking and self.dummies % 2)):
            raise InputError(f"dummies must be an odd number of spiking neurons, or 0, got {self.dummies}")
        t_min, t_max = (float(_finite(k, getattr(self, k), ())) for k in ("t_min", "t_max"))
        if t_min <= 0:
            raise InputError(f"t_min must be > 0, got {t_min}")
        if self.spiking and t_max <= t_min:
            raise InputError(f"t_max must be later than t_min, got t_max={t_max} <= t_min={t_min}")
        set_ = object.__setattr__
        set_(self, "weights", weights)
        set_(self, "bias", _finite("bias", self.bias, (n_out,)))
        set_(self, "slope", slope)
        set_(self, "t_min", t_min)
        set_(self, "t_max", t_max if self.spiking else t_min)

    @property
    def n_out(self) -> int:
        return self.weights.shape[0]

    @property
    def n_in(self) -> int:
        return self.weights.shape[1]

    @property
    def window(self) -> float:
        """Length of the firing window, t_max - t_min [tau_c]."""
        return self.t_max - self.t_min

    @property
    def theta(self) -> Array:
        """Thresholds, shape (n_out,)."""
        return self.slope * (self.window - self.bias)

    @property
    def drive(self) -> Array:
        """Constant current in phase 1, shape (n_out,): A = b / t_min in read-out neurons, else 0.

        Source: Stanojevic et al. 2024, Methods, "Output layer".
        """
        return np.zeros(self.n_out) if self.spiking else self.bias / self.t_min

    def inputs(self, spike_times: object) -> Array:
        """Validate input spike times [tau_c], shape (n_in,); silent inputs (None, inf) become inf."""
        if isinstance(spike_times, list | tuple):
            spike_times = [np.inf if t is None else t for t in spike_times]
        try:
            times = np.asarray(spike_times, dtype=np.float64)
        except (TypeError, ValueError):
            raise InputError("spike_times must be numbers or null") from None
        if times.shape != (self.n_in,):
            raise InputError(f"spike_times must have {self.n_in} entries, got shape {times.shape}")
        bad = ~((times >= 0) & (times <= self.t_min) | np.isposinf(times))
        if np.any(bad):
            k = int(np.argmax(bad))
            raise InputError(
                f"spike_times[{k}] is {times[k]}; input spikes lie in [0, t_min={self.t_min:g}] "
                "tau_c (null or inf = silent)"
            )
        return times


@dataclass(frozen=True)
class LayerMismatch:
    """Frozen relative deviations of every device of `sample` copies of a layer.

    Currents and capacitances are multiplied by (1 + deviation); see `circuits.model.closed_form`.
    """

    synapse: Array  #: (sample, n_out, n_in) relative error e_ij of each synapse current
    slope: Array  #: (sample, n_out) relative error beta_i of the slope current
    threshold: (
        Array  #: (sample, n_out) comparator offset o_i, in units of potential, on the nominal capacitor
    )
    capacitance: Array  #: (sample, n_out) relative error c_i of the membrane capacitor
    delay: Array = None  # type: ignore[assignment]  #: (sample, n_out) deviation d_i of the comparator's delay [tau_c]; None: zero

    def __post_init__(self) -> None:
        synapse = _finite("synapse mismatch", self.synapse)
        if synapse.ndim != 3:
            raise InputError(f"synapse mismatch must be (sample, n_out, n_in), got {synapse.shape}")
        object.__setattr__(self, "synapse", synapse)
        if self.delay is None:
            object.__setattr__(self, "delay", np.zeros(synapse.shape[:2]))
        for item in ("slope", "threshold", "capacitance", "delay"):
            value = _finite(f"{item} mismatch", getattr(self, item), synapse.shape[:2])
            object.__setattr__(self, item, value)
        for item in ("synapse", "slope", "capacitance"):
            if np.any(getattr(self, item) <= -1):
                raise InputError(f"{item} mismatch must be > -1: a device cannot change sign")

    @classmethod
    def none(cls, layer: Layer, samples: int = 1) -> LayerMismatch:
        """Perfect devices.

        Parameters
        ----------
        samples : copies of the layer
        """
        neuron = np.zeros((samples, layer.n_out))
        return cls(np.zeros((samples, *layer.weights.shape)), neuron, neuron, neuron)

    def fits(self, layer: Layer) -> None:
        """Refuse deviations of a layer of another size."""
        if self.synapse.shape[1:] != layer.weights.shape:
            raise InputError(
                f"mismatch of a layer {self.synapse.shape[1:]} does not fit weights {layer.weights.shape}"
            )

    @property
    def samples(self) -> int:
        return self.synapse.shape[0]

    def __getitem__(self, key: int | slice) -> LayerMismatch:
        if not isinstance(key, slice):
            index = range(self.samples)[key]  # IndexError beyond the end
            key = slice(index, index + 1)
        return LayerMismatch(*(getattr(self, f.name)[key] for f in dataclasses.fields(self)))


@dataclass(frozen=True)
class LayerResponse:
    """What `sample` copies of a layer did with one input. Arrays (sample, n_out) unless stated."""

    delay: Array  #: spike time after t_min [tau_c]; inf = silent
    v_t_min: Array  #: unit-free potential at t_min (read-out neurons: the logits)
    slope: Array  #: measured unit-free dV/dt in the firing window; NaN for read-out neurons
    energy_by_supply: Array  #: (sample, n_out, supply, phase) supply energy [J]; phases: input, firing
    supplies: tuple[str, ...] = ("source",)  #: names along `supply`

    @property
    def energy(self) -> Array:
        """Supply energy per neuron [J]."""
        return self.energy_by_supply.sum((-2, -1))

    def activation(self, window: float) -> Array:
        """x = t_max - t, 0 where silent [tau_c]."""
        return np.where(np.isfinite(self.delay), window - self.delay, 0.0)

    def spike_times(self, t_min: float) -> Array:
        """Spike times from the start of the input window [tau_c]; inf = silent."""
        return t_min + self.delay


def join(parts: Sequence[LayerResponse]) -> LayerResponse:
    """Samples of several responses, in order."""
    arrays = ("delay", "v_t_min", "slope", "energy_by_supply")
    joined = {a: np.concatenate([getattr(p, a) for p in parts]) for a in arrays}
    return LayerResponse(**joined, supplies=parts[0].supplies)
