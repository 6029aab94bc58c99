"""The noise model of either kind of campaign: what it finds, where it holds, and its file."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from comparing_chips import same_chip
from synthetic_transistors import CONSTANTS, ENERGY, JITTER, LAW, REFERENCES, campaign

from circuits.benches.bias_lines import LINES, reference_current
from circuits.errors import InputError
from circuits.pdk.technology import Technology
from montecarlo.campaign.schema import VARIABLES
from montecarlo.mismatch.law import TERMS, UNIT, MismatchLaw
from ttfs_analog.conversion.mapping import to_relu
from ttfs_analog.evaluation.accuracy import evaluate
from ttfs_analog.noise.chips import Chips
from ttfs_analog.noise.noise_model import NoiseModel
from ttfs_analog.noise.terms import NAMES, SAMPLING


def test_every_term_is_the_spread_that_was_drawn(noise, dataset):
    weights = dataset["weight"].values[dataset["sample"].values % dataset.sizes["pattern"]]
    synapse = np.log1p(dataset["deviation_synapse"].values)
    drawn = {
        "synapse_source": synapse[weights > 0],
        "synapse_sink": synapse[weights < 0],
        "slope": np.log1p(dataset["deviation_slope"].values),
        "threshold": dataset["deviation_threshold"].values,
        "capacitance": np.log1p(dataset["deviation_capacitance"].values),
    }
    assert set(noise.terms) == set(drawn)
    for name, values in drawn.items():
        # extraction is exact up to float64: the sample's own sigma, not just that of the law
        assert noise.terms[name].std == pytest.approx(values.std(ddof=1), rel=1e-6)
        low, high = noise.terms[name].std_ci
        # five 95 % intervals at once: doubled in width, near four standard errors each
        assert values.std() - 2 * (values.std() - low) < 0.05 < values.std() + 2 * (high - values.std())


def test_transistors_have_every_term_line_constant_and_part(transistor_noise):
    assert set(transistor_noise.terms) == set(NAMES) - {SAMPLING}
    assert tuple(transistor_noise.reference) == LINES
    parts = {(s, p) for s, parts in transistor_noise.energy.items() for p in parts}
    assert parts == {*ENERGY, ("reference", "bias")}
    for name, constant in transistor_noise.systematic.items():
        # four standard errors of what rests on the spread of delays; the others are exact
        assert constant.value == pytest.approx(getattr(CONSTANTS, name), abs=4 * constant.se + 1e-10)
    assert transistor_noise.jitter == pytest.approx(JITTER, rel=0.45)  # 40 trials: four errors of 11 %


def test_the_current_of_the_references_is_known_not_fitted(transistor_noise):
    """9 (3 x 250 + 400 + 200) nA."""
    entry, generic = transistor_noise.energy["reference"]["bias"], Technology.load("generic130")
    assert entry["value"] == pytest.approx(12.15e-6)
    assert entry["value"] == reference_current(generic.transistors(), generic.operating_point)
    assert entry["ci95"] == [entry["value"]] * 2


def test_a_tail_acts_on_delays_of_comparators_that_have_one(transistor_noise):
    idle = {**transistor_noise.validity, "comparator": "zero_idle"}
    law = dataclasses.replace(transistor_noise, validity=idle).law
    assert "delay" not in dict(law.reference)


def test_a_tail_that_is_too_strong_in_the_mean_makes_spikes_early(transistor_noise):
    line = dataclasses.replace(transistor_noise.reference["tail"], mean=0.1, mean_ci=(0.08, 0.12))
    reference = {**transistor_noise.reference, "tail": line}
    terms = {
        k: dataclasses.replace(t, mean=0.0, mean_ci=(0.0, 0.0)) for k, t in transistor_noise.terms.items()
    }
    model = dataclasses.replace(transistor_noise, reference=reference, terms=terms)
    assert dict(model.law.mean)["delay"] == pytest.approx(-0.05 * model.constants.delay)


def test_the_law_of_transistors_is_that_of_their_unit_devices(transistor_noise):
    law = transistor_noise.law
    assert law.units == LAW.units
    for name in (*TERMS, "delay"):
        # 200 neurons: one standard error is 5 %, four are 20 %; synapses are eight times as many
        assert getattr(law, name) == pytest.approx(getattr(LAW, name), rel=0.2)
    shared = dict(law.reference)
    for term, sigma in zip(("synapse_source", "synapse_sink", "slope"), REFERENCES[:3], strict=True):
        assert shared[term] == pytest.approx(sigma, rel=0.2)
    # half the delay for each unit of ln I_tail
    assert shared.pop("delay") == pytest.approx(0.5 * CONSTANTS.delay * REFERENCES[3], rel=0.2)
    assert set(shared) == {"synapse_source", "synapse_sink", "slope"}  # starved inverters: next to nothing
    # as sqrt(1 / |W|): a quarter of the weight has twice the sigma
    sigma = law.synapse_sigma(np.array([1.0, 0.25]))
    assert sigma[1] == pytest.approx(2 * sigma[0], rel=1e-12)


def test_units_agree_across_schema_model_and_report(transistor_noise):
    """One table, beside the law."""
    for name, term in transistor_noise.terms.items():
        assert term.unit == UNIT.get(name, "1")
        if f"deviation_{name}" in VARIABLES:
            assert VARIABLES[f"deviation_{name}"][1] == term.unit
        line = next(row for row in transistor_noise.summary().splitlines() if row.startswith(f"{name} "))
        assert f"]  {term.unit} " in line
    assert (UNIT["threshold"], UNIT["delay"], UNIT["jitter"]) == ("1", "tau_c", "tau_c")
    times = {"delay", "shortest", "turn_on_source", "turn_on_sink"}
    assert times < set(transistor_noise.systematic)
    assert all(UNIT[f"early_{k}"] == "tau_c" for k in (1, 2, 3))
    for name, constant in transistor_noise.systematic.items():
        assert constant.unit == ("tau_c" if name in times else "1")


def test_terms_that_differ_are_told_apart_even_if_large(make_dataset):
    sigma = {"synapse_source": 0.02, "synapse_sink": 0.3, "slope": 0.06, "threshold": 0.58}
    sigma["capacitance"] = 0.2
    model = NoiseModel.fit(make_dataset(200, sigma, entropy=3))
    assert model.n_incomplete <= 2
    for name, value in sigma.items():
        # 200 neurons: one standard error is 5 %, four are 20 %
        assert getattr(model.law, name) == pytest.approx(value, rel=0.2)


def test_neuron_terms_are_not_correlated(noise):
    assert len(noise.correlations) == 3
    for entry in noise.correlations.values():
        # independent draws, 300 neurons: four standard errors are 0.23
        assert abs(entry["value"]) < 0.23
        assert entry["ci95"][0] < entry["value"] < entry["ci95"][1]


def test_zero_mismatch_gives_zero_spread(perfect):
    for term in perfect.terms.values():
        # rounding of extracted float64 numbers, three orders below 1e-9
        assert term.std < 1e-9
        assert abs(term.mean) < 1e-9
    assert all(v["ci95"] is None for v in perfect.correlations.values())


def test_without_mismatch_every_chip_is_the_relu_network_image_by_image(perfect, net, digits):
    result = evaluate(net, digits, perfect.sample(net, 5))
    relu = to_relu(net)(digits.x_test).argmax(-1).numpy()
    assert (result["predicted"].values == relu).all()
    assert (result["nominal"].values == relu).all()


def test_the_same_data_and_seed_give_the_same_model(noise, dataset):
    assert NoiseModel.fit(dataset) == noise


def test_a_neuron_with_one_synapse_has_no_sinks(make_dataset):
    model = NoiseModel.fit(make_dataset(60, synapses=1))
    assert "synapse_sink" not in model.terms
    assert model.law.synapse_sink == 0.0


@pytest.mark.parametrize("kind", ["noise", "transistor_noise"])
def test_the_file_brings_everything_back(request, kind, tmp_path):
    model = request.getfixturevalue(kind)
    path = model.save(tmp_path / "folder" / "noise.json")
    assert NoiseModel.load(path) == model
    content = json.loads(path.read_text())
    assert content["schema"] == "ttfs-analog/noise-model/2"
    assert set(content["constants"]) == set(model.systematic)


def test_samples_are_chips_of_the_law_from_the_first_on(noise, net):
    chips = noise.sample(net, 2, seed=3, first=5)
    assert chips.numbers == (5, 6)
    assert same_chip(chips, Chips.draw(noise.law, net, [5, 6], 3))


def test_a_mean_enters_the_law_only_where_its_interval_excludes_zero(noise):
    term = dataclasses.replace(noise.terms["slope"], mean=0.02, mean_ci=(0.01, 0.03))
    unsure = dataclasses.replace(noise.terms["threshold"], mean=0.02, mean_ci=(-0.01, 0.05))
    model = dataclasses.replace(noise, terms={"slope": term, "threshold": unsure})
    assert model.law == MismatchLaw(slope=term.std, threshold=unsure.std, mean=(("slope", 0.02),))


def test_a_silent_model_keeps_the_constants_and_has_no_spread(transistor_noise):
    quiet = transistor_noise.silent()
    assert quiet.constants == transistor_noise.constants
    assert quiet.jitter == 0.0
    assert set(quiet.law.sigma.values()) | {quiet.law.delay, *dict(quiet.law.reference).values()} == {0.0}


def limited(noise, **limits):
    return dataclasses.replace(noise, validity={k: {"max": limits.get(k)} for k in ("weight", "window")})


@pytest.mark.parametrize("what", ["weight", "window"])
def test_a_network_out_of_range_is_refused_unless_extrapolated(noise, net, what):
    noise.check_range(net)  # ideal sources have no limits
    narrow = limited(noise, **{what: 0.01})
    with pytest.raises(InputError, match=rf"layer 0: {what} .* outside .*--extrapolate"):
        narrow.sample(net, 1)
    assert same_chip(narrow.extrapolated().sample(net, 1), noise.sample(net, 1))
    assert narrow.validity[what]["max"] == 0.01  # the old one keeps its limits


def test_a_network_just_inside_the_range_is_accepted(noise, net):
    largest = max(float(layer.weight.detach().abs().max()) for layer in net.layers)
    limited(noise, weight=largest).check_range(net)


def test_transistors_hold_where_they_were_measured(transistor_noise):
    validity = transistor_noise.validity
    assert validity["window"]["max"] == 2.0
    assert validity["weight"]["max"] == 0.75
    assert (validity["corner"], validity["temperature"], validity["supply"]) == ("tt", 27.0, 1.2)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("status", "3 of 40 samples are missing"),
        ("nominal_status", "3 of 48 nominals are missing"),
        ("trial_status", "3 of 40 trials are missing"),
    ],
)
def test_an_incomplete_campaign_is_refused(name, message):
    part = campaign(40)
    part[name].values[7:10] = -1
    with pytest.raises(InputError, match=message):
        NoiseModel.fit(part)


def test_a_campaign_whose_law_a_noise_model_cannot_draw_is_refused(dataset):
    plan = json.loads(dataset.attrs["plan"])
    plan["law"]["correlation"] = [["slope", "threshold", 0.6]]
    with pytest.raises(InputError, match="drawn with correlation"):
        NoiseModel.fit(dataset.assign_attrs(plan=json.dumps(plan)))


@pytest.mark.parametrize("name", ["spike_time", "energy"])
def test_a_good_sample_that_was_not_measured_is_refused(dataset, name):
    lost = dataset.copy(deep=True)
    lost[name].loc[{"sample": 7, "stimulus": "random_0"}] = np.nan
    with pytest.raises(InputError, match=f"sample 7 has status 0, which is good, and no {name}"):
        NoiseModel.fit(lost)
    lost["status"].loc[{"sample": 7}] = 1
    assert NoiseModel.fit(lost).n_failed == 1


def test_too_few_samples_are_refused(make_dataset):
    with pytest.raises(InputError, match="19 good samples are too few"):
        NoiseModel.fit(make_dataset(19))


def test_failed_samples_are_counted_and_left_out(dataset):
    part = dataset.copy(deep=True)
    part["status"].values[:10] = 1
    part["spike_time"].values[:10] = np.nan
    model = NoiseModel.fit(part)
    assert (model.n_samples, model.n_failed) == (290, 10)
    assert np.isfinite(model.terms["slope"].std)


def lose(dataset, neurons: int):
    """The same campaign in which some neurons never reached the high threshold."""
    part = dataset.copy(deep=True)
    column = list(part["stimulus"].values).index("ramp_high")
    part["spike_time"].values[:neurons, column] = np.inf
    return part


def test_more_than_one_in_a_hundred_incomplete_neurons_are_refused(dataset, noise):
    model = NoiseModel.fit(lose(dataset, 3))
    assert (model.n_samples, model.n_incomplete) == (297, 3)
    # three of 300 neurons hardly move a sigma: less than one standard error, 4.1 %
    assert model.terms["slope"].std == pytest.approx(noise.terms["slope"].std, rel=0.041)
    with pytest.raises(InputError, match="4 of 300 neurons spiked too early or not at all"):
        NoiseModel.fit(lose(dataset, 4))


def test_a_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(InputError, match="does not exist; 'fit' makes a noise model"):
        NoiseModel.load(tmp_path / "none.json")


@pytest.mark.parametrize("text", ["", "no json", "[1, 2]", "{}", "\x00"])
def test_another_file_is_refused(tmp_path, text):
    path = tmp_path / "noise.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"noise\.json"):
        NoiseModel.load(path)


def edited(model, path, change):
    """The file of a model after `change` of its content."""
    content = json.loads(model.save(path).read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


def test_the_first_schema_is_refused_in_one_line(noise, tmp_path):
    path = edited(noise, tmp_path / "n.json", lambda c: c.update(schema="ttfs-analog/noise-model/1"))
    with pytest.raises(InputError, match=r"noise-model/1', .*noise-model/2' was expected; fit again$"):
        NoiseModel.load(path)


CHANGES = {
    "no terms": lambda c: c.pop("terms"),
    "no constants": lambda c: c.pop("constants"),
    "no reference": lambda c: c.pop("reference"),
    "no energy": lambda c: c.pop("energy"),
    "no units": lambda c: c.pop("units"),
    "terms no table": lambda c: c.update(terms=3),
    "extra": lambda c: c.update(extra=1),
    "empty validity": lambda c: c.update(validity={}),
    "limit no number": lambda c: c["validity"]["weight"].update(max="much"),
    "limit nan": lambda c: c["validity"]["weight"].update(max=float("nan")),
    "energy empty": lambda c: c.update(energy={}),
    "energy negative": lambda c: c["energy"]["source"]["slope"].update(value=-1.0),
    "energy nan": lambda c: c["energy"]["latch"]["switching"].update(value=float("nan")),
    "energy unknown": lambda c: c["energy"].update(clock=c["energy"]["latch"]),
    "energy of another unit": lambda c: c["energy"]["latch"]["switching"].update(unit="J"),
    "unknown term": lambda c: c["terms"].update(gain=c["terms"]["slope"]),
    "term of another unit": lambda c: c["terms"]["threshold"].update(unit="tau_c"),
    "term that cannot be drawn": lambda c: c["terms"]["slope"].update(distribution="student-t:4"),
    "sigma nan": lambda c: c["terms"]["slope"].update(std=float("nan")),
    "sigma negative": lambda c: c["terms"]["jitter"].update(std=-0.1),
    "sigma too large": lambda c: c["terms"]["slope"].update(std=3.0),
    "unknown line": lambda c: c["reference"].update(clock=c["reference"]["slope"]),
    "unknown constant": lambda c: c["constants"].update(drift=c["constants"]["kick"]),
    "constant of another unit": lambda c: c["constants"]["delay"].update(unit="s"),
    "constant nan": lambda c: c["constants"]["delay"].update(value=float("nan")),
    "gain zero": lambda c: c["constants"]["theta_scale"].update(value=0.0),
    "gain negative": lambda c: c["constants"]["gain_sink"].update(value=-1.0),
    "mean nan": lambda c: c["terms"]["slope"].update(mean=float("nan")),
    "mean interval nan": lambda c: c["terms"]["slope"].update(mean_ci=[float("nan")] * 2),
    "mean outside its interval": lambda c: c["terms"]["slope"].update(mean=0.5),
    "mean too large": lambda c: c["terms"]["slope"].update(mean=100.0, mean_ci=[99.0, 101.0]),
    "mean interval of one": lambda c: c["terms"]["slope"].update(mean_ci=[0.0]),
    "no mean interval": lambda c: c["terms"]["slope"].pop("mean_ci"),
    "energy interval of one": lambda c: c["energy"]["source"]["slope"].update(ci95=[0.0]),
    "no energy interval": lambda c: c["energy"]["source"]["slope"].pop("ci95"),
    "energy outside its interval": lambda c: c["energy"]["source"]["slope"].update(ci95=[7.0, 8.0]),
    "limit a list": lambda c: c["validity"]["window"].update(max=[2.0]),
    "sigma true": lambda c: c["terms"]["slope"].update(std=True),
    "sigma text": lambda c: c["terms"]["slope"].update(std="0.05"),
    "no held-out figure": lambda c: c["holdout"].pop("rms_tau_c"),
    "operating point upside down": lambda c: c["validity"]["operating_point"].update(v_low=9.0),
    "units no number": lambda c: c.update(units=0.5),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_file_that_is_not_whole_and_true_is_refused(transistor_noise, tmp_path, change):
    with pytest.raises(
        InputError, match=r"noise\.json( is not a complete noise model: |: .* must be finite)"
    ):
        NoiseModel.load(edited(transistor_noise, tmp_path / "noise.json", change))


def test_a_threshold_is_a_potential_and_may_exceed_one(noise, tmp_path):
    def change(content):
        content["terms"]["threshold"]["std"] = 3.0
        del content["digest"]  # accepts what was edited

    path = edited(noise, tmp_path / "n.json", change)
    assert NoiseModel.load(path).law.threshold == 3.0


def test_a_number_that_was_changed_is_refused_until_the_digest_is_removed(noise, tmp_path):
    path = edited(noise, tmp_path / "n.json", lambda c: c["terms"]["slope"].update(std=0.01))
    with pytest.raises(InputError, match=r"n\.json .*was changed .* by hand, remove its entry 'digest'"):
        NoiseModel.load(path)
    content = json.loads(path.read_text())
    del content["digest"]
    path.write_text(json.dumps(content))
    assert NoiseModel.load(path).law.slope == 0.01


def test_another_layout_of_the_same_numbers_is_no_change(noise, tmp_path):
    path = edited(noise, tmp_path / "n.json", lambda c: c.update(sorted(c.items(), reverse=True)))
    assert NoiseModel.load(path) == noise


def test_the_summary_names_every_term_constant_and_part(transistor_noise):
    text = transistor_noise.summary()
    lines = text.splitlines()
    for name in (*transistor_noise.terms, *transistor_noise.systematic):
        assert any(line.startswith(name) for line in lines), name
    for supply, parts in transistor_noise.energy.items():
        assert all(any(line.startswith(f"{supply}, {part}") for line in lines) for part in parts)
    assert "coverage of the law's 50/90/95 % intervals" in text
    assert max(map(len, lines)) <= 120


def test_a_missing_part_is_named(noise, tmp_path):
    path = edited(noise, tmp_path / "n.json", lambda c: c.pop("constants"))
    with pytest.raises(InputError, match=r"not a complete noise model: lacks \['constants'\]"):
        NoiseModel.load(path)


def test_the_mean_of_a_reference_is_one_of_its_currents(transistor_noise):
    line = dataclasses.replace(transistor_noise.reference["source"], mean=0.1, mean_ci=(0.08, 0.12))
    model = dataclasses.replace(transistor_noise, reference={**transistor_noise.reference, "source": line})
    before, after = (dict(m.law.mean).get("synapse_source", 0.0) for m in (transistor_noise, model))
    assert after - before == pytest.approx(0.1, rel=1e-12)


def test_the_sqrt_law_of_a_campaign_is_the_models(make_dataset):
    """Sigma at W = 1 to four of its standard errors, 200 x 4 synapses of a sign: 10 %."""
    law = MismatchLaw(synapse_source=0.05, synapse_sink=0.03, units=8)
    model = NoiseModel.fit(make_dataset(samples=200, law=law))
    assert model.units == model.law.units == 8
    assert model.law.synapse_source == pytest.approx(0.05, rel=0.1)
    assert model.law.synapse_sink == pytest.approx(0.03, rel=0.1)


@pytest.mark.parametrize("chips", [0, -1, 1.5, "2", True, None])
def test_chips_that_are_no_number_of_chips_are_refused(noise, net, chips):
    with pytest.raises(InputError, match="chips must be a whole number >= 1, got"):
        noise.sample(net, chips)
