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
    """White-box, no data: gradient descent on the input until the model predicts the class.

    The cost is 1 - p_label. The descent starts from black, and ``restarts`` more times from noise,
    all in one batch; the best image of each class is kept. A descent ends at a cost of
    ``tolerance`` (converged), or after ``patience`` steps without a better image. ``clip`` keeps
    pixels in [0, 1]; ``raw``, the published form, leaves them free and rescales the final image.
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
        ends, posteriors = self._descend(target, x, labels)

        # Keep the start with the highest posterior for each class.
        peaks, best = posteriors.view(-1, classes).max(dim=0)
        rows = best * classes + torch.arange(classes, device=best.device)
        images = ends[rows] if self.pixels == "clip" else rescale(ends[rows])
        return Reconstruction(
            images=images.cpu().numpy(),
            converged=(peaks >= 1 - self.tolerance).cpu().numpy(),
            cost=(1 - peaks.double()).cpu().numpy(),
        )

    def _descend(self, target: Target, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the best image of each descent from ``x``, (n, *shape), and its p_label, (n,)."""
        import torch

        best, peaks = x.clone(), torch.full((len(x),), -1.0, device=x.device)
        rows, stuck = torch.arange(len(x), device=x.device), torch.zeros_like(labels)
        for _ in range(self.steps + 1):
            x.requires_grad_()
            posteriors = target.model(x).softmax(dim=1)
            p_label = posteriors.gather(1, labels[rows][:, None])[:, 0]
            (slope,) = torch.autograd.grad(p_label.sum(), x)  # minus the gradient of the cost
            x, p_label = x.detach(), p_label.detach()

            better = p_label > peaks[rows]
            best[rows[better]], peaks[rows[better]] = x[better], p_label[better]
            stuck = torch.where(better, 0, stuck + 1)

            # Finished descents leave the batch.
            moving = (p_label < 1 - self.tolerance) & (stuck < self.patience)
            if not bool(moving.any()):
                break
            x, rows, stuck = x[moving] + self.step_size * slope[moving], rows[moving], stuck[moving]
            if self.pixels == "clip":
                x = x.clamp(0, 1)

        return best, peaks


def rescale(images: Tensor) -> Tensor:
    """Return each image (n, *shape) rescaled to fill [0, 1]. A constant image is clipped."""
    flat = images.flatten(1)
    low, high = flat.amin(dim=1, keepdim=True), flat.amax(dim=1, keepdim=True)
    filled = ((flat - low) / (high - low)).where(high > low, flat.clamp(0, 1))
    return filled.view_as(images)
