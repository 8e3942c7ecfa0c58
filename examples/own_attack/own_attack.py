"""A membership attack of your own: the class that own_attack.yaml names.

    cd examples/own_attack
    raysweep validate own_attack.yaml
    raysweep sweep own_attack.yaml
    python -c "import own_attack, raysweep.testing as t; t.check_attack(own_attack.Margin)"

The last command trains small networks and says which rule of the contract the class breaks, if any.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge
from pydantic.dataclasses import dataclass

from raysweep.attacks.contract import Scores


@dataclass(frozen=True, kw_only=True)
class Margin:
    """A black-box attack: the label's logit stands further above the others' for a member.

    Fields of this dataclass are the attack's parameters in a space, checked by pydantic.
    """

    runners_up: Annotated[int, Ge(1)] = 1  # how many of the other classes count, the highest first

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
