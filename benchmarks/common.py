"""What benchmarks share: CPU time of this process and its children, and a test problem."""

import os
import resource
from collections.abc import Callable

import numpy as np

from circuits.model.layer import Array, Layer, LayerMismatch
from circuits.model.operating_point import OperatingPoint

# one transient of a neuron: input window 1 tau_c, firing window 1.2 tau_c, sigma 5 % throughout
POINT = OperatingPoint(tau_c=1e-6, c_mem=1e-12, i_unit=1e-6, v_reset=0.3, v_low=0.01, v_high=1.2)


def cpu() -> float:
    """CPU seconds of Python and all ngspice processes so far."""
    used = (resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(u.ru_utime + u.ru_stime for u in used)


def cost(task: Callable[[], object], units: int, repeats: int = 3) -> float:
    """Median CPU milliseconds per unit."""
    spent = []
    for _ in range(repeats):
        before = cpu()
        task()
        spent.append((cpu() - before) / units)
    return 1e3 * float(np.median(spent))


def problem(n_in: int, samples: int, seed: int = 0) -> tuple[Layer, Array, LayerMismatch]:
    """One neuron with shared inputs, and `samples` mismatched copies of it."""
    rng = np.random.default_rng(seed)
    layer = Layer(rng.normal(size=(1, n_in)) / np.sqrt(n_in), [0.5], t_min=1.0, t_max=2.2)
    times = rng.uniform(0.05, 0.95, n_in)
    neuron = (0.05 * rng.normal(size=(samples, 1)) for _ in range(3))
    return layer, times, LayerMismatch(0.05 * rng.normal(size=(samples, 1, n_in)), *neuron)


def machine() -> str:
    """A line about where this ran."""
    return f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
