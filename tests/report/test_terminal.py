"""The front in a terminal of 80 x 24: whole words and figures, and its best rows on the screen."""

import dataclasses
import io
import re
import sys

import pytest
import yaml
from conftest import SMALL

from raysweep.config.plain_text import say
from raysweep.records.results import load
from raysweep.records.store import Store
from raysweep.records.tables import pack
from raysweep.report import terminal
from raysweep.space.parsing import parse_space
from raysweep.trial.run import run_trial

AXES = """\
search:
  epsilon: {low: 2, high: 16, log: true, or: .inf}
  dropout: {low: 0.0, high: 0.5}
  label_smoothing: {low: 0.0, high: 0.5}
  training.learning_rate: {low: 0.001, high: 0.1}
attacks:
"""

WIDE = SMALL.partition("search:")[0] + AXES + SMALL.partition("attacks:\n")[2]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def shown(monkeypatch):
    """Return the lines that a function prints in a terminal of some columns and 24 lines."""

    def call(function, *args, columns=80, **options):
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("LINES", "24")
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr(sys, "stdout", Terminal())
        function(*args, **options)
        return re.sub(r"\x1b\[\d*m", "", sys.stdout.getvalue()).splitlines()

    return call


@pytest.fixture(scope="module")
def front(tmp_path_factory):
    """Records of 30 trials that all stand on the front, most of them with DP-SGD."""
    space = parse_space(WIDE, "wide.yaml")
    store = Store(str(tmp_path_factory.mktemp("wide")))
    store.folder.write_bytes(yaml.safe_dump(space.to_plain()).encode(), "space.yaml")
    results = [run_trial(space.config(values)) for values in ({}, {"epsilon": 8.0})]
    for number in range(30):
        config = space.config({"dropout": number / 100} | ({"epsilon": 8.0} if number else {}))
        result = results[number > 0]
        ids = {"trial_id": config.trial_id}
        trial = dataclasses.replace(
            result.trial,
            **ids,
            recipe=config.recipe,
            config=config.to_json(),
            number=number,
            defences=config.defences,
            accuracy=0.9 - number / 100,
            attack_auc=0.8 - number / 100,
        )
        attacks = tuple(dataclasses.replace(attack, **ids) for attack in result.attacks)
        epochs = tuple(dataclasses.replace(epoch, **ids) for epoch in result.epochs)
        store.write(pack(dataclasses.replace(result, trial=trial, attacks=attacks, epochs=epochs)))
    return load(store.path)


def test_the_front_fits_a_terminal_and_its_best_row_stays_on_the_screen(front, shown):
    lines = shown(terminal.print_front_of, front, everything=False)
    assert all(len(line.rstrip()) <= 80 or "raysweep front" in line for line in lines)
    assert len(lines) < 24

    heading = next(line for line in lines if line.split()[:1] == ["trial"])
    assert {"trial", "epsilon", "accuracy", "MSE"} <= {*heading.split()}
    rows = lines[lines.index(heading) + 2 :]
    undefended = rows[0].split()
    assert len(undefended[0]) == 8
    assert {"0.900", "inf"} <= {*undefended}
    assert "[" in rows[0]


def test_columns_without_room_are_named(front, shown):
    lines = " ".join(shown(terminal.print_front_of, front, everything=False, columns=75))
    assert "Left out, as 75 columns are too few: label smoothing, learning rate." in lines
    wide = " ".join(shown(terminal.print_front_of, front, everything=False, columns=140))
    assert "Left out" not in wide
    assert "strongest attack" in wide


def test_trials_of_a_scenario_have_its_name_on_the_front(tmp_path, shown):
    text = f"{WIDE}scenarios: {{weak: {{dropout: 0.1}}, strong: {{dropout: 0.5}}}}\n"
    space, store = parse_space(text, "named.yaml"), Store(str(tmp_path))
    store.folder.write_bytes(yaml.safe_dump(space.to_plain()).encode(), "space.yaml")
    for number, name in enumerate([None, "weak", "strong"]):
        config = space.config(space.scenarios[name] if name else {})
        result = run_trial(config)
        trial = dataclasses.replace(
            result.trial,
            number=number,
            scenario=name,
            accuracy=0.9 - number / 100,
            attack_auc=0.8 - number / 100,
        )
        store.write(pack(dataclasses.replace(result, trial=trial)))

    lines = shown(terminal.print_front_of, load(store.path), everything=True, columns=140)
    table = [line.split()[:2] for line in lines]
    assert ["trial", "scenario"] in table
    assert {"-", "weak", "strong"} <= {cells[1] for cells in table if len(cells) > 1}


def test_sentences_break_at_spaces_in_a_terminal_and_stay_whole_elsewhere(shown):
    sentence = "raysweep front --format csv " * 9
    lines = shown(say, sentence.strip())
    assert {line.strip() for line in lines[0].split("raysweep")} >= {"front --format csv"}
    assert all(len(line) <= 80 for line in lines)
    assert " ".join(lines) == sentence.strip()

    elsewhere = io.StringIO()
    say(sentence, elsewhere)
    assert elsewhere.getvalue() == f"{sentence}\n"
