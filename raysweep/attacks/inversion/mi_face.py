"""Rebuild a class from the model alone (MI-Face, Fredrikson et al. 2015)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Lt
from pydantic import Field
from pydantic.dataclasses import dataclass

from raysweep.attacks.contract import Knowledge, Need, Observed, Reconstruction, Target

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class MiFace:
    """White-box, no data: gradient descent on the input until the model sees the class in it.

    The cost is 1 - p_label. It starts from black, and ``restarts`` times more from noise, all in
    one batch; the best image of each class is kept. A start ends at a cost of ``tolerance``
    (converged), or after ``patience`` steps without a better image. ``clip`` keeps pixels in
    [0, 1]; ``raw``, the published form, lets them go and rescales the image afterwards.
    """

    layers: ClassVar[tuple[None]] = (None,)
    needs: ClassVar[tuple[Need, ...]] = ("white-box",)

    pixels: Annotated[
        Literal["clip", "raw"],
        Field(description="`clip` keeps pixels in [0, 1]; `raw` rescales at the end, as published"),
    ] = "clip"
    step_size: Annotated[float, Gt(0), Field(description="size of a gradient step")] = 5.0
    steps: Annotated[int, Gt(0), Field(description="most steps of a start")] = 1000
    restarts: Annotated[
        int, Ge(0), Field(description="starts from noise after the one from a black image")
    ] = 0
    patience: Annotated[
        int, Gt(0), Field(description="steps without a better image after which a start ends")
    ] = 100
    tolerance: Annotated[
        float,
        Ge(0),
        Lt(1),
        Field(description="cost, 1 - posterior, at which a start has converged"),
    ] = 0.01

    def reconstruct(
        self, target: Target, observed: Observed, knowledge: Knowledge, *, seed: int
    ) -> Reconstruction:
        """Return the best image of each observed class, converged or not."""
        import torch

        shape, classes = knowledge.pool.shape, len(observed.labels)
        generator = torch.Generator().manual_seed(seed)
        noise = torch.rand(self.restarts * classes, *shape, generator=generator)
        x = torch.cat([torch.zeros(classes, *shape), noise]).to(target.device)
        labels = torch.from_numpy(observed.labels).repeat(1 + self.restarts).to(target.device)
        found, posterior = self._climb(target, x, labels)
        peaks, best = posterior.view(-1, classes).max(dim=0)
        rows = best * classes + torch.arange(classes, device=best.device)
        images = found[rows] if self.pixels == "clip" else stretched(found[rows])
        return Reconstruction(
            images=images.cpu().numpy(),
            converged=(peaks >= 1 - self.tolerance).cpu().numpy(),
            cost=(1 - peaks.double()).cpu().numpy(),
        )

    def _climb(self, target: Target, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the best images met from ``x`` on, (n, *shape), and their classes' posteriors."""
        import torch

        best, peaks = x.clone(), torch.full((len(x),), -1.0, device=x.device)
        rows, stuck = torch.arange(len(x), device=x.device), torch.zeros_like(labels)
        for _ in range(self.steps + 1):
            x.requires_grad_()
            posteriors = target.model(x).softmax(dim=1)
            own = posteriors.gather(1, labels[rows][:, None])[:, 0]
            (slope,) = torch.autograd.grad(own.sum(), x)  # of the cost, 1 - own, with its sign
            x, own = x.detach(), own.detach()
            better = own > peaks[rows]
            best[rows[better]], peaks[rows[better]] = x[better], own[better]
            stuck = torch.where(better, 0, stuck + 1)
            live = (own < 1 - self.tolerance) & (stuck < self.patience)
            if not bool(live.any()):
                break
            x, rows, stuck = x[live] + self.step_size * slope[live], rows[live], stuck[live]
            if self.pixels == "clip":
                x = x.clamp(0, 1)
        return best, peaks


def stretched(images: Tensor) -> Tensor:
    """Return each image (n, *shape) rescaled to fill [0, 1]; one of a single grey is clipped."""
    flat = images.flatten(1)
    low, high = flat.amin(dim=1, keepdim=True), flat.amax(dim=1, keepdim=True)
    filled = ((flat - low) / (high - low)).where(high > low, flat.clamp(0, 1))
    return filled.view_as(images)
