"""Write the report's HTML page, which needs no other file. Every value is escaped."""

from __future__ import annotations

import base64
import datetime
import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np

from raysweep.config.plain_text import counted
from raysweep.records.accuracy import judged_split
from raysweep.records.results import records
from raysweep.report import cautions, comparison, findings
from raysweep.report.charts import colours
from raysweep.report.confirmed_section import section
from raysweep.report.descriptions import GLOSSARY
from raysweep.report.findings import Row
from raysweep.report.html import Html, element, join, table
from raysweep.report.ledger_section import ledger_section
from raysweep.report.promises import promises
from raysweep.report.selection import Material, sample, statements
from raysweep.report.subsets_section import subsets_section

STYLE = (Path(__file__).parent / "report.css").read_text(encoding="utf-8")

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

MISSING = "-"

MOST_LETTERS = 500  # of a warning


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure: its name, its bytes, and what it shows in words."""

    name: str
    png: bytes
    alt: str


def page(material: Material, pictures: Sequence[Picture]) -> str:
    """Return the page as HTML."""
    name = ", ".join(str(document.get("name")) for document in material.results.documents)
    sections = [
        ("glance", "At a glance", _glance(material)),
        ("warnings", "Before you trust this", _warnings(material)),
        ("front", "The front", _front(material, pictures)),
        ("confirmed", "What was confirmed", section(material, _figures(pictures, "confirmed"))),
        ("settings", "What each setting did", _settings(pictures)),
        ("inversion", "What inversion rebuilds", _inversions(pictures)),
        ("faces", "Which faces are recognised", _recognition(material)),
        ("members", "How well members are recognised", _members(material, pictures)),
        ("found", "Who is found", subsets_section(material)),
        ("promise", "What is promised", _promises(material)),
        ("ledger", "The ledger", ledger_section(material)),
        ("commands", "How to run a configuration again", _commands(material)),
        ("words", "Words", element("dl", *map(_pair, GLOSSARY.items()))),
        ("sweep", "What was swept", _facts(material)),
    ]
    shown = [section for section in sections if section[2]]

    body = (
        element("a", "To the results", href="#glance", class_="skip"),
        element(
            "header",
            element("h1", f"raysweep: {name}"),
            _note(findings.summary_line(material.results, material.trials)),
            *map(_note, statements(material)),
        ),
        _contents([(key, heading) for key, heading, _ in shown]),
        element("main", *(_section(*section) for section in shown)),
        element("footer", element("p", _signature(material), class_="note")),
    )
    return "<!doctype html>" + element("html", _head(name), element("body", *body), lang="en")


def _head(name: str) -> Html:
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"raysweep: {name}"),
        element("style", Html(STYLE)),
    )


def _contents(headings: Sequence[tuple[str, str]]) -> Html:
    links = (element("li", element("a", text, href=f"#{key}")) for key, text in headings)
    return element("nav", element("ul", *links), aria_label="Contents")


def _section(key: str, heading: str, content: Html) -> Html:
    """Return a section; its heading and what follows first stay on one page when printed."""
    return element("section", element("h2", heading), content, id=key)


def _note(text: str) -> Html:
    return element("p", text, class_="note")


def _pair(pair: tuple[str, object]) -> Html:
    return join(element("dt", pair[0]), element("dd", pair[1]))


def _glance(material: Material) -> Html:
    """Return the sentences for a reader in haste, and a card for each named trial."""
    sentences = comparison.verdict(len(material.selected), material.stand, material.picks)
    cards = (
        _card(material, name, row, colour)
        for (name, row), colour in zip(
            material.picks.items(), colours(material.picks).values(), strict=True
        )
    )
    points = f"{100 * findings.NEAR:.0f} points"
    return join(
        element("ul", *(element("li", sentence) for sentence in sentences), class_="lead"),
        element("div", *cards, class_="cards"),
        _note(
            "Hardest to rebuild: among the configurations on the front that are at most "
            f"{points} less accurate than the most accurate one. Brackets hold 95 % intervals; "
            "that of the AUC allows for the choice of the strongest attack. None but those of the "
            "first sentence allows for the choice among trials, whose figures are the best of many "
            "on the same examples: on fresh data expect a little less of each."
        )
        if len(material.front)
        else "",
    )


def _card(material: Material, name: str, row: Row, colour: str) -> Html:
    config = material.configs.get(row["trial_id"], "")
    differing = {key: findings.axis_values([config], key)[0] for key in material.results.differing}
    lines = {
        "accuracy": comparison.accuracy_text(row),
        "attack AUC": comparison.auc_text(row),
        "without a leak": comparison.null_text(row),
        "inversion MSE": comparison.inversion_beside_floors(row),
        "epsilon": comparison.epsilon_text(row),
        **{key: value for key, value in differing.items() if value is not None},
        "trial": _link_to_row(material, row),
    }
    return element(
        "div",
        element("h3", name),
        element("p", findings.percent(row["accuracy"]), class_="big", aria_hidden="true"),
        element("dl", *(_pair(pair) for pair in lines.items() if pair[1])),
        class_="card",
        style=f"--colour: {colour}",
    )


def _link_to_row(material: Material, row: Row) -> Html | str:
    """Return the short id of a trial, with a link to its row if the table of the front has it."""
    short = str(row["trial_id"])[:8]
    numbers = list(material.shown["trial_id"])
    if row["trial_id"] not in numbers:
        return short
    return element("a", short, href=f"#row-{1 + numbers.index(row['trial_id'])}")


def _figures(pictures: Sequence[Picture], prefix: str) -> Html:
    shown = [picture for picture in pictures if picture.name.startswith(prefix)]
    if not shown:
        return Html("")
    return element("div", *map(_figure, shown), class_="figures")


def _figure(picture: Picture) -> Html:
    source = f"data:image/png;base64,{base64.b64encode(picture.png).decode()}"
    return element("figure", element("img", src=source, alt=picture.alt))


def _settings(pictures: Sequence[Picture]) -> Html:
    figures = _figures(pictures, "defence-")
    note = (
        "Every point is a trial. Lines join medians, of trials with and without DP-SGD each for "
        "itself, and none is drawn of fewer than 5 trials. The other settings vary at the same "
        "time, so a trend here is a hint and not proof of an effect."
    )
    return join(figures, _note(note)) if figures else figures


def _inversions(pictures: Sequence[Picture]) -> Html:
    figures = _figures(pictures, "layers")
    note = (
        "The error of members that were rebuilt from the output of each layer: the less, the "
        "better they were. It says what a layer tells about any input, members or not. An error "
        "above that of the mean input means that the decoder failed, not that the model is private."
    )
    return join(figures, _note(note)) if figures else figures


def _recognition(material: Material) -> Html:
    rows = findings.recognition_rows(material.results, material.picks)
    if not rows:
        return Html("")
    headings = ["trial", "attack", "rebuilt classes recognised [95 %]", "real images recognised"]
    note = (
        "The share of rebuilt classes that an independent face recogniser identifies, and the "
        "share of real images that it identifies. It was trained without the model."
    )
    return join(table("Which faces are recognised", headings, rows), _note(note))


def _members(material: Material, pictures: Sequence[Picture]) -> Html:
    """Return the ROC curves, and the true-positive rates as numbers."""
    rows = findings.rate_rows(material.results, material.picks)
    figures = _figures(pictures, "roc")
    if not rows and not figures:
        return Html("")
    headings = ["trial", "strongest attack", *findings.RATES.values()]
    note = (
        "Members found, while so many strangers are called members. Towards the left end of the "
        "figure hardly any stranger is: there, one person is harmed most. The bands hold the true "
        "rate of each point 95 times in 100. Curves are of one model, rates of all of a recipe. A "
        "rate is missing where fewer than ten strangers would be called members: 10 % needs 100 "
        "nonmembers, 1 % needs 1,000, and 0.1 % needs 10,000."
    )
    return join(figures, table("Members found", headings, rows) if rows else Html(""), _note(note))


def _warnings(material: Material) -> Html:
    lines = cautions.warnings(material.trials, material.objectives, everything=material.everything)
    if material.front.empty:
        lines.append(cautions.empty_front(material.selected, material.where))
    elif "inversion_mse" in material.objectives.names:
        lines += filter(None, [cautions.inversion_does_not_separate(material.front)])
    if not lines:
        return Html("")
    items = (element("li", line[:MOST_LETTERS]) for line in lines)
    return element("ul", *items, class_="warnings")


def _front(material: Material, pictures: Sequence[Picture]) -> Html:
    if material.front.empty:
        return Html("")

    n_drawn = len(sample(material))
    n_eligible = int(material.eligible.sum())
    note = (
        f"Accuracy is on {judged_split(material.front)} data. The attack AUC is that of the "
        "strongest attack. Brackets hold 95 % intervals, which are bars in the figures. "
    )
    if material.front["inversion_mse"].notna().any():
        note += (
            "MSE is that of members rebuilt from predictions, nonmembers that of as many "
            "strangers, and mean input that of a guess without the model. It says "
            "what predictions tell about any input: what lies between nonmembers and members is "
            "what training added. "
        )
    if "seeds" in material.front:
        note += "Figures are means over the seeds of each configuration. "
    if n_drawn < n_eligible:
        note += f"The figures show {n_drawn:,} of {n_eligible:,} trials: the front and a sample. "
    if len(material.shown) < len(material.front):
        note += f"The table has {len(material.shown)} of {len(material.front):,}, spread over it."
    return join(_figures(pictures, "front-"), _front_table(material), _note(note))


def _front_table(material: Material) -> Html:
    """Return the table of the front, without columns that have no value."""
    keys = [key for key in material.settings if key not in ("target_epsilon", "scenario")]
    values = {key: findings.axis_values(material.shown["config"].tolist(), key) for key in keys}
    headings = ["no.", "accuracy [95 %]", "attack AUC [95 %]", "MSE [95 %]"]
    headings += ["attack", "nonmembers", "mean input", "epsilon spent", "asked", "scenario"]
    headings += [*keys, "trial"]

    rows: list[list[object]] = []
    for i, row in enumerate(records(material.shown)):
        number = element("a", i + 1, href=f"#run-{i + 1}", id=f"row-{i + 1}")
        figures = (comparison.accuracy_text, comparison.auc_text, comparison.inversion_text)
        cells = [number, *(text(row) or MISSING for text in figures)]
        cells += [_cell(row[name]) for name in PLAIN_COLUMNS]
        rows.append([*cells, *(_cell(values[key][i]) for key in keys), str(row["trial_id"])[:8]])

    has_value = [any(cells[i] not in (MISSING, "") for cells in rows) for i in range(len(headings))]
    shown_rows = [list(compress(cells, has_value)) for cells in rows]
    return table("The front", list(compress(headings, has_value)), shown_rows)


PLAIN_COLUMNS = (
    "strongest_attack",
    "inversion_mse_nonmembers",
    "inversion_floor",
    "epsilon",
    "target_epsilon",
    "scenario",
)


def _cell(value: Any, form: str = ".3g") -> str:
    if value is None or value != value:  # NaN
        return MISSING
    if isinstance(value, str):
        return value
    return "none" if np.isinf(value) else format(value, form)


def _promises(material: Material) -> Html:
    if material.front.empty:
        return Html("")
    sentences = promises(material.front, len(material.trials))
    return join(*(element("p", sentence) for sentence in sentences))


def _commands(material: Material) -> Html:
    """Return the commands that run the configurations of the table again."""
    ids = set(material.shown["trial_id"])
    if not ids:
        return Html("")
    homes: dict[str, tuple[str, dict[str, Any]]] = {}
    for store, document in zip(material.results.stores, material.results.documents, strict=True):
        for trial_id in store.read("trials", ["number"], ids)["trial_id"]:
            homes.setdefault(trial_id, (store.path, document))

    shown = material.shown[["trial_id", "config"]].itertuples(index=False)
    commands = (
        element("li", element("pre", findings.command(*homes[trial_id], config)), id=f"run-{i}")
        for i, (trial_id, config) in enumerate(shown, start=1)
    )
    note = "Numbers are those of the table. Run them in the folder in which the sweep was started. "
    note += "The same seed gives the same results. "
    documents = material.results.documents
    functions = [name for document in documents for name in findings.user_functions(document)]
    if functions:
        names = ", ".join(dict.fromkeys(functions))
        note += f"These call {names}: read that code before you run it."
    return join(_note(note), element("ol", *commands))


def _facts(material: Material) -> Html:
    """Return the facts of the sweep itself: data, model, attacks, hardware, versions."""
    lines = findings.sweep_facts(material.results, material.trials)
    lines += [("folder", store.path) for store in material.results.stores]
    return element("dl", *(_pair(line) for line in lines if line[1]), class_="swept")


def _signature(material: Material) -> str:
    version = importlib.metadata.version("raysweep")
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"Made by raysweep {version}, {now}, from {counted(len(material.trials), 'record')}."
