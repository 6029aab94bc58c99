"""Campaigns on dask.distributed: the same bits as here, lost workers, and what cannot be reached."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import time

import pytest

from circuits.errors import InputError, SimulatorError
from circuits.pdk.technology import Technology
from montecarlo.campaign import dask_cluster as cluster
from montecarlo.campaign.campaign import Campaign
from montecarlo.campaign.schema import open_dataset
from montecarlo.sweeps import neuron_sweep
from montecarlo.sweeps.sweep import Sweep

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")

PLAN = dataclasses.replace(
    Campaign.characterize(Technology.load("ideal"), 44, 5, synapses=3), patterns=2, random=2, batch=4
)
"""Eleven batches of eight stimuli."""
TRANSISTORS = dataclasses.replace(
    Campaign.characterize(Technology.load("generic130"), 6, 5, synapses=3),
    **{"patterns": 2, "random": 1, "nominal": 2, "trials": 2, "batch": 2},
)


@pytest.fixture(scope="module")
def scheduler():
    """Two worker processes of one thread, as on two machines."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=50
    ) as local:
        yield local


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """The plan, simulated in this process."""
    return PLAN.run(tmp_path_factory.mktemp("campaign") / "here", workers=2).load()


def workers_of(scheduler) -> list[int]:
    """Process numbers of the workers."""
    with distributed.Client(scheduler.scheduler_address, set_as_default=False) as client:
        return list(client.run(os.getpid).values())


@pytest.mark.ngspice
@pytest.mark.parametrize(("plan", "total"), [(PLAN, 44), (TRANSISTORS, 10)])
def test_two_worker_processes_give_the_bits_of_this_one(tmp_path, scheduler, plan, total):
    seen: list[tuple[int, int]] = []
    here = plan.run(tmp_path / "here", workers=2).load()
    there = plan.run(
        tmp_path / "there", scheduler=scheduler.scheduler_address, progress=lambda *p: seen.append(p)
    )
    assert here.identical(there.load())
    assert seen[0] == (0, total)
    assert seen[-1] == (total, total)
    files = [
        {p.relative_to(tmp_path / k): p.read_bytes() for p in (tmp_path / k).rglob("*") if p.is_file()}
        for k in ("here", "there")
    ]
    assert files[0] == files[1]


@pytest.mark.ngspice
def test_a_worker_killed_in_mid_run_costs_a_batch_and_no_bit(tmp_path, scheduler, here):
    victims = workers_of(scheduler)
    assert os.getpid() not in victims

    def kill_one(done: int, total: int) -> None:
        if done >= 8 and len(victims) == 2:
            os.kill(victims.pop(), signal.SIGKILL)

    there = PLAN.run(tmp_path / "there", scheduler=scheduler.scheduler_address, progress=kill_one).load()
    assert len(victims) == 1
    assert there.identical(here)


@pytest.mark.ngspice
def test_a_campaign_begun_here_is_finished_there(tmp_path, scheduler, here):
    def interrupt(done: int, total: int) -> None:
        if done >= 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        PLAN.run(tmp_path / "both", progress=interrupt)
    both = PLAN.run(tmp_path / "both", scheduler=scheduler.scheduler_address).load()
    assert both.identical(here)


@pytest.mark.ngspice
def test_a_sweep_on_a_scheduler_is_the_sweep_of_this_machine(tmp_path, scheduler):
    plan = Sweep("ideal", (("size", (1.0, 4.0)),), samples=4, synapses=2)
    there = neuron_sweep.run(plan, tmp_path / "there", scheduler=scheduler.scheduler_address).load()
    assert there.identical(neuron_sweep.run(plan, tmp_path / "here").load())


def fails(batch: int) -> int:
    if batch == 3:
        raise SimulatorError("no room")
    if batch == 4:
        raise KeyError("lost")
    return batch**2


def test_every_task_is_done_once_however_many_there_are(scheduler):
    found = list(cluster.remote(scheduler.scheduler_address, pow_of_two, range(20)))
    assert sorted(found) == [(k, 2**k) for k in range(20)]


def pow_of_two(k: int) -> int:
    return 2**k


def test_a_result_that_dies_with_its_worker_is_computed_again(scheduler):
    """Tasks end while the first result is looked at; then the workers that hold the others are killed."""
    found = cluster.remote(scheduler.scheduler_address, pow_of_two, range(4))
    seen = [next(found)]
    time.sleep(0.5)
    for victim in workers_of(scheduler):
        os.kill(victim, signal.SIGKILL)
    time.sleep(1.0)
    assert sorted([*seen, *found]) == [(k, 2**k) for k in range(4)]


@pytest.mark.parametrize(("item", "message"), [(3, "no room"), (4, r"a task failed .*KeyError")])
def test_an_error_on_a_worker_is_raised_here(scheduler, item, message):
    with pytest.raises(SimulatorError, match=message):
        list(cluster.remote(scheduler.scheduler_address, fails, [1, item]))


def test_a_scheduler_without_workers_is_not_waited_for_without_end(monkeypatch):
    monkeypatch.setattr(cluster, "PATIENCE", 0.5)
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address=":0", silence_logs=50) as local,
        pytest.raises(SimulatorError, match="no worker"),
    ):
        list(cluster.remote(local.scheduler_address, pow_of_two, [1]))


@pytest.mark.ngspice
@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense", "", "http://x", "127.0.0.1:99999"])
def test_an_address_that_does_not_answer_is_named(tmp_path, monkeypatch, address):
    monkeypatch.setattr(cluster, "ANSWER", 1.0)
    with pytest.raises(InputError, match="no dask scheduler answers"):
        list(cluster.remote(address, pow_of_two, [1]))
    if address:
        with pytest.raises(InputError, match="no dask scheduler answers"):
            PLAN.run(tmp_path / "store", scheduler=address)
        assert set(open_dataset(tmp_path / "store")["status"].values) == {-1}


def test_without_dask_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"not installed: pip install 'ttfs-analog\[cluster\]'"):
        list(cluster.remote("tcp://127.0.0.1:1", pow_of_two, [1]))
