import dataclasses
import math
import re
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import SMALL

from raysweep.config.plain_text import LONGEST_LINE
from raysweep.config.training import PRIVATE_DEFAULTS, PrivateTraining, Training
from raysweep.data.sources import SOURCES
from raysweep.driver.study import _constraints
from raysweep.errors import SpaceError
from raysweep.models import MODELS
from raysweep.space.axes import grid
from raysweep.space.describe import describe, to_text
from raysweep.space.mistakes import MOST
from raysweep.space.parsing import differences, load_space, parse_space
from raysweep.space.schema import schema
from raysweep.space.space import fixed_space

BAD = {
    "unknown block": ("seed: 3", "sead: 3", r"unknown key 'sead'; did you mean 'seed'\?.*line"),
    "unknown key": (
        "epochs: 4",
        "epoch: 4",
        r"unknown key 'epoch'; did you mean 'epochs'\?.*line 5",
    ),
    "unknown axis": (
        "  dropout: {low",
        "  droput: {low",
        r"unknown axis 'droput'; did you mean 'dropout'\?.*line 11",
    ),
    "unknown data set": (
        "name: digits",
        "name: digts",
        r"unknown dataset 'digts'; did you mean 'digits'\?.*line 2",
    ),
    "unknown model": (
        "name: mlp",
        "name: mlq",
        r"unknown model 'mlq'; did you mean 'mlp'\?.*line 3",
    ),
    "unknown attack": (
        "[max_posterior, loss]",
        "[max_posterior, los]",
        r"unknown membership attack 'los'; did you mean 'loss'\?.*line 13",
    ),
    "unknown sampler": (
        "name: random",
        "name: randon",
        r"unknown sampler 'randon'; did you mean 'random'\?.*line 15",
    ),
    "unknown objective": (
        "seed: 3",
        "objectives: {acuracy: max}",
        r"unknown objective 'acuracy'; did you mean 'accuracy'\?.*line 16",
    ),
    "wrong direction": (
        "seed: 3",
        "objectives: {accuracy: min}",
        r"accuracy` must be `max`, got 'min'",
    ),
    "low above high": (
        "low: 2, high: 16",
        "low: 20, high: 16",
        r"low` must be below `high`, got 20 and 16 .*line 10",
    ),
    "a range without an end": (
        "high: 0.5}",
        "high: .inf}",
        r"`low` and `high` must be finite.*add `or: .inf`",
    ),
    "a name that is a list": (
        "name: mlp",
        "name: [mlp]",
        r"model` must be a mapping with a `name`",
    ),
    "an attack that is text": (
        "membership: [max_posterior, loss]",
        "membership: loss",
        r"must be a list of names",
    ),
    "parameters that are a number": (
        "membership: [max_posterior, loss]",
        "membership: {loss: 3}",
        r"parameters are a mapping, got 3",
    ),
    "log from zero": (
        "low: 2, high: 16",
        "low: 0, high: 16",
        r"`low` of a log axis must be > 0, got 0; start above 0 and add `or: 0`",
    ),
    "text for a number": (
        "epochs: 4",
        "epochs: many",
        r"epochs` must be a whole number.*got 'many'.*line 5",
    ),
    "epsilon of zero": (
        "low: 2, high: 16, log: true",
        "low: 0, high: 16",
        r"target_epsilon` must be greater than 0, got 0.*line 10",
    ),
    "dropout of one": (
        "high: 0.5}",
        "high: 1.0}",
        r"dropout` must be less than 1, got 1.0.*line 11",
    ),
    "delta of one": (
        "seed: 3",
        "defences: {delta: 1.0, epsilon: 2}",
        r"delta` must be less than 1, got 1.0.*line 16",
    ),
    "a share of known members of one": (
        "membership: [max_posterior, loss]",
        "known_share: 1.0\n  membership: [supervised]",
        r"known_share` must be between 0 and 1, got 1.0.*line 13",
    ),
    "a share of known members that nobody uses": (
        "membership: [max_posterior, loss]",
        "known_share: 0.3\n  membership: [loss]",
        r"known_share` needs an attack that uses known members \(supervised",
    ),
    "a white-box attack alone for what an outsider can do": (
        "membership: [max_posterior, loss]",
        "membership: [dtc]",
        r"'attack_auc' needs an attack.*dtc is white-box: set attacks.attack_auc to count it",
    ),
    "an attack on classes alone for the error of members": (
        "{activation_decoder: {decoders: [ridge]}}",
        "[mi_face]",
        r"objective 'inversion_mse' needs an attack that measures it",
    ),
    "negative norm": (
        "seed: 3",
        "defences: {max_grad_norm: -1.0}",
        r"max_grad_norm` must be greater than 0, got -1.0",
    ),
    "smoothing of one": (
        "  dropout: {low: 0.0, high: 0.5}",
        "  label_smoothing: {values: [0, 1]}",
        r"label_smoothing` must be less than 1, got 1.*line 11",
    ),
    "temperature below one": (
        "seed: 3",
        "defences: {distillation_temperature: 0.5}",
        r"must be at least 1 \(0 is off\), got 0.5.*line 16",
    ),
    "stopping after the end": (
        "  dropout: {low: 0.0, high: 0.5}",
        "  early_stopping: {values: [1, 5]}",
        r"must be at most training.epochs = 4, got 5.*line 11",
    ),
    "distillation beside epsilon": (
        "  dropout: {low: 0.0, high: 0.5}",
        "  distillation_temperature: {values: [0, 50]}",
        r"breaks the guarantee of DP-SGD: its teacher is trained",
    ),
    "an inner adversary beside epsilon": (
        "seed: 3",
        "defences: {adversarial_regularisation: 3}",
        r"breaks the guarantee of DP-SGD: its inference model is trained",
    ),
    "scenarios that are a list": ("attacks:", "scenarios: [dp2]\nattacks:", "must be a mapping"),
    "a scenario that is a number": (
        "attacks:",
        "scenarios: {dp2: 2}\nattacks:",
        r"a scenario is a mapping of axes.*line 12",
    ),
    "a scenario of an unknown axis": (
        "attacks:",
        "scenarios: {dp2: {epsilom: 2}}\nattacks:",
        r"unknown axis 'epsilom'; did you mean 'epsilon'.*line 12",
    ),
    "a scenario outside a rule": (
        "attacks:",
        "scenarios: {dp2: {epsilon: [2, 0]}}\nattacks:",
        r"must be greater than 0, got 0.*line 12",
    ),
    "a scenario without values": (
        "attacks:",
        "scenarios: {dp2: {epsilon: []}}\nattacks:",
        r"must have at least one value, got \[\].*line 12",
    ),
    "the target's own data for a transfer": (
        "[max_posterior, loss]",
        "{data_transfer: {dataset: digits}}",
        r"must be another data set than the target's, got 'digits'.*line 13",
    ),
    "both budgets": (
        "seed: 3",
        "defences: {noise_multiplier: 1.0}",
        r"give `target_epsilon` or `noise_multiplier`, not both",
    ),
    "more noise than an accountant computes": (
        "seed: 3",
        "defences: {noise_multiplier: 1.0e+300}",
        r"`noise_multiplier` must be 0, or from 1e-09 to 100,000, got 1e\+300",
    ),
    "so little noise that its square is 0": (
        "seed: 3",
        "defences: {noise_multiplier: 1.0e-300}",
        r"`noise_multiplier` must be 0, or from 1e-09 to 100,000, got 1e-300",
    ),
    "whole numbers that no float holds": (
        "dropout: {low: 0.0, high: 0.5}",
        "seed: {low: 0, high: 9223372036854775807}",
        r"at most 2\*\*53 = 9,007,199,254,740,992.*got 0 and 9223372036854775807",
    ),
    "doubled key": ("seed: 3", "seed: 3\nseed: 4", r"the key 'seed' is given twice"),
    "a path for a name": ("name: small", "name: ../small", r"name` must be letters"),
    "fraction of two GPUs": (
        "seed: 3",
        "resources: {gpu: 1.5}",
        r"gpu` above 1 must be whole, got 1.5",
    ),
    "layer that is not attacked": (
        "decoders: [ridge]}}",
        "decoders: [ridge]}, }\n  inversion_mse: dense",
        r"inversion_mse` must be one of the attacked layers",
    ),
    "python object": ("seed: 3", "seed: !!python/object:os.system {}", r"the tag .* is not read"),
    "alias": ("seed: 3", "resources: &a {cpu: 1}\ndefences: *a", r"aliases .* are not read"),
    "no YAML": ("seed: 3", "seed: [3", r"this is not YAML.*line"),
    "a sequence": (SMALL, "- 1", r"a search space is a mapping"),
    "axis that is a number": (
        "dropout: {low: 0.0, high: 0.5}",
        "dropout: 0.5",
        r"an axis is \{low",
    ),
    "axis with both forms": ("high: 0.5}", "high: 0.5, values: [1]}", r"not both"),
    "grid without values": ("name: random", "name: grid", r"sampler grid needs"),
}


@pytest.mark.parametrize(("old", "new", "rule"), BAD.values(), ids=list(BAD))
def test_bad_input_names_the_file_the_line_the_rule_and_the_value(old, new, rule):
    assert old in SMALL
    with pytest.raises(SpaceError, match=f"(?s){rule}") as error:
        parse_space(SMALL.replace(old, new, 1), "bad.yaml")
    assert "bad.yaml" in str(error.value)


def test_all_mistakes_of_a_space_are_told_at_once_in_the_order_of_its_lines():
    text = SMALL
    for old, new in (
        ("name: digits", "name: digts"),
        ("hidden: [32]", "hiden: [32]"),
        ("  dropout: {low", "  droput: {low"),
        ("low: 2, high: 16", "low: 20, high: 16"),
        ("[max_posterior, loss]", "[max_posterior, los]"),
        ("name: random", "name: randon"),
        ("seed: 3", "seed: -3"),
    ):
        assert old in text
        text = text.replace(old, new, 1)

    with pytest.raises(SpaceError) as error:
        parse_space(text, "bad.yaml", {"training.epochs": 0})
    first, *mistakes = str(error.value).splitlines()
    assert first == "8 mistakes in bad.yaml:"
    words = ("digts", "hiden", "epochs", "low` must", "droput", "los'", "randon", "seed")
    assert all(word in line for word, line in zip(words, mistakes, strict=True)), mistakes


def test_each_mistake_in_a_list_is_told_where_it_was_written():
    text = SMALL.replace("hidden: [32]", "hidden: [0, 32, -1, 8, -2]")
    text = text.replace("[max_posterior, loss]", "[los, loss, entropi]")
    with pytest.raises(SpaceError) as error:
        parse_space(text.replace("seed: 3", "seed: -3"), "bad.yaml")

    _, *mistakes = str(error.value).splitlines()
    places = [line.split("`")[1] for line in mistakes]
    assert places == [
        "model.hidden.0",
        "model.hidden.2",
        "model.hidden.4",
        "attacks.membership.los",
        "attacks.membership.entropi",
        "seed",
    ]
    assert "must be greater than 0, got -2 (bad.yaml, line" in mistakes[2]


def test_every_wrong_constraint_is_told_with_its_place():
    text = SMALL + "constraints: [accuracy >> 1, accuracy >= 0.5, foo <= 1]\n"
    with pytest.raises(SpaceError) as error:
        parse_space(text, "bad.yaml")
    first, *mistakes = str(error.value).splitlines()
    assert first == "2 mistakes in bad.yaml:"
    assert {line.split("`")[1] for line in mistakes} == {"constraints.0", "constraints.2"}
    assert all(len(line) < LONGEST_LINE and "bad.yaml, line" in line for line in mistakes)


def test_a_message_that_cannot_hold_every_mistake_says_at_least_how_many():
    keys = "".join(f"unknown{number}: 1\n" for number in range(MOST + 5))
    with pytest.raises(SpaceError, match=f"^at least {MOST} mistakes in bad.yaml:"):
        parse_space(SMALL + keys, "bad.yaml")


def test_an_unknown_key_of_a_data_set_is_compared_with_all_that_it_has():
    text = SMALL.replace("members:", "membrs:", 1)
    with pytest.raises(SpaceError, match="did you mean 'members'"):
        parse_space(text, "bad.yaml")


def test_what_follows_from_a_mistake_is_not_told_beside_it():
    text = SMALL.replace("[max_posterior, loss]", "[los]") + "objectives: {attack_auc: min}\n"
    with pytest.raises(SpaceError, match="unknown membership attack 'los'") as error:
        parse_space(text, "bad.yaml")
    assert "mistakes" not in str(error.value)


@pytest.mark.parametrize(
    ("attacks", "names"),
    [
        ("{membership: [loss]}", ["accuracy", "attack_auc"]),
        ("{inversion: [activation_decoder]}", ["accuracy", "inversion_mse"]),
        ("{membership: []}", ["accuracy"]),
    ],
)
def test_the_default_objectives_are_those_that_the_attacks_measure(attacks, names):
    text = SMALL[: SMALL.index("attacks:")] + f"attacks: {attacks}\n"
    assert list(parse_space(text, "s.yaml").objectives.names) == names


def test_an_objective_that_no_attack_measures_is_refused():
    text = SMALL[: SMALL.index("attacks:")] + "attacks: {membership: []}\n"
    with pytest.raises(SpaceError, match="'attack_auc' needs an attack that measures it"):
        parse_space(text + "objectives: {accuracy: max, attack_auc: min}\n", "s.yaml")


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("objectives: {always_found: min}\n", "measure: {models: 16}"),
        (
            "objectives: {advantage: min}\nattacks: {membership: [entropy]}\n",
            "none of attacks.membership sets a threshold",
        ),
        ("objectives: {tpr_at_fpr_0.001: max}\n", "must be `min`"),
        ("attacks: {membership: [loss], prior: 1.0}\n", "`attacks.prior` must be between 0 and 1"),
        ("attacks: {membership: [loss], prior: 0}\n", "`attacks.prior` must be between 0 and 1"),
        (
            "attacks: {membership: [loss], prior: [0.1, 1.5]}\n",
            "`prior[1]` must be between 0 and 1, got 1.5",
        ),
        ("attacks: {membership: [loss], prior: [0.1, .nan]}\n", "must be between 0 and 1, got nan"),
        ("attacks: {membership: [loss], prior: ['0.1']}\n", "must be between 0 and 1"),
        ("attacks: {membership: [loss], prior: []}\n", "must be a number or a list of them"),
        (
            "attacks: {membership: [loss], prior: [0.01, 0.2]}\nobjectives: {ppv_at_prior_0.1: min}\n",
            "add its prior to the list attacks.prior, such as [0.01, 0.1]",
        ),
        (
            "attacks: {membership: [loss], prior: [0.01, 0.2]}\n"
            "constraints: [ppv_at_prior_0.1 <= 0.5]\n",
            "unknown column 'ppv_at_prior_0_1'; did you mean 'ppv_at_prior_0_01'?",
        ),
        ("objectives: {ppv_at_prior_0.1_low: min}\n", "unknown objective"),
        ("objectives: {ppv_at_prior_1.1: min}\n", "unknown objective"),
    ],
)
def test_objectives_of_membership_need_what_measures_them(extra, message):
    block = SMALL[SMALL.index("attacks:") : SMALL.index("sampler:")]
    text = SMALL.replace(block, "") if "attacks:" in extra else SMALL
    with pytest.raises(SpaceError, match=re.escape(message)):
        parse_space(text + extra, "a.yaml")


@pytest.mark.parametrize(
    ("constraints", "message"),
    [
        ("{accuracy: 0.8}", "`constraints` must be a list of conditions"),
        ("[0.8]", "`constraints` must be a list of conditions"),
        ("[accuracy is high]", "'accuracy is high' is not a condition; write COLUMN >= NUMBER"),
        ("[acuracy >= 0.8]", "unknown column 'acuracy'; did you mean 'accuracy'?"),
    ],
)
def test_constraints_that_are_no_conditions_are_refused(constraints, message):
    with pytest.raises(SpaceError, match=re.escape(message)):
        parse_space(SMALL + f"constraints: {constraints}\n", "a.yaml")


def test_a_trial_that_misses_a_constraint_is_on_no_front_and_samplers_are_told_by_how_much():
    space = parse_space(SMALL + "constraints: [accuracy >= 0.8, tpr_at_fpr_0.1 <= .2]\n", "a.yaml")
    assert space.to_plain()["constraints"] == ["accuracy >= 0.8", "tpr_at_fpr_0_1 <= 0.2"]
    row = {"status": "ok", "collapsed": False, "inversion_converged": True, "n_classes": 10}
    row |= {"attack_auc": 0.6, "inversion_mse": 0.02, "inversion_floor": 0.07}
    row["tpr_at_fpr_0_1"] = 0.15
    trials = pd.DataFrame(
        [row | {"trial_id": t, "accuracy": a} for t, a in (("a", 0.9), ("b", 0.7))]
    )
    trials.loc[1, "attack_auc"] = 0.5
    assert space.objectives.front(trials)["trial_id"].tolist() == ["a"]
    assert space.objectives.front(trials, everything=True)["trial_id"].tolist() == ["a"]
    told = _constraints(trials.iloc[1].to_dict(), space.objectives)
    assert told["accuracy >= 0.8"] == pytest.approx(0.1)
    assert told["tpr_at_fpr_0_1 <= 0.2"] == pytest.approx(-0.05)


def test_a_rate_in_an_objective_is_written_as_a_number_or_as_its_column():
    spaces = [
        parse_space(SMALL + f"objectives: {{tpr_at_fpr_{rate}: min}}\n", "a.yaml")
        for rate in ("0.1", "0_1")
    ]
    assert spaces[0].objectives == spaces[1].objectives
    assert spaces[0].to_plain() == spaces[1].to_plain()


def test_text_that_yaml_misreads_is_taken_as_the_number_that_was_meant():
    space = parse_space(SMALL.replace("learning_rate: 1e-2", "learning_rate: 1e-6"), "s.yaml")
    assert space.config().training.learning_rate == 1e-6


def test_the_baseline_has_every_defence_neutral_and_everything_else_equal(space):
    baseline, other = space.baseline(), space.config({"epsilon": 2.0, "dropout": 0.3})
    assert baseline.defences["target_epsilon"] == math.inf
    assert (baseline.defences["dropout"], baseline.defences["l2"]) == (0.0, 0.0)
    assert (baseline.dataset, baseline.model, baseline.training) == (
        other.dataset,
        other.model,
        other.training,
    )


def test_a_configuration_is_its_content():
    one = parse_space(SMALL, "a.yaml")
    renamed = parse_space(SMALL.replace("name: small", "name: other"), "b.yaml")
    assert one.config({"epsilon": 2}).trial_id == renamed.config({"epsilon": 2.0}).trial_id
    assert one.config({"epsilon": 2}).trial_id != one.config({"epsilon": 3}).trial_id


def test_settings_of_a_defence_that_is_off_do_not_tell_configurations_apart():
    text = SMALL.replace("seed: 3", "defences: {max_grad_norm: 0.3}\nseed: 3")
    assert parse_space(text, "a").baseline().trial_id == parse_space(SMALL, "b").baseline().trial_id


def test_a_config_survives_its_json(space):
    config = space.config({"epsilon": 2.5})
    again = type(config).from_json(config.to_json())
    assert again.trial_id == config.trial_id
    assert type(config).from_json(space.baseline().to_json()).defences["target_epsilon"] == math.inf


def test_a_dotted_axis_reaches_training_data_and_model():
    text = SMALL.replace("  dropout: {low", "  training.epochs: {low: 2, high: 9}\n  dropout: {low")
    space = parse_space(text, "a.yaml")
    assert space.config({"training.epochs": 2.7}).training.epochs == 3
    assert parse_space(
        SMALL.replace("  dropout: {low", "  model.hidden: {values: [[4]]}\n  dropout: {low"), "b"
    ).config({"model.hidden": [4]}).model.settings["hidden"] == (4,)


def test_a_defence_that_counts_takes_whole_numbers():
    text = SMALL.replace("  dropout: {low", "  random_crop: {low: 1, high: 4}\n  dropout: {low")
    assert parse_space(text, "a").config({"random_crop": 2.7}).defences["random_crop"] == 3


def test_overrides_win_over_the_file(small_yaml):
    space = load_space(small_yaml, {"training.epochs": 2, "sampler.trials": 3})
    assert (space.config().training.epochs, space.sampler.trials) == (2, 3)


def test_settings_that_may_change_are_not_differences(small_yaml):
    old = load_space(small_yaml).to_plain()
    more = load_space(small_yaml, {"sampler.trials": 9, "resources.cpu": 2}).to_plain()
    other = load_space(small_yaml, {"training.epochs": 9}).to_plain()
    assert differences(old, more) == []
    assert differences(old, other) == ["training.epochs: 4 -> 9"]


def test_a_space_of_one_configuration_means_that_configuration(space):
    config = space.config({"epsilon": 3.0, "dropout": 0.1})
    text = yaml.safe_dump(fixed_space(config.settings, "best", space.objectives))
    assert parse_space(text, "best.yaml").config().trial_id == config.trial_id
    assert "adversary_batches: 52\n" in text
    assert "early_stopping: .inf\n" in text


def test_a_resolved_space_resolves_to_itself(space):
    text = yaml.safe_dump(space.to_plain())
    assert differences(space.to_plain(), parse_space(text, "again").to_plain()) == []


def test_known_members_have_a_share_where_an_attack_needs_them():
    text = SMALL.replace("[max_posterior, loss]", "[loss, supervised]")
    assert parse_space(text, "a").config().attacks.known_share == 0.5
    assert parse_space(SMALL, "b").config().attacks.known_share is None


def test_a_missing_file_is_named():
    with pytest.raises(SpaceError, match=r"there is no file nowhere\.yaml"):
        load_space("nowhere.yaml")


@pytest.mark.parametrize("path", sorted(Path("search_spaces").rglob("*.yaml")), ids=str)
def test_the_shipped_spaces_are_valid_and_named_after_their_file(path):
    assert load_space(path).name == path.stem


@pytest.mark.parametrize("path", sorted(Path("search_spaces/papers").glob("*.yaml")), ids=str)
def test_a_papers_grid_asks_for_all_of_its_points(path):
    space = load_space(path)
    points = [*(values for _, values in space.scenario_points()), *grid(space.axes)]
    ids = {space.baseline().trial_id, *(space.config(values).trial_id for values in points)}
    assert (space.sampler.name, space.sampler.trials) == ("grid", len(ids))


VGG = """\
name: normalised
dataset: {name: digits}
model: {name: vgg4}
search: {dropout: {low: 0.0, high: 0.5}}
"""


def test_a_space_without_dp_keeps_batch_norm():
    space = parse_space(VGG, "vgg.yaml")
    assert space.baseline().model.settings["norm"] == "batch"
    assert space.scenarios == {}


@pytest.mark.parametrize(
    "private",
    [
        "defences: {noise_multiplier: 1}",
        "scenarios: {dp: {epsilon: [.inf, 2]}}",
        "search: {epsilon: {low: 1, high: 8, or: .inf}}",
    ],
)
def test_where_a_trial_may_have_dp_all_have_group_norm_and_batch_norm_stands_beside(private):
    text = "\n".join([*VGG.splitlines()[:3], private])
    space = parse_space(text, "vgg.yaml")
    assert space.baseline().model.settings["norm"] == "group"
    name, values = next(space.scenario_points())
    beside = space.config(values)
    assert (name, beside.model.settings["norm"]) == ("batch_norm", "batch")
    assert (beside.defences["target_epsilon"], beside.defences["noise_multiplier"]) == (
        math.inf,
        0.0,
    )


def test_a_space_that_says_which_norm_it_wants_keeps_it():
    text = VGG.replace("name: vgg4", "name: vgg4, norm: batch").replace("dropout:", "epsilon:")
    space = parse_space(text.replace("low: 0.0", "low: 0.1"), "vgg.yaml")
    assert space.baseline().model.settings["norm"] == "batch"
    assert space.scenarios == {}


@pytest.mark.parametrize("text", [VGG.replace("dropout: {low: 0.0", "epsilon: {low: 0.1"), VGG])
def test_a_resolved_space_with_scenarios_resolves_to_itself(text):
    space = parse_space(text, "vgg.yaml")
    again = parse_space(yaml.safe_dump(space.to_plain()), "again")
    assert differences(space.to_plain(), again.to_plain()) == []
    assert [space.config(v).trial_id for _, v in space.scenario_points()] == [
        again.config(v).trial_id for _, v in again.scenario_points()
    ]


@pytest.mark.parametrize(
    ("axis", "value"), [("l2", "{} "), ("model.hidden", "[1{}]"), ("attacks.membership", "[loss]")]
)
def test_an_axis_of_10_000_values_is_checked_and_described_in_two_seconds(axis, value):
    values = ", ".join(value.format(i) for i in range(10_000))
    text = SMALL.replace("dropout: {low: 0.0, high: 0.5}", f"{axis}: {{values: [{values}]}}")
    began = time.process_time()
    space = parse_space(text, "x.yaml")
    assert len(to_text(describe(space))) < 1000
    assert space.size() is None
    assert time.process_time() - began < 2
    with pytest.raises(SpaceError, match=r"at most 10,000 values, got 10,001"):
        parse_space(text.replace("values: [", "values: [0.1, "), "x.yaml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("low: 0.0, high: 0.5", f"low: 0.0, high: {'9' * 400}", "must be finite"),
        ("low: 0.0, high: 0.5", "low: 0.0, high: 0.5, points: 1000000000", "less than or equal"),
        ("seed: 3", "seed: 9223372036854775808", "from 0 to 2"),
        (
            "sampler:",
            f"scenarios: {{x: {{dropout: {[0.1] * 101}, l2: {[0.1] * 101}}}}}\nsampler:",
            "10,201",
        ),
    ],
)
def test_numbers_that_no_record_or_memory_holds_are_refused(old, new, message):
    with pytest.raises(SpaceError, match=message):
        parse_space(SMALL.replace(old, new), "x.yaml")


PLAIN = """\
name: plain
dataset: {name: digits}
model: {name: mlp}
"""

PRIVATE = (
    "defences: {noise_multiplier: 1}",
    "scenarios: {dp: {epsilon: [.inf, 2]}}",
    "search: {epsilon: {low: 1, high: 8, or: .inf}}",
)


@pytest.mark.parametrize("private", PRIVATE)
def test_a_space_with_dp_and_a_plain_training_block_gets_settings_that_learn(private):
    space = parse_space(PLAIN + private, "plain.yaml")
    assert space.config().training.private == PRIVATE_DEFAULTS
    assert space.baseline().training.as_private().optimizer == "sgd"
    stated = Training(private=PRIVATE_DEFAULTS).settings["private"]
    assert space.to_plain()["training"]["private"] == stated
    again = parse_space(yaml.safe_dump(space.to_plain()), "again")
    assert again.config().trial_id == space.config().trial_id


def test_a_space_without_dp_keeps_its_trial_ids_and_a_private_trial_of_it_learns():
    space = parse_space(PLAIN, "plain.yaml")
    assert space.config().training.private == PrivateTraining()
    assert space.config({"dropout": 0.5}).training.private == PrivateTraining()
    assert space.config({"target_epsilon": 2}).training.private == PRIVATE_DEFAULTS


@pytest.mark.parametrize(
    ("training", "search"),
    [
        ("{private: {}}", "epsilon: {low: 1, high: 8}"),
        ("{private: {batch_size: 60}}", "epsilon: {low: 1, high: 8}"),
        ("{}", "epsilon: {low: 1, high: 8}, training.learning_rate: {low: 0.1, high: 1.0}"),
        ("{}", "epsilon: {low: 1, high: 8}, training.private.batch_size: {values: [30, 60]}"),
    ],
)
def test_settings_of_dp_that_a_space_states_or_varies_stay_as_they_are(training, search):
    space = parse_space(f"{PLAIN}training: {training}\nsearch: {{{search}}}", "stated.yaml")
    for values in ({}, {"target_epsilon": 2}):
        assert space.config(values).training.private.optimizer is None
        assert space.config(values).training.as_private().optimizer == "adam"


def test_a_stored_space_that_states_that_nothing_is_replaced_means_the_same():
    nothing = dataclasses.asdict(PrivateTraining())
    text = yaml.safe_dump({**yaml.safe_load(PLAIN + PRIVATE[2]), "training": {"private": nothing}})
    assert parse_space(text, "stored.yaml").config({"epsilon": 2}).training.private == (
        PrivateTraining()
    )


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (
            1,
            "`measure.models` must be at least 4, got 1: .* leave `measure` out for a single model",
        ),
        (2, "`measure.models` must be at least 4, got 2"),
        (7, "`measure.models` must be even, got 7: models come in pairs"),
        (2000, "`measure.models` must be less than or equal to 1024"),
        ("many", "`measure.models` must be a whole number"),
    ],
)
def test_a_number_of_models_that_cannot_be_paired_is_refused(small_yaml, models, message):
    with pytest.raises(SpaceError, match=message):
        load_space(small_yaml, {"measure.models": models})


def test_lira_is_a_default_attack_where_its_references_are_there(small_yaml):
    alone = load_space(small_yaml, {"attacks": {}}).config().attacks.membership
    assert list(alone) == ["max_posterior", "loss", "entropy", "shadow", "rmia"]
    with_models = load_space(small_yaml, {"attacks": {}, "measure.models": 4})
    assert list(with_models.config().attacks.membership) == [*alone, "lira"]
    values = {"dropout": 0.3, "training.epochs": 2}
    assert "lira" in with_models.config(values).attacks.membership


def test_measure_reaches_every_configuration(small_yaml):
    space = load_space(small_yaml, {"measure.models": 4})
    assert space.to_plain()["measure"] == {"models": 4}
    configs = [space.baseline(), space.config(), space.config({"dropout": 0.3})]
    assert [config.measure.models for config in configs] == [4, 4, 4]


@pytest.mark.parametrize(
    ("attacks", "message"),
    [
        ({"membership": ["shadow"]}, "`measure` needs one of the attacks max_posterior, .* lira"),
        (
            {"membership": ["loss", "shadow"], "attack_auc": "shadow"},
            "with `measure`, `attack_auc` must be strongest, mean or one of",
        ),
    ],
)
def test_attacks_that_cannot_judge_a_recipe_are_refused_beside_measure(
    small_yaml, attacks, message
):
    with pytest.raises(SpaceError, match=message):
        load_space(small_yaml, {"measure.models": 4, "attacks": attacks})


def test_off_is_the_neutral_value_of_an_axis():
    text = SMALL.replace("or: .inf", "or: off").replace("high: 0.5}", "high: 0.5, or: no}")
    axes = parse_space(text, "off.yaml").axes
    assert [axis.otherwise for axis in axes.values()] == [math.inf, 0.0]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "{low: 0.0, high: 0.5}",
            "{values: 0.1}",
            "`search.dropout.values` must be a list, got 0.1",
        ),
        (
            "{low: 0.0, high: 0.5}",
            "{low: x, high: 1}",
            "`search.dropout`?.*low` must be a number, got 'x'",
        ),
        ("trials: 5", "trials: 1.5", "`sampler.trials` must be a whole number, got 1.5"),
    ],
)
def test_types_have_the_names_of_yaml(old, new, message):
    with pytest.raises(SpaceError, match=message):
        parse_space(SMALL.replace(old, new), "types.yaml")


@pytest.mark.parametrize(("block", "catalogue"), [("model", MODELS), ("dataset", SOURCES)])
def test_the_schema_states_the_defaults_and_the_values_of_each_name(block, catalogue):
    part = schema()["properties"][block]
    of_name = {
        rule["if"]["properties"]["name"]["const"]: rule["then"]["properties"]
        for rule in part.get("allOf", [])
    }
    for name, kind in catalogue.items():
        stated = part["properties"] | of_name.get(name, {})
        for field in dataclasses.fields(kind):
            if field.default is not dataclasses.MISSING:
                default = field.default
                expected = list(default) if isinstance(default, tuple) else default
                assert stated[field.name]["default"] == expected, (name, field.name)
    if block == "model":
        assert "sigmoid" in of_name["mlp"]["activation"]["enum"]
