"""Test whether the private step of a configuration keeps its guarantee on this machine.

Canaries go through one run of the mechanism (:mod:`raysweep.trial.canaries`). Beside them each
property that the proof uses is tested alone: batches, clipping, divisor, noise, and buffers. A
right code fails all of this together at most once in 1,000 runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.stats import chi2
from scipy.stats import t as student
from torch import Tensor, nn

from raysweep.config import sub_seed
from raysweep.defences.dpsgd import DPSGD
from raysweep.errors import PrivacyError
from raysweep.records.trial_config import TrialConfig
from raysweep.training.loop import isolated_rng
from raysweep.training.packed_models import pack
from raysweep.training.recipe import EVALUATION_BATCH, plain_recipe
from raysweep.training.target import pixels
from raysweep.trial.canaries import MOST_CANARIES, STEPS, Audit, Canaries, audit, run

if TYPE_CHECKING:
    from raysweep.data import Splits
    from raysweep.defences.dpsgd.gradients import PrivateGradients


LEVEL = 1e-4
"""The chance at which one test fails a right code; there are at most eight by chance."""

CHECKED = 8
"""Members whose clipped gradients are summed alone and together."""

MOST_DRAWN = 2_000_000
"""About how many numbers of noise are drawn at most."""

EPOCHS = 20
"""Epochs of batches whose sizes are tested."""

CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one test found: ``is_right``, and a sentence with the numbers."""

    name: str
    is_right: bool
    text: str


def selftest(config: TrialConfig, splits: Splits, *, seed: int) -> list[Finding]:
    """Return what each test of the configuration's private step found.

    Raises:
        PrivacyError: the configuration has no DP-SGD, or its model would break the guarantee.

    """
    step = _Step(config, splits, seed=seed)
    return [
        step.canaries(),
        *step.batches(),
        *step.sums(),
        *step.noise(),
        *step.noise_of_packed_models(),
        step.buffers(),
    ]


def audited(config: TrialConfig, splits: Splits, *, seed: int) -> Audit:
    """Return what canaries alone show of the configuration's private step, as numbers.

    Raises:
        PrivacyError: as :func:`selftest`.

    """
    return _Step(config, splits, seed=seed).audit()


class _Step:
    """The private step of a configuration, and the tests of it."""

    def __init__(self, config: TrialConfig, splits: Splits, *, seed: int) -> None:
        self.config, self.splits, self.seed = config, splits, seed
        self.dpsgd = next(d for d in config.defences.in_order if isinstance(d, DPSGD))
        if self.dpsgd.is_neutral:
            raise PrivacyError(
                "the self-test is of DP-SGD, and this configuration has none",
                remedy="give --at target_epsilon=2, or another budget of the space",
            )
        x, self.labels = splits.members.tensors(CPU)
        self.examples = pixels(x[:EVALUATION_BATCH], splits.members)
        self.norm = self.dpsgd.max_grad_norm

    def model(self, name: str = "model") -> nn.Module:
        """Return a new module with weights of its own seed, in training mode, without dropout."""
        members = self.splits.members
        with isolated_rng(sub_seed(self.seed, "selftest", name), CPU):
            module = self.config.model.model.build(members.shape, members.n_classes)
        return module.train()

    def mechanism(self, n: int, *, noise: float | None = None) -> PrivateGradients:
        """Return the mechanism of ``n`` records, with ``noise`` in place of the configuration's.

        It has the configuration's rate, and about STEPS steps: its noise is solved for these.
        """
        rate = self.config.training.private_rate(len(self.splits.members))
        private = replace(
            self.config.training.private,
            batch_size=None,
            sample_rate=rate,
            expected_batch=max(1, round(rate * n)),
        )
        epochs = max(1, STEPS // ceil(1 / rate - 1e-9))
        training = replace(self.config.training, epochs=epochs, private=private)

        dpsgd = replace(self.dpsgd, delta=min(self.dpsgd.delta, 0.5 / n))
        if noise is not None:
            dpsgd = replace(dpsgd, target_epsilon=float("inf"), noise_multiplier=noise)
        self.epochs, self.divisor = epochs, private.expected_batch or 1
        self.planned = epochs * ceil(1 / rate - 1e-9)
        recipe = plain_recipe(self.config.model.model.build, training)
        mechanism: PrivateGradients = dpsgd.apply(recipe, self.splits.reference).mechanism(n)  # type: ignore[assignment]
        return mechanism

    def canaries(self) -> Finding:
        """Return what canaries show of the mechanism, in words."""
        found = self.audit()
        text = _of_audit(found, self.config.training.private.neighbours)
        return Finding(name="canaries", is_right=not found.is_broken, text=text)

    def audit(self) -> Audit:
        """Return what canaries show of the mechanism."""
        model = self.model()
        parameters = [p for p in model.parameters() if p.requires_grad]
        seed = sub_seed(self.seed, "selftest", "canaries")
        canaries = Canaries(parameters, MOST_CANARIES, self.norm, seed=seed)
        m = len(canaries.places)

        mechanism = self.mechanism(m)
        mechanism.check(model, self.examples)
        mechanism.attach(model, self.examples, seeds=[seed])
        mechanism.clip_by(canaries)
        coins = torch.randint(2, (m,), generator=torch.Generator().manual_seed(seed + 1))
        said = run(mechanism, canaries, parameters, coins, epochs=self.epochs, seed=seed)
        return audit(said, coins.numpy() > 0, mechanism.privacy_spent(), level=LEVEL, seed=seed)

    def batches(self) -> Iterator[Finding]:
        """Yield whether batches are Poisson samples, of one model and of several at once."""
        mechanism = self.mechanism(len(self.splits.members))
        seed = sub_seed(self.seed, "selftest", "batches")
        first, *others = (torch.Generator().manual_seed(seed + i) for i in range(3))
        alone = [len(batch) for _ in range(EPOCHS) for batch in mechanism.batches(first)]
        yield self._vary("batches", alone)
        packed = [
            real.sum(1) for _ in range(EPOCHS) for _, real in mechanism.packed_batches(others)
        ]
        yield self._vary("batches of packed models", torch.cat(packed).tolist())

    def _vary(self, name: str, found: list[int]) -> Finding:
        """Return whether each size of a batch varies as a binomial number."""
        n, sizes = len(self.splits.members), np.array(found)
        rate = self.config.training.private_rate(n)
        variance = n * rate * (1 - rate)
        if variance == 0:
            right = bool((sizes == n).all())
            return Finding(name=name, is_right=right, text="every batch holds all members")

        scaled = float(((sizes - n * rate) ** 2).sum() / variance)
        low, high = chi2.ppf([LEVEL / 2, 1 - LEVEL / 2], len(sizes))
        text = (
            f"sizes of {len(sizes)} batches vary by {scaled / len(sizes):.2f} of a Poisson "
            f"sample's variance (allowed {low / len(sizes):.2f} to {high / len(sizes):.2f})"
        )
        return Finding(name=name, is_right=bool(low < scaled < high), text=text)

    def sums(self) -> Iterator[Finding]:
        """Yield whether each example adds at most the norm, whatever else is in the batch."""
        model, n = self.model(), len(self.splits.members)
        mechanism = self.mechanism(n, noise=1e-9)
        forward = mechanism.attach(model, self.examples, seeds=[0])
        rows = torch.arange(min(CHECKED, len(self.examples)))

        def summed(chosen: Tensor) -> Tensor:
            start = 0

            def loss(part: Tensor) -> Tensor:
                nonlocal start
                logits = forward(part).to(part.dtype)
                labels, start = self.labels[chosen][start : start + len(part)], start + len(part)
                picked: Tensor = logits.gather(1, labels[:, None])[:, 0]
                return 1e4 * picked

            model.zero_grad()
            with isolated_rng(0, CPU):
                mechanism.gradients(loss, self.examples[chosen])
            grads = [p.grad for p in model.parameters() if p.grad is not None]
            return torch.cat([g.flatten() for g in grads]).double() * self.divisor

        alone = [summed(rows[i : i + 1]) for i in range(len(rows))]
        largest = max(float(one.norm()) for one in alone) / self.norm
        yield Finding(
            name="clipping",
            is_right=largest <= 1.001,
            text=f"one example adds at most {largest:.4g} of the clipping norm",
        )

        gap = float((summed(rows) - torch.stack(alone).sum(0)).norm()) / self.norm
        yield Finding(
            name="sums",
            is_right=gap <= 0.01,
            text=f"{len(rows)} examples together differ from their sum by {gap:.2g} of the norm",
        )
        mechanism.clip_by(Canaries([*model.parameters()], 1, self.norm, seed=0))  # frees the hooks

    def noise(self) -> Iterator[Finding]:
        """Yield whether each parameter's noise has its size, and is new in each step."""
        model, n = self.model(), len(self.splits.members)
        mechanism = self.mechanism(n)
        mechanism.attach(model, self.examples, seeds=[sub_seed(self.seed, "selftest", "noise")])
        parameters = [p for p in model.parameters() if p.requires_grad]
        mechanism.clip_by(Canaries(parameters, 1, self.norm, seed=0))

        enough = ceil(MOST_DRAWN / sum(p.numel() for p in parameters))
        steps = max(2, min(self.planned, enough))  # more would spend more than the target
        drawn = [_of_step(mechanism, parameters) for _ in range(steps)]
        sigma = mechanism.privacy_spent().noise_multiplier * self.norm / self.divisor
        yield _size_of_noise(drawn, sigma)
        each = torch.stack([torch.cat(step) for step in drawn])
        yield _shared(each, f"noise of {steps} steps", "noise between steps")

    def noise_of_packed_models(self) -> Iterator[Finding]:
        """Yield whether models that are trained at once have noise of their own, if they can be."""
        models = [self.model("one"), self.model("two")]
        packed = pack(models, [torch.Generator(), torch.Generator()])
        if packed is None:
            return
        mechanism = self.mechanism(len(self.splits.members))
        examples = torch.stack([self.examples[:1]] * 2)
        mechanism.attach(packed.train(), examples, seeds=[1, 2])
        parameters = [*packed.parameters()]
        mechanism.clip_by(Canaries(parameters, 1, self.norm, seed=0))
        drawn = _of_step(mechanism, parameters, shape=True)
        each = torch.cat([g.flatten(1) for g in drawn], dim=1)
        yield _shared(each, "noise of two models trained at once", "noise between models")

    def buffers(self) -> Finding:
        """Return whether a step leaves every buffer as it was."""
        model, n = self.model(), len(self.splits.members)
        before = {name: buffer.clone() for name, buffer in model.named_buffers()}
        with isolated_rng(0, CPU), torch.no_grad():
            model(self.examples[:16])
        changed = [
            name for name, buffer in model.named_buffers() if not torch.equal(buffer, before[name])
        ]
        what = f"changed by a batch: {', '.join(changed)}" if changed else "none changed by a batch"
        text = f"buffers: {len(before)}, {what}; members {n:,}"
        return Finding(name="buffers", is_right=not changed, text=text)


def _of_step(
    mechanism: PrivateGradients, parameters: list[nn.Parameter], *, shape: bool = False
) -> list[Tensor]:
    """Return each parameter's gradient after a step without examples: noise alone."""
    for parameter in parameters:
        parameter.grad = None
    mechanism.gradients(lambda x: x, torch.zeros(0, 1))
    grads = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in parameters]
    return grads if shape else [g.flatten() for g in grads]


def _size_of_noise(drawn: list[list[Tensor]], sigma: float) -> Finding:
    """Return whether the noise of every parameter has the standard deviation ``sigma``."""
    level, wrong = LEVEL / len(drawn[0]), []
    squares, numbers = [], []
    for of_parameter in zip(*drawn, strict=True):
        values = torch.cat(of_parameter).double() / sigma
        squares.append(float(values.square().sum()))
        numbers.append(len(values))
        low, high = chi2.ppf([level / 2, 1 - level / 2], numbers[-1])
        if not low < squares[-1] < high:
            wrong.append(f"{(squares[-1] / numbers[-1]) ** 0.5:.3f}")

    text = f"standard deviation {(sum(squares) / sum(numbers)) ** 0.5:.3f} of the right one"
    text += f"; parameters that have another one: {', '.join(wrong) or 'none'}"
    return Finding(name="noise", is_right=not wrong, text=text)


def _shared(each: Tensor, what: str, name: str) -> Finding:
    """Return whether no two draws of noise, the rows of ``each``, are correlated.

    The correlation of two draws without a common part follows Student's law (Fisher 1915).
    """
    n, d = each.shape
    rows = each.double() / each.double().norm(dim=1, keepdim=True)
    pairs = torch.triu(rows @ rows.T, diagonal=1)
    largest = float(pairs.abs().max())
    t = float(student.isf(LEVEL / (n * (n - 1)), d - 1))
    most = t / (d - 1 + t**2) ** 0.5
    text = f"{what}: largest correlation {largest:.3f} (allowed {most:.3f})"
    return Finding(name=name, is_right=largest < most, text=text)


def _of_audit(found: Audit, neighbours: str) -> str:
    return (
        f"{found.n:,} canaries show epsilon >= {found.shown:.2f}, claimed are {found.claimed:.2f} "
        f"(for one record, {neighbours}); the best attacker would have shown "
        f"{found.could_have_shown:.2f} with so many, and a low bound is no evidence of a small "
        "epsilon"
    )
