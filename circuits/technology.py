"""A technology: what the devices are, the operating point they suit, and how they deviate.

One small TOML file per technology, beside this module.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from circuits.errors import InputError
from circuits.operating_point import OperatingPoint

FOLDER = Path(__file__).with_name("technologies")


@dataclass(frozen=True)
class Technology:
    """Description of one technology."""

    name: str
    description: str
    needs: str  #: programs and files, in words
    environment: tuple[str, ...]  #: environment variables that must be set
    operating_point: OperatingPoint
    mismatch: dict[str, float]  #: sigma by term name, see `montecarlo.mismatch`

    @classmethod
    def load(cls, name: str) -> Technology:
        """A built-in technology by name.

        Raises
        ------
        InputError
            If there is none of that name; the message lists those there are.
        """
        path = FOLDER / f"{name}.toml"
        if name not in cls.available():
            raise InputError(f"unknown technology {name!r}; available: {', '.join(cls.available())}")
        fields = tomllib.loads(path.read_text())
        return cls(
            name=fields["name"],
            description=fields["description"],
            needs=fields["needs"],
            environment=tuple(fields["environment"]),
            operating_point=OperatingPoint(**fields["operating_point"]),
            mismatch=dict(fields["mismatch"]),
        )

    @staticmethod
    def available() -> list[str]:
        """Names of the built-in technologies."""
        return sorted(path.stem for path in FOLDER.glob("*.toml"))
