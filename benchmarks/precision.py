"""What `training.precision: bf16` changes, over five seeds.

python -m benchmarks.precision [--json]: thesis_cnn with tanh on 5,000 members of real
Fashion-MNIST, 10 epochs, undefended and at epsilon 8, each seed in fp32 and in bf16 on one thread.
Differences are bf16 minus fp32 of the same seed: validation accuracy, AUC of the loss attack,
epsilon spent (0 by construction: the noise does not know the precision); and the ratio of the
training times.
"""

from __future__ import annotations

import sys
from typing import Any

import torch

import raysweep
from benchmarks.common import finish, options, spread

SPACE = "benchmarks/spaces/precision.yaml"
SEEDS = range(5)


def main() -> None:
    """Measure."""
    parser = options(__doc__)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, Any] = {}
    for name, epsilon in (("undefended", float("inf")), ("epsilon_8", 8.0)):
        found: dict[str, list[Any]] = {"fp32": [], "bf16": []}
        for seed in SEEDS:
            for precision, records in found.items():
                given = {"seed": seed, "training.precision": precision, "epsilon": epsilon}
                record = raysweep.run_trial(raysweep.load_space(SPACE).config(given)).trial
                records.append(record)
                told = f"{name} {precision}, seed {seed}: {record.accuracy}"
                print(told, f"{record.train_seconds:.1f} s", file=sys.stderr)
        measures = ["accuracy", "attack_auc"] + ["epsilon"] * (epsilon < float("inf"))
        for measure in measures:
            pairs = zip(found["fp32"], found["bf16"], strict=True)
            gaps = [getattr(b, measure) - getattr(a, measure) for a, b in pairs]
            result[f"{name}_{measure}_difference"] = spread(gaps)
        result[f"{name}_accuracy_fp32"] = spread([r.accuracy for r in found["fp32"]])
        times = zip(found["fp32"], found["bf16"], strict=True)
        result[f"{name}_time_ratio"] = spread([b.train_seconds / a.train_seconds for a, b in times])
    finish(result, as_json=arguments.json)


if __name__ == "__main__":
    main()
