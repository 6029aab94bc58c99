"""Layers in one node against the same layer by layer: values, gradients, and where the node serves."""

from __future__ import annotations

import itertools

import pytest
import torch
from random_models import images, lenet5, vgg

from ttfs_analog import chain, compiled, products
from ttfs_analog.constraints.constraints import Jitter, Latency, TimeSteps, WeightBits
from ttfs_analog.conversion.mapping import convert
from ttfs_analog.data.datasets import Data
from ttfs_analog.network import network
from ttfs_analog.network.constrain import constrain
from ttfs_analog.neuron.functional import Deviations
from ttfs_analog.training.training import Recipe, train

pytest.importorskip("numba")
F64 = torch.float64
PARTS = {
    "none": (),
    "bits": (WeightBits(4),),
    "jitter": (Jitter(0.1),),
    "frozen": (Jitter(0.1, "layer", "frozen"), TimeSteps(9)),
    "all": (Jitter(0.1), TimeSteps(9), WeightBits(5), Latency(90.0)),
}
CHIPS = ["none", "neurons", "synapses"]
ROWS = (1, 7, 70)


@pytest.fixture
def count(monkeypatch):
    """Kernels at any size; how often a network ran as a chain."""
    found = []

    run = chain.Chain.__call__

    def counted(self, *given):
        found.append(len(self.products))
        return run(self, *given)

    monkeypatch.setattr(network, "LARGE", 0)
    monkeypatch.setattr(chain.Chain, "__call__", counted)
    return found


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def chip_of(net, kind):
    if kind == "none":
        return None

    def drawn(n, *shape):
        return 0.1 * normal(1, *shape, seed=10 + n)

    return [
        Deviations(
            drawn(n, *layer.weight.shape) if kind == "synapses" and not layer.inside else None,
            *(drawn(n + 50 * k, layer.n_out) for k in (1, 2, 3)),
        )
        for n, layer in enumerate(net.layers)
    ]


def results(net, x, chip, up, ask):
    """Trace, and gradients of a sum over the outputs that `ask` names."""
    if net.constraints:
        net.constraints.restart(4)
    trace = net.trace(x, chip)
    sums = [(t * u.view(t.shape)).sum() for n, (t, u) in enumerate(zip(trace, up, strict=True)) if n in ask]
    leaves = [*net.parameters(), *([x] if x.requires_grad else [])]
    return trace, torch.autograd.grad(sum(sums), leaves, allow_unused=True)


def compare(monkeypatch, net, x, chip, ask):
    up = [normal(*t.shape, seed=30 + n) for n, t in enumerate(net.trace(x, chip))]
    fast = results(net, x, chip, up, ask)
    with monkeypatch.context() as patch:
        patch.setattr(compiled, "_kernels", lambda: None)
        slow = results(net, x, chip, up, ask)
    for a, b in zip(fast[0], slow[0], strict=True):
        assert a.shape == b.shape
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)  # sums in another order
    for a, b in zip(fast[1], slow[1], strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("parts", "chip"), list(itertools.product(PARTS, CHIPS))[1:])
@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("many", [False, True])
def test_a_network_is_the_same_layer_by_layer(make_relu, monkeypatch, count, parts, chip, rows, many):
    monkeypatch.setattr(products, "MANY", 0 if many else 1000)  # 0: no layer is small enough for one kernel
    x = normal(70, 6, seed=3).abs().clamp_(max=1.0)
    net = convert(make_relu((6, 15, 9, 3), seed=7), x)
    if PARTS[parts]:
        net = constrain(net, x, PARTS[parts], seed=4)
    compare(monkeypatch, net, x[:rows], chip_of(net, chip), {0, 1, 2})
    assert set(count) == {3}


@pytest.mark.parametrize("rows", [5, 40])
@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("dead", [slice(None, None, 2), slice(None)])
def test_silent_neurons(make_relu, monkeypatch, count, rows, many, dead):
    monkeypatch.setattr(products, "MANY", 0 if many else 1000)
    x = normal(70, 6, seed=3).abs().clamp_(max=1.0)
    net = constrain(convert(make_relu((6, 15, 9, 3), seed=7), x), x, [WeightBits(5)])
    with torch.no_grad():
        for layer in net.layers[:2]:
            layer.bias[dead] = -100.0
    compare(monkeypatch, net, x[:rows].requires_grad_(), chip_of(net, "synapses"), {2})
    assert set(count) == {3}


@pytest.mark.parametrize("ask", [{2}, {0}, {0, 2}, {1}])
@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("rows", [5, 40])
def test_any_output_may_have_a_gradient_and_so_may_inputs(make_relu, monkeypatch, count, ask, chip, rows):
    x = normal(70, 6, seed=3).abs().clamp_(max=1.0)
    net = constrain(convert(make_relu((6, 15, 9, 3), seed=7), x), x, [Jitter(0.05), WeightBits(5)], seed=4)
    compare(monkeypatch, net, x[:rows].requires_grad_(), chip_of(net, chip), ask)
    assert set(count) == {3}


@pytest.mark.parametrize("chip", CHIPS)
def test_gradients_have_gradients_by_any_input(make_relu, count, monkeypatch, chip):
    x = normal(70, 6, seed=3).abs().clamp_(max=1.0)
    net = constrain(convert(make_relu((6, 15, 9, 3), seed=7), x), x, PARTS["all"], seed=4)
    deviations = chip_of(net, chip)
    part = x[:9].t().contiguous().t().requires_grad_()  # not contiguous
    leaves = [part, *net.parameters()]

    def second():
        net.constraints.restart(4)
        loss = net(part, deviations).square().sum()
        first = torch.autograd.grad(loss, leaves, create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in first), leaves)

    fast = second()
    monkeypatch.setattr(compiled, "_kernels", lambda: None)
    for a, b in zip(fast, second(), strict=True):
        assert bool(a.any())
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
    assert count == [3]


def test_two_passes_before_a_backward_pass_do_not_meet(make_relu, count):
    x = normal(70, 6, seed=3).abs().clamp_(max=1.0)
    net = constrain(convert(make_relu((6, 15, 9, 3), seed=7), x), x, [WeightBits(5)], seed=4)
    weight = net.layers[0].weight
    one, two = net(x[:8]), net(x[8:40])
    alone = torch.autograd.grad(net(x[:8]).sum(), weight)[0]
    torch.autograd.grad(two.sum(), weight)
    assert torch.equal(torch.autograd.grad(one.sum(), weight)[0], alone)
    assert count == [3, 3, 3]


def convolutional(kind):
    """A network and its images: zero padding and min pooling are those of the vgg."""
    make, shape = (lenet5, (1, 20, 20)) if kind == "lenet5" else (vgg, (3, 16, 16))
    x = images(3, 12, *shape)
    return convert(make(1), x), x


@pytest.mark.parametrize("kind", ["lenet5", "vgg"])
@pytest.mark.parametrize(
    ("parts", "chip"), [("none", "neurons"), ("bits", "none"), ("all", "none"), ("all", "neurons")]
)
@pytest.mark.parametrize("many", [False, True])
def test_a_convolutional_network(monkeypatch, count, kind, parts, chip, many):
    if many:  # no layer is small enough for one kernel
        monkeypatch.setattr(products, "MANY", 0)
    net, x = convolutional(kind)
    if PARTS[parts]:
        net = constrain(net, x, PARTS[parts], seed=4)
    compare(monkeypatch, net, x, chip_of(net, chip), set(range(len(net.layers))))
    compare(monkeypatch, net, x[:3].requires_grad_(), chip_of(net, chip), {0, len(net.layers) - 1})
    assert set(count) == {len(net.layers)}


@pytest.mark.parametrize("kind", ["lenet5", "vgg"])
def test_gradients_of_convolutions_have_gradients(monkeypatch, count, kind):
    net, x = convolutional(kind)
    net = constrain(net, x, [Jitter(0.05), WeightBits(6)], seed=4)
    chip, leaves = chip_of(net, "neurons"), list(net.parameters())

    def second():
        net.constraints.restart(4)
        first = torch.autograd.grad(net(x[:4], chip).square().sum(), leaves, create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in first), leaves)

    fast = second()
    monkeypatch.setattr(compiled, "_kernels", lambda: None)
    for a, b in zip(fast, second(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9 * float(b.abs().max()))
    assert count == [len(net.layers)]


@pytest.mark.parametrize("change", ["state", "layer", "windows", "precision", "constraints", "chip"])
def test_what_was_prepared_is_given_up_when_the_network_changes(make_relu, monkeypatch, count, change):
    x = normal(70, 6, seed=3).abs().clamp_(max=1.0)
    net = constrain(convert(make_relu((6, 15, 9, 3), seed=7), x), x, [WeightBits(5)])
    other = convert(make_relu((6, 15, 9, 3), seed=8), x)
    chip = chip_of(net, "neurons")
    net(x, chip)
    if change == "state":
        net.load_state_dict(other.state_dict())
    elif change == "layer":
        net.layers[1].load_state_dict(other.layers[1].state_dict())
    elif change == "windows":
        net.set_windows([0.3, 0.2])
    elif change == "precision":
        net.float().double()
        with torch.no_grad():
            net.layers[0].weight.mul_(0.5)
    elif change == "constraints":
        net.constraints = None
    else:
        chip = chip_of(net, "synapses")
    found = net(x, chip)
    monkeypatch.setattr(compiled, "_kernels", lambda: None)
    torch.testing.assert_close(found, net(x, chip), rtol=1e-12, atol=1e-13)
    assert count == [3, 3]


def test_it_serves_where_it_can_and_only_there(make_relu, count, make_noise):
    x = normal(70, 6, seed=3).abs().clamp_(max=1.0)
    net = convert(make_relu((6, 15, 9, 3), seed=7), x)
    net(x)  # ideal: torch's own nodes are as fast
    net(x, make_noise(0.05).sample(net, 2, seed=1).deviations(x))  # two chips
    hard = constrain(net, x, [WeightBits(5)])
    other = convert(make_relu((6, 15, 9, 3), seed=7), x, mapping="dynamic")
    other(x, chip_of(other, "synapses"))  # its slopes depend on the weights
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(compiled.THREADS + 1)
        hard(x)
    finally:
        torch.set_num_threads(threads)
    assert count == []
    hard(x)
    assert count == [3]


def test_hooks_of_layers_are_called(make_relu, count):
    x = normal(70, 6, seed=3).abs().clamp_(max=1.0)
    net = constrain(convert(make_relu((6, 15, 9, 3), seed=7), x), x, [WeightBits(5)])
    wanted, seen = net(x), []
    net.layers[1].register_forward_hook(lambda layer, given, found: seen.append(found))
    torch.testing.assert_close(net(x), wanted, rtol=1e-12, atol=1e-13)
    assert len(seen) == 1
    assert count == [3]


def test_small_networks_run_layer_by_layer(make_relu, monkeypatch):
    x = normal(70, 6, seed=3).abs().clamp_(max=1.0)
    net = constrain(convert(make_relu((6, 15, 9, 3), seed=7), x), x, [WeightBits(5)])
    monkeypatch.setattr(chain.Chain, "__call__", None)  # would fail
    net(x)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_training_ends_at_the_same_weights(make_relu, count, monkeypatch, dtype):
    x = normal(64, 6, seed=3).abs().clamp_(max=1.0).to(dtype)
    y = (x.sum(1) > x.sum(1).median()).long()
    ends = []
    for kernels in (True, False):
        net = convert(make_relu((6, 15, 9, 3), seed=7).to(dtype), x)
        net = constrain(net, x, PARTS["all"], seed=4)
        if not kernels:
            monkeypatch.setattr(compiled, "_kernels", lambda: None)
        train(net, Data("sums", x, y, x, y, (6,)), Recipe(epochs=3, batch=8, lr=1e-3))
        ends.append([p.detach().clone() for p in net.parameters()])
    assert count
    for a, b in zip(*ends, strict=True):
        # a weight may leave its step of the grid in one run a rounding error earlier; none does here
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5 if dtype == torch.float32 else 1e-10)


@pytest.mark.parametrize("kind", ["lenet5", "vgg"])
def test_no_images_give_no_logits_and_no_gradient(count, kind):
    net, x = convolutional(kind)
    net = constrain(net, x, PARTS["all"], seed=4)
    logits = net(x[:0])
    assert len(logits) == 0
    logits.sum().backward()
    assert not any(bool(p.grad.any()) for p in net.parameters())
    assert count


def test_what_does_not_fit_is_refused_by_torch(make_relu, count):
    """Kernels check no shapes."""
    x = normal(70, 6, seed=3).abs().clamp_(max=1.0)
    net = constrain(convert(make_relu((6, 15, 9, 3), seed=7), x), x, [WeightBits(5)])
    for wrong in (x[:4, :5], torch.rand(4, 8, dtype=F64)):
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            net(wrong)
    zero = [torch.zeros(1, layer.n_out, dtype=F64) for layer in net.layers]
    chip = [Deviations(None, z, z, z) for z in zero]
    chip[1] = Deviations(None, *[torch.zeros(1, 5, dtype=F64)] * 3)
    with pytest.raises(RuntimeError, match="must match the size"):
        net(x, chip)
    pictures = images(3, 12, 1, 20, 20)
    net = constrain(convert(lenet5(1), pictures), pictures, [WeightBits(5)])
    for wrong in (images(3, 4, 1, 24, 24), images(3, 4, 2, 20, 20)):
        with pytest.raises(RuntimeError, match="don't multiply up"):
            net(wrong)
    with pytest.raises(RuntimeError, match="device"):
        net.to("meta")(pictures)


@pytest.mark.parametrize("rows", [4, 40])
def test_deviations_that_are_common_broadcast(make_relu, monkeypatch, count, rows):
    x = normal(70, 6, seed=3).abs().clamp_(max=1.0)
    net = convert(make_relu((6, 15, 9, 3), seed=7), x)
    one = torch.full((1, 1), 0.1, dtype=F64)
    chip = [Deviations(one.view(1, 1, 1), one, one, one)] * 3
    compare(monkeypatch, net, x[:rows], chip, {2})
    assert set(count) == {3}


@pytest.mark.parametrize("chip", ["none", "neurons"])
def test_images_of_one_pixel_a_row_are_flattened(make_relu, count, chip):
    x = normal(70, 6, seed=3).abs().clamp_(max=1.0)
    net = constrain(convert(make_relu((6, 15, 9, 3), seed=7), x), x, [WeightBits(5)])
    deviations = chip_of(net, chip)
    assert torch.equal(net(x.view(70, 1, 1, 6), deviations), net(x, deviations))
    assert torch.equal(net(x.view(70, 1, 2, 3), deviations), net(x, deviations))


def test_other_precisions_are_torch_s(make_relu, count):
    x = normal(70, 6, seed=3).abs().clamp_(max=1.0)
    net = convert(make_relu((6, 15, 9, 3), seed=7), x)
    chip = chip_of(net, "neurons")
    net.float()
    with pytest.raises(RuntimeError, match="dtype"):
        net(x.float(), chip)
    with torch.autocast("cpu"):
        net(x.float(), [Deviations(None, *(v.float() for v in d[1:])) for d in chip])
    assert count == []


def test_transforms_of_functions_see_single_operations(make_relu, count):
    x = normal(70, 6, seed=3).abs().clamp_(max=1.0)
    net = convert(make_relu((6, 15, 9, 3), seed=7), x)
    chip = chip_of(net, "neurons")
    found = torch.func.grad(lambda v: net(v, chip).square().sum())(x[:4])
    assert count == []
    part = x[:4].clone().requires_grad_()
    net(part, chip).square().sum().backward()
    torch.testing.assert_close(found, part.grad, rtol=1e-12, atol=1e-12)


@pytest.mark.filterwarnings("ignore")  # torch's own, while it traces
@pytest.mark.parametrize("parts", [(TimeSteps(9),), (Jitter(0.1),), PARTS["all"]])
def test_compiled_networks_send_the_same_spikes(make_relu, count, parts):
    x = normal(70, 6, seed=3).abs().clamp_(max=1.0)
    net = constrain(convert(make_relu((6, 15, 9, 3), seed=7), x), x, parts, seed=4)
    torch._dynamo.reset()
    compiled_net = torch.compile(net, backend="aot_eager")
    found = [compiled_net(x).detach() for _ in range(3)]
    net.constraints.restart(4)
    for wanted in (net(x) for _ in range(3)):
        torch.testing.assert_close(found.pop(0), wanted.detach(), rtol=1e-12, atol=1e-12)
