"""Giammarresi 2021: the claims on inversion, by the thesis' own decoder and by ridge regression.

python analysis/papers/thesis_decoders.py [RESULTS ...] [--out figures]

A claim that holds by one decoder and fails by the other is about the attack, not the defence. The
layers between are those that a store has.
"""

from __future__ import annotations

import comparison
import pandas as pd
import panels
import paper
import thesis
from thesis_claims import judge_claims

from raysweep.records.results import Results


def decoder_names(results: Results) -> str:
    """Return the names of the decoders that a store used."""
    decoders = results.attacks.query("family == 'inversion'")["decoder"]
    return ", ".join(sorted(decoders.dropna().unique()))


def baseline_errors(table: pd.DataFrame) -> dict[str, str]:
    """Return the baseline's error of each layer, by data set."""
    baseline = table[table["scenario"] == "baseline"]
    cells: dict[str, str] = {}
    for dataset, rows in baseline.groupby("dataset", sort=False):
        for layer in filter(rows.columns.__contains__, thesis.LAYERS):
            mean, half, _ = comparison.mean_interval(rows[layer])
            cells[f"{thesis.TASKS[str(dataset)]}, {layer}"] = paper.interval_text(mean, half, ".4f")
    return cells


def main() -> None:
    """Print both decoders' errors and verdicts; write and draw the changes."""
    folders, out = paper.open_results(__doc__, thesis.SMALL, thesis.DECODER)

    print(*map(paper.scale_line, folders), sep="\n")
    parts, baselines = [], {}
    for results in folders:
        table, decoder = thesis.layer_table(results), decoder_names(results)
        baselines[decoder] = baseline_errors(table)
        parts.append(judge_claims(table).assign(decoder=decoder))
    paper.print_table(
        pd.DataFrame(baselines).dropna().reset_index(names="baseline"), "MSE of the baseline"
    )
    claims = pd.concat(parts, ignore_index=True)
    claims = claims[claims["measure"].isin([*thesis.LAYERS, "intermediate"])]
    cells = zip(claims["change"], claims["change_pm"], claims["verdict"], strict=True)
    texts = [f"{paper.interval_text(mean, half, '+.1f')}: {said}" for mean, half, said in cells]
    by_decoder = claims.assign(text=texts).pivot_table(
        index=["claim", "published"], columns="decoder", values="text", aggfunc="first", sort=False
    )
    title = "Claims as published, and our change in % by each decoder"
    paper.print_table(by_decoder.reset_index(), title)

    figure = panels.dots(
        claims.assign(claim=claims["claim"] + ": " + claims["published"]),
        "claim",
        {"change": "change of the rebuilt image's MSE, %"},
        hue="decoder",
        title="The thesis' claims on inversion, by two decoders",
    )
    paper.save(out, "thesis_decoders", claims, figure)


if __name__ == "__main__":
    main()
