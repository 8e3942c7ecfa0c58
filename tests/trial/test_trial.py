"""What a whole trial makes of its attacks: who is judged, what counts, what is refused."""

import pytest
import torch
from conftest import SMALL
from face_files import write_faces
from torch import nn

from raysweep.errors import DataError
from raysweep.space.parsing import parse_space
from raysweep.trial.run import run_trial


def trial(*replacements, **options):
    text = SMALL.replace("  inversion: {activation_decoder: {decoders: [ridge]}}\n", "")
    text += "objectives: {accuracy: max}\n"
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    return run_trial(parse_space(text, "trial.yaml").config(), **options)


def test_every_attack_is_judged_on_the_same_unknown_examples():
    result = trial(("[max_posterior, loss]", "[loss, supervised]"))
    judged = [set(rows.example) for rows in result.scores]
    assert len(judged[0]) == 60 + 30
    assert judged[0] == judged[1]
    assert [(r.n_members, r.n_known_members) for r in result.attacks] == [(60, None), (60, 60)]


def test_too_few_known_members_are_refused():
    message = r"known_share 0.1 leaves 6 nonmembers to learn from and 54 .* enlarge dataset.nonmem"
    with pytest.raises(DataError, match=message):
        trial(("membership: [max_posterior, loss]", "known_share: 0.1\n  membership: [supervised]"))


@pytest.mark.slow
def test_a_white_box_attack_counts_only_by_name():
    given = "[max_posterior, loss]"
    outside, by_name = (
        trial((given, "[loss, dtc]")),
        trial((given, "[loss, dtc]\n  attack_auc: dtc")),
    )
    aucs = {record.attack: record.auc for record in by_name.attacks}
    assert (outside.trial.strongest_attack, outside.trial.attack_auc) == ("loss", aucs["loss"])
    assert (by_name.trial.strongest_attack, by_name.trial.attack_auc) == ("dtc", aucs["dtc"])


@pytest.mark.slow
def test_classes_are_rebuilt_without_a_pool():
    given = ("membership: [max_posterior, loss]", "inversion: [mi_face]"), ("pool: 200", "pool: 0")
    result = trial(*given)
    (record,), (rows,) = result.attacks, result.reconstructions
    assert (record.layer, record.n_rebuilt, record.n_members) == (None, 10, 120)
    assert record.floor_mean > record.floor_label > 0
    assert rows.recognised.mean() == record.recognition_rate
    assert result.trial.inversion_mse is None


@pytest.mark.slow
def test_classes_alone_are_not_what_a_rung_rebuilds():
    text = ("membership: [max_posterior, loss]", "inversion: [mi_face]"), ("pool: 200", "pool: 0")
    seen = []
    trial(*text, rungs=[2], on_rung=lambda rung: seen.append(rung) or True)
    (figures,) = [rung.figures for rung in seen]
    assert (figures.epoch, figures.inversion_mse) == (2, None)


@pytest.mark.slow
def test_a_transfer_shadow_has_the_other_data_sets_shape_and_the_targets_recipe():
    """The digits' target, and a shadow on records: flat, of four classes, in the same sizes."""
    other = "{name: synthetic_purchase, records: 600, features: 20, classes: 4, spread: 2}"
    result = trial(
        (
            "membership: [max_posterior, loss]",
            f"membership: {{data_transfer: {{dataset: {other}}}}}",
        ),
        ("search:", "defences: {adversarial_regularisation: 1, adversary_batches: 4}\nsearch:"),
        ("pool: 200", "pool: 0, reference: 40"),
        ("epochs: 4", "epochs: 2"),
        ("  epsilon: {low: 2, high: 16, log: true, or: .inf}\n", ""),
    )
    (record,) = result.attacks
    assert (record.attack, record.n_members, record.n_nonmembers) == ("data_transfer", 120, 60)
    assert 0 < record.auc < 1


def test_a_published_split_refuses_attacks_that_need_a_pool_it_has_not(monkeypatch, tmp_path):
    monkeypatch.setenv("RAYSWEEP_DATA", str(tmp_path))
    write_faces(tmp_path)
    name = "dataset: {name: digits, members: 120, nonmembers: 60, pool: 200, validation: 100, test: 100}"
    faces = (name, "dataset: {name: orl_faces, split: published}")
    with pytest.raises(DataError, match=r"'shadow' needs a pool .* or leave `split` out"):
        trial(faces, ("[max_posterior, loss]", "[shadow]"))
    record = trial(faces, ("[max_posterior, loss]", "[loss]")).trial
    assert record.split == "published, validation as nonmembers"
    assert (record.dataset, record.model) == ("orl_faces", "mlp")


@pytest.mark.parametrize("epsilon", [float("inf"), 8.0])
def test_smaller_physical_batches_train_the_same_model(epsilon):
    config = parse_space(SMALL, "small.yaml").config({"epsilon": epsilon})
    whole, parts = run_trial(config), run_trial(config, memory_parts=4)
    losses = [[epoch.loss for epoch in found.epochs] for found in (whole, parts)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert parts.trial.attack_auc == pytest.approx(whole.trial.attack_auc, abs=0.01)


def test_smaller_physical_batches_are_smaller(monkeypatch):
    sizes = []
    forward = nn.Linear.forward

    def watched(self, x):
        sizes.append((self.training, len(x)))
        return forward(self, x)

    config = parse_space(SMALL, "small.yaml").config()
    monkeypatch.setattr(nn.Linear, "forward", watched)
    run_trial(config, memory_parts=4)
    assert max(size for training, size in sizes if training) == config.training.batch_size // 4
    assert max(size for _, size in sizes) <= 1024 // 4


@pytest.mark.slow
def test_a_trial_takes_as_many_threads_as_it_is_given_and_gives_them_back():
    seen = []
    before = torch.get_num_threads()
    for threads in (2, 1):
        trial(on_epoch=lambda _: seen.append(torch.get_num_threads()), threads=threads)
    assert set(seen[: len(seen) // 2]) == {2}
    assert set(seen[len(seen) // 2 :]) == {1}
    assert torch.get_num_threads() == before


def test_the_zero_of_the_strongest_attack_stands_beside_it():
    record = trial().trial
    assert 0.5 < record.attack_auc_null < record.attack_auc_null_high < 0.65
    assert record.attack_auc_low < record.attack_auc < record.attack_auc_high


def test_the_mean_of_the_attacks_has_an_interval_and_one_half_as_its_zero():
    given = "[max_posterior, loss]"
    result = trial((given, f"{given}\n  attack_auc: mean"))
    record = result.trial
    assert record.attack_auc == pytest.approx(sum(a.auc for a in result.attacks) / 2)
    assert record.attack_auc_low < record.attack_auc < record.attack_auc_high
    assert record.attack_auc_null == pytest.approx(0.5, abs=0.01)
    assert record.strongest_attack is None
