"""A shadow on another data set teaches what members look like (Salem et al. 2019, adversary 2)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Gt
from pydantic import Field
from pydantic.dataclasses import dataclass

from raysweep.attacks.contract import Knowledge, Need, Scores, Target
from raysweep.config import sub_seed
from raysweep.data import SPLITS, Dataset, Split
from raysweep.errors import SpaceError

PAIRS = {
    "mnist": "fashion_mnist",
    "fashion_mnist": "mnist",
    "cifar10": "cifar100",
    "cifar100": "cifar10",
}
"""What ``dataset: auto`` takes."""


@dataclass(frozen=True, kw_only=True)
class DataTransfer:
    """Black-box, with data of another kind alone.

    ``n_shadows`` shadows follow the target's whole recipe on ``dataset`` (a name, a mapping with
    parameters, or auto), dealt in the target's sizes, in its own shape and classes. A classifier
    learns members from nonmembers by their three highest posteriors: ``mlp`` or ``logistic``.
    """

    needs: ClassVar[tuple[Need, ...]] = ()

    dataset: Annotated[
        str | dict[str, Any],
        Field(description="data set of the shadows: a name, a mapping, or `auto` for its pair"),
    ] = "auto"
    n_shadows: Annotated[int, Gt(0), Field(description="shadow models to train")] = 1
    classifier: Annotated[
        Literal["mlp", "logistic"], Field(description="64 hidden units, or logistic regression")
    ] = "mlp"

    def other(self, dataset: Dataset) -> Dataset:
        """Return the data set of the shadows, for a target on ``dataset``.

        Raises:
            SpaceError: it is the target's own, unknown, or ``auto`` has no pair for it.

        """
        given = self.dataset
        if given == "auto":
            if dataset.name not in PAIRS:
                rule = f"attack 'data_transfer': `dataset: auto` pairs {', '.join(PAIRS)} alone"
                raise SpaceError(rule, got=dataset.name, remedy="name another", place=["dataset"])
            given = PAIRS[dataset.name]
        settings = {"name": given} if isinstance(given, str) else dict(given)
        if not isinstance(settings.get("name"), str):
            raise SpaceError("`dataset` must be a name or have one", got=given, place=["dataset"])

        sizes = {key: dataset.settings[key] for key in ("split", *SPLITS)}
        other = Dataset.parse({**sizes, **settings})
        if (other.name, other.parameters) == (dataset.name, dataset.parameters):
            rule = "`dataset` of 'data_transfer' must be another data set than the target's"
            raise SpaceError(rule, got=given, place=["dataset"])
        return other

    def score(self, target: Target, examples: Split, knowledge: Knowledge, *, seed: int) -> Scores:
        """Return the log-odds of being a member; the classifier's own threshold is 0."""
        from raysweep.attacks.membership.classifier import learn

        lessons = [
            (shadow.target, shadow.members, shadow.nonmembers)
            for shadow in knowledge.shadows(self.n_shadows, dataset=self.dataset)
        ]
        own = sub_seed(seed, "classifier")
        predict = learn(lessons, kind=self.classifier, top=3, seed=own)
        return Scores(values=predict(target, examples), threshold=0.0)
