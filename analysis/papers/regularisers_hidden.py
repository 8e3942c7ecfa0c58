"""Kaya et al. 2020, section 6: what a mechanism hides from an attack and the distance still sees.

python analysis/papers/regularisers_hidden.py [RESULTS ...] [--out figures]

Within a seed the gap of the distances goes with Adv Yeom. What lies above the line through the
other mechanisms' settings of that seed is a gap that the attack does not account for: "a false
sense of privacy". Networks that learnt nothing are left out, and so are settings that do not lower
Adv Yeom: they hide nothing. Then spatial dropout beside dropout, at the least advantage that each
reaches within a limit.
"""

from __future__ import annotations

from typing import Any

import comparison
import numpy as np
import pandas as pd
import panels
import paper
import regularisers as published
from thesis_claims import verdict

BEYOND = "beyond"
SAID = {
    "distillation": "larger than expected",
    "gaussian_noise": "larger than expected",
    "random_crop": "aligned",
    "dropout": "aligned",
    "spatial_dropout": "aligned",
}
"""Mechanism -> what the paper says of its gap, given its Adv Yeom."""


def beyond(table: pd.DataFrame) -> pd.DataFrame:
    """Return the settings with ``beyond``: how far their gap lies above the line of their seed.

    The line is that of the other mechanisms, the baseline among them.
    """
    table = table.assign(**{BEYOND: float("nan")})
    for _, own in table.groupby([*published.PLACE, "seed"], sort=False):
        for _, settings in own.groupby("scenario"):
            others = own.drop(settings.index)
            slope, start = np.polyfit(others[published.YEOM], others[published.GAP], 1)
            expected = start + slope * settings[published.YEOM]
            table.loc[settings.index, BEYOND] = settings[published.GAP] - expected
    return table


def lowering(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of settings whose Adv Yeom is below the baseline's in the mean of seeds."""
    settings = [*published.PLACE, "scenario", *(key for key, _ in published.SETTINGS.values())]
    settings = [key for key in settings if key in table]
    change = table.groupby(settings, dropna=False)[f"change_{published.YEOM}"].transform("mean")
    return table[change < 0]


def alike(table: pd.DataFrame) -> pd.DataFrame:
    """Return each model's rank correlation of gap and Adv Yeom over settings: mean over seeds."""
    rows = []
    for key, own in table.groupby([*published.PLACE, "seed"], sort=False):
        found = own[published.GAP].corr(own[published.YEOM], method="spearman")
        rows.append({**dict(zip(published.PLACE, key, strict=False)), "alike": found})
    return comparison.summary(pd.DataFrame(rows), published.PLACE, ["alike"])


def by_mechanism(table: pd.DataFrame) -> pd.DataFrame:
    """Return what each mechanism's settings have beyond the line: means over seeds."""
    by = [*published.PLACE, "scenario"]
    a_seed = table.groupby([*by, "seed"], sort=False)[BEYOND].mean().reset_index()
    found = comparison.summary(a_seed, by, [BEYOND])
    said = found["scenario"].map(SAID).fillna("-")
    return found.assign(published=said, verdict=list(map(judged, found.to_dict("records"), said)))


def judged(row: dict[Any, Any], said: str) -> str:
    """Return whether an interval bears out what is said; aligned is within 5 points of the line."""
    low, high = (row[BEYOND] + sign * row[f"{BEYOND}_pm"] for sign in (-1, 1))
    if said == "-":
        return "larger" if low > 0 else "smaller" if high < 0 else "-"
    return verdict(low, high, "stays" if said == "aligned" else "rises")


def two_dropouts(found: pd.DataFrame) -> pd.DataFrame:
    """Return the settings of dropout and spatial dropout with the least Adv Yeom in each limit."""
    rows = []
    for _, model, own in published.groups(found):
        for limit in published.LIMITS:
            best = published.chosen(own, limit)
            row: dict[str, str] = {"model": model, "limit": limit}
            for name in ("dropout", "spatial_dropout"):
                row[name] = "none fits"
                for at in best[best["scenario"] == name].to_dict("records"):
                    change, half = (at[f"change_{published.YEOM}{x}"] for x in ("", "_pm"))
                    setting = published.named(name, at["setting"])
                    row[name] = f"{setting}: {paper.spread(change, half)} %"
            rows.append(row)
    return pd.DataFrame(rows)


def main() -> None:
    """Print the correlation, what each mechanism hides, the two dropouts; draw what is hidden."""
    folders, out = paper.opened(__doc__, published.SMALL, published.SMALL_VGG4)
    print(*map(paper.scale, folders), sep="\n")
    tables = [published.changed(results) for results in folders]
    every = pd.concat(tables, ignore_index=True).dropna(subset=[published.GAP])
    every = beyond(every[~every["collapsed"].astype(bool)])
    for row in alike(every).to_dict("records"):
        told = paper.spread(row["alike"], row["alike_pm"])
        print(f"rank correlation of gap and Adv Yeom over the settings, {row['model']}: {told}")
    found = by_mechanism(lowering(every))
    found = found[found["scenario"].isin(list(published.SETTINGS))]
    columns = ["model", "scenario", BEYOND, f"{BEYOND}_pm", "n", "published", "verdict"]
    shown = found[columns].round(1)
    paper.told(shown, "Gap beyond what Adv Yeom accounts for, points; what the paper says of it")
    at = pd.concat(map(published.points, folders), ignore_index=True)
    paper.told(two_dropouts(at), "Change of Adv Yeom, published: spatial dropout is steadier")
    figure = panels.dots(
        found.assign(scenario=found["scenario"].str.replace("_", " ")),
        "scenario",
        {BEYOND: "gap beyond what Adv Yeom accounts for, points"},
        hue="model",
        title="Right of the line: privacy that only seems so",
    )
    paper.written(out, "regularisers_hidden", found, figure)


if __name__ == "__main__":
    main()
