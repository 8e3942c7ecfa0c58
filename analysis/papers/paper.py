"""Arguments, printed tables and written files of the papers' scripts.

A script reads the results folders that it is given. By default it reads analysis/results/NAME, the
committed records of search_spaces/papers/NAME.yaml. It writes a figure and a table.
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


def open_results(doc: str | None, *names: str) -> tuple[list[Results], Path]:
    """Return the results that the command line names, by default ``names``, and where to write.

    Names without records are left out, and printed as not run.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", nargs="*", help="results folders")
    parser.add_argument("--out", type=Path, default=Path("figures"), help="where to write")
    arguments = parser.parse_args()
    folders = arguments.results or committed_folders(names)
    if not folders:
        raise SystemExit(0)
    try:
        return [raysweep.load(folder) for folder in folders], arguments.out
    except RaysweepError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None


def committed_folders(names: Sequence[str]) -> list[str]:
    """Return the folders of the committed records of ``names``; print which were not run."""
    for name in names:
        if not (COMMITTED / name).exists():
            print(not_run_message(name))
    return [str(COMMITTED / name) for name in names if (COMMITTED / name).exists()]


def scale_line(results: Results) -> str:
    """Return the scale of the records as one line: model, data, members, epochs, trials, seeds."""
    trials = comparison.trial_table(results)
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
    """Return the widths of the model's layers, if they are a setting."""
    asked = (space["model"].get(name) for name in ("widths", "hidden"))
    widths = next(filter(None, asked), None)
    return f" ({'-'.join(map(str, widths))})" if isinstance(widths, list) else ""


def _attackers(space: Mapping[str, Any]) -> str:
    """Return the decoders of the inversion attack and the step of DtC."""
    attacks = space["attacks"]
    decoder = attacks["inversion"].get("activation_decoder", {}).get("decoders")
    dtc = attacks["membership"].get("dtc")
    decoders = f", decoders: {', '.join(decoder)}" if decoder else ""
    return decoders + (f", DtC in steps of {dtc['step']:g}" if dtc else "")


def not_run_message(space: str) -> str:
    """Return the text for a space without records."""
    return f"not run: raysweep sweep search_spaces/papers/{space}.yaml"


def interval_text(mean: float, half: float, form: str = ".3g") -> str:
    """Return a mean with the half-width of its interval; a single seed has no interval.

    >>> interval_text(1.0, 0.25), interval_text(1.0, float("nan"))
    ('1 ± 0.25', '1')
    """
    if isnan(mean):
        return "not run"
    return f"{mean:{form}}" if isnan(half) else f"{mean:{form}} ± {half:.2g}"


def print_table(table: pd.DataFrame, title: str) -> None:
    """Print a table of text under its title."""
    print(f"\n{title}\n{table.to_string(index=False)}")


def save(out: Path, name: str, table: pd.DataFrame, figure: Figure) -> None:
    """Write NAME.csv and NAME.png, and print their paths."""
    path = figures.save(figure, out / f"{name}.png")
    table.to_csv(out / f"{name}.csv", index=False)
    print(f"\nFigure: {path}, table: {out / name}.csv")


def table_title(names: Sequence[str]) -> str:
    """Return the title of a table whose cells are made by ``compare``."""
    return f"{', '.join(names)}: ours | published | difference"
