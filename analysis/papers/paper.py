"""What the papers' scripts share: their arguments, and what they say and write.

A script reads analysis/results/NAME, the records of search_spaces/papers/NAME.yaml that are
committed here, or the results folders that it is given; and writes a figure and a table.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import comparison
import pandas as pd

import raysweep
from raysweep.errors import RaysweepError
from raysweep.records.results import Results
from raysweep.report import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COMMITTED = Path(__file__).parents[1] / "results"


def opened(doc: str | None, *names: str) -> tuple[list[Results], Path]:
    """Return the results that the command line names, by default ``names``, and where to write.

    Of ``names`` those without records are left out, and said not to have been run.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", nargs="*", help="results folders")
    parser.add_argument("--out", type=Path, default=Path("figures"), help="where to write")
    arguments = parser.parse_args()
    folders = arguments.results or committed(names)
    if not folders:
        raise SystemExit(0)
    try:
        return [raysweep.load(folder) for folder in folders], arguments.out
    except RaysweepError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None


def committed(names: Sequence[str]) -> list[str]:
    """Return the folders of the committed records of ``names``; print which were not run."""
    for name in names:
        if not (COMMITTED / name).exists():
            print(not_run(name))
    return [str(COMMITTED / name) for name in names if (COMMITTED / name).exists()]


def scale(results: Results) -> str:
    """Return at which scale the records were made, as one line."""
    trials = comparison.measured(results)
    models, datasets = (", ".join(trials[key].unique()) for key in ("model", "dataset"))
    if "synthetic" in datasets:
        datasets += " (SYNTHETIC)"
    members = ", ".join(f"{int(n):,}" for n in sorted(trials["n_members"].unique()))
    seeds = trials["seed"].nunique()
    space = results.documents[0]
    return (
        f"Ours: {models}{_sizes(space)} on {datasets}, {members} members, "
        f"{space['training']['epochs']} epochs, {len(trials)} trials, "
        f"{seeds} seed{'s' * (seeds > 1)}{_attackers(space)}; ± is the 95 % interval over seeds."
    )


def _sizes(space: Mapping[str, Any]) -> str:
    """Return how wide the model's layers are, where that is a setting."""
    asked = (space["model"].get(name) for name in ("widths", "hidden"))
    widths = next(filter(None, asked), None)
    return f" ({'-'.join(map(str, widths))})" if isinstance(widths, list) else ""


def _attackers(space: Mapping[str, Any]) -> str:
    """Return by which decoders, and in which steps, the attacks worked."""
    attacks = space["attacks"]
    decoder = attacks["inversion"].get("activation_decoder", {}).get("decoders")
    dtc = attacks["membership"].get("dtc")
    told = f", decoders: {', '.join(decoder)}" if decoder else ""
    return told + (f", DtC in steps of {dtc['step']:g}" if dtc else "")


def not_run(space: str) -> str:
    """Return what stands where there is no record yet."""
    return f"not run: raysweep sweep search_spaces/papers/{space}.yaml"


def spread(mean: float, half: float, form: str = ".3g") -> str:
    """Return a mean with the half-width of its interval, which one seed has not.

    >>> spread(1.0, 0.25), spread(1.0, float("nan")), spread(float("nan"), float("nan"))
    ('1 ± 0.25', '1', 'not run')
    """
    if isnan(mean):
        return "not run"
    return f"{mean:{form}}" if isnan(half) else f"{mean:{form}} ± {half:.2g}"


def told(table: pd.DataFrame, title: str) -> None:
    """Print a table of text under its title."""
    print(f"\n{title}\n{table.to_string(index=False)}")


def written(out: Path, name: str, table: pd.DataFrame, figure: Figure) -> None:
    """Write NAME.csv and NAME.png; say where."""
    path = figures.save(figure, out / f"{name}.png")
    table.to_csv(out / f"{name}.csv", index=False)
    print(f"\nFigure: {path}, table: {out / name}.csv")


def columns(names: Sequence[str]) -> str:
    """Return the words under which ``beside`` puts its three values."""
    return f"{', '.join(names)}: ours | published | difference"
