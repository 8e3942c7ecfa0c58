"""DP-SGD by epsilon or by noise multiplier (Abadi et al. 2016). The only door to Opacus."""

from __future__ import annotations

from dataclasses import replace
from math import ceil, inf
from typing import TYPE_CHECKING, Annotated, Literal, Self

from annotated_types import Ge, Gt, Lt
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from raysweep.errors import PrivacyError

if TYPE_CHECKING:
    from raysweep.config import Training
    from raysweep.data import Split, Splits
    from raysweep.defences.dpsgd.gradients import PrivateGradients
    from raysweep.training.recipe import PrivacySpent, Recipe


@dataclass(frozen=True, kw_only=True)
class DPSGD:
    """DP-SGD with the budget ``target_epsilon`` at ``delta``, or with a ``noise_multiplier``.

    ``target_epsilon`` inf together with ``noise_multiplier`` 0 is plain training.
    ``max_grad_norm`` bounds each example's gradient; ``accountant`` is rdp (fast) or prv
    (5 - 9 % less noise, slower to solve).
    """

    target_epsilon: Annotated[
        float, Gt(0), Field(description="DP-SGD's budget at delta; inf: no DP")
    ] = inf
    noise_multiplier: Annotated[
        float,
        Ge(0),
        Lt(inf),
        Field(description="DP-SGD by its noise in place of target_epsilon; 0: no DP"),
    ] = 0.0
    delta: Annotated[
        float, Gt(0), Lt(1), Field(description="DP-SGD: must be below 1 / members")
    ] = 1e-5
    max_grad_norm: Annotated[
        float, Gt(0), Lt(inf), Field(description="DP-SGD: each example's gradient is clipped to it")
    ] = 1.0
    accountant: Annotated[
        Literal["rdp", "prv"], Field(description="DP-SGD: rdp is fast, prv needs less noise")
    ] = "rdp"

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if self.target_epsilon < inf and self.noise_multiplier > 0:
            raise ValueError(
                "give `target_epsilon` or `noise_multiplier`, not both; "
                f"got {self.target_epsilon} and {self.noise_multiplier}"
            )
        return self

    @property
    def is_neutral(self) -> bool:
        """Whether training is plain."""
        return self.target_epsilon == inf and self.noise_multiplier == 0

    def apply(self, recipe: Recipe, reference: Split) -> Recipe:
        """Return the recipe with its private settings and this mechanism."""
        training = recipe.training.as_private()

        def mechanism(n: int, steps: int) -> PrivateGradients:
            return self._mechanism(n, steps, training)

        return replace(recipe, training=training, mechanism=mechanism)

    def _mechanism(self, n: int, steps: int, training: Training) -> PrivateGradients:
        from raysweep.defences.dpsgd import accounting
        from raysweep.defences.dpsgd.gradients import PrivateGradients

        self.check_delta(n)
        steps_per_epoch = ceil(n / training.batch_size)
        sample_rate = 1 / steps_per_epoch
        rule = {"delta": self.delta, "sample_rate": sample_rate, "accountant": self.accountant}
        noise = self.noise_multiplier
        if self.target_epsilon < inf:
            noise = accounting.noise_for(self.target_epsilon, steps=steps, **rule)
        if not noise > 0:
            raise PrivacyError(
                f"DP-SGD: epsilon {self.target_epsilon} was asked for and the noise multiplier "
                f"is {noise}; nothing is trained"
            )
        return PrivateGradients(
            n,
            sample_rate=sample_rate,
            noise_multiplier=noise,
            max_grad_norm=self.max_grad_norm,
            account=lambda taken, clipping: self._spent(noise, taken, sample_rate, clipping),
            precision=training.precision,
        )

    def _spent(self, noise: float, steps: int, sample_rate: float, clipping: str) -> PrivacySpent:
        from raysweep.defences.dpsgd import accounting
        from raysweep.training.recipe import PrivacySpent

        epsilon, answered = accounting.spent(
            noise,
            delta=self.delta,
            sample_rate=sample_rate,
            steps=steps,
            accountant=self.accountant,
        )
        if epsilon > self.target_epsilon * 1.001:
            raise PrivacyError(
                f"DP-SGD spent epsilon {epsilon}, more than the {self.target_epsilon} asked"
            )
        return PrivacySpent(
            epsilon=epsilon,
            delta=self.delta,
            noise_multiplier=noise,
            sample_rate=sample_rate,
            steps=steps,
            accountant=answered,
            accountant_settings=accounting.SETTINGS[answered],
            clipping=clipping,
        )

    def check(self, splits: Splits) -> None:
        """Raise :class:`PrivacyError` unless delta suits the number of members."""
        self.check_delta(len(splits.members))

    def check_delta(self, n: int) -> None:
        """Raise :class:`PrivacyError` unless delta < 1 / n: above it, DP may publish an example."""
        if not self.is_neutral and self.delta >= 1 / n:
            law = f"must be below 1 / members = {1 / n:.2g}"
            raise PrivacyError(f"`delta` {law}, got {self.delta}; lower delta")
