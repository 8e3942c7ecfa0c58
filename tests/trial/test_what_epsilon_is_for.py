"""A trial with DP-SGD records its neighbours, its unit, and what any attacker can reach."""

import math

import numpy as np
import pytest

from raysweep.records.guarantee import guarantee_line, guarantee_lines
from raysweep.records.trial_config import TrialConfig
from raysweep.report.one_trial import print_trial
from raysweep.space.parsing import parse_space
from raysweep.trial.run import run_trial


@pytest.fixture
def persons(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 2
    features = rng.normal(size=(400, 4)) + labels[:, None]
    np.savez(tmp_path / "p.npz", features=features, labels=labels, groups=np.arange(400) // 4)
    return f"""\
name: persons
dataset: {{name: npz, path: {tmp_path}/p.npz, members: 80, nonmembers: 40, pool: 40, validation: 20, test: 10}}
model: {{name: softmax}}
training: {{epochs: 2, private: {{batch_size: 40}}}}
defences: {{target_epsilon: 2, accountant: rdp}}
attacks: {{membership: [loss]}}
"""


def test_with_groups_there_is_an_epsilon_for_a_record_and_one_for_a_person(persons, capsys):
    space = parse_space(persons, "p.yaml", {"dataset.records_per_group": 2})
    result = run_trial(space.config())
    row = result.trial.row()
    assert (row["neighbours"], row["group_records"]) == ("zero_out", 2)
    assert 1.5 * row["epsilon"] < row["epsilon_per_group"] < 3 * row["epsilon"]
    assert 0.001 < row["tpr_bound_at_fpr_0_001"] < row["tpr_bound_at_fpr_0_1"] < 0.5

    print_trial(result, space.config())
    printed = capsys.readouterr().out
    assert "epsilon is for one record; for one group of at most 2 records epsilon " in printed
    assert "neighbours: zero_out (one record replaced by nothing, with the number" in printed


def test_without_dp_there_is_no_such_line(space, capsys):
    result = run_trial(space.config())
    row = result.trial.row()
    assert (row["neighbours"], row["tpr_bound_at_fpr_0_1"], guarantee_line(row)) == (None, None, "")
    print_trial(result, space.config())
    assert "neighbours:" not in capsys.readouterr().out


def test_constants_of_the_space_give_add_or_remove(small_yaml):
    overrides = {
        "training.private": {"expected_batch": 60, "sample_rate": 0.5, "learning_rate": 1.0},
        "attacks": {"membership": ["loss"]},
    }
    space = parse_space(small_yaml.read_text(), "s.yaml", overrides)
    config = space.config({"target_epsilon": 8})
    assert TrialConfig.from_json(config.to_json()) == config
    record = run_trial(config).trial
    assert (record.neighbours, record.sample_rate, record.steps) == ("add_remove", 0.5, 8)
    assert math.isfinite(record.epsilon)
    assert "for one record; neighbours: add_remove (one record added" in guarantee_line(
        record.row()
    )


def test_a_table_of_trials_has_a_line_on_groups_beside_that_on_records(persons):
    rows = []
    for epsilon in (1, 2):
        more = {"dataset.records_per_group": 2, "defences.target_epsilon": epsilon}
        rows.append(run_trial(parse_space(persons, "p.yaml", more).config()).trial.row())
    of_record, of_group = guarantee_lines([{"epsilon": math.inf, "neighbours": None}, *rows])
    assert of_record.startswith("epsilon is for one record; neighbours: zero_out (")
    low, high = (row["epsilon_per_group"] for row in rows)
    assert of_group == (
        f"For all records of one group together, at most 2, epsilon is {low:.3g} to {high:.3g}."
    )
    assert guarantee_lines([{"epsilon": math.inf, "neighbours": None}]) == []
