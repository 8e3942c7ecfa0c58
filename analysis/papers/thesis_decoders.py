"""Giammarresi 2021: the claims on inversion, by the thesis' own decoder and by ridge regression.

python analysis/papers/thesis_decoders.py [RESULTS ...] [--out figures]

A claim that holds by one and fails by the other is a claim on the attack, not on the defence. The
layers between are those that a store has.
"""

from __future__ import annotations

import comparison
import pandas as pd
import panels
import paper
import thesis
from thesis_claims import judged

from raysweep.records.results import Results


def decoder_of(results: Results) -> str:
    """Return the decoders that rebuilt the images of a store."""
    found = results.attacks.query("family == 'inversion'")["decoder"]
    return ", ".join(sorted(found.dropna().unique()))


def errors(table: pd.DataFrame) -> dict[str, str]:
    """Return the baseline's error of each layer, by data set."""
    own = table[table["scenario"] == "baseline"]
    found: dict[str, str] = {}
    for dataset, rows in own.groupby("dataset", sort=False):
        for layer in filter(rows.columns.__contains__, thesis.LAYERS):
            mean, half, _ = comparison.mean_interval(rows[layer])
            found[f"{thesis.TASKS[str(dataset)]}, {layer}"] = paper.spread(mean, half, ".4f")
    return found


def main() -> None:
    """Print both decoders' errors and what each says of the claims; write and draw the changes."""
    folders, out = paper.opened(__doc__, thesis.SMALL, thesis.DECODER)
    print(*map(paper.scale, folders), sep="\n")
    parts, baselines = [], {}
    for results in folders:
        table, decoder = thesis.measured(results), decoder_of(results)
        baselines[decoder] = errors(table)
        parts.append(judged(table).assign(decoder=decoder))
    paper.told(
        pd.DataFrame(baselines).dropna().reset_index(names="baseline"), "MSE of the baseline"
    )
    found = pd.concat(parts, ignore_index=True)
    found = found[found["measure"].isin([*thesis.LAYERS, "intermediate"])]
    cells = zip(found["change"], found["change_pm"], found["verdict"], strict=True)
    words = [f"{paper.spread(mean, half, '+.1f')}: {said}" for mean, half, said in cells]
    beside = found.assign(told=words).pivot_table(
        index=["claim", "published"], columns="decoder", values="told", aggfunc="first", sort=False
    )
    paper.told(beside.reset_index(), "Claims as published, and our change in % by each decoder")
    figure = panels.dots(
        found.assign(claim=found["claim"] + ": " + found["published"]),
        "claim",
        {"change": "change of the rebuilt image's MSE, %"},
        hue="decoder",
        title="The thesis' claims on inversion, by two decoders",
    )
    paper.written(out, "thesis_decoders", found, figure)


if __name__ == "__main__":
    main()
