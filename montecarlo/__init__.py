"""How circuits vary: mismatch, campaigns, statistics."""

from montecarlo.campaign import Campaign
from montecarlo.mismatch import MismatchLaw

__all__ = ["Campaign", "MismatchLaw"]
