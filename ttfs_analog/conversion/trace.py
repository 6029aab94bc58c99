"""Any supported `nn.Module` as a chain of named torch layers, traced with torch.fx.

Functional calls become the layers they stand for; what does nothing at inference disappears. A branch, a
skip connection or an unknown layer is refused by name.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn

import torch
from torch import fx, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

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
PASS_THROUGH = (
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
    nn.Identity,
)
"""Layers that do nothing at inference."""
DROPOUTS = (
    F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout, torch.dropout,
    torch.dropout_, torch.feature_dropout, torch.alpha_dropout, torch.feature_alpha_dropout,
)  # fmt: skip
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


@contextlib.contextmanager
def at_inference(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode, and afterwards every module of it as it was.

    Parameters
    ----------
    model : nn.Module
    """
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def check_modules(model: nn.Module) -> None:
    """Refuse modules whose function is not that of their class: a map would be one of another network.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode.

    Raises
    ------
    InputError
        Naming the module that has hooks, a replaced forward, weights that change from call to call, or that
        stays in training mode.
    """
    for name, m in model.named_modules():
        where = f"layer {name or type(model).__name__}"
        if m._forward_hooks or m._forward_pre_hooks:
            raise InputError(f"{where} has forward hooks, which no map can see; remove them")
        if isinstance(m, torch.jit.ScriptModule) or hasattr(m, "_orig_mod"):
            raise InputError(f"{where} is a compiled model; give the one that it was made of")
        if "forward" in vars(m):
            raise InputError(
                f"{where} ({type(m).__name__}) has its forward replaced, which no map can see; write a "
                "module with that forward"
            )
        random = isinstance(m, PASS_THROUGH) and getattr(m, "p", 0.0) != 0
        if m.training and (random or isinstance(m, nn.modules.batchnorm._BatchNorm)):
            raise InputError(
                f"{where} ({type(m).__name__}) stays in training mode after eval(), so its output depends on "
                "chance or on the batch; let eval() reach it"
            )
        for key in getattr(m, "parametrizations", ()):
            if not torch.equal(getattr(m, key), getattr(m, key)):
                raise InputError(
                    f"{where}: the parametrization of {key} gives other values at every call; remove it "
                    "(torch.nn.utils.parametrize.remove_parametrizations)"
                )


def chain(model: nn.Module) -> list[Step]:
    """The layers of a feed-forward model in order, as they are at inference.

    Raises
    ------
    InputError
        Naming the layer or operation that cannot be mapped, and what to do.
    """
    if isinstance(model, SUPPORTED):  # a single layer is its own chain
        model = nn.Sequential(model)
    with at_inference(model):
        check_modules(model)
        return _chain(model)


def _chain(model: nn.Module) -> list[Step]:
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
        if type(module) in PASS_THROUGH:
            return None
        # a class of torch's own may be derived from a layer and do more, such as those for quantization
        if _plain_type(module) not in SUPPORTED:
            raise InputError(f"{where} is not supported; {ADVICE.get(type(module), REMEDY)}")
        return Step(where, module)
    where = f"operation {node.name}{_inside(node)}"
    if node.target in DROPOUTS:
        _check_dropout(node, where if _inside(node) else f"{where} of {type(modules['']).__name__}")
        return None
    made = _functional(node)
    if made is None:
        name = getattr(node.target, "__name__", str(node.target))
        advice = next(
            (a for kind, a in ADVICE.items() if kind.__name__.lower() == name.replace("_", "")), REMEDY
        )
        raise InputError(f"{where} ({name}) is not supported; {advice}")
    return None if isinstance(made, nn.Identity) else Step(where, made)


def _plain_type(module: nn.Module) -> type:
    """Its class, without what a parametrization puts before it."""
    return type(module).__mro__[1] if parametrize.is_parametrized(module) else type(module)


def _inside(node: fx.Node) -> str:
    """Of which module an operation is, in words; empty: of the model itself."""
    names = [name for name, _ in node.meta.get("nn_module_stack", {}).values() if name]
    return f" of layer {names[-1]}" if names else ""


def _check_dropout(node: fx.Node, where: str) -> None:
    """Refuse a call of dropout that does anything at inference."""
    names = ("input", "p", "train") if "training" not in node.kwargs else ("input", "p", "training")
    values = {**dict(zip(names, node.args, strict=False)), **node.kwargs}
    if values.get("training", values.get("train", True)) is not False and values.get("p", 0.5) != 0:
        name = getattr(node.target, "__name__", "dropout")
        raise InputError(
            f"{where} ({name}) drops at inference, too: give it training=self.training, or use nn.Dropout"
        )


def _functional(node: fx.Node) -> nn.Module | None:
    """The layer that a function or method call stands for."""
    target, rest, named = node.target, node.args[1:], dict(node.kwargs)
    if target in (F.relu, torch.relu, torch.relu_, "relu", "relu_"):
        return nn.ReLU()
    if target in ("contiguous", "clone"):
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
