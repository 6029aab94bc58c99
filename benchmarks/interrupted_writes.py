"""Every kind of file, its writer killed and its disk full: the old file or the new one, and nothing else.

A child writes a file again and again, with two contents in turn, and is killed (SIGKILL) at a random moment;
a write meets a limit on the size of a file after a random share of it; with root, a small disk (tmpfs) that
is almost full. Afterwards the file is read as a command would read it. `--in-place` is the control: it writes
without `circuits.whole_file`, and files are lost.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from PIL import Image
from torch import nn

from circuits import whole_file
from circuits.errors import InputError
from montecarlo.campaign.schema import save_dataset
from montecarlo.mismatch.law import MismatchLaw
from montecarlo.plots.plotting import bars, save
from ttfs_analog.conversion.mapping import convert
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.noise import noise_file
from ttfs_analog.noise.chips import Chips
from ttfs_analog.training import run_checkpoint
from ttfs_analog.training.recipe import Recipe

FORK = multiprocessing.get_context("fork")
SIZES, LENGTH = (784, 128, 10), 1_000_000


def network(number: int) -> TTFSNetwork:
    """One of two networks."""
    torch.manual_seed(number)
    relu = nn.Sequential(*[nn.Linear(*SIZES[:2]), nn.ReLU(), nn.Linear(*SIZES[1:])]).double()
    return convert(relu, torch.rand(4, SIZES[0], dtype=torch.float64), metadata={"number": number})


def write_checkpoint(path: Path, number: int) -> None:
    """The checkpoint of a training."""
    net = network(number)
    run_checkpoint.write(path, Recipe(), "", net, Recipe().build(net.parameters()), {"epoch": number})


def read_dataset(path: Path) -> int:
    """All values are the number."""
    with xr.open_dataset(path) as stored:
        (number,) = np.unique(stored["x"].values)
    return int(number)


def read_noise(path: Path) -> int:
    """Its digest fits."""
    content = noise_file.read(path)
    noise_file.check_unchanged(path, content)
    return int(content["number"])


def read_figure(path: Path) -> int:
    """All pixels are there; the background tells the two apart no better than their height."""
    with Image.open(path) as image:
        image.load()
        return int(image.height > 250)


def read_text(path: Path) -> int:
    """One letter throughout, to the end."""
    text = path.read_text()
    (number,) = set(text)
    return int(number) if len(text) == LENGTH else -1


def chips(number: int) -> Chips:
    """Of one network."""
    return Chips.draw(MismatchLaw(0.1, 0.1, 0.1, 0.1, 0.1), network(0), range(2), number)


# file -> (what writes number 0 or 1, what reads the number back)
KINDS: dict[str, tuple[Callable[[Path, int], Any], Callable[[Path], int]]] = {
    "net.pt": (lambda p, k: network(k).save(p), lambda p: TTFSNetwork.load(p).metadata["number"]),
    "net.pt.checkpoint": (write_checkpoint, lambda p: run_checkpoint.read(p, Recipe(), "", {})["epoch"]),
    "noise_model.json": (
        lambda p, k: noise_file.write(p, {"number": k, "rest": [0.1] * 100_000}),
        read_noise,
    ),
    "chips.nc": (lambda p, k: chips(k).save(p), lambda p: Chips.load(p).entropy),
    "evaluation.nc": (
        lambda p, k: save_dataset(xr.Dataset({"x": ("n", np.full(200_000, float(k)))}), p),
        read_dataset,
    ),
    "figure.png": (
        lambda p, k: save(bars({str(n): {"a": 1.0} for n in range(1 + 5 * k)}, "J"), p),
        read_figure,
    ),
    "report.html": (lambda p, k: whole_file.write(p, str(k) * LENGTH), read_text),
}


def in_place(path: str | Path, content: str | bytes | memoryview) -> Path:
    """The control."""
    with open(path, "wb") as out:
        out.write(content.encode() if isinstance(content, str) else content)
    return Path(path)


def state(kind: str, path: Path) -> str:
    """ "whole", or what is wrong."""
    try:
        return "whole" if KINDS[kind][1](path) in (0, 1) else "mixed"
    except Exception as error:
        return f"lost: {type(error).__name__}"


def killed(kind: str, folder: Path, moments: int, rng: random.Random) -> list[str]:
    """States after SIGKILL at random moments, and whether the next write leaves nothing beside."""
    path, states = folder / kind, []
    for _ in range(moments):
        ready = FORK.Event()
        child = FORK.Process(target=forever, args=(path, ready))
        child.start()
        ready.wait()
        time.sleep(rng.uniform(0, 0.5))
        child.kill()
        child.join()
        states.append(state(kind, path))
    KINDS[kind][0](path, 0)
    return states + [f"left: {p.name}" for p in folder.iterdir() if p != path]


def limited(kind: str, folder: Path, moments: int, rng: random.Random) -> list[str]:
    """States after writes that met the limit on the size of a file."""
    path, states = folder / kind, []
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for _ in range(moments):
        KINDS[kind][0](path, 0)
        limit = int(rng.uniform(0, 0.99) * path.stat().st_size)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        try:
            states.append(attempt(kind, path))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        states[-1] = states[-1] or state(kind, path)
    return states + [f"left: {p.name}" for p in folder.iterdir() if p != path]


def full(kind: str, folder: Path, moments: int, rng: random.Random) -> list[str]:
    """States after writes to a disk with room for a random share of the new file."""
    path, filler, states = folder / kind, folder / "filler", []
    for _ in range(moments):
        KINDS[kind][0](path, 0)
        room = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
        filler.write_bytes(bytes(int(room - rng.uniform(0, 0.9) * path.stat().st_size)))
        states.append(attempt(kind, path) or state(kind, path))
        filler.unlink()
    return states + [f"left: {p.name}" for p in folder.iterdir() if p != path]


def attempt(kind: str, path: Path) -> str:
    """Empty if a write succeeds or is refused in the words of the package; else the error."""
    try:
        KINDS[kind][0](path, 1)
    except Exception as error:
        if not isinstance(error, InputError) or f"cannot write {path}" not in str(error):
            return f"{type(error).__name__}: {error}"
    return ""


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A tmpfs of 24 MiB there; False: this user may not."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    able = os.getuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield able
    finally:
        if able:
            subprocess.run(["umount", str(folder)], check=True)


def forever(path: Path, ready: Event) -> None:
    """Write both contents in turn."""
    for k in range(1_000_000):
        KINDS[path.name][0](path, k % 2)
        ready.set()


def main() -> int:
    """Print a row a kind; 1 if a file was lost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--moments", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--in-place", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.in_place:
        whole_file.write = in_place
    rng, lost = random.Random(options.seed), 0
    print(f"{'file':<20} {'killed':>8} {'limit':>8} {'full':>8}   whole, of {options.moments} moments each")
    for kind in KINDS:
        rows = []
        for way in ("killed", "limit", "full"):
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                if way == "killed":
                    rows.append(killed(kind, folder, options.moments, rng))
                elif way == "limit":
                    rows.append(limited(kind, folder, options.moments, rng))
                else:
                    with small_disk(folder) as able:
                        rows.append(full(kind, folder, options.moments, rng) if able else [])
        counts = [f"{row.count('whole'):>8}" if row else f"{'-':>8}" for row in rows]
        wrong = sorted({s for row in rows for s in row if s != "whole"})
        lost += sum(s != "whole" for row in rows for s in row)
        print(f"{kind:<20} {' '.join(counts)}   {'; '.join(wrong)}")
    return int(lost > 0)


if __name__ == "__main__":
    sys.exit(main())
