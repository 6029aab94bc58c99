"""Random chains of layers in every order that can be mapped, for hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st
from random_models import shake
from torch import nn


class Builder:
    """Draws layers one after the other and follows the shape of the images."""

    def __init__(self, draw):
        self.draw = draw
        self.shape = (draw(st.sampled_from([1, 2, 4])), draw(st.integers(5, 9)), draw(st.integers(5, 9)))
        self.layers = []
        self.uneven = False  # a normalization whose shift depends on the place: no max pooling over it

    def add(self, layer):
        self.layers.append(layer)
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
            options = [getattr(layer, k) for k in ("kernel_size", "stride", "padding")]
            options.append(getattr(layer, "dilation", 1))
            pairs = [v if isinstance(v, tuple) else (v, v) for v in options]
            places = (
                (n + 2 * p - d * (k - 1) - 1) // s + 1
                for n, k, s, p, d in zip(self.shape[1:], *pairs, strict=True)
            )
            self.shape = (getattr(layer, "out_channels", self.shape[0]), *places)

    def fits(self, reach, padding=0):
        return min(self.shape[1:]) + 2 * padding >= reach

    def conv(self):
        draw, channels = self.draw, self.shape[0]
        kernel = draw(st.sampled_from([1, 2, 3]))
        dilation = draw(st.sampled_from([1, 1, 2]))
        padding = draw(st.integers(0, 2))
        if not self.fits(dilation * (kernel - 1) + 1, padding):
            kernel = 1
        groups = draw(st.sampled_from([g for g in (1, 2, channels) if channels % g == 0]))
        stride = draw(st.sampled_from([1, 1, 2]))
        out = groups * draw(st.integers(1, 4 // groups + 1))
        bias = draw(st.booleans())
        self.add(nn.Conv2d(channels, out, kernel, stride, padding, dilation, groups, bias))
        self.uneven = False

    def max_pool(self):
        if self.uneven or not self.fits(3):
            return
        padding, stride = self.draw(st.integers(0, 1)), self.draw(st.integers(1, 2))
        self.add(nn.MaxPool2d(self.draw(st.integers(2, 3)), stride, padding))

    def average(self, padded):
        if not self.fits(3):
            return
        padding = self.draw(st.integers(0, 1)) if padded else 0
        self.uneven |= padding > 0
        self.add(nn.AvgPool2d(self.draw(st.integers(2, 3)), self.draw(st.integers(1, 2)), padding))

    def some(self, kinds):
        """A few layers in random order."""
        for kind in self.draw(st.lists(st.sampled_from(kinds), max_size=3)):
            if kind == "norm":
                self.add(nn.BatchNorm2d(self.shape[0], affine=self.draw(st.booleans())))
            elif kind == "max":
                self.max_pool()
            elif kind == "average":
                self.average(padded=True)
            else:
                self.add(nn.Dropout2d())

    def block(self):
        self.conv()
        # an average joins the convolution: it comes first, and without padding
        if self.draw(st.integers(0, 2)) == 0:
            self.average(padded=False)
        self.some(["norm", "max", "dropout"])
        self.add(nn.ReLU())
        self.some(["norm", "max", "average", "dropout"])


@st.composite
def models(draw):
    """(model, shape of one input)."""
    builder = Builder(draw)
    shape = builder.shape
    builder.some(["norm", "max", "average"])
    for _ in range(draw(st.integers(1, 2))):
        builder.block()
    if draw(st.integers(0, 3)) == 0:  # a convolution as read-out
        builder.conv()
        layers = [*builder.layers, nn.Flatten()]
    else:
        channels, high, wide = builder.shape
        layers = [*builder.layers, nn.Flatten()]
        width = channels * high * wide
        if draw(st.booleans()):
            layers += [nn.BatchNorm1d(width)]
        if draw(st.booleans()):
            layers += [nn.Linear(width, 6), nn.ReLU(), nn.BatchNorm1d(6), nn.Dropout()]
            width = 6
        layers += [nn.Linear(width, 3, bias=draw(st.booleans()))]
        if draw(st.booleans()):
            layers += [nn.BatchNorm1d(3)]
    return shake(nn.Sequential(*layers), draw(st.integers(0, 2**31))), shape
