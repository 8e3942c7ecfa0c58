"""Where a sweep is started: files named like modules, full folders, no home, a Ray that is there."""

import pytest
from conftest import SMALL
from driver.sweeps import run

from raysweep.records.results import load

pytestmark = [pytest.mark.timeout(300), pytest.mark.ray]

ONE_EPOCH = SMALL.replace("epochs: 4", "epochs: 1").replace("trials: 5", "trials: 2")

TRAP = "raise SystemExit('a file of the working folder took the place of a library')\n"

OWN = """
from torch import nn

def model(shape, n_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, n_classes))
"""


def test_files_of_the_working_folder_take_no_librarys_place_in_workers(tmp_path):
    text = ONE_EPOCH.replace("{name: mlp, hidden: [32], activation: tanh}", "{name: 'own:model'}")
    text = text.replace("  dropout: {low: 0.0, high: 0.5}\n", "").replace("  inversion", "  #")
    (tmp_path / "small.yaml").write_text(text + "objectives: {accuracy: max, attack_auc: min}\n")
    (tmp_path / "own.py").write_text(OWN)
    for name in ("random", "types", "ray", "raysweep", "torch", "numpy", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text(TRAP)
    code, _, err = run("sweep", "small.yaml", "--out", "out", cwd=tmp_path)
    assert code == 0, err
    assert load(str(tmp_path / "out")).trials["status"].tolist() == ["ok", "ok"]
