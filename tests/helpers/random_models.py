"""ReLU networks with random weights and normalizations as training leaves them."""

from __future__ import annotations

import torch
from torch import nn

F64 = torch.float64


def shake(model, seed, dtype=F64):
    """Random weights, statistics and scales, a part of them negative; in inference mode."""
    generator = torch.Generator().manual_seed(seed)

    def normal(like):
        return torch.randn(like.shape, generator=generator, dtype=F64).to(like)

    def uniform(like):
        return torch.rand(like.shape, generator=generator, dtype=F64).to(like)

    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                module.weight.copy_(normal(module.weight) / module.weight[0].numel() ** 0.5)
                if module.bias is not None:
                    module.bias.copy_(0.3 * normal(module.bias))
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.running_mean.copy_(0.5 * normal(module.running_mean))
                module.running_var.copy_(0.3 + uniform(module.running_var))
                if module.affine:
                    sign = torch.sign(normal(module.weight))
                    module.weight.copy_(sign * (0.5 + uniform(module.weight)))
                    module.bias.copy_(0.5 * normal(module.bias))
    return model.to(dtype).eval()


def balanced(model, *shape):
    """The read-out's bias moved, so that no class always wins."""
    with torch.no_grad():
        found = model(images(99, 100, *shape, dtype=model[-1].weight.dtype))
        model[-1].bias -= found.mean(0)
    return model


def lenet5(seed=0, dtype=F64):
    """LeNet5 for 20 x 20 images, normalized before ReLU."""
    model = shake(
        nn.Sequential(
            *(nn.Conv2d(1, 6, 5, padding=2), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(6, 16, 5), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
            nn.Flatten(),
            *(nn.Linear(144, 60), nn.BatchNorm1d(60), nn.ReLU(), nn.Dropout(0.5)),
            *(nn.Linear(60, 42), nn.BatchNorm1d(42), nn.ReLU()),
            nn.Linear(42, 10),
        ),
        seed,
        dtype,
    )
    return balanced(model, 1, 20, 20)


def vgg(seed=0, dtype=F64):
    """VGG for 16 x 16 colour images, normalized after ReLU and across pooling, with zero padding."""
    blocks, channels = [], 3
    for out, pool in ((6, False), (6, True), (10, False), (10, True), (12, True)):
        blocks += [nn.Conv2d(channels, out, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(out)]
        blocks += [nn.MaxPool2d(2)] if pool else []
        channels = out
    head = [nn.Flatten(), nn.Linear(48, 32), nn.ReLU(), nn.BatchNorm1d(32), nn.Linear(32, 10)]
    return balanced(shake(nn.Sequential(*blocks, *head), seed, dtype), 3, 16, 16)


def images(seed, count, *shape, dtype=F64):
    """Uniform in [0, 1), a fifth of them silent."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(count, *shape, generator=generator, dtype=F64)
    return torch.where(x < 0.2, 0.0, x).to(dtype)


def close(found, expected, tolerance):
    """Whether logits agree, relative to the largest."""
    return float((found - expected).abs().max()) <= tolerance * float(expected.abs().max())
