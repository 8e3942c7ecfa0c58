"""The analysis scripts, on the records of real trials."""

import importlib
import json
import math
import re
import runpy
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import SMALL

import raysweep
from raysweep.records.compaction import FIRST
from raysweep.records.store import Store
from raysweep.records.tables import pack
from raysweep.space.parsing import parse_space
from raysweep.trial.run import run_trial


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("analysis")
    space = parse_space(SMALL, "small.yaml")
    store = Store(str(folder / "out"))
    store.folder.write_bytes(yaml.safe_dump(space.to_plain()).encode(), "space.yaml")
    for number, values in enumerate(({}, {"dropout": 0.3}, {"epsilon": 8.0})):
        store.write(pack(run_trial(space.config(values))).with_number(number=number))
    return folder


@pytest.fixture
def run_script(monkeypatch, capsys):
    """Run a script in this process; return its exit code, output and errors."""

    def run(path, *args):
        monkeypatch.setattr(sys, "argv", [path, *map(str, args)])
        monkeypatch.syspath_prepend(str(Path(path).parent))
        try:
            runpy.run_path(path, run_name="__main__")
            code = 0
        except SystemExit as end:
            code = end.code or 0
            if isinstance(code, str):  # as Python does
                sys.stderr.write(code)
                code = 1
        return code, *capsys.readouterr()

    return run


@pytest.mark.parametrize(
    ("script", "files"),
    [
        ("pareto_front", ["front.png", "front.csv"]),
        ("best_configurations", ["best.png", "best.csv"]),
    ],
)
def test_a_script_writes_a_figure_and_a_table_of_the_swept_axes(results, script, files, tmp_path):
    command = [sys.executable, f"analysis/{script}.py", results / "out", "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Figure:" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(files)
    table = pd.read_csv(tmp_path / files[1])
    assert len(table) >= 1
    assert {"target_epsilon", "dropout"} <= set(table.columns)
    assert "l2" not in table.columns  # it was not swept


PAPERS = """\
name: papers
dataset: {name: digits, members: 120, nonmembers: 60, pool: 200, reference: 60, validation: 100, test: 0}
model: {name: thesis_cnn, widths: [4, 4, 4], dense: 16}
training: {epochs: 2, batch_size: 60, learning_rate: 1e-2}
defences: {adversary_batches: 4}
scenarios:
  baseline: {}
  dropout: {dropout: [0.2, 0.5]}
  dp: {noise_multiplier: 1}
  defended: {adversarial_regularisation: 1, reference_size: 30}
search: {seed: {values: [0, 1]}}
attacks:
  membership: {max_posterior: {}, loss: {}, supervised: {}, inference_model: {steps: 5}}
  inversion: {activation_decoder: {decoders: [ridge]}, mi_face: {steps: 5}}
objectives: {accuracy: max}
sampler: {name: grid, trials: 10}
"""


@pytest.fixture(scope="module")
def papers(tmp_path_factory):
    """The records of a small grid of named scenarios, two seeds each."""
    folder = tmp_path_factory.mktemp("papers")
    space = parse_space(PAPERS, "papers.yaml")
    store = Store(str(folder / "out"))
    store.folder.write_bytes(yaml.safe_dump(space.to_plain()).encode(), "space.yaml")
    for number, (scenario, values) in enumerate(space.scenario_points()):
        packed = pack(run_trial(space.config(values)))
        store.write(packed.with_number(number=number, scenario=scenario))
    return folder


@pytest.mark.parametrize(
    ("script", "title"),
    [
        ("adversarial_regularisation_table_4", "Table 4, %: ours | published | difference"),
        ("adversarial_regularisation_table_6", "Table 6, %: ours | published | difference"),
        ("adversarial_regularisation_table_7", "Table 7, %: ours | published | difference"),
    ],
)
def test_a_papers_script_prints_its_tables_from_any_records(
    papers, script, title, tmp_path, run_script
):
    code, printed, _ = run_script(f"analysis/papers/{script}.py", papers / "out", "--out", tmp_path)
    assert code == 0
    assert "2 seeds" in printed
    assert "Figure:" in printed
    assert title in printed
    suffixes = {path.suffix for path in tmp_path.iterdir()}
    assert suffixes == {".csv", ".png"}


@pytest.mark.parametrize(
    "script", sorted(Path("analysis/papers").glob("*_*.py")), ids=lambda path: path.stem
)
def test_a_papers_script_runs_from_the_committed_records(script, tmp_path, run_script):
    _, printed, _ = run_script(str(script), "--out", tmp_path)
    written = {path.name for path in tmp_path.iterdir()}
    absent = re.findall(r"not run: raysweep sweep search_spaces/papers/(\w+)\.yaml", printed)
    assert all(Path("search_spaces/papers", f"{name}.yaml").exists() for name in absent)
    if not written:  # nothing is committed
        assert absent
        assert not any(Path("analysis/results", name).exists() for name in absent)
        return
    assert "Ours: " in printed
    assert "published" in printed
    assert {f"{script.stem}.csv", f"{script.stem}.png"} <= written


def test_a_claim_holds_fails_or_is_undecided_by_its_whole_interval(monkeypatch):
    monkeypatch.syspath_prepend("analysis/papers")
    verdict = importlib.import_module("thesis_claims").verdict
    assert [verdict(*at, "rises") for at in ((1, 3), (-3, -1), (-1, 3))] == [
        "holds",
        "fails",
        "undecided",
    ]
    assert [verdict(*at, "stays") for at in ((-4, 4), (6, 9), (-9, 4))] == [
        "holds",
        "fails",
        "undecided",
    ]
    assert verdict(-9, 4, "does not rise") == "holds"
    assert verdict(float("nan"), float("nan"), "falls") == "undecided"


def test_a_column_of_tables_3_to_5_has_the_most_private_setting_within_its_limit(monkeypatch):
    monkeypatch.syspath_prepend("analysis/papers")
    published = importlib.import_module("regularisers")
    means = pd.DataFrame(
        {
            "scenario": "dropout",
            "setting": [0.1, 0.5, 0.9],
            "change_accuracy": [1.0, -4.0, -10.0],
            f"change_{published.YEOM}": [-10.0, -50.0, -90.0],
        }
    )
    settings = {
        limit: published.best_settings(means, limit)["setting"].item() for limit in published.LIMITS
    }
    assert settings == {"Max": 0.1, "RAD < 5 %": 0.5, "RAD < 15 %": 0.9}


def test_a_gap_that_the_attack_does_not_explain_lies_above_the_line_of_its_seed(monkeypatch):
    monkeypatch.syspath_prepend("analysis/papers")
    hidden = importlib.import_module("regularisers_hidden")
    yeom, gap = hidden.published.YEOM, hidden.published.GAP
    table = pd.DataFrame(
        {
            "scenario": ["dropout", "dropout", "weight_decay", "distillation"] * 3,
            "seed": np.repeat([0, 1, 2], 4),
            yeom: [0.0, 10, 20, 10] * 3,
            gap: [
                0.0,
                20,
                40,
                60,
                5,
                25,
                45,
                65,
                1,
                20,
                40,
                62,
            ],  # twice Yeom's, plus 40 for distillation
        }
    ).assign(dataset="fashion_mnist", model="vgg4")
    means = hidden.mechanism_means(hidden.add_beyond(table)).set_index("scenario")
    assert means[hidden.BEYOND]["distillation"] == pytest.approx(40, abs=1)
    assert means["verdict"].to_dict() == {
        "dropout": "fails",  # the line of the others is higher there
        "weight_decay": "smaller",
        "distillation": "holds",
    }
    assert hidden.rank_correlations(table)["correlation"].item() == pytest.approx(0.63, abs=0.01)
    weaker = table.assign(
        **{f"change_{yeom}": [-1.0, 1, 1, -1] * 3, "dropout": [0.1, 0.2, 0, 0] * 3}
    )
    assert set(hidden.select_lowering(weaker)["scenario"]) == {"dropout", "distillation"}
    assert len(hidden.select_lowering(weaker)) == 6


@pytest.fixture
def face_inversion(monkeypatch):
    """The functions of the scripts of Gianitsos' paper, by their names."""
    monkeypatch.syspath_prepend("analysis/papers")
    return lambda name: runpy.run_path(f"analysis/papers/face_inversion_{name}.py")


def test_the_published_epsilons_follow_from_the_papers_accountant(face_inversion):
    script = face_inversion("epsilons")
    for sigma, epsilon in script["PUBLISHED"].items():
        assert script["recomputed"](sigma) == pytest.approx(epsilon, rel=0.015)


@pytest.mark.parametrize(
    ("recognised", "between"),
    [
        ([2.5, 5.0, 40.0, 9.0, 100.0], (2.0, 3.0)),  # again below a tenth, but not for good
        ([20.0, 30.0, 40.0, 90.0, 100.0], (0.0, 1.0)),
        ([1.0, 1.0, 1.0, 1.0, 1.0], (5.0, math.inf)),
    ],
)
def test_faces_are_gone_from_the_epsilon_below_which_recognition_stays_low(
    face_inversion, recognised, between
):
    script = face_inversion("figure_4")
    means = pd.DataFrame({"epsilon": [1.0, 2, 3, 4, 5], "recognition_rate_mi_face": recognised})
    assert script["threshold"](means) == between


def test_a_published_accuracy_is_compared_at_an_epsilon_near_its_own(face_inversion):
    published_at = face_inversion("figure_2")["published_at"]
    asked = (math.inf, 28.0, 3.9, 1.6)
    assert [published_at(epsilon) for epsilon in asked] == [98.65, 96.8, 96.3, None]


def test_a_papers_script_names_a_folder_without_results(tmp_path, run_script):
    script = "analysis/papers/face_inversion_epsilons.py"
    code, _, err = run_script(script, tmp_path, "--out", tmp_path)
    assert code == 2
    assert "no space.yaml" in err


def test_the_committed_records_are_small():
    size = sum(path.stat().st_size for path in Path("analysis/results").rglob("*.parquet"))
    assert 0 < size < 8e6


def test_a_kept_store_has_the_finished_trials_and_a_few_images(papers, tmp_path, run_script):
    run_script("analysis/keep.py", papers / "out", tmp_path / "kept", "--images", 2)
    whole, kept = (raysweep.load(str(path)) for path in (papers / "out", tmp_path / "kept"))
    same = ["trial_id", "seed", "scenario", "accuracy", "attack_auc", "config"]
    pd.testing.assert_frame_equal(kept.trials[same], whole.trials[same])
    pd.testing.assert_frame_equal(kept.attacks, whole.attacks)
    pd.testing.assert_frame_equal(kept.epochs, whole.epochs)
    assert (len(whole.scores) > 0, len(kept.scores)) == (True, 0)
    faces = kept.reconstructions.query("attack == 'mi_face'")
    first = kept.trials.query("seed == 0")["trial_id"]
    assert faces.groupby("trial_id").size().to_dict() == dict.fromkeys(first, 2)
    pairs = whole.reconstructions.merge(faces, on=["trial_id", "attack", "layer", "example"])
    assert abs(np.stack(pairs["image_x"]) - np.stack(pairs["image_y"])).max() <= 0.5 / 255 + 1e-6
    assert {path.name for path in (tmp_path / "kept" / "trials").iterdir()} == {FIRST + ".parquet"}


def test_the_dashboard_shows_the_study(results):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    raysweep = str(Path(sys.executable).parent / "raysweep")
    command = [raysweep, "dashboard", str(results / "out"), "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            time.sleep(0.3)
            assert server.poll() is None
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/studies") as answer:
                    studies = json.load(answer)
                break
            except OSError:
                continue
        assert [study["study_name"] for study in studies["study_summaries"]] == ["small"]
    finally:
        server.terminate()
        server.wait()


def test_a_trial_gives_the_same_figures_when_it_runs_again(results):
    space = parse_space(SMALL, "small.yaml")
    first, again = (run_trial(space.config({"epsilon": 4.0})) for _ in range(2))
    assert first.trial.accuracy == again.trial.accuracy
    assert first.trial.attack_auc == again.trial.attack_auc
    assert first.trial.inversion_mse == again.trial.inversion_mse
    assert first.trial.epsilon == again.trial.epsilon


def test_a_configuration_is_best_by_an_objective_of_its_sweep(results, tmp_path, run_script):
    script = "analysis/best_configurations.py"
    code, _, err = run_script(script, results / "out", "--out", tmp_path, "--by", "l2")
    assert code == 1
    assert "l2 is no objective of this sweep: accuracy, attack_auc, inversion_mse" in err
