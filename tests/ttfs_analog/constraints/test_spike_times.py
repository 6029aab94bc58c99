"""Spikes as hardware sends them: jitter, window, clock, and gradients as if nothing happened."""

from __future__ import annotations

import pytest
import torch

from ttfs_analog.constraints.spike_times import send

WINDOW = 1.4


@pytest.fixture
def x():
    return torch.randn(257, 3, generator=torch.Generator().manual_seed(1)).double().clamp_(0.0, WINDOW)


def test_a_spike_moves_by_its_error_and_ends_at_the_window(x):
    errors = torch.randn(257, 3, generator=torch.Generator().manual_seed(2)).double()
    sent = send(x, errors, WINDOW)
    assert torch.equal(sent, torch.where(x > 0, (x - errors).clamp(0.0, WINDOW), 0.0))
    assert (sent == WINDOW).any()
    assert not sent[x == 0].any()  # a silent neuron has no spike to move


def test_the_clock_rounds_what_jitter_left(x):
    errors = 0.3 * torch.ones(1, 3).double()
    step = WINDOW / 7
    ticks = send(x, errors, WINDOW, step) / step
    torch.testing.assert_close(ticks, (send(x, errors, WINDOW) / step).round(), rtol=0, atol=1e-12)


def test_the_gradient_is_that_of_the_spike_itself(x):
    x = x.requires_grad_()
    grad = torch.arange(257 * 3).double().view(257, 3)
    send(x, 0.1 * torch.ones(257, 3).double(), WINDOW, 0.2).backward(grad)
    assert torch.equal(x.grad, grad)
