"""Calibration: planted devices are found again, within intervals that are true."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from circuits.errors import InputError
from ttfs_analog.calibration.calibrate import calibrate
from ttfs_analog.calibration.estimate import estimate
from ttfs_analog.calibration.measurement import measure, read_times, write_patterns, write_times
from ttfs_analog.calibration.patterns import choose
from ttfs_analog.evaluation.accuracy import evaluate
from ttfs_analog.training.trimming import trimmed


@pytest.fixture(scope="module")
def loud(make_noise):
    return make_noise(0.08)


@pytest.fixture(scope="module")
def plans(net, digits, loud):
    return choose(net, digits.x_train, 8, loud)


@pytest.fixture(scope="module")
def chips(net, loud):
    return loud.sample(net, 20, seed=3)


def test_slopes_and_offsets_lie_in_their_intervals(net, loud, plans, chips):
    """Of 20 chips x 16 neurons: coverage within four standard errors of 95 %."""
    hits, known, widths = [], [], []
    for k, chip in enumerate(chips):
        found = calibrate(net, loud, plans, measure(net, chip, plans, error=0.01, seed=k), error=0.01)
        layer, truth = found.layers[0], chip.layers[0]
        low, high = layer.interval("slope")
        beta = torch.as_tensor(truth.slope[0])
        hits.append((beta >= low) & (beta <= high))
        known.append(layer.measured > 2)
        widths.append(layer.slope_sd / plans[0].prior.slope2.sqrt())
    share = float(torch.cat(hits).double().mean())
    assert abs(share - 0.95) < 4 * (0.95 * 0.05 / 320) ** 0.5
    assert float(torch.cat(widths)[torch.cat(known)].mean()) < 0.8  # narrower than before


def test_estimated_slopes_have_no_bias(net, make_noise, digits):
    """Large errors: a regression on the measured times themselves would find slopes too low, all of them."""
    large = make_noise(0.2)
    some, apart = choose(net, digits.x_train, 8, large), []
    for k, chip in enumerate(large.sample(net, 40, seed=4)):
        times = measure(net, chip, some, error=0.01, seed=k)
        found = calibrate(net, large, some, times, error=0.01).layers[0]
        apart.append((found.slope - torch.as_tensor(chip.layers[0].slope[0]))[found.measured > 3])
    error = torch.cat(apart)
    assert abs(float(error.mean())) < 0.01


def test_exact_times_of_perfect_synapses_give_the_devices(net, loud, plans, chips):
    truth = chips[0]
    layers = [replace(m, synapse=0.0 * m.synapse, capacitance=0.0 * m.capacitance) for m in truth.layers]
    chip = replace(truth, layers=tuple(layers))
    quiet = replace(loud, terms={k: t for k, t in loud.terms.items() if "synapse" not in k})
    small = {k: replace(t, std=1e-6, std_ci=(1e-6, 1e-6)) for k, t in loud.terms.items() if "synapse" in k}
    quiet = replace(quiet, terms={**quiet.terms, **small})
    some = choose(net, torch.rand(400, 64, dtype=torch.float64), 8, quiet)
    found = calibrate(net, quiet, some, measure(net, chip, some), error=1e-7).layers[0]
    ramps = net.windows[0] - some[0].expected
    apart = (ramps.amax(0) - ramps.amin(0) > 0.3) & (found.measured > 3)
    assert int(apart.sum()) > 3
    assert torch.allclose(found.slope[apart], torch.as_tensor(chip.layers[0].slope[0])[apart], atol=1e-3)
    assert torch.allclose(found.offset[apart], torch.as_tensor(chip.layers[0].threshold[0])[apart], atol=1e-3)


def test_a_trim_of_what_was_measured_is_nearly_that_of_the_truth(net, loud, plans, chips, digits):
    before, truth, seen = [], [], []
    for k, chip in enumerate(chips[:8]):
        found = calibrate(net, loud, plans, measure(net, chip, plans, error=0.01, seed=k), error=0.01)
        best = trimmed(net, chip, digits.x_train)
        own = trimmed(net, chip, digits.x_train, seen=found.chip)
        for values, one in ((before, chip), (truth, best), (seen, own)):
            values.append(float(evaluate(net, digits, one)["accuracy"][0]))
    assert np.mean(truth) - np.mean(seen) < 0.25 * (np.mean(truth) - np.mean(before))


def test_a_silent_spike_says_what_an_integral_says(net, loud, plans):
    """The moments of a' and beta' where one pattern is known to stay silent, on a grid."""
    plan, i, p = plans[0], 0, 0
    window, prior = net.windows[0], plans[0].prior
    measured = torch.full_like(plan.expected, torch.nan)
    measured[p, i] = 0.0
    alone = replace(prior, shared2=0.0)
    found = estimate(alone, plan.expected, measured, error := 0.01 * window)
    a = torch.linspace(-8, 8, 1601, dtype=torch.float64)[:, None] * prior.offset2[i].sqrt()
    beta = torch.linspace(-8, 8, 401, dtype=torch.float64)[None] * prior.slope2[i].sqrt()
    before = window - plan.expected[p, i]
    spread = (prior.covariance[i, p, p] + error**2).sqrt()
    silent = torch.special.ndtr((before + a - before * beta - window) / spread)
    share = torch.exp(-0.5 * (a**2 / prior.offset2[i] + (beta - prior.slope) ** 2 / prior.slope2[i])) * silent
    share = share / share.sum()
    gain = 1.0 / (1.0 + float(found.slope[i]))
    assert gain == pytest.approx(1.0 - float((beta * share).sum()), rel=1e-4)
    assert float(found.offset[i]) * gain == pytest.approx(float((a * share).sum()), rel=1e-3)
    error_of_a = (a - found.offset[i] * gain) + found.offset[i] * (beta - 1.0 + gain)
    assert float(found.offset_sd[i]) * gain == pytest.approx(
        float((error_of_a**2 * share).sum().sqrt()), rel=1e-3
    )
    assert not bool(found.measured.any())


def test_similar_patterns_that_stay_silent_say_little_more_than_one(net, loud, plans):
    """Moments of a' and beta' with three silent patterns, from weighted samples of all that is random."""
    plan, prior, window, i = plans[0], replace(plans[0].prior, shared2=0.0), net.windows[0], 0
    like = torch.tensor([[1.0, 0.9, 0.9], [0.9, 1.0, 0.95], [0.9, 0.95, 1.0]], dtype=torch.float64)
    synapses, covariance = 25.0 * prior.offset2[i] * like, prior.covariance.clone()
    covariance[i][:3, :3] = synapses
    expected = plan.expected.clone()
    expected[:3, i] = torch.tensor([0.1, 0.2, 0.2]) * window
    measured = torch.full_like(expected, torch.nan)
    measured[:3, i] = 0.0
    found = estimate(replace(prior, covariance=covariance), expected, measured, error := 0.01 * window)
    drawn = torch.randn(5, 1_000_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    a, beta = prior.offset2[i].sqrt() * drawn[0], prior.slope + prior.slope2[i].sqrt() * drawn[1]
    before = window - expected[:3, i].unsqueeze(1)
    ramp = before + a - before * beta + torch.linalg.cholesky(synapses) @ drawn[2:]
    share = torch.special.ndtr((ramp - window) / error).prod(0)
    share = share / share.sum()
    assert float(1.0 / share.square().sum()) > 10_000
    gain, sd = 1.0 / (1.0 + float(found.slope[i])), float(prior.offset2[i].sqrt())
    mean = float((a * share).sum())
    assert mean > 0.1 * sd
    assert float(found.offset[i]) * gain == pytest.approx(mean, abs=0.03 * sd)
    assert gain == pytest.approx(1.0 - float((beta * share).sum()), abs=0.03 * float(prior.slope2[i].sqrt()))


def test_neurons_that_no_pattern_makes_fire_are_known_to_be_late(net, loud, plans):
    """Offsets of four standard deviations: most neurons stay silent, and are still estimated as large."""
    quiet = loud.sample(net, 1, seed=3)
    prior = plans[0].prior
    far = 4.0 * prior.offset2.sqrt()
    layers = [replace(m, slope=0.0 * m.slope, threshold=0.0 * m.threshold) for m in quiet.layers]
    late = (far * prior.gain).numpy()[None]
    chip = replace(quiet, layers=(replace(layers[0], threshold=late), *layers[1:]))
    found = calibrate(net, loud, plans, measure(net, chip, plans), error=0.01).layers[0]
    silent = found.measured == 0
    assert int(silent.sum()) > 0
    assert bool((found.offset[silent] > prior.offset2.sqrt()[silent]).all())


def test_patterns_make_every_live_neuron_fire(net, digits, plans):
    live = (net.trace(digits.x_train)[0] > 0).double().mean(0) > 0.05
    fires = (plans[0].expected > 0) & (plans[0].expected < net.windows[0])
    assert bool((fires.sum(0)[live] >= 2).all())
    assert float(plans[0].inputs.min()) >= 0
    assert float(plans[0].inputs.max()) <= float(net.layers[0].input_window)


def test_a_laboratory_reads_patterns_and_writes_times(net, plans, chips, tmp_path):
    rows = measure(net, chips[0], plans)
    read = read_times(write_times(tmp_path / "times.csv", net, rows), net, 8)
    assert torch.allclose(read[0], rows[0])
    assert bool(torch.isnan(read[1]).all())  # a read-out
    lines = write_patterns(tmp_path / "p.csv", net, plans).read_text().splitlines()
    assert lines[0] == "layer,pattern,synapse,spike_time"
    assert len(lines) - 1 == int((plans[0].inputs > 0).sum())
    layer, pattern, synapse, time = lines[1].split(",")
    x = float(net.layers[0].input_window) - float(time)
    assert x == pytest.approx(float(plans[int(layer)].inputs[int(pattern), int(synapse)]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layer,pattern,neuron\n0,0,0\n", "has no column spike_time"),
        ("layer,pattern,neuron,spike_time\n", "has no spike time"),
        (
            "layer,pattern,neuron,spike_time\n0,0,99,0.5\n",
            "line 2: neuron must be a whole number from 0 to 15",
        ),
        ("layer,pattern,neuron,spike_time\n0,8,0,0.5\n", "line 2: pattern must be .* from 0 to 7"),
        ("layer,pattern,neuron,spike_time\n1,0,0,0.5\n", "layer 1 is a read-out"),
        ("layer,pattern,neuron,spike_time\n0,0,0,soon\n", "line 2: 'soon' is no number"),
        ("layer,pattern,neuron,spike_time\n0,0,0,nan\n", "must be a time after t_min"),
        ("layer,pattern,neuron,spike_time\n0,0,1e999,1\n", "is not finite"),
        ("layer,pattern,neuron,spike_time\n0,0\n", "'' is no number"),
    ],
)
def test_files_that_are_none_are_refused_by_line(net, tmp_path, text, message):
    path = tmp_path / "times.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_times(path, net, 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"error": -1.0}, "error of 0 to 1"),
        ({"repeats": 0}, "repeats >= 1"),
        ({"level": "x"}, "unknown level"),
    ],
)
def test_measurements_that_are_none_are_refused(net, plans, chips, options, message):
    with pytest.raises(InputError, match=message):
        measure(net, chips[0], plans, **options)


def test_more_patterns_than_images_are_refused(net, digits, loud):
    with pytest.raises(InputError, match="patterns must be 1 to 20"):
        choose(net, digits.x_train[:20], 21, loud)
