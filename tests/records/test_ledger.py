"""The ledger of a trial: every assumption, in words and as plain values."""

import json
from dataclasses import replace

import pytest
import yaml
from typer.testing import CliRunner

import raysweep
from raysweep.cli import app
from raysweep.defences.dpsgd import accounting, tradeoff
from raysweep.errors import SpaceError, StoreError
from raysweep.records.columns import SubsetRecord
from raysweep.records.ledger import ledger_of
from raysweep.records.store import Store
from raysweep.records.tables import pack
from raysweep.report import build
from raysweep.space.parsing import parse_space
from raysweep.trial.run import run_trial

SPACE = """\
name: ledger
dataset: {name: digits, members: 120, nonmembers: 120, pool: 60, validation: 60, test: 60}
model: {name: softmax}
training: {epochs: 3, private: {batch_size: 60, learning_rate: 1.0}}
search: {target_epsilon: {low: 1, high: 8, or: .inf}}
attacks: {membership: [loss]}
objectives: {accuracy: max, attack_auc: min}
sampler: {name: tpe, trials: 3}
"""


@pytest.fixture(scope="module")
def trials():
    space = parse_space(SPACE, "ledger.yaml")
    private = run_trial(space.config({"target_epsilon": 2}))
    plain = run_trial(space.config())
    failed = replace(
        plain.trial, trial_id="f" * 16, recipe="f" * 16, status="failed", error="out of luck"
    )
    return space, [plain, private, replace(plain, trial=failed, attacks=(), epochs=(), scores=())]


def written(path, space, results):
    store = Store(str(path))
    store.folder.write_bytes(yaml.safe_dump(space.to_plain()).encode(), "space.yaml")
    for number, result in enumerate(results):
        store.write(pack(result).with_number(number=number, scenario=None, retries=[]))
    return store.path


@pytest.fixture
def folder(trials, tmp_path):
    return written(tmp_path / "out", *trials)


def private_id(trials):
    return trials[1][1].trial.trial_id


def test_canaries_stand_in_the_ledger_with_the_bound_of_two_records(trials, tmp_path):
    space, (_, private, _) = trials
    bounds = {"mislabelled": (1, 0.2), "duplicated": (2, 0.3456)}
    canaries = [
        SubsetRecord(
            trial_id=private.trial.trial_id,
            kind="canary",
            subset=kind,
            n=40,
            models=8,
            records=records,
            tpr_bound_at_fpr_0_1=bound,
        )
        for kind, (records, bound) in bounds.items()
    ]
    path = written(tmp_path / "out", space, [replace(private, subsets=tuple(canaries))])
    text = ledger_of(raysweep.load(path), private.trial.trial_id).to_text()
    assert "40 mislabelled, 40 duplicated: in models of their own, held against the curve" in text
    assert "two records, of which any attacker finds at most 34.6 % at 10 % false alarms" in text


def test_the_ledger_names_every_assumption(trials, folder):
    text = ledger_of(raysweep.load(folder), private_id(trials)).to_text()
    for words in (
        "epsilon 1.99",
        "at delta 1e-05 for one record",
        "neighbours: zero_out",
        "one record replaced by nothing, with the number of members",
        "the data name no groups",
        "% of the members are found at 0.1 % false alarms",
        "Poisson-subsampled Gaussian",
        "clipping: each example's whole gradient, layerwise",
        "members: 120",
        "divisor: 60",
        "steps: 6",
        "attacks: loss, on 120 members and 120 nonmembers, held against the curve",
        "a perfect attack would have shown epsilon >= 2.8",
        "a generator of the seed 0",
        "not covered: the choice among 3 trials by their results",
        "sampler tpe follows earlier results; the number of trials is fixed, or open",
        "in all, if the number of trainings were drawn from a geometric law of mean 3",
        "central: whoever trains sees all records",
    ):
        assert words in text, words


def test_its_epsilons_are_those_of_both_accountants(trials, folder):
    row = trials[1][1].trial
    promise = ledger_of(raysweep.load(folder), row.trial_id).to_plain()["promise"]
    rule = {"delta": 1e-5, "sample_rate": row.sample_rate, "steps": row.steps}
    by_rdp, _ = accounting.epsilon_spent(row.noise_multiplier, accountant="rdp", **rule)
    assert promise["epsilon_by_rdp"] == by_rdp
    by_pld = tradeoff.epsilon_by_pld(row.noise_multiplier, **rule)
    assert promise["epsilon_by_pld"] == by_pld
    assert by_pld <= promise["epsilon"] < 1.02 * by_pld
    assert promise["epsilon"] < by_rdp


def test_a_trial_without_dp_says_so_and_so_does_a_failed_one(trials, folder):
    call = CliRunner().invoke
    plain = call(app, ["ledger", folder, "--trial", trials[1][0].trial.trial_id])
    assert (plain.exit_code, "without DP-SGD: nothing is promised" in plain.output) == (0, True)
    failed = call(app, ["ledger", folder, "--trial", "ffff"])
    assert (failed.exit_code, "no model was released" in failed.output) == (0, True)
    assert "out of luck" in failed.output


def test_an_unknown_id_names_the_nearest(trials, folder):
    wrong = private_id(trials)[:-1] + "x"
    for unknown in (wrong, wrong[:3] + "x"):
        rule = f"no trial has the id '{unknown}'; the nearest: {private_id(trials)}"
        with pytest.raises(SpaceError, match=rule):
            ledger_of(raysweep.load(folder), unknown)
    with pytest.raises(SpaceError, match="no trial has the id ''"):
        ledger_of(raysweep.load(folder), "")


def test_the_beginning_of_an_id_is_enough_and_json_has_the_same_parts(trials, folder):
    found = CliRunner().invoke(app, ["ledger", folder, "--trial", private_id(trials)[:8], "--json"])
    parts = json.loads(found.output)
    assert parts["trial_id"] == private_id(trials)
    assert [*parts][:5] == ["trial_id", "summary", "promise", "unit", "what_any_attacker_can_reach"]


def test_a_record_without_a_mechanism_is_an_error(trials, tmp_path):
    space, results = trials
    broken = replace(results[1], trial=replace(results[1].trial, noise_multiplier=None))
    path = written(tmp_path / "out", space, [broken])
    with pytest.raises(StoreError, match="has an epsilon and no noise multiplier"):
        ledger_of(raysweep.load(path), private_id(trials))


def test_the_page_has_the_ledger_and_the_curve_beside_the_attack(trials, tmp_path):
    space, results = trials
    better = replace(results[1].trial, accuracy=1.0)
    folder = written(tmp_path / "out", space, [results[0], replace(results[1], trial=better)])
    build.write([folder], tmp_path / "report.html", everything=True)
    text = (tmp_path / "report.html").read_text()
    assert "The ledger" in text
    assert "sampler tpe follows earlier results" in text
    assert "No attacker finds more than" in text
