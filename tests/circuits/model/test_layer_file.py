"""Layer files: a good one is read in full, a bad one is refused with its name and its fault."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from circuits.errors import InputError
from circuits.model.layer_file import read_layer

GOOD = {
    "weights": [[1.0, -0.5], [0.25, 0.0]],
    "bias": [0.5, 0.1],
    "spike_times": [0.25, None],
    "t_min": 1.0,
    "t_max": 3.0,
}


@pytest.fixture
def write(tmp_path):
    def write(content) -> str:
        path = tmp_path / "layer.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    return write


def test_a_good_file_gives_its_layer_and_input(write):
    layer, times = read_layer(write(GOOD))
    assert np.array_equal(layer.weights, GOOD["weights"])
    assert np.array_equal(layer.bias, GOOD["bias"])
    assert (layer.t_min, layer.t_max, layer.spiking) == (1.0, 3.0, True)
    assert np.array_equal(times, [0.25, math.inf])


def test_optional_keys_are_used(write):
    layer, _ = read_layer(write({**GOOD, "slope": [2.0, 3.0]}))
    assert np.array_equal(layer.slope, [2.0, 3.0])
    layer, _ = read_layer(write({**GOOD, "spiking": False}))
    assert not layer.spiking
    assert layer.window == 0.0


@pytest.mark.parametrize("key", list(GOOD))
def test_a_missing_key_is_named(write, key):
    content = {k: v for k, v in GOOD.items() if k != key}
    with pytest.raises(InputError, match=rf"layer\.json lacks \['{key}'\]"):
        read_layer(write(content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("", "not JSON"),
        ("[1, 2]", "one JSON object"),
        ({**GOOD, "weight": 1}, r"unknown keys \['weight'\]"),
        ({**GOOD, "spiking": "no"}, "spiking must be true or false"),
        ({**GOOD, "spiking": 0}, "spiking must be true or false"),
        ({**GOOD, "spike_times": 0.5}, "spike_times must be a list"),
        ({**GOOD, "spike_times": [0.5]}, "must have 2 entries"),
        ({**GOOD, "spike_times": [0.5, 1.5]}, r"spike_times\[1\] is 1.5"),
        ({**GOOD, "spike_times": [0.5, "none"]}, r"spike_times\[1\] must be .* number or null, got 'none'"),
        ({**GOOD, "bias": [0.5]}, "bias must have shape"),
        ({**GOOD, "bias": [True, 0.1]}, r"bias\[0\] must be a finite number, got True"),
        ({**GOOD, "weights": [[1.0], [1.0, 2.0]]}, "equal rows"),
        ({**GOOD, "weights": [[1.0, None], [0.0, 0.0]]}, r"weights\[0\]\[1\] must be .*, got None"),
        ({**GOOD, "weights": [[1.0, "1.5"], [0.0, 0.0]]}, r"weights\[0\]\[1\] must be .*, got '1.5'"),
        ({**GOOD, "t_max": 0.5}, "later than t_min"),
        ({**GOOD, "t_min": "early"}, "t_min must be a finite number, got 'early'"),
        ({**GOOD, "slope": -1}, "slope must be > 0"),
        ({**GOOD, "slope": [1.0, 2.0, 3.0]}, "slope must be one number or 2 numbers"),
        ({**GOOD, "slope": {}}, "slope must be a finite number or a list"),
        ({**GOOD, "t_min": [1.0]}, r"t_min must be a finite number, got \[1.0\]"),
        ({**GOOD, "bias": [10**400, 0.0]}, r"bias\[0\] has 1329 bits"),
    ],
)
def test_a_bad_file_is_refused_with_its_name_and_fault(write, content, message):
    with pytest.raises(InputError, match=rf"layer\.json.*{message}"):
        read_layer(write(content))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"gone\.json does not exist"):
        read_layer(tmp_path / "gone.json")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="is a folder, not a file"):
        read_layer(tmp_path)


def test_bytes_that_are_not_text_are_refused(tmp_path):
    path = tmp_path / "layer.json"
    path.write_bytes(b"\x7b\x81")
    with pytest.raises(InputError, match="byte 1 is 0x81, which is no UTF-8; save it as UTF-8"):
        read_layer(path)
