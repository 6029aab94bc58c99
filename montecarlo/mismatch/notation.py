"""How mismatch is written on a command line: TERM=VALUE items become a law."""

from __future__ import annotations

import dataclasses
from typing import Any

from circuits.errors import InputError
from circuits.pdk.technology import Technology
from montecarlo.mismatch.law import TERMS, MismatchLaw

Items = tuple[str, ...]


def parse_sigmas(items: Items, option: str = "--sigma") -> dict[str, float]:
    """Spreads by term.

    Parameters
    ----------
    items : tuple of str
        '0.05' for all terms, 'slope=0.1' for one; later items win.
    option : str
        That the items are of, for messages.
    """
    sigma: dict[str, float] = {}
    for item in items:
        term, _, text = item.rpartition("=")
        value = _number(option, item, text, " (0.05 = 5 %)")
        sigma |= {term: value} if term else dict.fromkeys(TERMS, value)
    return sigma


def parse_law(
    technology: Technology,
    sigmas: Items,
    distributions: Items = (),
    correlations: Items = (),
    commons: Items = (),
) -> MismatchLaw:
    """The technology's law with some of its terms changed.

    Parameters
    ----------
    technology : Technology
    sigmas, commons : tuple of str
        'S' or 'TERM=S'.
    distributions : tuple of str
        'TERM=NAME', see `montecarlo.mismatch.distributions`.
    correlations : tuple of str
        'TERM.TERM=RHO'.
    """
    law = MismatchLaw.of({**technology.mismatch, **parse_sigmas(sigmas)})
    names = [_split("--distribution", item, "TERM=NAME") for item in distributions]
    pairs = []
    for item in correlations:
        both, text = _split("--correlation", item, "TERM.TERM=RHO")
        first, _, second = both.partition(".")
        pairs.append((first, second, _number("--correlation", item, text)))
    common = parse_sigmas(commons, "--common")
    return dataclasses.replace(
        law, distribution=tuple(names), correlation=tuple(pairs), common=tuple(common.items())
    )


def parse_spreads(items: Items, option: str = "--reference") -> dict[str, float]:
    """'NAME=SIGMA' items by name; later ones win."""
    pairs = [(item, *_split(option, item, "NAME=SIGMA")) for item in items]
    return {name: _number(option, item, text, " (0.1 = 10 %)") for item, name, text in pairs}


def parse_conditions(items: Items) -> dict[str, Any]:
    """'AXIS=VALUE' items as settings: numbers, or names such as those of corners."""
    settings: dict[str, Any] = {}
    for item in items:
        axis, text = _split("--at", item, "AXIS=VALUE")
        if axis in settings:
            raise InputError(f"--at {axis} appears twice")
        try:
            settings[axis] = float(text)
        except ValueError:
            settings[axis] = text
    return settings


def _split(option: str, item: str, shape: str) -> tuple[str, str]:
    name, _, value = item.partition("=")
    if not (name and value):
        raise InputError(f"{option} {item!r} is not of the form {shape}")
    return name, value


def _number(option: str, item: str, text: str, hint: str = "") -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{option} {item!r}: {text!r} is not a number{hint}") from None
