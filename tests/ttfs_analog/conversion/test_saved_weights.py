"""Weights from files: what is no state_dict of the model is named, and told how to become one."""

from __future__ import annotations

import argparse

import numpy as np
import pytest
import torch
from torch import nn

from circuits.errors import InputError
from ttfs_analog.conversion.saved_weights import load_weights


def build(seed=0, norm=False):
    torch.manual_seed(seed)
    middle = [nn.BatchNorm1d(3)] if norm else []
    return nn.Sequential(nn.Linear(4, 3), *middle, nn.ReLU(), nn.Linear(3, 2))


def state(**changes):
    return {**build(1).state_dict(), **{k.replace("_", ".", 1): v for k, v in changes.items()}}


def prefixed(prefix):
    return {prefix + k: v for k, v in build(1).state_dict().items()}


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_weights_become_those_of_the_file_without_what_wrappers_put_before_them(tmp_path, prefix):
    torch.save(prefixed(prefix), tmp_path / "w.pt")
    model = build(0)
    note = load_weights(model, tmp_path / "w.pt")
    assert (f"prefix {prefix!r} taken off" in note) if prefix else note == ""
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), build(1).parameters(), strict=True))


def test_a_model_whose_own_names_start_with_module_keeps_them(tmp_path):
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.module = build(0)

    torch.save(prefixed("module."), tmp_path / "w.pt")
    assert load_weights(Wrapped(), tmp_path / "w.pt") == ""


def test_half_precision_and_files_without_a_count_of_batches_are_taken(tmp_path):
    saved = {k: v.half() for k, v in build(1, norm=True).state_dict().items() if "num" not in k}
    torch.save(saved, tmp_path / "w.pt")
    model = build(0, norm=True)
    load_weights(model, tmp_path / "w.pt")
    assert torch.equal(model[0].weight, saved["0.weight"].float())


SAVED = [
    (build(1), "holds a whole model; save model.state_dict() (the file names torch.nn.modules."),
    ([torch.zeros(3)], "holds a list, not a state_dict; save model.state_dict()"),
    (torch.zeros(3), "holds a Tensor, not a state_dict"),
    (
        {"model": state(), "epoch": 3},
        "holds a checkpoint; its entry 'model' is the state_dict: save that alone",
    ),
    ({"options": argparse.Namespace(lr=1)}, "holds more than weights (argparse.Namespace)"),
    ({"0.weight": np.zeros((3, 4))}, "holds numpy objects (numpy."),
    ({"epoch": 3}, "entry 'epoch' is a int, no tensor with a name"),
    ({}, "it lacks 0.weight, 0.bias, 2.weight, 2.bias; save"),
    (
        state(**{"9_weight": torch.zeros(1)}),
        "the model lacks 9.weight; save model.state_dict() of this model",
    ),
    (
        prefixed("net."),
        "it lacks 0.weight, 0.bias, 2.weight, 2.bias; the model lacks net.0.weight, net.0.bias",
    ),
    (state(**{"0_weight": torch.zeros(4, 3)}), "0.weight has shape (4, 3), the model's is (3, 4)"),
    (
        state(**{"0_bias": torch.zeros(3, dtype=torch.complex64)}),
        "0.bias is torch.complex64, the model's is torch.f",
    ),
    (
        state(**{"0_bias": torch.zeros(3, dtype=torch.int8)}),
        "0.bias is torch.int8, the model's is torch.float32",
    ),
    (state(**{"0_bias": torch.tensor([0.0, float("nan"), 0.0])}), "0.bias holds values that are not finite"),
    (state(**{"0_bias": torch.zeros(3).to_sparse()}), "0.bias is quantized or sparse"),
]


@pytest.mark.parametrize(("saved", "message"), SAVED, ids=[m[:30] for _, m in SAVED])
def test_what_does_not_fit_is_refused_in_one_plain_line(tmp_path, saved, message):
    torch.save(saved, tmp_path / "w.pt")
    model = build(0)
    with pytest.raises(InputError) as caught:
        load_weights(model, tmp_path / "w.pt")
    text = str(caught.value)
    assert text.startswith(str(tmp_path / "w.pt"))
    assert message in text
    assert text.isprintable()  # no escape codes, one line
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), build(0).parameters(), strict=True))


@pytest.mark.filterwarnings("ignore:.torch.jit.*:DeprecationWarning")
def test_files_of_other_programs_are_refused_by_what_they_hold(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    np.savez(tmp_path / "a.npz", w=np.zeros(3))
    torch.jit.trace(build(), torch.zeros(1, 4)).save(str(tmp_path / "a.ts"))
    (tmp_path / "text").write_text("0.weight: 1")
    (tmp_path / "empty").write_bytes(b"")
    torch.save(state(), tmp_path / "cut.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "cut.pt").read_bytes()[:900])
    for name, message in (
        ("a.npy", "holds numpy arrays; save model.state_dict() with torch.save, of tensors"),
        ("a.npz", "holds numpy arrays"),
        ("a.ts", "holds a TorchScript model; save model.state_dict() of the model"),
        ("text", "does not hold a state_dict, or is damaged"),
        ("empty", "does not hold a state_dict, or is damaged"),
        ("cut.pt", "does not hold a state_dict, or is damaged"),
        ("none.pt", "does not exist"),
        ("", "cannot be read (Is a directory)"),
    ):
        with pytest.raises(InputError) as caught:
            load_weights(build(), tmp_path / name)
        assert message in str(caught.value), name
        assert str(caught.value).isprintable()
