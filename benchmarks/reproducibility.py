"""One plan, carried out in every way that a campaign can be: is it always the same bits?

    python benchmarks/reproducibility.py [--kills 10] [--campaign 100000]

The plan runs through the command line: with 1, 2 and 4 workers; on two processes of dask.distributed, and
again with one of them killed; killed (-9) at random moments and given again; on a disk that is full, and
again when it has room. Every store is compared with the first byte by byte. A wrapper around ngspice notes
every deck that it has finished, so that work done twice is counted and not believed:

    decks twice     simulations finished more than once; one batch has STIMULI decks
    batches twice   batches of which *every* deck was finished more than once: the lost batch
    stored again    samples that were in the store when it was interrupted, and had a deck run again

At the end benchmarks/campaign.py measures memory and CPU of a large campaign. A small disk needs root.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from common import machine

from circuits.pdk.technology import Technology
from circuits.spice.ngspice import PROGRAM
from montecarlo.campaign.campaign import Campaign
from montecarlo.campaign.schema import open_dataset

SAMPLES, SYNAPSES = 2048, 4
PLAN = Campaign.characterize(Technology.load("ideal"), SAMPLES, synapses=SYNAPSES)
STIMULI, BATCHES = len(PLAN.neuron.stimuli.label), SAMPLES // PLAN.batch
COMMAND = [sys.executable, "-m", "ttfs_analog", "characterize", "--json"]
COMMAND += ["--samples", str(SAMPLES), "--synapses", str(SYNAPSES)]
WRAPPER = """#!/bin/sh
[ "$1" = --version ] && exec {ngspice} --version
name=$(cat deck.cir * 2>/dev/null | sha256sum | cut -c1-16)
{ngspice} "$@"
code=$?
echo "$name" >> {log}
exit $code
"""


class Bench:
    """A folder, the wrapper's notes, and the reference that everything is compared with."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "log"
        self.log.touch()
        wrapper = folder / "ngspice"
        wrapper.write_text(WRAPPER.format(ngspice=shutil.which("ngspice"), log=self.log))
        wrapper.chmod(0o755)
        os.environ[PROGRAM] = str(wrapper)
        self.once: Counter[str] = Counter()
        self.batch_of: dict[str, int] = {}
        self.bytes: dict[str, bytes] = {}
        self.bad = 0

    def decks(self) -> list[str]:
        """Names of the decks finished since the log was cleared, self-tests left out."""
        names = self.log.read_text().split()
        return [n for n in names if n in self.batch_of] if self.batch_of else names

    def run(self, store: Path, *options: str) -> subprocess.CompletedProcess[str]:
        """The command, until it ends."""
        command = [*COMMAND, "--out", str(store), *options]
        return subprocess.run(command, capture_output=True, text=True)

    def start(self, store: Path, *options: str) -> subprocess.Popen[bytes]:
        """The command in a session of its own, so that all of it can be killed."""
        command = [*COMMAND, "--out", str(store), *options]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(command, start_new_session=True, **quiet)

    def reference(self) -> None:
        """One worker: decks come in the order of batches."""
        done = self.run(self.folder / "reference", "--workers", "1")
        if done.returncode:
            sys.exit(f"the reference failed: {done.stdout}{done.stderr}")
        selftest, *names = self.decks()
        if len(names) != STIMULI * BATCHES or selftest in names:
            sys.exit(f"{len(names)} decks, {STIMULI * BATCHES} were expected")
        self.once = Counter(names)  # stimuli that differ in their threshold only have one deck
        self.batch_of = {name: k // STIMULI for k, name in enumerate(names)}
        self.bytes = contents(self.folder / "reference")

    def judge(self, what: str, store: Path, stored: dict[int, int] | None = None) -> None:
        """A row of the table; `stored`: batch -> samples that were there, with the decks run since."""
        count = Counter(self.decks())
        twice = (count - self.once).total()
        left = {self.batch_of[name] for name in self.once if count[name] < 2 * self.once[name]}
        whole = BATCHES - len(left)
        again = sum((stored or {}).values())
        same = contents(store) == self.bytes
        missing = (self.once - count).total()
        self.bad += not same or again > 0 or whole > 1 or missing > 0
        word = "identical" if same else "DIFFERENT"
        print(f"{what:<44} {word:<10} {twice:>11} {whole:>14} {again:>13}", flush=True)
        self.log.write_text("")

    def interrupted(self, store: Path) -> set[int]:
        """Batches in a store that was cut off; they must be right already."""
        if not store.exists():
            return set()
        half = open_dataset(store).load()
        done = half["status"].values == 0
        whole = open_dataset(self.folder / "reference").load()
        if not half.isel(sample=done).identical(whole.isel(sample=done)):
            sys.exit(f"{store} holds wrong values after an interruption")
        return {int(k) for k in np.flatnonzero(done) // PLAN.batch}

    def again(self, before: int, stored: set[int]) -> dict[int, int]:
        """Samples that were stored and have a deck run again since place `before` of the log."""
        return dict.fromkeys({self.batch_of[n] for n in self.decks()[before:]} & stored, PLAN.batch)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a store."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    """Wait for something that must come."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            sys.exit("waited in vain")
        time.sleep(0.005)


def workers(bench: Bench) -> None:
    """The same command with other numbers of workers."""
    for n in (2, 4):
        store = bench.folder / f"workers{n}"
        bench.run(store, "--workers", str(n))
        bench.judge(f"{n} workers", store)


def dask(bench: Bench) -> None:
    """Two worker processes; then one of them is killed when a third of the decks is done."""
    import distributed

    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=50
    ) as local:
        address = local.scheduler_address
        bench.run(bench.folder / "dask", "--scheduler", address)
        bench.judge("dask.distributed, 2 processes", bench.folder / "dask")
        with distributed.Client(address, set_as_default=False) as client:
            victim = next(iter(client.run(os.getpid).values()))
        child = bench.start(bench.folder / "killed", "--scheduler", address)
        until(lambda: len(bench.decks()) > STIMULI * BATCHES // 3)
        os.kill(victim, signal.SIGKILL)
        child.wait()
        bench.judge("dask.distributed, 1 of 2 processes killed", bench.folder / "killed")


def kills(bench: Bench, times: int, rng: random.Random) -> None:
    """kill -9 of the command and its simulators, after a random number of decks and a random while."""
    done = 0
    while done < times:
        store, decks = bench.folder / f"kill{done}", rng.randrange(STIMULI * BATCHES)
        child = bench.start(store, "--workers", "2")
        until(lambda store=store, least=decks: store.exists() and len(bench.decks()) >= least)
        time.sleep(0.1 * rng.random())
        if child.poll() is not None:  # it was quicker
            shutil.rmtree(store)
            bench.log.write_text("")
            continue
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        stored, before = bench.interrupted(store), len(bench.decks())
        bench.run(store, "--workers", "2")
        done += 1
        what = f"kill -9, {done} of {times}, at {len(stored)} of {BATCHES} batches"
        bench.judge(what, store, bench.again(before, stored))


def full_disk(bench: Bench) -> None:
    """A disk with room for half of the store, which then grows."""
    disk = bench.folder / "disk"
    disk.mkdir()
    pages = sum(-(-len(b) // 4096) for b in bench.bytes.values())
    mount = ["mount", "-t", "tmpfs", "-o", f"size={pages // 2 * 4}k", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        print("a full disk: left out, a small disk cannot be mounted here (it takes root)")
        return
    try:
        store = disk / "store"
        said = bench.run(store, "--workers", "2")
        message = json.loads(said.stdout).get("error", "")
        if said.returncode != 2 or "No space left" not in message:
            sys.exit(f"a full disk was not told: {said.returncode} {said.stdout}{said.stderr}")
        stored, before = bench.interrupted(store), len(bench.decks())
        subprocess.run(["mount", "-o", f"remount,size={pages * 8}k", str(disk)], check=True)
        bench.run(store, "--workers", "2")
        what = f"full disk at {len(stored)} of {BATCHES} batches, then room"
        bench.judge(what, store, bench.again(before, stored))
        print(f"  said, with exit code 2: {message}")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def main() -> None:
    """Print the table; exit code 1 if a row does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--campaign", type=int, default=100_000, help="samples of the large one; 0: none")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        bench.reference()
        print(f"{SAMPLES} samples x {STIMULI} stimuli in {BATCHES} batches, K = {SYNAPSES} ({machine()})")
        print(f"{'':<44} {'bits':<10} {'decks twice':>11} {'batches twice':>14} {'stored again':>13}")
        bench.judge("1 worker (the reference)", bench.folder / "reference")
        workers(bench)
        with contextlib.suppress(ModuleNotFoundError):
            dask(bench)
        kills(bench, options.kills, random.Random(options.seed))
        full_disk(bench)
    del os.environ[PROGRAM]
    print(f"{'all hold' if not bench.bad else f'{bench.bad} DO NOT HOLD'}")
    large = 0
    if options.campaign:
        script = Path(__file__).with_name("campaign.py")
        large = subprocess.run([sys.executable, str(script), "--samples", str(options.campaign)]).returncode
    sys.exit(1 if bench.bad or large else 0)


if __name__ == "__main__":
    main()
