"""Measure the effect of `training.precision: bf16`, over five seeds.

python -m benchmarks.precision [--json]: thesis_cnn with tanh on 5,000 members of real
Fashion-MNIST, 10 epochs, undefended and at epsilon 8, each seed in fp32 and in bf16 on one thread.
Printed are the differences bf16 minus fp32 of the same seed in validation accuracy, AUC of the loss
attack and epsilon spent (0 by construction: the noise does not depend on the precision), and the
ratio of the training times.
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
    """Train each seed in both precisions, and print the differences."""
    parser = options(__doc__)
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    result: dict[str, Any] = {}
    for name, epsilon in (("undefended", float("inf")), ("epsilon_8", 8.0)):
        records_by_precision: dict[str, list[Any]] = {"fp32": [], "bf16": []}
        for seed in SEEDS:
            for precision, records in records_by_precision.items():
                values = {"seed": seed, "training.precision": precision, "epsilon": epsilon}
                record = raysweep.run_trial(raysweep.load_space(SPACE).config(values)).trial
                records.append(record)
                line = f"{name} {precision}, seed {seed}: {record.accuracy}"
                print(line, f"{record.train_seconds:.1f} s", file=sys.stderr)
        fp32 = records_by_precision["fp32"]
        pairs = list(zip(fp32, records_by_precision["bf16"], strict=True))
        measures = ["accuracy", "attack_auc"]
        if epsilon < float("inf"):
            measures.append("epsilon")
        for measure in measures:
            gaps = [getattr(b, measure) - getattr(a, measure) for a, b in pairs]
            result[f"{name}_{measure}_difference"] = spread(gaps)
        result[f"{name}_accuracy_fp32"] = spread([r.accuracy for r in fp32])
        result[f"{name}_time_ratio"] = spread([b.train_seconds / a.train_seconds for a, b in pairs])

    finish(result, as_json=arguments.json)


if __name__ == "__main__":
    main()
