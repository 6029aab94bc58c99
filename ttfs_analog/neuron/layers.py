r"""TTFS layers as modules over `ttfs_analog.neuron.functional`: the general neuron of eq. 1 in relative time.

.. math:: \tau_c \dot V_i = \alpha_i + \sum_j W_{ij} H(t - t_j) \;(t < t_{min}), \qquad
          \tau_c \dot V_i = B_i \;(t \ge t_{min}), \qquad
          \vartheta_i = \alpha_i T_{in} + B_i T - D_i

A form says how B comes about: constant, or alpha + sum_j W_ij, which then moves with the weights.

Source: Stanojevic et al., Nat. Commun. 2024, eqs. 1-2; thesis of A. Stanojevic, EPFL 2023, eqs. 2.25-2.28.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from circuits.errors import InputError
from circuits.model.layer import Layer
from ttfs_analog.neuron.functional import Deviations, charge, fire, ramp_activation, read_out

FORMS = ("b1", "alpha", "positive", "dynamic", "equal", "single")
"""b1: no current in phase 1, slope B. alpha: a current alpha throughout and a forced last spike. positive:
the same, slope never negative. dynamic: alpha lowers the threshold instead. equal: alpha_i = 1 - sum w.
single: alpha with slopes switched at t_min, so that silent neurons need no spike."""
TRACKED = ("alpha", "positive", "dynamic", "single")
"""Forms whose slope is alpha + sum_j W_ij."""
FORCED = ("alpha", "positive", "dynamic", "equal")
"""Forms in which a neuron that is silent at t_max is made to fire there."""
SCORES = 10.0
"""Logits that the window of a last layer that spikes stands for in training."""


class TTFSLayer(nn.Module):
    """What fully connected and convolutional layers share.

    Parameters
    ----------
    weight : Tensor, shape (out, in) or (channel, in / groups, height, width)
    bias : Tensor, shape (out,) or (channel,)
        D: how much the threshold lies below its base; the ReLU bias is D / B.
    input_window : float
        Length of phase 1: largest input activation [tau_c].
    window : float
        Length of the firing window, t_max - t_min [tau_c]; 0 for read-out neurons.
    slope : Tensor, shape (out,), optional
        B > 0; default 1. Forms with a tracked slope compute it.
    alpha : Tensor, shape (out,), optional
        Current of phase 1; default 0.
    spiking : bool
        False: non-spiking read-out.
    form : str
        One of FORMS.
    border : Tensor, shape (channel, height, width), optional
        Threshold shift that depends on the place, from normalization under zero padding.
    """

    input_window: Tensor
    window: Tensor
    slope: Tensor
    alpha: Tensor
    border: Tensor | None

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        *,
        input_window: float = 1.0,
        window: float = 0.0,
        slope: Tensor | None = None,
        alpha: Tensor | None = None,
        spiking: bool = True,
        form: str = "b1",
        border: Tensor | None = None,
    ) -> None:
        super().__init__()
        if form not in FORMS:
            raise InputError(f"unknown form {form!r}; available: {', '.join(FORMS)}")
        self.weight = nn.Parameter(weight.detach().clone())
        self.bias = nn.Parameter(bias.detach().clone())
        self.spiking, self.form = spiking, form
        self.tracked = spiking and form in TRACKED
        self.register_buffer("input_window", weight.new_tensor(float(input_window)))
        self.register_buffer("window", weight.new_tensor(float(window)))
        self.register_buffer("slope", torch.ones_like(bias) if slope is None else slope.clone())
        self.register_buffer("alpha", torch.zeros_like(bias) if alpha is None else alpha.clone())
        self.register_buffer("border", None if border is None else border.clone())
        self.inside: tuple[int, ...] = ()  # (height, width) of a convolution's output
        self.last = False  # of its network
        self._refresh()

    def _refresh(self) -> None:
        """Python copies of what every forward pass needs: reading a tensor would wait for the device."""
        self._window = float(self.window)
        self._lead = float(self.input_window) if self.form in (*FORCED, "single") else 0.0
        self._unit = not self.tracked and bool((self.slope == 1).all())

    @property
    def _learning(self) -> bool:
        """Whether this is the last layer of a network in training, see `scores`."""
        return self.last and self.training

    def scores(self, x: Tensor) -> Tensor:
        """What a loss sees of a last layer that spikes: silent outputs have a gradient, too.

        No output gains by firing before t_min, where all tie.
        """
        return x.clamp_max(self._window) * (SCORES / self._window)

    def _load_from_state_dict(self, *args: Any) -> None:
        super()._load_from_state_dict(*args)
        self._refresh()

    def set_windows(self, *, input_window: float | None = None, window: float | None = None) -> None:
        """Change T_in and T, the lengths of the two phases.

        Parameters
        ----------
        input_window, window : float, optional
            [tau_c]; None: as it is.
        """
        if input_window is not None:
            self.input_window.fill_(input_window)
            self._lead = float(self.input_window) if self._lead else 0.0
        if window is not None:
            self.window.fill_(window)
            self._window = float(self.window)

    @property
    def window_length(self) -> float:
        """T = t_max - t_min [tau_c]."""
        return self._window

    @property
    def n_out(self) -> int:
        """Neurons."""
        return self.weight.shape[0] * math.prod(self.inside)

    def slopes(self, weight: Tensor | None = None) -> Tensor:
        """B, shape (out,), with the layer's own weights or others."""
        weight = self.weight if weight is None else weight
        return self.alpha + weight.flatten(1).sum(1) if self.tracked else self.slope

    def check_slopes(self, where: str) -> None:
        """Refuse a neuron that could never fire: B <= 0."""
        slopes = self.slopes().detach()
        if not bool((slopes > 0).all()):
            i = int(slopes.argmin())
            raise InputError(
                f"{where}, neuron {i}: slope B = {float(slopes[i]):.3g}, it must be > 0; in form "
                f"{self.form!r} B = alpha + sum of the weights: map with a lower b_low, or train with a "
                "lower learning rate"
            )

    def alphas(self) -> Tensor:
        """Current of phase 1, shape (out,); training in form equal may turn it into a sink, B stays 1."""
        return 1.0 - self.weight.flatten(1).sum(1) if self.form == "equal" and self.spiking else self.alpha

    def per_neuron(self, value: Tensor) -> Tensor:
        """A value per channel as one per neuron, shape (neuron,)."""
        return value[:, None].expand(-1, math.prod(self.inside)).reshape(-1) if self.inside else value

    def shift(self, bias: Tensor | None = None) -> Tensor:
        """D of every neuron, shape (neuron,), with the layer's own D or others of shape (out,)."""
        shift = self.per_neuron(self.bias if bias is None else bias)
        return shift if self.border is None else shift + self.border.flatten()

    def thresholds(self) -> Tensor:
        """theta of every neuron for t >= t_min, shape (neuron,)."""
        base = self.alphas() * self.input_window + self.slopes() * self.window
        return self.per_neuron(base) - self.shift()

    def drive(self, x: Tensor, weight: Tensor) -> Tensor:
        """W x + D.

        Parameters
        ----------
        x, weight
            As of the subclass.
        """
        raise TypeError(f"{type(self).__name__} has no drive")

    def product(self, x: Tensor, current: Tensor) -> Tensor:
        """Sums of inputs by currents, shape (..., batch, neuron).

        Parameters
        ----------
        x, current
            As of the subclass; `current` is of `currents`.
        """
        raise TypeError(f"{type(self).__name__} has no product")

    def currents(self, weight: Tensor, synapse: Tensor | None = None) -> Tensor:
        """Weights as `product` takes them.

        Parameters
        ----------
        weight : Tensor, of the shape of the layer's
        synapse : Tensor, shape (chip, neuron, tap), optional
            Relative deviations e; the currents then have this shape.
        """
        return weight if synapse is None else self.taps(weight) * (1.0 + synapse)

    def taps(self, weight: Tensor) -> Tensor:
        """Weights of every neuron, shape (neuron, tap)."""
        return weight.flatten(1).repeat_interleave(math.prod(self.inside), 0)

    def tap_means(self, x: Tensor, shares: Tensor) -> Tensor:
        """Weighted sums over images of what every synapse gets, shape (neuron, tap).

        Parameters
        ----------
        x
            As of the subclass, with one leading dimension.
        shares : Tensor, shape (batch, neuron)
            Weights of the images, neuron by neuron.
        """
        return shares.T @ x

    def charge(self, x: Tensor, weight: Tensor, deviations: Deviations | None = None) -> Tensor:
        """Charge at t_min of every neuron, shape (..., batch, neuron).

        Parameters
        ----------
        x : Tensor, shape (..., batch, in) or (..., batch, channel, height, width)
        weight : Tensor, of the shape of the layer's
        deviations : Deviations, optional
            Those of its synapses and its constants count here.
        """
        if deviations is None:
            return self.product(x, weight)
        current = self.currents(weight, deviations.synapse)
        return charge(x, current, self.product, deviations.constants, self.currents(weight))

    def forward(
        self,
        x: Tensor,
        deviations: Deviations | None = None,
        weight: Tensor | None = None,
        delay: Tensor | None = None,
    ) -> Tensor:
        """Activations of the layer before -> activations, or logits of a read-out layer.

        Parameters
        ----------
        x : Tensor, shape (..., batch, in) or (..., batch, channel, height, width)
        deviations : Deviations, optional, with a leading chip dimension
        weight : Tensor, optional
            Instead of the layer's.
        delay : Tensor, shape (..., batch, neuron), optional
            What comparators that deviate are late by in a trial [tau_c]; of a read-out what is added to its
            logits [1].
        """
        weight = self.weight if weight is None else weight
        if deviations is None:
            return self.ideal(x, weight)
        return self.after(self.charge(x, weight, deviations), deviations, weight, delay)

    def after(
        self,
        q: Tensor,
        deviations: Deviations,
        weight: Tensor | None = None,
        delay: Tensor | None = None,
    ) -> Tensor:
        """`forward` from the charge at t_min on.

        Parameters
        ----------
        q : Tensor, shape (..., batch, neuron)
            Of `charge`.
        deviations, weight, delay
            As of `forward`.
        """
        weight, synapse = self.weight if weight is None else weight, deviations.synapse
        slow: Tensor | float = 0.0
        if self.spiking and self.form in FORCED and synapse is not None:  # synapses stay on in phase 2
            slow = (self.taps(weight) * synapse).sum(-1).unsqueeze(-2)
        slope, threshold, capacitance = (d.unsqueeze(-2) for d in deviations[1:4])
        late = delay
        if self.spiking and deviations.delay is not None:
            late = deviations.delay.unsqueeze(-2) + (0.0 if delay is None else delay)
        terms = Deviations(None, slope, threshold, capacitance, late, deviations.constants)
        return self.response(q, terms, weight, slow)

    def response(
        self, q: Tensor, deviations: Deviations, weight: Tensor | None = None, slow: Tensor | float = 0.0
    ) -> Tensor:
        """Activations or logits of neurons that deviate.

        Parameters
        ----------
        q, deviations, slow
            As of `functional.ramp_activation`.
        weight : Tensor, optional
            Instead of the layer's, for slopes that are tracked.
        """
        if self.spiking:
            x = self.ramp(q, deviations, weight, slow)
            x = self.scores(x) if self._learning else fire(x, self._window)
        else:
            x = read_out(q, self.shift(), deviations)
        return x.unflatten(-1, (-1, *self.inside)) if self.inside else x

    def ramp(
        self, q: Tensor, deviations: Deviations, weight: Tensor | None = None, slow: Tensor | float = 0.0
    ) -> Tensor:
        """Activations of neurons that spike without bounds, shape (..., batch, neuron): < 0 is silent.

        Parameters
        ----------
        q, deviations, weight, slow
            As of `response`.
        """
        slope, alpha = self.per_neuron(self.slopes(weight)), self.per_neuron(self.alphas())
        return ramp_activation(
            q, self.shift(), self._window, slope, deviations,
            alpha=alpha, lead=self._lead, slow=slow, form=self.form,
        )  # fmt: skip

    def ideal(self, x: Tensor, weight: Tensor) -> Tensor:
        """`forward` of ideal devices.

        Parameters
        ----------
        x, weight
            As of `drive`.
        """
        u = self.drive(x, weight)
        if not self.spiking:
            return u
        slope = None
        if not self._unit:
            slope = self.slopes(weight)
            slope = slope[:, None, None] if self.inside else slope
        if self._learning:
            return self.scores(u if slope is None else u / slope)
        return fire(u, self._window, slope)

    def neurons(self, weight: Tensor | None = None) -> Layer:
        """Every neuron with synapses of its own, (neuron, tap): what mismatch is drawn for."""
        return self._circuit(self.synapses(weight), self.shift(), self.per_neuron(self.slopes(weight)))

    def synapses(self, weight: Tensor | None = None) -> Tensor:
        """The same as numbers: without gradients, of the layer's own weights or others."""
        return self.taps(self.weight if weight is None else weight).detach()

    def _circuit(self, weights: Tensor, shift: Tensor, slope: Tensor) -> Layer:
        w, d, b = (v.detach().double().cpu().numpy() for v in (weights, shift, slope))
        start = float(self.input_window)
        return Layer(w, d / (b if self.spiking else 1.0), start, start + float(self.window), b, self.spiking)

    def swing_samples(self, x: Tensor, weight: Tensor) -> list[tuple[Layer, np.ndarray]]:
        """Circuits with inputs (sample, synapse) whose trajectories show the layer's swing.

        Parameters
        ----------
        x, weight
            As of `drive`, with one leading dimension.
        """
        return [(self.neurons(weight), x.detach().double().cpu().numpy())]

    def extra_repr(self) -> str:
        kind = f"window={self._window:.4g}" if self.spiking else "readout"
        return f"{'x'.join(map(str, self.weight.shape[::-1]))}, {kind}, form={self.form}"


class TTFSLinear(TTFSLayer):
    """Fully connected layer; see `TTFSLayer`."""

    def drive(self, x: Tensor, weight: Tensor) -> Tensor:
        """W x + D, shape (..., out).

        Parameters
        ----------
        x, weight : Tensor, shapes (..., in) and (out, in)
        """
        return F.linear(x, weight, self.bias)

    def product(self, x: Tensor, current: Tensor) -> Tensor:
        """Sums of inputs by currents, shape (..., batch, out).

        Parameters
        ----------
        x, current : Tensor, shapes (..., batch, in) and (out, in) or (chip, out, in)
        """
        return x @ current.transpose(-1, -2)
