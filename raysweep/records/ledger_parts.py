"""The parts of a ledger, each made of one row of ``trials`` and what is known beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import ceil, inf, log
from typing import Any

from raysweep.config.plain_text import counted
from raysweep.errors import StoreError
from raysweep.records.guarantee import NEIGHBOURS
from raysweep.records.trial_config import setting, stored_settings

NOT_COVERED = (
    "Accuracies, AUCs, scores, losses and reconstructions in the records: they come from the "
    "training examples themselves.",
    "Weights of earlier epochs are covered by the same epsilon, other models of the same data are "
    "not: epsilons of several released models add up.",
    "Time and memory of the training, which follow the size of each drawn batch.",
    "Noise is drawn in floating point (32 bits), not from a discrete distribution.",
    "Hashes of the data set, by which whoever guesses all of it knows that the guess is right.",
)

NOT_COVERED_BY_CHOICE = (
    "Validation examples: the winner is chosen by the accuracy on them, and what is promised is "
    "promised to members.",
    NOT_COVERED[1],
    "Time and memory of the trainings, which follow the size of each drawn batch, and how many "
    "trainings there were, which the time of the whole choice tells. A training that the time "
    "limit or the machine ends counts, and loses.",
    "A choice that was stopped by hand because it took long, and begun anew: the number of "
    "trainings then no longer follows its law.",
    *NOT_COVERED[3:],
)

NOT_COVERED_BY_SELECTION = (
    "not covered: the choice among {trials} by their results. The bound for private selection "
    "(Papernot and Steinke 2022) holds only where the number of trials is drawn at random, "
    "configurations do not follow earlier results, and one winner is released alone; {why}."
)

OF_ONE_TRAINING = (
    "not covered: if this configuration was chosen by the results of other trainings on the same "
    "data, as a sweep does, what they spent is not in this epsilon"
)


def mechanism_of(row: Mapping[str, Any]) -> tuple[float, dict[str, Any]]:
    """Return the noise multiplier of a row with DP-SGD, and its sampling rate and steps.

    Raises:
        StoreError: the row holds no such numbers.

    """
    names = ("noise_multiplier", "sample_rate", "steps", "delta")
    values = [float(row.get(name) or 0) for name in names]
    noise, rate, steps, delta = values
    if not (0 < noise < inf and 0 < rate <= 1 and 1 <= steps < inf and 0 < delta < 1):
        raise StoreError(
            f"trial {row['trial_id']} has an epsilon and no noise multiplier, sampling rate, "
            "steps and delta above 0 beside it",
            got=values,
        )
    return noise, {"sample_rate": rate, "steps": int(steps)}


def promise(row: Mapping[str, Any], *, of_choice: bool) -> dict[str, Any]:
    """Return the epsilon of a row by each accountant; of a choice also that of one training."""
    from raysweep.defences.dpsgd import accounting, tradeoff

    noise, rule = mechanism_of(row)
    rule["delta"] = float(row["delta"])
    of = "of_one_training_" if of_choice else ""
    by_rdp, _ = accounting.epsilon_spent(noise, accountant="rdp", **rule)
    return {
        "epsilon": float(row["epsilon"]),
        "delta": float(row["delta"]),
        "accountant": row["accountant"],
        "accountant_settings": row["accountant_settings"],
        f"epsilon_{of}by_rdp": by_rdp,
        "rdp_settings": accounting.SETTINGS["rdp"],
        f"epsilon_{of}by_pld": tradeoff.epsilon_by_pld(noise, **rule),
        "pld_settings": tradeoff.SETTINGS,
    }


def unit(row: Mapping[str, Any], neighbours: str) -> dict[str, Any]:
    """Return whose records the epsilon covers, and the data sets that it compares."""
    entries = {"record": "one record", "neighbours": neighbours, "meaning": NEIGHBOURS[neighbours]}
    if not row.get("group_records"):
        entries["person"] = "the data name no groups: epsilon is for one record alone"
        return entries

    cap = setting(stored_settings(row["config"]), "dataset.records_per_group")
    source = (
        f"at most {cap:,} of one group by dataset.records_per_group, which the deal kept"
        if cap
        else f"{row['group_records']:,.0f}, found in the data: state dataset.records_per_group to "
        "keep it from being data itself"
    )
    return {
        **entries,
        "records_of_a_group": source,
        "epsilon_per_group": row["epsilon_per_group"],
    }


def reach(row: Mapping[str, Any], *, of_choice: bool) -> dict[str, Any]:
    """Return what any attacker can reach; of a choice by its (epsilon, delta) alone."""
    from raysweep.defences.dpsgd.tradeoff import RATES, bounds_of, column_of, most_found

    noise, rule = mechanism_of(row)
    bounds = bounds_of(float(row["epsilon"]), float(row["delta"]))
    sentences = []
    for rate in RATES:
        most = bounds[column_of(rate)] if of_choice else most_found(rate, noise, **rule)
        sentences.append(
            f"at most {100 * most:.3g} % of the members are found at {100 * rate:g} % false alarms"
        )
    return {"curve": sentences}


def mechanism(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what each training does to the gradients."""
    return {
        "name": "DP-SGD: Poisson-subsampled Gaussian mechanism (Abadi et al. 2016)",
        "noise_multiplier": row["noise_multiplier"],
        "max_grad_norm": row["max_grad_norm"],
        "clipping": f"each example's whole gradient, {row['clipping']}",
    }


def public(row: Mapping[str, Any], neighbours: str) -> dict[str, Any]:
    """Return the quantities that the promise takes for public."""
    _, rule = mechanism_of(row)
    n, follow = row.get("n_members"), neighbours == "zero_out"
    stated = setting(stored_settings(row["config"]), "training.private.expected_batch")
    return {
        "members": int(n or 0) if follow else "not needed by the promise",
        **rule,
        "divisor": float(n or 0) * rule["sample_rate"] if follow else stated,
        "source": "sampling rate, steps and divisor follow the number of members"
        if follow
        else "constants of the configuration",
    }


def audit(
    row: Mapping[str, Any],
    attacks: Sequence[Mapping[str, Any]],
    subsets: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Return what attacked the training, and what the attacks could have found at most."""
    alone = [a for a in attacks if a["family"] == "membership" and a["models"] == 1]
    judged = [a for a in alone if a["n_members"] and a["n_nonmembers"]]
    if not judged:
        return {"attacks": "none of this trial"}

    n_members, n_nonmembers = (
        min(int(a[name]) for a in judged) for name in ("n_members", "n_nonmembers")
    )
    is_held = row.get("neighbours") is not None  # older records were not
    held = ", held against the curve at 99.9 %" if is_held else ""
    of_models = [a for a in attacks if a["family"] == "membership" and a["models"] > 1]
    models = (
        f"; on {of_models[0]['models']:,.0f} models of the recipe: "
        f"{', '.join(a['attack'] for a in of_models)}{held}"
        if of_models
        else ""
    )
    return {
        "attacks": f"{', '.join(a['attack'] for a in judged)}, on {n_members:,} members and "
        f"{n_nonmembers:,} nonmembers{held}{models}",
        "could_have_found": f"a perfect attack would have shown epsilon >= "
        f"{_largest_bound(n_members, n_nonmembers):.2g}: less says little",
        "mechanism": "raysweep selftest SPACE inserts canaries into the private step itself",
        **_canaries(subsets, held),
    }


def _canaries(subsets: Sequence[Mapping[str, Any]], held: str) -> dict[str, str]:
    """Return what the trial's canaries, if any, have to do with its epsilon."""
    canaries = [one for one in subsets if one["kind"] == "canary" and one["n"] is not None]
    if not canaries:
        return {}
    kinds = ", ".join(f"{one['n']:,.0f} {one['subset']}" for one in canaries)
    text = f"{kinds}: in models of their own{held}"
    bounds = (one["tpr_bound_at_fpr_0_1"] for one in canaries if one["records"] == 2)
    for bound in [bound for bound in bounds if bound is not None][:1]:
        text += (
            "; a duplicated one is two records, of which any attacker finds at most "
            f"{100 * bound:.3g} % at 10 % false alarms"
        )
    return {"canaries": text}


def _largest_bound(n_members: int, n_nonmembers: int, *, alpha: float = 0.025) -> float:
    """Return the epsilon that a perfect attack shows with 95 % certainty, on half of each."""
    members, others = ceil(n_members / 2), ceil(n_nonmembers / 2)
    least_found = alpha ** (1 / members)
    most_alarms = 1 - alpha ** (1 / others)
    return max(0.0, log(least_found / most_alarms))


def randomness(row: Mapping[str, Any], *, from_system: bool) -> dict[str, Any]:
    """Return where noise and batches came from."""
    if from_system:
        source = "the operating system, and nothing is stored that could repeat them"
        return {"noise_and_batches": source}
    return {
        "noise_and_batches": f"a generator of the seed {row['seed']}, which the records hold: the "
        "promise holds only against those who do not know it. raysweep trial --save FILE "
        "--secure-noise draws from the operating system and stores nothing"
    }


def selection(
    row: Mapping[str, Any], choice: str | None, sweep: Mapping[str, Any] | None, n_trials: int
) -> dict[str, Any]:
    """Return what the choice of the trial cost, or why it is not covered.

    See :func:`raysweep.records.ledger.ledger_of_row` for the arguments.
    """
    if choice is not None:
        return {"among_trials": f"covered. {choice}"}
    if sweep is None:
        return {"among_trials": OF_ONE_TRAINING}
    reasons = "; ".join(_reasons(sweep))
    why = NOT_COVERED_BY_SELECTION.format(trials=counted(n_trials, "trial"), why=reasons)
    return {"among_trials": why, "would_cost": _cost_of_choice(row, n_trials)}


def _cost_of_choice(row: Mapping[str, Any], n_trials: int) -> str:
    """Return what the choice would cost if it were made as the bound asks."""
    from raysweep.defences.dpsgd.selection import epsilon_of_choice

    noise, rule = mechanism_of(row)
    mean = max(2, n_trials)
    epsilon = epsilon_of_choice(
        noise, delta=float(row["delta"]), mean=mean, distribution="geometric", **rule
    )
    return (
        f"epsilon {epsilon:.3g} in all, if the number of trainings were drawn from a geometric law "
        f"of mean {mean:,}, all spent at most this epsilon, and one winner alone were released "
        f"(sampler: {{name: random, trials: {{distribution: geometric, mean: {mean}}}}})"
    )


def _reasons(document: Mapping[str, Any]) -> Iterator[str]:
    sampler = document.get("sampler") or {}
    name = sampler.get("name", "tpe")
    if name not in ("random", "qmc", "grid"):
        yield f"sampler {name} follows earlier results"
    yield "the number of trials is fixed, or open to whoever runs the sweep"
    if document.get("pruning"):
        yield "pruning looks at other trials"
    yield "a front or a report shows more than one winner"
