"""Trials that differ only in their seed are one configuration."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import raysweep
from raysweep.errors import SpaceError
from raysweep.records.conditions import parse_conditions
from raysweep.records.seeds import average_seeds

STORED = Path(__file__).parents[2] / "analysis/results/regularisers_dp_small"  # seven seeds


def trials(**columns):
    rows = {
        "trial_id": ["a", "b", "c", "d"],
        "recipe": ["x", "x", "y", "y"],
        "seed": [0, 1, 0, 1],
        "status": "ok",
        "collapsed": False,
        "inversion_converged": True,
        "accuracy": [0.9, 0.8, 0.86, 0.86],
        "attack_auc": [0.54, 0.56, 0.52, 0.54],
        "attack_auc_low": 0.4,
        "attack_auc_high": 0.7,
    }
    return pd.DataFrame(rows | columns)


def test_figures_are_means_over_the_seeds_with_students_interval():
    averaged = average_seeds(trials())
    assert averaged["trial_id"].tolist() == ["a", "c"]
    assert averaged["accuracy"].tolist() == pytest.approx([0.85, 0.86])
    assert averaged["seeds"].tolist() == [2, 2]

    first = averaged.iloc[0]
    half = 12.7062 * 0.01  # t of one degree of freedom x standard error
    ends = (first.attack_auc_low, first.attack_auc_high)
    assert ends == pytest.approx((0.55 - half, 0.55 + half), abs=1e-5)


def test_a_recipe_that_collapsed_with_one_seed_has_collapsed():
    averaged = average_seeds(trials(collapsed=[False, True, False, False]))
    assert averaged["collapsed"].tolist() == [True, False]
    unconverged = average_seeds(trials(inversion_converged=[True, True, True, False]))
    assert unconverged["inversion_converged"].tolist() == [True, False]


def test_only_finished_seeds_are_averaged():
    averaged = average_seeds(trials(status=["failed", "ok", "failed", "failed"]))
    assert averaged[["trial_id", "status", "seeds"]].values.tolist() == [
        ["b", "ok", 1],
        ["c", "failed", 1],
    ]
    assert averaged["accuracy"].tolist() == [0.8, 0.86]


def test_without_two_seeds_of_one_recipe_nothing_changes():
    frame = trials(recipe=["w", "x", "y", "z"])
    assert average_seeds(frame) is frame


def test_a_front_compares_the_means_over_the_seeds_of_a_stored_sweep():
    """Its records are older than the column `recipe`."""
    results = raysweep.load(str(STORED))
    without_seed = results.trials["config"].map(lambda text: str(json.loads(text) | {"seed": 0}))
    means = results.trials.groupby(without_seed)[["accuracy", "attack_auc"]].mean()

    front = results.front()
    assert front["seeds"].tolist() == [7] * len(front)
    best = means[means["accuracy"] == means["accuracy"].max()].iloc[0]
    assert front.iloc[0][["accuracy", "attack_auc"]].tolist() == pytest.approx(best.tolist())

    limits = parse_conditions([f"accuracy >= {best['accuracy'] - 1e-9}"], results.axes)
    assert len(results.front(where=limits)) == 1


def test_older_records_without_a_recipe_stay_apart():
    frame = trials(recipe=None)
    assert average_seeds(frame) is frame


def test_the_accuracy_of_several_seeds_has_students_interval_too():
    averaged = average_seeds(trials(accuracy_low=None, accuracy_high=None))
    assert averaged["accuracy_low"].tolist() == pytest.approx(
        [0.85 - 12.7062 * 0.05, 0.86], abs=1e-5
    )


def test_a_front_of_one_seed_is_found_among_older_records_of_several(tmp_path):
    """Whether seeds vary is a question about the sweep, and not about its front."""
    shutil.copytree(STORED, tmp_path / "sweep")
    (path,) = (tmp_path / "sweep/trials").glob("*.parquet")
    table = pq.read_table(path)
    rows = table.to_pandas()
    worst = rows["accuracy"] == rows["accuracy"].min()
    kept = (rows["seed"] == 0) | (worst & (rows["seed"] != 0))
    if kept.sum() == (rows["seed"] == 0).sum():  # the worst trial is itself of seed 0
        kept |= rows.index == rows.query("seed != 0")["accuracy"].idxmin()
    pq.write_table(table.filter(pa.array(kept)), path)

    front = raysweep.load(str(tmp_path / "sweep")).front()
    assert set(front["seed"]) == {0}
    assert front["recipe"].notna().all()


def test_seeds_that_are_averaged_are_no_condition():
    with pytest.raises(SpaceError, match=r"--where cannot name `seed`"):
        parse_conditions(["seed == 1"], ["dropout", "seed"])
    assert parse_conditions(["seed == 1"], ["dropout"])
