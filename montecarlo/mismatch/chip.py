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
) -> list[LayerMismatch] | list[TransistorMismatch | None]:
    """Devices of chip number `chip`, one entry per layer.

    Parameters
    ----------
    kinds : sequence of Neuron
        One per layer; the devices of transistors are those of their benches.
    technology : Technology
        Its sigmas, or the matching of its process.

    Returns
    -------
    list
        LayerMismatch (one sample) of ideal sources; TransistorMismatch of transistors, None for read-out.
    """
    if technology.process is None:
        return draw_chips(MismatchLaw.of(technology.mismatch), layers, [chip], entropy)
    return [_devices(kind, technology, chip, entropy) for kind in kinds]  # type: ignore[arg-type]


def _devices(
    kind: TransistorNeuron, technology: Technology, chip: int, entropy: int
) -> TransistorMismatch | None:
    if not kind.layer.spiking:
        return None
    capacitors = kind.bias.capacitors.tolist()
    devices, plates = draw_chip(kind.devices(), capacitors, technology.transistors(), entropy, chip)
    return TransistorMismatch(tuple(devices), plates)
