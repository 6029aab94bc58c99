"""`simulate` on random layer files: the circuit and the closed form say the same."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ttfs_analog.cli.app import main


def random_file(path, seed: int) -> dict:
    rng = np.random.default_rng(seed)
    n_in, n_out = int(rng.integers(1, 65)), int(rng.integers(1, 20))
    t_min, window = float(rng.uniform(0.5, 5)), float(rng.uniform(0.5, 8))
    times = [float(t) if rng.random() > 0.3 else None for t in rng.uniform(0, t_min, n_in)]
    if seed == 0:
        times = [None] * n_in
    content = {
        "weights": (rng.normal(size=(n_out, n_in)) * 2 / np.sqrt(n_in)).tolist(),
        "bias": (rng.normal(size=n_out) - (1000 if seed == 1 else 0)).tolist(),
        "spike_times": times,
        "t_min": t_min,
        "t_max": t_min + window,
        "slope": float(rng.uniform(0.5, 2)),
    }
    path.write_text(json.dumps(content))
    return content


@pytest.mark.parametrize("seed", range(20))
def test_circuit_and_closed_form_agree(tmp_path, capsys, seed):
    """1e-12 of the window; 1e-6 tau_c is what is promised."""
    path = tmp_path / "layer.json"
    content = random_file(path, seed)
    chip = [] if seed % 2 else ["--chip", str(seed)]
    found = {}
    for level in ("ngspice", "closed-form"):
        assert main(["simulate", str(path), "--level", level, "--json", *chip]) == 0
        found[level] = json.loads(capsys.readouterr().out)
    a, b = found["ngspice"], found["closed-form"]
    assert len(a["spike_times"]) == len(content["bias"])
    silent = [t is None for t in b["spike_times"]]
    assert [t is None for t in a["spike_times"]] == silent
    if seed == 1:
        assert all(silent)
    for t, u in zip(a["spike_times"], b["spike_times"], strict=True):
        if t is not None:
            assert abs(t - u) <= 1e-12 * content["t_max"]
            assert content["t_min"] <= t < content["t_max"]
    np.testing.assert_allclose(a["v_t_min"], b["v_t_min"], rtol=0, atol=1e-12 * content["t_max"])
    assert a["energy_j"] == pytest.approx(b["energy_j"], rel=1e-9, abs=0)
