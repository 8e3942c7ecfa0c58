"""Print one trial in a terminal: how far it is, and what it found."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Iterator, Sequence
from math import isfinite

from rich.console import Console
from rich.table import Table
from rich.text import Text

from raysweep import data
from raysweep.attacks.metrics import FPRS, nonmembers_for
from raysweep.config.plain_text import printable, say
from raysweep.data import Dataset, Splits
from raysweep.records.columns import (
    AttackRecord,
    EpochRecord,
    SubsetRecord,
    TrialRecord,
    TrialResult,
)
from raysweep.records.guarantee import guarantee_line
from raysweep.records.priors import figures_at
from raysweep.records.trial_config import TrialConfig
from raysweep.report.cautions import DP_REMEDY
from raysweep.report.comparison import auc_text, ends_of, percent_text, with_interval
from raysweep.report.output import as_json
from raysweep.report.subsets import cells, left_out, sentences


def trial_json(result: TrialResult) -> str:
    """Return all records of a trial as one line of JSON, infinity as the text "inf"."""
    rows = {
        "trial": result.trial.row(),
        "attacks": [dataclasses.asdict(record) for record in result.attacks],
        "epochs": [dataclasses.asdict(record) for record in result.epochs],
        "subsets": [dataclasses.asdict(record) for record in result.subsets],
    }
    return as_json(rows)


class TrialStatus:
    """A line on stderr that says how far a trial is. Where there is no terminal, nothing shows."""

    def __init__(self, config: TrialConfig) -> None:
        self._epochs = int(min(config.training.epochs, float(config.defences["early_stopping"])))
        self._began = time.monotonic()
        self._line = Console(stderr=True).status("loading")

    def __enter__(self) -> TrialStatus:
        self._line.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._line.stop()

    def show(self, epoch: EpochRecord) -> None:
        """Show the epoch that has ended, and an estimate for those to come."""
        left = (time.monotonic() - self._began) / epoch.epoch * (self._epochs - epoch.epoch)
        then = f"about {left:.0f} s of training left, then the attacks"
        then = then if epoch.epoch < self._epochs else "the attacks run"
        done = f"epoch {epoch.epoch} of {self._epochs}"
        self._line.update(f"{done}: accuracy {epoch.accuracy:.3f}, {then}")


def load_and_tell(dataset: Dataset, *, seed: int) -> Splits:
    """Return the splits of a data set; print what was read, left out and changed."""
    splits = data.load(dataset, seed=seed)
    for note in (splits.summary, *splits.notes):
        say(f"note: {note}", sys.stderr)
    return splits


def print_trial(result: TrialResult, config: TrialConfig) -> None:
    """Print the result of a trial of ``config``, with a row for each attack."""
    record = result.trial
    say(
        f"trial {record.trial_id} on {record.device}: {_accuracy(record)} "
        f"(train {record.train_accuracy:.3f}), epsilon {record.epsilon:.4g}, "
        f"{record.train_seconds:.1f} s training, {record.attack_seconds:.1f} s attacks"
    )
    if guarantee := guarantee_line(record.row()):
        say(guarantee)
    if record.collapsed:
        say("collapsed: its predictions say nothing about the labels, nor do attacks on it")
        if record.epsilon is not None and isfinite(record.epsilon):
            say(f"remedy: {DP_REMEDY}")

    membership = [a for a in result.attacks if a.family == "membership" and a.models == 1]
    of_recipe = [a for a in result.attacks if a.family == "membership" and a.models > 1]
    inversion = [a for a in result.attacks if a.family == "inversion"]
    console = Console(width=None if sys.stdout.isatty() else 120)
    if membership:
        console.print(_memberships(membership))
        for line in _beside_memberships(record, membership, config):
            say(line)
    if record.models is not None:
        _print_recipe(console, record, of_recipe, config)
        _print_subsets(console, result.subsets)
    if inversion:
        console.print(_inversions([a for a in inversion if a.models == 1]))
        if several := [a for a in inversion if a.models > 1]:
            say(f"The members of {several[0].models} models, each rebuilt from its own:")
            console.print(_inversions(several))
        say(WHAT_MSE_SAYS)


def _accuracy(record: TrialRecord) -> str:
    """Return the accuracy in words: of the model, or the mean of several, with its interval."""
    text = with_interval(record.accuracy, ends_of(dataclasses.asdict(record), "accuracy"), 3)
    return (
        f"accuracy {text}"
        if record.models is None
        else (f"mean accuracy of {record.models} models {text}")
    )


def _print_recipe(
    console: Console, record: TrialRecord, attacks: Sequence[AttackRecord], config: TrialConfig
) -> None:
    """Print the attacks on the models of a recipe, and what counts."""
    if not attacks:
        return
    say(
        f"The recipe: {record.models} models, each trained on half of {record.population:,} "
        "examples and attacked with the others as references."
    )
    console.print(_memberships(attacks))
    for line in (*_what_counts(record, attacks, config), *_rates(record, config)):
        say(line)


MOST_SUBSETS = 3  # classes, and subgroups, that are printed


def _print_subsets(console: Console, subsets: Sequence[SubsetRecord]) -> None:
    """Print the classes and subgroups with the highest AUCs, and the canaries."""
    rows = [dataclasses.asdict(record) for record in subsets]
    if not rows:
        return
    headings, lines = cells(rows, MOST_SUBSETS)
    table = Table()
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left")
    for line in lines:
        table.add_row(*(Text(printable(cell)) for cell in line))
    console.print(table)
    missing = left_out(rows, MOST_SUBSETS)
    if missing:
        say(f"{missing} with lower AUCs are in --json.")
    for sentence in sentences(rows):
        say(printable(sentence))


WHAT_MSE_SAYS = (
    "MSE is that of rebuilt members. Predictions tell something about any input: only what lies\n"
    "between nonmembers and members is owed to training. Mean input and class mean see no model."
)


def _memberships(attacks: Sequence[AttackRecord]) -> Table:
    rate, percent = _least_fpr(attacks)
    table = _attack_table("AUC [95 %]", f"TPR at {percent} FPR [95 %]")
    for row in map(dataclasses.asdict, attacks):
        figures = (with_interval(row[name], ends_of(row, name), 3) for name in ("auc", rate))
        table.add_row(row["attack"], *figures)
    return table


def _least_fpr(attacks: Sequence[AttackRecord]) -> tuple[str, str]:
    """Return the column of a true-positive rate, at 1 % or, if it is unknown there, at 10 %."""
    is_known = any(a.tpr_at_fpr_0_01 is not None for a in attacks)
    return ("tpr_at_fpr_0_01", "1 %") if is_known else ("tpr_at_fpr_0_1", "10 %")


def _beside_memberships(
    record: TrialRecord, attacks: Sequence[AttackRecord], config: TrialConfig
) -> Iterator[str]:
    """Yield what to know beside the table of attacks: the AUC that counts, and what is missing."""
    if record.models is None:
        yield from _what_counts(record, attacks, config)
        yield from _rates(record, config)
    yield from _missing_rates(attacks[0].n_nonmembers)


def _what_counts(
    record: TrialRecord, attacks: Sequence[AttackRecord], config: TrialConfig
) -> Iterator[str]:
    """Yield the AUC that counts beside its zero."""
    if record.attack_auc is not None:
        choice = config.attacks.attack_auc
        k = sum(a.auc is not None and a.attack in config.attacks.counted for a in attacks)
        is_chosen = choice == "strongest" and k > 1
        allowance = f" (allows for the choice among {k} attacks)" if is_chosen else ""
        yield f"AUC that counts: {auc_text(dataclasses.asdict(record))}{allowance}."
    if record.attack_auc_null is not None and record.attack_auc_null_high is not None:
        yield (
            f"Without any leak the same attacks would reach {record.attack_auc_null:.3f}, and "
            f"rarely more than {record.attack_auc_null_high:.3f}."
        )


def _rates(record: TrialRecord, config: TrialConfig) -> Iterator[str]:
    """Yield the rates that count, each of the attack that finds most there."""
    row = record.row()
    rates = [
        f"{100 * fpr:g} % FPR {percent_text(row, f'tpr_at_fpr_{label}')}"
        for label, fpr in FPRS.items()
        if row[f"tpr_at_fpr_{label}"] is not None
    ]
    if rates:
        yield f"Members found, by the attack that finds most: at {', at '.join(rates)}."
    if record.ppv is not None and record.ppv_fpr is not None:
        known = figures_at(config.attacks.prior)
        for name in [one for one in known if len(known) == 1 or one != "ppv"]:
            yield (
                f"If {100 * known[name]:g} % of those asked about were members, "
                f"{percent_text(row, name)} of those called members would be (at "
                f"{100 * record.ppv_fpr:g} % FPR)."
            )
    if record.tail is not None:
        yield f"Tail of the losses: {percent_text(row, 'tail')} (about 2 % without a leak)."
    if record.always_found is not None:
        yield f"Always found, by all models: {percent_text(row, 'always_found')} of the examples."


def _missing_rates(n: int | None) -> Iterator[str]:
    """Yield how many nonmembers the true-positive rates need that ``n`` are too few for."""
    for rate in (0.01, 0.1):
        needed = nonmembers_for(rate)
        if n is not None and n < needed:
            there = "there is 1" if n == 1 else f"there are {n:,}"
            yield f"A TPR at {100 * rate:.0f} % FPR needs {needed:,} nonmembers, and {there}."


def _inversions(attacks: Sequence[AttackRecord]) -> Table:
    names = ("layer", "MSE [95 %]", "nonmembers", "mean input", "class mean", "SSIM", "decoder")
    table = _attack_table(*names)
    for a in attacks:
        mse = with_interval(a.mse, ends_of(dataclasses.asdict(a), "mse"), 4)
        numbers = (a.mse_nonmembers, a.floor_mean, a.floor_label, a.ssim)
        cells = ["" if x is None else f"{x:.4f}" for x in numbers]
        table.add_row(a.attack, a.layer or "", mse, *cells, a.decoder or "")
    return table


def _attack_table(*names: str) -> Table:
    table = Table()
    table.add_column("attack")
    for name in names:
        table.add_column(name, justify="right")
    return table
