"""Write the report on a results folder: one HTML page, and its figures as PNG files.

    records -> selected trials -> figures -> page

The page is for a person who has to choose a model. The folder may come from a stranger, so every
value is escaped and the page forbids the browser to load anything.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from raysweep.attacks import metrics
from raysweep.errors import StoreError
from raysweep.records.folder import replace_file
from raysweep.records.objectives import Objectives
from raysweep.records.results import load
from raysweep.report import charts, figures, findings
from raysweep.report.page import page
from raysweep.report.selection import Material, gather, sample, setting_values

MOST_NAMES = 12  # values with names that fit on the axis of a figure


def write(folders: Sequence[str], out: Path) -> list[Path]:
    """Write the report on the sweeps in ``folders`` and its figures; return the files.

    Raises:
        StoreError: a folder is not a results folder, or ``out`` cannot be written.

    """
    if not out.name or out.is_dir():
        rule = f"--out {str(out)!r} is a folder, and the report is a file"
        raise StoreError(rule, remedy="give a file such as report.html")
    material = gather(load(*folders))
    pngs = {name: figures.png(figure) for name, figure in draw(material)}
    contents: dict[Path, bytes] = {out: page(material, pngs).encode()}
    contents |= {out.with_name(f"{out.stem}-{name}.png"): png for name, png in pngs.items()}

    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        for path, content in contents.items():
            replace_file(str(path.absolute()), content)
    except OSError as error:
        problem = f"the report cannot be written to {out} ({error.strerror})"
        raise StoreError(problem, remedy="give another --out") from None
    return list(contents)


def draw(material: Material) -> Iterator[tuple[str, Figure]]:
    """Yield (name, figure) of each figure that has records to show."""
    drawn, objectives = sample(material), material.objectives
    if drawn.empty:
        return

    for x, y in itertools.combinations(objectives.names, 2):
        pair = Objectives.of(x, y)
        yield (
            f"front-{x}-{y}",
            figures.pareto_front(drawn, drawn[drawn["on_front"]], pair, title=""),
        )

    for number, (key, values) in enumerate(setting_values(material, drawn)):
        shown = drawn.assign(**{key: values})[values.notna()]
        n_values = shown[key].nunique()
        is_numeric = pd.api.types.is_numeric_dtype(shown[key])
        if n_values > 1 and (n_values <= MOST_NAMES or is_numeric):
            is_log = findings.is_logarithmic(material.results.documents[0], key)
            yield (
                f"defence-{number}",
                charts.by_setting(shown, key, list(objectives.names), is_log=is_log),
            )

    ids = {str(row["trial_id"]): name for name, row in material.picks.items()}
    yield from _draw_picks(material, ids)


def _draw_picks(material: Material, names: Mapping[str, str]) -> Iterator[tuple[str, Figure]]:
    """Yield (name, figure) of the attacks on the few trials that the page names."""
    ids = set(names)
    scores = material.results.of("scores", ids)
    curves, floor = {}, 1.0
    for name, row in material.picks.items():
        attack_scores = scores[
            (scores["trial_id"] == row["trial_id"])
            & (scores["attack"] == row["strongest_attack"])
            & np.isfinite(scores["score"])
        ]
        member = attack_scores["member"].to_numpy(dtype=bool)
        if 0 < member.sum() < len(member):
            label = f"{name}: {row['strongest_attack']}"
            curves[label] = metrics.roc(attack_scores["score"], member)
            floor = min(floor, 1 / float((~member).sum()))
    if curves:
        yield (
            "roc",
            charts.rocs(
                curves, floor=floor, xlabel="false-positive rate", ylabel="true-positive rate"
            ),
        )

    attacks = material.results.of("attacks", ids)
    rebuilt = attacks[attacks["layer"].notna() & np.isfinite(attacks["mse"].astype(float))]
    if len(rebuilt):
        floors = {"mean image (sees no model)": rebuilt["floor_mean"].median()}
        floors |= {"class-mean image (sees no model)": rebuilt["floor_label"].median()}
        errors = rebuilt.assign(trial=rebuilt["trial_id"].map(names))
        yield "layers", charts.by_layer(errors, floors)
