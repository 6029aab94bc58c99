"""torch.fx: any way to write a chain of layers is understood; what is no chain is refused by name."""

from __future__ import annotations

import pytest
import torch
from random_models import close, images, shake
from torch import nn
from torch.nn import functional as F

from circuits.errors import InputError
from ttfs_analog.conversion.mapping import convert
from ttfs_analog.conversion.trace import chain


class Functional(nn.Module):
    """The layers as functional calls and methods, one layer used twice, arguments that are not used."""

    def __init__(self, reshape):
        super().__init__()
        self.reshape = reshape
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.shared = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.hidden = nn.Linear(16, 8)
        self.last = nn.Linear(8, 3)

    def forward(self, x, mask=None, scale=1.0):
        x = F.max_pool2d(F.relu(self.norm(self.first(x))), 2)
        x = torch.relu(self.shared(x))
        x = F.dropout(self.shared(x).relu(), 0.5, training=self.training)
        x = F.avg_pool2d(x, kernel_size=2)
        x = self.reshape(x)
        return self.last(F.relu(self.hidden(x), inplace=True))


RESHAPES = {
    "view": lambda x: x.view(x.size(0), -1),
    "flatten": lambda x: torch.flatten(x, 1),
    "method": lambda x: x.contiguous().flatten(start_dim=1),
    "reshape": lambda x: x.reshape(x.shape[0], 16),
    "minus one": lambda x: x.view(-1, 16),
    "counted": lambda x: x.view(-1, x.shape[1] * x.shape[2] * x.shape[3]),
    "adapted": lambda x: F.adaptive_avg_pool2d(F.max_pool2d(x, 1, stride=1), (2, 2)).flatten(1),
}


@pytest.mark.parametrize("reshape", RESHAPES.values(), ids=RESHAPES)
@pytest.mark.parametrize("mode", ["train", "eval"])
@torch.no_grad()
def test_functional_calls_and_methods_are_the_layers_they_stand_for(reshape, mode):
    model, x = shake(Functional(reshape), 3), images(0, 20, 1, 8, 8)
    expected = model(x)
    net = convert(getattr(model, mode)(), x)
    assert close(net(x), expected, 1e-10)
    # two convolutions, one of them twice, the average, two fully connected layers
    assert len(net.layers) == 6
    assert net.layers[1].weight is not net.layers[2].weight


def test_nested_modules_keep_their_names():
    inner = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    outer = nn.ModuleDict({"body": inner, "head": nn.Linear(3, 2)})
    model = nn.Sequential()
    model.add_module("body", outer["body"])
    model.add_module("head", outer["head"])
    names = [step.where for step in chain(model)]
    assert names == ["layer body.0 (Linear)", "layer body.1 (ReLU)", "layer head (Linear)"]


class Model(nn.Module):
    """Two layers, and a forward that is no chain."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
        self.scale = nn.Parameter(torch.ones(4))


def loops(self, x):
    for _ in range(int(x.max())):
        x = F.relu(self.a(x))
    return self.b(x)


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda m, x: m.b(F.relu(m.a(x))) + x, r"operation add joins branches .* remove the skip connection"),
        (lambda m, x: torch.cat([F.relu(m.a(x)), m.b(m.a(x))], 1), "joins branches"),
        (lambda m, x: (m.a(F.relu(m.a(x))), m.b(F.relu(m.a(x)))), "joins branches"),
        (lambda m, x: m.b(x) if m.a(x).sum() > 0 else x, r"Broken cannot be traced .* depend on values"),
        (loops, r"Broken cannot be traced"),
        (lambda m, x, y: m.b(F.relu(m.a(x))) + y, r"takes more than one input \(y\); give it one"),
        (lambda m, x, y: m.b(F.relu(m.a(x) * y)), r"takes more than one input \(y\); give it one"),
        (
            lambda m, x: m.b(F.relu(m.a(x) * m.scale)),
            "uses a parameter directly; put it into a Linear or Conv",
        ),
        (lambda m, x: m.b(F.relu(m.a(x) * 2)), r"operation mul \(mul\) is not supported; use Linear"),
        (lambda m, x: F.softmax(m.b(F.relu(m.a(x))), 1), r"operation softmax \(softmax\) is not supported"),
        (
            lambda m, x: m.b(F.relu(m.a(x).transpose(0, 1))),
            r"operation transpose \(transpose\) is not supported",
        ),
        (lambda m, x: m.b(F.relu(m.a(x)).flatten()), "start_dim=1"),
    ],
)
def test_what_is_no_chain_is_refused_by_name(forward, message):
    kind = type("Broken", (Model,), {"forward": forward})
    with pytest.raises(InputError, match=message):
        convert(kind(), torch.rand(5, 4))


def conv(*layers, **options):
    return [nn.Conv2d(1, 2, 3, **options), nn.ReLU(), *layers]


LINEAR = nn.Linear(72, 2)
CONVOLUTION = nn.Conv2d(1, 2, 3)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (conv(nn.Flatten(), LINEAR, nn.Softmax(1)), r"layer 4 \(Softmax\) .* remove it: the read"),
        (conv(nn.Flatten(), LINEAR, nn.LogSoftmax(1)), r"layer 4 \(LogSoftmax\) .* remove it"),
        ([CONVOLUTION, nn.Sigmoid(), nn.Flatten(), LINEAR], r"layer 1 \(Sigmoid\) .* with ReLU"),
        ([CONVOLUTION, nn.GELU(), nn.Flatten(), LINEAR], r"layer 1 \(GELU\) .* with ReLU"),
        ([CONVOLUTION, nn.LeakyReLU(), nn.Flatten()], r"layer 1 \(LeakyReLU\) .* with ReLU"),
        ([CONVOLUTION, nn.GroupNorm(1, 2), nn.ReLU()], r"layer 1 \(GroupNorm\) .* use BatchNorm"),
        (
            [*conv(padding=1, padding_mode="reflect"), nn.Flatten(), nn.Linear(128, 2)],
            r"layer 0 \(Conv2d\) pads with 'reflect'; only zeros",
        ),
        ([nn.Conv2d(1, 2, 2, padding="same"), nn.Flatten()], "pads unevenly"),
        (conv(nn.Linear(6, 2)), r"layer 2 \(Linear\) meets images of shape \(2, 6, 6\); put Flatten before"),
        (conv(nn.Flatten(), nn.Linear(71, 2)), r"layer 3 \(Linear\) takes 71 inputs and meets 72"),
        (conv(nn.Conv2d(3, 2, 3)), r"layer 2 \(Conv2d\) takes 3 channels and meets 2"),
        (conv(nn.Conv2d(2, 2, 7)), r"layer 2 \(Conv2d\) does not fit images of shape \(2, 6, 6\)"),
        (conv(nn.Flatten(), nn.Conv2d(2, 2, 1)), r"layer 3 \(Conv2d\) needs images .* meets shape \(72,\)"),
        (conv(nn.Flatten(), nn.MaxPool2d(2)), r"layer 3 \(MaxPool2d\) needs images"),
        ([CONVOLUTION, nn.MaxPool2d(2)], "must end with a Linear or Conv2d layer without ReLU"),
        (conv(nn.Flatten(2)), r"layer 2 \(Flatten\) must keep the batch"),
        (
            [nn.Flatten(), nn.Linear(64, 9), nn.ReLU(), nn.Unflatten(1, (1, 3, 3)), nn.Conv2d(1, 1, 3)],
            "needs images",
        ),
        ([CONVOLUTION, nn.BatchNorm2d(2, track_running_stats=False)], r"layer 1 .* without running stat"),
        ([nn.ReLU(), CONVOLUTION], r"layer 0 \(ReLU\) does not follow"),
    ],
)
def test_layers_without_an_exact_map_are_refused_by_name(layers, message):
    with pytest.raises(InputError, match=message):
        convert(nn.Sequential(*layers).eval(), torch.rand(3, 1, 8, 8))


def test_flat_calibration_data_of_a_convolution_say_what_is_missing():
    model = nn.Sequential(*conv(), nn.Flatten(), nn.Linear(72, 2))
    with pytest.raises(InputError, match=r"layer 0 \(Conv2d\) needs images; give calibration data \(image,"):
        convert(model, torch.rand(3, 64))


@torch.no_grad()
def test_an_unflatten_at_the_front_gives_the_images_their_shape():
    model = shake(nn.Sequential(nn.Unflatten(1, (1, 8, 8)), *conv(), nn.Flatten(), nn.Linear(72, 2)), 0)
    x = images(1, 10, 64)
    assert close(convert(model, x)(x), model(x), 1e-10)


def small(*layers):
    return nn.Sequential(nn.Linear(4, 6), *layers, nn.ReLU(), nn.Linear(6, 3)).double()


class Calls(nn.Module):
    """Two layers, and a call between them."""

    def __init__(self, call):
        super().__init__()
        self.a, self.b, self.call = nn.Linear(4, 6), nn.Linear(6, 3), call

    def forward(self, x):
        return self.b(self.call(self, F.relu(self.a(x))))


class Outer(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize(
    "call",
    [
        lambda m, x: F.dropout(x, 0.5),
        lambda m, x: F.dropout(x),
        lambda m, x: F.dropout(x, 0.5, True),
        lambda m, x: F.dropout(x, 0.5, training=True, inplace=True),
        lambda m, x: torch.dropout(x, 0.5, True),
        lambda m, x: torch.dropout(x, 0.5, train=True),
        lambda m, x: F.alpha_dropout(x, 0.5, training=True),
        lambda m, x: F.feature_alpha_dropout(x, 0.5, True),
        lambda m, x: F.dropout1d(x, 0.5),
        lambda m, x: F.dropout2d(x, 0.5),
        lambda m, x: F.dropout3d(x, 0.5),
    ],
)
def test_dropout_that_acts_at_inference_is_refused_where_it_stands(call, mode):
    model = getattr(Calls(call).double(), mode)()
    with pytest.raises(InputError, match=r"operation \w*dropout\w* of Calls \(\w+\) drops at inference, too"):
        convert(model, images(0, 9, 4))
    with pytest.raises(InputError, match=r"operation \w*dropout\w* of layer inner \("):
        convert(getattr(Outer(Calls(call)).double(), mode)(), images(0, 9, 4))


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize(
    "call",
    [
        lambda m, x: F.dropout(x, 0.5, m.training),
        lambda m, x: F.dropout(x, 0.5, training=m.training),
        lambda m, x: F.dropout(x, 0.5, training=False),
        lambda m, x: F.dropout(x, 0.0),
        lambda m, x: torch.dropout(x, 0.5, m.training),
        lambda m, x: F.alpha_dropout(x, 0.5),  # torch's own default is no training
        lambda m, x: x if not m.training else 2 * x,
    ],
)
@torch.no_grad()
def test_dropout_that_does_nothing_at_inference_is_left_out(call, mode):
    model, x = Calls(call).double(), images(0, 9, 4)
    net = convert(getattr(model, mode)(), x)
    assert model.training is (mode == "train")  # left as it was
    assert close(net(x), model.eval()(x), 1e-10)


class StaysInTraining(nn.Dropout):
    def train(self, mode=True):
        return super().train(True)


class KeepsChildren(nn.Module):
    """Its children stay in training mode, whatever it is told."""

    def __init__(self, child):
        super().__init__()
        self.a, self.child, self.b = nn.Linear(4, 6), child, nn.Linear(6, 3)

    def train(self, mode=True):
        super().train(mode)
        self.child.train(True)
        return self

    def forward(self, x):
        return self.b(F.relu(self.child(self.a(x))))


class Shrinks(nn.Module):
    def forward(self, w):
        return 0.5 * w


class Drops(nn.Module):
    def forward(self, w):
        return F.dropout(w, 0.5)


def patched(name, forward):
    model = small()
    (model if name is None else model[name]).forward = forward
    return model


def hooked(register):
    model = small()
    getattr(model[0], register)(lambda module, *values: None)
    return model


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: patched(0, lambda x: x), r"layer 0 \(Linear\) has its forward replaced"),
        (lambda: patched(1, lambda x: 2 * x), r"layer 1 \(ReLU\) has its forward replaced"),
        (lambda: patched(None, lambda x: x), r"layer Sequential \(Sequential\) has its forward replaced"),
        (lambda: hooked("register_forward_hook"), "layer 0 has forward hooks"),
        (lambda: hooked("register_forward_pre_hook"), "layer 0 has forward hooks"),
        (lambda: small(StaysInTraining()), r"layer 1 \(StaysInTraining\) stays in training mode"),
        (lambda: KeepsChildren(nn.Dropout()).double(), r"layer child \(Dropout\) stays in training mode"),
        (lambda: KeepsChildren(nn.BatchNorm1d(6)).double(), r"layer child \(BatchNorm1d\) stays in training"),
        (lambda: parametrized(Drops()), "layer 0: the parametrization of weight gives other values at every"),
    ],
)
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_what_is_not_the_function_of_its_layers_is_refused(model, message, mode):
    with pytest.raises(InputError, match=message):
        convert(getattr(model(), mode)(), images(0, 9, 4))


def parametrized(by):
    model = small()
    nn.utils.parametrize.register_parametrization(model[0], "weight", by)
    return model


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize(
    "model",
    [
        lambda: parametrized(Shrinks()),
        lambda: nn.Sequential(
            nn.utils.parametrizations.spectral_norm(nn.Linear(4, 6)), *list(small())[1:]
        ).double(),
        lambda: nn.Sequential(
            nn.utils.parametrizations.weight_norm(nn.Linear(4, 6)), *list(small())[1:]
        ).double(),
    ],
)
@torch.no_grad()
def test_parametrized_weights_are_those_of_inference_and_the_model_is_left_as_it_was(model, mode):
    torch.manual_seed(0)
    model, x = getattr(model(), mode)(), images(0, 9, 4)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    net = convert(model, x)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert close(net(x), model.eval()(x), 1e-10)


def test_a_forward_that_no_trace_sees_through_is_measured():
    """A global hook changes the model's answers: the map of its layers is another function."""
    handle = nn.modules.module.register_module_forward_hook(
        lambda module, inputs, output: output + 0.1 if isinstance(module, nn.Linear) else output
    )
    try:
        with pytest.raises(
            InputError, match=r"the map is not the model: logits differ by .* Sequential does what"
        ):
            convert(small(), images(0, 9, 4))
    finally:
        handle.remove()


def test_a_model_that_fails_on_its_data_says_so_in_one_line():
    class Failing(nn.Sequential):
        def forward(self, x):
            return super().forward(x.clone())

        def __call__(self, x):
            if not isinstance(x, torch.fx.Proxy):
                raise KeyError("lost")
            return super().__call__(x)

    with pytest.raises(InputError, match=r"the model fails on its calibration data \(KeyError: 'lost'\)"):
        convert(Failing(*small()), images(0, 9, 4))


@pytest.mark.filterwarnings("ignore:.torch.jit.*:DeprecationWarning")
def test_compiled_models_are_told_from_replaced_forwards():
    for model in (torch.compile(small()), torch.jit.script(small())):
        with pytest.raises(InputError, match=r"is a compiled model; give the one that it was made of"):
            convert(model, images(0, 9, 4))
    with pytest.raises(InputError, match=r"the model is a str, an nn.Module was expected"):
        convert("model", images(0, 9, 4))


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        ((0.0, float("inf")), "must have p < q, finite, got 0.0 and inf"),
        ((1.0, 1.0), "must have p < q"),
        ((0.0, 1.0, 2.0), r"is \(p, q\), numbers or one a channel"),
        ("ab", r"is \(p, q\), numbers"),
        (([0.0, 0.0], [1.0, 1.0, 1.0]), "has 2 values for p and 3 for q"),
        (([0.0, 0.0], [1.0, 1.0]), "has 2 values a side; give one, or one for each of the 4 channels"),
    ],
)
def test_an_input_range_that_is_none_is_refused(ends, message):
    with pytest.raises(InputError, match=message):
        convert(small(), images(0, 9, 4), input_range=ends)


def test_a_negative_variance_is_refused_by_name():
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)).double()
    model[1].running_var[2] = -0.25
    with pytest.raises(
        InputError, match=r"layer 1 \(BatchNorm1d\): running_var of feature 2 is -0.25; a variance"
    ):
        convert(model, images(0, 9, 4))
