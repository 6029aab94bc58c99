"""Running ngspice: good decks are read, broken ones are noticed, and nothing is left running."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from watching import processes_in, run_folders_in, until

from circuits.errors import InputError, SimulatorError, SimulatorMissing
from circuits.ideal.layer_circuit import layer_cell
from circuits.ideal.netlist import FORMS, build
from circuits.ideal.stimulus import stimulus
from circuits.model.layer import Layer, LayerMismatch
from circuits.model.operating_point import OperatingPoint
from circuits.spice.deck import Deck
from circuits.spice.ngspice import KEPT, PROGRAM, Ngspice, _run_folder, _sweep, parallel

TRAN = ".tran 1e-8 1e-6 0 1e-8 uic\n"
RC = "* rc circuit\nV1 in 0 1\nR1 in out 1000\nC1 out 0 1e-9 ic=0\n"
LONG = (
    "* pulses\nV1 out 0 PULSE(0 1 0 1e-9 1e-9 1e-7 1e-6)\nR1 out 0 1\n.save v(out)\n"
    ".tran 1e-9 1000 0 1e-9 uic\n.end\n"
)
"""Days of work: it ends only when somebody ends it."""


def rc(extra: str = "", *, run: str = TRAN, save: str = ".save v(out)\n", **options) -> Deck:
    """A first-order circuit, to be broken in one place."""
    fields = {"nodes": ("out",), "stop": 1e-6, **options}
    return Deck(f"{RC}{extra}{save}{run}.end\n", **fields)


def refused(deck: Deck, message: str, folder: Path, **options) -> str:
    """Run a deck that must be refused; its folder must be kept, and named."""
    with pytest.raises(SimulatorError, match=message) as caught:
        Ngspice(**options).run(deck)
    (run_folder,) = folder.iterdir()
    assert f"run folder kept: {run_folder}" in str(caught.value)
    assert (run_folder / "deck.cir").read_text() == deck.text
    return str(caught.value)


@pytest.mark.ngspice
def test_a_good_deck_gives_its_waveform_and_leaves_nothing_behind(folder):
    """Trapezoids at a hundredth of RC against the exponential: (1/100)**2 / 12 = 1e-5."""
    plot = Ngspice().run(rc())
    wanted = 1 - np.exp(-plot["time"] / 1e-6)
    np.testing.assert_allclose(plot["v(out)"], wanted, rtol=0, atol=1e-5)
    assert list(folder.iterdir()) == []


def at_hand() -> list[str]:
    """Every ngspice on PATH, such as ngspice and ngspice-46, each once."""
    places = [Path(p) for p in os.environ["PATH"].split(os.pathsep) if Path(p).is_dir()]
    programs = {p.resolve() for place in places for p in place.glob("ngspice*") if os.access(p, os.X_OK)}
    return sorted(map(str, programs))


@pytest.mark.ngspice
@pytest.mark.parametrize("program", at_hand())
def test_several_decks_in_one_process_are_each_of_them_alone(folder, program):
    simulator = Ngspice(program)
    alone = simulator.run(rc())
    for plot in simulator.run_many([rc(), rc(run=TRAN.replace("1e-8", "2e-8")), rc()])[::2]:
        np.testing.assert_array_equal(plot.values, alone.values)
    assert list(folder.iterdir()) == []


@pytest.mark.ngspice
@pytest.mark.parametrize("command", ["quit", "remcirc"])
def test_several_decks_need_no_command_that_frees_their_circuits(folder, tmp_path, command):
    """There ngspice 46 crashes if its code models are those of ngspice 39."""
    program = tmp_path / "simulator"
    program.write_text(
        f'#!/bin/sh\ngrep -qs ^{command} deck.cir && kill -SEGV $$\nexec {shutil.which("ngspice")} "$@"\n'
    )
    program.chmod(0o755)
    assert len(Ngspice(str(program)).run_many([rc(), rc()])) == 2


@pytest.mark.ngspice
def test_only_the_first_failed_runs_are_kept_and_the_others_are_counted(folder):
    simulator = Ngspice()
    for k in range(5):
        with pytest.raises(SimulatorError) as caught:
            simulator.run(rc(nodes=("nowhere",)))
        says = (
            "run folder kept: " if k < KEPT else f"run folder not kept: {k + 1} runs failed, the first are in"
        )
        assert says in str(caught.value)
    assert sorted(folder.iterdir()) == sorted(simulator.kept)
    assert (len(simulator.kept), simulator.failed) == (3, 5)


def test_what_a_killed_process_left_is_swept_and_what_a_living_one_uses_is_not(folder):
    """A lock, not a process number: processes in two containers with one /dev/shm do not see each other."""
    code = (
        "from circuits.spice.ngspice import _run_folder\nimport time\n"
        "with _run_folder() as f: print(f, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout
            made = Path(child.stdout.readline().strip())
            (made / "deck.cir").touch()
            _sweep.cache_clear()
            with _run_folder() as mine:
                assert sorted(folder.iterdir()) == sorted([made, mine])
            assert (made / "deck.cir").exists()
        finally:
            child.kill()
    _sweep.cache_clear()
    with _run_folder() as mine:
        assert list(folder.iterdir()) == [mine]
    assert list(folder.iterdir()) == []


@pytest.mark.ngspice
def test_tables_beside_the_deck_are_read(folder, monkeypatch):
    """A current of 1 uA into 1 nF for 1 us is 1 mV a us; 1e-9 covers the 1e-12 S from every node."""
    text = (
        "* table\nC1 out 0 1e-9 ic=0\nA0 %i[out] fs\n"
        '.model fs filesource (amploffset=[0] amplscale=[1e-9] amplstep=true file="ramp.txt" timeoffset=0'
        " timerelative=false timescale=1)\n.save v(out)\n" + TRAN + ".end\n"
    )
    deck = Deck(text, ("out",), 1e-6, files={"ramp.txt": "0 -1000\n2e-6 -1000\n"})
    plot = Ngspice().run(deck)
    np.testing.assert_allclose(plot["v(out)"], 1e3 * plot["time"], rtol=1e-6, atol=1e-9)
    alone = Deck(text, ("out",), 1e-6)
    with pytest.raises(InputError, match=r"table 'ramp\.txt' is not there"):
        Ngspice().run(alone)
    monkeypatch.setattr("circuits.spice.ngspice.check", lambda text, files, stop: None)
    with pytest.raises(SimulatorError, match="run folder kept"):
        Ngspice().run(alone)  # and nobody read it


@pytest.mark.ngspice
@pytest.mark.parametrize(
    "extra",
    [
        "D1 out 0 nomodel\n",
        "R2 out\n",
        "X1 out 0 nosubckt\n",
        ".include missing.inc\n",
        "R2 out 0 {undefined}\n",
        "C2 float1 float2 -1e999\n",
        "V2 out 0 1\nV3 out 0 2\n",
        "A9 out lost\n.model lost nothing_known\n",
    ],
    ids=["model", "nodes", "subckt", "include", "parameter", "value", "loop", "code_model"],
)
def test_a_broken_deck_is_refused_and_its_folder_kept(folder, unread, extra):
    message = refused(rc(extra), "ngspice", folder)
    assert "  | " in message  # the simulator's own last words


@pytest.mark.ngspice
def test_a_deck_outside_the_packages_language_is_refused_before_anything_is_written(folder):
    for deck in (rc("D1 out 0 nomodel\n"), rc(stop=2e-6), rc(run=""), rc(run=".op\n" + TRAN)):
        with pytest.raises(InputError, match="deck"):
            Ngspice().run(deck)
    assert list(folder.iterdir()) == []


@pytest.mark.ngspice
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stop": 2e-6}, "run ended at 1e-06 s instead of 2e-06 s"),
        ({"nodes": ("out", "m0")}, r"v\(m0\)|m0"),
        ({"currents": ("v1",)}, r"i\(v1\)"),
        ({"run": ""}, "ngspice|raw file"),
        ({"run": ".op\n" + TRAN}, "2 plots, 1|ngspice said"),
    ],
)
def test_a_record_that_is_not_what_was_asked_for_is_noticed(folder, unread, options, message):
    refused(rc(**options), message, folder)


@pytest.mark.ngspice
def test_a_simulator_that_takes_too_long_is_ended(folder):
    """0.3 s are allowed; a loaded machine gets 5 s to notice."""
    start = time.monotonic()
    refused(Deck(LONG, ("out",), 1000.0), "did not finish in 0.3 s", folder, timeout=0.3)
    assert time.monotonic() - start < 5.3
    assert processes_in(folder) == []


@pytest.mark.ngspice
def test_a_simulator_that_is_killed_is_reported(folder):
    """SIGKILL from elsewhere, as the kernel does when memory runs out."""

    def assassin():
        os.kill(until(lambda: processes_in(folder))[0], signal.SIGKILL)

    thread = threading.Thread(target=assassin)
    thread.start()
    refused(Deck(LONG, ("out",), 1000.0), "killed by signal 9", folder, timeout=60)
    thread.join()


def test_a_program_that_prints_without_end_makes_no_endless_message(folder, tmp_path):
    program = tmp_path / "ngspice"
    program.write_text(
        '#!/bin/sh\ntest "$1" = --version && echo ngspice-39 && exit 0\n'
        "head -c 30000000 /dev/zero\necho\necho the last word\nexit 1\n"
    )
    program.chmod(0o755)
    message = refused(rc(), "ended with exit code 1", folder, program=str(program))
    assert "  | the last word\n" in message
    assert len(message) < 2000


@pytest.mark.ngspice
def test_canceling_ends_the_run_and_refuses_later_ones(folder):
    simulator = Ngspice(timeout=60)

    def cancel():
        until(lambda: processes_in(folder))
        simulator.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(SimulatorError, match="canceled"):
        simulator.run(Deck(LONG, ("out",), 1000.0))
    thread.join()
    assert processes_in(folder) == []
    assert list(folder.iterdir()) == []
    with pytest.raises(SimulatorError, match="canceled"):
        simulator.run(rc())
    assert list(folder.iterdir()) == []


@pytest.mark.ngspice
@pytest.mark.parametrize("file", ["Table.txt", "../t.txt", "t 0.txt", "/t.txt", "t0.txt\n"])
def test_a_file_name_that_is_more_than_a_name_is_refused_before_anything_is_written(folder, file):
    with pytest.raises(InputError, match="netlist name"):
        Ngspice().run(rc(files={file: "0 0\n"}))
    assert list(folder.iterdir()) == []


@pytest.mark.ngspice
def test_the_users_start_up_file_is_not_read(folder, tmp_path, monkeypatch):
    mark = tmp_path / "mark"
    (tmp_path / ".spiceinit").write_text(f"shell touch {mark}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SPICE_SCRIPTS", str(tmp_path))
    Ngspice().run(rc())
    assert not mark.exists()


@pytest.mark.ngspice
def test_a_table_too_large_for_the_disk_is_reported_with_a_remedy(folder):
    """The limit on file size stands for a full disk: the write itself fails, for real."""
    deck = rc(files={"t0.txt": "0 0\n" * 100_000})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(SimulatorError, match="free some space or set TMPDIR"):
            Ngspice().run(deck)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(folder.iterdir()) == []


@pytest.mark.ngspice
def test_a_disk_that_fills_up_during_the_run_is_noticed(tmp_path, monkeypatch):
    """A disk of 256 kB, and a run of 2 MB: ngspice itself may end with exit code 0."""
    place = tmp_path / "small"
    place.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    if os.geteuid() != 0 or not mount or subprocess.run([mount, *options], capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        run_folders_in(place, monkeypatch)
        with pytest.raises(SimulatorError):
            Ngspice().run(rc(run=".tran 1e-11 1e-6 0 1e-11 uic\n"))
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_missing_program_is_named_with_the_remedy(monkeypatch):
    monkeypatch.setenv(PROGRAM, "/nowhere/ngspice")
    with pytest.raises(SimulatorMissing, match=rf"'/nowhere/ngspice'.*{PROGRAM}"):
        Ngspice()


def test_an_empty_search_path_is_a_missing_program(monkeypatch, tmp_path):
    monkeypatch.delenv(PROGRAM, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SimulatorMissing, match="apt-get install ngspice"):
        Ngspice()


def test_another_program_does_not_pass_for_ngspice():
    with pytest.raises(SimulatorMissing, match="does not answer as ngspice"):
        _ = Ngspice(shutil.which("true")).version


@pytest.mark.ngspice
def test_the_variable_chooses_the_program(folder, tmp_path, monkeypatch):
    link = tmp_path / "simulator"
    link.symlink_to(shutil.which("ngspice"))
    monkeypatch.setenv(PROGRAM, str(link))
    simulator = Ngspice()
    assert simulator.program == str(link)
    assert int(simulator.version.split(".")[0]) >= 30
    assert len(simulator.run(rc())["time"]) > 10


@pytest.mark.ngspice
def test_parallel_runs_return_every_result_under_its_number(folder):
    simulator = Ngspice()
    ends = [1e-6, 2e-6, 3e-6, 4e-6, 5e-6]

    def task(end: float):
        run = f".tran 1e-8 {end!r} 0 1e-8 uic\n"
        return lambda: simulator.run(rc(run=run, stop=end))["time"][-1]

    last_times = dict(parallel((task(e) for e in ends), 2, simulator))
    assert sorted(last_times) == [0, 1, 2, 3, 4]
    for k, end in enumerate(ends):
        assert last_times[k] == pytest.approx(end, rel=1e-9)  # the end is a break point: rounding only


@pytest.mark.ngspice
def test_tasks_are_made_only_when_they_are_wanted():
    """At most two a worker are under way, however many there are to come."""
    made = []

    def tasks():
        for k in range(100):
            made.append(k)
            yield lambda k=k: k

    results = parallel(tasks(), 2, Ngspice())
    first, value = next(results)
    assert len(made) <= 4
    assert value == first
    assert sorted([first, *(k for k, _ in results)]) == list(range(100))


@pytest.mark.ngspice
def test_one_failure_ends_all_runs(folder):
    """The long runs would take days; 10 s are allowed for a loaded machine."""
    simulator = Ngspice(timeout=60)

    def broken():
        until(lambda: processes_in(folder))
        raise ValueError("this one is broken")

    def long():
        return simulator.run(Deck(LONG, ("out",), 1000.0))

    start = time.monotonic()
    with pytest.raises(ValueError, match="this one is broken"):
        list(parallel([long, broken, long, long], 2, simulator))
    assert time.monotonic() - start < 10
    assert processes_in(folder) == []
    assert list(folder.iterdir()) == []


@pytest.mark.ngspice
@pytest.mark.parametrize("workers", [0, -1])
def test_at_least_one_worker_is_needed(workers):
    with pytest.raises(InputError, match="workers must be >= 1"):
        list(parallel([], workers, Ngspice()))


@pytest.mark.ngspice
@pytest.mark.parametrize(
    "title", ["error of 3 warnings", "fatal: singular, aborted", "unknown message: too small"]
)
def test_a_title_may_hold_words_that_would_be_suspect_in_a_message(folder, title):
    layer = Layer([[0.5]], [0.5], t_min=1.0, t_max=3.0)
    point = OperatingPoint().fit_swing(-1, 3)
    cell = layer_cell(layer, stimulus(layer, np.array([0.5]), point), point, LayerMismatch.none(layer))
    for form in FORMS:
        assert len(Ngspice().run(build(cell, form, title=title))["time"]) > 2
    assert list(folder.iterdir()) == []


@pytest.mark.ngspice
def test_a_program_given_by_a_relative_path_runs(folder, tmp_path, monkeypatch):
    """Runs have a folder of their own, so the path must not depend on where they start."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "simulator").symlink_to(shutil.which("ngspice"))
    monkeypatch.chdir(tmp_path)
    simulator = Ngspice("bin/simulator")
    assert os.path.isabs(simulator.program)
    assert len(simulator.run(rc())["time"]) > 10
    monkeypatch.chdir("/")
    assert len(simulator.run(rc())["time"]) > 10


@pytest.mark.ngspice
def test_a_place_for_run_folders_that_is_not_there_is_reported(tmp_path, monkeypatch):
    run_folders_in(tmp_path / "gone", monkeypatch)
    with pytest.raises(SimulatorError, match=r"cannot make a run folder.*set TMPDIR"):
        Ngspice().run(rc())
