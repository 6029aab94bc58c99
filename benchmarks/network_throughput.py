"""CPU per chip and image of a 64-32-10 network with mismatch: layer by layer, against one flat transient.

python benchmarks/network_throughput.py
"""

import numpy as np
from common import cost, machine

from circuits.ideal import whole_network as flat
from circuits.model.layer import Layer, LayerMismatch
from circuits.model.operating_point import OperatingPoint
from circuits.simulation import feed_forward
from circuits.spice.ngspice import Ngspice

SIZES, WINDOWS, CHIPS = (64, 32, 10), (1.0, 4.0), 128
BAR = 8.0


def main() -> None:
    """Print cost, ratio and agreement."""
    rng = np.random.default_rng(0)
    layers = [
        Layer(
            rng.normal(size=(SIZES[n + 1], SIZES[n])) / np.sqrt(SIZES[n]),
            0.3 * rng.normal(size=SIZES[n + 1]),
            t_min=WINDOWS[n],
            t_max=WINDOWS[n] + (WINDOWS[1] if n == 0 else 0.0),
            spiking=n == 0,
        )
        for n in range(2)
    ]
    points = [OperatingPoint().fit_swing(-6, 9)] * 2
    mismatch = [
        LayerMismatch(
            0.05 * rng.normal(size=(CHIPS, *layer.weights.shape)),
            *(0.05 * rng.normal(size=(CHIPS, layer.n_out)) for _ in range(3)),
        )
        for layer in layers
    ]
    x = rng.random((1, 64)) * (rng.random((1, 64)) > 0.3)
    simulator = Ngspice()

    def by_layer() -> list:
        return list(feed_forward(layers, points, x, mismatch, simulator=simulator))

    def whole() -> tuple:
        one = [deviation[0] for deviation in mismatch]
        return flat.simulate(layers, points, x[0], one, simulator=simulator)

    by_layer()
    own, other = cost(by_layer, CHIPS), cost(whole, 1)
    ((_, responses),) = by_layer()
    ((_, theory),) = feed_forward(layers, points, x, mismatch, level="closed-form")
    times, logits = whole()
    delay = responses[0].delay[0]
    fired = np.isfinite(delay)
    exact = np.max(np.abs(responses[1].v_t_min - theory[1].v_t_min))
    print(f"64-32-10, {CHIPS} chips, one image ({machine()})")
    print(f"layer by layer   {own:7.2f} ms CPU a chip (bar {BAR:g}); logits to {exact:.1e} of theory")
    print(f"flat transient   {other:7.0f} ms CPU a chip ({other / own:.0f}x); agrees with layer by layer to")
    print(f"                 {np.max(np.abs(times[0][fired] - delay[fired])):.1e} tau_c in spike time,")
    print(f"                 {np.max(np.abs(logits - responses[1].v_t_min[0])):.1e} in logits")


if __name__ == "__main__":
    main()
