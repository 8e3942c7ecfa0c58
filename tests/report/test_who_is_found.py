"""What the page and the terminal say of classes, subgroups and canaries."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import SMALL

from raysweep.records.columns import SubsetRecord
from raysweep.records.results import load
from raysweep.records.store import Store
from raysweep.records.tables import pack
from raysweep.report import build
from raysweep.report.one_trial import print_trial, trial_json
from raysweep.report.subsets import cells, left_out, sentences
from raysweep.space.parsing import parse_space
from raysweep.trial.run import run_trial

TEXT = SMALL.replace("members: 120", "members: 300").replace("pool: 200", "pool: 360")
TEXT = TEXT.replace("  inversion: {activation_decoder: {decoders: [ridge]}}\n", "")
TEXT = TEXT.replace("[max_posterior, loss]", "[loss, rmia]")
TEXT += "measure: {models: 4, canaries: {mislabelled: 60, duplicated: 20}}\n"


def row(kind, subset, auc=None, gap=None, reach=0.05, **others):
    record = SubsetRecord(trial_id="t", kind=kind, subset=subset, n=50, models=8, attack="rmia")
    intervals = {"auc": auc, "auc_gap": gap}
    ends = {
        f"{name}{end}": None if value is None else value + sign * reach
        for name, value in intervals.items()
        for end, sign in (("", 0), ("_low", -1), ("_high", 1))
    }
    return {**vars(record), **ends, **others}


def test_only_a_subset_whose_interval_is_above_zero_is_called_the_most_exposed():
    rows = [
        row("class", "a", 0.7, 0.10),
        row("class", "b", 0.66, 0.06),
        row("class", "c", 0.6, -0.1),
    ]
    (said,) = sentences(rows)
    assert said == (
        "Most exposed class: a. Its AUC is 0.100 [0.050, 0.150] above that of the other examples "
        "(the interval allows for the choice among 3 classes). Also above: b."
    )


def test_where_no_interval_is_above_zero_nobody_is_named():
    (said,) = sentences([row("subgroup", "a", 0.7, 0.049), row("subgroup", "b", 0.6, -0.049)])
    assert said.startswith("No subgroup is shown to be found more often than the other examples")
    assert "each interval allows for the choice among 2 subgroups" in said


def test_subsets_without_figures_are_neither_counted_nor_named():
    rows = [row("class", "a", 0.7, 0.1), row("class", "b", 0.6, -0.1), row("class", "few")]
    assert "among 2 classes" in next(sentences(rows))
    assert list(sentences([row("class", "few")])) == []


def test_what_any_attacker_finds_of_two_records_is_told_beside_what_he_finds_of_one():
    rows = [
        row("canary", "mislabelled", 0.6, records=1, tpr_bound_at_fpr_0_1=0.2),
        row("canary", "duplicated", 0.6, records=2, tpr_bound_at_fpr_0_1=0.35),
    ]
    (said,) = sentences(rows)
    assert "20.0 % of those that are one record and 35.0 % of those that are 2 records" in said


def test_a_table_lists_the_highest_aucs_and_all_canaries_without_empty_columns():
    rows = [row("class", str(i), 0.5 + i / 100, 0.0) for i in range(9)]
    rows += [row("class", "few"), row("canary", "out_of_distribution", 0.9)]
    headings, lines = cells(rows, 3)
    assert headings == ["of", "examples", "AUC [95 %]"]
    assert [line[0] for line in lines] == [
        *("class 8", "class 7", "class 6"),
        "canary out of distribution",
    ]
    assert lines[0] == ["class 8", "50", "0.580 [0.53, 0.63]"]
    assert (left_out(rows, 3), left_out(rows, 10)) == ("7 classes", "")


def test_names_of_a_stranger_stay_text(folder, tmp_path, capsys):
    path, space, results = folder
    name = "<img src=x>[red]\x1b]0;owned\x07"
    first, *others = results[0].subsets
    hostile = replace(
        results[0],
        subsets=(replace(first, subset=name, kind=name), replace(first, subset=name), *others),
    )
    (tmp_path / "space.yaml").write_text((path / "space.yaml").read_text())
    Store(str(tmp_path)).write(pack(hostile))
    build.write([str(tmp_path)], tmp_path / "report.html")
    assert "class &lt;img src=x&gt;[red]" in (tmp_path / "report.html").read_text()
    print_trial(replace(hostile, subsets=(replace(first, subset=name),)), space.baseline())
    printed = capsys.readouterr().out
    assert "[red]" in printed
    assert "\x1b]0;" not in printed


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the undefended baseline and a trial with dropout, both measured."""
    path = tmp_path_factory.mktemp("measured")
    space = parse_space(TEXT, "small.yaml")
    (path / "space.yaml").write_text(TEXT + "objectives: {accuracy: max, attack_auc: min}\n")
    results = [run_trial(space.baseline()), run_trial(space.config({"dropout": 0.5}))]
    for number, result in enumerate(results):
        Store(str(path)).write(pack(result).with_number(number=number))
    return path, space, results


def test_the_page_has_the_tables_of_the_undefended_and_the_recommended_trial(folder, tmp_path):
    build.write([str(folder[0])], tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    section = text.split('id="found"')[1].split("</section>")[0]
    assert "Who is found" in section
    assert '<th scope="row">canary mislabelled</th>' in section
    assert section.count("class 3") >= 1
    assert "They show the worst that a recipe does" in section


def test_the_page_of_recipes_draws_the_curves_of_one_model_beside_what_epsilon_allows(
    folder, tmp_path
):
    path, space, results = folder
    private = run_trial(space.config({"target_epsilon": 8}))
    first = replace(private, trial=replace(private.trial, accuracy=1.0))
    (tmp_path / "space.yaml").write_text((path / "space.yaml").read_text())
    for number, result in enumerate([results[0], first]):
        Store(str(tmp_path)).write(pack(result).with_number(number=number))
    written = build.write([str(tmp_path)], tmp_path / "report.html", everything=True)
    assert f"{tmp_path}/report-roc.png" in [str(file) for file in written]
    text = (tmp_path / "report.html").read_text()
    assert "Curves are of one model, rates of all of a recipe" in text
    assert "No attacker finds more than" in text


def test_a_trial_prints_its_canaries_and_has_all_subsets_as_json(folder, capsys):
    _, space, results = folder
    print_trial(results[0], space.baseline())
    printed = capsys.readouterr().out
    assert "canary mislabelled" in printed
    assert "7 classes with lower AUCs are in --json." in printed
    assert trial_json(results[0]).count('"kind": "class"') == 10
    aucs = load(str(folder[0])).subsets.query("kind == 'canary'")["auc"]
    assert np.isfinite(aucs).all()
