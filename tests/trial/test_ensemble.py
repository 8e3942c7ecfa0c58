"""A recipe measured on several models: who is trained on what, what is compared, what is said."""

import dataclasses
import json

import numpy as np
import pytest
from conftest import SMALL

from raysweep import data
from raysweep.attacks import metrics, recipe_metrics
from raysweep.attacks.membership.likelihood_ratio import Lira, Rmia
from raysweep.data import Splits
from raysweep.errors import DataError, SpaceError
from raysweep.space.parsing import parse_space
from raysweep.training import target
from raysweep.training.packing import Packing
from raysweep.trial.ensemble import scores_online
from raysweep.trial.population import check_population, halves, population
from raysweep.trial.run import run_trial

TEXT = SMALL.replace("[max_posterior, loss]", "[loss, rmia, lira]").replace(
    "  epochs: 4", "  epochs: 3"
)
TEXT = TEXT.replace("  inversion: {activation_decoder: {decoders: [ridge]}}\n", "")
MEASURED = TEXT + "measure: {models: 4}\n"


def config(text=MEASURED):
    return parse_space(text, "small.yaml").config()


@pytest.fixture(scope="module")
def measured():
    return run_trial(config())


@pytest.fixture(scope="module")
def alone():
    return run_trial(config(TEXT))


def test_the_population_is_the_members_and_as_many_outsiders_nonmembers_first(splits):
    examples, n = population(splits), len(splits.members)
    assert len(set(examples.indices)) == 2 * n
    assert np.array_equal(examples.indices[:n], splits.members.indices)
    outside = examples.indices[n:]
    assert np.array_equal(outside[:60], splits.nonmembers.indices)
    assert np.isin(outside[60:], splits.pool.indices).all()


def test_too_few_outsiders_are_refused_before_training():
    small = MEASURED.replace("nonmembers: 60, pool: 200", "nonmembers: 60, pool: 50")
    small = small.replace("[loss, rmia, lira]", "[loss]")
    rule = r"as many outsiders as the 120 members, .* got 110; lower dataset.members to 110"
    with pytest.raises(DataError, match=rule):
        run_trial(config(small))


def test_validation_examples_train_no_model(splits):
    shared = dataclasses.replace(splits, nonmembers=splits.validation, is_published=True)
    assert not np.isin(population(shared).indices, splits.validation.indices).any()
    nothing: Splits = dataclasses.replace(shared, pool=splits.pool.rows(np.arange(10)))
    with pytest.raises(DataError, match="do not count: they are the validation examples"):
        check_population(nothing)


def test_models_come_in_pairs_of_complements_and_do_not_depend_on_how_many_there_are():
    few, many = halves(30, 4, seed=1), halves(30, 16, seed=1)
    assert np.array_equal(few, many[:4])
    assert (many.sum(axis=1) == 30).all()
    assert np.array_equal(many[1::2], ~many[0::2])
    assert many[0, :30].all()
    assert len(np.unique(many, axis=0)) == 16
    assert not np.array_equal(many[2], halves(30, 16, seed=2)[2])


@pytest.mark.parametrize("attack", [Rmia(), Lira()])
def test_the_complement_of_a_model_is_not_among_its_references(attack):
    inside = halves(100, 8, seed=0)
    odds = np.random.default_rng(0).normal(size=inside.shape)
    changed = odds.copy()
    changed[3] += 5  # the complement of model 2
    before, after = (scores_online(attack, values, inside) for values in (odds, changed))
    assert np.array_equal(before[2], after[2])
    assert not (before[4] == after[4]).any()


def test_a_complement_among_the_references_would_give_the_answer_away():
    """Models that learnt nothing, but for the confidence that the two of a pair share."""
    rng, inside = np.random.default_rng(0), halves(100, 8, seed=0)
    odds = rng.normal(size=inside.shape) + np.repeat([-3, -1, 1, 3], 2)[:, None]
    area = recipe_metrics.mean_auc(scores_online(Lira(), odds, inside), inside)
    assert area.low <= 0.5 <= area.high

    others = [np.arange(8) != number for number in range(8)]
    leaking = [
        Lira().score_online(odds[number], odds[other].T, inside[other].T)
        for number, other in enumerate(others)
    ]
    area = recipe_metrics.mean_auc(np.stack(leaking), inside)
    assert area.value < 0.25  # turned round, it finds three of four


def test_every_example_has_as_many_references_with_it_as_without_it():
    inside, counts = halves(20, 8, seed=0), []

    class Spy:
        def score_online(self, odds, references, seen):
            counts.append((references.shape, seen.sum(axis=1)))
            return odds

    scores_online(Spy(), np.zeros(inside.shape), inside)
    assert all(shape == (40, 6) and (n_in == 3).all() for shape, n_in in counts)


def test_models_that_memorised_are_found_out():
    rng, inside = np.random.default_rng(0), halves(100, 8, seed=0)
    odds = 20.0 * inside - 10 + rng.normal(size=inside.shape)
    for attack in (Rmia(), Lira()):
        scores = scores_online(attack, odds, inside)
        assert recipe_metrics.mean_auc(scores, inside).value == pytest.approx(1)


def test_a_recipe_has_its_own_rows_beside_those_of_the_model(measured, alone):
    of_model = [r for r in measured.attacks if r.models == 1]
    of_recipe = [r for r in measured.attacks if r.models == 4]
    assert [r.attack for r in of_recipe] == ["loss", "rmia", "lira"]
    assert [(r.attack, r.auc, r.models) for r in of_model] == [
        (r.attack, r.auc, r.models) for r in alone.attacks
    ]
    assert {(r.n_members, r.n_nonmembers) for r in of_recipe} == {(120, 120)}
    assert json.loads(of_recipe[1].parameters) == {"references": 2}
    assert all(0 <= r.auc_low <= r.auc <= r.auc_high <= 1 for r in of_recipe)
    assert all(r.tpr_at_fpr_0_1 is not None for r in of_recipe)  # 480 decisions on nonmembers
    assert of_recipe[0].advantage_low < of_recipe[0].advantage < of_recipe[0].advantage_high


def test_the_figures_of_a_trial_are_those_of_the_recipe(measured, alone):
    trial = measured.trial
    accuracies = json.loads(trial.accuracies)
    assert (trial.models, trial.population, len(json.loads(trial.model_seeds))) == (4, 240, 4)
    assert accuracies[0] == alone.trial.accuracy
    assert trial.accuracy == pytest.approx(np.mean(accuracies))
    assert trial.accuracy_low < trial.accuracy < trial.accuracy_high
    best = max((r for r in measured.attacks if r.models == 4), key=lambda r: r.auc)
    assert (trial.attack_auc, trial.strongest_attack) == (best.auc, best.attack)
    assert trial.attack_auc_low < best.auc_low  # at 1 - .05 / 3
    assert 0.5 < trial.attack_auc_null < trial.attack_auc_null_high


def test_the_rates_of_a_trial_are_of_the_attack_that_finds_most(measured):
    trial = measured.trial
    of_recipe = [r for r in measured.attacks if r.models == 4]
    assert trial.tpr_at_fpr_0_1 == max(r.tpr_at_fpr_0_1 for r in of_recipe)
    assert trial.advantage == max(r.advantage for r in of_recipe)
    assert trial.tpr_at_fpr_0_01 is None  # 480 decisions on nonmembers, of 1,000
    assert trial.ppv_fpr == 0.1
    assert trial.ppv == pytest.approx(metrics.ppv(trial.tpr_at_fpr_0_1, 0.1, prior=0.01))
    for name in ("tpr_at_fpr_0_1", "advantage", "ppv", "always_found"):
        low, value, high = (getattr(trial, f"{name}{end}") for end in ("_low", "", "_high"))
        assert low <= value <= high
    assert trial.tail is None  # 480 decisions on members, of 500


def test_rates_of_one_model_are_of_its_own_attacks(alone):
    trial = alone.trial
    assert trial.advantage == max(r.advantage for r in alone.attacks if r.advantage is not None)
    assert (trial.tpr_at_fpr_0_1, trial.ppv, trial.always_found) == (None,) * 3


@pytest.mark.parametrize("of", ["measured", "alone"])
def test_the_rows_of_the_examples_have_the_figures_as_their_means(of, request):
    result = request.getfixturevalue(of)
    rows = {row.figure: row for row in result.examples}
    assert {"accuracy", "attack_auc", "advantage", "tail"} <= rows.keys()
    for name, row in rows.items():
        value = getattr(result.trial, name)
        if value is None:  # too few to be recorded
            continue
        assert row.of_models.mean() == pytest.approx(value, abs=1e-6), name
        assert row.of_examples.mean() == pytest.approx(value, abs=1e-6), name
        assert len(row.of_models) == (2 if of == "measured" else 1)
        assert (np.diff(row.example) > 0).all()


def test_without_the_block_nothing_of_a_recipe_is_recorded(alone):
    trial = alone.trial
    assert (trial.models, trial.population, trial.accuracies) == (None,) * 3
    assert {record.models for record in alone.attacks} == {1}


def test_accuracy_can_be_that_on_the_test_split(measured):
    tested = run_trial(config(MEASURED.replace("models: 4", "models: 4, accuracy_on: test")))
    assert (measured.trial.accuracy_on, tested.trial.accuracy_on) == ("validation", "test")
    assert tested.trial.accuracy != measured.trial.accuracy
    hits = [accuracy * 100 for accuracy in json.loads(tested.trial.accuracies)]
    assert hits == pytest.approx([round(n) for n in hits])
    assert tested.trial.attack_auc == measured.trial.attack_auc
    (row,) = [row for row in tested.examples if row.figure == "accuracy"]
    assert np.array_equal(row.example, data.load(config().dataset, seed=3).test.indices)


def test_the_split_of_the_accuracy_is_stored_only_where_it_is_another():
    stated = config(MEASURED.replace("models: 4", "models: 4, accuracy_on: validation"))
    assert stated.trial_id == config().trial_id
    assert "accuracy_on" not in stated.to_json()


def test_an_accuracy_on_too_few_test_examples_is_refused():
    text = MEASURED.replace("models: 4", "models: 4, accuracy_on: test")
    few = config(text.replace("test: 100", "test: 0"))
    with pytest.raises(DataError, match=r"at least 10 examples of dataset.test, got 0"):
        run_trial(few)


def test_the_same_seed_gives_the_same_record(measured):
    again = run_trial(config())
    changes = {"started_at", "peak_memory_mib", "node"}

    def plain(record):
        row = dataclasses.asdict(record)
        return {k: v for k, v in row.items() if k not in changes and "seconds" not in k}

    assert plain(again.trial) == plain(measured.trial)
    assert list(map(plain, again.attacks)) == list(map(plain, measured.attacks))


def test_models_trained_one_by_one_say_the_same(measured, monkeypatch):
    monkeypatch.setattr(Packing, "is_faster", False)
    by_one = run_trial(config())
    for one, other in zip(by_one.attacks, measured.attacks, strict=True):
        assert one.auc == pytest.approx(other.auc, abs=0.005)
    assert by_one.trial.accuracy == pytest.approx(measured.trial.accuracy, abs=0.01)


def test_each_other_model_evaluates_an_example_once(measured, monkeypatch):
    sizes, compute = [], target.compute_logits

    def count(model, examples, *given):
        sizes.append(len(examples))
        return compute(model, examples, *given)

    monkeypatch.setattr(target, "compute_logits", count)
    again = run_trial(config())
    assert sizes[-6:] == [240, 100] * 3  # the population, and what accuracy is measured on
    assert again.trial.attack_auc == measured.trial.attack_auc


def test_the_tpr_of_a_recipe_is_pooled_over_its_models():
    rng, inside = np.random.default_rng(0), halves(150, 4, seed=0)
    scores = rng.normal(size=inside.shape) + inside
    pooled = recipe_metrics.pooled_tpr(scores, inside, 0.1, seed=3)
    flat = metrics.tpr_at_fpr(scores.ravel(), inside.ravel(), 0.1, seed=3)
    assert pooled.tpr.value == flat.tpr.value
    assert pooled.tpr.low <= flat.tpr.low < flat.tpr.high <= pooled.tpr.high


@pytest.mark.parametrize("given", ["{}", "0", "[]"])
def test_a_measure_without_a_number_of_models_is_refused(given):
    with pytest.raises(SpaceError, match="measure"):
        parse_space(SMALL + f"measure: {given}\n", "a.yaml").config()
