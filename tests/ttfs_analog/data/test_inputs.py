"""One gate for data: every form gives the same tensors, and what is no data of a network is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import ttfs_analog as ta
from circuits.errors import InputError
from ttfs_analog.constraints.constraints import Latency
from ttfs_analog.conversion.mapping import agreement
from ttfs_analog.data.inputs import inputs_for, pair_for, pair_to_train, raw
from ttfs_analog.evaluation.audit import audit
from ttfs_analog.training.recipe import Recipe
from ttfs_analog.training.training import accuracy
from ttfs_analog.training.trimming import trimmed

NAN = float("nan")


def loader(x, y, batch=7):
    return DataLoader(TensorDataset(x, y), batch_size=batch)


FORMS = {
    "pair": lambda x, y: (x, y),
    "list": lambda x, y: [x, y],
    "loader": loader,
    "loader of numpy": lambda x, y: DataLoader(list(zip(x.numpy(), y.numpy(), strict=True)), batch_size=7),
    "numpy": lambda x, y: (x.numpy(), y.numpy()),
    "nested lists": lambda x, y: (x.tolist(), y.tolist()),
    "small whole labels": lambda x, y: (x, y.to(torch.uint8)),
    "images": lambda x, y: (x.unflatten(1, (1, 8, 8)), y),
    "channels last, one channel": lambda x, y: (x.unflatten(1, (8, 8, 1)), y),
    "no channel": lambda x, y: (x.unflatten(1, (8, 8)), y),
    "steps backwards": lambda x, y: (x.numpy()[::-1].copy()[::-1], y.numpy()[::-1].copy()[::-1]),
    "the other order of bytes": lambda x, y: (x.numpy().astype(">f8"), y.numpy().astype(">i8")),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_gives_the_same_tensors(net, digits, form):
    x, y = digits.x_test[:20], digits.y_test[:20]
    images, labels = pair_for(net, form(x, y))
    assert torch.equal(images, x)
    assert torch.equal(labels, y)
    assert (images.dtype, labels.dtype) == (torch.float64, torch.int64)
    assert torch.equal(pair_for(net, form(x, y), images=3)[0], x[:3])


def test_a_data_gives_its_two_parts_and_nothing_is_copied(net, digits):
    assert pair_for(net, digits)[0].data_ptr() == digits.x_test.data_ptr()
    assert pair_for(net, digits, training=True)[0].data_ptr() == digits.x_train.data_ptr()
    pair = (digits.x_test, digits.y_test)
    assert pair_for(net, pair)[0].data_ptr() == digits.x_test.data_ptr()


def test_labels_may_be_missing_where_nobody_looks_at_them(net, digits):
    x = digits.x_test[:20]
    for form in (x, x.numpy(), (x, None), (x, "?"), DataLoader(x, batch_size=2), loader(x, x[:, 0])):
        assert torch.equal(inputs_for(net, form), x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("ends", [(-0.8128, 1.8496), (0.0, 255.0), (-1.0, 1.0)])
def test_raw_data_are_brought_into_the_unit_range(make_relu, digits, dtype, ends):
    low, high = ends
    scaled = (low + (high - low) * digits.x_test).to(dtype)
    net = ta.convert(make_relu((64, 6, 10)), scaled, input_range=ends)
    x, _ = pair_for(net, loader(scaled, digits.y_test))
    # rounding of the data's own dtype, a few steps
    torch.testing.assert_close(x, digits.x_test, rtol=0, atol=8 * torch.finfo(dtype).eps * 255)
    assert float(x.min()) >= 0  # what rounding put outside is clipped
    assert float(x.max()) <= 1
    with pytest.raises(InputError, match=r"must lie in \[.*\], the network's range, found .*; scale them"):
        pair_for(net, (scaled + 0.01 * (high - low), digits.y_test))


def test_the_loader_of_convert_is_the_loader_of_every_function(make_relu, digits, make_noise):
    torch.manual_seed(0)
    low, high = -0.8, 1.9
    x, y = (torch.cat(v) for v in ((digits.x_train, digits.x_test), (digits.y_train, digits.y_test)))
    both = loader(low + (high - low) * x, y)
    net = ta.convert(make_relu((64, 12, 10)), both, input_range=(low, high))
    data = dataclasses.replace(digits, x_test=x, y_test=y, x_train=x, y_train=y)
    noise = make_noise(0.1)
    chips = noise.sample(net, 4, seed=1)
    plain, from_loader = (ta.evaluate(net, d, chips) for d in (data, both))
    assert np.array_equal(plain["predicted"], from_loader["predicted"])
    joules = [float(ta.energy(net, d, noise, chips=2)["energy_mean"]) for d in (data, both)]
    assert joules[0] == pytest.approx(joules[1], rel=1e-12, abs=0)
    tuned = [ta.finetune(net, d, noise, epochs=1, batch=500) for d in (data, both)]
    torch.testing.assert_close(tuned[0].layers[0].weight, tuned[1].layers[0].weight, rtol=1e-9, atol=1e-12)


def test_a_range_for_each_channel_is_taken_out_of_its_channel():
    generator = torch.Generator().manual_seed(3)
    x = torch.rand(12, 3, 4, 4, generator=generator, dtype=torch.float64)
    low, high = torch.tensor([-2.0, 0.0, 1.0]), torch.tensor([2.0, 255.0, 3.0])
    places = (3, 1, 1)
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)).double()
    scaled = low.reshape(places) + (high - low).reshape(places) * x
    net = ta.convert(model, scaled, input_range=(low.tolist(), high.tolist()))
    torch.testing.assert_close(inputs_for(net, scaled), x.flatten(1), rtol=0, atol=1e-13)
    for turned in (scaled.permute(0, 2, 3, 1), scaled.flip(1)):
        with pytest.raises(InputError, match=r"permute\(0, 3, 1, 2\)|the network's range"):
            inputs_for(net, turned)
    with pytest.raises(InputError, match=r"inputs of channel 2 must lie in \[1, 3\], .* found 0\.\d+\.\.0"):
        inputs_for(net, 0.5 + 0.25 * x)  # inside [-2, 255]


def bad(x=None, y=None):
    """Twelve good images and labels, changed."""
    images, labels = torch.full((12, 64), 0.5, dtype=torch.float64), torch.arange(12) % 10
    return (images if x is None else x(images)), (labels if y is None else y(labels))


def put(value, at=(4, 1)):
    def change(x):
        x = x.clone()
        x[at] = value
        return x

    return change


REFUSED = [
    (bad(put(NAN)), r"1 of 12 images hold NaN or infinity, the first is number 4"),
    (bad(put(float("inf"), slice(None))), "12 of 12 images hold NaN or infinity"),
    (bad(put(1.01)), r"must lie in \[0, 1\], the network's range, found 0.5..1.01; scale them"),
    (bad(put(-0.01)), r"must lie in \[0, 1\].* found -0.01..0.5"),
    (bad(lambda x: (255 * x).to(torch.uint8)), r"must lie in \[0, 1\].* found 127..127"),
    (bad(lambda x: x[:, :63]), r"takes 64 inputs, of shape \(64,\), the data have \(63,\)"),
    (bad(lambda x: x[:0], lambda y: y[:0]), "hold no inputs; give at least one"),
    (bad(lambda x: x[0]), r"inputs are \(image, ...\), got shape \(64,\); for one image give x\[None\]"),
    (bad(lambda x: x.unflatten(1, (16, 2, 2))[:, :, :, :1]), "the network takes 64 inputs"),
    (bad(lambda x: x.to(torch.complex128)), "the inputs are complex"),
    (bad(lambda x: x.to_sparse()), "inputs are sparse or quantized"),
    (bad(lambda x: np.ma.masked_equal(put(0.1)(x).numpy(), 0.1)), "inputs have masked values"),
    (bad(lambda x: [["a"] * 64] * 12), "inputs are no array of numbers"),
    (bad(lambda x: [[0.5], [0.5, 0.5]]), "inputs are no array of numbers"),
    (bad(None, lambda y: y + 1), r"label 10 of image 9: the network has classes 0..9"),
    (bad(None, lambda y: put(-100, 3)(y)), r"label -100 of image 3: the network has classes 0..9"),
    (bad(None, lambda y: y[:, None]), r"labels are \(image,\), got shape \(12, 1\); y.flatten\(\)"),
    (bad(None, lambda y: nn.functional.one_hot(y, 10)), r"look one-hot; give class numbers, y.argmax\(1\)"),
    (bad(None, lambda y: y[:11]), "11 labels for 12 images"),
    (bad(None, lambda y: y.double()), r"class numbers, got torch.float64; y.long\(\)"),
    (bad(None, lambda y: y > 4), r"class numbers, got torch.bool"),
    (bad(None, lambda y: ["one"] * 12), "labels are no array of numbers"),
    (bad(None, lambda y: y[0]), r"labels are \(image,\), got shape \(\)"),
    (None, r"data must be a DataLoader, a pair .* come from ttfs_analog.load; got NoneType"),
    ("digits", "data must be a DataLoader, a pair .* got str"),
    ((1, 2, 3), "data must be a DataLoader, a pair"),
    (bad()[0], "data must be a DataLoader, a pair .* got Tensor"),
    (DataLoader(bad()[0], batch_size=2), "the loader gives one tensor a batch"),
    (DataLoader([{"x": 1.0}] * 4), "the loader gives a dict a batch"),
    (DataLoader([(1.0, 2, 3)] * 4), "the loader gives a list a batch"),
    (DataLoader(TensorDataset(torch.zeros(0, 64), torch.zeros(0))), "the loader holds no data"),
    (
        DataLoader([(torch.zeros(n), 0) for n in (64, 63)]),
        r"batches of inputs differ in shape: \[\(63,\), \(64",
    ),
]


@pytest.mark.parametrize(("data", "message"), REFUSED, ids=[m[:36] for _, m in REFUSED])
def test_what_is_no_data_of_a_network_is_refused_in_words(net, data, message):
    with pytest.raises(InputError, match=message):
        pair_for(net, data)


@pytest.mark.parametrize("images", [0, -3])
def test_no_images_are_refused(net, digits, images):
    with pytest.raises(InputError, match=f"at least one image is needed, got {images}"):
        pair_for(net, digits, images=images)


def test_channels_last_colors_are_refused_and_not_read_as_pixels(make_relu):
    x = torch.rand(5, 3, 8, 8, dtype=torch.float64)
    net = ta.convert(make_relu((192, 6, 3)), x.flatten(1))
    assert torch.equal(inputs_for(net, x), x.flatten(1))
    with pytest.raises(InputError, match=r"\(8, 8, 3\); they are channels-last: permute\(0, 3, 1, 2\)"):
        inputs_for(net, x.permute(0, 2, 3, 1))
    with pytest.raises(InputError, match="channels-last"):
        net(x.permute(0, 2, 3, 1))


CALLS = {
    "evaluate": lambda net, data, noise: ta.evaluate(net, data, noise.sample(net, 2)),
    "finetune": lambda net, data, noise: ta.finetune(net, data, noise, epochs=1),
    "train": lambda net, data, noise: ta.train(net.clone(), data, Recipe(epochs=1)),
    "energy": lambda net, data, noise: ta.energy(net, data, noise, chips=2),
    "verify": lambda net, data, noise: ta.verify(net, data, noise.sample(net, 1), images=1),
    "verify_transistors": lambda net, data, noise: ta.verify_transistors(net, data, noise, images=1),
    "audit": lambda net, data, noise: audit(net, data, noise, 1, images=1),
    "place": lambda net, data, noise: ta.place(net, "generic130", data),
    "accuracy": lambda net, data, noise: accuracy(net, *raw(data)),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": put(NAN, (0, 1))}, "hold NaN or infinity"),
        ({"x": put(3.0, (0, 1))}, r"must lie in \[0, 1\]"),
        ({"x": lambda x: x[:, 1:]}, "takes 64 inputs"),
        ({"y": lambda y: y + 1}, "the network has classes 0..9"),
    ],
)
def test_every_function_of_a_network_passes_the_gate(net, make_noise, call, change, message):
    noise, (x, y) = make_noise(0.1), bad(**change)
    if call is CALLS["energy"] and "y" in change:
        call(net, (x, y), noise)  # labels are not looked at
        return
    for data in ((x, y), loader(x, y), (x.numpy(), y.numpy())):
        with pytest.raises(InputError, match=message):
            call(net, data, noise)


def test_a_damaged_data_is_refused_too(net, digits, make_noise):
    broken = dataclasses.replace(digits, x_test=put(NAN)(digits.x_test), x_train=put(2.0)(digits.x_train))
    noise = make_noise(0.1)
    with pytest.raises(InputError, match="1 of 450 images hold NaN"):
        ta.evaluate(net, broken, noise.sample(net, 2))
    with pytest.raises(InputError, match=r"must lie in \[0, 1\], found 0..2"):
        ta.finetune(net, broken, noise, epochs=1)
    with pytest.raises(InputError, match="NaN"):
        net.spikes_per_neuron(broken.x_test)
    with pytest.raises(InputError, match=r"must lie in \[0, 1\]"):
        ta.constrain(net, broken.x_train, [Latency(99.0)])
    with pytest.raises(InputError, match=r"must lie in \[0, 1\]"):
        trimmed(net, noise.sample(net, 2), broken.x_train)


def test_a_relu_network_is_trained_on_checked_data_too(make_relu, digits):
    relu = make_relu((64, 4, 10))
    x, y = pair_to_train(relu, digits)
    assert torch.equal(x, digits.x_train)
    assert not relu[0].weight.grad
    for data, message in (
        ((put(NAN)(x), y), "hold NaN"),
        ((x, y + 1), "the network has classes 0..9"),
        ((x, y.double()), "class numbers"),
    ):
        with pytest.raises(InputError, match=message):
            ta.train(relu, data, Recipe(epochs=1))
    with pytest.raises(InputError, match="judge needs a test part"):
        ta.train(relu, (x, y), Recipe(epochs=1), judge=True)
    with pytest.raises(InputError, match="label 10 of image"):
        accuracy(relu, x, y + 1)


def test_a_network_refuses_inputs_and_chips_that_are_not_its_own(net, make_relu, digits, make_noise):
    x, noise = digits.x_test[:3], make_noise(0.1)
    for wrong, message in (
        (x.float(), r"the inputs are torch.float32 on cpu, the network is torch.float64 .* x.to\(net.like\)"),
        (x.to(torch.uint8), "the inputs are torch.uint8"),
        (x[:, :63], r"takes 64 inputs, of shape \(64,\), the data have \(63,\)"),
    ):
        with pytest.raises(InputError, match=message):
            net(wrong)
    other = ta.convert(make_relu((64, 5, 10)), digits)
    deeper = ta.convert(make_relu((64, 16, 16, 10)), digits)
    for stranger in (other, deeper):
        chips = noise.sample(stranger, 2)
        with pytest.raises(InputError, match=r"chips of a network with|drawn for another network|chips of 3"):
            net(x, chips.deviations(x))
        for call in (
            lambda c=chips: ta.evaluate(net, digits, c),
            lambda c=chips: ta.verify(net, digits, c, images=1),
            lambda c=chips: trimmed(net, c, digits.x_train),
        ):
            with pytest.raises(InputError, match=r"drawn for another network|chips of 3 layers"):
                call()


def test_agreement_of_images_out_of_range_is_refused(trained, digits):
    relu, net = trained
    with pytest.raises(InputError, match=r"must lie in \[0, 1\]"):
        agreement(net, relu, 16 * digits.x_test)
