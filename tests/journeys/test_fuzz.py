"""Some hundred mutants of files: none ends in a traceback, hangs, runs code, or gives NaN."""

from __future__ import annotations

from collections import Counter

import fuzz
import fuzz_formats
import pytest

QUICK = {
    "layer JSON": 60,
    "sweep TOML": 60,
    "noise model": 12,
    "network": 30,
    "chips": 10,
    "checkpoint": 20,
    "technology TOML": 20,
    "model cards": 20,
    "IDX images": 40,
    "CIFAR batches": 40,
}
SEED = 11


@pytest.fixture(scope="module")
def formats(tmp_path_factory):
    return {fmt.name: fmt for fmt in fuzz_formats.make(tmp_path_factory.mktemp("fuzz"))}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", QUICK)
def test_a_mutant_is_refused_in_one_line_or_is_an_input(formats, name):
    results = fuzz.run(formats[name], QUICK[name], SEED)
    faults = [(number, outcome, text) for number, outcome, text in results if outcome in fuzz.BAD]
    assert not faults
    counts = Counter(outcome for _, outcome, _ in results)
    assert counts["refused"] >= 0.3 * sum(counts.values())  # the changes are no trifles


def test_code_in_a_file_of_torch_would_be_seen(formats, tmp_path):
    """The alarm rings: a reader that trusts its file runs the code."""
    import pickle

    marker = tmp_path / "ran"
    path = tmp_path / "net.pt"
    path.write_bytes(pickle.dumps(fuzz_formats.Code(marker)))
    trusting = fuzz_formats.dataclasses.replace(
        formats["network"], use=lambda file: pickle.loads(file.read_bytes())
    )
    assert fuzz.judged(formats["network"], path, marker)[0] == "refused"
    assert fuzz.judged(trusting, path, marker)[0] == "code"
