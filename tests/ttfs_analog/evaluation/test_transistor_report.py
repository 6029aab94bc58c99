"""The section on transistors, from small datasets made by hand."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from ttfs_analog.evaluation import accuracy, energy, report, transistor_verification, verification
from ttfs_analog.evaluation.transistor_report import WAVEFORM

TITLES = ("Membranes in ngspice", "Whole chips in ngspice", "Accuracy over chips", "Energy per inference")


def write_all(folder):
    """Three neurons of two layers on two chips and two images, and what goes with them."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    dims, shape = ("chip", "image", "neuron"), (2, 2, 3)
    spice = rng.uniform(0.2, 1.8, shape)
    spice[0, 0, 0] = np.inf
    times = {"spice": spice, "model": spice + 0.01, "nominal": spice - 0.25}
    chips = xr.Dataset(
        {f"spike_time_{k}": (dims, v) for k, v in times.items()}
        | {"interval_low": (dims, spice - 0.5), "interval_high": (dims, spice + 0.5)}
        | {f"predicted_{k}": (("chip", "image"), [[0, 1], [0, 0]]) for k in ("spice", "model")}
        | {f"energy_{k}": (("chip", "image", "supply"), rng.random((2, 2, 4))) for k in ("spice", "model")}
        | {"label": ("image", [0, 1]), "layer": ("neuron", [0, 0, 1]), "window": ("neuron", [2.0] * 3)}
        | {"spiking": ("neuron", [1] * 3), "residual_perfect": (("perfect_image", "neuron"), [[0.001] * 3])},
        {"supply": list(transistor_verification.SUPPLIES)},
        {"schema": transistor_verification.SCHEMA, "technology": "generic130"},
    )
    chips.to_netcdf(folder / "verification.nc")
    for name, mean in (("1_placed", 0.8), ("4_tuned", 0.9)):
        predicted = np.where(rng.random((5, 20)) < mean, 0, 1)
        one = xr.Dataset(
            {
                "predicted": (("chip", "image"), predicted),
                "accuracy": ("chip", (predicted == 0).mean(1)),
                "label": ("image", np.zeros(20, int)),
                "nominal": ("image", np.zeros(20, int)),
            },
            attrs={"schema": accuracy.SCHEMA},
        )
        one.to_netcdf(folder / f"evaluation_{name}.nc")
    joules = xr.Dataset(
        {
            "energy_mean": 4e-12,
            "energy_ci95": ("bound", [3e-12, 5e-12]),
            "energy": (("chip", "layer", "part"), np.full((2, 2, 2), 1e-12)),
            "spikes_per_neuron": ("image", [0.5]),
            "capacitor_estimate": ("image", [1e-12]),
        },
        {"layer": [0, 1], "part": ["source.synapse", "reference.bias"]},
        {"schema": energy.SCHEMA, "not_included": "drivers, wires"},
    )
    joules.to_netcdf(folder / "energy.nc")
    time = np.linspace(0, 2, 20)
    membranes = xr.Dataset(
        {
            "volts": (("time", "neuron"), np.stack([time, 0.5 * time], 1)),
            "threshold": ("neuron", [1.2, 0.9]),
            "spike_time": ("neuron", [1.3, np.inf]),
        },
        {"time": time},
        {"schema": WAVEFORM, "t_min": 1.0, "t_max": 2.0},
    )
    membranes.to_netcdf(folder / "waveforms.nc")


def page(folder):
    return report.write(folder, folder / "report.html").read_text()


def test_a_folder_inside_has_a_section_of_its_own_beside_that_of_ideal_sources(tmp_path):
    write_all(tmp_path / report.TRANSISTORS)
    (tmp_path / "energy.nc").write_bytes((tmp_path / "transistors/energy.nc").read_bytes())
    text = page(tmp_path)
    assert text.count("<h2>On transistors</h2>") == 1
    assert text.count("<h2>Energy per inference</h2>") == 1
    inner = text.split("<h2>On transistors</h2>")[1]
    for title in TITLES:
        assert f"<h3>{title}</h3>" in inner
    assert inner.count("data:image/svg+xml") == 4
    assert "<code>transistors/verification.nc</code>" in inner
    assert "placed on generic130" in inner
    assert "0.01 tau_c rms (0.25 if the" in inner


def test_a_folder_of_nothing_but_transistors_gives_the_same_section(tmp_path):
    write_all(tmp_path)
    text = page(tmp_path)
    assert [text.count(f"<h2>{t}</h2>") for t in ("On transistors", *TITLES)] == [1, 0, 0, 0, 0]
    assert text.count("data:image/svg+xml") == 4


def test_one_verification_is_enough(tmp_path):
    write_all(tmp_path / "all")
    (tmp_path / "verification.nc").write_bytes((tmp_path / "all/verification.nc").read_bytes())
    text = page(tmp_path)
    assert "<h3>Whole chips in ngspice</h3>" in text
    assert text.count("data:image/svg+xml") == 1


def test_beside_chips_of_ideal_sources_only_whole_chips_are_set_apart(tmp_path):
    """Which network accuracy and energy belong to is not known then."""
    results = {transistor_verification.SCHEMA: {"a.nc": 1}, energy.SCHEMA: {"e.nc": 2}}
    assert report.transistor_report.set_apart(mixed := results | {verification.SCHEMA: {"b.nc": 3}}) == {
        transistor_verification.SCHEMA: {"a.nc": 1}
    }
    assert mixed.keys() == {energy.SCHEMA, verification.SCHEMA}
    assert report.transistor_report.set_apart(results).keys() == {
        transistor_verification.SCHEMA,
        energy.SCHEMA,
    }
    assert report.transistor_report.set_apart({energy.SCHEMA: {}}) == {}


def test_a_folder_of_campaigns_on_layers_is_passed_over(tmp_path):
    write_all(tmp_path)
    (tmp_path / "characterization.zarr/layer0").mkdir(parents=True)
    assert "On transistors" in page(tmp_path)


@pytest.mark.parametrize("missing", ["waveforms.nc", "energy.nc", "verification.nc"])
def test_what_is_missing_is_left_out(tmp_path, missing):
    write_all(inner := tmp_path / report.TRANSISTORS)
    (inner / missing).unlink()
    text = page(tmp_path)
    assert text.count("<h3>") == 3
    assert "<h2>On transistors</h2>" in text
