"""A ReLU network of your own, for `ttfs-analog convert examples/my_network.py:build`."""

from torch import nn


def build() -> nn.Module:
    """Linear and ReLU layers, in order; the last Linear layer is the read-out."""
    return nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, 10))
