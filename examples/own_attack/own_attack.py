"""Judge a membership attack of your own, beside one that raysweep has.

    cd examples/own_attack
    python own_attack.py

The script adds the attack to the catalogue of its own process and runs two trials there. A sweep
trains in other processes, which do not see this entry. To use an attack in sweeps, move its class
into a file below raysweep/attacks/membership/, and add its import and its entry to
raysweep/attacks/__init__.py. The contract tests in tests/attacks/ then cover it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic.dataclasses import dataclass

import raysweep
from raysweep.attacks import MEMBERSHIP
from raysweep.attacks.contract import Scores


@dataclass(frozen=True, kw_only=True)
class Margin:
    """A black-box attack: the label's logit stands further above the others' for a member.

    Fields of this dataclass are the attack's parameters in a space, checked by pydantic.
    """

    runners_up: int = 1  # how many of the other classes count, the highest first

    needs: ClassVar[tuple[str, ...]] = ()  # no shadow models, no known members

    def score(self, target: Any, examples: Any, knowledge: Any, *, seed: int) -> Scores:
        """Return one score for each example, (n,): a higher score says member.

        The examples are members and nonmembers in random order. The attack is not told which.
        """
        logits = np.asarray(target.logits(examples), dtype=np.float64)  # (n, n_classes)
        rows = np.arange(len(logits))
        of_label = logits[rows, examples.labels]

        others = logits.copy()
        others[rows, examples.labels] = -np.inf
        highest = np.sort(others, axis=1)[:, -self.runners_up :]
        return Scores(values=of_label - highest.mean(axis=1))


def main() -> None:
    """Print the AUC of both attacks, without a defence and with dropout."""
    MEMBERSHIP["margin"] = Margin
    space = raysweep.load_space(str(Path(__file__).with_suffix(".yaml")))

    for dropout in (0.0, 0.5):
        result = raysweep.run_trial(space.config({"dropout": dropout}))
        print(f"dropout {dropout}: accuracy {result.trial.accuracy:.3f}")
        for attack in result.attacks:
            interval = f"{attack.auc_low:.3f} to {attack.auc_high:.3f}"
            print(f"  {attack.attack}: AUC {attack.auc:.3f} ({interval})")


if __name__ == "__main__":
    main()
