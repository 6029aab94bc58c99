"""The same loop on transistors: placed, characterized layer by layer, fine-tuned, whole chips in ngspice.

Gate areas are a quarter of the technology's: by Pelgrom's law, sigma ~ 1 / sqrt(area), deviations are twice
as large, and the network feels them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from circuits.model.coding import encode
from circuits.pdk.technology import Technology
from circuits.spice.ngspice import Ngspice
from montecarlo.campaign.schema import save_dataset
from ttfs_analog.data.datasets import Data
from ttfs_analog.demonstration.ideal import Stage, judge, waveform_dataset
from ttfs_analog.evaluation import energy as ledger
from ttfs_analog.evaluation.transistor_runs import draw_chips, equation
from ttfs_analog.evaluation.transistor_verification import FRESH, neurons_at, verify_transistors
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.noise.layered import LayeredNoise
from ttfs_analog.noise.noise_model import NoiseModel
from ttfs_analog.placement.place import place
from ttfs_analog.placement.rows import campaigns
from ttfs_analog.training.finetuning import finetune

TECHNOLOGY, AREA = "generic130", 0.25
SAMPLES, EPOCHS = 48, 120
"""Neurons of the campaign on a layer, and epochs of fine-tuning: as few as show the loop."""
CHIPS, IMAGES = 3, 5
"""Fresh chips and test images that are simulated whole."""


def run_transistors(
    net: TTFSNetwork,
    data: Data,
    folder: Path,
    *,
    chips: int,
    workers: int,
    seed: int,
    stage: Stage,
    say: Callable[[str], None],
) -> None:
    """Run every stage; files go into `folder`.

    Parameters
    ----------
    net : TTFSNetwork
        Mapped, not fine-tuned.
    data : Data
        What it was trained on.
    folder : Path
        Must exist.
    chips : int
        Of the noise model, that networks are judged on.
    workers : int
        ngspice processes at a time.
    seed : int
        Of everything that is drawn.
    stage : callable
        Progress bars.
    say : callable
        Prints a line for people.
    """
    technology = Technology.load(TECHNOLOGY)
    say(f"on transistors of {TECHNOLOGY}, {AREA:g} of their area")
    with stage("7 place: placements") as tick:
        train = (data.x_train, data.y_train)
        placed = place(net, technology, train, area=AREA, seed=seed, progress=tick)
    placed.save(folder / "net.pt")
    fitted = []
    for n, plan in enumerate(campaigns(placed, data.x_train, SAMPLES, seed)):
        with stage(f"8 characterize: layer {n}") as tick:
            dataset = plan.run(folder / f"characterization/layer{n}", workers=workers, progress=tick)
        fitted.append(NoiseModel.fit(dataset, seed).of(0))
    noise = LayeredNoise(tuple(fitted), placed.provenance()["network"])
    noise.save(folder / "noise_model.json")

    options: dict[str, Any] = {"epochs": EPOCHS, "seed": seed}
    with stage("9 fine-tune: steps") as tick:
        tuned = finetune(placed, data, noise, progress=tick, **options)
    tuned.save(folder / "net_tuned.pt")
    with stage("  control: the same without mismatch") as tick:
        control = finetune(placed, data, noise.silent(), progress=tick, **options)
    networks = {
        "1_placed": placed,
        "2_thresholds": finetune(placed, data, noise, epochs=0, seed=seed),
        "3_control": control,
        "4_tuned": tuned,
    }
    with stage("10 evaluate: chips") as tick:
        judge(networks, data, noise, folder, chips=chips, seed=seed, progress=tick)
    save_dataset(ledger.energy(tuned, data, noise, chips=chips, seed=seed), folder / "energy.nc")
    with stage(f"11 verify: images x {CHIPS} fresh chips") as tick:
        verified = verify_transistors(
            tuned, data, noise, chips=CHIPS, images=IMAGES, workers=workers, seed=seed, progress=tick
        )
    save_dataset(verified, folder / "verification.nc")
    _save_waveforms(folder / "waveforms.nc", tuned, noise, data, workers, seed)


def _save_waveforms(
    path: Path, net: TTFSNetwork, noise: LayeredNoise, data: Data, workers: int, seed: int
) -> None:
    """Membranes of a few hidden neurons of the first verified chip."""
    kind, simulator = neurons_at(net, noise)[0], Ngspice()
    layer, x = kind.layer, data.x_test[0].double().numpy()
    chip = draw_chips([kind], [noise.of(0).delay_law], [FRESH], seed, simulator)[0]
    terms, input_times = chip.known[0], encode(x[None], layer.t_min)[0]
    assert terms is not None, "a drawn chip has devices"
    t, volts, nodes = kind.waveforms(
        layer, input_times, chip.transistors[0], simulator=simulator, workers=workers
    )
    offset = terms.threshold[0] / (1.0 + terms.capacitance[0])  # of the comparators, in membrane voltage
    spikes = layer.t_min + equation(kind, x, terms) + kind.bias.delays
    threshold, windows = nodes + offset * kind.point.v_unit, (layer.t_min, float(t[-1]))
    save_dataset(waveform_dataset(t, volts, threshold, spikes, windows, kind.point), path)
