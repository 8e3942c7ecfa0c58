"""The benchmark of the membership attacks measures the attacks of a trial, and compares them."""

import pytest

from benchmarks import membership
from raysweep.attacks import DEFAULT_ATTACKS


@pytest.mark.parametrize("kind", membership.TARGETS)
@pytest.mark.parametrize("defence", membership.DEFENCES)
def test_each_kind_of_target_has_a_valid_configuration(kind, defence):
    values = membership.DEFENCES[defence]
    config = membership.space(kind).config(values)
    assert list(config.attacks.membership) == DEFAULT_ATTACKS["membership"]
    assert config.defences.is_private == (defence == "epsilon_8")
    assert {key: config.defences[key] for key in values} == values


def test_the_comparison_is_with_the_best_of_the_other_attacks():
    targets = [
        {"loss": {"auc": 0.6}, "shadow": {"auc": 0.5}, "rmia": {"auc": 0.7}},
        {"loss": {"auc": 0.6}, "shadow": {"auc": 0.65}, "rmia": {"auc": 0.8}},
    ]
    found = membership.compare(targets, "auc")
    assert found["best_of_the_others"] == "loss"
    assert found["rmia"]["mean"] == 0.75
    assert (found["gain"]["min"], found["gain"]["max"], found["gain"]["n"]) == (0.1, 0.2, 2)


def test_it_measures_every_attack_on_a_real_target():
    space = membership.space("digits_mlp", {"epochs": 1})
    figures = membership.measure(space, {}, 0)
    assert list(figures) == DEFAULT_ATTACKS["membership"]
    assert all(0 <= figure <= 1 for each in figures.values() for figure in each.values())


@pytest.mark.slow
def test_the_whole_benchmark_prints_a_line_of_json(capsys):
    membership.main(["--json", "--targets", "1", "--only", "digits_mlp", "--epochs", "1"])
    out = capsys.readouterr().out
    assert '"digits_mlp_epsilon_8_tpr_at_fpr_0_01"' in out.splitlines()[-1]
