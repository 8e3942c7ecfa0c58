"""A results folder -> one page for a person who must ship a model, and its figures as PNG files.

    records -> material -> figures -> page

The folder may be a stranger's: every value is escaped, and a browser is told to load nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from raysweep.attacks import metrics
from raysweep.errors import StoreError
from raysweep.records.objectives import Objectives
from raysweep.records.results import load
from raysweep.report import charts as exhibits
from raysweep.report import figures, findings
from raysweep.report.page import page
from raysweep.report.selection import Material, gather, sample, varied

if TYPE_CHECKING:
    from matplotlib.figure import Figure


MOST_NAMES = 12  # that a figure has room for


def write(folders: Sequence[str], out: Path) -> list[Path]:
    """Write the report on the sweeps in ``folders`` and its figures; return the files.

    Raises:
        StoreError: a folder is none, or ``out`` cannot be written.

    """
    material = gather(load(*folders))
    drawn = dict(draw(material))
    pngs = {name: figures.png(figure) for name, figure in drawn.items()}
    contents: dict[Path, bytes] = {out: page(material, pngs).encode()}
    contents |= {out.with_name(f"{out.stem}-{name}.png"): png for name, png in pngs.items()}
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        for path, content in contents.items():
            path.write_bytes(content)
    except OSError as error:
        told = f"the report cannot be written to {out} ({error.strerror})"
        raise StoreError(f"{told}; give another --out") from None
    return list(contents)


def draw(material: Material) -> Iterator[tuple[str, Figure]]:
    """Yield the figures by name; those without records to show are left out."""
    drawn, objectives = sample(material), material.objectives
    if drawn.empty:
        return
    for x, y in itertools.combinations(objectives.names, 2):
        pair = Objectives.of(x, y)
        yield (
            f"front-{x}-{y}",
            figures.pareto_front(drawn, drawn[drawn["on_front"]], pair, title=""),
        )
    for number, (axis, values) in enumerate(varied(material, drawn)):
        shown = drawn.assign(**{axis: values})[values.notna()]
        kinds = shown[axis].nunique()
        if kinds > 1 and (kinds <= MOST_NAMES or pd.api.types.is_numeric_dtype(shown[axis])):
            is_log = findings.is_logarithmic(material.results.documents[0], axis)
            yield (
                f"defence-{number}",
                exhibits.against(shown, axis, list(objectives.names), is_log=is_log),
            )
    ids = {str(row["trial_id"]): name for name, row in material.picks.items()}
    yield from _of_picks(material, ids)


def _of_picks(material: Material, names: Mapping[str, str]) -> Iterator[tuple[str, Figure]]:
    """Yield what attacks found on the few trials that the page names."""
    ids = set(names)
    scores = material.results.of("scores", ids)
    rocs, floor = {}, 1.0
    for name, row in material.picks.items():
        own = scores[
            (scores["trial_id"] == row["trial_id"])
            & (scores["attack"] == row["strongest_attack"])
            & np.isfinite(scores["score"])
        ]
        member = own["member"].to_numpy(dtype=bool)
        if 0 < member.sum() < len(member):
            rocs[f"{name}: {row['strongest_attack']}"] = metrics.roc(own["score"], member)
            floor = min(floor, 1 / float((~member).sum()))
    if rocs:
        yield (
            "roc",
            exhibits.rocs(
                rocs, floor=floor, xlabel="false-positive rate", ylabel="true-positive rate"
            ),
        )
    attacks = material.results.of("attacks", ids)
    rebuilt = attacks[attacks["layer"].notna() & np.isfinite(attacks["mse"].astype(float))]
    if len(rebuilt):
        floors = {"mean image (sees no model)": rebuilt["floor_mean"].median()}
        floors |= {"class-mean image (sees no model)": rebuilt["floor_label"].median()}
        errors = rebuilt.assign(trial=rebuilt["trial_id"].map(names))
        yield "layers", exhibits.by_layer(errors, floors)
