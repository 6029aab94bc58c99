"""Run a deck in ngspice, safely and honestly. The only file that starts a process.

ngspice exits with 0 on many failures, so its exit code is one condition among several; a result is
accepted only if the header counts points, the bytes match, the end time was reached, every value is
finite, every vector is present and no message announces a changed circuit.

A deck is a program: ngspice executes control blocks and some comments. Only decks built by
`circuits.netlist` are run here, in a private folder, without the user's start-up files.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np

from circuits.errors import InputError, SimulatorError, SimulatorMissing
from circuits.netlist import Deck
from circuits.rawfile import Plot, parse
from circuits.units import name

PROGRAM = "TTFS_ANALOG_NGSPICE"
"""Environment variable with the path of the ngspice program, if it is not on PATH."""
HARMLESS = re.compile(r"^(Note: |Circuit: |\s*Reference value|Using transient initial|$)")
SUSPECT = re.compile(r"error|warning|message:|singular|aborted|too small|fatal|unknown", re.I)
T = TypeVar("T")


class Cancelled(SimulatorError):
    """The run was stopped from outside; its folder is removed."""


@lru_cache(maxsize=8)
def _version(program: str) -> str:
    try:
        out = subprocess.run(
            [program, "--version"], stdin=subprocess.DEVNULL, capture_output=True, timeout=30
        ).stdout.decode("latin-1")
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SimulatorMissing(f"{program} cannot be run: {error}") from None
    found = re.search(r"ngspice-(\d+(?:\.\d+)*)", out)
    if not found:
        raise SimulatorMissing(f"{program} does not answer as ngspice to --version")
    return found.group(1)


class Ngspice:
    """An ngspice program and the rules under which it runs.

    Parameters
    ----------
    program : str, optional
        Path or name; default TTFS_ANALOG_NGSPICE, else ``ngspice`` on PATH.
    timeout : float
        Wall-clock limit of one run [s]; twice that is its CPU limit.

    Raises
    ------
    SimulatorMissing
        If there is no such program.
    """

    def __init__(self, program: str | None = None, timeout: float = 600.0) -> None:
        wanted = program or os.environ.get(PROGRAM) or "ngspice"
        found = shutil.which(wanted)
        if found is None:
            raise SimulatorMissing(
                f"no ngspice program found (looked for {wanted!r}); install it, on Debian and Ubuntu "
                f"with 'apt-get install ngspice', or set {PROGRAM} to its path"
            )
        self.program, self.timeout = os.path.abspath(found), timeout
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._cancelled = False

    @property
    def version(self) -> str:
        """Such as '39'."""
        return _version(self.program)

    def cancel(self) -> None:
        """Kill every run in flight; later runs refuse to start."""
        with self._lock:
            self._cancelled = True
            for process in self._running:
                _kill(process)

    def run(self, deck: Deck) -> Plot:
        """Simulate one deck.

        Raises
        ------
        SimulatorError
            Naming the run folder, which is kept, and ngspice's last lines.
        """
        for file in deck.files:
            name(file.removesuffix(".txt"))  # ngspice lower-cases paths
        try:
            folder = Path(tempfile.mkdtemp(prefix="ttfs-analog-"))
        except OSError as error:
            raise SimulatorError(f"cannot make a run folder: {error}; set TMPDIR to a usable disk") from None
        try:
            for file, text in {**deck.files, "deck.cir": deck.text}.items():
                (folder / file).write_text(text)
            self._execute(folder)
            plot = self._accept(folder, deck)
        except Cancelled:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        except SimulatorError as error:
            raise SimulatorError(f"{error}\n{_tail(folder)}run folder kept: {folder}") from None
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise SimulatorError(
                f"cannot write the simulation to {folder}: {error.strerror}; free some space or set "
                "TMPDIR to another disk"
            ) from None
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)
        return plot

    def _execute(self, folder: Path) -> None:
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": "/nonexistent",
            "LC_ALL": "C",
            "OMP_THREAD_LIMIT": "1",  # BSIM4's OpenMP threads spin: up to 50x slower on a busy host
        }
        command = [self.program, "-n", "-b", "-r", "out.raw", "deck.cir"]
        with open(folder / "stdout", "wb") as out, open(folder / "stderr", "wb") as err:
            with self._lock:
                if self._cancelled:
                    raise Cancelled("simulation cancelled")
                try:
                    process = subprocess.Popen(
                        command,
                        cwd=folder,
                        env=environment,
                        stdin=subprocess.DEVNULL,
                        stdout=out,
                        stderr=err,
                        start_new_session=True,
                    )
                except OSError as error:
                    raise SimulatorError(f"{self.program} cannot be started: {error.strerror}") from None
                self._running.add(process)
            try:
                _limit(process.pid, int(2 * self.timeout) + 1)
                code = process.wait(self.timeout)
            except subprocess.TimeoutExpired:
                raise SimulatorError(f"ngspice did not finish in {self.timeout:g} s") from None
            finally:
                _kill(process)
                process.wait()
                with self._lock:
                    self._running.discard(process)
        if self._cancelled:
            raise Cancelled("simulation cancelled")
        if code != 0:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            raise SimulatorError(f"ngspice {how}")

    def _accept(self, folder: Path, deck: Deck) -> Plot:
        for stream in ("stderr", "stdout"):
            for line in (folder / stream).read_text("latin-1").splitlines():
                if SUSPECT.search(line) and not HARMLESS.match(line):
                    raise SimulatorError(f"ngspice said: {line.strip()}")
        raw = folder / "out.raw"
        if not raw.exists():
            raise SimulatorError("ngspice wrote no raw file")
        plots = parse(raw.read_bytes())
        if len(plots) != 1:
            raise SimulatorError(f"ngspice wrote {len(plots)} plots, 1 was expected")
        plot = plots[0]
        wanted = {f"v({n})" for n in deck.nodes} | {f"i({c})" for c in deck.currents} | {"time"}
        missing = wanted - set(plot.variables)
        if missing:
            raise SimulatorError(f"vectors missing from the result: {sorted(missing)[:5]}")
        time = plot["time"]
        if not time[-1] >= deck.stop * (1 - 1e-9):
            raise SimulatorError(f"run ended at {time[-1]:.6g} s instead of {deck.stop:.6g} s")
        if np.any(np.diff(time) < 0):
            raise SimulatorError("time runs backwards in the raw file")
        return plot


def _limit(pid: int, cpu_s: int) -> None:
    """CPU, file size and core limits; a process that has already ended needs none."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        resource.prlimit(pid, resource.RLIMIT_CPU, (cpu_s, cpu_s))
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1 << 33, 1 << 33))
        resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def _tail(folder: Path, lines: int = 6) -> str:
    """ngspice's own last words."""
    words: list[str] = []
    for stream in ("stdout", "stderr"):
        with contextlib.suppress(OSError):
            words += [w for w in (folder / stream).read_text("latin-1").splitlines() if w.strip()]
    return "".join(f"  | {w}\n" for w in words[-lines:])


def parallel(tasks: Iterable[Callable[[], T]], workers: int, simulator: Ngspice) -> Iterator[tuple[int, T]]:
    """Run tasks in a thread pool, yield (index, value) as they end; the work is in the children.

    At most two tasks per worker are under way, so a long generator of tasks needs little memory.
    On an exception, Ctrl-C included, the runs in flight are killed and nothing is left behind.
    """
    if workers < 1:
        raise InputError(f"workers must be >= 1, got {workers}")
    pending: dict[Future[T], int] = {}
    pool = ThreadPoolExecutor(workers)
    try:
        for index, task in enumerate(tasks):
            pending[pool.submit(task)] = index
            if len(pending) >= 2 * workers:
                yield from _collect(pending)
        while pending:
            yield from _collect(pending)
    except BaseException:
        simulator.cancel()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _collect(pending: dict[Future[T], int]) -> Iterator[tuple[int, T]]:
    done, _ = wait(pending, return_when=FIRST_COMPLETED)
    for future in done:
        yield pending.pop(future), future.result()
