"""The network: layers against the circuit, operating points, checkpoint."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from comparing_chips import identity

from circuits.errors import InputError
from circuits.model.closed_form import response, trajectory_range
from circuits.model.operating_point import OperatingPoint
from circuits.simulation import feed_forward
from montecarlo.mismatch.law import MismatchLaw
from ttfs_analog.conversion.mapping import convert, to_relu
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.neuron.layers import TTFSLinear
from ttfs_analog.noise.chips import Chips

LAW = MismatchLaw(0.1, 0.1, 0.1, 0.1, 0.1)
KEYS = ("dtype", "blocks", "input_shape", "constraints", "operating_points")
NOT_FINITE = (float("nan"), float("inf"))


@pytest.fixture
def x():
    x = torch.rand(12, 6, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    x[x < 0.2] = 0.0  # silent inputs too
    return x


@pytest.fixture
def deep(make_relu, x):
    return convert(make_relu((6, 10, 8, 7, 4), seed=2), x, metadata={"note": "deep"})


def test_layer_by_layer_with_deviations_the_network_is_the_circuit(deep, x):
    deep.set_windows([0.6 * window for window in deep.windows])  # so that some neurons fire at t_min
    chips = Chips.draw(LAW, deep, range(3), entropy=9)
    trace = deep.trace(x, chips.deviations(x))
    silent = early = 0
    for n, layer in enumerate(deep.to_circuit()):
        for chip in range(3):
            for image in range(len(x)):
                # the layer is given what the network gave it: errors do not add up
                arriving = (x[image] if n == 0 else trace[n - 1][chip, image]).detach().numpy()
                times = np.where(arriving > 0, layer.t_min - arriving, np.inf)
                found = response(layer, times, OperatingPoint(), chips.layers[n][chip])
                ours = trace[n][chip, image].detach().numpy()
                theirs = found.activation(layer.window) if layer.spiking else found.v_t_min
                # float64 rounding of numbers up to a window: 1e-12 of it
                np.testing.assert_allclose(ours, theirs[0], rtol=1e-12, atol=1e-12 * (1 + layer.window))
                silent += int((ours == 0).sum())
                early += int((ours == layer.window).sum())
    assert silent > 0  # both kinds of clipping were met
    assert early > 0


def test_whole_chips_are_whole_circuits(deep, x):
    chips = Chips.draw(LAW, deep, range(2), entropy=4)
    logits = deep(x, chips.deviations(x)).detach().numpy()
    run = feed_forward(deep.to_circuit(), deep.points, x.numpy(), list(chips.layers), level="closed-form")
    for image, responses in run:
        # four layers of float64 rounding
        np.testing.assert_allclose(logits[:, image], responses[-1].v_t_min, rtol=1e-11, atol=1e-11)


def test_zero_deviations_are_the_ideal_network(deep, x):
    none = deep.trace(x, identity(deep).deviations(x))
    for with_none, ideal in zip(none, deep.trace(x), strict=True):
        # bit for bit up to the order in which a matrix product adds
        torch.testing.assert_close(with_none[0], ideal, rtol=1e-14, atol=1e-14)


def test_chips_add_the_leading_dimension(deep, x):
    assert deep(x).shape == (12, 4)
    assert deep(x, Chips.draw(LAW, deep, range(5), 0).deviations(x)).shape == (5, 12, 4)


@pytest.mark.parametrize("kinds", [[], [False, False], [True, False, True]])
def test_only_the_last_layer_may_be_a_readout_that_does_not_spike(kinds):
    layers = [
        TTFSLinear(torch.ones(2, 2), torch.zeros(2), input_window=1.0, window=1.0, spiking=k) for k in kinds
    ]
    with pytest.raises(InputError, match="read-out"):
        TTFSNetwork(layers)


def test_each_layers_window_is_the_next_layers_input_window(deep):
    deep = deep.clone()
    deep.set_windows([2.0, 3.0, 4.0])
    assert deep.windows == [2.0, 3.0, 4.0]
    assert [float(layer.input_window) for layer in deep.layers] == [1.0, 2.0, 3.0, 4.0]
    assert [c.t_min for c in deep.to_circuit()] == [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize(
    "windows",
    [
        [],
        [2.0, 3.0],
        [2.0, 3.0, 4.0, 5.0],
        [2.0, 3.0, 0.0],
        [2.0, -1.0, 1.0],
        [2.0, 3.0, float("inf")],
        [2.0, 3.0, float("nan")],
    ],
)
def test_windows_that_are_refused_change_nothing(deep, windows):
    before = {k: v.clone() for k, v in deep.state_dict().items()}
    with pytest.raises(InputError, match="3 windows > 0 are needed"):
        deep.set_windows(windows)
    assert all(torch.equal(deep.state_dict()[k], v) for k, v in before.items())


def test_longer_windows_do_not_change_the_ideal_function(deep, x):
    longer = deep.clone()
    longer.set_windows([10 * w for w in deep.windows])
    assert torch.equal(longer(x), deep(x))


def test_spikes_per_neuron_counts_active_neurons(deep, x):
    hidden = torch.cat([h > 0 for h in deep.trace(x)[:-1]], dim=1)
    # a ratio of whole numbers
    assert deep.spikes_per_neuron(x) == pytest.approx(float(hidden.double().mean()), rel=1e-15)


def test_a_network_without_hidden_layers_has_no_spikes(make_relu, x):
    assert convert(make_relu((6, 3)), x).spikes_per_neuron(x) == 0.0


def test_operating_points_keep_every_calibration_trajectory_in_the_swing(deep, x):
    inputs = x
    for module, layer, point in zip(deep.layers, deep.to_circuit(), deep.points, strict=True):
        low, high = trajectory_range(layer, inputs.detach().numpy())
        point.check_swing(float(low.min()), float(high.max()), "layer")
        # a quarter is kept free, and no more: the scale is not wasted
        used = point.v_unit * (max(high.max(), 0) - min(low.min(), 0))
        assert used == pytest.approx((point.v_high - point.v_low) / 1.25, rel=1e-9)
        inputs = module(inputs)


def test_rescale_follows_the_windows(deep, x):
    wide = deep.clone()
    wide.set_windows([100.0 * w for w in deep.windows])
    wide.rescale(x)
    assert wide.points[0].v_unit < deep.points[0].v_unit
    bare = TTFSNetwork(list(deep.clone().layers))
    bare.rescale(x)
    assert bare.points == []


def test_a_clone_is_independent(deep, x):
    before = deep(x).detach()
    copy = deep.clone()
    with torch.no_grad():
        copy.layers[0].weight.zero_()
    copy.metadata["note"] = "changed"
    assert torch.equal(deep(x).detach(), before)
    assert deep.metadata == {"note": "deep", "mapping": "b1", "input_range": [0.0, 1.0]}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_checkpoint_comes_back_bit_for_bit(make_relu, x, tmp_path, dtype):
    net = convert(make_relu((6, 5, 3), dtype=dtype), x, metadata={"data": "toy", "accuracy": 0.5})
    path = net.save(tmp_path / "folder" / "net.pt")
    back = TTFSNetwork.load(path)
    assert back.layers[0].weight.dtype == dtype
    assert torch.equal(back(x.to(dtype)), net(x.to(dtype)))
    assert all(torch.equal(back.state_dict()[k], v) for k, v in net.state_dict().items())
    assert back.points == net.points
    assert back.metadata == net.metadata
    assert back.windows == net.windows


def test_a_checkpoint_holds_no_code(deep, tmp_path):
    content = torch.load(deep.save(tmp_path / "net.pt"), weights_only=True)
    assert set(content) == {"state_dict", "metadata", "digest"}
    assert json.loads(content["metadata"])["schema"] == "ttfs-analog/network/2"


def test_a_missing_checkpoint_says_how_to_make_one(tmp_path):
    with pytest.raises(InputError, match="does not exist; 'train' or 'convert'"):
        TTFSNetwork.load(tmp_path / "none.pt")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_checkpoint_is_refused(deep, tmp_path, share):
    path = deep.save(tmp_path / "net.pt")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"net\.pt"):
        TTFSNetwork.load(path)


@pytest.mark.parametrize(
    "content", [{"a": 1}, {"metadata": "not json", "state_dict": {}}, torch.zeros(3), [1, 2], "text"]
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_another_file_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "net.pt")
    if content == "text":
        (tmp_path / "net.pt").write_text("weights: none")
    with pytest.raises(InputError, match=r"net\.pt"):
        TTFSNetwork.load(tmp_path / "net.pt")


def change(path, key=None, value=None, **metadata):
    content = torch.load(path, weights_only=True)
    if key:
        content["state_dict"][key] = value
    about = {**json.loads(content["metadata"]), **metadata}
    about = {k: v for k, v in about.items() if v is not None or k not in metadata}  # None: lacks it
    content["metadata"] = json.dumps(about)
    torch.save(content, path)
    return path


@pytest.mark.parametrize("bit", [0, 40, 51, 62])
def test_a_flipped_bit_of_a_weight_is_refused(deep, tmp_path, bit):
    path = deep.save(tmp_path / "net.pt")
    content = torch.load(path, weights_only=True)
    raw = content["state_dict"]["blocks.1.weight"].numpy().view(np.uint64)
    raw[0, 0] ^= np.uint64(1 << bit)
    torch.save(content, path)
    with pytest.raises(InputError, match=r"net\.pt is damaged, .* make the network again"):
        TTFSNetwork.load(path)
    del content["digest"]  # as files were before there were any
    torch.save(content, path)
    assert TTFSNetwork.load(path).layers[1].weight[0, 0] != deep.layers[1].weight[0, 0]


def test_a_changed_description_is_refused(deep, tmp_path):
    with pytest.raises(InputError, match=r"net\.pt is damaged, or was changed"):
        TTFSNetwork.load(change(deep.save(tmp_path / "net.pt"), reference_accuracy=0.99))


def test_the_circuit_has_the_same_numbers(deep):
    for module, layer in zip(deep.layers, deep.to_circuit(), strict=True):
        assert np.array_equal(layer.weights, module.weight.detach().numpy())
        assert layer.spiking == module.spiking
        # t_max - t_min loses at most an ulp of t_max
        assert layer.window == pytest.approx(float(module.window), abs=1e-14)
    assert np.array_equal(to_relu(deep)[0].bias.detach().numpy(), deep.to_circuit()[0].bias)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        *(("blocks.1.slope", v, "layer 1, neuron 0: slope B = .* must be > 0") for v in (0.0, -1.0)),
        *(("blocks.1.window", v, "layer 1: windows must be > 0") for v in (0.0, -1.0)),
        *(("blocks.1.weight", v, "blocks.1.weight holds values that are not finite") for v in NOT_FINITE),
        ("blocks.1.weight", None, r"blocks.1.weight has shape \(2, 2\), blocks\[1\] says"),
    ],
)
def test_a_checkpoint_whose_values_are_out_of_range_is_refused(deep, tmp_path, key, value, message):
    tensor = torch.zeros(2, 2).double() if value is None else torch.full_like(deep.state_dict()[key], value)
    path = change(deep.save(tmp_path / "net.pt"), key, tensor)
    with pytest.raises(InputError, match=rf"net\.pt:? {message}"):
        TTFSNetwork.load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": "ttfs-analog/network/99"}, " does not have schema 'ttfs-analog/network/2'"),
        *(({"dtype": v}, "") for v in ("float99", "nn", 64)),
        *(({"blocks": v}, "") for v in (3, [{}], [], [{"kind": "linear"}])),
        *(({"operating_points": v}, "") for v in ([{}], [{"voltage": 1}], 3)),
        ({"input_shape": 3}, ""),
        ({"constraints": 3}, ""),
        *(({key: None}, rf" lacks \['{key}'\]") for key in KEYS),  # lacks it
    ],
)
def test_a_checkpoint_whose_description_is_nonsense_is_refused(deep, tmp_path, changes, message):
    path = change(deep.save(tmp_path / "net.pt"), **changes)
    with pytest.raises(InputError, match=rf"net\.pt{message}"):
        TTFSNetwork.load(path)


POINT = json.loads(OperatingPoint().to_json())
BITS = {"part": "WeightBits", "bits": 4, "clip": None, "units": [0.1]}


@pytest.mark.parametrize(("key", "layer"), [("blocks.0.window", 1), ("blocks.2.input_window", 2)])
def test_windows_that_two_layers_share_must_agree(deep, tmp_path, key, layer):
    path = change(deep.save(tmp_path / "net.pt"), key, 1.5 * deep.state_dict()[key])
    message = rf"input window of layer {layer} is .* the output window of layer {layer - 1} is .* must agree"
    with pytest.raises(InputError, match=message):
        TTFSNetwork.load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_shape": [7]}, "the blocks do not follow each other"),
        ({"input_shape": [6, 6, 6]}, r"blocks\[0\] meets inputs of shape \(6, 6, 6\)"),
        ({"input_shape": [2**40]}, "input_shape must be numbers > 0"),
        ({"reference_accuracy": "0.95"}, "reference_accuracy must be a finite number, got '0.95'"),
        ({"data": 3}, "data must be text or null, got 3"),
        ({"placement": {}}, r"placement lacks \['technology', "),
        ({"operating_points": [{"tau_c": 1e-7}]}, r"operating_points\[0\] lacks \['c_mem', "),
        ({"operating_points": [POINT]}, "1 operating points for 4 layers"),
        ({"constraints": {"seed": 0, "parts": [BITS]}}, "units of weights of 1 layers for 4 layers"),
    ],
)
def test_what_a_file_says_must_fit_its_tensors(deep, tmp_path, changes, message):
    path = change(deep.save(tmp_path / "net.pt"), **changes)
    with pytest.raises(InputError, match=rf"net\.pt: .*{message}"):
        TTFSNetwork.load(path)


def test_a_size_that_no_tensor_has_takes_no_memory(deep, tmp_path):
    """A weight of 2^30 x 2^30 would be refused by the machine, or worse."""
    blocks = json.loads(torch.load(deep.save(tmp_path / "net.pt"), weights_only=True)["metadata"])["blocks"]
    blocks[0]["weight"] = [2**30, 2**30]
    path = change(tmp_path / "net.pt", blocks=blocks)
    with pytest.raises(InputError, match=r"blocks\.0\.weight has shape .* blocks\[0\] says"):
        TTFSNetwork.load(path)
