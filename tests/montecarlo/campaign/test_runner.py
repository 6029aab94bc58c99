"""Carrying out campaigns in ngspice: batches, interruptions, failures as data, and foreign stores."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from circuits.errors import InputError
from circuits.model import closed_form
from circuits.model.operating_point import OperatingPoint
from circuits.pdk.technology import Technology
from montecarlo.campaign.campaign import Campaign
from montecarlo.campaign.ideal_neuron import draw_samples
from montecarlo.campaign.runner import run
from montecarlo.campaign.schema import CHARACTERIZATION, MEASURED, open_dataset

SMALL = dataclasses.replace(
    Campaign.characterize(Technology.load("ideal"), 5, 11, synapses=2), patterns=2, random=1, batch=2
)
"""Five samples in batches of 2, 2 and 1; six stimuli."""
DRAWN = ("synapse", "slope", "threshold", "capacitance")


def test_a_sample_does_not_depend_on_its_batch():
    """No tolerance: the same draws."""
    together = draw_samples(SMALL, np.arange(5))
    for k in range(5):
        alone = draw_samples(SMALL, np.array([k]))
        for field in DRAWN:
            assert np.array_equal(getattr(together, field)[:, k], getattr(alone, field)[:, 0])


def test_samples_are_drawn_in_the_order_asked_for():
    assert np.array_equal(
        draw_samples(SMALL, np.array([3, 1])).slope[:, ::-1], draw_samples(SMALL, np.array([1, 3])).slope
    )


def test_half_the_sigma_is_the_same_sample_with_half_the_log_deviations():
    """1e-13: expm1 and log1p give back their argument to an ulp or two."""
    half = dataclasses.replace(SMALL, law=SMALL.law.replace(slope=0.025))
    one, other = (np.log1p(draw_samples(p, np.arange(5)).slope) for p in (SMALL, half))
    np.testing.assert_allclose(other, one / 2, rtol=1e-13)


@pytest.mark.ngspice
def test_a_campaign_measures_every_sample_under_every_stimulus(tmp_path):
    """Against the closed form of the deviations in the file, 1e-10: 1e-12 of rounding, with room for
    times of up to 6 units and their division by slopes."""
    dataset = SMALL.run(tmp_path / "store").load()
    assert np.all(dataset["status"] == 0)
    assert np.all(dataset["reason"] == "")
    samples = np.arange(5)
    mismatch = draw_samples(SMALL, samples)
    for field in DRAWN:
        assert np.array_equal(dataset[f"deviation_{field}"], getattr(mismatch, field)[0])
    stim = SMALL.stimuli
    for s, label in enumerate(stim.label):
        part = mismatch
        if label == "reference":  # the test current stands in for the slope source, and is perfect
            part = dataclasses.replace(mismatch, slope=np.zeros((1, 5)))
        wanted = closed_form.response(stim.layer(s, samples), stim.input_time[s], SMALL.point, part)
        found = dataset.isel(stimulus=s)
        np.testing.assert_allclose(found["spike_time"], wanted.delay[0], rtol=0, atol=1e-10)
        np.testing.assert_allclose(found["v_t_min"], wanted.v_t_min[0], rtol=0, atol=1e-10)
        np.testing.assert_allclose(found["slope"], wanted.slope[0], rtol=1e-7)
    assert np.array_equal(dataset["input_time"], stim.input_time)
    assert np.array_equal(dataset["weight"], stim.weights)
    assert np.array_equal(dataset["theta"], stim.theta)


@pytest.mark.ngspice
def test_the_store_says_where_it_came_from(tmp_path):
    attrs = SMALL.run(tmp_path / "store").attrs
    assert attrs["plan_hash"] == SMALL.hash
    assert attrs["plan"] == SMALL.to_json()
    assert OperatingPoint.from_json(attrs["operating_point"]) == SMALL.point
    assert (attrs["technology"], attrs["entropy"]) == ("ideal", 11)
    assert attrs["schema"] == CHARACTERIZATION
    assert len(attrs["deck_hash"]) == 16
    assert attrs["ngspice_version"][0].isdigit()


@pytest.mark.ngspice
def test_batches_and_workers_do_not_change_the_result(tmp_path):
    """Draws are the same bits; measured values may differ by 1e-11, since decks take other time steps."""
    one = SMALL.run(tmp_path / "one").load()
    other = dataclasses.replace(SMALL, batch=5).run(tmp_path / "other", workers=2).load()
    for field in DRAWN:
        assert np.array_equal(one[f"deviation_{field}"], other[f"deviation_{field}"])
    for name in ("spike_time", "v_t_min"):
        np.testing.assert_allclose(one[name], other[name], rtol=0, atol=1e-11)


@pytest.mark.ngspice
@pytest.mark.parametrize("design", ["latin", "sobol"])
def test_designs_are_carried_out_in_any_batches_and_told_apart(tmp_path, design):
    """As above; the last deck of a Latin hypercube is filled up with its first samples."""
    plan = dataclasses.replace(SMALL, design=design)
    one = plan.run(tmp_path / "one").load()
    other = dataclasses.replace(plan, batch=5).run(tmp_path / "other").load()
    assert np.all(one["status"] == 0)
    for field in DRAWN:
        assert np.array_equal(one[f"deviation_{field}"], other[f"deviation_{field}"])
    np.testing.assert_allclose(one["spike_time"], other["spike_time"], rtol=0, atol=1e-11)
    with pytest.raises(InputError, match=f"design '{design}' there, None here"):
        SMALL.run(tmp_path / "one")


@pytest.mark.ngspice
def test_an_interrupted_campaign_goes_on_where_it_was(tmp_path):
    """The first batch is not simulated again, and the whole is the same bits as an unbroken run."""

    def interrupt(done: int, total: int) -> None:
        if done >= 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(SMALL, tmp_path / "broken", progress=interrupt)
    half = open_dataset(tmp_path / "broken", CHARACTERIZATION).load()
    assert half["status"].values.tolist() == [0, 0, -1, -1, -1]
    assert np.all(np.isnan(half["spike_time"][2:]))

    seen = []
    whole = run(SMALL, tmp_path / "broken", progress=lambda *p: seen.append(p)).load()
    assert seen == [(2, 5), (4, 5), (5, 5)]
    assert whole.identical(SMALL.run(tmp_path / "whole").load())


@pytest.mark.ngspice
def test_a_finished_campaign_is_not_run_again(tmp_path):
    SMALL.run(tmp_path / "store")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "store").rglob("*")}
    seen = []
    SMALL.run(tmp_path / "store", progress=lambda *p: seen.append(p))
    assert seen == [(5, 5)]
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "store").rglob("*")}


@pytest.mark.ngspice
def test_progress_counts_samples_up_to_all(tmp_path):
    seen = []
    SMALL.run(tmp_path / "store", workers=2, progress=lambda *p: seen.append(p))
    done = [d for d, _ in seen]
    assert done[0] == 0
    assert done[-1] == 5
    assert done == sorted(done)
    assert {total for _, total in seen} == {5}


@pytest.mark.ngspice
def test_a_run_that_fails_is_data_with_its_reason(tmp_path, monkeypatch):
    """A current of 1e300 units is more than the simulator can add up; draws are kept all the same."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    absurd = dataclasses.replace(SMALL.point, i_unit=1e300, c_mem=1e-300)
    plan = dataclasses.replace(SMALL, point=absurd)
    dataset = plan.run(tmp_path / "store").load()
    assert np.all(dataset["status"] == 1)
    assert all(str(r) for r in dataset["reason"].values)
    assert not any("\n" in str(r) for r in dataset["reason"].values)
    assert np.all(np.isfinite(dataset["deviation_synapse"]))
    assert all(np.all(np.isnan(dataset[name])) for name in MEASURED)


@pytest.mark.ngspice
def test_the_store_of_another_plan_is_left_alone(tmp_path):
    SMALL.run(tmp_path / "store")
    other = dataclasses.replace(SMALL, entropy=12)
    with pytest.raises(InputError, match="entropy 11 there, 12 here"):
        other.run(tmp_path / "store")
    assert np.all(open_dataset(tmp_path / "store", CHARACTERIZATION)["status"] == 0)


@pytest.mark.ngspice
def test_a_folder_that_is_no_store_is_left_alone(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("years of work")
    with pytest.raises(InputError):
        SMALL.run(tmp_path / "thesis")
    assert [p.name for p in (tmp_path / "thesis").iterdir()] == ["chapter1.txt"]


@pytest.mark.ngspice
def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"cannot write .*store"):
        SMALL.run(tmp_path / "file" / "store")


@pytest.mark.ngspice
def test_a_store_that_was_never_finished_being_made_does_not_stand_in_the_way(tmp_path):
    (tmp_path / "store.partial").mkdir()
    (tmp_path / "store.partial" / "junk").write_text("half a store")
    SMALL.run(tmp_path / "store")
    assert (tmp_path / "store").is_dir()
    assert not (tmp_path / "store.partial").exists()
