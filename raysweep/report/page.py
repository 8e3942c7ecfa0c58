"""Write the report's HTML page, which needs no other file. Every value is escaped."""

from __future__ import annotations

import base64
import datetime
import importlib.metadata
from collections.abc import Mapping
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from raysweep.records.results import records
from raysweep.report import findings
from raysweep.report.findings import Row
from raysweep.report.html import Html, element, join, table
from raysweep.report.selection import Material, sample

STYLE = (Path(__file__).parent / "report.css").read_text(encoding="utf-8")

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(material: Material, pngs: Mapping[str, bytes]) -> str:
    """Return the page as HTML; ``pngs`` maps the names of its figures to their bytes."""
    name = ", ".join(str(document.get("name")) for document in material.results.documents)
    promises = findings.privacy(material.front, len(material.trials))
    sections = (
        element("h1", f"raysweep: {name}"),
        element("p", findings.summary_line(material.results, material.trials), class_="note"),
        element("p", _verdict(material), class_="lead"),
        element("div", *(_card(*pick) for pick in material.picks.items()), class_="cards"),
        _warnings(material),
        _front(material, pngs),
        _section(
            "What each setting did",
            _pictures(pngs, "defence-"),
            "Every point is a trial; the line joins medians. The other settings vary at the same "
            "time, so a trend here is a hint and not proof of an effect.",
        ),
        _section(
            "What inversion reconstructs",
            _pictures(pngs, "layers"),
            "The error of members reconstructed from the output of each layer. Compare it with "
            "its floors: an error above that of the mean image means that the decoder failed, not "
            "that the model is private.",
        ),
        _section(
            "Which faces are recognised",
            _recognition(material),
            "The share of reconstructed classes that an independent face recogniser identifies, "
            "and the share of real images that it identifies. It was trained without the model.",
        ),
        _section(
            "How well members are recognised",
            _pictures(pngs, "roc"),
            "The strongest attack of each trial. The left edge matters most to a single person: "
            "members are found there while hardly anybody is accused wrongly.",
        ),
        _section("What is promised", *(element("p", sentence) for sentence in promises)),
        _commands(material),
        _facts(material),
        element("p", _signature(material), class_="note"),
    )

    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", f"raysweep: {name}"),
        element("style", Html(STYLE)),
    )
    return "<!doctype html>" + element("html", head, element("body", *sections), lang="en")


def _verdict(material: Material) -> str:
    """Return the first paragraph: the size of the front, and the accuracy that privacy costs."""
    n, k = len(material.trials), len(material.front)
    sentences = [f"{k:,} of {n:,} trials are on the front: no other beats them in all objectives."]

    rows = list(material.picks.items())
    base = next((row for name, row in rows if "undefended" in name), None)
    least = next((row for name, row in rows if "least recognised" in name), None)
    if base and least and base is not least and base["attack_auc"] is not None:
        gives = 100 * (base["accuracy"] - least["accuracy"])
        price = f"For {gives:.1f} points of accuracy" if gives > 0 else "At no cost in accuracy"
        sentences.append(
            f"Undefended, the model is {base['accuracy']:.1%} accurate and the strongest attack "
            f"recognises members with an AUC of {base['attack_auc']:.3f} (0.5 is a guess)."
        )
        if least["attack_auc"] < base["attack_auc"]:
            sentences.append(f"{price} that becomes {least['attack_auc']:.3f}.")
    return " ".join(sentences)


def _card(name: str, row: Row) -> Html:
    lines = {
        "attack AUC": _auc(row),
        "inversion MSE": _inversion(row),
        "epsilon": _epsilon(row),
        "trial": str(row["trial_id"])[:8],
    }
    pairs = (
        join(element("dt", key), element("dd", value)) for key, value in lines.items() if value
    )

    return element(
        "div",
        element("h3", name),
        element("div", f"{row['accuracy']:.1%}", class_="big"),
        element("div", f"accuracy {_accuracy(row)}", class_="note"),
        element("dl", *pairs),
        class_="card undefended" if "undefended" in name else "card",
    )


def _accuracy(row: Row) -> str:
    interval = findings.accuracy_interval(row)
    return "" if interval is None else f"[{interval.low:.3f}, {interval.high:.3f}]"


def _auc(row: Row) -> str:
    if row["attack_auc"] is None:
        return ""
    if row["attack_auc_low"] is None:
        return f"{row['attack_auc']:.3f}"
    return f"{row['attack_auc']:.3f} [{row['attack_auc_low']:.2f}, {row['attack_auc_high']:.2f}]"


def _inversion(row: Row) -> str:
    if row["inversion_mse"] is None or row["inversion_floor"] is None:
        return ""
    return f"{row['inversion_mse']:.4f} (floor {row['inversion_floor']:.4f})"


def _epsilon(row: Row) -> str:
    asked, spent = row["target_epsilon"], row["epsilon"]
    if spent is None or np.isinf(spent):
        return "no DP"
    if asked is None or np.isinf(asked):
        return f"{spent:.3g} spent"
    return f"{spent:.3g} spent, {asked:.3g} asked"


def _section(heading: str, *content: Html | str) -> Html:
    """Return a section, or nothing if its first part is empty."""
    if not content or not content[0]:
        return Html("")
    parts = (c if isinstance(c, Html) else element("p", c, class_="note") for c in content)
    return element("section", element("h2", heading), *parts)


def _pictures(pngs: Mapping[str, bytes], prefix: str) -> Html:
    shown = {name: png for name, png in pngs.items() if name.startswith(prefix)}
    if not shown:
        return Html("")
    images = (
        element(
            "figure",
            element("img", src=f"data:image/png;base64,{base64.b64encode(png).decode()}", alt=name),
        )
        for name, png in shown.items()
    )
    return element("div", *images, class_="figures")


def _recognition(material: Material) -> Html:
    rows = findings.recognition_rows(material.results, material.picks)
    headings = [
        "trial",
        "attack",
        "reconstructed classes recognised [95 %]",
        "real images recognised",
    ]
    return table(headings, rows) if rows else Html("")


def _warnings(material: Material) -> Html:
    lines = findings.warnings(material.trials, material.front, material.objectives)
    if not lines:
        return Html("")
    items = element("ul", *(element("li", line[:MOST_LETTERS]) for line in lines))
    return element("div", element("h2", "Before you trust this"), items, class_="warnings")


MOST_LETTERS = 400


def _front(material: Material, pngs: Mapping[str, bytes]) -> Html:
    if material.front.empty:
        return Html("")

    n_drawn = len(sample(material))
    n_eligible = material.objectives.eligible(material.trials).sum()
    volume = material.objectives.hypervolume(material.trials)
    note = (
        "Accuracy is on validation data, with its exact 95 % interval. The attack AUC is that of "
        "the strongest attack, with an interval that is corrected for choosing it. "
        f"Hypervolume {volume:.4f}. "
    )
    if material.front["inversion_mse"].notna().any():
        note += "MSE is that of reconstructed members. The floor is that of the mean image, which "
        note += "needs no model. "
    if n_drawn < n_eligible:
        note += f"The figures show {n_drawn:,} of {n_eligible:,} trials: the front and a sample. "
    if len(material.shown) < len(material.front):
        note += f"The table has {len(material.shown)} of {len(material.front):,}, spread over it."

    pictures = _pictures(pngs, "front-")
    return _section("The front", join(pictures, _front_table(material)), note)


def _front_table(material: Material) -> Html:
    """Return the table of the front, without columns that have no value."""
    keys = [key for key in material.settings if key not in ("epsilon", "scenario")]
    values = {key: findings.axis_values(material.shown["config"].tolist(), key) for key in keys}
    headings = ["", "accuracy [95 %]", "attack AUC", "attack", "MSE", "floor"]
    headings += ["epsilon spent", "asked", "scenario", *keys, "trial"]

    rows: list[list[str]] = []
    for i, row in enumerate(records(material.shown)):
        cells = [str(i + 1), _cell(row["accuracy"], ".3f") + f" {_accuracy(row)}", _auc(row)]
        cells += [_cell(row[name]) for name in PLAIN_COLUMNS]
        rows.append([*cells, *(_cell(values[key][i]) for key in keys), str(row["trial_id"])[:8]])

    has_value = [any(cells[i] != MISSING for cells in rows) for i in range(len(headings))]
    shown_rows = [list(compress(cells, has_value)) for cells in rows]
    return table(list(compress(headings, has_value)), shown_rows)


MISSING = "-"

PLAIN_COLUMNS = (
    "strongest_attack",
    "inversion_mse",
    "inversion_floor",
    "epsilon",
    "target_epsilon",
    "scenario",
)


def _cell(value: Any, form: str = ".3g") -> str:
    if pd.isna(value):
        return MISSING
    if isinstance(value, str):
        return value
    return "none" if np.isinf(value) else format(value, form)


def _commands(material: Material) -> Html:
    """Return the commands that run the configurations of the table again."""
    ids = set(material.shown["trial_id"])
    homes: dict[str, tuple[str, dict[str, Any]]] = {}
    for store, document in zip(material.results.stores, material.results.documents, strict=True):
        for trial_id in store.read("trials", ["number"], ids)["trial_id"]:
            homes.setdefault(trial_id, (store.path, document))

    shown = material.shown[["trial_id", "config"]].itertuples(index=False)
    commands = (
        element("li", element("pre", findings.command(*homes[trial_id], config)))
        for trial_id, config in shown
    )

    note = "Numbers are those of the table. The same seed gives the same results. "
    functions = [
        name
        for document in material.results.documents
        for name in findings.user_functions(document)
    ]
    if functions:
        names = ", ".join(dict.fromkeys(functions))
        note += f"These call {names}: read that code before you run it."
    return _section(
        "How to run a configuration again", element("ol", *commands) if ids else "", note
    )


def _facts(material: Material) -> Html:
    """Return the section on the sweep itself: data, model, attacks, hardware, versions."""
    lines = findings.sweep_facts(material.results, material.trials)
    lines += [("folder", store.path) for store in material.results.stores]
    pairs = (join(element("dt", key), element("dd", text)) for key, text in lines if text)
    return _section("What was swept", element("dl", *pairs, class_="swept"))


def _signature(material: Material) -> str:
    version = importlib.metadata.version("raysweep")
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"Made by raysweep {version}, {now}, from {len(material.trials):,} records."
