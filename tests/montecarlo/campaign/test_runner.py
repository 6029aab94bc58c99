"""Carrying out campaigns: batches, interruptions, and foreign stores. The closed form needs no simulator."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from circuits.errors import InputError
from circuits.model.operating_point import OperatingPoint
from circuits.pdk.technology import Technology
from montecarlo.campaign.campaign import Campaign
from montecarlo.campaign.schema import CHARACTERIZATION, open_dataset

SMALL = dataclasses.replace(
    Campaign.characterize(Technology.load("ideal"), 5, 11, synapses=2), patterns=2, random=1, batch=2
)
"""Five samples in batches of 2, 2 and 1; six stimuli."""
LEVELS = ["closed-form", pytest.param("ngspice", marks=pytest.mark.ngspice)]


def interrupt(done: int, total: int) -> None:
    if done >= 2:
        raise KeyboardInterrupt


@pytest.mark.parametrize("level", LEVELS)
def test_the_store_says_where_it_came_from(tmp_path, level):
    attrs = SMALL.run(tmp_path / "store", level=level).attrs
    assert attrs["plan_hash"] == SMALL.hash
    assert attrs["plan"] == SMALL.to_json()
    assert OperatingPoint.from_json(attrs["operating_point"]) == SMALL.point
    assert (attrs["technology"], attrs["entropy"]) == ("ideal", 11)
    assert attrs["schema"] == CHARACTERIZATION == "ttfs-analog/characterization/2"
    assert (attrs["extraction"], attrs["t_min"], attrs["window"]) == ("spike_times", 1.0, 20.0)
    assert attrs["level"] == level
    assert (attrs["ngspice_version"] == "none") == (level == "closed-form")
    assert len(attrs["deck_hash"]) == (16 if level == "ngspice" else 4)


@pytest.mark.ngspice
@pytest.mark.parametrize("design", ["plain", "latin", "sobol"])
def test_batches_and_workers_do_not_change_the_result(tmp_path, design):
    """Draws are the same bits; measured values may differ by 1e-11, since decks take other time steps.

    The last deck of a Latin hypercube is filled up with its first samples.
    """
    plan = dataclasses.replace(SMALL, design=design)
    one = plan.run(tmp_path / "one").load()
    other = dataclasses.replace(plan, batch=5).run(tmp_path / "other", workers=2).load()
    for field in ("synapse", "slope", "threshold", "capacitance"):
        assert np.array_equal(one[f"deviation_{field}"], other[f"deviation_{field}"])
    for name in ("spike_time", "v_t_min"):
        np.testing.assert_allclose(one[name], other[name], rtol=0, atol=1e-11)
    if design != "plain":
        with pytest.raises(InputError, match=f"design '{design}' there, 'plain' here"):
            SMALL.run(tmp_path / "one")


@pytest.mark.parametrize("level", LEVELS)
def test_an_interrupted_campaign_goes_on_where_it_was(tmp_path, level):
    """The first batch is not simulated again, and the whole is the same bits as an unbroken run."""
    with pytest.raises(KeyboardInterrupt):
        SMALL.run(tmp_path / "broken", level=level, progress=interrupt)
    half = open_dataset(tmp_path / "broken").load()
    assert half["status"].values.tolist() == [0, 0, -1, -1, -1]
    assert np.all(np.isnan(half["spike_time"][2:]))

    seen = []
    whole = SMALL.run(tmp_path / "broken", level=level, progress=lambda *p: seen.append(p)).load()
    assert seen == [(2, 5), (4, 5), (5, 5)]
    assert whole.identical(SMALL.run(tmp_path / "whole", level=level).load())


def test_a_finished_campaign_is_not_run_again(tmp_path):
    SMALL.run(tmp_path / "store", level="closed-form")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "store").rglob("*")}
    seen = []
    SMALL.run(tmp_path / "store", level="closed-form", progress=lambda *p: seen.append(p))
    assert seen == [(5, 5)]
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "store").rglob("*")}


@pytest.mark.ngspice
def test_what_was_begun_on_one_level_is_not_finished_on_another(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        SMALL.run(tmp_path / "store", level="closed-form", progress=interrupt)
    with pytest.raises(InputError, match="begun with level closed-form, here it is ngspice"):
        SMALL.run(tmp_path / "store")


def test_the_store_of_another_plan_is_left_alone(tmp_path):
    SMALL.run(tmp_path / "store", level="closed-form")
    other = dataclasses.replace(SMALL, entropy=12)
    with pytest.raises(InputError, match="entropy 11 there, 12 here"):
        other.run(tmp_path / "store", level="closed-form")
    assert np.all(open_dataset(tmp_path / "store")["status"] == 0)


def test_a_folder_that_is_no_store_is_left_alone(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("years of work")
    with pytest.raises(InputError):
        SMALL.run(tmp_path / "thesis", level="closed-form")
    assert [p.name for p in (tmp_path / "thesis").iterdir()] == ["chapter1.txt"]


def test_a_place_that_cannot_be_written_and_a_level_that_is_none_are_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"cannot write .*store"):
        SMALL.run(tmp_path / "file" / "store", level="closed-form")
    with pytest.raises(InputError, match="unknown level 'exact'; choose from closed-form, ngspice"):
        SMALL.run(tmp_path / "store", level="exact")


def test_a_store_that_was_never_finished_being_made_does_not_stand_in_the_way(tmp_path):
    (tmp_path / "store.partial").mkdir()
    (tmp_path / "store.partial" / "junk").write_text("half a store")
    SMALL.run(tmp_path / "store", level="closed-form")
    assert (tmp_path / "store").is_dir()
    assert not (tmp_path / "store.partial").exists()
