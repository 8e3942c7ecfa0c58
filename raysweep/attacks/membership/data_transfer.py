"""The shadow attack with shadows on another data set (Salem et al. 2019, adversary 2)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Gt
from pydantic import Field
from pydantic.dataclasses import dataclass

from raysweep.attacks.contract import Knowledge, Need, Scores, Target
from raysweep.data import SPLITS, Dataset, Split
from raysweep.errors import SpaceError

PAIRS = {
    "mnist": "fashion_mnist",
    "fashion_mnist": "mnist",
    "cifar10": "cifar100",
    "cifar100": "cifar10",
}
"""The data set of the target -> the data set of the shadows under ``dataset: auto``."""


@dataclass(frozen=True, kw_only=True)
class DataTransfer:
    """Black-box, with data of another distribution only.

    ``n_shadows`` shadow models are trained by the target's whole recipe on ``dataset``: a name, a
    mapping with parameters, or auto. It is dealt in the target's sizes and keeps its own shape and
    classes. A classifier is trained to tell the shadows' members from their nonmembers by the
    three highest posteriors: ``mlp`` (64 units) or ``logistic``.
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
            SpaceError: the data set is that of the target, is unknown, or ``auto`` has none for it.

        """
        given = self.dataset
        if given == "auto":
            if dataset.name not in PAIRS:
                raise SpaceError(
                    "attack 'data_transfer': `dataset: auto` needs a target on one of "
                    f"{', '.join(PAIRS)}",
                    got=dataset.name,
                    remedy="name another",
                    place=["dataset"],
                )
            given = PAIRS[dataset.name]
        settings = {"name": given} if isinstance(given, str) else dict(given)
        if not isinstance(settings.get("name"), str):
            raise SpaceError("`dataset` must be a name or have one", got=given, place=["dataset"])

        sizes = {key: dataset.settings[key] for key in ("split", *SPLITS)}
        other = Dataset.parse({**sizes, **settings})
        if (other.name, other.parameters) == (dataset.name, dataset.parameters):
            raise SpaceError(
                "`dataset` of 'data_transfer' must be another data set than the target's",
                got=given,
                place=["dataset"],
            )
        return other

    def score(self, target: Target, examples: Split, knowledge: Knowledge, *, seed: int) -> Scores:
        """Return the log-odds of being a member; the classifier's own threshold is 0."""
        from raysweep.attacks.membership.classifier import train_on_shadows

        shadows = knowledge.shadows(self.n_shadows, dataset=self.dataset)
        predict = train_on_shadows(shadows, kind=self.classifier, seed=seed)
        return Scores(values=predict(target, examples), threshold=0.0)
