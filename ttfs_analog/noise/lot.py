"""A lot of chips, each drawn when it is its turn: memory does not grow with their number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from circuits.errors import InputError
from circuits.model.closed_form import Constants

if TYPE_CHECKING:
    from ttfs_analog.network.network import TTFSNetwork
    from ttfs_analog.noise.chips import Chips
    from ttfs_analog.noise.noise_model import Noise

Draw = Callable[[Sequence[int]], "Chips"]
"""Numbers -> chips; a chip does not depend on those that are drawn with it."""


@dataclass(frozen=True)
class Lot:
    """Chips `numbers`; to walk through them is to draw them again, the same ones."""

    draw: Draw
    numbers: tuple[int, ...]
    shifts: tuple[NDArray[np.float64], ...] | None = None  #: by layer, (chip, neuron): see `Chips.moved`

    def __post_init__(self) -> None:
        if not self.numbers:
            raise InputError("at least one chip is needed")

    @classmethod
    def of(cls, noise: Noise, net: TTFSNetwork, chips: int, seed: int = 0, first: int = 0) -> Lot:
        """The chips of `noise.sample(net, chips, seed, first)`.

        Raises
        ------
        InputError
            If the network lies outside the range in which the model was measured.
        """
        noise.check_range(net)
        return cls(
            lambda numbers: noise.sample(net, len(numbers), seed, first=numbers[0]),
            tuple(range(first, first + chips)),
        )

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[Chips]:
        return self.blocks(1)

    def blocks(self, size: int) -> Iterator[Chips]:
        """So many chips at a time, of following numbers.

        Parameters
        ----------
        size : int
        """
        for k in range(0, len(self), size):
            part = slice(k, k + size)
            chips = self.draw(self.numbers[part])
            yield chips if self.shifts is None else chips.moved([s[part] for s in self.shifts])

    @cached_property
    def _first(self) -> Chips:
        return next(self.blocks(1))

    @property
    def entropy(self) -> int:
        """See `Chips`."""
        return self._first.entropy

    @property
    def law(self) -> str:
        """See `Chips`."""
        return self._first.law

    @property
    def constants(self) -> tuple[Constants, ...]:
        """See `Chips`."""
        return self._first.constants

    def require_fit(self, net: TTFSNetwork) -> None:
        """See `Chips`."""
        self._first.require_fit(net)

    def moved(self, shifts: Sequence[NDArray[np.float64]]) -> Lot:
        """See `Chips`."""
        so_far = self.shifts or tuple(np.zeros_like(s) for s in shifts)
        return replace(self, shifts=tuple(a + b for a, b in zip(so_far, shifts, strict=True)))
