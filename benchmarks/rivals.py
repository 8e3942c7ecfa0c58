"""The alternatives to raysweep's attacks: those of ART, and plain loops after the papers.

ART is the Adversarial Robustness Toolbox (pip install 'raysweep[bench]'). Each attack is used as in
its manual. The loops follow PyTorch's tutorials: DataLoader, its default layout, its Adam.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from raysweep.attacks.contract import Known
from raysweep.attacks.inversion import convolutional
from raysweep.data import Split
from raysweep.training.loop import isolated_rng
from raysweep.training.target import TrainedTarget

CPU = torch.device("cpu")


class Posteriors(nn.Module):
    """A target that returns probabilities, as ART requires."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """Return posteriors, (n, classes)."""
        posteriors: Tensor = self.model(x).softmax(dim=1)
        return posteriors


def art_classifier(target: TrainedTarget, shape: tuple[int, ...]) -> Any:
    """Return a target wrapped for ART."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from art.estimators.classification import PyTorchClassifier

        return PyTorchClassifier(
            Posteriors(target.model),
            loss=nn.NLLLoss(),
            input_shape=shape,
            nb_classes=target.n_classes,
            clip_values=(0.0, 1.0),
            device_type="cpu",
        )


def art_membership(
    teacher: TrainedTarget,
    known: Known,
    target: TrainedTarget,
    examples: Split,
    *,
    kind: str,
    labels: bool,
) -> NDArray[np.float64]:
    """Return ART's black-box membership scores, (n,), learnt from ``known`` of ``teacher``.

    ``kind`` is its attack model (``nn`` is its default); ``labels`` gives it the true labels too.
    """
    from art.attacks.inference.membership_inference import MembershipInferenceBlackBox

    classifier = art_classifier(teacher, examples.shape)
    attack = MembershipInferenceBlackBox(
        art_classifier(target, examples.shape), attack_model_type=kind
    )
    sides = (known.members, known.nonmembers)
    inside, outside = (classifier.predict(side.pixels()) for side in sides)
    y_inside, y_outside = (side.labels if labels else None for side in sides)
    attack.fit(None, y_inside, None, y_outside, pred=inside, test_pred=outside)
    judged = examples.labels if labels else None
    scores = np.asarray(attack.infer(examples.pixels(), judged, probabilities=True))
    return (scores[:, -1] if scores.ndim > 1 else scores).astype(np.float64)


def art_mi_face(
    target: TrainedTarget, shape: tuple[int, ...], *, steps: int, step_size: float
) -> NDArray[np.float32]:
    """Return an image of each class by ART's MIFace, all classes in one batch."""
    from art.attacks.inference.model_inversion import MIFace

    attack = MIFace(
        art_classifier(target, shape),
        max_iter=steps,
        learning_rate=step_size,
        batch_size=target.n_classes,
        verbose=False,
    )
    images: NDArray[np.float32] = attack.infer(None, np.arange(target.n_classes))
    return images


def plain_model(model: nn.Module) -> nn.Sequential:
    """Return the same layers with the same weights as an ``nn.Sequential``."""
    import copy

    layers = copy.deepcopy(list(model.children()))
    return nn.Sequential(*layers).to(memory_format=torch.contiguous_format).eval()


def plain_distances(
    model: nn.Module, examples: Split, *, threshold: float, step: float, steps: int, batch: int
) -> NDArray[np.float32]:
    """Return the distances to confident, (n,), by PGD that runs each batch to its end."""
    distances = []

    pixels, labels = torch.from_numpy(examples.pixels()), torch.from_numpy(examples.labels)
    for origin, y in zip(pixels.split(batch), labels.split(batch), strict=True):
        x, distance = origin.clone(), torch.full((len(y),), step * steps)
        waiting = torch.ones(len(y), dtype=torch.bool)
        for taken in range(steps + 1):
            x = x.detach().requires_grad_()
            losses = F.cross_entropy(model(x), y, reduction="none")
            if taken:
                arrived = waiting & (losses.detach() < threshold)
                moved = (x.detach() - origin).flatten(1).abs().amax(dim=1)
                distance[arrived] = moved[arrived].clamp(step, step * steps)
                waiting &= ~arrived
            if not bool(waiting.any()) or taken == steps:
                break
            model.zero_grad()
            losses.sum().backward()
            assert x.grad is not None
            moves = step * x.grad.sign() * waiting[:, None, None, None]
            x = (x.detach() - moves).clamp(0, 1)
        distances.append(distance)

    return torch.cat(distances).numpy()


def plain_decoder(
    model: nn.Sequential,
    depth: int,
    pool: Split,
    members: Split,
    held_out: NDArray[np.bool_],
    *,
    epochs: int,
    seed: int,
) -> NDArray[np.float32]:
    """Return members rebuilt, (n, pixels), by a decoder behind the first ``depth`` layers.

    The frozen layers run in every batch, as in the thesis' picture of the adversary.
    """
    frozen = model[:depth].requires_grad_(False)
    if depth == len(model):
        frozen = nn.Sequential(*frozen, nn.LogSoftmax(dim=1))

    known = TensorDataset(torch.from_numpy(pool.pixels()[~held_out]))
    order = torch.Generator().manual_seed(seed)
    loader = DataLoader(known, batch_size=convolutional.BATCH, shuffle=True, generator=order)

    with isolated_rng(seed, CPU), torch.no_grad():
        n_features = frozen(torch.zeros(1, *pool.shape)).numel()
        decoder = convolutional.network(n_features, pool.shape)

    optimizer = torch.optim.Adam(decoder.parameters(), lr=convolutional.LEARNING_RATE)
    for _ in range(epochs):
        decoder.train()
        for (x,) in loader:
            with torch.no_grad():
                activations = frozen(x).flatten(1)
            optimizer.zero_grad()
            F.mse_loss(decoder(activations), x.flatten(1)).backward()
            optimizer.step()

    decoder.eval()
    with torch.no_grad():
        parts = torch.from_numpy(members.pixels()).split(256)
        return torch.cat([decoder(frozen(x).flatten(1)) for x in parts]).numpy()
