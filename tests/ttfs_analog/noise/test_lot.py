"""Lots: chips drawn when needed are the chips that are drawn at once."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from circuits.errors import InputError
from circuits.model.layer import LayerMismatch
from ttfs_analog.evaluation.accuracy import evaluate, table
from ttfs_analog.noise.chips import join
from ttfs_analog.noise.lot import Lot
from ttfs_analog.training.trimming import shifts


def same(a, b) -> bool:
    names = [f.name for f in fields(LayerMismatch)]
    pairs = zip(a.layers, b.layers, strict=True)
    return all(np.array_equal(getattr(x, n), getattr(y, n)) for x, y in pairs for n in names)


def test_a_lot_is_its_chips(net, make_noise):
    noise = make_noise(0.1)
    lot, chips = Lot.of(noise, net, 7, 4, first=20), noise.sample(net, 7, 4, first=20)
    assert (lot.numbers, len(lot), lot.entropy, lot.law) == (chips.numbers, 7, 4, chips.law)
    assert lot.constants == chips.constants
    for size in (1, 3, 7, 50):
        assert same(join(list(lot.blocks(size))), chips)
    assert [c.numbers for c in lot] == [(n,) for n in chips.numbers]


def test_shifts_follow_their_chip(net, make_noise):
    lot, chips = (make(make_noise(0.1)) for make in (lambda n: Lot.of(n, net, 5), lambda n: n.sample(net, 5)))
    moves = [np.arange(5.0 * layer.n_out).reshape(5, layer.n_out) for layer in net.layers]
    twice = join(list(lot.moved(moves).moved(moves).blocks(2)))
    assert same(twice, chips.moved([2.0 * m for m in moves]))


def test_what_is_judged_and_trimmed_is_the_same(net, digits, make_noise):
    noise = make_noise(0.15)
    lot, chips = Lot.of(noise, net, 6, 3), noise.sample(net, 6, 3)
    assert evaluate(net, digits, lot).identical(evaluate(net, digits, chips))
    moved = [shifts(net, some, digits.x_train, bits=4) for some in (lot, chips)]
    assert all(np.array_equal(a, b) for a, b in zip(*moved, strict=True))
    trimmed = evaluate(net, digits, lot.moved(moved[0]))
    assert trimmed.identical(evaluate(net, digits, chips.moved(moved[1])))
    lines = table(trimmed).splitlines()
    assert lines[0] == "chip,accuracy,rejected,spikes_per_neuron,early,silent"
    assert len(lines) == 7
    assert float(lines[3].split(",")[1]) == trimmed["accuracy"][2]


def test_few_chips_are_held_at_a_time(net, digits, make_noise, monkeypatch):
    monkeypatch.setattr("ttfs_analog.evaluation.accuracy.ELEMENTS", 1)
    noise, most = make_noise(0.1), []
    lot = Lot.of(noise, net, 9)

    def counted(numbers):
        most.append(len(numbers))
        return lot.draw(numbers)

    few = (digits.x_test[:4], digits.y_test[:4])
    evaluate(net, few, Lot(counted, lot.numbers))
    assert max(most) == 1


def test_no_chip_is_refused(net, make_noise):
    with pytest.raises(InputError, match="at least one chip"):
        Lot.of(make_noise(0.1), net, 0)
