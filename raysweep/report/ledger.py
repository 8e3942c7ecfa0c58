"""The ledger of a trial: what its epsilon promises, under which assumptions, and what not.

The order is that of the pyramid in NIST SP 800-226 (Near et al. 2025), from the promise at the top
to what it stands on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil, inf, log
from typing import Any

from raysweep.config.plain_text import counted, one_line
from raysweep.config.registry import suggestion
from raysweep.errors import SpaceError, StoreError
from raysweep.records.guarantee import NEIGHBOURS, neighbours_of
from raysweep.records.results import Results, records
from raysweep.records.trial_config import setting, stored_settings

NOT_COVERED = (
    "Accuracies, AUCs, scores, losses and reconstructions in the records: they come from the "
    "training examples themselves.",
    "Weights of earlier epochs are covered by the same epsilon, other models of the same data are "
    "not: epsilons of several released models add up.",
    "Time and memory of the training, which follow the size of each drawn batch.",
    "Noise is drawn in floating point (32 bits), not from a discrete distribution.",
)

NOT_COVERED_BY_SELECTION = (
    "not covered: the choice among {trials} by their results. The bound for private selection "
    "(Papernot and Steinke 2022) holds only where the number of trials is drawn at random, "
    "configurations do not follow earlier results, and one winner is released alone; {why}."
)


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """The ledger of one trial. ``parts`` are its sections, heading -> name -> value."""

    trial_id: str
    summary: str
    parts: Mapping[str, Mapping[str, Any]]

    def to_plain(self) -> dict[str, Any]:
        """Return the ledger as plain values."""
        return {"trial_id": self.trial_id, "summary": self.summary, **self.parts}

    def to_text(self) -> str:
        """Return the ledger for a terminal."""
        lines = [f"trial {self.trial_id}: {self.summary}"]
        for heading, entries in self.parts.items():
            lines += ["", heading.replace("_", " ").capitalize()]
            for name, value in entries.items():
                values = value if isinstance(value, list) else [value]
                label = name.replace("_", " ")
                lines += [f"  {label}: {cell(part)}" for part in values]
        return "\n".join(lines) + "\n"


def cell(value: Any) -> str:
    """Return a value of a ledger as text."""
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, int):
        return f"{value:,}"
    return "unknown" if value is None else one_line(str(value), most=1000)


def ledger_of(results: Results, trial: str) -> Ledger:
    """Return the ledger of a trial, named by its id or by the beginning of it.

    Raises:
        SpaceError: no trial, or more than one, has such an id; the nearest is named.

    """
    return ledger(results, _row(results, trial))


def _row(results: Results, trial: str) -> dict[str, Any]:
    ids = results.rows(["trial_id"])["trial_id"].tolist()
    found = [one for one in ids if trial and one.startswith(trial)]
    if len(found) != 1:
        what = "no trial has the id" if not found else f"{len(found)} trials have an id that begins"
        hint = suggestion(trial, found or ids[:20])
        raise SpaceError(f"--trial: {what} {trial!r}{hint}")
    return records(results.rows(trials={found[0]}))[0]


def ledger(results: Results, row: Mapping[str, Any]) -> Ledger:
    """Return the ledger of a row of ``trials`` of ``results``."""
    trial_id = str(row["trial_id"])
    if row["status"] == "failed":
        error = one_line(str(row["error"]), most=500)
        summary = f"failed, so no model was released and nothing is promised ({error})"
        return Ledger(trial_id=trial_id, summary=summary, parts={})

    neighbours = neighbours_of(row)
    if neighbours is None:
        summary = "trained without DP-SGD: nothing is promised, and no attacker is bounded"
        return Ledger(trial_id=trial_id, summary=summary, parts={"audit": _audit(results, row)})

    mechanism_of(row)  # raises where a stranger's record holds no numbers
    pruned = " (pruned: of the epochs that it was trained for)" if row["status"] == "pruned" else ""
    summary = f"epsilon {row['epsilon']:.4g} at delta {row['delta']:g} for one record{pruned}"
    parts = {
        "promise": _promise(row),
        "unit": _unit(row, neighbours),
        "what_any_attacker_can_reach": _reach(row),
        "mechanism": _mechanism(row),
        "public_quantities": _public(row, neighbours),
        "audit": _audit(results, row),
        "randomness": {"noise_and_batches": _randomness(row)},
        "selection": {
            "among_trials": selection(results),
            "would_cost": _cost_of_choice(results, row),
        },
        "not_covered": {"beside": list(NOT_COVERED)},
        "trust": {
            "model": "central: whoever trains sees all records, and only the released weights are "
            "protected"
        },
    }
    return Ledger(trial_id=trial_id, summary=summary, parts=parts)


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


def _promise(row: Mapping[str, Any]) -> dict[str, Any]:
    from raysweep.defences.dpsgd import accounting, tradeoff

    noise, rule = mechanism_of(row)
    rule["delta"] = float(row["delta"])
    by_rdp, _ = accounting.epsilon_spent(noise, accountant="rdp", **rule)
    return {
        "epsilon": float(row["epsilon"]),
        "delta": float(row["delta"]),
        "accountant": row["accountant"],
        "accountant_settings": row["accountant_settings"],
        "epsilon_by_rdp": by_rdp,
        "rdp_settings": accounting.SETTINGS["rdp"],
        "epsilon_by_pld": tradeoff.epsilon_by_pld(noise, **rule),
        "pld_settings": tradeoff.SETTINGS,
    }


def _unit(row: Mapping[str, Any], neighbours: str) -> dict[str, Any]:
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


def _reach(row: Mapping[str, Any]) -> dict[str, Any]:
    from raysweep.defences.dpsgd.tradeoff import RATES, most_found

    noise, rule = mechanism_of(row)
    sentences = []
    for rate in RATES:
        most = most_found(rate, noise, **rule)
        sentences.append(
            f"at most {100 * most:.3g} % of the members are found at {100 * rate:g} % false alarms"
        )
    return {"curve": sentences}


def _mechanism(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": "DP-SGD: Poisson-subsampled Gaussian mechanism (Abadi et al. 2016)",
        "noise_multiplier": row["noise_multiplier"],
        "max_grad_norm": row["max_grad_norm"],
        "clipping": f"each example's whole gradient, {row['clipping']}",
    }


def _public(row: Mapping[str, Any], neighbours: str) -> dict[str, Any]:
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


def _audit(results: Results, row: Mapping[str, Any]) -> dict[str, Any]:
    attacks = results.of("attacks", {str(row["trial_id"])})
    judged = attacks[(attacks["family"] == "membership") & (attacks["models"] == 1)]
    if judged.empty:
        return {"attacks": "none of this trial"}

    n_members = int(judged["n_members"].min())
    n_nonmembers = int(judged["n_nonmembers"].min())
    is_held = row.get("neighbours") is not None  # older records were not
    held = ", held against the curve at 99.9 %" if is_held else ""
    return {
        "attacks": f"{', '.join(judged['attack'])}, on {n_members:,} members and "
        f"{n_nonmembers:,} nonmembers{held}",
        "could_have_found": f"a perfect attack would have shown epsilon >= "
        f"{_largest_bound(n_members, n_nonmembers):.2g}: less says little",
        "mechanism": "raysweep selftest SPACE inserts canaries into the private step itself",
        **_canaries(results, row),
    }


def _canaries(results: Results, row: Mapping[str, Any]) -> dict[str, str]:
    """Return what the trial's canaries, if any, have to do with its epsilon."""
    subsets = results.of("subsets", {str(row["trial_id"])})
    canaries = subsets[(subsets["kind"] == "canary") & subsets["n"].notna()]
    if canaries.empty:
        return {}
    kinds = ", ".join(
        f"{n:,.0f} {kind}" for kind, n in zip(canaries["subset"], canaries["n"], strict=True)
    )
    text = f"{kinds}: in models of their own, and not held against the curve"
    pairs = canaries.loc[canaries["records"] == 2, "tpr_bound_at_fpr_0_1"].dropna()
    if len(pairs):
        text += (
            "; a duplicated one is two records, of which any attacker finds at most "
            f"{100 * pairs.iloc[0]:.3g} % at 10 % false alarms"
        )
    return {"canaries": text}


def _largest_bound(n_members: int, n_nonmembers: int, *, alpha: float = 0.025) -> float:
    """Return the epsilon that a perfect attack shows with 95 % certainty, on half of each."""
    members, others = ceil(n_members / 2), ceil(n_nonmembers / 2)
    least_found = alpha ** (1 / members)
    most_alarms = 1 - alpha ** (1 / others)
    return max(0.0, log(least_found / most_alarms))


def _randomness(row: Mapping[str, Any]) -> str:
    return (
        f"a generator of the seed {row['seed']}, which the records hold: the promise holds only "
        "against those who do not know it. raysweep trial --save FILE --secure-noise draws from "
        "the operating system and stores nothing"
    )


def selection(results: Results) -> str:
    """Return what the choice among the trials of a sweep costs, or why it is not covered."""
    document = results.documents[0]
    n = len(results.rows(["trial_id"]))
    return NOT_COVERED_BY_SELECTION.format(
        trials=counted(n, "trial"), why="; ".join(_reasons(document))
    )


def _cost_of_choice(results: Results, row: Mapping[str, Any]) -> str:
    """Return what the choice would cost if it were made as the bound asks."""
    from raysweep.defences.dpsgd.selection import epsilon_of_choice

    noise, rule = mechanism_of(row)
    mean = max(2, len(results.rows(["trial_id"])))
    epsilon = epsilon_of_choice(
        noise, delta=float(row["delta"]), mean=mean, distribution="geometric", **rule
    )
    return (
        f"epsilon {epsilon:.3g} in all, if the number of trainings were drawn from a geometric law "
        f"of mean {mean:,}, all spent at most this epsilon, and one winner alone were released"
    )


def _reasons(document: Mapping[str, Any]) -> Iterator[str]:
    sampler = document.get("sampler") or {}
    name = sampler.get("name", "tpe")
    if name not in ("random", "qmc", "grid"):
        yield f"sampler {name} follows earlier results"
    yield f"the number of trials is fixed at {sampler.get('trials', 40)}"
    if document.get("pruning"):
        yield "pruning looks at other trials"
    yield "a front or a report shows more than one winner"
