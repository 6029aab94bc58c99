"""Values of a file in the form of a shape, or the place and the reason why not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import pytest

from circuits.errors import InputError
from circuits.model.shape import checked, subset


@dataclass(frozen=True)
class Part:
    size: float
    ends: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if self.size < 0:
            raise InputError("size must be >= 0")


class Whole(TypedDict):
    parts: dict[str, Part]
    count: int | None
    kind: NotRequired[Literal["a", "b"]]
    pair: NotRequired[Annotated[list[float], 2]]
    about: NotRequired[Mapping[str, Any]]


GOOD = {"parts": {"x": {"size": 1, "ends": [0, 2]}}, "count": None}


def test_a_good_object_comes_back_in_its_form():
    whole = checked({**GOOD, "kind": "a", "pair": [1, 2], "about": {"any": [None]}}, Whole, "f")
    assert whole["parts"]["x"] == Part(1.0, (0.0, 2.0))
    assert isinstance(whole["parts"]["x"].size, float)
    assert whole["pair"] == [1.0, 2.0]
    assert whole["about"] == {"any": [None]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parts": []}, r"f: parts must be an object, got \[\]"),
        ({"parts": {"x": {}}}, r"f: parts\.x lacks \['size', 'ends'\]; known keys: size, ends"),
        ({"parts": {"x": {"size": 1, "ends": [0, 1], "end": 2}}}, r"f: parts\.x has unknown keys \['end'\]"),
        (
            {"parts": {"x": {"size": True, "ends": [0, 1]}}},
            r"f: parts\.x\.size must be a finite number, got True",
        ),
        (
            {"parts": {"x": {"size": "1.5", "ends": [0, 1]}}},
            r"f: parts\.x\.size must be a finite number, got '1\.5'",
        ),
        (
            {"parts": {"x": {"size": float("nan"), "ends": [0, 1]}}},
            r"parts\.x\.size must be a finite number, got nan",
        ),
        ({"parts": {"x": {"size": 10**400, "ends": [0, 1]}}}, r"parts\.x\.size must be a finite number"),
        ({"parts": {"x": {"size": 1, "ends": [0]}}}, r"f: parts\.x\.ends must have 2 entries, got 1"),
        ({"parts": {"x": {"size": -1, "ends": [0, 1]}}}, r"f: parts\.x: size must be >= 0"),
        ({"count": 1.5}, "f: count must be a whole number or null, got 1.5"),
        ({"count": False}, "f: count must be a whole number or null, got False"),
        ({"kind": "c"}, "f: kind must be one of 'a', 'b', got 'c'"),
        ({"pair": [1.0]}, "f: pair must have 2 entries, got 1"),
        ({"pair": [1.0, None]}, r"f: pair\[1\] must be a finite number, got None"),
        ({"other": 1}, r"f has unknown keys \['other'\]"),
    ],
)
def test_a_fault_is_named_with_its_place(change, message):
    with pytest.raises(InputError, match=message):
        checked({**GOOD, **change}, Whole, "f")


def test_keys_of_others_may_stand_beside_those_of_a_subset():
    assert subset({**GOOD, "count": 3, "note": "mine"}, Whole, "f")["count"] == 3
