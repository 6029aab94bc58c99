"""The toolkit from Python: a torch model becomes chips, and the chips go to ngspice.

python examples/quickstart.py [FOLDER]
"""

import sys
from pathlib import Path

import torch

import ttfs_analog as ta
from circuits import Technology
from montecarlo import Campaign


def main(folder: Path) -> dict[str, float]:
    """Train, convert, measure, evaluate, verify."""
    data = ta.load("digits")
    relu = ta.build("fc-16", data.features, data.classes, seed=0, dtype=torch.float64)
    ta.train(relu, data, ta.Recipe(epochs=20))

    net = ta.convert(relu, calibration=data)  # exact: same logits
    run = Campaign.characterize(Technology.load("ideal"), samples=200, entropy=11)
    noise = ta.NoiseModel.fit(run.run(folder / "run.zarr", workers=2))
    print(noise.summary())

    chips = noise.sample(net, chips=50, seed=7)  # frozen deviations
    before = ta.evaluate(net, data, chips=chips)
    tuned = ta.finetune(net, data, noise, mode="agnostic", epochs=10)
    after = ta.evaluate(tuned, data, chips=noise.sample(tuned, chips=50, seed=8))
    check = ta.verify(tuned, data, chips[:2], noise=noise, images=5)  # back to ngspice
    error = check["spike_time_spice"] - check["spike_time_model"]  # inf - inf, both silent, is left out
    result = {
        "accuracy_before": float(before["accuracy"].mean()),
        "accuracy_after": float(after["accuracy"].mean()),
        "spike_time_rms_tau_c": float((error**2).mean() ** 0.5),
        "class_agreement": float((check["predicted_spice"] == check["predicted_model"]).mean()),
    }
    print(result)
    return result


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "quickstart"))
