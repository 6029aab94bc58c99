"""A campaign of transistors that obeys the one equation exactly: no simulator is needed, and all is known."""

from __future__ import annotations

import numpy as np
import xarray as xr

from circuits.benches.bias_lines import LINES
from circuits.benches.neuron_waveforms import SUPPLIES
from circuits.model.closed_form import Constants, charges, ramp_times
from circuits.model.layer import Layer, LayerMismatch
from circuits.pdk.technology import Technology
from montecarlo.campaign.campaign import Campaign
from montecarlo.campaign.neuron_under_test import coordinates
from montecarlo.campaign.rows import Rows
from montecarlo.campaign.schema import PHASES, empty
from montecarlo.campaign.transistor_protocol import INPUT_WINDOW, WINDOW
from montecarlo.campaign.transistor_runs import TransistorsUnderTest
from montecarlo.extraction.delay_law import FACTOR
from montecarlo.extraction.from_operating_points import SHORTEST
from montecarlo.mismatch.law import MismatchLaw

CONSTANTS = Constants(
    theta_scale=1.02,
    gain_source=0.99,
    gain_sink=1.01,
    turn_on_source=0.04,
    turn_on_sink=0.05,
    feed_through_source=0.004,
    feed_through_sink=-0.003,
    kick=-0.04,
    bend_theta=0.02,
    bend_charge=-0.015,
    shortest=SHORTEST,
    delay=0.15,
)
LAW = MismatchLaw(0.03, 0.025, 0.03, 0.05, 0.001, delay=0.012, units=8)
DELAYS = {"tail": -0.5, "slope": 0.4, "n_cmp_m1": 3.0, "n_cmp_m3": -2.0, "n_latch_m13:factor": 0.3}
"""Law of delays: coefficients as of `montecarlo.extraction.delay_law`, without the intercept."""
REFERENCES = (0.03, 0.02, 0.04, 0.05, 0.07)
JITTER = 0.005
ENERGY = {
    ("source", "synapse"): 0.98,
    ("source", "slope"): 0.96,
    ("source", "switching"): 1.6e-15,
    ("comparator", "bias"): 4e-7,
    ("comparator", "switching"): 4e-15,
    ("latch", "switching"): 1e-14,
}


def campaign(samples: int, entropy: int = 0) -> xr.Dataset:
    """A dataset of generic130 with the constants, law and energies above."""
    plan = Campaign.characterize(Technology.load("generic130"), samples, entropy)
    neuron, rng = TransistorsUnderTest(plan), np.random.default_rng(entropy)
    stim, point = neuron.stimuli, plan.point
    pattern = np.arange(samples) % plan.patterns
    weights = stim.weights[pattern]
    drawn = LAW.draw(weights, rng)
    mismatch = LayerMismatch(**{k: v[None] for k, v in drawn.items()})

    def times(weights, x, theta, mismatch=None):
        layer = Layer(weights, WINDOW - theta, t_min=INPUT_WINDOW, t_max=INPUT_WINDOW + WINDOW)
        charge = charges(layer, x, mismatch, CONSTANTS)
        charge = np.diagonal(charge) if mismatch is None else charge
        return ramp_times(layer, charge, mismatch, CONSTANTS) + CONSTANTS.delay

    x = np.where(np.isfinite(stim.input_time), INPUT_WINDOW - stim.input_time, 0.0)
    nominal_x = np.where(np.isfinite(stim.nominal_input_time), INPUT_WINDOW - stim.nominal_input_time, 0.0)
    spike = np.stack([times(weights, row, np.ones(samples), mismatch)[0] for row in x], axis=1)
    attrs = {
        "technology": plan.technology,
        "operating_point": point.to_json(),
        "entropy": entropy,
        "plan": plan.to_json(),
        "plan_hash": plan.hash,
        "ngspice_version": "none",
        "package_version": "none",
        "extraction": "operating_points",
        "t_min": INPUT_WINDOW,
        "window": WINDOW,
        "level": "closed-form",
    }
    lengths = {"sample": samples, "nominal": plan.nominal, "trial": plan.trials}

    dataset = empty(lengths, coordinates(neuron), stim.inputs, attrs)
    values = {
        "spike_time": spike,
        "delay": CONSTANTS.delay + np.repeat(drawn["delay"][:, None], len(x), axis=1),
        "nominal_spike_time": times(stim.nominal_weight, nominal_x, stim.nominal_theta),
        "trial_spike_time": 1.0 + JITTER * rng.standard_normal(plan.trials),
        "deviation_reference": np.expm1(np.array(REFERENCES) * rng.standard_normal((samples, len(LINES)))),
        "energy": energies(weights, 1.0 + drawn["synapse"], x, 1.0 + drawn["slope"], spike, point),
    }
    values |= {f"deviation_{k}": v for k, v in drawn.items() if k != "delay"}
    values |= comparators(drawn, neuron.devices, np.random.default_rng([entropy, 1]))
    for name, value in values.items():
        dataset[name].values[...] = value
    for name in ("status", "nominal_status", "trial_status"):
        dataset[name].values[:] = 0
    assert tuple(dataset["line"].values) == LINES
    return dataset


READ_OUT = Constants(
    gain_source=0.99, gain_sink=1.01, turn_on_source=0.04, turn_on_sink=0.05, feed_through_source=0.004,
    feed_through_sink=-0.003, bend_charge=0.01, kick=0.02,
)  # fmt: skip
"""Of read-outs; shortest is that of the circuit."""
READ_OUT_LAW = MismatchLaw(0.03, 0.025, capacitance=0.01, units=8)


def read_out_plan(samples: int, entropy: int = 0, patterns: int = 4, count: int = 8) -> Campaign:
    """A campaign on a layer of read-outs with random weights and inputs."""
    rng = np.random.default_rng(entropy)
    weights = rng.integers(-3, 4, (patterns, 8)) / 8
    times = np.where(
        rng.random((patterns, count, 8)) < 0.3, np.inf, rng.uniform(0, 1.4, (patterns, count, 8))
    )
    rows = Rows(
        layer=1, neurons=tuple(range(patterns)), units=8, most=2.0, t_min=1.5, window=0.0, delay=0.0,
        weights=tuple(map(tuple, weights.tolist())), theta=(0.0,) * patterns,
        input_time=tuple(tuple(map(tuple, p)) for p in times.tolist()), lowest=0.0, spiking=False,
    )  # fmt: skip
    return Campaign(
        "generic130", Technology.load("generic130").operating_point, samples, entropy=entropy,
        patterns=patterns, random=count, batch=16, corner="tt", temperature=27.0, area=1.0,
        nominal=patterns * count, trials=30, rows=rows,
    )  # fmt: skip


def read_outs(samples: int, entropy: int = 0) -> xr.Dataset:
    """Its dataset with the constants and the law above."""
    plan = read_out_plan(samples, entropy)
    neuron, rng = TransistorsUnderTest(plan), np.random.default_rng(entropy)
    stim, point = neuron.stimuli, plan.point
    pattern = np.arange(samples) % plan.patterns
    weights = stim.weights[pattern]
    drawn = READ_OUT_LAW.draw(weights, rng)

    def sampled(weights, times, synapse=0.0, capacitance=0.0):
        """By hand; pulses shorter than two edges count as silent, but there are none."""
        x = np.where(np.isfinite(times), stim.t_min - times, 0.0)
        above, on = weights > 0, (x > 0) & (weights != 0)
        k = READ_OUT
        own = weights * (1 + synapse) * np.where(above, k.gain_source, k.gain_sink) * x
        extra = weights * np.where(above, k.turn_on_source, k.turn_on_sink)
        extra = extra + np.where(above, k.feed_through_source, k.feed_through_sink)
        q = (own + np.where(on, extra, 0.0)).sum(-1)
        return (q - k.bend_charge * q**2 - k.kick) / (1 + capacitance)

    attrs = {
        "technology": plan.technology, "operating_point": point.to_json(), "entropy": entropy,
        "plan": plan.to_json(), "plan_hash": plan.hash, "ngspice_version": "none", "package_version": "none",
        "extraction": neuron.extraction, "t_min": stim.t_min, "window": stim.window, "level": "closed-form",
    }  # fmt: skip
    lengths = {"sample": samples, "nominal": plan.nominal, "trial": plan.trials}
    dataset = empty(lengths, coordinates(neuron), stim.inputs, attrs)
    times, e = stim.input_time[pattern], drawn["synapse"][:, None]
    x = np.where(np.isfinite(times), stim.t_min - times, 0.0)
    turned_on = READ_OUT.turn_on_source * (x > 0)
    charge = np.maximum(weights[:, None], 0.0) * ((1 + e) * READ_OUT.gain_source * x + turned_on)
    joules = np.zeros((samples, len(stim.label), len(SUPPLIES), len(PHASES)))
    joules[..., 0, 0] = ENERGY["source", "synapse"] * point.unit_energy * charge.sum(-1)
    joules[..., 0, 1] = ENERGY["source", "switching"] * point.vdd**2
    values = {
        "spike_time": np.inf,
        "v_t_min": sampled(weights[:, None], times, e, drawn["capacitance"][:, None]),
        "nominal_v_t_min": sampled(stim.nominal_weight, stim.nominal_input_time),
        "trial_v_t_min": 0.3 + JITTER * rng.standard_normal(plan.trials),
        "deviation_synapse": drawn["synapse"],
        "deviation_capacitance": drawn["capacitance"],
        "deviation_reference": np.expm1(np.array(REFERENCES) * rng.standard_normal((samples, len(LINES)))),
        "energy": joules,
    }
    for name, value in values.items():
        dataset[name].values[...] = value
    for name in ("status", "nominal_status", "trial_status"):
        dataset[name].values[:] = 0
    return dataset


def comparators(drawn, devices, rng):
    """Devices of comparators that make the drawn delays by the law above: tail currents take the rest."""
    samples = len(drawn["delay"])
    shift = 0.01 * rng.standard_normal((samples, len(devices)))
    factor = np.exp(0.02 * rng.standard_normal((samples, len(devices))))
    total = np.log1p(drawn["delay"] / CONSTANTS.delay) - DELAYS["slope"] * np.log1p(drawn["slope"])
    for name, coefficient in DELAYS.items():
        if name not in ("tail", "slope"):
            path = name.removesuffix(FACTOR)
            column = shift[:, devices.index(path)] if path == name else np.log(factor[:, devices.index(path)])
            total = total - coefficient * column
    return {"shift": shift, "factor": factor, "deviation_tail": np.expm1(total / DELAYS["tail"])}


def energies(weights, synapse, x, slope, spike, point):
    """Supply energies of the coefficients above, shape (sample, stimulus, supply, phase) [J]."""
    result = np.zeros((*spike.shape, len(SUPPLIES), len(PHASES)))
    sources = np.maximum(weights, 0.0)
    charge = CONSTANTS.gain_source * (sources * synapse) @ x.T
    charge = charge + CONSTANTS.turn_on_source * sources @ (x > 0).T
    result[:, :, 0, 0] = ENERGY["source", "synapse"] * point.unit_energy * charge
    ramp = ENERGY["source", "slope"] * point.unit_energy * slope[:, None] * spike
    result[:, :, 0, 1] = ramp + ENERGY["source", "switching"] * point.vdd**2
    bias = ENERGY["comparator", "bias"] * point.vdd * point.tau_c * spike
    result[:, :, 1, 1] = bias + ENERGY["comparator", "switching"] * point.vdd**2
    result[:, :, 2, 1] = ENERGY["latch", "switching"] * point.vdd**2
    return result
