"""Material and figures -> one HTML page that needs nothing else. Every value is escaped."""

from __future__ import annotations

import base64
import datetime
import importlib.metadata
from collections.abc import Mapping
from itertools import compress
from typing import Any

import numpy as np

from raysweep.records.results import records
from raysweep.report import findings
from raysweep.report.findings import Row
from raysweep.report.html import Html, element, joined, table
from raysweep.report.selection import Material, sample

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1c2430; max-width: 72rem; margin: 0 auto;
  padding: 1rem; }
h1 { margin: .2em 0; } h2 { margin: 2em 0 .4em; border-bottom: 2px solid #dfe4ec; }
.lead { font-size: 1.15rem; } .note { color: #56607a; font-size: .9rem; }
.cards, .figures { display: grid; gap: 1rem; }
.cards { grid-template-columns: repeat(auto-fit, minmax(12.4rem, 1fr)); }
.figures { grid-template-columns: repeat(auto-fit, minmax(min(19rem, 100%), 1fr)); }
.card { border: 1px solid #cdd5e1; border-top: 5px solid #1b3a6b; border-radius: 6px;
  padding: .6rem .9rem; background: #f7f9fc; }
.card.undefended { border-top-color: crimson; }
.card h3 { margin: 0; font-size: 1rem; } .card .big { font-size: 1.7rem; font-weight: 700; }
.card dl { font-size: .8rem; }
.card dl, .swept { display: grid; grid-template-columns: auto 1fr; gap: .1rem .6rem; margin: 0; }
dt { color: #56607a; white-space: nowrap; } dd { margin: 0; overflow-wrap: anywhere; }
figure { margin: 0; break-inside: avoid; } img { max-width: 100%; height: auto; display: block; }
.figures img { margin: 0 auto; max-height: 42rem; width: min(100%, 36rem); object-fit: contain; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .88rem; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #dfe4ec;
  white-space: nowrap; } th { background: #eef2f8; }
.warnings { border-left: 5px solid #d9822b; background: #fff8ef; padding: .5rem 1.5rem;
  overflow-wrap: anywhere; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #f2f4f8; padding: .6rem;
  font-size: .82rem; margin: .2rem 0 .4rem; }
@media print { body { max-width: none; font-size: 11px; padding: 0; } table { font-size: 9px; }
  .wide { overflow: visible; } th, td { padding: .1rem .25rem; white-space: normal; } }
"""

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(material: Material, pngs: Mapping[str, bytes]) -> str:
    """Return the page; ``pngs`` are its figures by name."""
    name = ", ".join(str(document.get("name")) for document in material.results.documents)
    sections = (
        element("h1", f"raysweep: {name}"),
        element("p", findings.brief(material.results, material.trials), class_="note"),
        element("p", _verdict(material), class_="lead"),
        element("div", *(_card(*pick) for pick in material.picks.items()), class_="cards"),
        _warnings(material),
        _front(material, pngs),
        _section(
            "What each setting did",
            _pictures(pngs, "defence-"),
            "Every point is a trial; the line joins medians. The other settings vary at the same "
            "time: a trend here is a hint, not an effect.",
        ),
        _section(
            "What inversion rebuilds",
            _pictures(pngs, "layers"),
            "Error of members rebuilt from what each layer shows. It means something only beside "
            "its floors: an error above the mean image's is a decoder that failed, not privacy.",
        ),
        _section(
            "Whose face is seen",
            _recognised(material),
            "The share of rebuilt classes that an independent eye names, which has never seen the "
            "model; and the share of real images that it names.",
        ),
        _section(
            "How well members are recognised",
            _pictures(pngs, "roc"),
            "The strongest attack of each trial. The left edge is what matters to one person: "
            "members found while hardly anybody is accused wrongly.",
        ),
        _section("What is promised", *(element("p", told) for told in _promises(material))),
        _again(material),
        _swept(material),
        element("p", _made(material), class_="note"),
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
    n, k = len(material.trials), len(material.front)
    told = [f"{k:,} of {n:,} trials are on the front: no other beats them in all objectives."]
    rows = list(material.picks.items())
    base = next((row for name, row in rows if "undefended" in name), None)
    least = next((row for name, row in rows if "least recognised" in name), None)
    if base and least and base is not least and base["attack_auc"] is not None:
        gives = 100 * (base["accuracy"] - least["accuracy"])
        price = f"For {gives:.1f} points of accuracy" if gives > 0 else "At no cost in accuracy"
        told.append(
            f"Undefended, the model is {base['accuracy']:.1%} accurate and the strongest attack "
            f"recognises members with an AUC of {base['attack_auc']:.3f} (0.5 is a guess)."
        )
        if least["attack_auc"] < base["attack_auc"]:
            told.append(f"{price} that becomes {least['attack_auc']:.3f}.")
    return " ".join(told)


def _card(name: str, row: Row) -> Html:
    lines = {
        "attack AUC": _auc(row),
        "inversion MSE": _rebuilt(row),
        "epsilon": _epsilon(row),
        "trial": str(row["trial_id"])[:8],
    }
    told = (
        joined(element("dt", key), element("dd", value)) for key, value in lines.items() if value
    )
    return element(
        "div",
        element("h3", name),
        element("div", f"{row['accuracy']:.1%}", class_="big"),
        element("div", f"accuracy {_accuracy(row)}", class_="note"),
        element("dl", *(pair for pair in told)),
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


def _rebuilt(row: Row) -> str:
    if row["inversion_mse"] is None or row["inversion_floor"] is None:
        return ""
    return f"{row['inversion_mse']:.4f} (floor {row['inversion_floor']:.4f})"


def _epsilon(row: Row) -> str:
    asked, spent = row["target_epsilon"], row["epsilon"]
    if spent is None or np.isinf(spent):
        return "no DP"
    told = f"{spent:.3g} spent"
    return told if asked is None or np.isinf(asked) else f"{told}, {asked:.3g} asked"


def _section(heading: str, *content: Html | str) -> Html:
    """Return a section; one whose first part is empty is left out."""
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


def _recognised(material: Material) -> Html:
    rows = findings.recognised(material.results, material.picks)
    headings = ["trial", "attack", "rebuilt classes recognised [95 %]", "real ones"]
    return table(headings, rows) if rows else Html("")


def _warnings(material: Material) -> Html:
    told = findings.warnings(material.trials, material.front, material.objectives)
    if not told:
        return Html("")
    items = element("ul", *(element("li", line[:MOST_LETTERS]) for line in told))
    return element("div", element("h2", "Before you trust this"), items, class_="warnings")


MOST_LETTERS = 400


def _front(material: Material, pngs: Mapping[str, bytes]) -> Html:
    if material.front.empty:
        return Html("")
    drawn, fit = len(sample(material)), material.objectives.eligible(material.trials).sum()
    volume = material.objectives.hypervolume(material.trials)
    told = (
        "Accuracy is on validation data, with its exact 95 % interval. The attack AUC is that of "
        "the strongest attack, its interval corrected for having picked it. "
        f"Hypervolume {volume:.4f}. "
    )
    if material.front["inversion_mse"].notna().any():
        told += "MSE is of rebuilt members, floor that of the mean image, which sees no model. "
    if drawn < fit:
        told += f"The figures show {drawn:,} of {fit:,} trials: the front and a sample. "
    if len(material.shown) < len(material.front):
        told += f"The table has {len(material.shown)} of {len(material.front):,}, spread over it."
    pictures = _pictures(pngs, "front-")
    return _section("The front", joined(pictures, _front_table(material)), told)


def _front_table(material: Material) -> Html:
    axes = [axis for axis in material.settings if axis not in ("epsilon", "scenario")]
    values = {axis: findings.axis_values(_configs(material), axis) for axis in axes}
    headings = ["", "accuracy [95 %]", "attack AUC", "attack", "MSE", "floor"]
    headings += ["epsilon spent", "asked", "scenario", *axes, "trial"]
    rows: list[list[str]] = []
    for i, row in enumerate(records(material.shown)):
        cells = [str(i + 1), _cell(row["accuracy"], ".3f") + f" {_accuracy(row)}", _auc(row)]
        cells += [_cell(row[name]) for name in PLAIN_COLUMNS]
        rows.append([*cells, *(_cell(values[axis][i]) for axis in axes), str(row["trial_id"])[:8]])
    told = [any(cells[i] != UNKNOWN for cells in rows) for i in range(len(headings))]
    return table(list(compress(headings, told)), [list(compress(cells, told)) for cells in rows])


UNKNOWN = "-"

PLAIN_COLUMNS = (
    *("strongest_attack", "inversion_mse", "inversion_floor"),
    *("epsilon", "target_epsilon", "scenario"),
)


def _configs(material: Material) -> list[str]:
    return [str(text) for text in material.shown["config"].fillna("")]


def _cell(value: Any, form: str = ".3g") -> str:
    if value is None or value != value:
        return UNKNOWN
    if isinstance(value, str):
        return value
    return "none" if np.isinf(value) else format(value, form)


def _promises(material: Material) -> list[str]:
    return findings.privacy(material.front, len(material.trials)) if len(material.front) else []


def _again(material: Material) -> Html:
    """Return the command of every configuration in the table."""
    ids = set(material.shown["trial_id"])
    homes: dict[str, tuple[str, dict[str, Any]]] = {}
    for store, document in zip(material.results.stores, material.results.documents, strict=True):
        for trial_id in store.read("trials", ["number"], ids)["trial_id"]:
            homes.setdefault(trial_id, (store.path, document))
    rows = zip(material.shown["trial_id"], _configs(material), strict=True)
    commands = (
        element("li", element("pre", findings.again(*homes[trial_id], config)))
        for trial_id, config in rows
    )
    own = [name for document in material.results.documents for name in findings.foreign(document)]
    told = "Numbers are those of the table. The same seed gives the same figures. "
    if own:
        told += f"These call {', '.join(dict.fromkeys(own))}: read that code before you run it."
    return _section(
        "How to run a configuration again", element("ol", *commands) if ids else "", told
    )


def _swept(material: Material) -> Html:
    lines = findings.swept(material.results, material.trials)
    lines += [("folder", store.path) for store in material.results.stores]
    told = (joined(element("dt", key), element("dd", text)) for key, text in lines if text)
    return _section("What was swept", element("dl", *told, class_="swept"))


def _made(material: Material) -> str:
    version = importlib.metadata.version("raysweep")
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"Made by raysweep {version}, {now}, from {len(material.trials):,} records."
