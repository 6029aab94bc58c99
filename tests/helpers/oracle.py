"""An event-driven simulation of one layer in pure numpy: spikes in, spikes out, nothing in closed form.

It knows weights, currents, thresholds and the two phases, and integrates the potential from event to
event; neither D nor B of `ttfs_analog.neuron.layers` appears here.
"""

from __future__ import annotations

import numpy as np

FORCED = ("alpha", "positive", "dynamic", "equal")


def run(x, weights, alpha, theta, form, t_in, window):
    """Activations t_max - t of every neuron, 0 if silent, shape (sample, neuron).

    x (sample, synapse): activations of the inputs, 0 if silent; weights (neuron, synapse); alpha and theta
    (neuron,); form as in `ttfs_analog.neuron.layers.FORMS`. Phase 1 lasts t_in, the firing window `window`.
    """
    return np.array([_one(row, weights, alpha, theta, form, t_in, window) for row in x])


def _one(x, weights, alpha, theta, form, t_in, window):
    t_min, t_max = t_in, t_in + window
    times = np.where(x > 0, t_in - x, t_min if form in FORCED else np.inf)
    events = sorted({0.0, *times[times <= t_min].tolist(), t_min})
    neurons = len(weights)
    potential, arrived = np.zeros(neurons), np.zeros(len(times), bool)
    for now, following in zip(events, [*events[1:], t_max], strict=True):
        arrived |= times <= now
        rate = weights[:, arrived].sum(1)
        if form != "b1" and form != "dynamic":
            rate = rate + alpha
        if now < t_min:  # the threshold is held high: nothing fires in phase 1
            potential = potential + rate * (following - now)
            continue
        if form == "b1":
            rate = np.ones(neurons)
        if form == "single":  # as if the silent inputs had fired
            rate = alpha + weights.sum(1)
        falling = alpha if form == "dynamic" else np.zeros(neurons)
        missing = theta - falling * now - potential
        fire = now + np.maximum(missing, 0.0) / (rate + falling)
        # a neuron that has not crossed by t_max is forced to fire there, or is silent: activation 0
        return np.where(fire < t_max, t_max - fire, 0.0)
    raise AssertionError("t_min is always an event")


def trajectory(x, weights, alpha, form, t_in):
    """Slopes of every neuron between the events of phase 1, shape (event, neuron)."""
    times = t_in - x
    return np.array([alpha + weights[:, times <= now].sum(1) for now in sorted(set(times.tolist()))])


def unroll(weight, shape, stride, padding, dilation, groups):
    """A convolution as a dense matrix (neuron, input of the padded image), by counting places."""
    out, share, rows, columns = weight.shape
    high, wide = shape[1] + 2 * padding[0], shape[2] + 2 * padding[1]
    down = (high - dilation[0] * (rows - 1) - 1) // stride[0] + 1
    right = (wide - dilation[1] * (columns - 1) - 1) // stride[1] + 1
    dense = np.zeros((out, down, right, shape[0], high, wide))
    for o in range(out):
        first = o // (out // groups) * share
        for i, j, c, r, k in np.ndindex(down, right, share, rows, columns):
            y, z = i * stride[0] + r * dilation[0], j * stride[1] + k * dilation[1]
            dense[o, i, j, first + c, y, z] = weight[o, c, r, k]
    return dense.reshape(out * down * right, -1)
