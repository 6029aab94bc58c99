"""Silicon of a layer: gates of its neurons' decks, references once, and the capacitors that are drawn."""

from __future__ import annotations

import numpy as np
import pytest

from circuits.benches.neuron import neuron_bench
from circuits.benches.synapses import explicit_capacitance
from circuits.biasing.choose import LayerBias, of_units
from circuits.biasing.silicon import area
from circuits.model.layer import Layer
from circuits.pdk.technology import Technology

WEIGHTS = np.array([[0.5, -0.25, 0.0, 1.0], [0.0, 0.75, -1.25, 0.0], [-0.25, 0.0, 0.0, 0.0]])


def biased(units: int = 8, scale: float = 1.0) -> LayerBias:
    technology = of_units(Technology.load("generic130").resized(scale), units)
    layer = Layer(WEIGHTS, np.full(3, 0.5), t_min=1.0, t_max=2.5)
    return LayerBias(layer, technology, technology.operating_point, np.zeros(3))


def gates(bias: LayerBias, neuron: int) -> dict[str, float]:
    """Gate area of one neuron's deck, by what it belongs to [m^2]."""
    bench = neuron_bench(
        bias.technology, bias.layer.weights[neuron], np.zeros(4), point=bias.point, theta=0.5
    )
    total = {"w": 0.0, "n": 0.0, "r": 0.0}
    for device in bench.bench.devices:
        total[device.path[0]] += device.size.width * device.size.length * device.count
    return total


@pytest.mark.parametrize(("units", "scale"), [(4, 1.0), (8, 1.0), (8, 4.0), (16, 0.25)])
def test_gates_are_those_of_the_decks(units, scale):
    bias = biased(units, scale)
    found, decks = area(bias), [gates(bias, i) for i in range(3)]
    assert found.synapses == pytest.approx(sum(deck["w"] for deck in decks))
    assert found.neurons == pytest.approx(sum(deck["n"] for deck in decks))
    assert found.references == pytest.approx(decks[0]["r"])  # common to the layer


def test_plates_are_those_of_the_drawn_capacitors():
    """1.5 fF / um^2."""
    bias = biased()
    process = bias.technology.transistors()
    drawn = [explicit_capacitance(bias.point, n, process) for n in (3, 2, 1)]
    found = area(bias)
    assert found.capacitors == pytest.approx(sum(drawn) / 1.5e-3)
    assert found.total == found.synapses + found.neurons + found.references + found.capacitors
