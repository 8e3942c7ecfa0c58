"""The report: its content, and that text from a stranger's folder stays text."""

import dataclasses
import html.parser
import shlex
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import SMALL

from raysweep import cli
from raysweep.config.yaml import parse_pairs
from raysweep.errors import StoreError
from raysweep.records.conditions import parse_conditions
from raysweep.records.results import load
from raysweep.records.store import Store
from raysweep.records.tables import pack
from raysweep.report import build, charts, descriptions, figures, findings, selection, terminal
from raysweep.report.html import Html, element
from raysweep.space.parsing import load_space, parse_space
from raysweep.trial.run import run_trial

NASTY = "<script>alert(1)</script><img src=x onerror=alert(2)>\" onload='a' $\\frac{ & \u202e"


class Page(html.parser.HTMLParser):
    """A parsed page: its tags, its text and what it loads; every tag that opens must close."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.loads, self.attributes, self.open, self.text = [], [], [], [], ""
        self.links, self.ids, self.alts = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        self.loads += [
            value for name, value in attrs if name in ("src", "href") and value[0] != "#"
        ]
        self.links += [value[1:] for name, value in attrs if name == "href"]
        self.ids += [value for name, value in attrs if name == "id"]
        self.alts += [value for name, value in attrs if name == "alt"]
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def real():
    """Three real trials of a small space."""
    space = parse_space(SMALL, "small.yaml")
    points = ({}, {"dropout": 0.3}, {"epsilon": 8.0})
    results = [run_trial(space.config(values)) for values in points]
    return space, [change(result, number=number) for number, result in enumerate(results)]


def write_folder(real, path, results, **changes):
    """Write a results folder of some trials and a changed space; return its path."""
    store = Store(str(path))
    document = yaml.safe_load(yaml.safe_dump(real[0].to_plain())) | changes
    store.folder.write_bytes(yaml.safe_dump(document).encode(), "space.yaml")
    for result in results:
        store.write(pack(result))
    return store.path


@pytest.fixture
def folder(real, tmp_path):
    return lambda results, out="out", **changes: write_folder(
        real, tmp_path / out, results, **changes
    )


@pytest.fixture(scope="module")
def calm(real, tmp_path_factory):
    """The report on the real trials, the names of its pictures, and their folder."""
    path = tmp_path_factory.mktemp("calm")
    return *make_report(path, write_folder(real, path / "out", real[1])), path


def change(result, trial_id="", **columns):
    new_id = {"trial_id": trial_id} if trial_id else {}
    recipe = {"recipe": trial_id} if trial_id else {}
    trial = dataclasses.replace(result.trial, **columns, **new_id, **recipe)
    attacks = [dataclasses.replace(attack, **new_id) for attack in result.attacks]
    return dataclasses.replace(result, trial=trial, attacks=tuple(attacks))


def make_report(tmp_path, *folders, **options):
    page, *pictures = map(Path, build.write(folders, tmp_path / "report.html", **options))
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)
    return Page(page.read_text()), [path.name for path in pictures]


def test_the_page_has_the_results_and_the_privacy_promise(real, calm):
    page, pictures, path = calm
    for expected in (
        *("3 ok, 0 failed, 0 pruned", "undefended", "most accurate", "digits", "100 validation"),
        *("What is promised", "(epsilon, delta)-differentially private", "delta 1e-05"),
        *("At a glance", "cannot be told apart", "picks the member"),
        *("not covered by any of them", "python", "opacus", "max_posterior"),
        f"raysweep trial {path}/out/space.yaml",
    ):
        assert expected in page.text, expected
    assert {"report-roc.png", "report-layers.png", "report-defence-0.png"} <= set(pictures)
    assert page.tags.count("img") == len(pictures) == 3 + 2 + 2
    record = real[1][2].trial
    assert f"{record.epsilon:.3g}" in page.text
    assert f"{100 * record.accuracy:.1f} % [" in page.text


def test_the_page_loads_nothing(calm):
    page = calm[0]
    assert all(load.startswith("data:image/png;base64,") for load in page.loads)
    assert not {"script", "link", "iframe"} & {*page.tags}


def test_text_from_a_stranger_is_escaped_everywhere(real, folder, calm, tmp_path):
    results = [
        change(
            result,
            scenario=f"{NASTY}{i}",
            strongest_attack=NASTY,
            node=NASTY,
            device=NASTY,
            versions=f'["{NASTY}',
            accountant=NASTY,
            config=NASTY,
        )
        for i, result in enumerate(real[1])
    ]
    failed = change(real[1][0], "f" * 16, status="failed", error=NASTY, number=9)
    search = {"epsilon": {"low": 2}, NASTY: {"values": [NASTY]}}
    hostile = folder([*results, failed], out=NASTY.replace("/", ""), name=NASTY, search=search)
    page, _ = make_report(tmp_path, hostile)
    assert {*page.tags} <= {*calm[0].tags, "ul"}
    assert {*page.attributes} == {*calm[0].attributes}
    assert all(load.startswith("data:image/png;base64,") for load in page.loads)
    assert NASTY.replace("\u202e", "?") in page.text
    assert "\u202e" not in page.text


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"objectives": {"accuracy": "max"}}, "What is promised"),
        ({"search": {}}, "undefended"),
        ({"search": {}, "scenarios": {"a": {"dropout": [0.3]}, "b": 3}}, "dropout"),
    ],
)
def test_spaces_of_other_shapes_have_a_report(real, folder, tmp_path, changes, expected):
    page, _ = make_report(tmp_path, folder(real[1], **changes))
    assert expected in page.text


def test_a_sweep_without_inversion_has_no_section_on_it(real, folder, tmp_path):
    bare = [
        dataclasses.replace(
            change(result, inversion_mse=None, inversion_floor=None, inversion_converged=None),
            attacks=result.attacks[:2],
        )
        for result in real[1]
    ]
    objectives = {"accuracy": "max", "attack_auc": "min"}
    page, pictures = make_report(tmp_path, folder(bare, objectives=objectives))
    assert "What inversion rebuilds" not in page.text
    assert "report-layers.png" not in pictures


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"status": "failed", "error": "ValueError: oh"}, "3 trials failed: ValueError: oh"),
        ({"status": "pruned", "stopped_epoch": 2}, "3 trials ended at a rung: pruned"),
        ({"collapsed": True}, "3 trials collapsed"),
        ({"inversion_converged": False}, "3 trials had an inversion that did not converge"),
    ],
)
def test_a_report_with_an_empty_front_gives_the_reasons(real, folder, tmp_path, columns, expected):
    page, _ = make_report(tmp_path, folder([change(result, **columns) for result in real[1]]))
    assert expected in page.text
    assert "No trial stands on the front" in page.text


def test_missing_values_are_left_out(real, folder, tmp_path):
    names = ("accuracy", "attack_auc", "attack_auc_low", "n_validation", "inversion_mse")
    bare = [change(result, **dict.fromkeys(names)) for result in real[1]]
    page, _ = make_report(tmp_path, folder(bare, objectives={"epsilon": "min"}))
    assert "1 of 3 trials is on the front" in page.text
    assert "nan" not in page.text.lower().replace("finan", "")


def test_a_single_trial_has_a_report(real, folder, tmp_path):
    page, _ = make_report(tmp_path, folder(real[1][:1]))
    assert "1 of 1 trial is on the front" in page.text
    assert "1 of the 1 configuration on the front was trained without DP-SGD" in page.text


def test_a_folder_without_trials_has_a_report(folder, tmp_path):
    page, pictures = make_report(tmp_path, folder([]))
    assert "No trial stands on the front: none has ended." in page.text
    assert pictures == []


def test_conditions_choose_what_is_shown_and_hide_no_warning(real, folder, tmp_path):
    plain, dropout, private = real[1]
    results = folder([plain, dropout, change(private, collapsed=True)])
    page, _ = make_report(tmp_path, results, where=["train_accuracy >= 0", "epsilon == inf"])
    assert "Only trials with train_accuracy >= 0 and epsilon == inf are shown: 2 of 3" in page.text
    assert " of 2 trials " in page.text
    assert private.trial.trial_id[:8] not in page.text
    assert "The only trial with DP-SGD collapsed" in page.text
    assert "Choosing among 3 trials" in page.text


def test_all_puts_collapsed_models_on_the_page(real, folder, tmp_path, capsys):
    results = folder([change(real[1][0], collapsed=True)])
    page, _ = make_report(tmp_path, results)
    assert "No trial stands on the front: all failed" in page.text
    page, pictures = make_report(tmp_path, results, everything=True)
    assert "Collapsed models and attacks that did not converge may stand on the front" in page.text
    assert "1 of 1 trial is on the front" in page.text
    assert "report-front-accuracy-attack_auc.png" in pictures

    marked = f"{real[1][0].trial.attack_auc:.3f} collapsed"  # in place of an interval
    assert marked in page.text.partition("attack AUC [95 %]")[2]
    terminal.print_front_of(load(results), everything=True)
    assert marked in capsys.readouterr().out


def test_conditions_that_no_trial_meets_are_named(real, folder, tmp_path, capsys):
    results = folder(real[1])
    page, pictures = make_report(tmp_path, results, where=["accuracy > 1.25"])
    assert "No trial stands on the front: none meets accuracy > 1.25." in page.text
    assert pictures == []
    where = parse_conditions(["accuracy > 1.25"])
    terminal.print_front_of(load(results), everything=False, where=where)
    assert "No trial stands on the front: none meets accuracy > 1.25." in capsys.readouterr().out


def test_several_folders_share_one_front(real, folder, tmp_path):
    folders = folder(real[1][:2], "one"), folder(real[1][2:], "two")
    page, _ = make_report(tmp_path, *folders)
    assert "3 ok" in page.text
    assert f"raysweep trial {folders[0]}/space.yaml" in page.text
    assert f"raysweep trial {folders[1]}/space.yaml --at target_epsilon=8.0" in page.text


def test_joined_sweeps_say_in_what_they_differ(real, folder, tmp_path):
    """Two sweeps, of 32 and of 16 hidden units, each with its own undefended trial."""
    narrow = parse_space(SMALL.replace("[32]", "[16]"), "b")
    other = [
        dataclasses.replace(
            change(result, config.trial_id),
            trial=dataclasses.replace(
                result.trial,
                trial_id=config.trial_id,
                recipe=config.recipe,
                config=config.to_json(),
                accuracy=0.7,
            ),
        )
        for result, config in zip(
            real[1], [narrow.config(), narrow.config({"dropout": 0.3})], strict=False
        )
    ]
    model = narrow.to_plain()["model"]
    folders = folder(real[1], "one"), folder(other, "two", model=model)
    results = load(*folders)
    assert results.differing == ["model.hidden"]

    page, _ = make_report(tmp_path, *folders)
    for expected in ("undefended (model.hidden [32])", "undefended (model.hidden [16])"):
        assert expected in page.text
    assert "model.hidden" in page.text.partition("attack AUC [95 %]")[2]


def test_joined_sweeps_say_in_the_terminal_in_what_they_differ(real, folder, capsys):
    narrow = parse_space(SMALL.replace("[32]", "[16]"), "b")
    config = narrow.config({"dropout": 0.3})
    record = dataclasses.replace(
        change(real[1][1], config.trial_id, config=config.to_json(), accuracy=0.99).trial
    )
    other = dataclasses.replace(change(real[1][1], config.trial_id), trial=record)
    folders = folder(real[1], "one"), folder([other], "two", model=narrow.to_plain()["model"])
    terminal.print_front_of(load(*folders), everything=False)
    shown = capsys.readouterr().out
    assert "hidden" in shown
    assert "[16]" in shown


def test_the_terminal_says_that_all_trials_with_dp_collapsed(real, folder, capsys):
    plain, _, private = real[1]
    results = load(folder([plain, change(private, collapsed=True)]))
    terminal.print_front_of(results, everything=False)
    assert "warning: The only trial with DP-SGD collapsed" in capsys.readouterr().out
    build.write([results.stores[0].path], results.stores[0].path + "/report.html")
    page = Page(Path(results.stores[0].path, "report.html").read_text())
    assert "The only trial with DP-SGD collapsed" in page.text
    assert "training.private" in page.text


def test_links_lead_somewhere_and_figures_are_described(calm):
    page, pictures, _ = calm
    assert {*page.links} <= {*page.ids}
    assert {"glance", "front", "words", "row-1", "run-1"} <= {*page.links}
    assert len({*page.ids}) == len(page.ids)
    assert len(page.alts) == len(pictures)
    assert any("Undefended: accuracy 0." in alt for alt in page.alts)
    assert any("medians by dropout" in alt.lower() for alt in page.alts)
    assert any("A guess finds 10 %" in alt for alt in page.alts)
    assert any("Without a model: mean input" in alt for alt in page.alts)


def test_the_printed_command_gives_the_same_configuration(real, folder):
    for result in real[1]:
        path = folder([result], result.trial.trial_id)
        document = load(path).documents[0]
        expected = shlex.split(findings.command(path, document, result.trial.config))
        assert expected[:3] == ["raysweep", "trial", f"{path}/space.yaml"]
        values = parse_pairs(expected[4::2], "--at")
        assert load_space(expected[2]).config(values).trial_id == result.trial.trial_id


def test_a_command_from_a_stranger_is_quoted_for_the_shell():
    config = '{"defences": {"a; rm -rf x": "$(id)"}}'
    expected = findings.command("x; id", {"search": {"a; rm -rf x": {}}}, config)
    assert shlex.split(expected) == [
        *("raysweep", "trial", "x; id/space.yaml", "--at", "a; rm -rf x=$(id)")
    ]


def test_a_long_sweep_is_shown_by_its_front_and_a_sample(real, folder, tmp_path):
    store = Store(folder(real[1][:1]))
    rng = np.random.default_rng(0)
    rows = pd.concat([load(store.path).trials] * 3000, ignore_index=True)
    rows["trial_id"], rows["number"] = [f"{i:016x}" for i in range(3000)], np.arange(3000)
    rows["recipe"] = rows["trial_id"]
    x = rng.random(3000)  # a shell: many points that nobody beats
    rows["accuracy"], rows["attack_auc"] = x, 0.5 + 0.4 * x**2 + 1e-3 * rng.random(3000)
    store.write_table(_arrow(rows), "trials", "merged-000001")
    page, _ = make_report(tmp_path, store.path)
    drawn = selection.sample(selection.gather(load(store.path)))
    front = load(store.path).front()
    assert len(drawn) <= selection.MOST_DRAWN + len(front) + 1
    assert set(front["trial_id"]) <= set(drawn["trial_id"])
    assert f"The figures show {len(drawn):,} of 3,001 trials" in page.text
    assert f"The table has {selection.MOST_ROWS} of {len(front):,}" in page.text
    assert sum(name.startswith("row-") for name in page.ids) == selection.MOST_ROWS


def _arrow(rows):
    import pyarrow as pa

    from raysweep.records.tables import SCHEMAS

    return pa.Table.from_pandas(rows, schema=SCHEMAS["trials"], preserve_index=False)


def test_an_unwritable_page_gives_one_error_message(real, folder, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    command = ["report", folder(real[1][:1]), "--out", str(tmp_path / "file" / "report.html")]
    monkeypatch.setattr(sys, "argv", ["raysweep", *command])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "give another --out" in capsys.readouterr().err


def test_a_folder_without_a_sweep_is_refused(tmp_path):
    with pytest.raises(StoreError, match="is not a results folder"):
        build.write([str(tmp_path)], tmp_path / "report.html")


def test_text_is_escaped_and_markup_is_not():
    assert element("p", "<b>", Html("<b>"), class_='a"b') == '<p class="a&quot;b">&lt;b&gt;<b></p>'


@pytest.mark.parametrize(
    "values",
    [[0.0, 1e-4, 1e-2], [2.0, 8.0, np.inf], [np.inf] * 3, ["a", "$b$", "c"], [1.0, 1.0, 1.0]],
)
def test_an_axis_of_any_kind_is_drawn(values):
    drawn = pd.DataFrame(
        {
            "x": values,
            "accuracy": [0.1, 0.2, 0.3],
            "on_front": [True, False, True],
            "epsilon": [np.inf, np.inf, 2.0],
        }
    )
    figure = charts.by_setting(drawn, "x", ["accuracy"])
    assert "accuracy 0." in descriptions.setting(drawn, "x", ["accuracy"])
    points = figure.axes[0].collections
    assert sum(len(p.get_offsets()) for p in points) == 3
    assert figures.png(figure).startswith(b"\x89PNG")
