import itertools
import math

import pandas as pd
import pytest
import yaml
from conftest import SMALL

from raysweep.driver.counting import count_trials
from raysweep.driver.proposals import Proposals
from raysweep.records.trial_config import TrialConfig
from raysweep.space.parsing import parse_space

SAMPLERS = ["tpe", "random", "qmc", "nsgaii", "nsgaiii", "gp"]


def a_space(sampler="random", search=None, more=""):
    text = SMALL.replace("name: random", f"name: {sampler}") + more
    if search:
        start, end = text.index("search:"), text.index("attacks:")
        text = f"{text[:start]}search: {search}\n{text[end:]}"
    return parse_space(text, "s.yaml")


def row(proposal, **changes):
    epsilon = proposal.config.defences["target_epsilon"]
    return {
        "trial_id": proposal.config.trial_id,
        "number": proposal.number,
        "status": "ok",
        "config": proposal.config.to_json(),
        "accuracy": 0.9 - 0.01 * proposal.config.defences["dropout"] - 0.1 / epsilon,
        "attack_auc": 0.5 + 0.1 * (1 - math.exp(-epsilon / 8)),
        "inversion_mse": 0.02,
        "inversion_floor": 0.07,
        "inversion_converged": True,
        "collapsed": False,
        **changes,
    }


def run(space, n, records=()):
    proposals = Proposals(space, pd.DataFrame(list(records)))
    rows = list(records)
    while len(rows) < n and (proposal := proposals.next()) is not None:
        rows.append(row(proposal))
        proposals.learn(rows[-1])
    return rows


@pytest.mark.slow
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_starts_at_the_baseline_and_proposes_within_the_axes(sampler):
    rows = run(a_space(sampler), 14)
    configs = [parse_config(r) for r in rows]
    assert configs[0].defences["target_epsilon"] == math.inf
    assert configs[0].defences["dropout"] == 0.0
    assert len({r["trial_id"] for r in rows}) == 14
    for config in configs:
        assert 0 <= config.defences["dropout"] <= 0.5
        assert (
            config.defences["target_epsilon"] == math.inf
            or 2 <= config.defences["target_epsilon"] <= 16
        )


def parse_config(record):
    return TrialConfig.from_json(record["config"])


@pytest.mark.parametrize("sampler", ["random", "qmc", "grid"])
def test_a_continued_design_proposes_what_an_undisturbed_one_would(sampler):
    search = (
        "{epsilon: {low: 2, high: 16, points: 3, or: .inf}, dropout: {values: [0.0, 0.2, 0.4]}}"
    )
    space = a_space(sampler, search if sampler == "grid" else None)
    whole = run(space, 9)
    lost_in_the_middle = [r for i, r in enumerate(whole[:6]) if i != 3]
    continued = run(space, 9, lost_in_the_middle)
    assert {r["trial_id"] for r in continued} == {r["trial_id"] for r in whole}
    numbers = {r["trial_id"]: r["number"] for r in whole}
    assert all(numbers[r["trial_id"]] == r["number"] for r in continued)


@pytest.mark.parametrize("sampler", ["tpe", "nsgaii"])
def test_a_continued_search_learns_from_its_records(sampler):
    space = a_space(sampler)
    records = run(space, 8)
    proposals = Proposals(space, pd.DataFrame(records))
    learnt = [t.user_attrs["trial_id"] for t in proposals.source.study.get_trials()]
    assert learnt == [r["trial_id"] for r in records]
    assert proposals.next().config.trial_id not in learnt


def test_a_search_that_repeats_itself_goes_on_with_random_proposals():
    proposals = Proposals(a_space("nsgaii"), pd.DataFrame(), largest=10)  # a population of 4
    for _ in range(45):
        proposals.learn(row(proposals.next()))


def test_a_long_search_learns_from_the_latest_records_and_the_best_of_the_others():
    space = a_space("tpe")
    best = {"accuracy": 0.99, "attack_auc": 0.5}
    proposals, rows = Proposals(space, pd.DataFrame(), largest=10), []
    for i in range(45):
        rows.append(row(proposals.next(), **(best if i == 3 else {})))
        proposals.learn(rows[-1])
        assert len(proposals.source.study.trials) < 20
    for study in (
        proposals.source.study,
        Proposals(space, pd.DataFrame(rows), largest=10).source.study,
    ):
        learnt = [t.user_attrs["trial_id"] for t in study.trials]
        assert rows[3]["trial_id"] in learnt
        assert {r["trial_id"] for r in rows[-5:]} <= set(learnt)


def test_a_new_study_learns_from_a_proposal_of_the_old_one():
    proposals = Proposals(a_space("tpe"), pd.DataFrame(), largest=2)
    proposals.learn(row(proposals.next()))
    slow = proposals.next()
    for _ in range(4):
        proposals.learn(row(proposals.next()))
    proposals.learn(row(slow))
    assert proposals.source.study.trials[-1].user_attrs["trial_id"] == slow.config.trial_id


def test_half_of_random_proposals_take_the_or_value():
    rows = run(a_space(), 200)
    without = sum(parse_config(r).defences["target_epsilon"] == math.inf for r in rows)
    assert 75 <= without <= 125


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "grid", "nsgaii"])
def test_a_finite_space_ends_at_its_size(sampler):
    space = a_space(sampler, "{dropout: {values: [0.0, 0.1, 0.2]}, l2: {values: [0.0, 0.1]}}")
    assert count_trials(space, 50) == 6
    rows = run(space, 50)
    assert len(rows) == len({r["trial_id"] for r in rows}) == 6


def test_the_baseline_counts_when_the_grid_does_not_hold_it():
    assert count_trials(a_space("grid", "{dropout: {values: [0.1, 0.2]}}"), 50) == 3


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_baseline_off_the_axes_still_comes_first(sampler):
    rows = run(
        a_space(sampler, "{dropout: {low: 0.2, high: 0.4}, model.hidden: {values: [[8], [9]]}}"), 4
    )
    assert parse_config(rows[0]).defences["dropout"] == 0.0
    assert all(0.2 <= parse_config(r).defences["dropout"] <= 0.4 for r in rows[1:])
    assert {tuple(parse_config(r).model.settings["hidden"]) for r in rows[1:]} <= {(8,), (9,)}


def test_a_running_proposal_is_not_made_twice():
    space = a_space("grid", "{dropout: {values: [0.0, 0.1]}}")
    proposals = Proposals(space, pd.DataFrame())
    first, second, third = (proposals.next() for _ in range(3))
    assert {first.number, second.number} == {0, 2}
    assert third is None


def test_a_search_learns_no_figures_from_a_failed_trial():
    space = a_space("tpe")
    proposals = Proposals(space, pd.DataFrame())
    proposals.learn(row(proposals.next()))
    asked = proposals.next()
    proposals.learn(row(asked, status="failed", accuracy=None))
    states = [t.state.name for t in proposals.source.study.get_trials()]
    assert states == ["COMPLETE", "FAIL"]


@pytest.mark.parametrize("sampler", ["tpe", "nsgaii", "gp"])
def test_a_search_learns_no_figures_from_a_pruned_trial_and_does_not_repeat_it(sampler):
    space = a_space(sampler)
    proposals, rows = Proposals(space, pd.DataFrame()), []
    for i in range(16):
        rows.append(
            row(proposals.next(), **({"status": "pruned", "attack_auc": None} if i % 3 else {}))
        )
        proposals.learn(rows[-1])
    expected = ["PRUNED" if i % 3 else "COMPLETE" for i in range(16)]
    assert [t.state.name for t in proposals.source.study.get_trials()] == expected
    continued = Proposals(space, pd.DataFrame(rows))
    assert [t.state.name for t in continued.source.study.get_trials()] == expected
    assert continued.next().config.trial_id not in {r["trial_id"] for r in rows}


def test_collapsed_trials_are_infeasible_for_the_sampler():
    space = a_space("tpe")
    proposals = Proposals(space, pd.DataFrame())
    proposals.learn(row(proposals.next()))
    proposals.learn(row(proposals.next(), collapsed=True))
    first, second = proposals.source.study.get_trials()
    assert first.system_attrs["constraints:collapsed"] == -1.0
    assert second.system_attrs["constraints:collapsed"] == 1.0


SCENARIOS = "{plain: {}, dp2: {epsilon: 2}, both: {epsilon: 2, dropout: [0.1, 0.2]}}"


def named(sampler="random", search=None):
    text = yaml.safe_dump(a_space(sampler, search).to_plain(), sort_keys=False)
    return parse_space(f"{text}\nscenarios: {SCENARIOS}\n", "s.yaml")


def proposed(space, n=100):
    proposals = Proposals(space, pd.DataFrame())
    return [p for p in (proposals.next() for _ in range(n)) if p is not None]


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_scenarios_come_after_the_baseline_and_before_what_the_sampler_proposes(sampler):
    first, *rest = proposed(named(sampler), 7)
    assert (first.number, first.scenario) == (0, "plain")
    assert [p.scenario for p in rest] == ["dp2", "both", "both", None, None, None]
    assert [p.config.defences["dropout"] for p in rest[:3]] == [0.0, 0.1, 0.2]
    assert [p.number for p in rest] == [2, 3, 4, 5, 6, 7]


def test_random_proposals_are_the_same_with_and_without_scenarios():
    with_, without = proposed(named(), 8)[4:], proposed(a_space(), 5)[1:]
    assert [p.config.trial_id for p in with_] == [p.config.trial_id for p in without]


def test_a_grid_repeats_scenarios_for_all_axes_that_are_no_defence():
    space = named("grid", "{seed: {values: [1, 2]}, training.epochs: {values: [3, 4]}}")
    proposals = proposed(space)
    n = 16 + 1  # the baseline has seed 3
    assert len(proposals) == count_trials(space, 1000) == n
    assert sum(p.scenario == "both" for p in proposals) == 8
    assert {
        (p.config.seed, p.config.training.epochs) for p in proposals if p.scenario == "dp2"
    } == {(s, e) for s in (1, 2) for e in (3, 4)}


def test_a_continued_sweep_proposes_the_missing_scenarios():
    space = named()
    rows = [{**row(p), "scenario": p.scenario} for p in proposed(space, 3)]
    proposals = Proposals(space, pd.DataFrame(rows))
    following = proposals.next()
    assert (following.scenario, following.number) == ("both", 4)


def test_a_study_does_not_learn_from_trials_off_its_axes():
    space = named("tpe", "{epsilon: {low: 2, high: 16}}")
    rows = [{**row(p), "scenario": p.scenario} for p in proposed(space, 4)]
    study = Proposals(space, pd.DataFrame(rows)).source.study
    learnt = {t.user_attrs["trial_id"] for t in study.trials}
    assert learnt == {r["trial_id"] for r in rows if r["scenario"] != "both"}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("sampler", ["random", "qmc", "tpe"])
@pytest.mark.parametrize(
    ("axes", "n"),
    [
        ("{training.epochs: {low: 1, high: 3}}", 4),  # the baseline has other epochs
        ("{delta: {low: 1e-6, high: 1e-4}}", 1),  # no effect without DP-SGD
        ("{dropout: {low: 0.5, high: 0.5000000000000001}}", 3),
        ("{training.batch_size: {low: 16, high: 18}, delta: {low: 1e-6, high: 1e-4}}", 3),
    ],
)
def test_a_space_with_fewer_configurations_than_trials_ends_with_what_there_is(sampler, axes, n):
    space = a_space(sampler, axes)
    proposals = Proposals(space, pd.DataFrame())
    ids = [p.config.trial_id for p in itertools.islice(iter(proposals.next, None), 10)]
    assert len(set(ids)) == len(ids) == n
    assert proposals.limit(10) == n


@pytest.mark.parametrize("sampler", ["random", "qmc", "grid", "tpe"])
@pytest.mark.parametrize(("key", "low"), [("l2", 1e-15), ("delta", 1e-15), ("l2", 3e-300)])
def test_small_values_of_a_log_axis_stay_apart_and_on_the_axis(sampler, key, low):
    points = ", points: 9" if sampler == "grid" else ""
    axes = f"{{{key}: {{low: {low}, high: {low * 1e8}, log: true{points}}}}}"
    space = a_space(sampler, axes, "defences: {target_epsilon: 4}" if key == "delta" else "")
    rows = run(space, 9)
    values = [parse_config(r).defences[key] for r in rows][1:]
    assert len(set(values)) == len(values) == 8
    assert all(low <= value <= low * 1e8 for value in values)


def test_a_sampler_learns_from_trials_whose_objective_is_infinite():
    space = a_space("tpe", more="objectives: {accuracy: max, epsilon: min}")
    rows = [row(Proposals(space, pd.DataFrame()).next(), epsilon=math.inf)]
    (trial,) = Proposals(space, pd.DataFrame(rows)).source.study.trials
    assert trial.values == [rows[0]["accuracy"], 1e6]
