"""Campaigns among faults: flaky simulators, full disks, kill -9, two at a time: nothing lost or twice."""

from __future__ import annotations

import dataclasses
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from watching import run_folders_in, until

from circuits.errors import InputError, Notice, SimulatorError
from circuits.ideal.crossings import fast_form
from circuits.pdk.technology import Technology
from circuits.spice.ngspice import KEPT, PROGRAM, HostError
from montecarlo.campaign.campaign import Campaign, decks_run_alone
from montecarlo.campaign.schema import MEASURED, open_dataset
from ttfs_analog.cli.app import main

PLAN = dataclasses.replace(
    Campaign.characterize(Technology.load("ideal"), 60, 5, synapses=2), patterns=2, random=1, batch=6
)
"""Ten batches of six stimuli."""
STIMULI, BATCHES = 6, 10
TRANSISTORS = dataclasses.replace(
    Campaign.characterize(Technology.load("generic130"), 10, 5, synapses=3),
    **{"patterns": 2, "random": 1, "nominal": 2, "trials": 2, "batch": 2},
)
"""A batch of nominal runs, one of trials, five of samples: two operating points and two transients."""
CODE = "import pickle, sys; pickle.loads(bytes.fromhex(sys.argv[2])).run(sys.argv[1], workers=2)"


def command(plan: Campaign, store: Path) -> list[str]:
    """A campaign in a process of its own, with two workers."""
    return [sys.executable, "-c", CODE, str(store), pickle.dumps(plan).hex()]


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def flaky(tmp_path, monkeypatch):
    """Put a shell script in the place of ngspice; $LOG has a line for every run so far."""

    def install(script: str) -> Path:
        path, log = tmp_path / "simulator", tmp_path / "log"
        log.touch()
        path.write_text(
            f"#!/bin/sh\nNG={shutil.which('ngspice')}\nLOG={log}\n"
            f'[ "$1" = --version ] && exec "$NG" --version\necho run >> $LOG\n{script}\n'
        )
        path.chmod(0o755)
        monkeypatch.setenv(PROGRAM, str(path))
        fast_form.cache_clear()
        return log

    yield install
    fast_form.cache_clear()


def runs(log: Path) -> int:
    return len(log.read_text().splitlines())


# simulators


@pytest.mark.parametrize("fault", ["exit 3", "kill -9 $$", 'rm -f deck.cir; exec "$NG" "$@"'])
def test_failures_that_pass_leave_no_trace_in_the_dataset(tmp_path, folder, flaky, fault):
    """Two runs of three fail, whatever they are asked, the self-test too."""
    plan = dataclasses.replace(PLAN, samples=12)
    whole = plan.run(tmp_path / "whole").load()
    log = flaky(f'[ $(($(wc -l < $LOG) % 3)) = 0 ] && exec "$NG" "$@"\n{fault}')
    found = plan.run(tmp_path / "flaky").load()
    assert found.identical(whole)
    assert runs(log) == 3 * (2 * STIMULI + 1)
    assert list(folder.iterdir()) == []


def test_failures_that_stay_are_data_after_three_attempts(tmp_path, folder, flaky):
    log = flaky("exit 7")
    with pytest.warns(Notice, match=rf"{STIMULI} runs of ngspice failed; folders kept: {folder}.*failed"):
        found = dataclasses.replace(PLAN, samples=6).run(tmp_path / "store").load()
    assert np.all(found["status"] == 1)
    assert all("exit code 7" in str(r) for r in found["reason"].values)
    assert all(np.all(np.isnan(found[name])) for name in MEASURED)
    assert np.all(np.isfinite(found["deviation_slope"]))
    assert runs(log) == 3 * (STIMULI + 1)
    assert len(list(folder.iterdir())) == KEPT == 3  # of the first failures, not of their attempts


def test_decks_that_fail_together_are_run_alone_and_counted(tmp_path, folder, flaky):
    """A crash of every process that runs several decks: the numbers are the same, and somebody says so."""
    plan = dataclasses.replace(TRANSISTORS, samples=2)
    whole = plan.run(tmp_path / "whole").load()
    assert decks_run_alone(whole) == 0
    flaky('grep -q "^source" deck.cir && kill -SEGV $$\nexec "$NG" "$@"')
    with pytest.warns(Notice, match=r"6 decks were run alone, .* three times as long"):
        found = plan.run(tmp_path / "crashes").load()
    assert found["alone"].values.tolist() == [1, 1]
    assert (decks_run_alone(found), len(list(folder.iterdir()))) == (6, KEPT)
    for name in (*MEASURED, "nominal_spike_time", "trial_spike_time", "status"):
        assert np.array_equal(found[name], whole[name], equal_nan=True), name


def test_a_simulator_that_disappears_stops_the_campaign_and_is_not_data(tmp_path, flaky):
    flaky('exec "$NG" "$@"')

    def remove(done: int, total: int) -> None:
        if done == 12:
            os.chmod(os.environ[PROGRAM], 0o644)

    with pytest.raises(HostError, match="cannot be started"):
        PLAN.run(tmp_path / "store", progress=remove)
    status = open_dataset(tmp_path / "store")["status"].values
    assert set(status) == {-1, 0}
    os.chmod(os.environ[PROGRAM], 0o755)
    assert PLAN.run(tmp_path / "store").load().identical(PLAN.run(tmp_path / "whole").load())


# disks


@pytest.fixture
def disk(tmp_path):
    """A disk of 1.5 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", str(place)]
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("a small disk cannot be mounted here")
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill(place: Path, leave: int) -> Path:
    """A file that takes all but some bytes of a disk."""
    ballast = place / f"ballast{time.monotonic_ns()}"
    ballast.write_bytes(bytes(max(shutil.disk_usage(place).free - leave, 0)))
    return ballast


@pytest.mark.parametrize("leave", [0, 4096, 20_000, 60_000])
def test_a_full_disk_stops_a_campaign_and_it_goes_on_when_there_is_space(tmp_path, disk, leave):
    """Full between two batches, or in the middle of one."""
    whole = PLAN.run(tmp_path / "whole").load()
    ballast: list[Path] = []

    def crowd(done: int, total: int) -> None:
        if done == 18 and not ballast:
            ballast.append(fill(disk, leave))

    with pytest.raises(InputError, match=r"cannot write .*No space left.*free some space.*same command"):
        PLAN.run(disk / "store", workers=2, progress=crowd)
    half = open_dataset(disk / "store").load()
    done = half["status"].values == 0
    assert 18 <= done.sum() < 60
    for name in MEASURED:
        assert np.array_equal(half[name][done], whole[name][done], equal_nan=True)
    ballast[0].unlink()
    assert PLAN.run(disk / "store").load().identical(whole)
    assert bytes_of(disk / "store") == bytes_of(tmp_path / "whole")
    assert [p.name for p in disk.iterdir()] == ["store"]


@pytest.mark.parametrize("leave", [0, 8192])
def test_a_disk_that_is_full_from_the_start_is_left_as_it_was(disk, leave):
    ballast = fill(disk, leave)
    with pytest.raises(InputError, match=r"cannot write .*No space left"):
        PLAN.run(disk / "store")
    assert [p.name for p in disk.iterdir()] == [ballast.name]


def test_no_room_for_run_folders_stops_the_campaign_and_is_not_data(tmp_path, disk, monkeypatch):
    run_folders_in(disk, monkeypatch)
    ballast: list[Path] = []

    def crowd(done: int, total: int) -> None:
        if done >= 18:  # what earlier runs held becomes free
            ballast.append(fill(disk, 4096))

    with pytest.raises(SimulatorError, match=r"full|No space left"):
        PLAN.run(tmp_path / "store", progress=crowd)
    assert set(open_dataset(tmp_path / "store")["status"].values) == {-1, 0}
    for file in ballast:
        file.unlink()
    assert PLAN.run(tmp_path / "store").load().identical(PLAN.run(tmp_path / "whole").load())
    assert list(disk.iterdir()) == []


# killed


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "moment" in metafunc.fixturenames:
        slow = metafunc.config.getoption("--slow")
        moments = [(PLAN, k) for k in range(10 if slow else 3)]
        moments += [(TRANSISTORS, k) for k in range(4 if slow else 1)]
        metafunc.parametrize(("plan", "moment"), moments)


def test_kill_9_at_any_moment_loses_one_batch_and_no_bit(tmp_path, flaky, plan, moment):
    """Runs are counted: all in all one more batch than needed, and what was begun beside it."""
    log, store, whole = flaky('exec "$NG" "$@"'), tmp_path / "store", tmp_path / "whole"
    plan.run(whole)
    needed = runs(log)
    log.write_text("")
    child = subprocess.Popen(command(plan, store), start_new_session=True)
    after = random.Random(moment).randrange(2, needed - 2)
    until(lambda: runs(log) >= after, 60)
    time.sleep(random.Random(moment).random() * 0.02)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    subprocess.run(command(plan, store), check=True)
    # a batch, what was begun while it was written, and what a process starts with: self-test, or nominal
    # circuits twice
    again = 2 * STIMULI + 1 if plan is PLAN else 4 + 4 + 4
    assert runs(log) <= needed + again
    assert bytes_of(store) == bytes_of(whole)
    assert sorted(p.name for p in tmp_path.glob("store*")) == ["store"]


# two at a time


def test_two_campaigns_do_not_write_into_one_store(tmp_path, flaky, capsys):
    flaky('sleep 0.05\nexec "$NG" "$@"')
    store = tmp_path / "store"
    child = subprocess.Popen(command(PLAN, store), start_new_session=True)
    try:
        until(store.exists, 60)
        with pytest.raises(InputError, match=rf"another campaign \(process {child.pid}\) is writing"):
            PLAN.run(store)
        assert main(["characterize", "--samples", "60", "--synapses", "2", "--out", str(store)]) == 2
        assert "another campaign" in capsys.readouterr().err
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    assert (tmp_path / "store.lock").exists()  # nobody was there to remove it
    resumed = PLAN.run(store)
    assert np.all(resumed["status"] == 0)
    assert not (tmp_path / "store.lock").exists()


def test_another_simulator_does_not_finish_a_campaign_but_may_read_it(tmp_path, flaky):
    def stop(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        PLAN.run(tmp_path / "half", progress=stop)
    PLAN.run(tmp_path / "whole")
    flaky('SPICE_SCRIPTS=/nonexistent SPICE_LIB_DIR=/nonexistent exec "$NG" "$@"')  # no XSPICE tables
    with pytest.raises(InputError, match="begun with deck form table, here it is pwl"):
        PLAN.run(tmp_path / "half")
    assert PLAN.run(tmp_path / "whole").sizes["sample"] == 60
