"""Canaries among the training data: what they are, who trains on them, and what they change."""

import dataclasses
import json

import numpy as np
import pytest
from conftest import SMALL

from raysweep import data
from raysweep.config import Canaries
from raysweep.defences.dpsgd.tradeoff import most_found
from raysweep.errors import DataError, SpaceError
from raysweep.space.parsing import parse_space
from raysweep.trial import preflight
from raysweep.trial.canary_population import check_canaries, plant, planted_halves
from raysweep.trial.population import population
from raysweep.trial.run import run_trial

TEXT = SMALL.replace("[max_posterior, loss]", "[loss, rmia]").replace(
    "members: 120", "members: 300"
)
TEXT = TEXT.replace("  inversion: {activation_decoder: {decoders: [ridge]}}\n", "")
TEXT = TEXT.replace("pool: 200", "pool: 360").replace("epochs: 4", "epochs: 15")
ALONE = TEXT + "measure: {models: 8}\n"
ASKED = Canaries(mislabelled=40, out_of_distribution=20, duplicated=40)
MEASURED = TEXT + (
    "measure: {models: 8, canaries: {mislabelled: 40, out_of_distribution: 20, duplicated: 40}}\n"
)


def config(text=MEASURED, **values):
    return parse_space(text, "small.yaml").config(values)


@pytest.fixture(scope="module")
def dealt():
    return data.load(config().dataset, seed=3)


@pytest.fixture(scope="module")
def ordinary(dealt):
    return population(dealt)


@pytest.fixture(scope="module")
def planted(ordinary):
    return plant(ordinary, ASKED, seed=3)


def run(*args, **values):
    trial_config = config(*args, **values)
    return run_trial(trial_config, load=lambda dataset, *, seed: data.load(dataset, seed=seed))


@pytest.fixture(scope="module")
def trial():
    return run()


def canary_rows(result):
    return {row.subset: row for row in result.subsets if row.kind == "canary"}


def test_a_mislabelled_canary_is_an_example_with_another_label(planted, ordinary):
    rows = planted.canaries["mislabelled"]
    assert len(rows) == 40
    assert (planted.examples.labels[rows] != ordinary.labels[rows]).all()
    assert set(planted.examples.labels) <= set(range(10))
    assert np.array_equal(planted.examples.features[rows], ordinary.features[rows])


def test_wrong_labels_are_each_as_likely(ordinary):
    rows = plant(ordinary, Canaries(mislabelled=300), seed=0).canaries["mislabelled"]
    labels = plant(ordinary, Canaries(mislabelled=300), seed=0).examples.labels
    shift = (labels[rows] - ordinary.labels[rows]) % 10
    assert np.bincount(shift, minlength=10)[1:].min() > 15  # 33 expected
    assert (shift > 0).all()


def test_out_of_distribution_has_the_same_values_in_an_order_of_its_own(planted, ordinary):
    rows = planted.canaries["out_of_distribution"]
    made, before = (x.features[rows].reshape(20, -1) for x in (planted.examples, ordinary))
    assert np.array_equal(np.sort(made, axis=1), np.sort(before, axis=1))
    assert (made != before).any(axis=1).all()
    assert made.dtype == ordinary.features.dtype
    assert np.array_equal(planted.examples.labels[rows], ordinary.labels[rows])


def test_bits_stay_bits_and_tables_stay_in_their_range():
    for settings in (
        {"name": "synthetic_purchase", "records": 400, "features": 30, "classes": 2},
        {"name": "digits"},
    ):
        examples = population(data.load(settings, seed=0))
        made = plant(examples, Canaries(out_of_distribution=20), seed=0).examples
        assert set(np.unique(made.features)) <= set(np.unique(examples.features))


def test_a_duplicated_canary_stands_twice_in_place_of_another(planted, ordinary):
    rows, copies = planted.canaries["duplicated"], planted.copies
    assert len(rows) == len(copies) == 40
    for field in ("features", "labels", "indices"):
        made, before = (getattr(x, field) for x in (planted.examples, ordinary))
        assert np.array_equal(made[copies], made[rows])
        assert np.array_equal(made[rows], before[rows])
    assert len(planted.examples) == len(ordinary)


def test_all_other_examples_stay_as_they_are(planted, ordinary):
    taken = np.concatenate([*planted.canaries.values(), planted.copies])
    assert len(set(taken)) == ASKED.places == 140
    rest = np.setdiff1d(np.arange(len(ordinary)), taken)
    for field in ("features", "labels", "indices"):
        made, before = (getattr(x, field)[rest] for x in (planted.examples, ordinary))
        assert np.array_equal(made, before)


def test_every_model_has_as_many_members_and_half_of_each_kind(planted):
    inside = planted_halves(planted, 8, seed=3)
    assert (inside.sum(axis=1) == 300).all()  # n is public: the same for all
    assert np.array_equal(inside[1::2], ~inside[0::2])
    for rows in planted.canaries.values():
        assert (inside[:, rows].sum(axis=1) == len(rows) // 2).all()
    assert np.array_equal(inside[:, planted.canaries["duplicated"]], inside[:, planted.copies])
    assert len(np.unique(inside, axis=0)) == 8
    assert np.array_equal(planted_halves(planted, 4, seed=3), inside[:4])


def test_the_same_seed_gives_the_same_canaries_and_another_seed_others(planted, ordinary):
    again, other = (plant(ordinary, ASKED, seed=seed) for seed in (3, 4))
    assert np.array_equal(again.examples.features, planted.examples.features)
    assert np.array_equal(again.examples.labels, planted.examples.labels)
    assert not np.array_equal(other.canaries["mislabelled"], planted.canaries["mislabelled"])


def test_canaries_change_no_figure_of_ordinary_examples(trial):
    alone = run(ALONE)
    timed = ("trial_id", "recipe", "config", "started_at", "peak_memory_mib")
    one, other = (
        {k: v for k, v in r.trial.row().items() if k not in timed and "seconds" not in k}
        for r in (trial, alone)
    )
    assert one == other
    assert [r.auc for r in trial.attacks] == [r.auc for r in alone.attacks]
    assert len(trial.subsets) == len(alone.subsets) + 3


def test_without_defences_canaries_are_found_more_often_than_others(trial):
    rows = canary_rows(trial)
    assert {k: (r.n, r.records, r.models) for k, r in rows.items()} == {
        "mislabelled": (40, 1, 8),
        "out_of_distribution": (20, 1, 8),
        "duplicated": (40, 2, 8),
    }
    for kind in ("mislabelled", "out_of_distribution"):
        assert rows[kind].auc_low > trial.trial.attack_auc_high
        assert rows[kind].always_found > trial.trial.always_found_high
    assert rows["duplicated"].auc > trial.trial.attack_auc
    assert all(r.accuracy is None and r.tpr_bound_at_fpr_0_1 is None for r in rows.values())
    assert rows["mislabelled"].tpr_at_fpr_0_1 > 0.3
    assert (
        "needs 100 decisions on nonmembers, and there are 80" in rows["out_of_distribution"].reason
    )


def test_under_dp_the_bound_of_a_duplicated_canary_is_that_of_two_records():
    result = run(epsilon=4.0)
    rows, spent = canary_rows(result), result.trial
    rule = {"sample_rate": spent.sample_rate, "steps": spent.steps}
    for kind, records in (("mislabelled", 1), ("duplicated", 2)):
        bound = most_found(0.1, spent.noise_multiplier, records=records, **rule)
        assert rows[kind].tpr_bound_at_fpr_0_1 == bound
    assert rows["duplicated"].tpr_bound_at_fpr_0_1 > rows["mislabelled"].tpr_bound_at_fpr_0_1
    assert rows["mislabelled"].tpr_bound_at_fpr_0_1 == spent.tpr_bound_at_fpr_0_1
    assert rows["mislabelled"].auc < 0.75


def test_the_key_is_part_of_a_trials_name_only_where_it_is_used():
    assert config(ALONE).trial_id == config(ALONE.replace("8}", "8, canaries: {}}")).trial_id
    assert config(ALONE).trial_id != config().trial_id
    stored = json.loads(config().to_json())["measure"]
    assert stored["canaries"] == {"mislabelled": 40, "out_of_distribution": 20, "duplicated": 40}
    assert type(config()).from_json(config().to_json()).trial_id == config().trial_id


@pytest.mark.parametrize(
    ("measure", "rule"),
    [
        ("{canaries: {mislabelled: 20}}", "`canaries` are put into the models of a recipe: set"),
        ("{models: 8, canaries: {misspelled: 20}}", "unknown key 'misspelled'"),
        ("{models: 8, canaries: {mislabelled: 21}}", "even and at least 20, .* got 21"),
        ("{models: 8, canaries: {duplicated: 10}}", "even and at least 20, .* got 10"),
        ("{models: 8, canaries: {duplicated: -2}}", "greater than or equal to 0, got -2"),
        ("{models: 8, canaries: 100}", "`measure.canaries` must be a mapping, got 100"),
    ],
)
def test_bad_canaries_are_refused_with_the_space(measure, rule):
    with pytest.raises(SpaceError, match=rule):
        config(f"{TEXT}measure: {measure}\n")


def test_canaries_need_an_attack_of_the_recipe():
    text = MEASURED.replace("membership: [loss, rmia]", "inversion: {activation_decoder: {}}")
    with pytest.raises(SpaceError, match=r"`measure.canaries` needs one of the attacks max_post"):
        config(text)


def test_more_canaries_than_half_of_the_population_are_refused_before_training(dealt):
    many = MEASURED.replace("duplicated: 40", "duplicated: 122")
    rule = (
        "at most half of the 600 examples of the population, each duplicated one for two, got 304"
    )
    with pytest.raises(DataError, match=rule):
        preflight.check_measured(config(many), dealt)


def test_one_feature_has_no_other_order(dealt):
    narrow = dataclasses.replace(
        dealt,
        members=dataclasses.replace(dealt.members, features=dealt.members.features[:, :, 0, :1]),
    )
    with pytest.raises(DataError, match="the data have one feature"):
        check_canaries(narrow, ASKED)
