"""Text files as editors write them are read; what JSON readers let pass is refused with its name."""

from __future__ import annotations

import json

import pytest

from circuits.errors import InputError
from circuits.model.layer_file import read_layer
from circuits.model.text_file import parse_json, read_json, read_toml

LAYER = {"weights": [[0.5, -0.25]], "bias": [1.5], "spike_times": [0.2, None], "t_min": 1.0, "t_max": 3.0}
TEXT = json.dumps({"name": "Größe", "value": 1.5}, ensure_ascii=False, indent=1)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_what_an_editor_puts_around_the_text_does_not_matter(tmp_path, encoding, end):
    path = tmp_path / "a.json"
    path.write_bytes(TEXT.replace("\n", end).encode(encoding))
    assert read_json(path) == {"name": "Größe", "value": 1.5}


def test_a_mark_may_lead_big_endian_text_and_toml(tmp_path):
    path = tmp_path / "a.toml"
    path.write_bytes(b"\xfe\xff" + "a = 1\r\n".encode("utf-16-be"))
    assert read_toml(path) == {"a": 1}


def test_a_layer_file_of_a_windows_editor_is_the_layer(tmp_path):
    path = tmp_path / "layer.json"
    path.write_text(json.dumps(LAYER), encoding="utf-8-sig")
    layer, times = read_layer(path)
    assert layer.weights.tolist() == [[0.5, -0.25]]
    assert times.tolist() == [0.2, float("inf")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "b": {"c": 2, "c": 3}}', "key 'c' stands twice in one object: keep one"),
        ('{"a": {"b": [1.0, NaN]}}', r"a\.b\[1\] is nan; every number must be finite"),
        ('{"a": -Infinity}', "a is -inf; every number must be finite"),
        ('{"a": 1e999}', "a is inf; every number must be finite"),
        (f'{{"a": [{2**63}]}}', r"a\[0\] has 64 bits; whole numbers have at most 64"),
        ('{"a": ' + "9" * 5000 + "}", "is not JSON"),
        ("[" * 100_000, "nested too deep"),
        ('{"a":' * 3000 + "1" + "}" * 3000, "nested too deep"),
        ("true", r"must hold one JSON object, \{...\}, got True"),
        ("[]", "must hold one JSON object"),
        ('"text"', "must hold one JSON object"),
        ("{'a': 1}", "is not JSON: Expecting property name"),
        ("", "is not JSON"),
    ],
)
def test_what_is_no_object_of_finite_values_is_refused(tmp_path, text, message):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"a\.json.*{message}"):
        read_json(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = 1\na = 2", "is not a TOML file"),
        ("[a]\nb = 1979-05-27", r"a\.b is a date or a time, 1979-05-27"),
        ("a = nan", "a is nan; every number must be finite"),
        ("a = " + "[" * 100_000, "nested too deep"),
        ("a", "is not a TOML file"),
    ],
)
def test_toml_is_read_with_the_same_care(tmp_path, text, message):
    path = tmp_path / "a.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"a\.toml.*{message}"):
        read_toml(path)


@pytest.mark.parametrize("text", [None, 3, b"{}", ["{}"]])
def test_what_stands_in_another_file_must_be_text(text):
    with pytest.raises(InputError, match=r"net\.pt is not JSON"):
        parse_json(text, "net.pt")


def test_what_makes_a_file_is_said_where_there_is_none(tmp_path):
    with pytest.raises(InputError, match=r"gone\.json does not exist; 'fit' makes one"):
        read_json(tmp_path / "gone.json", "'fit' makes one")
