"""Kaya et al. 2020: label smoothing and weight decay, which made an attack STRONGER.

python analysis/papers/regularisers_surprises.py [RESULTS ...] [--out figures]

Published is the largest increase of Tables 3 - 5 by each setting. A change whose 95 % interval
leaves zero out is decided, by the AUC: it needs no threshold, so it is told apart sooner.
"""

from __future__ import annotations

import pandas as pd
import panels
import paper
import regularisers as published
from comparison import beside

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
    """Return what an interval says of an attack.

    >>> verdict(20, 5), verdict(3, 5), verdict(-20, 5)
    ('stronger', 'undecided', 'weaker')
    """
    if abs(change) <= half or half != half:
        return "undecided"
    return "stronger" if change > 0 else "weaker"


def main() -> None:
    """Print what each setting does to both attacks; write and draw it."""
    folders, out = paper.opened(__doc__, STORE, published.SMALL, published.SMALL_VGG4)
    print(*map(paper.scale, folders), sep="\n")
    found = pd.concat(map(published.points, folders), ignore_index=True)
    surprising = found["scenario"].isin(["label_smoothing", "weight_decay"])
    found = published.in_order(found[surprising])
    rows: list[dict[str, str]] = []
    stars: dict[str, float] = {}
    for own in found.to_dict("records"):
        theirs, task = INCREASES.get((own["scenario"], own["setting"]), (None, ""))
        stars |= {} if theirs is None else {own["row"]: theirs}
        row = {"model": own["model"], "setting": own["row"], "n": own["n"]}
        for name, label in zip(published.CHANGES, published.MEASURES.values(), strict=True):
            value = theirs if name == SALEM else None
            row[label] = beside(own[name], value, own[f"{name}_pm"], " %")
        points = own[POINTS], own[f"{POINTS}_pm"]
        row["AUC Salem"] = beside(points[0], None, points[1], " points")
        row["Salem is"] = verdict(*points)
        rows.append({**row, "published for": task})
    paper.told(pd.DataFrame(rows), "Relative changes: ours | published | difference")
    figure = panels.dots(
        found,
        "row",
        {SALEM: "change of Adv Salem, %", POINTS: "change of Salem's AUC, points"},
        hue="model",
        published=pd.DataFrame({"row": list(stars), SALEM: list(stars.values())}),
        title="Right of the line the attack gets stronger (stars: published)",
    )
    paper.written(out, "regularisers_surprises", found, figure)


if __name__ == "__main__":
    main()
