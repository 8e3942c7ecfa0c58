"""The columns of each table of records.

A value that does not apply is None. Rates and AUCs are in [0, 1], seconds are wall-clock, memory is
in MiB, and MSE is on pixels in [0, 1]. Distances are fractions of that range, and their gap is a
share of the nonmembers' mean. ``unsure`` are the examples that the model was not confident about at
first, and ``unreached`` is the share of them that never became confident. ``recognition_rate`` is
the share of rebuilt classes that an independent face recogniser identifies. Its accuracy on real
images that it was not trained on is ``recogniser_accuracy``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Status = Literal["ok", "failed", "pruned"]

BASELINE = 0
"""The ``number`` of the baseline: the undefended configuration, which a sweep runs first."""


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """One row of ``trials``.

    ``defences`` becomes a column for each key of a defence, and ``ppv_at_priors`` one for each
    figure of several priors, see :mod:`raysweep.records.priors`.
    """

    trial_id: str
    recipe: str | None = None
    number: int = 0
    status: Status
    error: str | None = None
    stopped_epoch: int | None = None
    scenario: str | None = None
    defences: Mapping[str, float | str] = field(default_factory=dict)
    epsilon: float | None = None
    noise_multiplier: float | None = None
    sample_rate: float | None = None
    steps: int | None = None
    neighbours: str | None = None
    group_records: int | None = None
    epsilon_per_group: float | None = None
    tpr_bound_at_fpr_0_001: float | None = None  # what any attacker can reach; None without DP-SGD
    tpr_bound_at_fpr_0_01: float | None = None
    tpr_bound_at_fpr_0_1: float | None = None
    accountant: str | None = None
    accountant_settings: str | None = None
    clipping: str | None = None
    train_accuracy: float | None = None
    accuracy: float | None = None
    accuracy_low: float | None = None
    accuracy_high: float | None = None
    accuracy_on: str | None = None  # of the recipe, as the next five are; None without `measure`
    models: int | None = None
    population: int | None = None
    accuracies: str | None = None
    model_seeds: str | None = None
    ensemble_seconds: float | None = None
    collapsed: bool | None = None
    attack_auc: float | None = None
    attack_auc_low: float | None = None
    attack_auc_high: float | None = None
    attack_auc_null: float | None = None
    attack_auc_null_high: float | None = None
    strongest_attack: str | None = None
    tpr_at_fpr_0_001: float | None = None  # of the attack that finds most there, as the next two
    tpr_at_fpr_0_001_low: float | None = None
    tpr_at_fpr_0_001_high: float | None = None
    tpr_at_fpr_0_01: float | None = None
    tpr_at_fpr_0_01_low: float | None = None
    tpr_at_fpr_0_01_high: float | None = None
    tpr_at_fpr_0_1: float | None = None
    tpr_at_fpr_0_1_low: float | None = None
    tpr_at_fpr_0_1_high: float | None = None
    advantage: float | None = None
    advantage_low: float | None = None
    advantage_high: float | None = None
    ppv: float | None = None
    ppv_low: float | None = None
    ppv_high: float | None = None
    ppv_fpr: float | None = None
    ppv_at_priors: Mapping[str, float | None] = field(default_factory=dict)
    tail: float | None = None
    tail_low: float | None = None
    tail_high: float | None = None
    always_found: float | None = None  # of the recipe, as the next two
    always_found_low: float | None = None
    always_found_high: float | None = None
    inversion_mse: float | None = None
    inversion_mse_low: float | None = None
    inversion_mse_high: float | None = None
    inversion_mse_nonmembers: float | None = None
    inversion_floor: float | None = None
    inversion_floor_label: float | None = None
    inversion_converged: bool | None = None
    train_seconds: float | None = None
    attack_seconds: float | None = None
    peak_memory_mib: float | None = None
    device: str | None = None
    node: str | None = None
    seed: int = 0
    attempts: int = 1
    retries: str | None = None  # why each attempt but the last one failed, as a JSON list
    n_members: int | None = None
    n_nonmembers: int | None = None
    n_pool: int | None = None
    n_reference: int | None = None
    n_validation: int | None = None
    n_test: int | None = None
    n_classes: int | None = None
    dataset: str | None = None
    model: str | None = None
    split: str | None = None
    split_hash: str | None = None
    config: str = "{}"
    versions: str = "{}"
    started_at: str | None = None

    def row(self) -> dict[str, Any]:
        """Return the record as one flat row, with a column for each key of its mappings.

        ``noise_multiplier`` and ``accountant`` are those of the training, not those asked for.
        """
        row = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        del row["defences"], row["ppv_at_priors"]
        return {**self.defences, **row, **self.ppv_at_priors}


@dataclass(frozen=True, kw_only=True)
class AttackRecord:
    """One row of ``attacks``: a membership attack, or an inversion attack at one layer."""

    trial_id: str
    family: Literal["membership", "inversion"]
    attack: str
    models: int = 1
    parameters: str = "{}"
    layer: str | None = None
    decoder: str | None = None
    n_members: int | None = None
    n_nonmembers: int | None = None
    n_known_members: int | None = None
    n_known_nonmembers: int | None = None
    auc: float | None = None
    auc_low: float | None = None
    auc_high: float | None = None
    advantage: float | None = None
    advantage_low: float | None = None
    advantage_high: float | None = None
    advantage_oracle: float | None = None
    tpr_at_fpr_0_001: float | None = None
    tpr_at_fpr_0_001_low: float | None = None
    tpr_at_fpr_0_001_high: float | None = None
    tpr_at_fpr_0_001_realised_fpr: float | None = None
    tpr_at_fpr_0_001_by_model: float | None = None
    tpr_at_fpr_0_01: float | None = None
    tpr_at_fpr_0_01_low: float | None = None
    tpr_at_fpr_0_01_high: float | None = None
    tpr_at_fpr_0_01_realised_fpr: float | None = None
    tpr_at_fpr_0_01_by_model: float | None = None
    tpr_at_fpr_0_1: float | None = None
    tpr_at_fpr_0_1_low: float | None = None
    tpr_at_fpr_0_1_high: float | None = None
    tpr_at_fpr_0_1_realised_fpr: float | None = None
    tpr_at_fpr_0_1_by_model: float | None = None
    distance_members: float | None = None
    distance_nonmembers: float | None = None
    distance_gap: float | None = None
    distance_gap_low: float | None = None
    distance_gap_high: float | None = None
    unsure_distance_members: float | None = None
    unsure_distance_nonmembers: float | None = None
    unsure_distance_gap: float | None = None
    unsure_distance_gap_low: float | None = None
    unsure_distance_gap_high: float | None = None
    n_unsure_members: int | None = None
    n_unsure_nonmembers: int | None = None
    unreached_members: float | None = None
    unreached_nonmembers: float | None = None
    mse: float | None = None
    mse_low: float | None = None
    mse_high: float | None = None
    mse_nonmembers: float | None = None
    mse_nonmembers_low: float | None = None
    mse_nonmembers_high: float | None = None
    mse_gap: float | None = None
    mse_gap_low: float | None = None
    mse_gap_high: float | None = None
    ssim: float | None = None
    ssim_nonmembers: float | None = None
    floor_mean: float | None = None
    floor_label: float | None = None
    converged: bool | None = None
    converged_share: float | None = None
    n_rebuilt: int | None = None
    cost: float | None = None
    recognition_rate: float | None = None
    recognition_rate_low: float | None = None
    recognition_rate_high: float | None = None
    recogniser_accuracy: float | None = None
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """One row of ``epochs``; ``train_accuracy`` is over the epoch's batches, in training mode.

    ``train_seconds`` and ``epsilon`` are those spent so far. The columns from ``tail`` on are
    measured by the cheap attacks at a rung and None at other epochs. ``rung_seconds`` is the time
    that these attacks took.
    """

    trial_id: str
    epoch: int
    loss: float
    train_accuracy: float | None
    accuracy: float
    epsilon: float
    collapsed: bool | None = None
    train_seconds: float | None = None
    tail: float | None = None
    inversion_mse: float | None = None
    inversion_floor: float | None = None
    rung_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class ScoreRows:
    """The scores that one membership attack gave to all judged examples."""

    attack: str
    example: NDArray[np.int64]  # index in the data set, (n,)
    member: NDArray[np.bool_]
    score: NDArray[np.float64]
    reached: NDArray[np.bool_] | None = None  # whether a distance was found, where one is measured
    threshold: float | None = None  # the attack's own, which is not stored


@dataclass(frozen=True, kw_only=True)
class ReconstructionRows:
    """The first reconstructions of one inversion attack at one layer, with their originals.

    An attack without a layer rebuilds classes, and the original is then the nearest member.
    ``image`` is rounded to 256 greys; ``mse`` and ``ssim`` are those of the unrounded image.
    """

    attack: str
    layer: str | None
    example: NDArray[np.int64]  # the original's index in the data set, (n,)
    label: NDArray[np.int64]
    original: NDArray[np.float32]  # (n, *shape) in [0, 1]
    image: NDArray[np.float32]
    converged: NDArray[np.bool_]
    mse: NDArray[np.float64] | None = None
    ssim: NDArray[np.float64] | None = None
    cost: NDArray[np.float64] | None = None
    recognised: NDArray[np.bool_] | None = None
    errors: tuple[NDArray[np.int64], NDArray[np.float64]] | None = None
    """The examples that were rebuilt, and the MSE of each, which ``examples`` stores."""


@dataclass(frozen=True, kw_only=True)
class ExampleRow:
    """One row of ``examples``: what each pair of models and each example has in a figure.

    The means of both are the figure. A single model is one unit.
    """

    figure: str
    of_models: NDArray[np.float64]  # (pairs,)
    example: NDArray[np.int64]  # index in the data set, (n,)
    of_examples: NDArray[np.float64]  # (n,)


@dataclass(frozen=True, kw_only=True)
class SubsetRecord:
    """One row of ``subsets``: figures on the examples of a class or a subgroup, or on canaries.

    ``auc_gap`` is the AUC less that of the other examples. Its interval is corrected for the number
    of subsets of the same kind. A canary is ``records`` records of the training data.
    ``reason`` says why figures are missing.
    """

    trial_id: str
    kind: Literal["class", "subgroup", "canary"]
    subset: str
    n: int  # examples of the population, or canaries
    n_judged: int | None = None  # examples that accuracy is measured on
    models: int
    attack: str | None = None
    auc: float | None = None
    auc_low: float | None = None
    auc_high: float | None = None
    auc_gap: float | None = None
    auc_gap_low: float | None = None
    auc_gap_high: float | None = None
    tpr_at_fpr_0_001: float | None = None
    tpr_at_fpr_0_001_low: float | None = None
    tpr_at_fpr_0_001_high: float | None = None
    tpr_at_fpr_0_01: float | None = None
    tpr_at_fpr_0_01_low: float | None = None
    tpr_at_fpr_0_01_high: float | None = None
    tpr_at_fpr_0_1: float | None = None
    tpr_at_fpr_0_1_low: float | None = None
    tpr_at_fpr_0_1_high: float | None = None
    always_found: float | None = None
    always_found_low: float | None = None
    always_found_high: float | None = None
    accuracy: float | None = None
    accuracy_low: float | None = None
    accuracy_high: float | None = None
    records: int | None = None  # of canaries, as the next three
    tpr_bound_at_fpr_0_001: float | None = None
    tpr_bound_at_fpr_0_01: float | None = None
    tpr_bound_at_fpr_0_1: float | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """All records of one trial."""

    trial: TrialRecord
    attacks: tuple[AttackRecord, ...] = ()
    epochs: tuple[EpochRecord, ...] = ()
    scores: tuple[ScoreRows, ...] = field(default=(), repr=False)
    reconstructions: tuple[ReconstructionRows, ...] = field(default=(), repr=False)
    examples: tuple[ExampleRow, ...] = field(default=(), repr=False)
    subsets: tuple[SubsetRecord, ...] = field(default=(), repr=False)


@dataclass(frozen=True, kw_only=True)
class Rung:
    """A trial after some of its epochs: its measurements, and its records if it stops here."""

    figures: EpochRecord
    stopped: TrialResult = field(repr=False)
