"""The live line: its best figures are those of trials that may stand on the front."""

import io

from rich.console import Console

from raysweep.driver.progress import Progress
from raysweep.records.objectives import Objectives


def row(number, **figures):
    usual = {"status": "ok", "collapsed": False, "inversion_converged": True, "n_classes": 10}
    seconds = {"train_seconds": 1.0, "attack_seconds": 1.0}
    return {"trial_id": str(number), "recipe": str(number)} | usual | seconds | figures


def line(rows):
    file = io.StringIO()
    names = ("accuracy", "attack_auc", "inversion_mse")
    known = {str(i): row(i, **figures) for i, figures in enumerate(rows)}
    console = Console(file=file, width=200)
    Progress(console, known, total=3, objectives=Objectives.of(*names)).update(0)
    return file.getvalue()


def test_a_collapsed_trial_has_no_best_figure():
    learnt = {"accuracy": 0.9, "attack_auc": 0.6, "inversion_mse": 0.01}
    collapsed = {"accuracy": 0.1, "attack_auc": 0.5, "inversion_mse": 0.09, "collapsed": True}
    shown = line([learnt, collapsed])
    assert "least attack AUC 0.600 | highest inversion MSE 0.0100 | front 1" in shown
    assert "best accuracy - | least attack AUC - | highest inversion MSE -" in line([collapsed])


def test_before_the_first_trial_there_is_no_best_figure():
    assert "best accuracy - | least attack AUC -" in line([])
