"""Write the report on a results folder: one HTML page, and its figures as PNG files.

    records -> selected trials -> figures -> page

The page is for a person who has to choose a model. The folder may come from a stranger, so every
value is escaped and the page forbids the browser to load anything.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from raysweep.attacks import metrics
from raysweep.errors import SpaceError, StoreError
from raysweep.records.folder import Folder
from raysweep.records.guarantee import neighbours_of
from raysweep.records.ledger_parts import mechanism_of
from raysweep.records.objectives import Objectives
from raysweep.records.results import load
from raysweep.report import charts, confirmed, descriptions, figures, findings
from raysweep.report.output import write_files
from raysweep.report.page import Picture, page
from raysweep.report.selection import Material, gather, sample, setting_values

T = TypeVar("T")

Curve = tuple[Any, Any]
"""False-positive rates and true-positive rates."""

MOST_NAMES = 12  # values with names that fit on the axis of a figure


def write(
    folders: Sequence[str], out: str | Path, *, where: Sequence[str] = (), everything: bool = False
) -> list[str]:
    """Write the report on the sweeps in ``folders`` and its figures; return their paths.

    ``out`` is the page, on any path that fsspec supports, or a folder to write `report.html` in.
    The page shows the trials that meet every condition of ``where``, and with ``everything`` also
    collapsed models and attacks that did not converge.

    Raises:
        SpaceError: ``out`` names neither an HTML page nor a folder, or a text in ``where`` is no
            condition.
        StoreError: a folder is not a results folder, or ``out`` cannot be written.

    """
    parent, name = place_of_page(str(out))
    folder = Folder(parent)
    results = load(*folders)
    conditions = results.conditions(where)
    material = gather(results, where=conditions, everything=everything)
    pictures = list(draw(material))

    stem = name.rpartition(".")[0]
    files = {name: page(material, pictures).encode()}
    files |= {f"{stem}-{picture.name}.png": picture.png for picture in pictures}
    write_files(folder, files, f"the report cannot be written to {out}")
    return [file if parent == "." else f"{parent}/{file}" for file in files]


def place_of_page(out: str) -> tuple[str, str]:
    """Return the folder and the name of the page that ``--out`` means.

    >>> place_of_page("a/b.html"), place_of_page("a/"), place_of_page("s3://bucket/x.html")
    (('a', 'b.html'), ('a', 'report.html'), ('s3://bucket', 'x.html'))

    Raises:
        SpaceError: it names neither an HTML page nor a folder.

    """
    head, slash, name = out.rpartition("/")
    if name in ("", ".", "..") or os.path.isdir(out):
        head, slash, name = out.rstrip("/"), "/", "report.html"
    is_page = name.endswith((".html", ".htm")) and not head.endswith(":/")
    if not out or not is_page:
        raise SpaceError(
            "--out must name an HTML page or a folder that exists",
            got=out,
            remedy=f"write --out {out.rstrip('/') or '.'}/report.html",
        )
    return (head or ("/." if slash else ".")), name


def draw(material: Material) -> Iterator[Picture]:
    """Yield each figure that has records to show."""
    drawn, objectives = sample(material), material.objectives
    if drawn.empty:
        return

    for x, y in itertools.combinations(objectives.names, 2):
        figure = figures.pareto_front(
            drawn, drawn[drawn["on_front"]], Objectives.of(x, y), title=""
        )
        alt = descriptions.front(drawn, x, y)
        yield Picture(name=f"front-{x}-{y}", png=figures.png(figure), alt=alt)

    yield from _draw_confirmed(material)
    yield from _draw_settings(material, drawn)
    yield from _draw_curves(material)
    yield from _draw_layers(material)


def _draw_confirmed(material: Material) -> Iterator[Picture]:
    """Yield the figure of what was claimed and what was confirmed, if it was."""
    rows = material.confirmed
    if rows is not None and (rows["status"] == "ok").any():
        names = confirmed.shown_figures(rows, material.objectives)
        figure = confirmed.figure(rows, names)
        alt = confirmed.description(rows, names)
        yield Picture(name="confirmed", png=figures.png(figure), alt=alt)


def _draw_settings(material: Material, drawn: pd.DataFrame) -> Iterator[Picture]:
    """Yield a figure of each setting that varied."""
    names = list(material.objectives.names)
    for number, (key, values) in enumerate(setting_values(material, drawn)):
        shown = drawn.assign(**{key: values})[values.notna()]
        n_values = shown[key].nunique()
        is_numeric = pd.api.types.is_numeric_dtype(shown[key])
        if n_values > 1 and (n_values <= MOST_NAMES or is_numeric):
            is_log = findings.is_logarithmic(material.results.documents[0], key)
            figure = charts.by_setting(shown, key, names, is_log=is_log)
            alt = descriptions.setting(shown, key, names)
            yield Picture(name=f"defence-{number}", png=figures.png(figure), alt=alt)


def _draw_curves(material: Material) -> Iterator[Picture]:
    """Yield the ROC curves of the strongest attacks on the trials that the page names.

    Scores are those of the trial's own model, also where a recipe is measured on several.
    """
    scores = material.results.of("scores", material.picked)
    colours, curves, bands, floor = charts.colours(material.picks), {}, {}, 1.0
    bounds: dict[str, Curve] = {}
    for name, row in material.picks.items():
        attack_scores = scores[
            (scores["trial_id"] == row["trial_id"])
            & (scores["attack"] == row["strongest_attack"])
            & np.isfinite(scores["score"])
        ]
        member = attack_scores["member"].to_numpy(dtype=bool)
        if 0 < member.sum() < len(member):
            values = attack_scores["score"].to_numpy(dtype=float)
            curves[name] = metrics.roc(values, member)
            bands[name] = metrics.tpr_band(values, member, seed=0)
            floor = min(floor, 1 / float((~member).sum()))
            bounds |= _bound(name, row)
    if curves:
        figure = charts.rocs(
            _by_attack(material, curves),
            _by_attack(material, bands),
            _by_attack(material, colours),
            bounds=_by_attack(material, bounds),
            floor=floor,
            xlabel="false-positive rate: strangers called members",
            ylabel="true-positive rate: members found",
        )
        alt = descriptions.rocs(curves, bands, bounds)
        yield Picture(name="roc", png=figures.png(figure), alt=alt)


def _bound(name: str, row: Mapping[str, Any]) -> dict[str, Curve]:
    """Return what any attacker can reach against a trial with DP-SGD, name -> curve; else {}."""
    if neighbours_of(row) is None:
        return {}
    from raysweep.defences.dpsgd.tradeoff import curve

    try:
        noise, rule = mechanism_of(row)
    except StoreError:  # a record of a stranger, which the ledger names
        return {}
    return {name: curve(noise, records=int(row["group_records"] or 1), **rule)}


def _by_attack(material: Material, values: Mapping[str, T]) -> dict[str, T]:
    """Return the values by the name of a trial and of the strongest attack on it."""
    attacks = {
        name: f"{row['strongest_attack']}{'' if row['models'] is None else ' on one model'}"
        for name, row in material.picks.items()
    }
    return {f"{name}: {attacks[name]}": value for name, value in values.items()}


def _draw_layers(material: Material) -> Iterator[Picture]:
    """Yield the reconstruction errors of the trials that the page names."""
    names = {str(row["trial_id"]): name for name, row in material.picks.items()}
    attacks = material.results.of("attacks", material.picked)
    rebuilt = attacks[attacks["layer"].notna() & np.isfinite(attacks["mse"].astype(float))]
    of_most = rebuilt.groupby(["trial_id", "attack", "layer"])["models"].transform("max")
    rebuilt = rebuilt[rebuilt["models"] == of_most]
    if len(rebuilt):
        floors = {"mean input (sees no model)": rebuilt["floor_mean"].median()}
        floors |= {"class-mean input (sees no model)": rebuilt["floor_label"].median()}
        errors = rebuilt.assign(trial=rebuilt["trial_id"].map(names))
        figure = charts.by_layer(errors, floors, charts.colours(material.picks))
        alt = descriptions.layers(errors, floors)
        yield Picture(name="layers", png=figures.png(figure), alt=alt)
