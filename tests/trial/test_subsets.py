"""The figures of single classes and subgroups: which examples they are of, and when they are null."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import SMALL

from raysweep import data
from raysweep.attacks import metrics
from raysweep.data.splits import Subgroups
from raysweep.records.columns import AttackRecord
from raysweep.records.results import load
from raysweep.records.store import Store
from raysweep.records.tables import pack
from raysweep.space.parsing import parse_space
from raysweep.trial import preflight, subset_judge
from raysweep.trial.ensemble import Judged
from raysweep.trial.population import halves, population
from raysweep.trial.run import run_trial

TEXT = SMALL.replace("[max_posterior, loss]", "[loss, rmia]").replace(
    "members: 120", "members: 300"
)
TEXT = TEXT.replace("  inversion: {activation_decoder: {decoders: [ridge]}}\n", "")
TEXT = TEXT.replace("pool: 200", "pool: 360").replace("validation: 100", "validation: 200")
TEXT += "measure: {models: 8}\n"


@pytest.fixture(scope="module")
def config():
    return parse_space(TEXT, "small.yaml").config()


@pytest.fixture(scope="module")
def dealt(config):
    """Digits whose subgroups are the thirds of the data set, and one of few examples."""
    splits = data.load(config.dataset, seed=config.seed)
    codes = np.arange(1797) % 3
    codes[splits.members.indices[:5]] = 3
    return dataclasses.replace(splits, subgroups=Subgroups(names=(*"abc", "few"), codes=codes))


@pytest.fixture(scope="module")
def trial(config, dealt):
    return run_trial(config, load=lambda dataset, *, seed: dealt)


def planted(config, splits, exposed):
    """Return the rows of an ensemble that remembers the ``exposed`` examples (2n,) alone."""
    rng, n = np.random.default_rng(0), len(splits.members)
    inside = halves(n, 8, seed=0)
    scores = rng.normal(size=inside.shape) + np.where(inside & exposed, 4.0, 0)
    right = np.ones((8, len(splits.validation)), dtype=bool)
    ensemble = SimpleNamespace(
        inside=inside,
        is_right_on_judged=right,
        attacks={"rmia": Judged(scores=scores, thresholds=None, seconds=0.0)},
    )
    attacks = [AttackRecord(trial_id="t", family="membership", attack="rmia", models=8, auc=0.6)]
    return {
        (r.kind, r.subset): r for r in subset_judge.of_recipe(config, splits, ensemble, attacks)
    }


def test_the_subgroup_that_is_remembered_is_the_one_that_stands_out(config, dealt):
    rows = planted(config, dealt, dealt.subgroups.of(population(dealt)) == 1)
    b = rows["subgroup", "b"]
    assert b.auc > 0.98
    assert b.auc_gap_low > 0.4
    assert b.tpr_at_fpr_0_1 > 0.95
    assert b.always_found > 0.5
    others = [row for key, row in rows.items() if key != ("subgroup", "b") and row.auc is not None]
    assert all(row.auc < 0.8 and row.auc_gap_low < 0 for row in others)


def test_where_nothing_is_remembered_no_subset_stands_out(config, dealt):
    rows = planted(config, dealt, np.zeros(600, dtype=bool)).values()
    assert not any(row.auc_gap_low > 0 or row.auc_gap_high < 0 for row in rows if row.auc_gap)
    assert all(row.auc_low <= 0.55 and row.always_found < 0.1 for row in rows if row.auc)


def test_a_trial_has_a_row_for_each_class_and_each_subgroup(trial, dealt):
    by_kind = {kind: [r for r in trial.subsets if r.kind == kind] for kind in ("class", "subgroup")}
    assert [r.subset for r in by_kind["class"]] == list("0123456789")
    assert [r.subset for r in by_kind["subgroup"]] == ["a", "b", "c", "few"]
    for rows in by_kind.values():
        assert sum(r.n for r in rows) == 600
        assert sum(r.n_judged for r in rows) == 200
        shares = [(r.accuracy, r.n_judged) for r in rows if r.accuracy is not None]
        mean = np.average([s for s, _ in shares], weights=[n for _, n in shares])
        assert mean == pytest.approx(trial.trial.accuracy)
    assert {r.attack for r in trial.subsets} == {trial.trial.strongest_attack}


def test_a_subset_with_few_examples_has_no_figures_and_says_why(trial):
    few = next(r for r in trial.subsets if r.subset == "few")
    assert (few.n, few.auc, few.auc_gap) == (5, None, None)
    assert (few.always_found, few.accuracy) == (None, None)
    assert "need 10 members in each model, and one has" in few.reason
    assert "accuracy needs 10 examples, and there are" in few.reason
    most = next(r for r in trial.subsets if r.subset == "a")
    needed = metrics.nonmembers_for(0.01)
    assert most.tpr_at_fpr_0_1 is not None
    assert f"needs {needed:,} decisions on nonmembers, and there are" in most.reason


def test_what_will_have_no_figures_is_said_before_anything_runs(config, dealt, trial):
    (note,) = preflight.unmeasured(config, dealt)
    assert (
        note == "figures by subgroup need at least 20 examples of the population: none of few (5)"
    )
    assert [r.subset for r in trial.subsets if r.auc is None] == ["few"]


def test_the_rows_are_stored_and_read_again(trial, tmp_path):
    store = Store(str(tmp_path))
    (tmp_path / "space.yaml").write_text(TEXT + "objectives: {accuracy: max}\n")
    store.write(pack(trial))
    rows = load(str(tmp_path)).subsets
    assert len(rows) == 14
    assert rows.loc[rows["subset"] == "a", "auc"].item() == next(
        r.auc for r in trial.subsets if r.subset == "a"
    )


def test_without_the_ensemble_there_are_none(dealt):
    alone = parse_space(TEXT.replace("measure: {models: 8}\n", ""), "small.yaml").config()
    assert run_trial(alone, load=lambda dataset, *, seed: dealt).subsets == ()
