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
    """``random_crop``: the number of zeros around each training image before a random crop.

    The crop has the image's own size; 0 is plain training. Images are not flipped. Each example of
    a batch has its own crop.
    """

    random_crop: Annotated[
        int, Ge(0), Field(description="zeros around each training image before a random crop back")
    ] = 0

    @property
    def is_neutral(self) -> bool:
        """Whether training is plain."""
        return self.random_crop == 0

    def apply(self, recipe: Recipe, reference: Split) -> Recipe:
        """Return the recipe with random crops after its own augmentation."""
        return replace(recipe, augment=_chain(recipe.augment, self._crop))

    def check(self, splits: Splits) -> None:
        """Raise :class:`DataError` unless examples are images that are larger than the crop."""
        if self.is_neutral:
            return

        shape = splits.members.shape
        if not splits.members.is_image:
            raise DataError(
                f"`random_crop` needs images, got examples of shape {shape}", remedy="set it to 0"
            )

        side = min(shape[1:])
        if self.random_crop >= side:
            raise DataError(
                f"`random_crop` must be below the image's smaller side, {side}",
                got=self.random_crop,
                remedy=f"take at most {side - 1}: a crop could contain nothing of the image",
            )

    def _crop(self, x: Tensor) -> Tensor:
        import torch
        import torch.nn.functional as F

        n, _, height, width = x.shape
        pad = self.random_crop
        padded = F.pad(x, (pad, pad, pad, pad))

        starts = torch.randint(2 * pad + 1, (2, n), device=x.device)
        rows = starts[0, :, None] + torch.arange(height, device=x.device)
        columns = starts[1, :, None] + torch.arange(width, device=x.device)
        examples = torch.arange(n, device=x.device)[:, None, None]
        cropped = padded.movedim(1, -1)[examples, rows[:, :, None], columns[:, None, :]]
        return cropped.movedim(-1, 1).contiguous()


@dataclass(frozen=True, kw_only=True)
class GaussianNoise:
    """``gaussian_noise``: sigma of noise on training inputs; 0 is plain training.

    Noisy inputs are clamped to [0, 1].
    """

    gaussian_noise: Annotated[
        float, Ge(0), Lt(inf), Field(description="sigma of the noise added to training inputs")
    ] = 0.0

    @property
    def is_neutral(self) -> bool:
        """Whether training is plain."""
        return self.gaussian_noise == 0

    def apply(self, recipe: Recipe, reference: Split) -> Recipe:
        """Return the recipe with noise on inputs after its own augmentation."""
        return replace(recipe, augment=_chain(recipe.augment, self._add_noise))

    def _add_noise(self, x: Tensor) -> Tensor:
        import torch

        return (x + self.gaussian_noise * torch.randn_like(x)).clamp(0, 1)


def _chain(first: Augment | None, second: Augment) -> Augment:
    """Return the function that applies ``first``, if there is one, and then ``second``."""
    if first is None:
        return second
    return lambda x: second(first(x))
