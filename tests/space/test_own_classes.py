"""A user's own attacks and defences, wherever those of the catalogues may stand."""

import json

import jsonschema
import pytest
import yaml
from conftest import SMALL

from raysweep import run_trial
from raysweep.driver.counting import count_trials
from raysweep.driver.worker_environment import refuse_foreign, worker_environment
from raysweep.errors import ModelError, SpaceError, StoreError
from raysweep.records.choice import choose
from raysweep.records.conditions import parse_conditions
from raysweep.records.results import load
from raysweep.records.store import Store
from raysweep.records.tables import pack
from raysweep.records.trial_config import TrialConfig, setting, stored_settings
from raysweep.report.findings import command, user_functions
from raysweep.space.parsing import parse_space
from raysweep.space.schema import schema
from raysweep.space.space import fixed_space

OWN = yaml.safe_load(SMALL) | {
    "search": {
        "own_code:Penalty": {"low": 0.1, "high": 1, "or": 0},
        "own_code:Penalty.power": {"low": 1, "high": 4},
        "attacks.membership.own_code:Margin.runners_up": {"values": [1, 2]},
    },
    "attacks": {
        "membership": {"max_posterior": {}, "own_code:Margin": {"runners_up": 2}},
        "inversion": ["own_code:MeanImage"],
        "attack_auc": "own_code:Margin",
    },
}


def parsed(overrides=None, **blocks):
    return parse_space(yaml.safe_dump({**OWN, **blocks}), "own.yaml", overrides)


def test_a_configuration_holds_every_parameter_and_the_baseline_the_neutral_values():
    space = parsed()
    config = space.config({"own_code:Penalty": 0.5, "own_code:Penalty.power": 2.0})
    assert config.defences["own_code:Penalty"] == 0.5
    assert config.defences["own_code:Penalty.power"] == 2.0
    assert config.attacks.settings["inversion"] == {"own_code:MeanImage": {"layers": ["output"]}}
    baseline = space.baseline()
    assert baseline.defences["own_code:Penalty"] == 0.0
    assert (
        baseline.trial_id
        == space.config().trial_id
        == space.config({"own_code:Penalty.power": 3}).trial_id
    )
    assert TrialConfig.from_json(config.to_json()) == config
    assert setting(stored_settings(config.to_json()), "own_code:Penalty") == 0.5
    key = "attacks.membership.own_code:Margin.runners_up"
    assert setting(stored_settings(space.config({key: 1}).to_json()), key) == 1


def test_a_space_without_own_classes_has_the_ids_that_it_had():
    assert not any(":" in key for key in parse_space(SMALL, "x").baseline().defences)


@pytest.mark.parametrize(
    ("key", "value", "place"),
    [
        ("own_code:Penalty", 0.7, ("defences", "own_code:Penalty")),
        ("defences.own_code:Penalty.power", 3, ("defences", "own_code:Penalty.power")),
        ("search.own_code:Penalty.low", 0.2, ("search", "own_code:Penalty", "low")),
        ("search.own_code:Penalty.power.high", 9, ("search", "own_code:Penalty.power", "high")),
        (
            "attacks.membership.own_code:Margin.runners_up",
            3,
            ("attacks", "membership", "own_code:Margin", "runners_up"),
        ),
    ],
)
def test_set_reaches_every_place_of_an_own_class(key, value, place):
    found = parsed({key: value}).document
    for part in place:
        found = found[part]
    assert found == value


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ({"defences": {"nowhere:X": 1}}, r"no module named 'nowhere'; run from the folder.*line"),
        ({"defences": {"own_code:Penalti": 1}}, "did you mean 'Penalty'"),
        ({"defences": {"own_code:Plain": 1}}, "defence 'own_code:Plain' must be a dataclass"),
        ({"defences": {"own_code:Margin": 1}}, "must have `is_neutral`"),
        ({"defences": {"own_code:NeverNeutral": 1}}, "`is_neutral` must be true at the defaults"),
        ({"defences": {"own_code:NoDefault": 1}}, "must have a default for every parameter"),
        ({"defences": {"own_code:Penalty": 11}}, "must be less than 10.*got 11"),
        ({"defences": {"own_code:Penalty": {"weight": 1}}}, "must be a number or a text"),
        ({"defences": {"own_code:Penalty.pover": 1}}, "did you mean 'own_code:Penalty.power'"),
        ({"defences": {"os:system": 1}}, "os is not a module of your own"),
        ({"search": {"own_code:Penalty": {"low": 0, "high": 11}}}, "must be less than 10"),
        ({"search": {"nowhere:X": {"low": 0, "high": 1}}}, "no module named 'nowhere'"),
        ({"scenarios": {"a": {"own_code:Penalty.kind": [1.5]}}}, "must be a text"),
        ({"attacks": {"membership": ["own_code:Plain"]}}, "must be a dataclass"),
        ({"attacks": {"membership": ["own_code:NoScore"]}}, "must have `score`"),
        ({"attacks": {"membership": ["own_code:Greedy"]}}, "did you mean 'pool-shadows'"),
        ({"attacks": {"membership": {"own_code:Margin": {"k": 1}}}}, "unknown key 'k'"),
        ({"attacks": {"membership": {"own_code:Margin": {"runners_up": 0}}}}, "greater than or"),
        ({"attacks": {"inversion": {"own_code:MeanImage": {"layers": []}}}}, "`layers` must be"),
    ],
)
def test_a_class_or_a_value_that_breaks_the_contract_is_named(blocks, message):
    with pytest.raises(SpaceError, match=message):
        parsed(**{"search": {}, "attacks": {}, "objectives": {"accuracy": "max"}, **blocks})


def test_a_defence_that_does_not_state_breaks_privacy_is_refused_beside_dp():
    with pytest.raises(SpaceError, match="does not state `breaks_privacy`"):
        parsed(defences={"own_code:Unstated": 1, "target_epsilon": 2})
    parsed(defences={"own_code:Penalty": 1, "target_epsilon": 2})


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (1, "defence 'own_code:Unstated' raised KeyError: 'lost'"),
        (2, "defence 'own_code:Unstated': `apply` must return a Recipe"),
        (3, "the loss must be one number for each example"),
    ],
)
def test_a_defence_that_fails_is_named(weight, message):
    with pytest.raises(ModelError, match=message):
        run_trial(parsed(search={}, defences={"own_code:Unstated": weight}).config())


@pytest.mark.parametrize(("k", "message"), [(1, r"shape \(180,\)"), (2, "raised KeyError")])
def test_an_attack_that_fails_is_named(k, message):
    attacks = {"membership": {"own_code:WrongScores": {"runners_up": k}}}
    space = parsed(search={}, attacks=attacks, objectives={"accuracy": "max"})
    with pytest.raises(ModelError, match=f"membership attack 'own_code:WrongScores'.*{message}"):
        run_trial(space.config())


def test_whole_numbers_are_kept_where_the_field_is_one_and_trials_are_counted():
    space = parsed()
    assert (
        space.config({"own_code:Penalty": 1, "own_code:Penalty.power": 2.4}).defences[
            "own_code:Penalty.power"
        ]
        == 2.0
    )
    finite = {
        "own_code:Penalty": {"values": [0, 1]},
        "own_code:Penalty.power": {"low": 1, "high": 4},
    }
    assert count_trials(parsed(search=finite), 100) == 1 + 4


def test_the_records_have_a_column_for_each_key_and_best_gives_the_space_again(tmp_path):
    space = parsed()
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(space.to_plain()))))
    store = Store(str(tmp_path))
    points = [{}, {"own_code:Penalty": 0.5, "own_code:Penalty.power": 3}]
    for number, values in enumerate(points):
        packed = pack(run_trial(space.config(values)))
        store.write(packed.with_number(number=number))
    results = load(str(tmp_path))
    assert results.trials["own_code:Penalty"].tolist() == [0.0, 0.5]
    assert results.trials["own_code:Penalty.kind"].tolist() == ["entropy"] * 2
    assert set(results.attacks["attack"]) == {
        "max_posterior",
        "own_code:Margin",
        "own_code:MeanImage",
    }

    some = parse_conditions(["own_code:Penalty >= 0.2"], results.axes)
    row = choose(results.compared(["own_code:Penalty"]), results.objectives, some, "accuracy").row
    config = results.trials.set_index("trial_id").loc[row["trial_id"], "config"]
    again = fixed_space(stored_settings(config), "best", space.objectives)
    assert parse_space(yaml.safe_dump(again), "best").config().trial_id == row["trial_id"]
    assert "--at own_code:Penalty=0.5" in command("x", results.documents[0], config)
    named = {"own_code:Margin", "own_code:MeanImage", "own_code:Penalty"}
    assert set(user_functions(results.documents[0])) == named


def test_the_schema_knows_own_classes():
    space = {**OWN, "training": {}, "defences": {"own_code:Penalty": 0.5}}
    jsonschema.validate(space, schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**space, "defences": {"penalty": 0.5}}, schema())


def test_the_code_travels_and_a_record_cannot_name_a_class(monkeypatch, tmp_path):
    only = {"search": {"own_code:Penalty.power": {"low": 1, "high": 2}}, "attacks": {}}
    monkeypatch.chdir(tmp_path)
    with worker_environment(parsed(**only), elsewhere=True) as environment:
        assert "working_dir" in environment

    space = parse_space(SMALL, "small.yaml")
    for block, name in (("defences", "evil:X.y"), ("attacks", "evil:X")):
        document = json.loads(space.baseline().to_json())
        inner = document[block]["membership"] if block == "attacks" else document[block]
        inner[name] = {} if block == "attacks" else 1.0
        row = {"trial_id": "x", "config": json.dumps(document)}
        with pytest.raises(StoreError, match="names 'evil:X', which the space does not"):
            refuse_foreign(space, [row])
