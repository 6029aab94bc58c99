"""What a remedy costs a placed network: silicon and energy.

A trim DAC of b bits is counted as 2^b - 1 unit devices of the layer's synapses, one DAC a neuron that has
one; what DACs take from the supply is not counted.
"""

from __future__ import annotations

import torch

from circuits.errors import InputError
from ttfs_analog.evaluation.energy import layer_energies
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.remedies.remedies import TRIM, Setting, State

GATES = ("synapses", "neurons", "references")
"""Parts that shrink with the area of gates."""
CHIPS, IMAGES = 8, 200
"""That the energy is averaged over."""


def silicon(net: TTFSNetwork, remedy: str, area: float) -> dict[str, float]:
    """Silicon of a placed network by part [m^2].

    Parameters
    ----------
    net : TTFSNetwork
    remedy : str
        Its trims need DACs.
    area : float
        Of gates, relative to the placement.
    """
    layers = net.metadata.get("placement", {}).get("layers")
    if not layers:
        raise InputError("silicon is that of a network on transistors: place it first ('place')")
    parts: dict[str, float] = {}
    neurons = [layer.n_out if layer.spiking else 0 for layer in net.layers]
    dacs = 0.0
    for about, layer, weight, count in zip(layers, net.layers, net.weights(), neurons, strict=True):
        for name, value in about["area_parts_m2"].items():
            parts[name] = parts.get(name, 0.0) + value * (area if name in GATES else 1.0)
        units = float((layer.taps(weight).detach().abs() * about["units"]).round().sum())
        unit = about["area_parts_m2"]["synapses"] * area / max(units, 1.0)
        for stage in remedy.split("+"):
            match = TRIM.fullmatch(stage)
            bits, most = (None, None) if match is None else match.groups()
            share = 1.0 if most is None else min(int(most) / max(sum(neurons), 1), 1.0)
            dacs += unit * count * share * (2 ** int(bits) - 1 if bits else 0)
    return parts | {"trim DACs": dacs}


@torch.no_grad()
def joules(state: State, setting: Setting) -> float:
    """Energy of an inference, mean over CHIPS chips and IMAGES images [J].

    Parameters
    ----------
    state : State
        Network, or networks, and chips.
    setting : Setting
        Its noise model holds the account.
    """
    x = setting.data.x_test[:IMAGES].to(state.net(0).like)
    parts = [
        layer_energies(state.net(k), x, setting.noise, chip.deviations(x)).sum((-1, -2)).mean()
        for k, chip in zip(range(CHIPS), state.chips, strict=False)
    ]
    return float(torch.stack(parts).mean())
