r"""What a training for one chip runs on, and what it may change.

chip
    All weights and thresholds, on the devices of the chip as they are known.
threshold
    One number a neuron, its threshold; weights stay.
gain
    All weights, on a chip of which one gain a neuron is known,

    .. math:: x_i = g_i\,\mathrm{relu}(W x + D)_i / B_i, \qquad
              g_i = \langle x_i^{chip} x_i \rangle / \langle x_i^2 \rangle

    the baseline of Binas et al. (arXiv 1606.07786).
loop
    All weights; what the chip itself answers is measured in every step, and the gradient is that of the chip
    as it is known (hardware in the loop):

    .. math:: x_i = x_i^{known} + \mathrm{const}(x_i^{measured} - x_i^{known})

Source: Stanojevic et al., Nat. Commun. 2024, Discussion (hardware-in-the-loop training).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence

import torch
from torch import Tensor, nn

from circuits.errors import InputError
from ttfs_analog.network.network import ChipModel, TTFSNetwork
from ttfs_analog.neuron.functional import fire
from ttfs_analog.neuron.layers import TTFSLayer
from ttfs_analog.noise.chips import Chips, perfect

GAIN_SAMPLE = 400
"""Images that gains are taken over."""
LEAST_GAIN = 0.05
Measure = Callable[[TTFSNetwork, Tensor], Sequence[Tensor]]
"""(network, images) -> what every layer of the chip answers, (image, neuron): spikes as activations [tau_c],
read-outs as logits."""


def require_one(net: TTFSNetwork, chip: Chips | None) -> Chips:
    """Pass one chip of this network through.

    Raises
    ------
    InputError
        If there is none, there are more, or it is another network's.
    """
    if chip is None or len(chip) != 1:
        raise InputError(
            f"this mode tunes for one chip, got {'none' if chip is None else len(chip)}; draw one with "
            "'chip', or take one out of a set (chips[0])"
        )
    chip.require_fit(net)
    return chip


@torch.no_grad()
def gains(net: TTFSNetwork, chip: Chips, x: Tensor) -> list[Tensor]:
    """One gain a neuron, (neuron,) by layer: slope of a line through 0 of its answers over those it should
    give.

    Parameters
    ----------
    net : TTFSNetwork
    chip : Chips
        One, as it is known.
    x : Tensor, shape (image, in)
        GAIN_SAMPLE of these, evenly spread.
    """
    x = x[:: -(-len(x) // GAIN_SAMPLE)].to(net.like)
    should, devices, weights = perfect(net, chip.constants), chip.deviations(x), net.weights()
    found = []
    for n, (inputs, wanted) in enumerate(net.signals(x, should)):  # every layer is measured alone
        out = net.layers[n](inputs, devices[n], weights[n])[0].reshape(wanted.shape)
        square = wanted.square().sum(0)
        gain = (out * wanted).sum(0) / square.clamp_min(torch.finfo(square.dtype).tiny)
        found.append(torch.where(square > 0, gain, 1.0).clamp_min(LEAST_GAIN))
    return found


def with_gains(found: Sequence[Tensor]) -> ChipModel:
    """A chip of which one gain a neuron is known.

    Parameters
    ----------
    found : sequence of Tensor (neuron,)
        Of `gains`.
    """

    def respond(n: int, layer: TTFSLayer, x: Tensor, weight: Tensor) -> Tensor:
        gain = found[n].to(x)
        shape = (-1, *layer.inside) if layer.inside else (-1,)
        u = layer.product(x, weight) + layer.shift()
        if not layer.spiking:
            return (gain * u).unflatten(-1, shape)
        u = gain * u / layer.per_neuron(layer.slopes(weight))
        if layer.last and layer.training:
            return layer.scores(u).unflatten(-1, shape)
        return fire(u, layer.window_length).unflatten(-1, shape)

    return respond


def in_the_loop(net: TTFSNetwork, known: ChipModel, measure: Measure) -> Callable[[Tensor], Tensor]:
    """Logits that were measured, with the gradient of what is known.

    Parameters
    ----------
    net : TTFSNetwork
        Whose weights are trained.
    known : ChipModel
    measure : callable
        Answers of the chip with the network's present weights.
    """

    def logits(x: Tensor) -> Tensor:
        with torch.no_grad():
            answers = list(measure(net, x))

        def respond(n: int, layer: TTFSLayer, inputs: Tensor, weight: Tensor) -> Tensor:
            out = known(n, layer, inputs, weight) if callable(known) else layer(inputs, known[n], weight)
            seen = answers[n].to(out).reshape(out.shape)
            if layer.spiking and layer.last and layer.training:
                # how far an output is from firing is not measured: what is known of it stands in
                seen = torch.where(seen > 0, layer.scores(seen), out.clamp_max(0.0))
            return out + (seen - out).detach()

        return net(x, respond)

    return logits


@contextlib.contextmanager
def thresholds_alone(net: TTFSNetwork) -> Generator[None, None, None]:
    """While it is open only the thresholds of neurons learn, one number each."""
    weights = [p for p in net.parameters() if p.requires_grad]
    for parameter in weights:
        parameter.requires_grad_(False)
    for layer in net.layers:
        if layer.inside:  # neurons of a channel share D; the border is of every place
            shape = (len(layer.bias), *layer.inside)
            border = torch.zeros(shape).to(layer.bias) if layer.border is None else layer.border
            del layer.border
            layer.border = nn.Parameter(border.detach().clone())
        else:
            layer.bias.requires_grad_(True)
    try:
        yield
    finally:
        for layer in net.layers:
            if layer.inside:
                border = torch.as_tensor(layer.border).detach()
                del layer.border
                layer.register_buffer("border", border)
        for parameter in weights:
            parameter.requires_grad_(True)


@torch.no_grad()
def shifted(net: TTFSNetwork, chip: Chips, shifts: Sequence[Tensor]) -> TTFSNetwork:
    """A copy whose thresholds are moved as a trim of the comparators' offsets moves them.

    Parameters
    ----------
    net : TTFSNetwork
    chip : Chips
        One: an offset acts on the nominal capacitor, a threshold on the chip's own.
    shifts : sequence of Tensor (neuron,)
        By layer, in units of potential.
    """
    made = net.clone()
    for layer, mismatch, shift in zip(made.layers, chip.layers, shifts, strict=True):
        if not layer.spiking:
            continue
        own = shift.to(layer.bias) / (1.0 + torch.as_tensor(mismatch.capacitance[0]).to(layer.bias))
        if layer.inside:
            border = own.reshape(-1, *layer.inside)
            layer.border = -border if layer.border is None else layer.border - border
        else:
            layer.bias.sub_(own)
    return made
