r"""What gradient descent meets in a TTFS network: layer Jacobians, and where training leads.

.. math:: \frac{dt^{(n)}}{dt^{(n-1)}} = M^{(n)} \frac{1}{B^{(n)}} W^{(n)}

Its eigenvalues decide whether gradients vanish or explode with depth. The reverse map makes a step in W one
in the ReLU weights w = M(W): in form b1 the same step, in the alpha forms a bent one (eq. 10).

Source: Stanojevic et al., Nat. Commun. 2024, eqs. 3, 4 and 10, Figs. 2 and 3; the mask is that of layer n
as in the thesis of A. Stanojevic, EPFL 2023, eq. 3.12 (the article's eq. 4 writes that of layer n - 1).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from circuits.errors import InputError
from montecarlo.campaign.schema import package_version, with_units
from ttfs_analog.conversion.mapping import convert, to_relu
from ttfs_analog.conversion.rescaling import B_LOW, DELTA
from ttfs_analog.data.datasets import Data
from ttfs_analog.data.inputs import pair_for
from ttfs_analog.network.decision import classes, read_out_of
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.network.windows import widen
from ttfs_analog.neuron.functional import jacobian
from ttfs_analog.neuron.layers import TTFSLayer
from ttfs_analog.neuron.seeding import seeded
from ttfs_analog.training.recipe import Recipe
from ttfs_analog.training.training import Diverged, Progress, accuracy, optimize

SPECTRUM, TRAJECTORIES = "ttfs-analog/jacobian-spectrum/1", "ttfs-analog/trajectories/1"
CASES = ("b1", "alpha1", "alpha1 smart")
NETWORKS = ("relu", "b1", "alpha1")
RECORDS: dict[str, tuple] = {
    "loss": (("step", "network"), "cross entropy on the first training images"),
    "accuracy": (("step", "network"), "accuracy on the first training images"),
    "test_accuracy": (("epoch", "network"), "accuracy on the test images"),
    "cosine": (("step", "snn"), "cosine similarity of reverse-mapped and ReLU weights"),
    "largest_difference": (("step", "snn"), "largest |reverse-mapped - ReLU| of all weights and biases"),
    "smallest_slope": (("step", "snn"), "smallest slope B of a hidden neuron"),
    "window": (("step", "snn", "layer"), "firing window t_max - t_min", "tau_c"),
}
"""Name -> (dims, long_name[, units]) of what `trajectories` notes."""


@torch.no_grad()
def layer_jacobian(layer: TTFSLayer, x: Tensor) -> Tensor:
    """dt(n)/dt(n-1), shape (out, in), of a fully connected layer, averaged over its inputs.

    The mask leaves out neurons that are silent, and those clipped at t_min.

    Parameters
    ----------
    layer : TTFSLayer
    x : Tensor, shape (image, in)
        Activations of the layer before [tau_c].

    Source: Stanojevic et al. 2024, eq. 4.
    """
    h = layer(x)
    share = ((h > 0) & (h < layer.window_length)).to(h).mean(0)
    return share.unsqueeze(-1) * jacobian(torch.ones_like(h[0]), layer.weight, layer.slopes())


@torch.no_grad()
def jacobian_spectrum(net: TTFSNetwork, x: Tensor) -> xr.Dataset:
    """Eigenvalues of the Jacobian of every square hidden layer, averaged over inputs.

    A single input gives the Jacobian there. Hardware constraints are left out.

    Parameters
    ----------
    net : TTFSNetwork
    x : Tensor, shape (image, in)
        Inputs in [0, 1].

    Returns
    -------
    Dataset, dims (layer, eigenvalue)
        As `initial_spectrum`; rows of smaller layers end with NaN.

    Raises
    ------
    InputError
        If no fully connected hidden layer is square.
    """
    free, eigenvalues, unusable = net.constrained(None), {}, []
    for n, (layer, inputs) in enumerate(zip(free.layers, free.inputs(x.to(free.like)), strict=True)):
        if layer.spiking and layer.weight.shape == (layer.n_out, layer.n_out):
            eigenvalues[n] = _eigenvalues(layer_jacobian(layer, inputs))
            unusable.append(float((layer.slopes() <= 0).double().mean()))
    if not eigenvalues:
        raise InputError("no fully connected hidden layer is square: there are no eigenvalues")
    values = np.full((len(eigenvalues), max(map(len, eigenvalues.values()))), complex(np.nan, np.nan))
    for row, of_layer in zip(values, eigenvalues.values(), strict=True):
        row[: len(of_layer)] = of_layer
    about = {**net.provenance(), "images": len(x)}
    return _spectrum(values, np.array(unusable), {"layer": list(eigenvalues)}, about)


@torch.no_grad()
def initial_spectrum(
    n: int = 340, seeds: Sequence[int] = range(10), *, delta: float = DELTA, b_low: float = B_LOW
) -> xr.Dataset:
    """Eigenvalues of the Jacobian of a hidden layer of n neurons at standard initialization, all firing.

    Cases: 'b1', W ~ N(0, 1) / sqrt(n), B = 1. 'alpha1', the same W, B = 1 + sum_j W_ij: neurons with B <= 0
    could never fire; they are counted, and stay. 'alpha1 smart', the same values as ReLU weights between two
    more such layers, rescaled (`delta`, `b_low`), then mapped: W / B is the matrix of rescaled ReLU weights.

    Parameters
    ----------
    n : int
        Neurons of the layer.
    seeds : sequence of int
        One draw of the weights each.
    delta, b_low : float
        See `ttfs_analog.conversion.rescaling.rescale`.

    Returns
    -------
    Dataset, dims (case, seed, eigenvalue)
        `eigenvalue_real`, `eigenvalue_imag`, by falling modulus; `spectral_radius`; `share_outside` the
        unit circle; `share_unusable`, neurons with B <= 0.

    Source: Stanojevic et al. 2024, Fig. 2.
    """
    values = np.empty((len(CASES), len(seeds), n), complex)
    unusable = np.empty((len(CASES), len(seeds)))
    for k, seed in enumerate(seeds):
        generator = seeded(seed)
        weights = torch.randn(3, n, n, generator=generator, dtype=torch.float64) / n**0.5
        model = nn.Sequential()
        for weight in weights:
            linear = nn.Linear(n, n, bias=False, dtype=torch.float64)
            linear.weight.copy_(weight)
            model.extend([linear, nn.ReLU()])
        some = torch.rand(2, n, generator=generator, dtype=torch.float64)
        smart = convert(model[:-1], some, mapping="alpha", delta=delta, b_low=b_low).layers[1]
        one, middle = torch.ones(n, dtype=torch.float64), weights[1]
        layers = ((middle, one), (middle, one + middle.sum(1)), (smart.weight, smart.slopes()))
        for c, (weight, slope) in enumerate(layers):
            values[c, k] = _eigenvalues(jacobian(one, weight, slope))
            unusable[c, k] = float((slope <= 0).double().mean())
    coords = {"case": list(CASES), "seed": list(seeds)}
    return _spectrum(values, unusable, coords, {"delta": delta, "b_low": b_low})


def _eigenvalues(matrix: Tensor) -> np.ndarray:
    """By falling modulus: equal matrices give equal rows."""
    values = np.linalg.eigvals(matrix.double().cpu().numpy())
    return values[np.lexsort((values.imag, values.real, -np.abs(values)))]


def _spectrum(values: np.ndarray, unusable: np.ndarray, coords: dict[str, Any], attrs: Any) -> xr.Dataset:
    size, dims = np.abs(values), tuple(coords)
    spectral = (*dims, "eigenvalue")
    outside = np.nanmean(np.where(np.isnan(size), np.nan, size > 1), -1)
    table = {
        "eigenvalue_real": (spectral, values.real, "real part of the eigenvalues of dt(n)/dt(n-1)"),
        "eigenvalue_imag": (spectral, values.imag, "imaginary part of the eigenvalues of dt(n)/dt(n-1)"),
        "spectral_radius": (dims, np.nanmax(size, -1), "largest modulus of an eigenvalue"),
        "share_outside": (dims, outside, "share of eigenvalues outside the unit circle"),
        "share_unusable": (dims, unusable, "share of neurons with slope B <= 0"),
    }
    data = {k: (along, v, {"units": "1", "long_name": name}) for k, (along, v, name) in table.items()}
    about = {"schema": SPECTRUM, "package_version": package_version(), **attrs}
    return with_units(xr.Dataset(data, {**coords, "eigenvalue": np.arange(size.shape[-1])}, about))


def trajectories(
    model: nn.Module,
    data: Data,
    recipe: Recipe,
    *,
    interval: int = 100,
    subset: int = 1000,
    delta: float = DELTA,
    b_low: float = B_LOW,
    progress: Progress | None = None,
) -> xr.Dataset:
    """Train a ReLU network, its B1 and its alpha1 twin in lockstep: from one function, on the same batches.

    The model is rescaled first (its function stays), so that every slope of the smart alpha1 initialization
    is > 0. Slopes and base thresholds B T move with the weights, gradients included. Once alpha1 diverges it
    stands still and the others go on. What rounds otherwise soon parts, most of all deep or in float32.

    Parameters
    ----------
    model : nn.Module
        As `ttfs_analog.conversion.mapping.convert` takes it, without normalization and dropout; left
        untouched.
    data : Data
    recipe : Recipe
        Without l1; SGD for Fig. 3. Its seed orders the images.
    interval : int
        Steps between two records; before that at powers of two, and after the last step.
    subset : int
        Training images, the first ones, that loss and accuracy are taken from.
    delta, b_low : float
        See `ttfs_analog.conversion.rescaling.rescale`.
    progress : callable, optional
        (done, total) of the steps.

    Returns
    -------
    Dataset
        The variables of RECORDS. Those of alpha1 are NaN once it has diverged; attrs `diverged_step` (-1:
        never) and `diverged_reason` say when and why.

    Raises
    ------
    Diverged
        If the ReLU network or its B1 twin diverges.

    Source: Stanojevic et al. 2024, Fig. 3.
    """
    names = [type(m).__name__ for m in model.modules()]
    if recipe.l1 or interval < 1 or subset < 1 or any(n.startswith(("BatchNorm", "Dropout")) for n in names):
        raise InputError("need l1 = 0, interval >= 1, subset >= 1, and a model without BatchNorm and Dropout")
    alpha1 = convert(model, data, mapping="alpha", delta=delta, b_low=b_low)
    relu = to_relu(alpha1)
    nets = {"b1": convert(relu, data), "alpha1": alpha1}
    total = recipe.epochs * -(-len(data.x_train) // recipe.batch)
    coords: dict[str, Any] = {"network": list(NETWORKS), "snn": list(nets)}
    early = [2**k for k in range(20) if 2**k < min(interval, total)]  # alpha1 may not live long
    coords["step"] = np.unique([*early, *range(0, total, interval), total])
    coords |= {"layer": np.arange(len(alpha1.windows)), "epoch": np.arange(1, recipe.epochs + 1)}
    about: dict[str, Any] = {"schema": TRAJECTORIES, "package_version": package_version(), "data": data.name}
    about |= {"recipe": json.dumps(asdict(recipe)), "delta": delta, "b_low": b_low}
    result = with_units(xr.Dataset(coords=coords, attrs=about | {"diverged_step": -1, "diverged_reason": ""}))
    for key, (dims, *texts) in RECORDS.items():
        attrs = dict(zip(("long_name", "units"), (*texts, "1"), strict=False))
        result[key] = (dims, np.full([result.sizes[d] for d in dims], np.nan), attrs)
    run = _Lockstep(relu, nets, data, result, subset)
    run.record()
    pair = pair_for(alpha1, data, training=True)
    joint = nn.ModuleList([relu, *nets.values()])  # their losses are added: no gradient crosses over
    optimize(joint, pair, run.loss, recipe, after=run.after, score=run.score, progress=progress)
    return result


class _Lockstep:
    """Three networks that train as one, and what is noted of them; `nets` are the TTFS ones still alive."""

    def __init__(
        self, relu: nn.Module, nets: dict[str, TTFSNetwork], data: Data, result: xr.Dataset, subset: int
    ) -> None:
        self.relu, self.nets, self.data, self.result = relu, nets, data, result
        place = next(relu.parameters())
        self.x, self.y = data.x_train[:subset].to(place), data.y_train[:subset].to(place.device)
        self.due, self.step, self.epoch = set(result.step.values.tolist()), 0, 0
        self.seen: dict[str, list[Tensor]] = {}

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Sum of the cross entropies of all networks.

        Parameters
        ----------
        x : Tensor, shape (image, in)
        y : Tensor, shape (image,)
            Classes.
        """
        total = cross_entropy(self.relu(x), y)
        for name, net in list(self.nets.items()):
            self.seen[name] = net.trace(x)
            of_net = cross_entropy(self.seen[name][-1], y)
            if name == "alpha1" and not math.isfinite(float(of_net.detach())):
                self.stop("the loss is not finite")
            else:
                total = total + of_net
        return total

    @torch.no_grad()
    def after(self, step: int) -> None:
        """After every step: check slopes, widen windows, record; alpha1 may be stopped, B1 is Diverged.

        Parameters
        ----------
        step : int
            Steps done.
        """
        self.step = step
        for name, net in list(self.nets.items()):
            try:
                for n, layer in enumerate(net.layers):
                    layer.check_slopes(f"layer {n}")
                widen(net, self.seen[name])
            except InputError as error:
                if name == "b1":
                    raise Diverged(str(error)) from None
                self.stop(str(error).split(", it must")[0])
        if self.step in self.due:
            self.record()

    def stop(self, reason: str) -> None:
        """Without a loss alpha1 gets no gradient, and the optimizer passes it over."""
        del self.nets["alpha1"]
        self.result.attrs |= {"diverged_step": self.step, "diverged_reason": reason}

    def score(self) -> float:
        """After every epoch: test accuracies; nan to the history, for they go into the dataset."""
        self.epoch += 1
        for name, net in (("relu", self.relu), *self.nets.items()):
            share = accuracy(net, self.data.x_test, self.data.y_test)
            self.result.test_accuracy.loc[self.epoch, name] = share
        return math.nan

    @torch.no_grad()
    def record(self) -> None:
        """Write what RECORDS names at this step."""
        for name, net in (("relu", self.relu), *self.nets.items()):
            at, logits = (self.step, name), net(self.x)
            self.result.loss.loc[at] = float(cross_entropy(logits, self.y))
            self.result.accuracy.loc[at] = float(
                (classes(logits, read_out_of(net)) == self.y).double().mean()
            )
            if not isinstance(net, TTFSNetwork):
                continue
            pairs = list(zip(self.relu.parameters(), to_relu(net).parameters(), strict=True))
            w, v = (torch.cat([p[k].flatten() for p in pairs if p[0].dim() > 1]) for k in (0, 1))
            self.result.cosine.loc[at] = float(w @ v / (w.norm() * v.norm()))
            self.result.largest_difference.loc[at] = max(float((p - q).abs().max()) for p, q in pairs)
            slopes = [float(layer.slopes().min()) for layer in net.layers if layer.spiking]
            self.result.smallest_slope.loc[at] = min(slopes)
            self.result.window.loc[at] = net.windows
