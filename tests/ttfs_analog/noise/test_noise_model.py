"""The noise model: what it finds, where it holds, and its file."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from comparing_chips import same_chip

from circuits.errors import InputError
from montecarlo.mismatch.law import TERMS, MismatchLaw
from ttfs_analog.conversion.mapping import to_relu
from ttfs_analog.evaluation.accuracy import evaluate
from ttfs_analog.noise.chips import Chips
from ttfs_analog.noise.noise_model import NoiseModel


def test_every_term_is_the_spread_that_was_drawn(noise, dataset):
    pattern = dataset["sample"].values % dataset.sizes["pattern"]
    fitted = dataset.isel(sample=pattern != dataset.sizes["pattern"] - 1)
    weights = fitted["weight"].values[pattern[pattern != dataset.sizes["pattern"] - 1]]
    synapse = np.log1p(fitted["deviation_synapse"].values)
    drawn = {
        "synapse_source": synapse[weights > 0],
        "synapse_sink": synapse[weights < 0],
        "slope": np.log1p(fitted["deviation_slope"].values),
        "threshold": fitted["deviation_threshold"].values,
        "capacitance": np.log1p(fitted["deviation_capacitance"].values),
    }
    for name, values in drawn.items():
        # extraction is exact up to float64: the sample's own sigma, not just that of the law
        assert noise.terms[name].std == pytest.approx(values.std(ddof=1), rel=1e-6)


def test_every_true_sigma_lies_in_a_slightly_wider_interval(noise):
    for name in TERMS:
        term = noise.terms[name]
        low, high = term.std_ci
        assert low < term.std < high
        # five 95 % intervals at once: doubled in width, near four standard errors each
        assert term.std - 2 * (term.std - low) < 0.05 < term.std + 2 * (high - term.std)


def test_terms_that_differ_are_told_apart(make_dataset):
    sigma = {
        "synapse_source": 0.02,
        "synapse_sink": 0.04,
        "slope": 0.06,
        "threshold": 0.08,
        "capacitance": 0.01,
    }
    found = NoiseModel.fit(make_dataset(200, sigma, entropy=3)).law.sigma
    for name, value in sigma.items():
        # 160 fitted neurons: one standard error is 5.6 %, four are 22 %
        assert found[name] == pytest.approx(value, rel=0.23)


def test_scopes_units_and_laws_are_named(noise):
    assert {k: t.scope for k, t in noise.terms.items()}["synapse_sink"] == "synapse"
    assert noise.terms["slope"].scope == "neuron"
    assert (noise.terms["threshold"].unit, noise.terms["threshold"].distribution) == ("tau_c", "normal")
    assert (noise.terms["slope"].unit, noise.terms["slope"].distribution) == ("1", "lognormal")
    assert noise.terms["slope"].n == 240  # four of five patterns
    assert (noise.n_samples, noise.n_failed) == (300, 0)


def test_neuron_terms_are_not_correlated(noise):
    for found in noise.correlations.values():
        # independent draws, 240 neurons: four standard errors are 0.26
        assert abs(found["value"]) < 0.26
        assert found["ci95"][0] < found["value"] < found["ci95"][1]


def test_energy_coefficients_of_ideal_sources_are_one(noise):
    for part in ("synapse", "slope"):
        # the closed form counts charge exactly; extraction rounds at 1e-12 or so
        assert noise.energy[part]["value"] == pytest.approx(1.0, abs=1e-9)


def test_zero_mismatch_gives_zero_spread(perfect):
    for term in perfect.terms.values():
        # rounding of extracted float64 numbers, three orders below 1e-9
        assert term.std < 1e-9
        assert abs(term.mean) < 1e-9
    assert all(v["ci95"] is None for v in perfect.correlations.values())


def test_without_mismatch_every_chip_is_the_relu_network_image_by_image(perfect, net, digits):
    found = evaluate(net, digits, perfect.sample(net, 5))
    relu = to_relu(net)(digits.x_test).argmax(-1).numpy()
    assert (found["predicted"].values == relu).all()
    assert (found["nominal"].values == relu).all()


def test_the_same_data_and_seed_give_the_same_model(noise, dataset):
    assert NoiseModel.fit(dataset) == noise


def test_a_neuron_with_one_synapse_has_no_sinks(make_dataset):
    found = NoiseModel.fit(make_dataset(60, synapses=1))
    assert "synapse_sink" not in found.terms
    assert found.law.synapse_sink == 0.0


def test_the_file_brings_everything_back(noise, tmp_path):
    path = noise.save(tmp_path / "folder" / "noise.json")
    assert NoiseModel.load(path) == noise
    assert json.loads(path.read_text())["schema"] == "ttfs-analog/noise-model/1"


def test_a_loaded_model_draws_the_same_chips(noise, net, tmp_path):
    back = NoiseModel.load(noise.save(tmp_path / "noise.json"))
    assert same_chip(back.sample(net, 2, seed=3), noise.sample(net, 2, seed=3))


def test_samples_are_chips_of_the_law_from_the_first_on(noise, net):
    found = noise.sample(net, 2, seed=3, first=5)
    assert found.numbers == (5, 6)
    assert same_chip(found, Chips.draw(noise.law, net, [5, 6], 3))


def test_a_mean_enters_the_law_only_where_its_interval_excludes_zero(noise):
    term = dataclasses.replace(noise.terms["slope"], mean=0.02, mean_ci=(0.01, 0.03))
    unsure = dataclasses.replace(noise.terms["threshold"], mean=0.02, mean_ci=(-0.01, 0.05))
    model = dataclasses.replace(noise, terms={"slope": term, "threshold": unsure})
    assert model.law == MismatchLaw(slope=term.std, threshold=unsure.std, mean=(("slope", 0.02),))


def limited(noise, **limits):
    return dataclasses.replace(noise, validity={k: {"max": limits.get(k)} for k in ("weight", "window")})


def test_the_ideal_technology_has_no_limits(noise, net):
    noise.check_range(net)
    assert noise.validity["weight"]["max"] is None


@pytest.mark.parametrize("what", ["weight", "window"])
def test_a_network_out_of_range_is_refused_unless_extrapolated(noise, net, what):
    narrow = limited(noise, **{what: 0.01})
    with pytest.raises(InputError, match=rf"layer 0: {what} .* outside .*--extrapolate"):
        narrow.sample(net, 1)
    wide = narrow.extrapolated()
    assert same_chip(wide.sample(net, 1), noise.sample(net, 1))
    assert narrow.validity[what]["max"] == 0.01  # the old one keeps its limits


def test_a_network_just_inside_the_range_is_accepted(noise, net):
    largest = max(float(layer.weight.detach().abs().max()) for layer in net.layers)
    limited(noise, weight=largest).check_range(net)


def test_an_incomplete_campaign_is_refused(dataset):
    part = dataset.copy(deep=True)
    part["status"].values[7:10] = -1
    with pytest.raises(InputError, match="3 of 300 samples are missing"):
        NoiseModel.fit(part)


def test_a_campaign_whose_law_a_noise_model_cannot_draw_is_refused(dataset):
    plan = json.loads(dataset.attrs["plan"])
    plan["law"]["correlation"] = [["slope", "threshold", 0.6]]
    with pytest.raises(InputError, match="drawn with correlation"):
        NoiseModel.fit(dataset.assign_attrs(plan=json.dumps(plan)))


def test_a_distribution_that_cannot_be_drawn_is_refused(noise, tmp_path):
    content = json.loads(noise.save(tmp_path / "noise.json").read_text())
    content["terms"]["slope"]["distribution"] = "student-t:4"
    (tmp_path / "noise.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="slope is frozen student-t:4, which cannot be drawn"):
        NoiseModel.load(tmp_path / "noise.json")


def test_too_few_samples_are_refused(make_dataset):
    with pytest.raises(InputError, match="19 good samples are too few"):
        NoiseModel.fit(make_dataset(19))


def test_failed_samples_are_counted_and_left_out(dataset, noise):
    part = dataset.copy(deep=True)
    part["status"].values[:10] = 1
    part["spike_time"].values[:10] = np.nan
    found = NoiseModel.fit(part)
    assert (found.n_samples, found.n_failed) == (290, 10)
    assert np.isfinite(found.terms["slope"].std)


def test_a_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(InputError, match="does not exist; 'fit' makes a noise model"):
        NoiseModel.load(tmp_path / "none.json")


@pytest.mark.parametrize(
    "text", ["", "no json", "[1, 2]", "{}", '{"schema": "ttfs-analog/noise-model/99"}', "\x00"]
)
def test_another_file_is_refused(tmp_path, text):
    path = tmp_path / "noise.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"noise\.json"):
        NoiseModel.load(path)


def edited(noise, path, **changes):
    content = json.loads(noise.save(path).read_text())
    for key, value in changes.items():
        if value is None:
            del content[key]
        else:
            content[key] = value
    path.write_text(json.dumps(content))
    return path


def test_an_unknown_schema_is_refused_with_the_one_expected(noise, tmp_path):
    path = edited(noise, tmp_path / "noise.json", schema="ttfs-analog/noise-model/2")
    with pytest.raises(InputError, match=r"noise-model/2.*noise-model/1.* was expected"):
        NoiseModel.load(path)


@pytest.mark.parametrize("change", [{"terms": None}, {"energy": None}, {"terms": 3}, {"extra": 1}])
def test_a_file_that_is_not_complete_is_refused(noise, tmp_path, change):
    with pytest.raises(InputError, match="not a complete noise model"):
        NoiseModel.load(edited(noise, tmp_path / "noise.json", **change))


@pytest.mark.parametrize("std", [float("nan"), -0.1, 3.0])
def test_a_sigma_that_cannot_be_drawn_is_refused(noise, tmp_path, std):
    terms = json.loads(noise.save(tmp_path / "noise.json").read_text())["terms"]
    terms["slope"]["std"] = std
    with pytest.raises(InputError, match="sigma of slope"):
        NoiseModel.load(edited(noise, tmp_path / "noise.json", terms=terms))


def test_the_summary_has_a_line_for_every_term(noise):
    lines = noise.summary().splitlines()
    assert len(lines) == 1 + len(noise.terms)
    assert all(any(line.startswith(name) for line in lines) for name in noise.terms)


@pytest.mark.parametrize("key", ["validity", "energy"])
@pytest.mark.parametrize("empty", [{}, [], {"weight": {}, "window": {}, "synapse": {}, "slope": {}}])
def test_empty_limits_and_energies_are_refused(noise, tmp_path, key, empty):
    with pytest.raises(InputError, match="not a complete noise model"):
        NoiseModel.load(edited(noise, tmp_path / "noise.json", **{key: empty}))


@pytest.mark.parametrize("value", ["much", float("nan"), [1]])
@pytest.mark.parametrize("key", ["validity", "energy"])
def test_limits_and_energies_that_are_no_numbers_are_refused(noise, tmp_path, key, value):
    content = json.loads(noise.save(tmp_path / "noise.json").read_text())[key]
    inner = {"validity": ("weight", "max"), "energy": ("slope", "value")}[key]
    content[inner[0]][inner[1]] = value
    with pytest.raises(InputError, match="not a complete noise model"):
        NoiseModel.load(edited(noise, tmp_path / "noise.json", **{key: content}))


def test_large_mismatch_is_still_found(make_dataset):
    """30 % in every current and capacitor."""
    sigma = {k: 0.3 for k in TERMS if k != "threshold"} | {"threshold": 0.05}
    dataset = make_dataset(300, sigma, entropy=1)
    found = NoiseModel.fit(dataset)
    assert found.n_incomplete <= 3
    for name, value in sigma.items():
        # 240 fitted neurons: one standard error is 4.6 %, four are 19 %
        assert found.terms[name].std == pytest.approx(value, rel=0.19)


def lose(dataset, neurons: int):
    """The same campaign in which some neurons never reached the high threshold."""
    part = dataset.copy(deep=True)
    column = list(part["stimulus"].values).index("ramp_high")
    part["spike_time"].values[:neurons, column] = np.inf
    return part


def test_a_few_incomplete_neurons_are_left_out_and_counted(dataset, noise):
    found = NoiseModel.fit(lose(dataset, 3))
    assert (found.n_samples, found.n_incomplete) == (297, 3)
    # three of 300 neurons hardly move a sigma: less than one standard error, 4.6 %
    assert found.terms["slope"].std == pytest.approx(noise.terms["slope"].std, rel=0.046)


def test_more_than_one_in_a_hundred_incomplete_neurons_are_refused(dataset):
    with pytest.raises(InputError, match="4 of 300 neurons spiked too early or not at all"):
        NoiseModel.fit(lose(dataset, 4))
