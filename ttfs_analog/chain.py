"""All layers of a network of one chip's devices as one node of the graph.

The same values and gradients as layer by layer, to the order of sums. At the small batches that train such
networks best, memory and bookkeeping take the time: so the loops over weights and spikes are those of
`ttfs_analog.kernels`, and one node serves all layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from ttfs_analog.constraints.constraints import Constraints
from ttfs_analog.constraints.spike_times import send
from ttfs_analog.neuron.functional import Deviations
from ttfs_analog.neuron.fused import Devices
from ttfs_analog.neuron.layers import TTFSLayer
from ttfs_analog.neuron.pooling import Pool
from ttfs_analog.products import Dense, Maps, Product


class Chain:
    """Blocks whose layers are prepared for kernels.

    Parameters
    ----------
    blocks : sequence of TTFSLinear, TTFSConv2d, Pool and nn.Flatten
    devices : sequence of Devices
        Of the layers of neurons.
    chips : sequence of Deviations, optional
        What the devices come from, as they do from `limits`.
    limits : Constraints, optional
    kernels : module
        `ttfs_analog.kernels`
    """

    def __init__(
        self,
        blocks: Sequence[nn.Module],
        devices: Sequence[Devices],
        chips: Sequence[Deviations] | None,
        limits: Constraints | None,
        kernels: ModuleType,
    ) -> None:
        self.chips, self.limits = None if chips is None else tuple(chips), limits
        self.kernels, self.moves = kernels, limits is not None and limits.move_spikes
        self.entering = (0.0, 1.0, 0.0) if limits is None else limits.move(1.0)
        self.products: list[Product] = []
        self.stages: list[Product | Pool | None] = []  # None: flatten
        for block in blocks:
            if isinstance(block, TTFSLayer):
                kind = Maps if block.inside else Dense
                self.products.append(kind(block, devices[len(self.products)], kernels, limits))
                self.stages.append(self.products[-1])
            else:
                assert isinstance(block, Pool | nn.Flatten)
                self.stages.append(block if isinstance(block, Pool) else None)

        self.same = [(p.layer._parameters, p.layer, p.window, p.token, p.pointers) for p in self.products]

    def leaves(self, chips: Sequence[Deviations] | None, limits: Constraints | None) -> list[Tensor] | None:
        """Weights, then biases; None: the chain was prepared for something else."""
        kept = self.chips
        if limits is not self.limits or (chips is None) != (kept is None):
            return None
        if chips is not None and kept is not None:
            for a, b in zip(chips, kept, strict=True):
                if a is not b:
                    return None
        weights: list[Tensor] = []
        biases: list[Tensor] = []
        for own, layer, window, token, pointers in self.same:  # as quick as it gets
            weight, bias = own.get("weight"), own.get("bias")
            if weight is None or bias is None or layer._window != window or layer._token is not token:
                return None
            if (weight.data_ptr(), bias.data_ptr()) != pointers:
                return None
            weights.append(weight)
            biases.append(bias)
        return weights + biases

    def __call__(self, x: Tensor, leaves: Sequence[Tensor]) -> list[Tensor]:
        """Inputs as they come, and what every block hands on: spikes as they leave, and at the end logits.

        Parameters
        ----------
        x : Tensor, shape (batch, in) or (batch, channel, height, width)
            On the CPU and of the dtype of the weights.
        leaves : sequence of Tensor
            Of `leaves`.
        """
        limits, keys = self.limits, None
        if limits is None or not self.moves:
            x = x.contiguous()
        elif (keys := limits.keys(len(self.products))) is None:
            x = limits.input(x, self.kernels).contiguous()
        else:
            x = send(x, keys[0], *self.entering, self.kernels)
        every = _apply(x, self, keys, *leaves)
        if None not in self.stages:
            return [x, *every]
        found, values = iter(every), [x]
        for stage in self.stages:
            values.append(values[-1].flatten(-3) if stage is None else next(found))
        return values


class _Node(torch.autograd.Function):
    """Outputs are those of all blocks but nn.Flatten, which makes a view."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, chain: Chain, keys: Sequence[int] | None, *leaves: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.chain, lift, n = chain, chain.chips is not None, 0
        limits = chain.limits if chain.moves else None
        between: list[Tensor | None] = [x]
        sent = []
        for stage in chain.stages:
            if stage is None:
                x = x.flatten(1)
                continue
            if isinstance(stage, Product):
                z, extra, x = stage.forward(x, keys[n + 1] if keys and stage.layer.spiking else None)
                if keys is None and limits is not None and stage.layer.spiking:
                    x = limits.spikes(n, z, stage.layer, chain.kernels)
                n += 1
            else:
                x, extra = stage.pool(x)
                z = x
            between += [z, extra, x]
            sent.append(x.unsqueeze(0) if lift else x)
        ctx.save_for_backward(*leaves, *between)
        return tuple(sent)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        chain, lift = ctx.chain, ctx.chain.chips is not None
        n = count = len(chain.products)
        saved = ctx.saved_tensors
        between = saved[2 * count :]
        if torch.is_grad_enabled():  # somebody wants the gradient of this gradient
            return _again(ctx, saved[: 2 * count], between, grads)
        by_leaves: list[Tensor | None] = [None] * (2 * count)
        grad: Tensor | None = None
        k = len(grads)
        for stage in reversed(chain.stages):
            if stage is None:
                grad = None if grad is None else grad.view(between[3 * k].shape)
                continue
            k -= 1
            x, z, extra = between[3 * k : 3 * k + 3]
            own = grads[k]
            own = own.squeeze(0) if lift and own is not None else own
            grad = own if grad is None else grad if own is None else grad + own
            if isinstance(stage, Product):
                n -= 1
                if grad is not None:
                    x = x.flatten(1) if isinstance(stage, Dense) and x.dim() > 2 else x  # as it was sent
                    inwards = k > 0 or ctx.needs_input_grad[0]
                    grad, by_leaves[n], by_leaves[count + n] = stage.backward(grad, x, z, extra, inwards)
            elif grad is not None:
                grad = stage.unpool(grad, x, extra)
        return (grad, None, None, *by_leaves)


# the graph of `Function.apply`, without what it does for torch.func, under which no chain runs
_apply = super(torch.autograd.Function, _Node).apply


def _again(
    ctx: Any, leaves: Sequence[Tensor], between: Sequence[Tensor], grads: Sequence[Tensor | None]
) -> tuple[Tensor | None, ...]:
    """Gradients that have gradients: operation by operation, what sending did to the times a constant."""
    x, sent, count = between[0], [], len(leaves) // 2
    n = k = 0
    for stage in ctx.chain.stages:
        if stage is None:
            x = x.flatten(1)
            continue
        if isinstance(stage, Product):
            z = stage.layer.respond(x, leaves[n], leaves[count + n], stage.devices)
            # the very times that left: pooling may tell an ulp apart
            x = between[3 * k + 3].detach() + (z - z.detach())
            n += 1
        else:
            x = stage(x)
        sent.append(x if ctx.chain.chips is None else x.unsqueeze(0))
        k += 1
    wanted = [ctx.needs_input_grad[0], *ctx.needs_input_grad[3:]]
    ask = [v for v, w in zip((between[0], *leaves), wanted, strict=True) if w]
    used = [(s, g) for s, g in zip(sent, grads, strict=True) if g is not None]
    outputs, given = [s for s, _ in used], [g for _, g in used]
    found = iter(torch.autograd.grad(outputs, ask, given, create_graph=True, allow_unused=True))
    by_x, *by_leaves = [next(found) if w else None for w in wanted]
    return (by_x, None, None, *by_leaves)
