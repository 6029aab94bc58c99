"""Any supported `nn.Module` as a chain of named torch layers, traced with torch.fx.

Functional calls become the layers they stand for; what does nothing at inference disappears. A branch, a
skip connection or an unknown layer is refused by name.
"""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple, NoReturn

import torch
from torch import fx, nn
from torch.nn import functional as F

from circuits.errors import InputError
from ttfs_analog.neuron.pooling import Border, Pool

SUPPORTED = (
    nn.Linear,
    nn.Conv2d,
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.ReLU,
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.Flatten,
    nn.Unflatten,
    Border,
    Pool,
)
PASS_THROUGH = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout, nn.Identity)
"""Layers that do nothing at inference."""
REMEDY = "use Linear, Conv2d, BatchNorm, ReLU, MaxPool2d, AvgPool2d, Dropout and Flatten"
ADVICE = {
    nn.Softmax: "remove it: the read-out gives logits",
    nn.LogSoftmax: "remove it: the read-out gives logits",
    nn.GELU: "train with ReLU: a spike time is a rectified sum",
    nn.Sigmoid: "train with ReLU: a spike time is a rectified sum",
    nn.ReLU6: "train with ReLU, and see the latency constraint for clipping",
    nn.Tanh: "train with ReLU: a spike time is a rectified sum",
    nn.LeakyReLU: "train with ReLU: a silent neuron sends nothing",
    nn.Conv1d: "write it as a Conv2d of height 1",
    nn.LayerNorm: "use BatchNorm: it has fixed statistics that fuse into the weights",
    nn.GroupNorm: "use BatchNorm: it has fixed statistics that fuse into the weights",
}


class Step(NamedTuple):
    """One layer of the chain; `where` is how messages call it."""

    where: str
    module: nn.Module


class _Tracer(fx.Tracer):
    """Leaves the package's pooling and borders whole, as it does torch's layers."""

    def is_leaf_module(self, m: nn.Module, qualified_name: str) -> bool:
        """Whether a module is one step, see `torch.fx.Tracer`.

        Parameters
        ----------
        m : nn.Module
        qualified_name : str
        """
        return isinstance(m, Border | Pool) or super().is_leaf_module(m, qualified_name)


def chain(model: nn.Module) -> list[Step]:
    """The layers of a feed-forward model in order.

    Raises
    ------
    InputError
        Naming the layer or operation that cannot be mapped, and what to do.
    """
    if isinstance(model, SUPPORTED):  # a single layer is its own chain
        model = nn.Sequential(model)
    hooked = [name for name, m in model.named_modules() if m._forward_hooks or m._forward_pre_hooks]
    if hooked:
        raise InputError(
            f"layer {hooked[0] or type(model).__name__} has forward hooks, which no map can see; remove them"
        )
    try:
        defaults = {
            name: p.default
            for name, p in list(inspect.signature(model.forward).parameters.items())[1:]
            if p.default is not p.empty
        }
        graph = _Tracer().trace(model, concrete_args=defaults or None)
    except Exception as error:  # whatever the user's forward raises on a symbolic input
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{type(model).__name__} cannot be traced with torch.fx ({reason}): forward must be a plain "
            "sequence of layers, without decisions that depend on values; of a compiled or parallel model "
            "give the one inside"
        ) from None
    modules = dict(model.named_modules(remove_duplicate=False))
    steps: list[Step] = []
    shapes: set[fx.Node] = set()  # sizes, optional arguments, and what is computed from them
    last: fx.Node | None = None
    for node in graph.nodes:
        if node.op == "placeholder":
            if last is not None:
                if str(node.target).rpartition("_")[0] in defaults or node.name not in _used(graph):
                    shapes.add(node)  # an optional argument at its default, or one that is not used
                    continue
                raise InputError(f"the model takes more than one input ({node.name}); give it one")
            last = node
            continue
        if _is_shape(node, shapes):
            shapes.add(node)
            continue
        if _is_assertion(node):
            continue
        inputs = [n for n in node.all_input_nodes if n not in shapes]
        if inputs != [last]:
            _refuse_branch(node)
        if node.op == "output":
            break
        step = _step(node, modules)
        if step is not None:
            steps.append(step)
        last = node
    return steps


def _used(graph: fx.Graph) -> set[str]:
    return {n.name for node in graph.nodes if not _is_assertion(node) for n in node.all_input_nodes}


def _is_assertion(node: fx.Node) -> bool:
    """What fx leaves of arguments that keep their default."""
    return node.op == "call_function" and "_assert" in getattr(node.target, "__name__", "")


def _is_shape(node: fx.Node, shapes: set[fx.Node]) -> bool:
    if node.op == "call_method" and node.target in ("size", "dim"):
        return True
    if node.op == "call_function" and node.target is getattr:
        return node.args[1] in ("shape", "ndim")
    inputs = node.all_input_nodes
    return node.op == "call_function" and bool(inputs) and all(n in shapes for n in inputs)


def _refuse_branch(node: fx.Node) -> NoReturn:
    if node.op == "get_attr" or any(n.op == "get_attr" for n in node.all_input_nodes):
        raise InputError(
            f"operation {node.name} uses a parameter directly; put it into a Linear or Conv2d layer"
        )
    raise InputError(
        f"operation {node.name} joins branches (or skips layers); only a chain of layers can be mapped: "
        "remove the skip connection"
    )


def _step(node: fx.Node, modules: dict[str, nn.Module]) -> Step | None:
    """The layer of one node; None if it does nothing at inference."""
    if node.op == "call_module":
        module = modules[str(node.target)]
        where = f"layer {node.target} ({type(module).__name__})"
        if isinstance(module, PASS_THROUGH):
            return None
        if not isinstance(module, SUPPORTED):
            raise InputError(f"{where} is not supported; {ADVICE.get(type(module), REMEDY)}")
        return Step(where, module)
    where = f"operation {node.name}"
    made = _functional(node)
    if made is None:
        name = getattr(node.target, "__name__", str(node.target))
        advice = next(
            (a for kind, a in ADVICE.items() if kind.__name__.lower() == name.replace("_", "")), REMEDY
        )
        raise InputError(f"{where} ({name}) is not supported; {advice}")
    return None if isinstance(made, nn.Identity) else Step(where, made)


def _functional(node: fx.Node) -> nn.Module | None:
    """The layer that a function or method call stands for."""
    target, rest, named = node.target, node.args[1:], dict(node.kwargs)
    if target in (F.relu, torch.relu, torch.relu_, "relu", "relu_"):
        return nn.ReLU()
    if target in (F.dropout, torch.dropout, F.dropout2d, "contiguous", "clone"):
        return nn.Identity()
    if target in (torch.flatten, "flatten"):
        values = _named(("start_dim", "end_dim"), rest, named)
        return nn.Flatten(values.get("start_dim", 0), values.get("end_dim", -1))
    if target in ("view", "reshape", torch.reshape):
        size = rest[0] if len(rest) == 1 and isinstance(rest[0], tuple | list) else rest
        if len(size) == 2 and (isinstance(size[0], fx.Node) or size[0] == -1 or size[1] == -1):
            return nn.Flatten() if _whole(size[1]) else None
        return None
    if target in (F.max_pool2d, torch.max_pool2d, "max_pool2d"):
        names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
        return nn.MaxPool2d(**_named(names, rest, named))
    if target in (F.avg_pool2d, torch._C._nn.avg_pool2d):
        names = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
        return nn.AvgPool2d(**_named(names, rest, named))
    if target in (F.adaptive_avg_pool2d, torch._C._nn.adaptive_avg_pool2d):
        return nn.AdaptiveAvgPool2d(**_named(("output_size",), rest, named))
    return None


def _whole(size: Any) -> bool:
    """Checked against the true size when the next layer meets it."""
    return isinstance(size, int | fx.Node)


def _named(names: tuple[str, ...], values: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in {**dict(zip(names, values, strict=False)), **named}.items() if k != "input"}
