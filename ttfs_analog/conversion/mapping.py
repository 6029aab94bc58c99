r"""ReLU network <-> TTFS network, exactly: the family of mappings.

.. math:: w = W / B, \qquad b = -\theta / B + (t_{max} - t_{min}) / \tau_c + \alpha T_{in} / B

=========  ==================  ====================  ==============================================
mapping    current alpha       weights               slope B at threshold
=========  ==================  ====================  ==============================================
b1         0                   w                     1
alpha      given               alpha w / (1 - sum)   alpha / (1 - sum), silent neurons forced to fire
positive   given               alpha w / (1 - sum)   the same, never negative: sum of w > 0 below 1
dynamic    0, threshold falls  alpha w / (1 - sum)   as alpha
equal      1 - sum w           w                     1, silent neurons forced to fire
single     given               alpha w / (1 - sum)   switched on at t_min: at most one spike a neuron
=========  ==================  ====================  ==============================================

All but b1 need sum_j w_ij < 1, which `ttfs_analog.conversion.rescaling` brings about. In relative time the
ideal B1 network *is* the ReLU network: a theorem, not a result.

Source: Stanojevic et al., Nat. Commun. 2024, eqs. 2 and 9; A. Stanojevic, thesis, EPFL 2023, section 2.2.3
and eqs. 2.25-2.29.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from circuits.errors import InputError
from circuits.pdk.technology import Technology
from ttfs_analog.constraints.constraints import NONZERO
from ttfs_analog.conversion.affine_stage import Stage
from ttfs_analog.conversion.preprocessing import stages
from ttfs_analog.conversion.rescaling import B_LOW, DELTA, rescale
from ttfs_analog.conversion.trace import Step, at_inference, chain
from ttfs_analog.data.datasets import Data
from ttfs_analog.data.inputs import ends, inputs_for, raw
from ttfs_analog.network.decision import classes
from ttfs_analog.network.inputs import check_unit, flat
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.network.windows import Progress, choose_windows
from ttfs_analog.neuron.convolutions import TTFSConv2d
from ttfs_analog.neuron.layers import FORMS, TTFSLayer, TTFSLinear
from ttfs_analog.neuron.pooling import Border

Range = tuple[float | Sequence[float], float | Sequence[float]]
BATCH = 500
CHECKED = 64
"""Calibration inputs on which the map is compared with the model."""
TOLERANCE = 0.4
"""Logits agree to this power of the rounding step: 6e-7 in float64, 2e-3 in float32."""


def convert(
    model: nn.Module,
    calibration: Any,
    *,
    mapping: str = "b1",
    alpha: float = 1.0,
    delta: float = DELTA,
    b_low: float = B_LOW,
    zeta: float = 0.5,
    percentile: float | None = None,
    percentile_of: str = NONZERO,
    input_range: Range = (0.0, 1.0),
    technology: Technology | None = None,
    metadata: dict[str, Any] | None = None,
    progress: Progress | None = None,
) -> TTFSNetwork:
    """Map a ReLU network to a TTFS network with the same function.

    Parameters
    ----------
    model : nn.Module
        A chain of Linear, Conv2d, BatchNorm, ReLU, MaxPool2d, AvgPool2d, Dropout and Flatten; left
        untouched, and read as it is at inference.
    calibration : Data, loader, tensor, or (x, y)
        Inputs as the model takes them, in `input_range` (a Data: in [0, 1]); they set the windows.
    mapping : str
        A row of the table above.
    alpha : float
        Current of phase 1 (all mappings but b1 and equal).
    delta, b_low : float
        See `ttfs_analog.conversion.rescaling.rescale` (all mappings but b1).
    zeta, percentile, percentile_of
        See `ttfs_analog.network.windows.choose_windows`.
    input_range : (p, q)
        The model's inputs lie in [p, q], one number each or one a channel; those of the network in
        [0, 1].
    technology : Technology, optional
        Where the operating points of the layers are taken from; default "ideal".
    metadata : dict, optional
        JSON-serializable, for the network's file.
    progress : callable, optional
        (done, total) of the batches that set the windows.

    Raises
    ------
    InputError
        If a layer is not supported, a weight is not finite, or inputs leave their range; or if the network,
        before its windows clip anything, does not give the model's logits on calibration inputs. What
        windows clip afterwards (zeta < 0, percentile) is not looked at here, see `agreement`.

    Source: Stanojevic et al. 2024, eqs. 2 and 9; thesis of A. Stanojevic, eqs. 2.25-2.29.
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"the model is a {type(model).__name__}, an nn.Module was expected")
    if mapping not in FORMS:
        raise InputError(f"unknown mapping {mapping!r}; available: {', '.join(FORMS)}")
    if not 0 < alpha < math.inf:
        raise InputError(f"alpha must be > 0, got {alpha}")
    _check_values(model)
    with at_inference(model):
        return _convert(
            model, calibration, mapping, alpha, delta, b_low, input_range, technology, metadata,
            {"zeta": zeta, "percentile": percentile, "percentile_of": percentile_of, "progress": progress},
        )  # fmt: skip


def _check_values(model: nn.Module) -> None:
    """Refuse weights that no current can be."""
    for name, value in model.state_dict().items():
        if isinstance(value, nn.UninitializedParameter | nn.UninitializedBuffer):
            raise InputError(f"{name} has no size yet: run the model on one batch first")
        if value.is_complex():
            raise InputError(f"{name} is complex; only real weights are currents")
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise InputError(f"{name} holds values that are not finite (NaN or inf)")


def _convert(
    model: nn.Module,
    calibration: Any,
    mapping: str,
    alpha: float,
    delta: float,
    b_low: float,
    input_range: Range,
    technology: Technology | None,
    metadata: dict[str, Any] | None,
    windows: dict[str, Any],
) -> TTFSNetwork:
    """`convert` of a model in evaluation mode."""
    steps = chain(model)
    like = next((s.module.weight for s in steps if isinstance(s.module, nn.Linear | nn.Conv2d)), None)
    if like is None:
        raise InputError("the model must end with a Linear or Conv2d layer without ReLU: it is the read-out")
    like = like.detach()
    raw_x, _ = raw(calibration, training=True, labels=False)
    shape = _input_shape(steps, calibration, raw_x)
    low, high = _range(input_range, like)
    if isinstance(steps[0].module, nn.Unflatten):
        steps = steps[1:]
    twin = stages(steps, shape, (low, high), like)
    if mapping != "b1":
        rescale(twin, delta=delta, b_low=b_low, positive=mapping == "positive")
    blocks: list[nn.Module] = []
    for n, stage in enumerate(twin):
        layer = _layer(stage, mapping, alpha)
        layer.check_slopes(f"layer {n}")
        blocks += [*stage.before, layer, *stage.after]
    about = {**(metadata or {}), "mapping": mapping, "input_range": [low.tolist(), high.tolist()]}
    net = TTFSNetwork(blocks, about, shape)
    x = inputs_for(net, calibration if isinstance(calibration, Data) else raw_x, training=True)
    _check_function(net, model, x[:CHECKED])
    net.set_windows(choose_windows(net, x, **windows))
    net.choose_points(x, (technology or Technology.load("ideal")).operating_point)
    return net


def _range(input_range: Range, like: Tensor) -> tuple[Tensor, Tensor]:
    """p and q of the input range, checked."""
    try:
        p, q = input_range
        low, high = (torch.as_tensor(v, dtype=like.dtype, device=like.device) for v in (p, q))
    except (TypeError, ValueError, RuntimeError):
        raise InputError(
            f"the input range is (p, q), numbers or one a channel, got {input_range!r}"
        ) from None
    if low.shape != high.shape and low.dim() and high.dim():
        raise InputError(
            f"the input range has {low.numel()} values for p and {high.numel()} for q; give as many"
        )
    if not bool((high > low).all() and (high - low).isfinite().all()):  # NaN is caught here too
        raise InputError(f"the input range must have p < q, finite, got {low.tolist()} and {high.tolist()}")
    return low, high


def _check_function(net: TTFSNetwork, model: nn.Module, x: Tensor) -> None:
    """Refuse a network that, before any window clips, is not the model: the trace has not seen all of it."""
    free = net.clone()
    for layer in free.layers:
        if layer.spiking:
            layer.set_windows(window=math.inf)
    try:
        _, apart = agreement(free, model, x)
    except InputError:
        raise
    except Exception as error:  # whatever the user's forward raises
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"the model fails on its calibration data ({type(error).__name__}: {reason})"
        ) from error
    if not apart <= torch.finfo(x.dtype).eps ** TOLERANCE:  # NaN is caught here too
        raise InputError(
            f"the map is not the model: logits differ by {apart:.1e} of the largest before any window clips. "
            f"{type(model).__name__} does what its layers do not say: look for chance, global hooks, and "
            "code that depends on values or on the batch"
        )


def _input_shape(steps: list[Step], calibration: Any, x: Tensor) -> tuple[int, ...]:
    """Of one input as the first layer takes it."""
    if x.dim() < 2 or not len(x):
        raise InputError(
            f"calibration data are (image, ...) and hold at least one, got shape {tuple(x.shape)}"
        )
    size = x[0].numel()
    first = next(s for s in steps if not isinstance(s.module, nn.ReLU | nn.BatchNorm1d))
    if isinstance(first.module, nn.Unflatten):
        shape = tuple(first.module.unflattened_size)
    elif isinstance(first.module, nn.Linear):
        shape = (size,)
    elif isinstance(calibration, Data):
        shape = calibration.shape
    else:
        shape = tuple(x.shape[1:])
    if math.prod(shape) != size:
        raise InputError(f"the model takes inputs of shape {shape}, the calibration data have {size}")
    if len(shape) == 1 and not isinstance(first.module, nn.Linear | nn.Flatten):
        raise InputError(f"{first.where} needs images; give calibration data (image, channel, height, width)")
    return shape


def _layer(stage: Stage, mapping: str, alpha: float) -> TTFSLayer:
    """The neurons of one stage."""
    weight, bias = stage.weight, stage.bias
    border, current, form = stage.border, None, "b1"
    if stage.relu and mapping != "b1":
        form = mapping
        if mapping != "equal":
            factor = alpha / (1.0 - weight.flatten(1).sum(1))
            weight = weight * factor.reshape(-1, *[1] * (weight.dim() - 1))
            current = torch.full_like(bias, alpha)
            slope = current + weight.flatten(1).sum(1)
            bias = slope * bias
            border = None if border is None else slope[:, None, None] * border
    options: dict[str, Any] = {"spiking": stage.relu, "form": form, "alpha": current, "border": border}
    if stage.geometry is None:
        return TTFSLinear(weight, bias, **options)
    return TTFSConv2d(weight, bias, inside=stage.inside, **stage.geometry, **options)


def to_relu(net: TTFSNetwork) -> nn.Sequential:
    """The ReLU network with the same function: the reverse map, eq. 2. It takes inputs in [0, 1]."""
    modules: list[nn.Module] = []
    if len(net.input_shape) == 3:
        modules.append(nn.Unflatten(1, net.input_shape))
    for block in net.blocks:
        if not isinstance(block, TTFSLayer):
            modules.append(block)
            continue
        weight, border = block.weight, block.border
        slope = block.slopes() if block.spiking else torch.ones_like(block.bias)
        options: dict[str, Any] = {"device": weight.device, "dtype": weight.dtype}
        twin: nn.Linear | nn.Conv2d
        if isinstance(block, TTFSConv2d):
            inputs, size = weight.shape[1] * block.groups, (weight.shape[2], weight.shape[3])
            geometry: dict[str, Any] = {**block.geometry, "groups": block.groups}
            twin = nn.Conv2d(inputs, len(weight), size, **geometry, **options)
        else:
            twin = nn.Linear(weight.shape[1], len(weight), **options)
        with torch.no_grad():
            twin.weight.copy_(weight / slope.reshape(-1, *[1] * (weight.dim() - 1)))
            if twin.bias is not None:
                twin.bias.copy_(block.bias / slope)
        modules.append(twin)
        if border is not None:
            modules.append(Border(border / slope.detach()[:, None, None]))
        if block.spiking:
            modules.append(nn.ReLU())
    return nn.Sequential(*modules)


def as_seen_by(model: nn.Module, net: TTFSNetwork) -> Callable[[Tensor], Tensor]:
    """The model as a function of the network's inputs.

    Parameters
    ----------
    model : nn.Module
        That `net` was converted from.
    net : TTFSNetwork

    Returns
    -------
    callable
        Inputs (image, in) in [0, 1] -> logits (image, class).
    """
    flat = isinstance(chain(model)[0].module, nn.Unflatten)

    def logits(x: Tensor) -> Tensor:
        low, high = ends(net, x)
        scaled = low + (high - low) * net.shaped(x)
        return model(scaled.flatten(1) if flat else scaled).flatten(1)

    return logits


@torch.no_grad()
def agreement(net: TTFSNetwork, model: nn.Module, x: Tensor) -> tuple[float, float]:
    """Share of inputs with the same class, and the largest relative difference of the logits.

    Parameters
    ----------
    net : TTFSNetwork
    model : nn.Module
        That `net` was converted from.
    x : Tensor, shape (image, in)
        Inputs of the network, in [0, 1]; the model gets them in its own range and shape.
    """
    same, difference, scale = 0, 0.0, 0.0
    seen = as_seen_by(model, net)
    with at_inference(model):
        for part in check_unit(flat(x, net.input_shape)).to(net.like).split(BATCH):
            a, b = net(part), seen(part)
            same += int((classes(a, net.read_out) == classes(b, net.read_out)).sum())
            apart = float((a - b).abs().max())
            difference = apart if math.isnan(apart) else max(difference, apart)  # NaN stays
            scale = max(scale, float(b.abs().max()))
    return same / len(x), difference / (scale or math.inf)
