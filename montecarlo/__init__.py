"""How circuits vary: mismatch, campaigns, statistics."""

from montecarlo.campaign.campaign import Campaign
from montecarlo.mismatch.law import MismatchLaw

__all__ = ["Campaign", "MismatchLaw"]
