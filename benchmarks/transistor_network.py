"""CPU of one image through one transistor chip of a placed 64-32-10 network: layer by layer, a deck a neuron.

python benchmarks/transistor_network.py
"""

import numpy as np
import torch
from common import cost, cpu, machine

from circuits.pdk.technology import Technology
from circuits.spice.ngspice import Ngspice
from ttfs_analog.conversion.mapping import convert
from ttfs_analog.data import datasets
from ttfs_analog.evaluation.transistor_runs import draw_chips, run_chips
from ttfs_analog.evaluation.transistor_summary import rms
from ttfs_analog.placement.neurons import neurons_of
from ttfs_analog.placement.place import place
from ttfs_analog.training.architectures import build
from ttfs_analog.training.recipe import Recipe
from ttfs_analog.training.training import train

IMAGES = 3
BAR = 6.0


def main() -> None:
    """Print cost and agreement."""
    torch.set_num_threads(1)
    digits, simulator = datasets.load("digits"), Ngspice()
    relu = build("fc-32", digits.shape, digits.classes, 0, torch.float64)
    train(relu, digits, Recipe(epochs=10))
    net = place(convert(relu, digits), Technology.load("generic130"), (digits.x_train, digits.y_train))
    kinds = neurons_of(net)
    before = cpu()
    chips = draw_chips(kinds, [{}] * len(kinds), [0], 0, simulator)
    known = cpu() - before
    x = digits.x_test[:IMAGES].double().numpy()
    residuals, active = [], []

    def image(k: int) -> None:
        (run,) = run_chips(kinds, chips, x[[k]], 1, simulator)
        spice, model = (np.concatenate([getattr(v, n) for v in run.layers]) for n in ("spice", "equation"))
        both = np.isfinite(spice) & np.isfinite(model)
        residuals.append(spice[both] - model[both])
        active.append([int((v.inputs > 0).sum()) for v in run.layers])

    seconds = [cost(lambda k=k: image(k), 1, repeats=1) / 1e3 for k in range(IMAGES)]
    inputs, hidden = np.mean(active, axis=0)
    print(f"64-32-10 on generic130, transistor chips, layer by layer ({machine()})")
    print(f"one image, one chip   {np.median(seconds):6.2f} s CPU (bar {BAR:g}), of {IMAGES} images")
    print(f"                      {inputs:.0f} inputs and {hidden:.0f} hidden neurons active on average")
    print(f"a chip's own devices  {known:6.2f} s CPU, once: operating points of it and of a perfect one")
    print(f"spike times           {rms(np.concatenate(residuals)):6.4f} tau_c rms off the equation")
    print("                      with each chip's devices, delays and fitted constants left out")


if __name__ == "__main__":
    main()
