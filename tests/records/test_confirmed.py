"""What was claimed beside what was confirmed: the same figures, with the right signs."""

import math

import pandas as pd
import pytest
import yaml
from conftest import SMALL
from recorded import record_sweep

import raysweep
from raysweep.attacks.intervals import proportion
from raysweep.config import Measure
from raysweep.errors import StoreError
from raysweep.records.confirmed import (
    FILE,
    beside_baseline,
    compare,
    mean_curses,
    read_confirmed,
    write_confirmed,
)
from raysweep.records.store import Store
from raysweep.report import confirmed as shown
from raysweep.report.build import write
from raysweep.space.confirmation import confirmation_space

TEXT = SMALL.replace("epochs: 4", "epochs: 2").replace("[max_posterior, loss]", "[loss, rmia]")
POINTS = [{"dropout": 0.3}, {"target_epsilon": 4.0, "dropout": 0.1}]


def record_both(path, text):
    """Record a sweep and its confirmation; return both results."""
    folder = record_sweep(path, text, POINTS)
    sweep = raysweep.load(folder)
    configs = dict(zip(sweep.trials["trial_id"], sweep.trials["config"], strict=True))
    measure = Measure(models=4, accuracy_on="test")
    space = confirmation_space(sweep.documents[0], configs, measure, place=folder)
    again = record_sweep(f"{folder}/confirm", yaml.safe_dump(space.to_plain(), sort_keys=False))
    return sweep, raysweep.load(again)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    return record_both(tmp_path_factory.mktemp("one") / "out", TEXT)


@pytest.fixture(scope="module")
def rows(both):
    return write_confirmed(*both)


def test_each_configuration_has_its_own_claim_and_its_own_confirmation(both, rows):
    sweep, again = both
    claims = sweep.trials.set_index("trial_id")
    found = again.trials.set_index("trial_id")
    assert rows["trial_id"].tolist() == sweep.trials["trial_id"].tolist()
    assert rows["is_baseline"].tolist() == [True, False, False]
    assert rows["dropout"].tolist() == claims.loc[rows["trial_id"], "dropout"].tolist()
    for figure in ("accuracy", "attack_auc", "inversion_mse"):
        claimed = claims.loc[rows["trial_id"], figure].tolist()
        assert rows[f"{figure}_claimed"].tolist() == claimed
        confirmed = found.loc[rows["confirmed_trial_id"], figure].tolist()
        assert rows[f"{figure}_confirmed"].tolist() == confirmed
    assert set(found["accuracy_on"]) == {"test"}
    first = rows.iloc[0]
    ends = proportion(round(first["accuracy_claimed"] * 100), 100)
    assert (first["accuracy_claimed_low"], first["accuracy_claimed_high"]) == ends[1:]


def test_a_difference_is_that_to_the_confirmed_baseline_at_a_corrected_level(rows):
    base = rows.iloc[0]
    assert set(rows["level"]) == {1 - 0.05 / 2}
    assert base[["accuracy_difference", "attack_auc_difference"]].isna().all()
    for figure in ("accuracy", "attack_auc", "inversion_mse"):
        for row in rows.iloc[1:].to_dict("records"):
            gap = row[f"{figure}_confirmed"] - base[f"{figure}_confirmed"]
            assert row[f"{figure}_difference"] == pytest.approx(gap, abs=1e-6)
            assert row[f"{figure}_difference_low"] <= gap <= row[f"{figure}_difference_high"]


def test_a_claim_of_one_model_is_compared_with_one_model_by_the_same_attacks(both, rows):
    _, again = both
    alone = again.attacks.query("models == 1 and family == 'membership'")
    strongest = alone.groupby("trial_id")["auc"].max()
    own = strongest.loc[rows["confirmed_trial_id"]].tolist()
    assert rows["attack_auc_again"].tolist() == own != rows["attack_auc_confirmed"].tolist()
    assert rows["accuracy_again"].tolist() == rows["accuracy_confirmed"].tolist()
    assert rows["tpr_at_fpr_0_01_again"].isna().all()  # of too few nonmembers


def test_a_curse_is_above_0_where_the_claim_was_too_good(rows):
    gap = rows["accuracy_claimed"] - rows["accuracy_again"]
    assert rows["accuracy_curse"].tolist() == gap.tolist()  # more accuracy is better
    gap = rows["attack_auc_again"] - rows["attack_auc_claimed"]
    assert rows["attack_auc_curse"].tolist() == gap.tolist()  # less recognition is better
    assert mean_curses(rows)["accuracy"] == pytest.approx(rows["accuracy_curse"][1:].mean())


def test_a_claim_of_many_models_is_compared_with_many(tmp_path):
    text = TEXT.replace("  inversion: {activation_decoder: {decoders: [ridge]}}\n", "")
    rows = compare(*record_both(tmp_path / "out", text + "measure: {models: 4}\n"))
    assert set(rows["claimed_models"]) == {4}
    assert rows["attack_auc_again"].tolist() == rows["attack_auc_confirmed"].tolist()
    assert not any("is no curse" in line for line in shown.sentences(rows))

    fewer = rows.assign(claimed_models=2)
    (line,) = [line for line in shown.sentences(fewer) if "is no curse" in line]
    assert "claimed of 2 models and is confirmed of 4" in line


def test_the_share_on_the_front_is_one_of_resamples(both, rows):
    shares = rows["front_share"].dropna()
    assert ((shares >= 0) & (shares <= 1)).all()
    assert shares.sum() >= 1  # somebody is on the front of each resample
    assert len(shares) == int(both[1].objectives.eligible(both[1].trials).sum())


def test_what_was_written_is_read_again_and_shown_in_a_report(both, rows, tmp_path):
    sweep, _ = both
    read = read_confirmed(sweep.stores[0])
    assert read["accuracy_curse"].tolist() == rows["accuracy_curse"].tolist()
    write([sweep.stores[0].path], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert 'id="confirmed"' in page
    assert (tmp_path / "page-confirmed.png").stat().st_size > 10_000
    for line in shown.sentences(read):
        assert line.split("'")[0] in page


@pytest.mark.parametrize("content", [b"", b"no parquet", None])
def test_a_comparison_that_raysweep_did_not_write_is_refused(tmp_path, content):
    store = Store(str(tmp_path))
    assert read_confirmed(store) is None
    (tmp_path / "confirm").mkdir()
    if content is None:
        pd.DataFrame({"trial_id": [1]}).to_parquet(tmp_path / "confirm" / FILE)
    else:
        (tmp_path / "confirm" / FILE).write_bytes(content)
    with pytest.raises(
        StoreError, match=r"confirmed\.parquet is damaged or raysweep did not write"
    ):
        read_confirmed(store)


@pytest.mark.parametrize(
    ("figure", "low", "high", "expected"),
    [
        ("accuracy", -0.2, -0.1, "worse"),
        ("attack_auc", -0.2, -0.1, "better"),
        ("inversion_mse", 0.1, 0.2, "better"),
        ("accuracy", -0.1, 0.1, ""),
        ("accuracy", 0.0, 0.1, ""),
        ("accuracy", None, None, ""),
    ],
)
def test_a_figure_is_better_or_worse_only_where_the_interval_excludes_0(
    figure, low, high, expected
):
    row = {f"{figure}_difference_low": low, f"{figure}_difference_high": high}
    assert beside_baseline(row, figure) == expected


def test_a_configuration_that_failed_again_has_a_row_and_no_figures(tmp_path, both):
    sweep, again = both
    frame = again.trials
    frame.loc[2, ["status", "accuracy", "attack_auc", "inversion_mse"]] = [
        "failed",
        *[math.nan] * 3,
    ]

    class Failed(raysweep.Results):
        trials = frame

    rows = compare(sweep, Failed(again.stores[0].path))
    assert rows["status"].tolist() == ["ok", "ok", "failed"]
    assert pd.isna(rows["accuracy_confirmed"][2])
    assert pd.isna(rows["accuracy_difference"][2])
    assert shown.cells(rows, ["accuracy"])[2][3] == "failed"
