"""Are injected sigmas inside the reported 95 % intervals? Twenty seeds, three campaign sizes.

python benchmarks/recovery.py
"""

import tempfile
from collections import Counter
from pathlib import Path

from circuits.pdk.technology import Technology
from montecarlo.campaign.campaign import Campaign
from ttfs_analog.noise.noise_model import NoiseModel

SEEDS = 20


def main() -> None:
    """Print, for each size, how many seeds have each sigma inside its interval."""
    technology = Technology.load("ideal")
    for samples in (200, 500, 1000):
        inside: Counter[str] = Counter()
        for seed in range(SEEDS):
            with tempfile.TemporaryDirectory() as folder:
                plan = Campaign.characterize(technology, samples, seed)
                model = NoiseModel.fit(plan.run(Path(folder) / "run.zarr", workers=2), seed)
            for name, term in model.terms.items():
                inside[name] += term.std_ci[0] <= plan.law.sigma[name] <= term.std_ci[1]
        counts = ", ".join(f"{name} {count}/{SEEDS}" for name, count in inside.items())
        print(f"{samples:>5} samples: {counts}")


if __name__ == "__main__":
    main()
