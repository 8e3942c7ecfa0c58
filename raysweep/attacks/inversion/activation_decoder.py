"""Rebuild examples from the activations of a layer (He et al. 2019)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from annotated_types import Gt, MinLen
from pydantic import Field
from pydantic.dataclasses import dataclass

from raysweep.attacks.contract import Knowledge, Need, Observed, Reconstruction, Target
from raysweep.config import sub_seed
from raysweep.data import Split

if TYPE_CHECKING:
    from torch import Tensor

    from raysweep.attacks.inversion.decoder import Decoder


HELD_OUT = 0.2  # share of the pool on which decoders are compared

TOLERANCE = 1.02  # largest error of a converged decoder, by that of the mean image


@dataclass(frozen=True, kw_only=True)
class ActivationDecoder:
    """Decoders trained on the pool; the one with the least error on held-out pool data is used.

    ``layers`` are names of the model's layers; ``output`` is the prediction vector (black-box).
    All ``decoders`` are tried. ``ridge`` and ``kernel`` (RBF kernel ridge regression) are solved in
    closed form; ``convolutional`` is the thesis' network. ``epochs`` and ``examples`` limit the
    training of each.
    """

    needs: ClassVar[tuple[Need, ...]] = ("pool",)

    layers: Annotated[
        tuple[str, ...],
        MinLen(1),
        Field(description="layers that the attacker sees; `output` is the prediction vector"),
    ] = ("output",)
    decoders: Annotated[
        tuple[Literal["ridge", "kernel", "convolutional"], ...],
        MinLen(1),
        Field(
            description="decoders to fit; the one with the least error on held-out pool data counts"
        ),
    ] = ("ridge", "kernel")
    epochs: Annotated[int, Gt(0), Field(description="epochs of the convolutional decoder")] = 10
    examples: Annotated[
        int, Gt(9), Field(description="most pool examples that a decoder is fitted on")
    ] = 10_000

    def reconstruct(
        self, target: Target, observed: Observed, knowledge: Knowledge, *, seed: int
    ) -> Reconstruction:
        """Return the best decoder's reconstruction of ``observed``.

        The decoder has converged if its error on held-out data is at most that of the mean image,
        which uses no model, up to TOLERANCE.
        """
        assert observed.layer is not None
        assert observed.activations is not None

        order = np.random.default_rng(sub_seed(seed, "pool")).permutation(len(knowledge.pool))
        pool = knowledge.pool.rows(order[: self.examples])
        activations = target.activations(pool, observed.layer)
        images = pool.pixels().reshape(len(pool), -1)
        held_out = np.random.default_rng(sub_seed(seed, "held out")).random(len(pool)) < HELD_OUT

        fitted = {
            name: self._fit(name, activations, images, held_out, pool, target, seed)
            for name in self.decoders
        }
        best = min(fitted, key=lambda name: fitted[name].held_out_mse)

        floor = np.mean((images[held_out] - images[~held_out].mean(axis=0)) ** 2)
        converged = fitted[best].held_out_mse <= TOLERANCE * floor
        rebuilt = fitted[best].decode(observed.activations).reshape(-1, *pool.shape)
        return Reconstruction(
            images=rebuilt, converged=np.full(len(rebuilt), converged), decoder=best
        )

    def _fit(
        self,
        name: str,
        activations: Tensor,
        images: np.ndarray,
        held_out: np.ndarray,
        pool: Split,
        target: Target,
        seed: int,
    ) -> Decoder:
        """Return the decoder called ``name``, fitted to the rows that are not held out."""
        from raysweep.attacks.inversion.convolutional import fit_convolutional
        from raysweep.attacks.inversion.kernel import fit_kernel
        from raysweep.attacks.inversion.ridge import fit_ridge

        closed_forms = {"ridge": fit_ridge, "kernel": fit_kernel}
        if name in closed_forms:
            fit = closed_forms[name]
            return fit(activations, images, held_out, seed=sub_seed(seed, name))
        return fit_convolutional(
            activations,
            images,
            held_out,
            pool.shape,
            epochs=self.epochs,
            seed=sub_seed(seed, name),
            device=target.device,
        )
