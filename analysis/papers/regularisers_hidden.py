"""Kaya et al. 2020, section 6: mechanisms that lower the attack but not the gap of the distances.

python analysis/papers/regularisers_hidden.py [RESULTS ...] [--out figures]

Within a seed the gap of the distances rises with Adv Yeom. A gap above the line through the other
mechanisms' settings of that seed is not explained by the attack: "a false sense of privacy".
Networks that learnt nothing are left out, and so are settings that do not lower Adv Yeom, because
they hide nothing. A second table compares the two dropouts at the lowest advantage that each
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
"""Mechanism -> the paper's statement about its gap, given its Adv Yeom."""


def add_beyond(table: pd.DataFrame) -> pd.DataFrame:
    """Return the settings with ``beyond``: how far their gap lies above the line of their seed.

    The line is that of the other mechanisms, the baseline among them.
    """
    table = table.assign(**{BEYOND: float("nan")})
    for _, trials in table.groupby([*published.PLACE, "seed"], sort=False):
        for _, settings in trials.groupby("scenario"):
            others = trials.drop(settings.index)
            slope, start = np.polyfit(others[published.YEOM], others[published.GAP], 1)
            expected = start + slope * settings[published.YEOM]
            table.loc[settings.index, BEYOND] = settings[published.GAP] - expected
    return table


def select_lowering(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of settings whose Adv Yeom is below the baseline's in the mean of seeds."""
    settings = [*published.PLACE, "scenario", *(key for key, _ in published.SETTINGS.values())]
    settings = [key for key in settings if key in table]
    change = table.groupby(settings, dropna=False)[f"change_{published.YEOM}"].transform("mean")
    return table[change < 0]


def rank_correlations(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rank correlation of gap and Adv Yeom for each model: means over seeds."""
    rows = []
    for key, trials in table.groupby([*published.PLACE, "seed"], sort=False):
        rank = trials[published.GAP].corr(trials[published.YEOM], method="spearman")
        rows.append({**dict(zip(published.PLACE, key, strict=False)), "correlation": rank})
    return comparison.summary(pd.DataFrame(rows), published.PLACE, ["correlation"])


def mechanism_means(table: pd.DataFrame) -> pd.DataFrame:
    """Return how far each mechanism's settings lie above the line: means over seeds."""
    by = [*published.PLACE, "scenario"]
    a_seed = table.groupby([*by, "seed"], sort=False)[BEYOND].mean().reset_index()
    means = comparison.summary(a_seed, by, [BEYOND])
    said = means["scenario"].map(SAID).fillna("-")
    verdicts = [judge_gap(row, x) for row, x in zip(means.to_dict("records"), said, strict=True)]
    return means.assign(published=said, verdict=verdicts)


def judge_gap(row: dict[Any, Any], said: str) -> str:
    """Return whether an interval supports the statement; aligned is within 5 points of the line."""
    low, high = (row[BEYOND] + sign * row[f"{BEYOND}_pm"] for sign in (-1, 1))
    if said == "-":
        if low > 0:
            return "larger"
        return "smaller" if high < 0 else "-"
    return verdict(low, high, "stays" if said == "aligned" else "rises")


def compare_dropouts(means: pd.DataFrame) -> pd.DataFrame:
    """Return the settings of both dropouts with the lowest Adv Yeom within each limit."""
    rows = []
    for _, model, rows_of_model in published.split_by_network(means):
        for limit in published.LIMITS:
            best = published.best_settings(rows_of_model, limit)
            row: dict[str, str] = {"model": model, "limit": limit}
            for name in ("dropout", "spatial_dropout"):
                row[name] = "none fits"
                for at in best[best["scenario"] == name].to_dict("records"):
                    change, half = (at[f"change_{published.YEOM}{x}"] for x in ("", "_pm"))
                    setting = published.setting_text(name, at["setting"])
                    row[name] = f"{setting}: {paper.interval_text(change, half)} %"
            rows.append(row)
    return pd.DataFrame(rows)


def main() -> None:
    """Print the correlation, the gaps and the two dropouts; draw the gaps."""
    folders, out = paper.open_results(__doc__, published.SMALL, published.SMALL_VGG4)

    print(*map(paper.scale_line, folders), sep="\n")
    tables = [published.add_paper_changes(results) for results in folders]
    every = pd.concat(tables, ignore_index=True).dropna(subset=[published.GAP])
    every = add_beyond(every[~every["collapsed"].astype(bool)])
    for row in rank_correlations(every).to_dict("records"):
        text = paper.interval_text(row["correlation"], row["correlation_pm"])
        print(f"rank correlation of gap and Adv Yeom over the settings, {row['model']}: {text}")
    means = mechanism_means(select_lowering(every))
    means = means[means["scenario"].isin(list(published.SETTINGS))]
    columns = ["model", "scenario", BEYOND, f"{BEYOND}_pm", "n", "published", "verdict"]
    shown = means[columns].round(1)
    paper.print_table(
        shown, "Gap beyond what Adv Yeom accounts for, points; what the paper says of it"
    )
    at = pd.concat(map(published.setting_means, folders), ignore_index=True)
    paper.print_table(
        compare_dropouts(at), "Change of Adv Yeom, published: spatial dropout is steadier"
    )

    figure = panels.dots(
        means.assign(scenario=means["scenario"].str.replace("_", " ")),
        "scenario",
        {BEYOND: "gap beyond what Adv Yeom accounts for, points"},
        hue="model",
        title="Right of the line: privacy that only seems so",
    )
    paper.save(out, "regularisers_hidden", means, figure)


if __name__ == "__main__":
    main()
