"""Pruning: the figures at a rung, which trials go on, and the records of those that stop."""

from dataclasses import asdict, replace
from math import inf

import numpy as np
import pandas as pd
import pytest
from conftest import SMALL

from raysweep.defences.dpsgd import accounting
from raysweep.driver.standings import Standings
from raysweep.errors import SpaceError
from raysweep.records.columns import EpochRecord
from raysweep.space.parsing import differences, parse_space
from raysweep.space.settings import Pruning
from raysweep.trial.run import run_trial

PRUNED = SMALL.replace("sampler:", "pruning: {grace_epochs: 1, reduction_factor: 2}\nsampler:")


@pytest.fixture
def pruned_space():
    return parse_space(PRUNED, "pruned.yaml")


def figures(trial_id, accuracy, tail=0.05, mse=0.03, *, epoch=1, collapsed=False):
    return EpochRecord(
        trial_id=trial_id,
        epoch=epoch,
        loss=1.0,
        train_accuracy=accuracy,
        accuracy=accuracy,
        epsilon=inf,
        collapsed=collapsed,
        train_seconds=1.0,
        tail=tail,
        inversion_mse=mse,
        inversion_floor=0.07,
    )


def standings(space, *seen):
    frame = pd.DataFrame([asdict(figures("none", 0.5)), *map(asdict, seen)])
    return Standings(space, space.pruning, frame.iloc[1:])


@pytest.mark.parametrize("epsilon", [inf, 4.0])
def test_rungs_that_stop_no_trial_change_no_figure(space, epsilon):
    config = space.config({"epsilon": epsilon, "dropout": 0.2})
    plain, watched = run_trial(config), run_trial(config, on_rung=lambda _: True, rungs=(1, 3))
    assert [e.tail is not None for e in watched.epochs] == [True, False, True, False]
    for name in ("status", "accuracy", "attack_auc", "inversion_mse", "epsilon", "stopped_epoch"):
        assert getattr(plain.trial, name) == getattr(watched.trial, name)


def test_a_stopped_trial_has_its_epoch_and_no_full_attacks(space):
    seen = []

    def on_rung(rung):
        seen.append(rung.figures)
        return rung.figures.epoch < 2

    found = run_trial(space.config(), on_rung=on_rung, rungs=(1, 2, 3))
    assert [f.epoch for f in seen] == [1, 2]
    assert (found.trial.status, found.trial.stopped_epoch) == ("pruned", 2)
    assert found.epochs[-1] == seen[-1]
    assert found.trial.accuracy == seen[-1].accuracy
    assert (found.attacks, found.scores, found.reconstructions) == ((), (), ())
    assert (found.trial.attack_auc, found.trial.inversion_mse) == (None, None)


def test_a_stopped_trial_has_spent_the_epsilon_of_the_steps_it_took(space):
    config = space.config({"epsilon": 4.0})
    stopped = run_trial(config, on_rung=lambda _: False, rungs=(2,)).trial
    whole = run_trial(config).trial
    assert stopped.defences["target_epsilon"] == whole.defences["target_epsilon"] == 4.0
    assert (stopped.steps, whole.steps) == (4, 8)
    epsilon, _ = accounting.epsilon_spent(
        stopped.noise_multiplier,
        delta=1e-5,
        sample_rate=stopped.sample_rate,
        steps=stopped.steps,
        accountant="rdp",
    )
    assert stopped.epsilon == pytest.approx(epsilon)
    assert stopped.epsilon < whole.epsilon


def test_no_trial_stops_at_the_last_epoch(space):
    assert run_trial(space.config(), on_rung=lambda _: False, rungs=(4, 9)).trial.status == "ok"


def test_the_cheap_attacks_find_what_the_full_ones_find(space):
    text = SMALL.replace("epochs: 4", "epochs: 30")
    config = parse_space(text, "long").config({"dropout": 0.0})
    found = run_trial(config, on_rung=lambda _: True, rungs=(29,))
    rung = found.epochs[28]
    (tail,) = [row for row in found.examples if row.figure == "tail"]
    assert rung.tail == pytest.approx(tail.of_examples.mean(), abs=0.05)  # three of 60 examples
    assert rung.inversion_mse == pytest.approx(found.trial.inversion_mse, rel=0.2)
    assert rung.inversion_floor == pytest.approx(found.trial.inversion_floor, rel=0.05)


def test_a_rung_does_not_attack_an_inner_layer():
    text = PRUNED.replace("{decoders: [ridge]}", "{decoders: [ridge], layers: [flatten]}")
    space = parse_space(text, "inner")
    found = run_trial(space.config(), on_rung=lambda _: False, rungs=(1,))
    assert (found.epochs[0].tail is None, found.epochs[0].inversion_mse) == (False, None)
    assert standings(space).goes_on(found.epochs[0])


def test_a_trial_that_is_worse_in_every_objective_stops_and_others_go_on(pruned_space):
    seen = [figures("a", 0.8), figures("b", 0.7), figures("c", 0.6)]
    assert not standings(pruned_space, *seen).goes_on(figures("d", 0.5))
    assert standings(pruned_space, *seen).goes_on(figures("d", 0.75))
    assert standings(pruned_space, *seen).goes_on(figures("d", 0.5, tail=0.03))


def test_a_collapsed_model_stops_even_with_the_best_privacy_figures(pruned_space):
    seen = [figures(name, 0.5 + i / 10) for i, name in enumerate("abc")]
    assert not standings(pruned_space, *seen).goes_on(
        figures("d", 0.1, tail=0.02, mse=0.07, collapsed=True)
    )


def test_a_tail_below_chance_counts_as_chance(pruned_space):
    seen = [figures(name, 0.8 - i / 10, tail=0.02) for i, name in enumerate("abc")]
    assert not standings(pruned_space, *seen).goes_on(figures("d", 0.5, tail=0.004))


def test_each_rung_compares_its_own_figures(pruned_space):
    seen = [figures(name, 0.5 + i / 10) for i, name in enumerate("abc")]
    board = standings(pruned_space, *seen)
    assert not board.goes_on(figures("d", 0.4))
    assert board.goes_on(figures("d", 0.4, epoch=2))


def test_a_trial_that_reaches_a_rung_again_goes_on(pruned_space):
    board = standings(pruned_space, *[figures(name, 0.5) for name in "abc"])
    assert board.goes_on(figures("a", 0.0))


def test_standings_rebuilt_from_records_decide_as_the_live_ones(pruned_space):
    rng = np.random.default_rng(0)
    arriving = [
        figures(str(i), *rng.uniform([0.3, 0.5, 0.02], [0.9, 0.7, 0.05])) for i in range(30)
    ]
    live = standings(pruned_space)
    for i, row in enumerate(arriving):
        assert standings(pruned_space, *arriving[:i]).goes_on(row) == live.goes_on(row)


def test_rungs_grow_by_the_factor_and_end_before_the_last_epoch():
    assert Pruning(grace_epochs=3, reduction_factor=3).epochs(15) == (3, 9)
    assert [Pruning().epochs(last) for last in (1, 2, 15, 30)] == [(), (), (9,), (18,)]
    assert Pruning(grace_epochs=1, reduction_factor=2).epochs(16) == (1, 2, 4, 8)
    assert Pruning(grace_epochs=1, reduction_factor=1.01).epochs(6) == (1, 2, 3, 4, 5)
    assert Pruning(grace_epochs=9).epochs(9) == ()


def test_the_quota_is_the_share_that_goes_on():
    assert [Pruning(keep=0.5).quota(n) for n in (1, 2, 3, 9)] == [1, 1, 2, 5]
    assert [Pruning(keep=1).quota(n) for n in (1, 2, 50)] == [1, 2, 50]


def test_pruning_is_off_by_default_and_not_part_of_a_configuration(space, pruned_space):
    assert space.pruning is None
    assert space.rungs() == ()
    assert "pruning" not in space.to_plain()
    assert space.config({"epsilon": 2}).trial_id == pruned_space.config({"epsilon": 2}).trial_id


def test_pruning_may_not_change_when_a_sweep_continues(space, pruned_space):
    changed = replace(pruned_space, pruning=replace(pruned_space.pruning, reduction_factor=3.0))
    assert differences(pruned_space.to_plain(), changed.to_plain()) == [
        "pruning.reduction_factor: 2.0 -> 3.0"
    ]
    assert "pruning.name: (absent) -> mo_asha" in differences(
        space.to_plain(), pruned_space.to_plain()
    )


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ("{name: asha}", r"name` must be 'mo_asha', got 'asha'.*line 15"),
        ("{grace_epoch: 2}", r"unknown key 'grace_epoch'; did you mean 'grace_epochs'"),
        (
            "{reduction_factor: 1}",
            r"reduction_factor` must be greater than or equal to 1.01, got 1",
        ),
        ("{keep: 0}", r"keep` must be greater than 0, got 0"),
        ("{grace_epochs: 4}", r"grace_epochs` must be below the epochs of training.*got 4"),
        ("often", r"pruning` must be a mapping, got 'often'"),
    ],
)
def test_a_pruning_block_that_breaks_a_rule_is_refused(given, rule):
    with pytest.raises(SpaceError, match=f"(?s){rule}"):
        parse_space(SMALL.replace("sampler:", f"pruning: {given}\nsampler:"), "bad.yaml")


def test_pruning_needs_an_objective_that_a_rung_measures():
    text = PRUNED.replace("{decoders: [ridge]}", "{decoders: [ridge], layers: [flatten]}")
    with pytest.raises(SpaceError, match="needs an objective that a rung measures"):
        parse_space(text.replace("seed: 3", "objectives: {inversion_mse: max}"), "bad.yaml")
