"""The behavioral noise model, and the chips drawn from it."""
