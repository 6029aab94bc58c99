"""One chip of a chain of layers, of either kind of neuron: what `circuits.simulate` takes as mismatch."""

from __future__ import annotations

from collections.abc import Sequence

from circuits.biasing.transistor_layer import TransistorMismatch, TransistorNeuron
from circuits.model.layer import Layer, LayerMismatch
from circuits.pdk.technology import Technology
from circuits.simulation import Neuron
from montecarlo.mismatch.law import MismatchLaw, draw_chips
from montecarlo.mismatch.transistors import draw_chip


def draw(
    layers: Sequence[Layer], kinds: Sequence[Neuron], technology: Technology, chip: int, entropy: int
) -> list[LayerMismatch] | list[TransistorMismatch]:
    """Devices of chip number `chip`, one entry per layer.

    Parameters
    ----------
    layers : sequence of Layer
    kinds : sequence of Neuron
        One per layer; the devices of transistors are those of their benches.
    technology : Technology
        Its sigmas, or the matching of its process.
    chip, entropy : int
        Number of the chip, and seed.

    Returns
    -------
    list
        LayerMismatch (one sample) of ideal sources; TransistorMismatch of transistors, read-outs included.
    """
    if technology.process is None:
        return draw_chips(MismatchLaw.of(technology.mismatch), layers, [chip], entropy)
    devices = []
    for n, kind in enumerate(kinds):
        assert isinstance(kind, TransistorNeuron), "a technology with a process has neurons of transistors"
        process, capacitors = technology.transistors(), kind.bias.capacitors
        devices.append(draw_chip(kind.devices(), capacitors, process, entropy, chip, n))
    return devices
