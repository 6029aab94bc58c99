"""Whatever is in a file, reading it ends in a result or in one line that says what is wrong: over mutants.

python benchmarks/fuzz.py [--mutants 6000] [--seed 0] [--only FORMAT] [--show]

Every format that is read, as this package writes it; `mutations` changes bytes, entries and lines of the
files, and `fuzz_formats` puts foreign code into those that torch or pickle reads. A mutant is read, and what
it gives is used once, in a forked process. An exception that is not one of ours is a traceback for a user of
Python, and "this is a bug" for one of the command line; no end in 20 s is a hang; a file that the code would
make shows that it ran. What is accepted gives what the original gives, or is another input: of these, those
with NaN in what they give count as faults.
"""

import argparse
import collections
import hashlib
import json
import math
import multiprocessing
import os
import random
import sys
import tempfile
import time
import traceback
import warnings
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import fuzz_formats
import torch

LIMIT = 20.0
"""Seconds after which a mutant hangs."""
SAID = ("InputError", "SimulatorError", "Diverged")
BAD = ("traceback", "hang", "died", "code", "NaN")


def judged(fmt: fuzz_formats.Format, path: Path, marker: Path) -> tuple[str, str]:
    """Outcome and what it gave, or the message."""
    try:
        given = fmt.use(path)
        outcome = "NaN" if _nan(given) else "accepted"
        text = (
            hashlib.sha256(repr(given).encode()).hexdigest()[:16]
            if outcome == "accepted"
            else repr(given)[:300]
        )
    except Exception as error:
        if {kind.__name__ for kind in type(error).__mro__} & {*SAID}:
            outcome, text = "refused", str(error)
        else:
            outcome, text = "traceback", traceback.format_exc()
    return ("code", text) if marker.exists() else (outcome, text)


def _nan(given: Any) -> bool:
    if isinstance(given, dict):
        return any(map(_nan, given.values()))
    if isinstance(given, list | tuple):
        return any(map(_nan, given))
    return isinstance(given, float) and math.isnan(given)


def mutant(fmt: fuzz_formats.Format, folder: Path, number: int, seed: int, marker: Path) -> Path:
    """Mutant `number` of a format, as a file in `folder`."""
    rng = random.Random(f"{seed} {fmt.name} {number}")
    return fmt.change(folder, rng, marker)


def work(fmt: fuzz_formats.Format, numbers: list[int], seed: int, pipe: Connection) -> None:
    """Judge mutants one after the other; the number goes before the outcome, so that a hang has a name."""
    warnings.simplefilter("ignore")
    if "dask" in sys.modules:  # its threads are not forked
        sys.modules["dask"].config.set(scheduler="synchronous")
    torch.set_num_threads(1)
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 2)  # HDF5 prints its own faults
    for number in numbers:
        pipe.send(number)
        with tempfile.TemporaryDirectory(dir=fmt.folder) as name:
            marker = Path(name) / "ran"
            try:
                path = mutant(fmt, Path(name), number, seed, marker)
            except fuzz_formats.NoMutant:
                pipe.send(("none", ""))
                continue
            pipe.send(judged(fmt, path, marker))
    pipe.close()


def run(fmt: fuzz_formats.Format, count: int, seed: int) -> list[tuple[int, str, str]]:
    """(Number, outcome, text) of `count` mutants."""
    context, todo, results = multiprocessing.get_context("fork"), list(range(count)), []
    while todo:
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=work, args=(fmt, todo, seed, there))
        process.start()
        there.close()
        current, outcome = None, None
        try:
            while here.poll(LIMIT):
                message = here.recv()
                if isinstance(message, int):
                    current = message
                else:
                    results.append((current, *message))
                    current = None
            outcome = "hang"
            process.kill()
        except EOFError:
            outcome = "died"
        process.join()
        if current is not None:
            results.append((current, outcome, f"exit code {process.exitcode}"))
        seen = {number for number, _, _ in results}
        todo = [number for number in todo if number not in seen]
        if current is None and outcome == "hang":
            todo = []
    return results


def main() -> int:
    """Print a line for each format, and the first of each kind of fault."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--mutants", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="")
    parser.add_argument("--show", action="store_true")
    options = parser.parse_args()
    start, total = time.monotonic(), collections.Counter()
    with tempfile.TemporaryDirectory() as name:
        formats = [f for f in fuzz_formats.make(Path(name)) if options.only in f.name]
        weights = sum(f.share for f in formats)
        print(f"{'format':<18} {'mutants':>8} {'refused':>8} {'equal':>7} {'other':>7}  {'  '.join(BAD)}")
        for fmt in formats:
            original = judged(fmt, fmt.original(), Path(name) / "ran")
            assert original[0] == "accepted", original
            results = [
                r
                for r in run(fmt, round(options.mutants * fmt.share / weights), options.seed)
                if r[1] != "none"
            ]
            counts = collections.Counter(
                "equal" if (outcome, text) == original else "other" if outcome == "accepted" else outcome
                for _, outcome, text in results
            )
            total += counts
            total["mutants"] += len(results)
            bad = "  ".join(f"{counts[kind]:>{len(kind)}}" for kind in BAD)
            print(
                f"{fmt.name:<18} {len(results):>8} {counts['refused']:>8} {counts['equal']:>7} "
                f"{counts['other']:>7}  {bad}", flush=True,
            )  # fmt: skip
            seen: set[str] = set()
            for number, outcome, text in results:
                kind = outcome + (text.strip().split("\n")[-1][:60] if outcome == "traceback" else "")
                if outcome in BAD and (options.show or kind not in seen):
                    seen.add(kind)
                    print(f"  mutant {number}: {outcome}\n{text}")
                elif options.show and outcome == "accepted" and text != original[1]:
                    print(f"  mutant {number}: another input")
                elif options.show and outcome == "refused":
                    print(f"  mutant {number}: {text}")
    print(json.dumps({**total, "seconds": round(time.monotonic() - start)}))
    return int(any(total[kind] for kind in BAD))


if __name__ == "__main__":
    sys.exit(main())
