"""A saved model is the one that was attacked, with a card that says what it is."""

import contextlib
import hashlib
import json
import os
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SMALL

import raysweep
from raysweep import cli
from raysweep.data.published import read_tumours
from raysweep.errors import DataError, ModelError, PrivacyError, SpaceError, StoreError
from raysweep.records.folder import LARGEST_FILE
from raysweep.records.tables import pack
from raysweep.records.trial_config import TrialConfig
from raysweep.space.parsing import parse_space

FAST = SMALL.replace("  inversion: {activation_decoder: {decoders: [ridge]}}\n", "")
FAST = FAST.replace("epochs: 4", "epochs: 1") + "objectives: {accuracy: max}\n"


def trial(text=FAST, at=None, **options):
    """Return what a trial trained, and its result."""
    kept = []
    config = parse_space(text, "trial.yaml").config(at or {})
    result = raysweep.run_trial(config, on_target=kept.append, **options)
    (trained,) = kept
    return trained, result


@pytest.fixture(scope="module")
def private():
    return trial(at={"epsilon": 8, "dropout": 0.3})


def weights(trained):
    return torch.cat([p.detach().flatten() for p in trained.target.model.parameters()])


def test_a_loaded_model_gives_the_targets_logits(private, tmp_path):
    trained, result = private
    raysweep.save_model(tmp_path / "m.safetensors", trained, result)
    module, card = raysweep.load_model(tmp_path / "m.safetensors")
    members = trained.splits.members
    inputs = card.scale(members.features)
    assert torch.equal(inputs, torch.from_numpy(members.pixels()))
    assert not module.training
    assert np.allclose(module(inputs).detach(), trained.target.logits(members), atol=1e-5)


def test_the_cards_figures_are_the_trials(private, tmp_path):
    trained, result = private
    raysweep.save_model(tmp_path / "m.safetensors", trained, result)
    card = json.loads((tmp_path / "m.json").read_text())
    record, privacy = result.trial, card["privacy"]
    assert card["figures"]["accuracy"] == record.accuracy
    assert card["figures"]["attack_auc_high"] == record.attack_auc_high
    assert [row["auc"] for row in card["attacks"]] == [row.auc for row in result.attacks]
    assert (privacy["epsilon"], privacy["target_epsilon"]) == (record.epsilon, 8)
    assert (privacy["delta"], privacy["noise"]) == (1e-5, "seed")
    assert "This epsilon is for one record. " in privacy["statement"]
    assert card["configuration"] == json.loads(record.config)
    assert (card["inputs"]["low"], card["inputs"]["high"]) == (0, 16)


def test_secure_noise_gives_other_weights_each_time_and_a_seed_the_same(private):
    again, _ = trial(at={"epsilon": 8, "dropout": 0.3})
    assert torch.equal(weights(again), weights(private[0]))
    first, second = (trial(at={"epsilon": 8}, secure_noise=True)[0] for _ in range(2))
    assert not torch.equal(weights(first), weights(second))
    assert first.target.privacy == second.target.privacy
    assert not first.target.privacy.is_repeatable


def test_the_card_holds_the_ledger_of_the_trial(private, tmp_path):
    trained, result = private
    raysweep.save_model(tmp_path / "m.safetensors", trained, result)
    found = json.loads((tmp_path / "m.json").read_text())["ledger"]
    assert found["trial_id"] == result.trial.trial_id
    assert found["promise"]["epsilon"] == result.trial.epsilon
    assert found["mechanism"]["noise_multiplier"] == result.trial.noise_multiplier
    assert "sampler" not in found["selection"]["among_trials"]
    assert "chosen by the results of other trainings" in found["selection"]["among_trials"]
    assert "a generator of the seed 3" in found["randomness"]["noise_and_batches"]
    assert "held against the curve" in found["audit"]["attacks"]


def test_a_card_without_dp_says_that_nothing_is_promised(tmp_path):
    trained, result = trial()
    raysweep.save_model(tmp_path / "m.safetensors", trained, result)
    found = json.loads((tmp_path / "m.json").read_text())["ledger"]
    assert "without DP-SGD: nothing is promised" in found["summary"]


def test_with_secure_noise_nothing_that_is_stored_repeats_the_noise(tmp_path, monkeypatch):
    """Neither the bytes that the system gave, nor a seed from which they follow."""
    given, urandom = [], os.urandom

    def kept(n):
        given.append(urandom(n))
        return given[-1]

    monkeypatch.setattr(os, "urandom", kept)
    trained, result = trial(at={"epsilon": 8}, secure_noise=True)
    monkeypatch.undo()
    raysweep.save_model(tmp_path / "m.safetensors", trained, result)
    packed = pack(result)
    files = [path.read_bytes() for path in tmp_path.iterdir()] + [*packed.files.values()]
    assert len(given) > 10
    assert not any(some[:8] in file for some in given for file in files)

    card = json.loads((tmp_path / "m.json").read_text())
    assert card["privacy"]["is_repeatable"] is False
    assert (
        "operating system, and nothing is stored"
        in card["ledger"]["randomness"]["noise_and_batches"]
    )
    for secure_noise in (False, True):  # whoever runs the card's configuration again
        again = TrialConfig.from_json(json.dumps(card["configuration"]))
        kept = []
        raysweep.run_trial(again, on_target=kept.append, secure_noise=secure_noise)
        assert not torch.equal(weights(kept[0]), weights(trained))


def test_secure_noise_without_dp_is_refused():
    with pytest.raises(PrivacyError, match=r"this configuration has none; give .*target_epsilon"):
        trial(secure_noise=True)


def test_weights_that_have_not_moved_are_not_saved(tmp_path):
    trained, result = trial(FAST.replace("learning_rate: 1e-2", "learning_rate: 1e-30"))
    with pytest.raises(ModelError, match="no weight of the model has moved"):
        raysweep.save_model(tmp_path / "m.safetensors", trained, result)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def tumours(tmp_path):
    """Return a trial on a table, saved, and the table."""
    table = read_tumours()
    table.to_csv(tmp_path / "t.csv", index=False)
    digits = "{name: digits, members: 120, nonmembers: 60, pool: 200, validation: 100, test: 100}"
    assert digits in FAST
    text = FAST.replace(digits, f"{{name: csv, path: {tmp_path}/t.csv, label: diagnosis}}")
    trained, result = trial(text)
    raysweep.save_model(tmp_path / "m.safetensors", trained, result)
    return trained, pd.read_csv(tmp_path / "t.csv")


def test_raw_rows_of_a_table_become_the_trials_inputs(tumours, tmp_path):
    trained, table = tumours
    _, card = raysweep.load_model(tmp_path / "m.safetensors")
    members = trained.splits.members
    rows = table.iloc[members.indices][list(reversed(table.columns))]
    assert torch.equal(card.scale(rows), torch.from_numpy(members.pixels()))
    assert card["outputs"]["classes"] == ["benign", "malignant"]
    assert card["privacy"]["epsilon"] == "inf"

    with pytest.raises(DataError, match="no column 'mean radius'"):
        card.scale(rows.drop(columns="mean radius"))
    with pytest.raises(DataError, match=r"numbers of shape \(n, 30\)"):
        card.scale(np.zeros((4, 8)))
    with pytest.raises(DataError, match="finite"):
        card.scale(np.full((4, 30), np.nan))


def test_changed_weights_and_a_changed_card_are_refused(private, tmp_path):
    path, card = tmp_path / "m.safetensors", tmp_path / "m.json"
    raysweep.save_model(path, *private)
    whole, text = path.read_bytes(), card.read_text()

    path.write_bytes(whole[:-1] + b"x")
    with pytest.raises(StoreError, match="of other weights"):
        raysweep.load_model(path)
    path.write_bytes(whole)

    card.write_text(text.replace('"activation": "tanh"', '"activation": "relu"'))
    with pytest.raises(StoreError, match="the configuration is not that of trial"):
        raysweep.load_model(path)
    smaller = json.loads(trial(FAST.replace("[32]", "[7]"), {"epsilon": 8})[1].trial.config)
    content = json.loads(text) | {"configuration": smaller}
    canonical = json.dumps(smaller, sort_keys=True, separators=(",", ":"))
    content["trial_id"] = hashlib.sha256(canonical.encode()).hexdigest()[:16]
    card.write_text(json.dumps(content))
    with pytest.raises(ModelError, match="the weights do not fit model 'mlp'"):
        raysweep.load_model(path)
    for broken in ("", "[]", "{}", text[:-20]):
        card.write_text(broken)
        with pytest.raises(StoreError):
            raysweep.load_model(path)
    card.unlink()
    with pytest.raises(StoreError, match="cannot be read"):
        raysweep.load_model(path)


def _without(key):
    return lambda card: {k: v for k, v in card.items() if k != key}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda card: None, r"m.json: this is no card .*; copy both files again"),
        *[(_without(key), "m.json: this is no card") for key in ("figures", "privacy", "inputs")],
        (lambda card: card | {"privacy": [1]}, "'privacy' is no mapping"),
        (lambda card: card | {"outputs": {"n_classes": -1}}, "this is no card .*-1 classes"),
        (lambda card: card | {"outputs": {"n_classes": float("inf")}}, "this is no card"),
    ],
)
def test_a_card_of_another_form_is_refused_by_its_file(private, tmp_path, change, message):
    raysweep.save_model(tmp_path / "m.safetensors", *private)
    card = json.loads((tmp_path / "m.json").read_text())
    (tmp_path / "m.json").write_text(json.dumps(change(card)))
    with pytest.raises(StoreError, match=message):
        raysweep.load_model(tmp_path / "m.safetensors")


def test_a_card_with_sizes_that_no_machine_has_is_refused(private, tmp_path):
    raysweep.save_model(tmp_path / "m.safetensors", *private)
    card = json.loads((tmp_path / "m.json").read_text())
    card["inputs"]["shape"] = [1, 10**9, 10**9]
    (tmp_path / "m.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match="'mlp' cannot be built for inputs of"):
        raysweep.load_model(tmp_path / "m.safetensors")


@pytest.mark.parametrize("name", ["m.json", "m.safetensors"])
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), os.mkdir])
def test_a_pipe_or_an_endless_file_in_place_of_a_model_is_refused(private, tmp_path, name, make):
    raysweep.save_model(tmp_path / "m.safetensors", *private)
    (tmp_path / name).unlink()
    make(tmp_path / name)
    with pytest.raises(StoreError, match="is not a file"):
        raysweep.load_model(tmp_path / "m.safetensors")


def test_a_card_that_is_too_long_or_too_deep_is_refused(private, tmp_path):
    raysweep.save_model(tmp_path / "m.safetensors", *private)
    for text in ("[" * 100_000, "x" * (LARGEST_FILE + 1)):
        (tmp_path / "m.json").write_text(text)
        with pytest.raises(StoreError, match="m.safetensors: the model or its card m.json cannot"):
            raysweep.load_model(tmp_path / "m.safetensors")


@pytest.mark.parametrize("name", ["", "m.json", "."])
def test_only_a_safetensors_file_is_loaded(name):
    with pytest.raises(SpaceError, match="a model is saved in a .safetensors file"):
        raysweep.load_model(name)


def test_the_words_of_a_card_do_not_reach_the_terminal_with_their_power(private, tmp_path):
    raysweep.save_model(tmp_path / "m.safetensors", *private)
    card = json.loads((tmp_path / "m.json").read_text())
    card["privacy"]["statement"] = "\x1b]0;owned\x07"
    (tmp_path / "m.json").write_text(json.dumps(card))
    assert "?]0;owned?" in run("load", str(tmp_path / "m.safetensors")).output


def test_a_model_is_not_written_over_anything(private, tmp_path):
    (tmp_path / "m.json").write_text("mine")
    with pytest.raises(StoreError, match="exists, and a saved model is not overwritten"):
        raysweep.save_model(tmp_path / "m.safetensors", *private)
    assert (tmp_path / "m.json").read_text() == "mine"
    with pytest.raises(SpaceError, match=r"saved in a .safetensors file, got 'm.pt'"):
        raysweep.save_model("m.pt", *private)
    with pytest.raises(StoreError, match="is no folder"):
        raysweep.save_model(tmp_path / "no" / "m.safetensors", *private)


def test_the_command_saves_and_refuses_before_it_trains(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fast.yaml").write_text(FAST)

    def call(*args):
        monkeypatch.setattr(sys, "argv", ["raysweep", "trial", "fast.yaml", *args])
        with contextlib.suppress(SystemExit):
            cli.main()
        return capsys.readouterr()

    at = ("--at", "epsilon=8", "--save", "m.safetensors")
    both = call(*at, "--out", "m.json")
    assert "two files are to be written as m.json" in both.err
    assert "Model: m.safetensors" in call(*at, "--secure-noise", "--json").err
    card = json.loads((tmp_path / "m.json").read_text())
    assert card["privacy"]["noise"] == "operating system"
    refused = call(*at)
    assert "m.safetensors exists" in refused.err
    assert refused.out == ""


def run(*arguments):
    from typer.testing import CliRunner

    return CliRunner().invoke(cli.app, [*arguments])


def test_the_command_load_checks_and_describes_a_saved_model(private, tmp_path):
    raysweep.save_model(tmp_path / "m.safetensors", *private)
    found = run("load", str(tmp_path / "m.safetensors"))
    assert found.exit_code == 0
    assert private[1].trial.trial_id in found.output
    assert "one record replaced by nothing" in found.output
    card = json.loads(run("load", str(tmp_path / "m.safetensors"), "--json").output)
    assert 0 < card["privacy"]["tpr_bound_at_fpr_0_01"] < 1


def test_a_foreign_safetensors_file_is_refused_by_its_place(tmp_path):
    from safetensors.torch import save_file

    foreign = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(3)}, foreign)
    with pytest.raises(
        StoreError, match=r"foreign.safetensors: the model or its card foreign.json"
    ):
        raysweep.load_model(foreign)
