"""Datasets are read whole or refused, with the name of what is wrong in them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from synthetic_transistors import campaign, read_outs

from circuits.errors import InputError
from montecarlo.extraction.reading import check, layer_stores, load_dataset


def plan(dataset, **change):
    return dataset.assign_attrs(plan=json.dumps({**json.loads(dataset.attrs["plan"]), **change}))


CHANGES = {
    "lacks spike_time": lambda d: d.drop_vars("spike_time"),
    "lacks weight": lambda d: d.drop_vars("weight"),
    "status is .* along stimulus": lambda d: d.assign(status=("stimulus", np.zeros(d.sizes["stimulus"]))),
    "spike_time is <U3": lambda d: d.assign(spike_time=d["spike_time"].astype("<U3")),
    "status must be one of": lambda d: d.assign(status=d["status"] + 7),
    "weight must be finite numbers": lambda d: d.assign(weight=d["weight"] * np.nan),
    r"f lacks \['t_min'\]": lambda d: (
        d.assign_attrs(t_min=1.0)
        .drop_attrs()
        .assign_attrs({k: v for k, v in d.attrs.items() if k != "t_min"})
    ),
    "t_min must be a finite number, got 'early'": lambda d: d.assign_attrs(t_min="early"),
    "t_min must be > 0": lambda d: d.assign_attrs(t_min=-1.0),
    "plan is not JSON": lambda d: d.assign_attrs(plan="{"),
    "plan: law.slope must be a finite number, got 'much'": lambda d: plan(
        d, law={**json.loads(d.attrs["plan"])["law"], "slope": "much"}
    ),
    "plan: rows lacks": lambda d: plan(d, rows={"layer": 0}),
    "operating_point lacks": lambda d: d.assign_attrs(operating_point="{}"),
    "unknown technology": lambda d: d.assign_attrs(technology="gaas"),
    "bias lines": lambda d: d.assign_attrs(technology="generic130"),
    "stimulus lacks ramp_low": lambda d: d.assign_coords(
        stimulus=[str(s).replace("ramp_low", "ramp") for s in d["stimulus"].values]
    ),
    "supply lacks source": lambda d: d.assign_coords(supply=["sauce"]),
    "entries of phase have no names": lambda d: d.drop_vars("phase"),
    "entries of sample have no names, or one twice": lambda d: d.assign_coords(sample=0 * d["sample"].values),
    "sample has no entry": lambda d: d.isel(sample=[]),
}


@pytest.mark.parametrize("message", CHANGES)
def test_what_a_campaign_lacks_is_named(dataset, message):
    with pytest.raises(InputError, match=message):
        check(CHANGES[message](dataset.copy()), "f")


def test_whole_campaigns_pass(dataset):
    check(dataset, "f")
    check(campaign(40), "f")
    layer = read_outs(40)  # some of its synapses never get a spike
    assert "Infinity" in layer.attrs["plan"]
    check(layer, "f")
    with pytest.raises(InputError, match="every number must be finite"):
        check(layer.assign_attrs(plan=layer.attrs["plan"].replace("Infinity", "NaN", 1)), "f")


def test_a_damaged_chunk_is_refused_by_the_name_of_its_store(dataset, tmp_path):
    path = tmp_path / "c.zarr"
    dataset.to_zarr(path, consolidated=False, zarr_format=2)
    assert load_dataset(path).equals(dataset)
    chunk = path / "spike_time" / "0.0"
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[:20] + bytes(len(whole) - 20))
    with pytest.raises(InputError, match=r"c\.zarr cannot be read \(.*\): take a copy"):
        load_dataset(path)


def test_layers_are_in_order_and_what_lies_beside_them_is_named(tmp_path):
    for name in ("layer10", "layer2", *(f"layer{n}" for n in (0, 1, 3, 4, 5, 6, 7, 8, 9))):
        (tmp_path / name).mkdir()
    (tmp_path / "layer_notes.txt").write_text("mine")
    stores, others = layer_stores(tmp_path)
    assert [s.name for s in stores] == [f"layer{n}" for n in range(11)]
    assert others == ["layer_notes.txt"]
    (tmp_path / "layer3").rmdir()
    with pytest.raises(InputError, match="has no layer3"):
        layer_stores(tmp_path)
    assert layer_stores(tmp_path / "layer0") == ([], [])
