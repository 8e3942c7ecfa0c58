"""A private choice: rules, what is written, and the epsilon of the whole."""

import json
from dataclasses import replace

import pytest
import torch
import yaml
from typer.testing import CliRunner

import raysweep
from raysweep.cli import app
from raysweep.defences.dpsgd.selection import epsilon_of_choice, epsilon_of_group_choice
from raysweep.driver import private_choice
from raysweep.driver.confirm import confirm
from raysweep.driver.private_choice import RELEASED
from raysweep.errors import SpaceError, StoreError, TrainingDiverged
from raysweep.records.columns import TrialRecord
from raysweep.records.ledger import ledger_of
from raysweep.records.tables import MAPPINGS
from raysweep.space.parsing import parse_space

SGD = {"optimizer": "sgd", "momentum": 0.9}

SPACE = {
    "name": "choice",
    "dataset": {
        "name": "digits",
        "members": 120,
        "nonmembers": 60,
        "pool": 60,
        "validation": 60,
        "test": 60,
    },
    "model": {"name": "softmax"},
    "training": {"epochs": 8, "private": {"batch_size": 60, "learning_rate": 1.0, **SGD}},
    "defences": {"target_epsilon": 20},
    "search": {"max_grad_norm": {"low": 0.5, "high": 2}},
    "sampler": {"name": "random", "trials": {"distribution": "geometric", "mean": 1.5}},
}

ROW_ALONE = {*RELEASED, "number", "attempts", "epsilon", "accountant", "accountant_settings"}


def space_of(**blocks):
    return parse_space(yaml.safe_dump({**SPACE, **blocks}), "choice.yaml")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("choice") / "out"
    raysweep.sweep(space_of(), out=str(path))
    return path


@pytest.mark.parametrize(
    ("blocks", "words"),
    [
        ({"sampler": {"trials": {"mean": 40}}}, "sampler tpe does not draw"),
        ({"sampler": {"name": "random", "seed": 1, "trials": {}}}, "a seed tells"),
        ({"pruning": {"grace_epochs": 1}, "training": {"epochs": 8}}, "pruning looks at other"),
        ({"scenarios": {"one": {"l2": 0.1}}}, "scenarios are not drawn by a law"),
        ({"measure": {"models": 4}}, "`measure` trains other models"),
        ({"attacks": {"membership": ["loss"]}}, "attacks read the members"),
        ({"objectives": {"accuracy": "max", "epsilon": "min"}}, "chosen by one score"),
        ({"constraints": ["accuracy >= 0.5"]}, "the score is the accuracy alone"),
        ({"defences": {}}, "every trial needs DP-SGD"),
        ({"search": {"target_epsilon": {"low": 1, "high": 2}}}, "with an axis target_epsilon"),
        ({"search": {"training.epochs": {"low": 1, "high": 2}}}, "with an axis training.epochs"),
        ({"search": {"early_stopping": {"values": [1, 2]}}}, "with an axis early_stopping"),
        ({"search": {"training.private.batch_size": {"values": [30, 60]}}}, "private.batch_size"),
        ({"search": {"dataset.members": {"values": [100, 120]}}}, "with an axis dataset.members"),
        ({"search": {"seed": {"values": [1, 2]}}}, "with an axis seed"),
        ({"sampler": {"name": "random", "trials": {"mean": 1}}}, "must be greater than 1, got 1"),
        ({"sampler": {"name": "random", "trials": {"distribution": "poisson"}}}, "'geometric' or"),
        ({"sampler": {"name": "random", "trials": {"means": 3}}}, "did you mean 'mean'"),
        ({"sampler": {"name": "random", "trials": 0}}, "must be greater than 0, got 0"),
    ],
)
def test_what_the_bound_does_not_allow_is_refused_by_name(blocks, words, tmp_path):
    if "training" in blocks:
        blocks = {**blocks, "training": {**SPACE["training"], **blocks["training"]}}
    with pytest.raises(SpaceError, match="line") as error:
        space_of(**blocks)
    assert words in str(error.value)

    file = tmp_path / "choice.yaml"
    file.write_text(yaml.safe_dump({**SPACE, **blocks}))
    assert CliRunner().invoke(app, ["validate", str(file)]).exception is not None


def test_the_folder_holds_the_winner_and_nothing_of_those_that_lost(folder):
    results = raysweep.load(str(folder))
    assert sorted(path.name for path in folder.iterdir()) == [
        *("front.parquet", "model.json", "model.safetensors", "space.yaml", "trials")
    ]
    (row,) = results.trials.to_dict("records")
    assert (row["number"], row["status"]) == (1, "ok")
    names = [name for name in TrialRecord.__dataclass_fields__ if name not in MAPPINGS]
    told = {name for name in names if results.trials[name].notna().all()}
    assert {name for name in told if not name.startswith("tpr_bound")} <= ROW_ALONE
    for name in ("train_accuracy", "train_seconds", "started_at", "split_hash", "attack_auc"):
        assert name not in told


def test_every_place_prints_the_epsilon_of_the_whole(folder):
    (row,) = raysweep.load(str(folder)).trials.to_dict("records")
    rule = {name: row[name] for name in ("delta", "sample_rate")} | {"steps": int(row["steps"])}
    law = {"mean": 1.5, "distribution": "geometric"}
    whole = epsilon_of_choice(row["noise_multiplier"], **law, **rule)
    assert row["epsilon"] == whole > 20

    found = ledger_of(raysweep.load(str(folder)), row["trial_id"])
    assert found.to_plain()["promise"]["epsilon"] == whole
    assert found.to_plain()["promise"]["epsilon_of_one_training_by_pld"] < 20.1
    assert f"epsilon {whole:.4g} at delta 1e-05 of the whole choice" in found.summary
    assert "covered. This epsilon is of the whole choice" in found.to_text()
    assert "Validation examples" in found.to_text()
    assert "operating system, and nothing is stored" in found.to_text()

    best = CliRunner().invoke(app, ["best", str(folder)]).output
    assert f"epsilon {whole:.4g}" in best
    assert "To train the configuration again spends more" in best
    module, card = raysweep.load_model(folder / "model.safetensors")
    assert card["privacy"]["epsilon"] == whole
    assert card["data"]["data_hash"] is None
    assert sum(p.numel() for p in module.parameters()) == 650


def test_the_page_and_the_status_of_a_private_choice_can_be_read(folder, tmp_path):
    page = tmp_path / "report.html"
    assert CliRunner().invoke(app, ["report", str(folder), "--out", str(page)]).exit_code == 0
    assert "of the whole choice" in page.read_text()
    assert "1 of 1 trial" in CliRunner().invoke(app, ["status", str(folder)]).output


def test_no_other_release_is_made_from_the_same_folder(folder, tmp_path):
    with pytest.raises(StoreError, match="a second choice would be a second release"):
        raysweep.sweep(space_of(), out=str(folder))
    with pytest.raises(StoreError, match="holds a private choice"):
        confirm(str(folder), models=4)
    with pytest.raises(StoreError, match="a private choice is released alone"):
        raysweep.load(str(folder), str(folder))
    for option in ({"trials": 3}, {"time_budget": 60.0}, {"address": "auto"}):
        with pytest.raises(SpaceError, match="is not for a random number of trials"):
            raysweep.sweep(space_of(), out=str(tmp_path / "other"), **option)
    assert not (tmp_path / "other").exists()


def test_the_noise_of_a_winner_follows_no_seed(tmp_path):
    space = space_of(search={})
    weights = []
    for name in ("one", "two"):
        raysweep.sweep(space, out=str(tmp_path / name))
        module, _ = raysweep.load_model(tmp_path / name / "model.safetensors")
        weights.append(torch.cat([p.flatten() for p in module.parameters()]))
    assert not torch.equal(*weights)


def test_a_choice_of_which_every_training_diverges_releases_nothing(tmp_path):
    training = {**SPACE["training"], "private": {"batch_size": 60, "learning_rate": 1e39}}
    with pytest.raises(TrainingDiverged, match="nothing is released"):
        raysweep.sweep(space_of(training=training), out=str(tmp_path / "out"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == []


OWN = """\
import numpy as np
from torch import nn

def persons():
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 2
    return rng.normal(size=(400, 4)) + labels[:, None], labels, np.arange(400) // 4
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    name = f"own_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def test_a_persons_records_together_have_their_epsilon_through_the_choice(own, tmp_path, capsys):
    sizes = {"members": 100, "nonmembers": 20, "pool": 20, "validation": 30, "test": 20}
    dataset = {"name": f"{own}:persons", **sizes}
    with pytest.raises(SpaceError, match="state `dataset.records_per_group`"):
        raysweep.sweep(space_of(dataset=dataset), out=str(tmp_path / "without"))

    space = space_of(
        dataset={**dataset, "records_per_group": 2},
        defences={"target_epsilon": 1, "accountant": "rdp"},
    )
    out = str(tmp_path / "out")
    raysweep.sweep(space, out=out)
    (row,) = raysweep.load(out).trials.to_dict("records")
    rule = {"delta": 1e-5, "sample_rate": row["sample_rate"], "steps": int(row["steps"])}
    of_two = epsilon_of_group_choice(
        row["noise_multiplier"], records=2, mean=1.5, distribution="geometric", **rule
    )
    assert row["epsilon_per_group"] == of_two > 2 * row["epsilon"]
    text = ledger_of(raysweep.load(out), row["trial_id"]).to_text()
    assert f"epsilon per group: {of_two:.5g}" in text

    told = " ".join(capsys.readouterr().err.split())
    assert f"epsilon {row['epsilon']:.4g} at delta 1e-05: epsilon is for one record; for " in told
    assert f"for one group of at most 2 records epsilon {of_two:.3g}; neighbours: zero_out" in told
    _, card = raysweep.load_model(f"{out}/model.safetensors")
    assert f"2 records epsilon {of_two:.3g}. Noise" in card["privacy"]["statement"]


def test_a_training_over_the_time_limit_counts_and_loses(tmp_path):
    space = space_of(resources={"time_limit": "0.01s"})
    with pytest.raises(TrainingDiverged, match="nothing is released; the last: .*its time limit"):
        raysweep.sweep(space, out=str(tmp_path / "out"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == []
    raysweep.sweep(space_of(resources={"time_limit": "1h"}), out=str(tmp_path / "other"))


def test_a_training_that_fails_counts_and_loses_and_ends_nothing(tmp_path, monkeypatch):
    trained, run = [], private_choice._train

    def fails_at_first(config, loaded, resources):
        limit = {"time_limit": "0.01s"} if not trained else {}
        trained.append(run(config, loaded, replace(resources, **limit)))
        return trained[-1]

    monkeypatch.setattr(private_choice, "_train", fails_at_first)
    monkeypatch.setattr("raysweep.defences.dpsgd.selection.draw_number", lambda *_: 2)
    raysweep.sweep(space_of(), out=str(tmp_path / "out"))
    assert [isinstance(one, str) for one in trained] == [True, False]


def test_the_space_says_what_it_will_do_and_its_plain_values_are_it(tmp_path):
    space = space_of()
    again = parse_space(json.dumps(space.to_plain()), "again.yaml")
    assert again.to_plain() == space.to_plain()
    file = tmp_path / "choice.yaml"
    file.write_text(yaml.safe_dump(SPACE))
    said = CliRunner().invoke(app, ["validate", str(file)]).output
    assert "one winner, chosen privately from a random number of trials" in said
