r"""Which inputs to show to a chip so that few spike times say much about every neuron.

Every layer is driven alone. There is a pool to choose from: inputs that images make there, and means of some
of them, on which single synapses weigh less. A spike inside the window with pattern p tells of offset and
slope, a - r_p \beta, with a variance E_p; whether it is inside depends on the chip. For one with offset a,

.. math:: \Lambda = \mathrm{diag}(A, B)^{-1} + \sum_p \frac{P_p(a)}{E_p}
          \begin{pmatrix} 1 & -r_p \\ -r_p & r_p^2 \end{pmatrix}, \qquad
          V = \frac{1}{T} \int_0^T (1, -r) \, \Lambda^{-1} (1, -r)^T \, dr

(A and B: variances beforehand, P: probability). V is what is left of the variance of a spike's time, as a
mean over the window. Patterns are chosen one after the other, and then changed together by gradient ascent,
for the least sum of V over neurons, each as a share of what it is beforehand, and over offsets: an I-optimal
design.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from circuits.errors import InputError
from ttfs_analog.calibration.prior import Prior
from ttfs_analog.network.inputs import check_unit, flat
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.neuron.functional import Deviations, charge
from ttfs_analog.neuron.seeding import seeded
from ttfs_analog.noise.chips import perfect
from ttfs_analog.noise.noise_model import Noise

POOL = 400
"""Images to choose from."""
GROUPS = (4, 16, 64)
"""Of how many images means are taken; a quarter of POOL of each, as they are and twice as strong."""
BATCH = 50
STEPS, RATE = 200, 0.03
"""Of the gradient ascent; the rate is a share of the input window."""
NODES = (-2.5, -1.5, -0.5, 0.5, 1.5, 2.5)
NODE_WEIGHTS = (0.018, 0.130, 0.352, 0.352, 0.130, 0.018)
"""Offsets that stand for all chips, in standard deviations, and their shares."""
LEAST = 1e-9
DESIGN = 8
"""Stream of a seed: which images are averaged."""


@dataclass(frozen=True)
class LayerPatterns:
    """Stimuli of one layer, and what a circuit without mismatch but that of the mean synapse answers."""

    inputs: Tensor  #: (pattern, ...) as the layer takes them: activations t_min - t [tau_c]; 0 = silent
    expected: Tensor  #: (pattern, neuron): activations t_max - t without bounds [tau_c]; of a read-out logits
    prior: Prior | None  #: what is known beforehand; None: a read-out


@torch.no_grad()
def choose(net: TTFSNetwork, x: Tensor, count: int, noise: Noise, seed: int = 0) -> list[LayerPatterns]:
    """Plan a calibration, layer by layer.

    Parameters
    ----------
    net : TTFSNetwork
        In form b1.
    x : Tensor, shape (image, in)
        POOL of these images, evenly spread, are what is chosen from.
    count : int
        Patterns a layer.
    noise : NoiseModel or LayeredNoise
        What chips are like beforehand.
    seed : int
        Of the images that are averaged.

    Raises
    ------
    InputError
        If there are fewer images than patterns, or the network has another form.
    """
    if any(layer.form != "b1" for layer in net.layers):
        raise InputError("a calibration reads networks of form b1; convert with mapping b1")
    x = check_unit(flat(x, net.input_shape))
    x = x[:: -(-len(x) // POOL)].to(net.like)
    if not 1 <= count <= len(x):
        raise InputError(f"patterns must be 1 to {len(x)}, the images there are to choose from, got {count}")
    about = [noise.of(n).of_layer(layer.spiking) for n, layer in enumerate(net.layers)]
    should, weights, generator = perfect(net, [c for _, c, _ in about]), net.weights(), seeded(seed, DESIGN)
    plans = []
    for n, (layer, (inputs, outputs)) in enumerate(zip(net.layers, net.signals(x, should), strict=True)):
        if not layer.spiking:
            plans.append(LayerPatterns(inputs[:count], outputs[:count], None))
            continue
        prior = Prior.of(layer, weights[n], about[n][0], about[n][1], inputs, outputs)
        pool = torch.cat([inputs, *_means(inputs, float(layer.input_window), generator)])
        window, most = layer.window_length, float(layer.input_window)
        drive = _drive(prior, weights[n], should[n])
        worth = torch.cat([_worth(window, drive(part), prior, part) for part in pool.split(BATCH)], 2)
        x = _improved(drive, window, most, prior, pool[_chosen(worth, prior, count)])
        plans.append(LayerPatterns(x, drive(x), prior.at(x)))
    return plans


def _means(inputs: Tensor, most: float, generator: torch.Generator) -> list[Tensor]:
    """Means of random images."""
    made = []
    for size in GROUPS:
        picks = torch.randint(len(inputs), (POOL // 4, size), generator=generator).to(inputs.device)
        mean = inputs[picks].mean(1)
        made += [mean, (2.0 * mean).clamp_max(most)]
    return made


def _drive(prior: Prior, weight: Tensor, perfect: Deviations) -> Callable[[Tensor], Tensor]:
    """Activations of a circuit of mean synapses, without bounds, (pattern, neuron)."""
    layer, current = prior.layer, weight * prior.gains

    def answer(x: Tensor) -> Tensor:
        q = charge(x, current, layer.product, perfect.constants, weight)
        return layer.ramp(q, perfect, weight).reshape(len(x), -1)

    return answer


def _worth(window: float, expected: Tensor, prior: Prior, x: Tensor) -> Tensor:
    """P / E, times 1, r and r^2, of every pattern (moment, offset, pattern, neuron)."""
    noise = prior.elsewhere(x) + prior.error2
    z = torch.tensor(NODES).to(x).reshape(-1, 1, 1)
    there = expected - z * prior.offset2.sqrt()  # activations of chips with these offsets
    ramp = window - there
    spread = (ramp.square() * prior.slope2 + noise).sqrt()
    normal = torch.distributions.Normal(0.0, 1.0)
    share = (normal.cdf(ramp / spread) - normal.cdf(-there / spread)) / noise
    return torch.stack([share, share * ramp, share * ramp.square()])


def _gain(sums: Tensor, prior: Prior) -> Tensor:
    """-V, a sum over neurons of shares, of sums (moment, offset, ..., neuron) over patterns; shape (...)."""
    zero, one, two = sums
    window = prior.layer.window_length
    mean, square = window / 2.0, window**2 / 3.0  # of ramps
    offset, slope = 1.0 / (prior.offset2 + LEAST) + zero, 1.0 / (prior.slope2 + LEAST) + two
    left = (slope - 2.0 * mean * one + square * offset) / (offset * slope - one.square())
    left = (left / (prior.offset2 + square * prior.slope2 + LEAST)).sum(-1)
    return -torch.tensordot(torch.tensor(NODE_WEIGHTS).to(left), left, 1)


def _chosen(worth: Tensor, prior: Prior, count: int) -> list[int]:
    """Rows of the pool, one after the other."""
    rows: list[int] = []
    so_far = torch.zeros_like(worth[:, :, :1])
    for _ in range(count):
        score = torch.cat([_gain(so_far + part, prior) for part in worth.split(BATCH, 2)])
        score[rows] = -torch.inf
        rows.append(int(score.argmax()))
        so_far = so_far + worth[:, :, rows[-1] : rows[-1] + 1]
    return rows


def _improved(
    answer: Callable[[Tensor], Tensor], window: float, most: float, prior: Prior, start: Tensor
) -> Tensor:
    """The same patterns after STEPS of gradient ascent, all at once."""
    with torch.enable_grad():
        x = start.clone().requires_grad_()
        optimizer = torch.optim.Adam([x], lr=RATE * most)
        for _ in range(STEPS):
            loss = -_gain(_worth(window, answer(x), prior, x).sum(2), prior)
            (x.grad,) = torch.autograd.grad(loss, x)
            optimizer.step()
            with torch.no_grad():
                x.clamp_(0.0, most)
    return x.detach()
