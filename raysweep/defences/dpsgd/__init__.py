"""DP-SGD by target epsilon or by noise multiplier (Abadi et al. 2016).

Only this package reads the accountants of Opacus, without the rest of it.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import ceil, inf
from typing import TYPE_CHECKING, Annotated, Literal, Self

from annotated_types import Ge, Gt, Lt
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from raysweep.errors import PrivacyError

if TYPE_CHECKING:
    from raysweep.config import Training
    from raysweep.data import Split, Splits
    from raysweep.defences.dpsgd.accounting import AccountantName
    from raysweep.defences.dpsgd.gradients import PrivateGradients
    from raysweep.training.recipe import PrivacySpent, Recipe

GIVEN_NOISE = (1e-9, 1e5)
"""The noise multipliers above 0 whose epsilon the accountants can compute."""


@dataclass(frozen=True, kw_only=True)
class DPSGD:
    """(epsilon, delta)-DP of the released weights, for each member's record.

    It is for replacing one record by nothing, with the number of members public and fixed. With
    ``training.private.expected_batch`` and ``sample_rate`` it is for adding or removing one record.
    The noise is calibrated to ``target_epsilon`` at ``delta`` (inf: plain training), or given as
    ``noise_multiplier`` (0: plain training): its standard deviation is noise_multiplier *
    ``max_grad_norm``, and each example's gradient is clipped to that L2 norm. ``accountant`` is prv
    (tight) or rdp (4 - 17 % more noise, faster).
    """

    target_epsilon: Annotated[
        float, Gt(0), Field(description="DP-SGD's budget at delta; inf: no DP")
    ] = inf
    noise_multiplier: Annotated[
        float,
        Ge(0),
        Lt(inf),
        Field(description="DP-SGD's noise, in place of target_epsilon; 0: no DP"),
    ] = 0.0
    delta: Annotated[
        float, Gt(0), Lt(1), Field(description="DP-SGD: must be below 1 / members")
    ] = 1e-5
    max_grad_norm: Annotated[
        float, Gt(0), Lt(inf), Field(description="DP-SGD: L2 norm to which gradients are clipped")
    ] = 1.0
    accountant: Annotated[
        Literal["rdp", "prv"], Field(description="DP-SGD: prv needs less noise, rdp is faster")
    ] = "prv"

    @model_validator(mode="after")
    def _check_noise(self) -> Self:
        if self.target_epsilon < inf and self.noise_multiplier > 0:
            raise ValueError(
                "give `target_epsilon` or `noise_multiplier`, not both; "
                f"got {self.target_epsilon} and {self.noise_multiplier}"
            )

        least, most = GIVEN_NOISE
        if self.noise_multiplier and not least <= self.noise_multiplier <= most:
            raise ValueError(
                f"`noise_multiplier` must be 0, or from {least:g} to {most:,.0f}, "
                f"got {self.noise_multiplier:g}; leave it out to train without DP-SGD"
            )
        return self

    @property
    def is_neutral(self) -> bool:
        """Whether training is plain."""
        return self.target_epsilon == inf and self.noise_multiplier == 0

    def apply(self, recipe: Recipe, reference: Split) -> Recipe:
        """Return the recipe with its settings for private training and the Gaussian mechanism."""
        training = recipe.training.as_private()

        def mechanism(n: int) -> PrivateGradients:
            return self._mechanism(n, training)

        return replace(recipe, training=training, mechanism=mechanism)

    def _mechanism(self, n: int, training: Training) -> PrivateGradients:
        """Return the mechanism for ``n`` members, its noise calibrated to all steps.

        Raises:
            PrivacyError: delta or the expected batch is too large, or no noise reaches the target
                epsilon.

        """
        from raysweep.defences.dpsgd import accounting
        from raysweep.defences.dpsgd.gradients import PrivateGradients

        self.check_delta(n)
        check_expected_batch(training, n)
        sample_rate, steps = _plan(training, n)

        noise = self.noise_multiplier
        if self.target_epsilon < inf:
            noise = accounting.solve_noise(
                self.target_epsilon,
                delta=self.delta,
                sample_rate=sample_rate,
                steps=steps,
                accountant=self.accountant,
            )
        if not noise > 0:
            raise PrivacyError(
                f"DP-SGD with target_epsilon {self.target_epsilon} needs a noise multiplier > 0",
                got=noise,
                remedy="lower target_epsilon",
            )

        return PrivateGradients(
            n,
            sample_rate=sample_rate,
            divisor=training.private.expected_batch or n * sample_rate,
            noise_multiplier=noise,
            max_grad_norm=self.max_grad_norm,
            account=lambda taken, clipping: replace(
                self._spent(noise, taken, steps, sample_rate, clipping),
                neighbours=training.private.neighbours,
            ),
            precision=training.precision,
        )

    def _spent(
        self, noise: float, steps: int, planned: int, sample_rate: float, clipping: str
    ) -> PrivacySpent:
        """Return what ``steps`` steps spend; raise PrivacyError if it exceeds the target."""
        from raysweep.defences.dpsgd import accounting
        from raysweep.training.recipe import PrivacySpent

        epsilon, accountant = self._epsilon(noise, steps, planned, sample_rate)
        if epsilon > self.target_epsilon * 1.001:
            raise PrivacyError(
                f"DP-SGD spent epsilon {epsilon}, more than the target {self.target_epsilon}"
            )

        return PrivacySpent(
            epsilon=epsilon,
            delta=self.delta,
            noise_multiplier=noise,
            sample_rate=sample_rate,
            steps=steps,
            accountant=accountant,
            accountant_settings=accounting.SETTINGS[accountant],
            clipping=clipping,
        )

    def _epsilon(
        self, noise: float, steps: int, planned: int, sample_rate: float
    ) -> tuple[float, AccountantName]:
        """Return the epsilon of ``steps`` steps and its accountant.

        Before the last planned step it is that of RDP or of all planned steps, whichever is less:
        both hold, and PRV would take a second for each epoch.
        """
        from raysweep.defences.dpsgd.accounting import accountant_of_target, epsilon_spent

        spent = partial(epsilon_spent, noise, delta=self.delta, sample_rate=sample_rate)
        accountant = accountant_of_target(self.target_epsilon, self.accountant)
        of_all = spent(steps=max(steps, planned), accountant=accountant)
        return of_all if steps >= planned else min(of_all, spent(steps=steps, accountant="rdp"))

    def check(self, splits: Splits) -> None:
        """Raise :class:`PrivacyError` unless delta is below 1 / members."""
        self.check_delta(len(splits.members))

    def with_any_noise(self, training: Training, n: int) -> DPSGD:
        """Return the defence with an amount of noise that takes no time to find.

        To try a model by it tells what the right noise does: it depends on it in nothing else.

        Raises:
            PrivacyError: no noise reaches the target epsilon.

        """
        if self.target_epsilon == inf:
            return self
        from raysweep.defences.dpsgd.accounting import check_reachable

        sample_rate, steps = _plan(training.as_private(), n)
        check_reachable(self.target_epsilon, delta=self.delta, sample_rate=sample_rate, steps=steps)
        return replace(self, target_epsilon=inf, noise_multiplier=1.0)

    def check_delta(self, n: int) -> None:
        """Raise :class:`PrivacyError` unless delta < 1 / n.

        With a larger delta, a mechanism that publishes a random example satisfies the definition.
        """
        if not self.is_neutral and self.delta >= 1 / n:
            raise PrivacyError(
                f"`delta` must be below 1 / members = {1 / n:.2g}",
                got=self.delta,
                remedy="lower delta",
            )


def _plan(training: Training, n: int) -> tuple[float, int]:
    """Return the sampling rate and the steps of a private training on ``n`` members."""
    sample_rate = training.private_rate(n)
    return sample_rate, training.epochs * ceil(1 / sample_rate - 1e-9)


def check_expected_batch(training: Training, n: int) -> None:
    """Raise :class:`PrivacyError` unless a constant expected batch is at most ``n`` members."""
    expected = training.private.expected_batch
    if expected is not None and expected > n:
        raise PrivacyError(
            f"`training.private.expected_batch` must be at most the members, {n:,}",
            got=expected,
            remedy="lower it, or leave it and `sample_rate` out",
        )
