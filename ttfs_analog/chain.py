"""Fully connected layers of real devices, one after the other, as one node of the graph.

The same values and gradients as layer by layer (`ttfs_analog.fused`), to the order of sums. At the small
batches that train such networks best, memory and bookkeeping take the time: so the loops over weights and
spikes are those of `ttfs_analog.kernels`, and one node serves all layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from ttfs_analog.fused import Devices, respond

FEW = 16
"""Rows up to which a kernel that holds weights as it goes is faster than a pass and a matrix product."""
Send = Callable[[int, Tensor], Tensor]


def run(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    layers: Sequence[Devices],
    send: Send | None,
    kernels: ModuleType,
) -> tuple[Tensor, ...]:
    """What every layer sends; of the last its logits.

    Parameters
    ----------
    x : Tensor, shape (batch, in)
        On the CPU and of one dtype, as everything else; kernels check no shapes.
    weights, biases : sequence of Tensor
        W and D, shapes (out, in) and (out,).
    send : function of (position, activations of shape (batch, out)), optional
        Makes of the activations of a layer the spikes that leave; its gradient counts as 1.
    kernels : module
        `ttfs_analog.kernels`
    """
    return _Chain.apply(x.contiguous(), layers, send, kernels, *weights, *biases)


class _Chain(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        layers: Sequence[Devices],
        send: Send | None,
        kernels: ModuleType,
        *leaves: Tensor,
    ) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.layers, ctx.kernels = layers, kernels
        wanted, count = any(ctx.needs_input_grad), len(layers)
        between: list[Tensor | None] = [x]
        sent = []
        for n, devices in enumerate(layers):
            z, held = _forward(kernels, x, leaves[n], leaves[count + n], devices)
            x = z if send is None or devices.window is None else send(n, z)
            between += [z, held if wanted else None, x]
            sent.append(x)
        ctx.save_for_backward(*leaves, *between)
        return tuple(sent)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        count = len(ctx.layers)
        leaves, between = ctx.saved_tensors[: 2 * count], ctx.saved_tensors[2 * count :]
        if torch.is_grad_enabled():  # somebody wants the gradient of this gradient
            return _again(ctx, leaves, between, grads)
        by_weight: list[Tensor | None] = [None] * count
        by_bias: list[Tensor | None] = [None] * count
        grad: Tensor | None = None
        for n in reversed(range(count)):
            own = grads[n]
            grad = own if grad is None else grad if own is None else grad + own
            if grad is not None:
                x, z, held = between[3 * n : 3 * n + 3]
                inwards = n > 0 or ctx.needs_input_grad[0]
                grad, by_weight[n], by_bias[n] = _backward(
                    ctx.kernels, grad, x, z, leaves[n], held, ctx.layers[n], inwards
                )
        return (grad, None, None, None, *by_weight, *by_bias)


def _forward(
    kernels: ModuleType, x: Tensor, weight: Tensor, bias: Tensor, devices: Devices
) -> tuple[Tensor, Tensor | None]:
    """Activations, and the weights as they are held, if they were written down."""
    gain, shift, low, high, synapse_gain, grid = devices.numbers
    w, d = weight.detach(), bias.detach().numpy()
    if grid is None and synapse_gain is None:
        held = w
    elif len(x) <= FEW:
        z = torch.empty(len(x), len(d), dtype=w.dtype)
        kernels.respond(
            x.detach().numpy(), w.numpy(), synapse_gain, grid, d, gain, shift, low, high, z.numpy()
        )
        return z, None
    else:
        held = torch.empty_like(w)
        kernels.hold(w.numpy(), synapse_gain, grid, held.numpy())
    q = torch.mm(x, held.t())
    z = torch.empty_like(q)
    kernels.fire(q.numpy(), d, gain, shift, low, high, z.numpy())
    return z, held


def _backward(
    kernels: ModuleType,
    grad: Tensor,
    x: Tensor,
    z: Tensor,
    weight: Tensor,
    held: Tensor | None,
    devices: Devices,
    inwards: bool,
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Gradients by x (if inwards), weight and bias."""
    gain, shift, low, high, synapse_gain, grid = devices.numbers
    by_q, by_bias = torch.empty_like(z), torch.empty(z.shape[1], dtype=z.dtype)
    numbers = grad.contiguous().numpy(), z.numpy(), gain, shift, low, high
    kernels.unfire(*numbers, by_q.numpy(), by_bias.numpy())
    by_weight = torch.mm(by_q.t(), x)
    by_x = torch.mm(by_q, held) if inwards and held is not None else None
    if grid is not None or synapse_gain is not None:
        found, w = by_weight.numpy(), weight.detach().numpy()
        if inwards and held is None:
            by_x = torch.empty_like(x)
            kernels.respond_backward(by_q.numpy(), w, synapse_gain, grid, by_x.numpy(), found)
        else:
            kernels.release(found, synapse_gain, grid, w)
    return by_x, by_weight, by_bias


def _again(
    ctx: Any, leaves: Sequence[Tensor], between: Sequence[Tensor], grads: Sequence[Tensor | None]
) -> tuple[Tensor | None, ...]:
    """Gradients that have gradients: operation by operation, what sending did to the times a constant."""
    x, sent, count = between[0], [], len(ctx.layers)
    for n, devices in enumerate(ctx.layers):
        z, after = between[3 * n + 1], between[3 * n + 3]
        x = respond(x, leaves[n], leaves[count + n], devices) + (after - z).detach()
        sent.append(x)
    wanted = [ctx.needs_input_grad[0], *ctx.needs_input_grad[4:]]
    ask = [v for v, w in zip((between[0], *leaves), wanted, strict=True) if w]
    used = [(s, g) for s, g in zip(sent, grads, strict=True) if g is not None]
    outputs, given = [s for s, _ in used], [g for _, g in used]
    found = iter(torch.autograd.grad(outputs, ask, given, create_graph=True, allow_unused=True))
    by_x, *by_leaves = [next(found) if w else None for w in wanted]
    return (by_x, None, None, None, *by_leaves)
