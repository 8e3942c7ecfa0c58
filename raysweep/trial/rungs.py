"""Attack a model in training cheaply, so that pruning can compare trials at a rung.

They are the tail of the losses of a sample of the judged examples, and ridge regression from the
prediction vector to a sample of the members. Only trials that reach the end get the full attacks.
"""

from __future__ import annotations

import time

import numpy as np
import torch

from raysweep.attacks import metrics
from raysweep.attacks.contract import Knowledge, Observed
from raysweep.attacks.inversion.activation_decoder import ActivationDecoder
from raysweep.config import sub_seed
from raysweep.data import Split, Splits, concatenate
from raysweep.records.trial_config import TrialConfig
from raysweep.training import signals
from raysweep.training.loop import Epoch
from raysweep.training.target import TrainedTarget
from raysweep.trial.inversion_judge import Examples, floors

N_JUDGED = 500  # members, and as many nonmembers

N_POOL = 1000  # pool examples that the decoder is fitted on


def rung_figures(
    config: TrialConfig, splits: Splits, epoch: Epoch, device: torch.device
) -> dict[str, float]:
    """Return tail, inversion_mse with its floor, and rung_seconds of a model in training.

    The tail is left out without membership attacks. Reconstruction is left out unless the black-box
    layer counts. The examples are the same for all trials.
    """
    began = time.perf_counter()
    target = TrainedTarget(
        model=epoch.model,
        n_classes=splits.members.n_classes,
        privacy=epoch.privacy,
        _members=splits.members,
        device=device,
    )

    members, nonmembers, pool = (
        _sample(split, name, n, seed=config.seed)
        for name, split, n in (
            ("members", splits.members, N_JUDGED),
            ("nonmembers", splits.nonmembers, N_JUDGED),
            ("pool", splits.pool, N_POOL),
        )
    )
    judged = concatenate(members, nonmembers)
    knowledge = Knowledge(pool=pool)

    figures: dict[str, float] = {}
    if config.attacks.membership:
        truth = np.repeat([True, False], [len(members), len(nonmembers)])
        odds = signals.label_log_odds(target.logits(judged), judged.labels)
        seed = sub_seed(config.seed, "rung", "tail")
        figures["tail"] = metrics.tail_share(odds, truth, seed=seed)
    if config.attacks.inversion and config.attacks.inversion_mse == "output":
        outputs = torch.from_numpy(signals.inversion_view(target.logits(judged)[: len(members)]))
        subject = Examples(members=members, nonmembers=nonmembers, seed=config.seed)
        figures |= _inversion(target, subject, outputs.float(), knowledge)
    return figures | {"rung_seconds": time.perf_counter() - began}


def _sample(split: Split, name: str, n: int, *, seed: int) -> Split:
    order = np.random.default_rng(sub_seed(seed, "rung", name)).permutation(len(split))
    return split.rows(order[:n])


def _inversion(
    target: TrainedTarget, subject: Examples, outputs: torch.Tensor, knowledge: Knowledge
) -> dict[str, float]:
    observed = Observed(layer="output", activations=outputs, labels=subject.labels)
    attack = ActivationDecoder(decoders=("ridge",), examples=N_POOL)
    ridge_seed = sub_seed(subject.seed, "rung", "ridge")
    images = attack.reconstruct(target, observed, knowledge, seed=ridge_seed).images
    return {
        "inversion_mse": metrics.mean_squared_error(images, subject.members.pixels()),
        "inversion_floor": floors(knowledge.pool, subject)[0],
    }
