"""Kaya et al. 2020: label smoothing and weight decay, which made an attack STRONGER.

python analysis/papers/regularisers_surprises.py [RESULTS ...] [--out figures]

Published is the largest increase in Tables 3 - 5 for each setting. A change of the AUC is decided
when its 95 % interval does not contain zero. The AUC decides because it needs no threshold and
therefore varies less than the advantage.
"""

from __future__ import annotations

from math import isnan

import pandas as pd
import panels
import paper
import regularisers as published
from comparison import compare

STORE = "regularisers_surprises_small"
SALEM, POINTS = f"change_{published.SALEM}", published.SALEM_POINTS
INCREASES = {  # of Adv Salem, %: the data set where it is largest
    ("label_smoothing", 0.01): (34.9, "Fashion-MNIST"),
    ("label_smoothing", 0.5): (58.7, "CIFAR-100"),
    ("label_smoothing", 0.95): (23.4, "CIFAR-100"),
    ("weight_decay", 1e-4): (9.6, "Fashion-MNIST"),
    ("weight_decay", 5e-4): (35.7, "CIFAR-10"),
}


def verdict(change: float, half: float) -> str:
    """Return whether an attack became stronger or weaker, judged by its interval.

    >>> verdict(20, 5), verdict(3, 5), verdict(-20, 5)
    ('stronger', 'undecided', 'weaker')
    """
    if isnan(half) or abs(change) <= half:
        return "undecided"
    return "stronger" if change > 0 else "weaker"


def main() -> None:
    """Print, write and draw the change of both attacks by each setting."""
    folders, out = paper.open_results(__doc__, STORE, published.SMALL, published.SMALL_VGG4)

    print(*map(paper.scale_line, folders), sep="\n")
    means = pd.concat(map(published.setting_means, folders), ignore_index=True)
    surprising = means["scenario"].isin(["label_smoothing", "weight_decay"])
    means = published.sort_settings(means[surprising])
    rows: list[dict[str, str]] = []
    stars: dict[str, float] = {}
    for line in means.to_dict("records"):
        theirs, task = INCREASES.get((line["scenario"], line["setting"]), (None, ""))
        stars |= {} if theirs is None else {line["row"]: theirs}
        row = {"model": line["model"], "setting": line["row"], "n": line["n"]}
        for name, label in zip(published.CHANGES, published.MEASURES.values(), strict=True):
            value = theirs if name == SALEM else None
            row[label] = compare(line[name], value, line[f"{name}_pm"], " %")
        points = line[POINTS], line[f"{POINTS}_pm"]
        row["AUC Salem"] = compare(points[0], None, points[1], " points")
        row["Salem is"] = verdict(*points)
        rows.append({**row, "published for": task})
    paper.print_table(pd.DataFrame(rows), "Relative changes: ours | published | difference")

    figure = panels.dots(
        means,
        "row",
        {SALEM: "change of Adv Salem, %", POINTS: "change of Salem's AUC, points"},
        hue="model",
        published=pd.DataFrame({"row": list(stars), SALEM: list(stars.values())}),
        title="Right of the line the attack gets stronger (stars: published)",
    )
    paper.save(out, "regularisers_surprises", means, figure)


if __name__ == "__main__":
    main()
