"""CPU per Monte Carlo sample of an ideal neuron, against the ways people usually do it, in one run.

    python benchmarks/neuron_throughput.py

(i)   the loop a PySpice user writes: one PULSE source per synapse, deck by PySpice, one process a sample
(ii)  one bare ngspice process a sample, deck from a string, currents lumped into one PWL source
(iii) PySpice on the shared library (needs libngspice; left out where it cannot be loaded)

PySpice 1.5 cannot read what ngspice 39 prints in its own subprocess mode, so (i) is given this package's
raw reader, which is faster. All of them measure the crossing in Python.
"""

import os
import subprocess
import tempfile
import warnings
from pathlib import Path

import numpy as np
from common import POINT, cost, machine, problem

os.environ.setdefault("NGSPICE_LIBRARY_PATH", "libngspice.so.0")
os.environ["OMP_THREAD_LIMIT"] = "1"

from PySpice.Spice.Netlist import Circuit

from circuits.model import closed_form
from circuits.simulation import simulate
from circuits.spice.ngspice import Ngspice
from circuits.spice.rawfile import parse

SIZES = {4: (4096, 24), 64: (2048, 16), 340: (1024, 8), 784: (1024, 6)}
"""Synapses -> samples for this package, samples for the loops."""
EDGE = 10e-12
BAR = {4: 0.08, 64: 0.15, 340: 0.6, 784: 1.3}
STOP = 2.2e-6


def crossing(time: np.ndarray, volts: np.ndarray, threshold: float) -> float:
    """First crossing by linear interpolation."""
    k = int(np.argmax(volts >= threshold))
    share = (threshold - volts[k - 1]) / (volts[k] - volts[k - 1])
    return float(time[k - 1] + share * (time[k] - time[k - 1]))


def values(layer, times, mismatch, k: int):
    """Amperes, farads, seconds and volts of sample k."""
    amps = POINT.i_unit * layer.weights[0] * (1 + mismatch.synapse[k, 0])
    ramp = POINT.i_unit * (1 + mismatch.slope[k, 0])
    farad = POINT.c_mem * (1 + mismatch.capacitance[k, 0])
    trip = POINT.volts(layer.theta[0] + mismatch.threshold[k, 0] / (1.0 + mismatch.capacitance[k, 0]))
    return amps, ramp, farad, times * POINT.tau_c, trip


def by_pyspice(sample) -> Circuit:
    """The netlist a PySpice user writes."""
    amps, ramp, farad, t, _ = sample
    circuit = Circuit("neuron")
    circuit.C("m", "m", circuit.gnd, farad, raw_spice=f"ic={POINT.v_reset}")
    for j, (i, start) in enumerate(zip(amps.tolist(), t.tolist(), strict=True)):
        shape = f"PULSE(0 {i!r} {start!r} {EDGE!r} {EDGE!r} {1e-6 - start!r} 1)"
        circuit.I(str(j), circuit.gnd, "m", shape)
    circuit.I("b", circuit.gnd, "m", f"PULSE(0 {float(ramp)!r} 1e-06 {EDGE!r} {EDGE!r} 1 2)")
    return circuit


def by_string(sample) -> str:
    """The deck of a bare process: the same currents as one piecewise linear source."""
    amps, ramp, farad, t, _ = sample
    order = np.argsort(t)
    level = np.concatenate([[0.0], np.cumsum(amps[order])]).tolist()
    points = ["0 0"]
    for k, start in enumerate(t[order].tolist()):
        at = max(start, float(points[-1].split()[0]) + 1e-15)  # two edges may lie within one ramp
        points += [f"{at!r} {level[k]!r}", f"{at + EDGE!r} {level[k + 1]!r}"]
    points += [f"1e-06 {level[-1]!r}", f"{1e-6 + EDGE!r} {float(ramp)!r}"]
    text = "\n+ ".join(points)
    return f"* neuron\nCm m 0 {float(farad)!r} ic={POINT.v_reset}\nIs 0 m PWL({text})\n{TAIL}"


TAIL = f".save v(m)\n.tran {STOP / 50!r} {STOP!r} 0 {STOP!r} uic\n.end\n"


def process(deck: str, threshold: float) -> float:
    """One ngspice process."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "d.cir").write_text(deck)
        command = ["ngspice", "-n", "-b", "-r", "o.raw", "d.cir"]
        subprocess.run(command, cwd=folder, capture_output=True, stdin=subprocess.DEVNULL, check=True)
        plot = parse((Path(folder) / "o.raw").read_bytes())[0]
    return crossing(plot["time"], plot["v(m)"], threshold)


def shared(sample) -> float:
    """PySpice on libngspice."""
    simulator = by_pyspice(sample).simulator(simulator="ngspice-shared")
    analysis = simulator.transient(
        step_time=STOP / 50, end_time=STOP, max_time=STOP, use_initial_condition=True
    )
    return crossing(np.array(analysis.time), np.array(analysis["m"]), sample[4])


def has_shared(sample) -> bool:
    """Whether PySpice can load libngspice here."""
    try:
        shared(sample)
    except Exception as error:
        print(f"(iii) left out: {type(error).__name__}: {str(error).splitlines()[0][:80]}")
        return False
    return True


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore")
    import logging

    logging.disable(logging.CRITICAL)
    print(f"CPU ms per neuron sample ({machine()}); ratio to this package in brackets")
    print(
        f"{'K':>4} {'this package':>14} {'bar':>6} {'(i) PySpice loop':>20} {'(ii) process':>18} "
        f"{'(iii) shared':>18}  largest error [tau_c]"
    )
    simulator = Ngspice()
    with_shared = None
    for n_in, (many, few) in SIZES.items():
        layer, times, mismatch = problem(n_in, many)
        simulate(layer, times, POINT, mismatch[:2], simulator=simulator)  # self-test, imports
        own = cost(lambda: simulate(layer, times, POINT, mismatch, simulator=simulator), many)  # noqa: B023
        samples = [values(layer, times, mismatch, k) for k in range(few)]
        if with_shared is None:
            with_shared = has_shared(samples[0])
        loops = {
            "i": lambda: [process(f"{by_pyspice(s)}{TAIL}", s[4]) for s in samples],  # noqa: B023
            "ii": lambda: [process(by_string(s), s[4]) for s in samples],  # noqa: B023
        }
        if with_shared:
            loops["iii"] = lambda: [shared(s) for s in samples]  # noqa: B023
        found = {k: cost(loop, few, 1) for k, loop in loops.items()}
        exact = closed_form.response(layer, times, POINT, mismatch).delay[:, 0]
        circuit = simulate(layer, times, POINT, mismatch, simulator=simulator).delay[:, 0]
        cells = [f"{v:.2f} ({v / own:.0f}x)" for v in found.values()]
        print(
            f"{n_in:>4} {own:>14.3f} {BAR[n_in]:>6} {cells[0]:>20} {cells[1]:>18} "
            f"{cells[2] if with_shared else '-':>18}  {np.nanmax(np.abs(circuit - exact)):.1e}"
        )
        checks = [loops[k]() for k in loops]
        for values_ in checks:  # the loops simulate the same neuron, if less exactly
            t = np.array(values_) / POINT.tau_c - 1.0
            assert np.max(np.abs(t - exact[:few])) < 1e-3


if __name__ == "__main__":
    main()
