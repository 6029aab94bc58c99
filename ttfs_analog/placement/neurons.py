"""The transistor neurons of a placed network: what its file says, as circuits."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from circuits.biasing.choose import LayerBias, of_units
from circuits.biasing.transistor_layer import TransistorNeuron
from circuits.errors import InputError
from circuits.model.closed_form import Constants
from circuits.pdk.technology import Technology
from ttfs_analog.network.network import TTFSNetwork


def placement_of(net: TTFSNetwork) -> dict[str, Any]:
    """What a network's file says about its placement.

    Raises
    ------
    InputError
        If the network is on no transistors.
    """
    about = net.metadata.get("placement")
    if not about:
        raise InputError(
            "the network is not placed on transistors: make it fit with 'place NET --technology T'"
        )
    return about


def technology_of(net: TTFSNetwork) -> Technology:
    """The technology that a network is placed on, with its transistors of the placement's area."""
    about = placement_of(net)
    return Technology.load(about["technology"]).resized(float(about["area"]))


def neurons_of(
    net: TTFSNetwork,
    constants: Sequence[Constants] | None = None,
    *,
    corner: str | None = None,
    temperature: float | None = None,
    supply: float | None = None,
) -> list[TransistorNeuron]:
    """Neurons of every layer of a placed network, as built.

    Parameters
    ----------
    constants : sequence of Constants, optional
        Of the equation, one a layer; None: those of the ideal neuron with the layer's delay.
    corner, temperature, supply : optional
        Where they are operated; None: as the network was placed for; [degrees C], [V].

    Raises
    ------
    InputError
        If the network is not placed, or has changed its layers since.
    """
    about, technology = placement_of(net), technology_of(net)
    layers = net.to_circuit()
    if len(about["layers"]) != len(layers) or len(net.points) != len(layers):
        raise InputError("the network has other layers than when it was placed: place it again")
    conditions = {"corner": corner, "temperature": temperature, "supply": supply}
    at: dict[str, Any] = {k: about.get(k) if v is None else v for k, v in conditions.items()}
    kinds = []
    for n, (layer, point, entry) in enumerate(zip(layers, net.points, about["layers"], strict=True)):
        late = np.full(layer.n_out, float(entry["delay_tau_c"]) if layer.spiking else 0.0)
        known = constants[n] if constants else Constants(delay=late)
        circuit = layer if layer.spiking else dataclasses.replace(layer, bias=np.zeros(layer.n_out))
        bias = LayerBias(circuit, of_units(technology, int(entry["units"])), point, late, known)
        kinds.append(TransistorNeuron(bias, leave_out=float(entry["leakage"]) <= LEAST_LEAKAGE, **at))
    return kinds


LEAST_LEAKAGE = 2e-3
"""Shift of a potential by leakage of all synapses below which silent ones may be left out [1]."""
