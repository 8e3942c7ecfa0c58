"""Random cropping (Simonyan & Zisserman 2014) and Gaussian noise on training inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Lt
from pydantic import Field
from pydantic.dataclasses import dataclass

from raysweep.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from raysweep.data import Split, Splits
    from raysweep.training.recipe import Recipe

    Augment = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class RandomCrop:
    """``random_crop``: images are padded by c zeros on each side and cropped back at random.

    0 is plain. No flip. Each example of each batch has a crop of its own.
    """

    random_crop: Annotated[
        int, Ge(0), Field(description="zeros around each training image before a random crop back")
    ] = 0

    @property
    def is_neutral(self) -> bool:
        """Whether training is plain."""
        return self.random_crop == 0

    def apply(self, recipe: Recipe, reference: Split) -> Recipe:
        """Return the recipe with inputs cropped after whatever it does to them."""
        return replace(recipe, augment=_after(recipe.augment, self._crop))

    def check(self, splits: Splits) -> None:
        """Raise :class:`DataError` unless examples are images that are larger than the crop."""
        shape = splits.members.shape
        if self.random_crop == 0:
            return
        if not splits.members.is_image:
            remedy = "set it to 0"
            raise DataError(f"`random_crop` needs images, got examples of shape {shape}; {remedy}")
        if self.random_crop >= min(shape[1:]):
            law = f"must be below the image's smaller side, {min(shape[1:])}"
            remedy = f"take at most {min(shape[1:]) - 1}: nothing might be left of the image"
            raise DataError(f"`random_crop` {law}, got {self.random_crop}; {remedy}")

    def _crop(self, x: Tensor) -> Tensor:
        import torch
        import torch.nn.functional as F

        n, _, height, width = x.shape
        pad = self.random_crop
        padded = F.pad(x, (pad, pad, pad, pad))
        starts = torch.randint(2 * pad + 1, (2, n), device=x.device)
        rows = starts[0, :, None] + torch.arange(height, device=x.device)
        columns = starts[1, :, None] + torch.arange(width, device=x.device)
        each = torch.arange(n, device=x.device)[:, None, None]
        cropped = padded.movedim(1, -1)[each, rows[:, :, None], columns[:, None, :]]
        return cropped.movedim(-1, 1).contiguous()


@dataclass(frozen=True, kw_only=True)
class GaussianNoise:
    """``gaussian_noise``: sigma of the noise on training inputs, clamped to [0, 1]; 0 is plain."""

    gaussian_noise: Annotated[
        float, Ge(0), Lt(inf), Field(description="sigma of the noise added to training inputs")
    ] = 0.0

    @property
    def is_neutral(self) -> bool:
        """Whether training is plain."""
        return self.gaussian_noise == 0

    def apply(self, recipe: Recipe, reference: Split) -> Recipe:
        """Return the recipe with noise on inputs after whatever it does to them."""
        return replace(recipe, augment=_after(recipe.augment, self._disturb))

    def _disturb(self, x: Tensor) -> Tensor:
        import torch

        return (x + self.gaussian_noise * torch.randn_like(x)).clamp(0, 1)


def _after(before: Augment | None, own: Augment) -> Augment:
    return own if before is None else lambda x: own(before(x))
