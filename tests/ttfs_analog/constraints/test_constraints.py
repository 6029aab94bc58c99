"""Hardware constraints against their definitions in numpy; gradients, files, seeds, composition."""

from __future__ import annotations

import copy
import itertools
import json
import math

import numpy as np
import pytest
import torch
from random_models import images, lenet5

from circuits.errors import InputError
from montecarlo.mismatch.law import MismatchLaw
from ttfs_analog.constraints.constraints import Constraints, Jitter, Latency, TimeSteps, WeightBits
from ttfs_analog.conversion.mapping import convert
from ttfs_analog.network.constrain import constrain
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.neuron.functional import Deviations
from ttfs_analog.noise.chips import Chips

F64 = torch.float64
PARTS = (Jitter(0.05), TimeSteps(12), WeightBits(5), Latency(90.0))
LAW = MismatchLaw(0.03, 0.05, 0.07, 0.09, 0.11)


@pytest.fixture(scope="module")
def x():
    found = torch.rand(70, 6, generator=torch.Generator().manual_seed(3), dtype=F64)
    return found * (found > 0.2)  # some inputs are silent


@pytest.fixture(scope="module")
def toy(make_relu, x):
    return convert(make_relu((6, 14, 9, 3), seed=7), x)


@pytest.fixture(scope="module")
def conv():
    x = images(3, 12, 1, 20, 20)
    return convert(lenet5(1), x), x


def probe(limits, n, layer, shape, window):
    """The errors of spike times in units of their std: activations in mid-window show them."""
    still = Constraints([Jitter(1e-3, limits.jitter.scope, limits.jitter.kind)], limits.seed)
    middle = torch.full(shape, window / 2, dtype=F64)
    sent = still.input(middle) if n < 0 else still.spikes(n, middle, layer)
    return ((middle - sent) / 1e-3).numpy()


def sent(x, window, noise=None, std=0.0, steps=None):
    """Spikes as hardware sends them: jitter, clock, window; a neuron without a spike has none to move."""
    y = x.copy()
    if noise is not None:
        y = np.where(x > 0, np.clip(x - std * noise, 0.0, window), 0.0)
    if steps is not None:
        y = np.round(y * steps / window) * window / steps
    return y


def quantized(weight, bits, clip):
    """Whole multiples of a unit that covers the weights but for `clip` percent on either side."""
    low, high = np.percentile(weight, [clip, 100 - clip])
    top = 2 ** (bits - 1)
    unit = float(np.float32(max(-low / top, high / (top - 1))))
    return np.clip(np.round(weight / unit), -top, top - 1) * unit


def by_hand(net, x, noise=None, chip=None):
    """Logits of a constrained fully connected network, and the activations its layers send, in numpy."""
    limits = net.constraints
    std = limits.jitter.std if limits.jitter else 0.0
    steps = limits.steps.steps if limits.steps else None
    noise = noise or {}
    a = sent(x.numpy(), 1.0, noise.get(-1), std, steps)
    seen = []
    for n, layer in enumerate(net.layers):
        weight, shift = layer.weight.detach().numpy(), layer.bias.detach().numpy()
        if limits.bits:
            clip = limits.bits.clip if limits.bits.clip is not None else 4 if limits.bits.bits <= 4 else 1
            weight = quantized(weight, limits.bits.bits, clip)
        e, beta, o, c, late = (0.0,) * 5 if chip is None else (v[0].numpy() for v in chip[n][:5])
        q = a @ (weight * (1 + e)).T
        if not layer.spiking:
            return (q / (1 + c)) + shift / (1 + c), seen
        window = layer.window_length
        z = (q + shift * (1 + c) - o + window * (beta - c)) / (1 + beta) - late
        a = sent(np.clip(z, 0, window), window, noise.get(n), std, steps)
        seen.append(a)
    raise AssertionError("a network ends with its read-out")


@torch.no_grad()
def check(net, x, noise=None):
    net.constraints.restart(net.constraints.seed)
    logits, seen = by_hand(net, x, noise)
    for ours, wanted in zip(net.trace(x), [*seen, logits], strict=True):
        np.testing.assert_allclose(ours.numpy(), wanted, rtol=0, atol=1e-12)  # float64 rounding


def drawn(net, batch):
    """Frozen errors of every layer."""
    limits = net.constraints
    found = {-1: probe(limits, -1, None, (batch, net.n_in), 1.0)}
    for n, layer in enumerate(net.layers[:-1]):
        found[n] = probe(limits, n, layer, (batch, layer.n_out), layer.window_length)
    return found


SCOPES = pytest.mark.parametrize("scope", ["neuron", "layer"])
KINDS = pytest.mark.parametrize("kind", ["trial", "frozen"])


@SCOPES
@torch.no_grad()
def test_frozen_jitter_in_numpy(toy, x, scope):
    net = constrain(toy, x, [Jitter(0.3, scope, "frozen")], seed=4)
    noise = drawn(net, len(x))
    for n, errors in noise.items():
        # frozen: the same for every image; of a layer: the same for every neuron
        np.testing.assert_allclose(errors, np.broadcast_to(errors[:1], errors.shape), atol=1e-9)
        spread = np.ptp(errors[0])
        assert spread < 1e-9 if scope == "layer" else spread > 0.1
        assert n == -1 or abs(errors[0, 0] - noise[-1][0, 0]) > 1e-3  # layers differ
    check(net, x, noise)


@SCOPES
@pytest.mark.parametrize("std", [0.02, 0.7])
@torch.no_grad()
def test_trial_jitter_in_numpy(toy, x, scope, std):
    """One stream of random numbers: those of a pass are found again by a restart."""
    net = constrain(toy, x, [Jitter(std, scope)], seed=4)
    still = Constraints([Jitter(1e-3, scope)], 4)  # one object: its stream goes on from layer to layer
    noise = {}
    for n in range(-1, 2):
        layer = net.layers[max(n, 0)]
        shape = (len(x), net.n_in if n < 0 else layer.n_out)
        middle = torch.full(shape, 0.5, dtype=F64)
        found = still.input(middle) if n < 0 else still.spikes(n, middle, layer)
        noise[n] = ((middle - found) / 1e-3).numpy()
        columns = np.ptp(noise[n], axis=1)
        assert columns.max() < 1e-9 if scope == "layer" else columns.min() > 0.1
        assert np.ptp(noise[n], axis=0).min() > 0.1  # every image has its own
    # the probe's rounding is 1e-13 / 1e-3 of an error
    check(net, x, noise)


@torch.no_grad()
def test_jitter_has_the_std_that_was_asked_for_and_no_mean():
    limits = Constraints([Jitter(0.01)], 1)
    middle = torch.full((400, 500), 0.5, dtype=F64)
    error = (limits.input(middle) - middle).numpy()
    # 200,000 draws: 1 / sqrt(2 n) of the std and 1 / sqrt(n) of the mean, four standard errors
    assert error.std() == pytest.approx(0.01, rel=4 * math.sqrt(0.5 / error.size))
    assert abs(error.mean()) < 4 * 0.01 / math.sqrt(error.size)
    shared = Constraints([Jitter(0.01, "layer")], 1).input(middle) - middle
    assert float(shared.std(1).max()) < 1e-12
    assert float(shared[:, 0].std()) == pytest.approx(0.01, rel=4 * math.sqrt(0.5 / 400))


@SCOPES
@KINDS
@torch.no_grad()
def test_silent_neurons_stay_silent_and_spikes_stay_in_their_window(toy, x, scope, kind):
    net = constrain(toy, x, [Jitter(3.0, scope, kind)], seed=1)
    layer = net.layers[0]
    given = toy.trace(x)[0]
    found = net.constraints.spikes(0, given, layer)
    assert not found[given == 0].any()
    given_x, found_x = x, net.constraints.input(x)
    assert not found_x[given_x == 0].any()
    for sent_on, window in ((found, layer.window_length), (found_x, 1.0)):
        assert float(sent_on.min()) == 0.0
        assert float(sent_on.max()) <= window
        if scope == "neuron" or kind == "trial":  # many shifts: some end at t_min
            assert float(sent_on.max()) == window


@pytest.mark.parametrize("parts", [[], [Jitter(0.0)]])
@torch.no_grad()
def test_no_jitter_is_the_network_itself(toy, x, parts):
    assert torch.equal(constrain(toy, x, parts)(x), toy(x))


@KINDS
@torch.no_grad()
def test_the_seed_decides_the_jitter(toy, x, kind):
    a, b, c = (constrain(toy, x, [Jitter(0.1, kind=kind)], seed=s) for s in (1, 1, 2))
    first = a(x)
    assert torch.equal(first, b(x))
    assert not torch.equal(first, c(x))
    again = a(x)
    assert torch.equal(again, first) == (kind == "frozen")
    a.constraints.restart(1)
    assert torch.equal(a(x), first)
    a.constraints.restart(2)  # other trials; what is frozen stays
    assert torch.equal(a(x), first) == (kind == "frozen")


@torch.no_grad()
def test_frozen_jitter_belongs_to_the_neurons_not_to_the_batch(toy, conv):
    for net, x in (
        (toy, torch.rand(20, 6, generator=torch.Generator().manual_seed(1), dtype=F64)),
        conv,
    ):
        hard = constrain(net, x, [Jitter(0.1, kind="frozen")])
        parts = torch.cat([hard(part) for part in x.split(7)])
        torch.testing.assert_close(parts, hard(x), rtol=0, atol=1e-12)


@SCOPES
@KINDS
@torch.no_grad()
def test_every_place_of_a_convolution_and_every_chip_has_its_errors(toy, conv, scope, kind):
    limits = Constraints([Jitter(1e-3, scope, kind)], 2)
    layer = conv[0].layers[0]
    middle = torch.full((5, 6, *layer.inside), layer.window_length / 2, dtype=F64)
    error = ((limits.spikes(0, middle, layer) - middle) / 1e-3).flatten(1)
    different = len(error[0].unique())
    assert different == 1 if scope == "layer" else different > 0.99 * error.shape[1]
    assert bool((error[0] == error[1]).all()) == (kind == "frozen")
    layer = toy.layers[0]
    middle = torch.full((2, 5, layer.n_out), layer.window_length / 2, dtype=F64)  # two chips
    error = limits.spikes(1, middle, layer) - middle
    assert torch.equal(error[0], error[1]) == (kind == "frozen")


@pytest.mark.parametrize("steps", [1, 2, 7, 16, 256])
@torch.no_grad()
def test_time_steps_in_numpy(toy, x, steps):
    net = constrain(toy, x, [TimeSteps(steps)])
    check(net, x)
    for activations, window in zip(
        [net.constraints.input(x), *net.trace(x)[:-1]], [1.0, *net.windows], strict=True
    ):
        ticks = activations * steps / window
        torch.testing.assert_close(ticks, ticks.round(), rtol=0, atol=1e-10)
        assert float(ticks.min()) == 0.0  # silent is a step of its own
        assert float(ticks.max()) <= steps + 1e-10
    free = toy.trace(x)[0]
    free = free[free > 0]
    # 99 % of the non-zero activations fit, but for one value
    share = float((free > net.windows[0]).double().mean())
    assert share == pytest.approx(0.01, abs=1 / len(free))


def test_time_steps_take_windows_of_any_percentile_and_those_of_a_latency(toy, x):
    short = constrain(toy, x, [TimeSteps(8, percentile=80.0)])
    assert short.windows == constrain(toy, x, [Latency(80.0)]).windows
    assert constrain(toy, x, [TimeSteps(8), Latency(80.0)]).windows == short.windows
    assert constrain(toy, x, [TimeSteps(8)]).windows == constrain(toy, x, [Latency(99.0)]).windows


@pytest.mark.parametrize(
    ("bits", "clip", "percent"),
    [(2, None, 4), (3, None, 4), (4, None, 4), (5, None, 1), (8, None, 1), (6, 10.0, 10), (8, 0.0, 0)],
)
@torch.no_grad()
def test_weight_bits_in_numpy(toy, x, bits, clip, percent):
    net = constrain(toy, x, [WeightBits(bits, clip)])
    top = 2 ** (bits - 1)
    for n, layer in enumerate(net.layers):
        weight = layer.weight.detach().numpy()
        found = net.constraints.weight(n, layer).numpy()
        np.testing.assert_allclose(found, quantized(weight, bits, percent), rtol=1e-14, atol=0)
        whole = found / net.constraints.bits.units[n]
        np.testing.assert_allclose(whole, np.round(whole), atol=1e-9)
        assert -top <= np.round(whole).min()
        assert np.round(whole).max() <= top - 1
        assert len(np.unique(np.round(whole))) <= 2**bits
        low, high = np.percentile(weight, [percent, 100 - percent])
        inside = (weight >= low) & (weight <= high)
        # half a unit of rounding, and what the unit's own rounding to float32 moves at the ends
        error = np.abs(found - weight)[inside].max() / net.constraints.bits.units[n]
        assert error <= 0.5 + 1e-6 * top
        assert torch.equal(layer.weight, toy.layers[n].weight)  # training goes on from the full weights
    if clip is None or clip > 0:
        check(net, x)


@torch.no_grad()
def test_one_side_of_the_weights_may_set_the_unit(toy):
    weight = torch.linspace(-1.0, 3.0, 4001, dtype=F64)
    top = 8
    (unit,) = WeightBits(4, clip=0.0).fitted([weight]).units
    assert unit == pytest.approx(3.0 / (top - 1), rel=1e-7)  # float32
    (unit,) = WeightBits(4, clip=0.0).fitted([-weight]).units
    assert unit == pytest.approx(3.0 / top, rel=1e-7)
    (unit,) = WeightBits(4, clip=0.0).fitted([weight.abs() + 1]).units
    assert unit == pytest.approx(4.0 / (top - 1), rel=1e-7)


@torch.no_grad()
def test_weights_that_are_all_zero_or_nearly_all_get_some_unit():
    zero = torch.zeros(200, dtype=F64)
    rare = zero.clone()
    rare[0] = -0.5
    limits = WeightBits(4).fitted([zero, rare])
    assert all(0 < unit < math.inf for unit in limits.units)
    assert not limits.quantize(0, zero).any()
    assert float(limits.quantize(1, rare)[0]) == pytest.approx(-0.5, rel=1e-7)


@pytest.mark.parametrize("percentile", [100.0, 99.0, 95.0, 92.0, 90.0, 50.0])
@torch.no_grad()
def test_latency_in_numpy(toy, x, percentile):
    """Windows hold a percentile of what fires; what would fire earlier counts from t_min."""
    net = constrain(toy, x, [Latency(percentile)])
    for h, window in zip(toy.trace(x)[:-1], net.windows, strict=True):
        fired = h.numpy()[h.numpy() > 0]
        assert window == pytest.approx(np.percentile(fired, percentile), rel=1e-14)
    assert torch.equal(net.trace(x)[0], toy.trace(x)[0].clamp(max=net.windows[0]))
    check(net, x)


@pytest.mark.parametrize("count", range(1, 5))
@torch.no_grad()
def test_any_of_them_together_in_numpy_in_any_order(toy, x, count):
    parts = (Jitter(0.1, kind="frozen"), *PARTS[1:])
    for chosen in itertools.combinations(parts, count):
        nets = [constrain(toy, x, order, seed=6) for order in itertools.permutations(chosen)]
        logits = nets[0](x)
        for net in nets[1:]:
            assert torch.equal(net(x), logits)
        check(nets[0], x, drawn(nets[0], len(x)) if nets[0].constraints.jitter else None)


@torch.no_grad()
def test_chips_and_constraints_meet(toy, x):
    """Deviations act on the quantized weights and the shortened windows."""
    net = constrain(toy, x, [Jitter(0.1, kind="frozen"), *PARTS[1:]], seed=6)
    chips = Chips.draw(LAW, net, range(3), 5)
    found = net(x, chips.deviations(net.like))
    noise = drawn(net, len(x))
    for k in range(3):
        alone = chips[k : k + 1].deviations(net.like)
        wanted, _ = by_hand(net, x, noise, alone)
        np.testing.assert_allclose(found[k].numpy(), wanted, rtol=0, atol=1e-11)  # float64 rounding
        torch.testing.assert_close(net(x, alone)[0], found[k], rtol=0, atol=1e-11)


@torch.no_grad()
def test_chips_without_deviations_change_nothing(toy, conv, x):
    parts = [Jitter(0.1, kind="frozen"), *PARTS[1:]]
    for net, inputs in ((constrain(toy, x, parts), x), (constrain(*conv, parts), conv[1])):
        zero = [torch.zeros(2, layer.n_out, dtype=F64) for layer in net.layers]
        chips = [Deviations(None, z, z, z) for z in zero]
        found = net(inputs, chips)
        # rounding may move a value that lies between two steps: none does here
        torch.testing.assert_close(found[0], net(inputs), rtol=0, atol=1e-10)
        assert torch.equal(found[0], found[1])


@pytest.mark.parametrize("parts", [[Jitter(0.3)], [TimeSteps(5)], [Jitter(0.3, "layer"), TimeSteps(5)]])
def test_gradients_pass_times_as_if_they_were_exact_and_spikes_are_those_of_inference(toy, x, parts):
    limits = Constraints(parts, 3)
    ideal = toy.trace(x)[0].detach()
    tracked = ideal.clone().requires_grad_()
    weights = torch.rand(ideal.shape, generator=torch.Generator().manual_seed(0), dtype=F64)
    spikes = limits.spikes(0, tracked, toy.layers[0])
    (spikes * weights).sum().backward()
    assert torch.equal(tracked.grad, weights)
    assert torch.equal(tracked, ideal)  # the activations themselves stay as they are
    limits.restart(3)
    with torch.no_grad():
        assert torch.equal(limits.spikes(0, ideal, toy.layers[0]), spikes)


def test_gradients_of_a_weight_are_zero_where_it_is_clipped(toy, x):
    net = constrain(toy, x, [WeightBits(4)])
    layer, (unit, *_) = net.layers[0], net.constraints.bits.units
    sums = torch.rand(layer.weight.shape, generator=torch.Generator().manual_seed(0), dtype=F64)
    (net.constraints.weight(0, layer) * sums).sum().backward()
    inside = (layer.weight > -8 * unit) & (layer.weight < 7 * unit)
    assert 0 < int((~inside).sum()) < inside.numel() / 5
    assert torch.equal(layer.weight.grad, sums * inside)


def test_gradients_of_a_constrained_network_in_closed_form(toy, x):
    """dL/dW of every layer with quantized weights and shifted spikes in place of the ideal ones."""
    net = constrain(toy, x, [Jitter(0.1, kind="frozen"), *PARTS[1:]], seed=6)
    trace, inputs = net.trace(x), net.inputs(x)
    up = torch.rand(trace[-1].shape, generator=torch.Generator().manual_seed(0), dtype=F64)
    (trace[-1] * up).sum().backward()
    limits, grad = net.constraints, up
    for n in reversed(range(len(net.layers))):
        layer = net.layers[n]
        weight = limits.weight(n, layer).detach()
        if layer.spiking:
            z = inputs[n].detach() @ weight.T + layer.bias.detach()
            grad = grad * ((z > 0) & (z < layer.window_length))
        unit, top = limits.bits.units[n], 16
        held = (layer.weight > -top * unit) & (layer.weight < (top - 1) * unit)
        torch.testing.assert_close(layer.weight.grad, grad.T @ inputs[n].detach() * held)
        torch.testing.assert_close(layer.bias.grad, grad.sum(0))
        grad = grad @ weight


NAN, INF = math.nan, math.inf
REFUSED = [
    ("jitter must be >= 0", Jitter, [(-0.1,), (NAN,), (INF,)]),
    ("per 'neuron' or 'layer'.*'chip'", Jitter, [(0.1, "chip")]),
    ("of kind 'trial' or 'frozen'.*'often'", Jitter, [(0.1, "layer", "often")]),
    ("time steps must be >= 1, got", TimeSteps, [(0,), (-3,)]),
    ("percentile of time steps must lie", TimeSteps, [(4, 0.0), (4, 101.0), (4, NAN)]),
    (r"weight bits must lie in 2..24, got", WeightBits, [(1,), (25,)]),
    (r"clip must lie in \[0, 50\) percent", WeightBits, [(4, -1.0), (4, 50.0), (4, NAN)]),
    (r"latency percentile must lie in \(0, 100\], got", Latency, [(0.0,), (101.0,), (NAN,)]),
    ("each kind .* once, got Jitter, Jitter", Constraints, [([Jitter(0.1), Jitter(0.2)],)]),
]


@pytest.mark.parametrize(
    ("message", "kind", "values"), [(m, kind, v) for m, kind, values in REFUSED for v in values]
)
def test_values_out_of_range_are_refused(message, kind, values):
    with pytest.raises(InputError, match=message):
        kind(*values)


@KINDS
@torch.no_grad()
def test_the_file_brings_a_constrained_network_back(toy, conv, x, tmp_path, kind):
    for start, inputs in ((toy, x), conv):
        net = constrain(start, inputs, [Jitter(0.1, kind=kind), *PARTS[1:]], seed=6)
        wanted = net(inputs)
        net(inputs)  # the trials go on; a file starts them anew
        back = TTFSNetwork.load(net.save(tmp_path / "net.pt"))
        assert back.windows == net.windows
        assert torch.equal(back(inputs), wanted)
        net.constraints.restart(6)
        assert torch.equal(net(inputs), wanted)


def test_a_file_with_an_odd_constraint_is_refused(toy, x, tmp_path):
    file = constrain(toy, x, [TimeSteps(4)]).save(tmp_path / "net.pt")
    content = torch.load(file, weights_only=True)
    for change, message in (
        ({"kind": "Paint"}, r"constraints.parts\[0\] has unknown keys \['kind'\]"),
        ({"part": "Paint"}, r"constraints.parts\[0\].part must be one of .* got 'Paint'"),
        ({"steps": True}, r"constraints.parts\[0\].steps must be a whole number, got True"),
        ({"steps": 0}, "time steps"),
        ({"color": 1}, r"constraints.parts\[0\] has unknown keys \['color'\]"),
    ):
        about = json.loads(content["metadata"])
        about["constraints"]["parts"][0].update(change)
        torch.save({**content, "metadata": json.dumps(about)}, file)
        with pytest.raises(InputError, match=message):
            TTFSNetwork.load(file)


@torch.no_grad()
def test_a_copy_has_trials_of_its_own(toy, x):
    net = constrain(toy, x, [Jitter(0.1)], seed=6)
    first = net(x)
    twin = copy.deepcopy(net)
    assert twin.constraints is not net.constraints
    assert twin.constraints.parts == net.constraints.parts
    assert torch.equal(twin(x), first)  # from the start
    second = net(x)
    net.constraints.restart(6)
    net(x)
    twin(x)  # not seen by the other
    assert torch.equal(net(x), second)


@torch.no_grad()
def test_constraints_leave_the_random_numbers_of_others_alone(toy, x):
    net = constrain(toy, x, PARTS)
    torch.manual_seed(1)
    wanted = torch.rand(3)
    torch.manual_seed(1)
    net(x)
    assert torch.equal(torch.rand(3), wanted)


@torch.no_grad()
def test_single_precision_has_the_same_constraints(make_relu, x):
    relu = make_relu((6, 14, 9, 3), seed=7)
    parts = [Jitter(0.1, kind="frozen"), WeightBits(6), Latency(95.0)]
    double = constrain(convert(relu, x), x, parts)
    single = constrain(convert(relu.float(), x.float()), x.float(), parts)
    assert single(x.float()).dtype == torch.float32
    torch.testing.assert_close(single(x.float()).double(), double(x), rtol=0, atol=1e-4)  # float32 rounding


@pytest.mark.parametrize("seed", [-1, 1.5, "3", None])
def test_constraints_refuse_what_is_no_seed(seed):
    with pytest.raises(InputError, match="a seed must be a whole number >= 0"):
        Constraints([], seed)
