"""Attacks and a defence of a user, with some classes that break the contract."""

import dataclasses
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge, Lt
from pydantic.dataclasses import dataclass

from raysweep.attacks.contract import Reconstruction, Scores


@dataclass(frozen=True, kw_only=True)
class Margin:
    """The label's logit minus the highest others'."""

    runners_up: Annotated[int, Ge(1)] = 1

    needs: ClassVar[tuple[str, ...]] = ()

    def score(self, target, examples, knowledge, *, seed):
        logits = np.asarray(target.logits(examples), dtype=np.float64)
        rows = np.arange(len(logits))
        of_label = logits[rows, examples.labels]
        logits[rows, examples.labels] = -np.inf
        return Scores(values=of_label - np.sort(logits, axis=1)[:, -self.runners_up :].mean(axis=1))


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeanImage:
    """The mean image of the pool, in a dataclass of Python's own."""

    layers: tuple[str | None, ...] = ("output",)

    needs: ClassVar[tuple[str, ...]] = ("pool",)

    def reconstruct(self, target, observed, knowledge, *, seed):
        n, mean = len(observed.labels), knowledge.pool.pixels().mean(axis=0)
        images = np.repeat(mean[None], n, axis=0).astype(np.float32)
        return Reconstruction(images=images, converged=np.ones(n, bool))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Penalty:
    """A confidence penalty with one more number and a text."""

    weight: Annotated[float, Ge(0), Lt(10)] = 0.0
    power: Annotated[int, Ge(1)] = 1
    kind: str = "entropy"

    breaks_privacy: ClassVar[str | None] = None

    @property
    def is_neutral(self):
        return self.weight == 0

    def apply(self, recipe, reference):
        before = recipe.loss

        def loss(logits, targets):
            log_posteriors = logits.log_softmax(dim=1)
            entropy = -(log_posteriors.exp() * log_posteriors).sum(dim=1)
            return before(logits, targets) - self.weight * entropy**self.power

        return dataclasses.replace(recipe, loss=loss)


@dataclass(frozen=True, kw_only=True)
class Unstated:
    """Does not say whether it breaks the guarantee of DP-SGD, and fails when it is used."""

    weight: float = 0.0

    @property
    def is_neutral(self):
        return self.weight == 0

    def apply(self, recipe, reference):
        if self.weight == 1:
            raise KeyError("lost")
        if self.weight == 2:
            return None
        return dataclasses.replace(recipe, loss=lambda logits, targets: logits.mean())


@dataclass(frozen=True, kw_only=True)
class NeverNeutral(Unstated):
    """Its defaults do not mean plain training."""

    weight: float = 0.5


@dataclass(frozen=True, kw_only=True)
class NoDefault(Unstated):
    """Its strength has no default."""

    weight: float = dataclasses.field()


class Plain:
    """Not a dataclass."""


@dataclass(frozen=True, kw_only=True)
class NoScore:
    """Lacks a method."""

    needs: ClassVar[tuple[str, ...]] = ()


@dataclass(frozen=True, kw_only=True)
class Greedy(Margin):
    """Needs what there is not."""

    needs: ClassVar[tuple[str, ...]] = ("pool-shadow",)


@dataclass(frozen=True, kw_only=True)
class WrongScores(Margin):
    """Gives too few scores, or none."""

    def score(self, target, examples, knowledge, *, seed):
        if self.runners_up == 2:
            raise KeyError("lost")
        return Scores(values=np.zeros(3))
