"""Options and fixtures. `--ngspice=required` fails where the simulator is missing, instead of skipping."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from watching import run_folders_in

from circuits.model.layer import Layer
from circuits.pdk.technology import Technology
from montecarlo.campaign.campaign import Campaign

NGSPICE_FOLDERS = ("physics", "journeys")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--ngspice", choices=["required", "if_available", "disabled"], default="if_available")
    parser.addoption("--slow", action="store_true", help="also run long tests")
    parser.addoption("--update-golden", action="store_true", help="rewrite netlists/")


def pytest_configure() -> None:
    """A shell's job in the background ignores Ctrl-C, and so would the children that tests interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted, found = config.getoption("--ngspice"), shutil.which("ngspice")
    if wanted == "required" and not found:
        pytest.exit("ngspice is required and not on PATH", returncode=3)
    for item in items:
        if Path(item.fspath).parent.name in NGSPICE_FOLDERS:
            item.add_marker("ngspice")
        if "slow" in item.keywords and not config.getoption("--slow"):
            item.add_marker(pytest.mark.skip(reason="slow: run with --slow"))
        if "ngspice" in item.keywords and (wanted == "disabled" or not found):
            item.add_marker(pytest.mark.skip(reason="ngspice is not on PATH, or disabled"))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20241121)


def random_layer(rng: np.random.Generator, n_out: int, n_in: int, **options) -> tuple[Layer, np.ndarray]:
    """A layer with both signs of weight and an input with some silent synapses."""
    weights = rng.normal(size=(n_out, n_in)) * 2 / np.sqrt(n_in)
    t_min = float(rng.uniform(0.5, 4.0))
    window = float(rng.uniform(1.0, 5.0))
    layer = Layer(weights, rng.normal(size=n_out), t_min=t_min, t_max=t_min + window, **options)
    times = rng.uniform(0, t_min, n_in)
    times[rng.random(n_in) < 0.3] = np.inf
    return layer, times


@pytest.fixture
def make_layer():
    return random_layer


@pytest.fixture(scope="session")
def make_dataset(tmp_path_factory):
    """The dataset of a campaign of ideal neurons, measured on the closed form: no simulator is needed."""

    def characterize(samples, sigma=None, entropy=0, synapses=8, law=None):
        plan = Campaign.characterize(
            Technology.load("ideal"), samples, entropy, synapses=synapses, sigma=sigma, law=law
        )
        return plan.run(tmp_path_factory.mktemp("campaign") / "run.zarr", level="closed-form").load()

    return characterize


@pytest.fixture(scope="session")
def dataset(make_dataset):
    """300 neurons, 5 % sigmas."""
    return make_dataset(300)


@pytest.fixture
def unread(monkeypatch):
    """Decks reach ngspice unread: what is under test is the second line of defense, the acceptance."""
    monkeypatch.setattr("circuits.spice.ngspice.check", lambda text, files, stop: None)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Where run folders are made."""
    place = tmp_path / "runs"
    place.mkdir()
    run_folders_in(place, monkeypatch)
    return place
