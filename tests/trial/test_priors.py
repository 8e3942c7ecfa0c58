"""The PPV at several priors: figures, columns, objectives and conditions named after each."""

import io

import pytest
from conftest import SMALL
from recorded import record_sweep
from rich.console import Console

from raysweep.attacks import metrics
from raysweep.driver.progress import Progress
from raysweep.errors import SpaceError
from raysweep.records.choice import choose
from raysweep.records.columns import TrialResult
from raysweep.records.objectives import Objectives
from raysweep.records.priors import columns_at, figures_at
from raysweep.records.provenance import failed_record
from raysweep.records.results import load
from raysweep.records.store import Store
from raysweep.records.tables import pack
from raysweep.records.trial_config import TrialConfig
from raysweep.space.parsing import parse_space

MEASURED = SMALL.replace("  inversion: {activation_decoder: {decoders: [ridge]}}\n", "")
MEASURED = MEASURED.replace("nonmembers: 60, pool: 200", "nonmembers: 120, pool: 200")


def text(prior, more=""):
    """Return a small space whose attacks have a prior, or several."""
    return MEASURED.replace("[max_posterior, loss]", f"[loss]\n  prior: {prior}") + more


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """Record two trials of a space with three priors, of which one is an objective."""
    path = tmp_path_factory.mktemp("priors") / "out"
    more = (
        "objectives: {accuracy: max, ppv_at_prior_0.2: min}\nconstraints: [ppv_at_prior_0.2 <= 1]\n"
    )
    return load(record_sweep(path, text("[0.01, 0.2, 1e-5]", more), [{"dropout": 0.4}]))


def test_each_prior_has_a_figure_by_bayes_rule_with_an_interval(sweep):
    for row in sweep.trials.to_dict("records"):
        for name, prior in figures_at([0.01, 0.2, 1e-5]).items():
            for end in ("", "_low", "_high"):
                rate = row[f"tpr_at_fpr_0_1{end}"]
                assert row[name + end] == pytest.approx(metrics.ppv(rate, row["ppv_fpr"], prior))
        assert row["ppv"] == row["ppv_at_prior_0_01"] < row["ppv_at_prior_0_2"]
        assert row["ppv_at_prior_0_00001_low"] < row["ppv_at_prior_0_00001_high"]


def test_a_figure_at_a_prior_is_an_objective_and_a_condition(sweep):
    assert sweep.front()["ppv_at_prior_0_2"].notna().all()
    assert {"ppv", "ppv_at_prior_0_2"} <= set(sweep.examples["figure"])
    (low,) = sweep.conditions(["ppv_at_prior_0.2_low <= 0.9"])
    assert len(sweep.front(where=[low])) >= 1
    none = sweep.conditions(["ppv_at_prior_0.01 > 0.9"])
    assert sweep.front(where=none).empty

    found = choose(sweep.compared(), sweep.objectives, [], "ppv_at_prior_0.2")
    assert found.row["ppv_at_prior_0_2"] == sweep.trials["ppv_at_prior_0_2"].min()


def test_a_prior_that_a_sweep_does_not_state_is_refused(sweep):
    with pytest.raises(SpaceError, match="unknown column 'ppv_at_prior_0_3'"):
        sweep.conditions(["ppv_at_prior_0.3 <= 0.5"])
    with pytest.raises(SpaceError, match="not an objective; did you mean 'ppv_at_prior_0_2'"):
        choose(sweep.compared(), sweep.objectives, [], "ppv_at_prior_0.3")


def test_a_sweep_whose_trials_all_failed_has_the_columns_too(tmp_path):
    path = record_sweep(
        tmp_path / "out", text("[0.01, 0.2]", "objectives: {ppv_at_prior_0.2: min}\n")
    )
    config = TrialConfig.from_json(load(path).trials["config"][0])
    failed = failed_record(config, "none")
    Store(path).write(pack(TrialResult(trial=failed)))
    results = load(path)
    assert results.trials["ppv_at_prior_0_2_high"].isna().all()
    assert results.front().empty

    console = Console(file=io.StringIO(), width=300)
    rows = {str(number): failed.row() for number in range(2)}
    with Progress(console, rows, total=2, objectives=results.objectives) as progress:
        progress.update(0, force=True)
    assert "least PPV at a prior of 20 % - | front 0 |" in console.file.getvalue()


def test_who_finds_nobody_is_compared_as_the_prior():
    objectives = Objectives.of("ppv_at_prior_0.2")
    assert objectives.comparable({"ppv_at_prior_0_2": 0.1}).tolist() == [0.2]
    assert objectives.comparable({"ppv_at_prior_0_2": 0.4}).tolist() == [0.4]


def test_one_prior_in_a_list_is_that_prior_and_the_default_changes_no_id():
    ids = {
        prior: parse_space(text(prior), "a.yaml").baseline().trial_id
        for prior in ("0.01", "[0.01]", "0.2", "[0.2]", "[0.01, 0.2]")
    }
    assert (
        ids["0.01"]
        == ids["[0.01]"]
        == parse_space(MEASURED.replace("[max_posterior, loss]", "[loss]"), "a.yaml")
        .baseline()
        .trial_id
    )
    assert ids["0.2"] == ids["[0.2]"]
    assert len(set(ids.values())) == 3
    assert columns_at([0.2]) == []
