"""Broken decks and broken environments, with real processes: every fault is noticed, none gives a number."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from watching import processes_in, run_folders_in, until

from circuits.errors import InputError, SimulatorError, SimulatorMissing
from circuits.ideal.crossings import fast_form
from circuits.ideal.ideal_layer import IdealNeuron
from circuits.ideal.layer_circuit import layer_cell
from circuits.ideal.netlist import build
from circuits.ideal.stimulus import stimulus
from circuits.model import closed_form
from circuits.model.layer import Layer, LayerMismatch
from circuits.model.operating_point import OperatingPoint
from circuits.simulation import feed_forward, simulate
from circuits.spice.deck import Deck
from circuits.spice.ngspice import Ngspice, parallel

POINT = OperatingPoint().fit_swing(-6.0, 8.0)
TITLE, TRAN, SAVE = "* a first-order circuit", ".tran 1e-8 1e-6 0 1e-8 uic", ".save v(out)"
RC = "V1 in 0 1\nR1 in out 1000\nC1 out 0 1e-9 ic=0"
TABLE = (
    "A1 %i[out] fs\n.model fs filesource (file={} amploffset=[0] amplscale=[1] timeoffset=0 timescale=1"
    " timerelative=false amplstep=true)"
)
DAYS = "* pulses\nV1 out 0 PULSE(0 1 0 1e-9 1e-9 1e-7 1e-6)\nR1 out 0 1\n.save v(out)\n"
LONG = Deck(f"{DAYS}.tran 1e-9 1000 0 1e-9 uic\n.end\n", ("out",), 1000.0)
"""Days of work: it ends only when somebody ends it."""


def rc(extra: str = "", *, title=TITLE, body=RC, save=SAVE, tran=TRAN, end=".end", nodes=("out",)) -> Deck:
    """A first-order circuit, to be broken in one place."""
    lines = [title, body, extra, save, tran, end]
    return Deck("\n".join(line for line in lines if line) + "\n", nodes, 1e-6)


REPORTED = {
    "unknown device": rc("Y1 out 0 1"),
    "device without nodes": rc("R2 out"),
    "bad value": rc("R2 out 0 abc"),
    "nan value": rc("R2 out 0 nan"),
    "inf value": rc("R2 out 0 inf"),
    "numpy value": rc("R2 out 0 np.float64(1.0)"),
    "missing model": rc("D1 out 0 nomodel"),
    "missing switch model": rc("S1 out 0 in 0 nomodel"),
    "missing include": rc(".include missing.inc"),
    "missing subcircuit": rc("X1 out 0 nosubckt"),
    "missing parameter": rc("R2 out 0 {undefined}"),
    "duplicate name": rc("R1 out 0 5"),
    "duplicate name, another case": rc("r1 out 0 5"),
    "unknown dot card": rc(".unknown 1 2"),
    "loop of voltage sources": rc("V2 in 0 2"),
    "isolated node": rc("R2 a b 1000"),
    "zero capacitance and nothing else": rc("C2 a 0 0\nC3 a b 0"),
    "missing control node": rc("E1 e 0 nosuch 0 1"),
    "controlled source without its control": rc("E1 e 0 1"),
    "PWL that runs backwards": rc("I2 0 out PWL(0 0 2e-7 1e-6 1e-7 0)"),
    "saved vector that is not there": rc(save=".save v(out)\n.save v(nosuch)", nodes=("out", "nosuch")),
    "only a saved vector that is not there": rc(save=".save v(nosuch)"),
    ".tran without times": rc(tran=".tran"),
    ".tran with one time": rc(tran=".tran 1e-8"),
    ".tran that goes backwards": rc(tran=".tran 1e-8 -1e-6 0 1e-8 uic"),
    ".tran without a step": rc(tran=".tran 0 1e-6 0 1e-8 uic"),
    ".tran that ends early": rc(tran=".tran 1e-8 5e-7 0 1e-8 uic"),
    "record that starts after the end": rc(tran=".tran 1e-8 1e-6 5 1e-8 uic"),
    "logarithm of a negative": rc("B1 b 0 v=ln(v(out)-5)\nR2 b 0 1"),
    "unknown function": rc("B1 b 0 v=nosuch(v(out))\nR2 b 0 1"),
    "open parenthesis": rc("B1 b 0 v=((v(out))\nR2 b 0 1"),
    "empty deck": Deck("", ("out",), 1e-6),
    "title only": Deck(f"{TITLE}\n", ("out",), 1e-6),
    "title and end": Deck(f"{TITLE}\n.end\n", ("out",), 1e-6),
    "no .tran": rc(tran=""),
    "first line an element": Deck(f"V1 in 0 1\nR1 in out 1000\n{SAVE}\n{TRAN}\n.end\n", ("out",), 1e-6),
    ".op instead of .tran": rc(tran=".op"),
    ".ac instead of .tran": rc("V2 ac 0 ac 1\nR2 ac 0 1", tran=".ac dec 10 1 1e6"),
    ".dc instead of .tran": rc(tran=".dc V1 0 1 0.1"),
    ".op beside .tran": rc(".op"),
    "missing table": rc(TABLE.format('"t0.txt"')),
    "missing table, upper case": rc(TABLE.format('"/Nowhere/T0.txt"')),
    "unknown code model": rc("A1 out x lost\n.model lost nothing_known"),
    "subcircuit without an end": rc(".subckt part a b\nR2 a b 1"),
    "end without a subcircuit": rc(".ends part"),
    "control block that quits": rc(".control\nquit 0\n.endc"),
    "control block that fails": rc(".control\nrun\nload nosuch.raw\nquit 0\n.endc"),
    "two decks in one": Deck(rc().text + rc().text, ("out",), 1e-6),
}
"""What ngspice says, or what its record shows: noticed even if the text is not read first."""

SILENT = {
    "inductor without a value": rc("L2 out 0"),
    "capacitor without a value": rc("C2 out 0"),
    "negative capacitance": rc("C2 x 0 -1e-9\nR2 x 0 1"),
    "zero capacitance": rc("C2 out 0 0"),
    "PWL of odd length": rc("I2 0 out PWL(0 0 1e-7 1e-6 2e-7)"),
    "division by zero": rc("B1 b 0 v=1/(v(out)-v(out))\nR2 b 0 1"),
    "unit letter behind a value": rc("I2 0 out 1e-6A"),
    "unit letter inside a pulse": rc("I2 0 out PULSE(0A 1e-6A 0 1e-9 1e-9 1e-7 1)"),
    "farad behind a value": rc("C2 out 0 1e-12F"),
    "unicode unit": rc("I2 0 out 1\u00b5"),
    "unknown option": rc(".options x=1"),
    ".meas": rc(".meas tran t when v(out)=0.5"),
    ".func": rc(".func f(x) {x*x}"),
    ".param": rc(".param p=1"),
    ".ic": rc(".ic v(out)=0.3"),
    "two .tran": rc(tran=f".tran 1e-8 5e-7 0 1e-8 uic\n{TRAN}"),
    "no .end": rc(end=""),
    "text behind .end": rc(end=".end\nR2 out 0 1000"),
    "first line of the circuit swallowed as the title": rc(title="R9 out 0 1e3"),
    "comment that is executed": rc("*#echo hello"),
}
"""What ngspice takes without a word, or what this package has no use for: refused by its text alone."""


@pytest.fixture
def wrap(tmp_path):
    """Make a shell script that stands for ngspice; $NG is the real one. --version is always answered."""

    def wrap(script: str, name: str = "simulator") -> str:
        path = tmp_path / name
        real = shutil.which("ngspice")
        path.write_text(
            f"#!/bin/sh\nNG={real}\nMARK={tmp_path}/mark\n"
            f'[ "$1" = --version ] && exec "$NG" --version\n{script}\n'
        )
        path.chmod(0o755)
        return str(path)

    return wrap


@contextlib.contextmanager
def meanwhile(action):
    """Do something in another thread, and see to it that it was done."""
    failed = []

    def guarded():
        try:
            action()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    yield
    thread.join()
    assert not failed


# broken decks


def test_the_circuit_that_is_broken_below_is_sound(folder):
    """Trapezoids at a hundredth of RC against the exponential: (1/100)**2 / 12 = 1e-5."""
    plot = Ngspice().run(rc())
    np.testing.assert_allclose(plot["v(out)"], 1 - np.exp(-plot["time"] / 1e-6), rtol=0, atol=1e-5)


@pytest.mark.parametrize("deck", REPORTED.values(), ids=REPORTED)
def test_a_broken_deck_gives_no_number(folder, deck):
    with pytest.raises((InputError, SimulatorError)):
        Ngspice().run(deck, keep=False)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("deck", REPORTED.values(), ids=REPORTED)
def test_a_broken_deck_that_nobody_read_gives_no_number(folder, unread, deck):
    with pytest.raises(SimulatorError):
        Ngspice().run(deck, keep=False)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("deck", SILENT.values(), ids=SILENT)
def test_a_deck_that_is_broken_in_silence_does_not_run(folder, deck):
    with pytest.raises(InputError, match="deck"):
        Ngspice().run(deck)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("script", "form"),
    [
        (".control\nshell touch mark\n.endc", "{}"),
        ("\t.CoNtRoL\nshell touch mark\n.endc", "{}"),
        ("*#shell touch mark", "{}"),
        (".control\nset x=`touch mark`\n.endc", "{}"),
        (".control\necho > mark\n.endc", "{}"),
        (".include evil.inc", "{}"),
        ("* harmless", "*ng_script\nshell touch mark\n{}"),
        ("* harmless", "*ng_script_with_params\nshell touch mark\n{}"),
    ],
    ids=["control", "case", "comment", "back_ticks", "echo", "include", "title", "title_with_params"],
)
def test_a_deck_that_is_a_program_is_not_run(folder, tmp_path, wrap, script, form):
    """The simulator itself is never started."""
    simulator = Ngspice(wrap('touch $MARK\nexec "$NG" "$@"'))
    good = rc(script)
    with pytest.raises(InputError):
        simulator.run(Deck(form.format(good.text), good.nodes, good.stop))
    assert not (tmp_path / "mark").exists()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("where", [0, 1, 2])
@pytest.mark.parametrize(
    "name", ["duplicate name", "missing subcircuit", ".tran that ends early", "no .tran"]
)
def test_one_broken_deck_among_several_gives_no_number(folder, monkeypatch, where, name):
    decks = [rc(), rc()]
    decks.insert(where, REPORTED[name])
    with pytest.raises((InputError, SimulatorError)):
        Ngspice().run_many(decks)
    monkeypatch.setattr("circuits.spice.ngspice.check", lambda text, files, stop: None)
    with pytest.raises(SimulatorError):
        Ngspice().run_many(decks)


def test_several_sound_decks_give_their_numbers(folder):
    plots = Ngspice().run_many([rc(), rc(), rc()])
    assert all(np.array_equal(plot.values, plots[0].values) for plot in plots)


# broken simulators

AFTER = '"$NG" "$@" || exit 9\n'
BROKEN = {
    "does nothing": ("exit 0", "no raw file"),
    "fails after good work": (AFTER + "exit 3", "exit code 3"),
    "crashes after good work": (AFTER + "kill -SEGV $$", "signal 11"),
    "says that a step was too small": (AFTER + "echo 'Timestep too small' >&2", "too small"),
    "says that it changed the circuit": (AFTER + "echo 'Warning: singular matrix' >&2", "singular"),
    "cuts the record by one byte": (AFTER + "truncate -s -1 out.raw", "data bytes"),
    "cuts the record by one value": (AFTER + "truncate -s -8 out.raw", "data bytes"),
    "cuts the record in its header": (AFTER + "truncate -s 100 out.raw", "raw file"),
    "empties the record": (AFTER + "truncate -s 0 out.raw", "empty"),
    "removes the record": (AFTER + "rm out.raw", "no raw file"),
    "adds words to the record": (AFTER + "printf garbage >> out.raw", "raw file"),
    "adds bytes to the record": (AFTER + "head -c 64 /dev/zero >> out.raw", "raw file"),
    "adds a data block without a header": (AFTER + r"printf 'Binary:\nabcd' >> out.raw", "header"),
    "writes the record twice": (AFTER + "cat out.raw out.raw > twice; mv twice out.raw", "2 plots"),
    "puts NaN into the last value": (
        AFTER
        + r"printf '\000\000\000\000\000\000\370\177' |"
        + " dd of=out.raw bs=1 conv=notrunc seek=$(($(wc -c < out.raw) - 8)) 2> /dev/null",
        "finite",
    ),
    "puts infinity into the last value": (
        AFTER
        + r"printf '\000\000\000\000\000\000\360\177' |"
        + " dd of=out.raw bs=1 conv=notrunc seek=$(($(wc -c < out.raw) - 8)) 2> /dev/null",
        "finite",
    ),
    "does half of the work": (
        "sed -i 's/ 1e-6 0 1e-8 uic/ 5e-7 0 1e-8 uic/' deck.cir\n" + AFTER,
        "run ended at",
    ),
    "writes half of the points": (
        AFTER + "truncate -s $(($(wc -c < out.raw) / 2)) out.raw",
        "data bytes",
    ),
    "says that there are no points": (
        AFTER + "sed -i 's/^No. Points: [0-9]*/No. Points: 0/' out.raw",
        "0 points",
    ),
    "says that there are fewer points": (
        AFTER + "sed -i 's/^No. Points: [0-9]*/No. Points: 20/' out.raw",
        "raw file|run ended",
    ),
    "renames a vector": (AFTER + "sed -i 's/v(out)/v(oui)/' out.raw", "vectors missing"),
    "writes complex numbers": (AFTER + "sed -i 's/^Flags: real/Flags: complex/' out.raw", "complex"),
    "turns time around": (
        AFTER
        + 'head -c "$(grep -abo "Binary:" out.raw | cut -d: -f1)" out.raw > new\n'
        + r"printf 'Binary:\n' >> new"
        + "\nat=$(($(wc -c < new) + 1))\nlast=$(($(wc -c < out.raw) - 16))\n"
        + "tail -c +$at out.raw | head -c $((last + 1 - at)) | tail -c 16 >> new\n"
        + "tail -c +$at out.raw | head -c $((last + 1 - at - 16)) >> new\n"
        + "tail -c 16 out.raw >> new\nmv new out.raw",
        "backwards",
    ),
}


@pytest.mark.parametrize(("script", "said"), BROKEN.values(), ids=BROKEN)
def test_a_broken_simulator_gives_no_number(folder, wrap, script, said):
    with pytest.raises(SimulatorError, match=said):
        Ngspice(wrap(script)).run(rc(), keep=False)
    assert list(folder.iterdir()) == []


def test_a_wrapper_that_breaks_nothing_gives_the_same_bits(folder, wrap):
    """The wrappers above fail for what they break, not for being wrappers."""
    plot, plain = Ngspice(wrap(AFTER)).run(rc()), Ngspice().run(rc())
    assert np.array_equal(plot.values, plain.values)


@pytest.mark.parametrize(
    "script", ["exec sleep 60", "sleep 60 & wait", "trap '' TERM INT; sleep 60; sleep 60"]
)
def test_a_simulator_that_hangs_is_ended_with_its_children(folder, wrap, script):
    """1 s is allowed; a loaded machine gets 10 s to notice."""
    start = time.monotonic()
    with pytest.raises(SimulatorError, match="did not finish in 1 s"):
        Ngspice(wrap(script), timeout=1).run(rc(), keep=False)
    assert time.monotonic() - start < 11
    assert processes_in(folder) == []
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGXCPU], ids=str)
def test_a_simulator_killed_in_mid_run_gives_no_number(folder, blow):
    def strike():
        (record,) = until(lambda: list(folder.glob("*/out.raw")))
        until(lambda: record.stat().st_size > 10_000)  # numbers are being written
        os.kill(until(lambda: processes_in(folder))[0], blow)

    with meanwhile(strike), pytest.raises(SimulatorError, match=f"signal {int(blow)}"):
        Ngspice(timeout=60).run(LONG, keep=False)
    assert processes_in(folder) == []
    assert list(folder.iterdir()) == []


def test_a_program_without_permission_to_run_is_missing(wrap):
    path = wrap(AFTER)
    os.chmod(path, 0o644)
    with pytest.raises(SimulatorMissing, match="no ngspice program found"):
        Ngspice(path)


def test_a_program_that_loses_its_permission_is_reported(folder, wrap):
    path = wrap(AFTER)
    simulator = Ngspice(path)
    os.chmod(path, 0o644)
    with pytest.raises(SimulatorError, match="cannot be started"):
        simulator.run(rc(), keep=False)
    os.remove(path)
    with pytest.raises(SimulatorError, match="cannot be started"):
        simulator.run(rc(), keep=False)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("other", ["true", "false", "cat", "sleep"])
def test_a_program_that_is_not_ngspice_gives_no_number(folder, other):
    with pytest.raises(SimulatorMissing, match="does not answer as ngspice"):
        Ngspice(shutil.which(other), timeout=10).run(rc(), keep=False)
    assert list(folder.iterdir()) == []


def test_a_program_of_no_format_is_reported(folder, tmp_path):
    path = tmp_path / "simulator"
    path.write_bytes(bytes(64))
    path.chmod(0o755)
    with pytest.raises(SimulatorMissing, match="cannot be run"):
        Ngspice(str(path)).run(rc(), keep=False)


@pytest.mark.parametrize("path", ["/nowhere/ngspice", "/", "nosuchprogram"])
def test_no_program_is_a_missing_program(path):
    with pytest.raises(SimulatorMissing, match="no ngspice program found"):
        Ngspice(path)


# broken disks


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """Mount a small disk as the place for run folders."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(options: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        if os.geteuid() != 0 or not shutil.which("mount"):
            pytest.skip("a small disk cannot be mounted here")
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip("a small disk cannot be mounted here")
        run_folders_in(place, monkeypatch)
        return place

    yield mount
    if os.path.ismount(place):
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("size", ["4k", "8k", "16k", "64k", "256k"])
def test_a_disk_that_fills_up_gives_no_number(disk, size):
    """A record of 1.6 MB: full in the deck, in the header, or in the data; ngspice may exit with 0."""
    disk(f"size={size}")
    with pytest.raises(SimulatorError):
        Ngspice().run(rc(tran=".tran 1e-11 1e-6 0 1e-11 uic"), keep=False)


def test_a_disk_that_cannot_be_written_gives_no_number(disk):
    disk("ro")
    with pytest.raises(SimulatorError, match=r"cannot make a run folder.*set TMPDIR"):
        Ngspice().run(rc())


def test_a_folder_with_upper_case_letters_and_spaces_works(tmp_path, monkeypatch, rng, make_layer):
    """ngspice lower-cases absolute paths: tables are named without one. 1e-12 of the window: rounding."""
    place = tmp_path / "My Disk" / "TMP"
    place.mkdir(parents=True)
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setattr(tempfile, "tempdir", None)
    layer, times = make_layer(rng, 5, 12)
    found = simulate(layer, times, IdealNeuron(POINT, "table"))
    theory = closed_form.response(layer, times, POINT)
    assert np.max(np.abs(found.v_t_min - theory.v_t_min)) <= 1e-12 * (layer.t_min + layer.window)
    assert list(place.iterdir()) == []


# surroundings


def test_a_start_up_file_in_the_run_folder_is_not_executed(folder, tmp_path, wrap):
    script = 'echo "shell touch $MARK" > .spiceinit; cp .spiceinit spice.rc; exec "$NG" "$@"'
    assert len(Ngspice(wrap(script)).run(rc())["time"]) > 10
    assert not (tmp_path / "mark").exists()


def test_a_start_up_file_in_the_home_folder_is_not_executed(folder, tmp_path, monkeypatch):
    (tmp_path / ".spiceinit").write_text(f"shell touch {tmp_path}/mark\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(Ngspice().run(rc())["time"]) > 10
    assert not (tmp_path / "mark").exists()


def test_ngspice_sees_one_thread_the_c_locale_and_nobodys_home(folder, tmp_path, monkeypatch, wrap):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("OMP_THREAD_LIMIT", "8")
    monkeypatch.setenv("SPICE_SCRIPTS", "/nonexistent")
    monkeypatch.setenv("SECRET", "secret")
    Ngspice(wrap('env > $MARK; pwd >> $MARK; exec "$NG" "$@"')).run(rc())
    lines = (tmp_path / "mark").read_text().splitlines()
    seen = dict(line.split("=", 1) for line in lines if "=" in line)
    assert seen["OMP_THREAD_LIMIT"] == "1"
    assert seen["LC_ALL"] == "C"
    assert seen["HOME"] == "/nonexistent"
    assert set(seen) <= {"OMP_THREAD_LIMIT", "LC_ALL", "HOME", "PATH", "PWD", "OLDPWD", "SHLVL", "_"}
    assert Path(lines[-1]).parent == folder


NO_XSPICE = 'SPICE_SCRIPTS=/nonexistent SPICE_LIB_DIR=/nonexistent exec "$NG" "$@"'


def test_without_code_models_the_table_form_fails_and_the_default_falls_back(folder, rng, make_layer, wrap):
    """The other form gives the same numbers: 1e-12 of the window, rounding of the summed currents."""
    simulator = Ngspice(wrap(NO_XSPICE))
    layer, times = make_layer(rng, 6, 20)
    cell = layer_cell(layer, stimulus(layer, times, POINT), POINT, _perfect(layer))
    with pytest.raises(SimulatorError):
        simulator.run(build(cell, "table"), keep=False)
    with pytest.raises(SimulatorError):
        simulator.run_many([build(cell, "table")])
    assert fast_form(simulator.program) == "pwl"
    assert fast_form(Ngspice().program) == "table"
    found = simulate(layer, times, POINT, simulator=simulator)
    theory = closed_form.response(layer, times, POINT)
    unit = layer.t_min + layer.window
    fired = np.isfinite(theory.delay)
    assert np.array_equal(np.isfinite(found.delay), fired)
    assert np.all(np.abs(found.delay[fired] - theory.delay[fired]) <= 1e-12 * unit)
    assert np.all(np.abs(found.v_t_min - theory.v_t_min) <= 1e-12 * unit)


def test_without_code_models_many_decks_in_one_process_fall_back_too(folder, rng, wrap):
    """Two layers, three chips: 1e-12 a unit of the windows."""
    simulator = Ngspice(wrap(NO_XSPICE))
    layers, points = _chain(rng), [POINT] * 2
    perfect = [_perfect(layer, 3) for layer in layers]
    for item in perfect:
        item.synapse[:] = 0.05 * rng.normal(size=item.synapse.shape)
    x = rng.random((2, 8))
    circuit = dict(feed_forward(layers, points, x, perfect, simulator=simulator))
    theory = dict(feed_forward(layers, points, x, perfect, level="closed-form"))
    for image in theory:
        for a, b in zip(circuit[image], theory[image], strict=True):
            assert np.array_equal(np.isfinite(a.delay), np.isfinite(b.delay))
            assert np.max(np.abs(a.v_t_min - b.v_t_min)) <= 1e-12 * 5


def _perfect(layer, samples: int = 1):
    shape = (samples, layer.n_out)
    return LayerMismatch(np.zeros((samples, *layer.weights.shape)), *(np.zeros(shape) for _ in range(3)))


def _chain(rng):
    return [
        Layer(rng.normal(size=(6, 8)) / 3, 0.3 * rng.normal(size=6), t_min=1.0, t_max=5.0),
        Layer(rng.normal(size=(4, 6)) / 3, 0.3 * rng.normal(size=4), t_min=4.0, t_max=4.0, spiking=False),
    ]


# stopped from outside


@pytest.mark.parametrize("many", [False, True])
def test_cancelling_from_another_thread_leaves_nothing(folder, many):
    simulator = Ngspice(timeout=60)

    def cancel():
        until(lambda: processes_in(folder))
        simulator.cancel()

    run = (lambda: simulator.run_many([LONG, LONG])) if many else (lambda: simulator.run(LONG))
    with meanwhile(cancel), pytest.raises(SimulatorError, match="canceled"):
        run()
    assert processes_in(folder) == []
    assert list(folder.iterdir()) == []


def test_a_failure_beside_long_runs_leaves_nothing(folder):
    simulator = Ngspice(timeout=60)

    def fails():
        until(lambda: processes_in(folder))
        return simulator.run(rc("V2 in 0 2"), keep=False)

    tasks = [lambda: simulator.run(LONG), fails, lambda: simulator.run(LONG)]
    with pytest.raises(SimulatorError):
        list(parallel(tasks, 2, simulator))
    assert processes_in(folder) == []
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("blows", [1, 2])
def test_control_c_in_a_campaign_leaves_no_process(folder, tmp_path, blows):
    """The signal reaches Python only, as ngspice runs in a session of its own."""
    code = (
        "import sys; from circuits.pdk.technology import Technology;"
        "from montecarlo.campaign.campaign import Campaign;"
        "Campaign.characterize(Technology.load('ideal'), 2_000, 5).run(sys.argv[1], workers=2)"
    )
    words = tmp_path / "words"
    with words.open("wb") as sink:
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "store")],
            env={**os.environ, "TMPDIR": str(folder)},
            stderr=sink,
            start_new_session=True,
        )
    try:
        until(lambda: len(processes_in(folder)) == 2)  # both workers: well behind the self-test
        for _ in range(blows):
            child.send_signal(signal.SIGINT)
            time.sleep(0.02)
        child.wait(30)
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    assert child.returncode != 0
    assert b"KeyboardInterrupt" in words.read_bytes()
    assert processes_in(folder) == []
    if blows == 1:
        assert list(folder.iterdir()) == []
