"""Kaya et al. 2020, Figure 1 and the comparison with DP-SGD, over its noise multiplier.

python analysis/papers/regularisers_figure_1.py [RESULTS ...] [--out figures]

Shown are the gap of the distances to confident and Yeom's advantage. The paper's text says that Adv
Yeom is about 1 % from sigma .25 on, while the gap shrinks only from 2.5 on.
"""

from __future__ import annotations

import comparison
import pandas as pd
import panels
import paper
import regularisers as published
from comparison import compare

STORE = "regularisers_dp_small"
TEXT = {  # sigma: change of accuracy, Adv Yeom and Adv Salem, %
    0.1: (-4.1, -82.3, -100.0),
    0.25: (-5.4, -90.1, -100.0),
    10.0: (-16.7, -92.7, None),
}
EPSILONS = {0.01: 3e5, 0.1: 3e3, 0.25: 200.0, 1.0: 2.0, 10.0: 0.15}  # in the text, rounded there
PANELS = {
    published.GAP: "gap of the distances, %",
    published.YEOM: "Adv Yeom, %",
    "accuracy": "accuracy, %",
}


def published_points() -> pd.DataFrame:
    """Return the text's figures over sigma, in the units of Table 2, %."""
    accuracy, yeom, *_ = published.BASELINE["fashion_mnist"]

    rows = [
        (sigma, accuracy * (1 + change / 100), yeom * (1 + fall / 100))
        for sigma, (change, fall, _) in TEXT.items()
    ]
    return pd.DataFrame(rows, columns=["noise_multiplier", "accuracy", published.YEOM])


def main() -> None:
    """Print the figures over sigma; write and draw them."""
    (results,), out = paper.open_results(__doc__, STORE)
    table = published.add_paper_changes(results)
    table = table[table["scenario"] != "batch_norm"]
    measures = [*published.CHANGES, *published.MEASURES, published.GAP, "epsilon"]
    means = comparison.summary(table, ["noise_multiplier"], measures)
    means = means.sort_values("noise_multiplier", ignore_index=True)

    print(paper.scale_line(results))

    rows = []
    for line in means.to_dict("records"):
        sigma = line["noise_multiplier"]
        row = {"sigma": f"{sigma:g}" if sigma else "no DP"}
        row["epsilon"] = compare(line["epsilon"], EPSILONS.get(sigma))
        row["gap"] = compare(
            line[published.GAP], None if sigma else 46.1, line[f"{published.GAP}_pm"]
        )
        for name, label, value in zip(
            published.CHANGES,
            published.MEASURES.values(),
            TEXT.get(sigma, (None,) * 3),
            strict=True,
        ):
            row[f"change of {label}"] = compare(line[name], value, line[f"{name}_pm"], " %")
        rows.append(row)
    paper.print_table(pd.DataFrame(rows), "By sigma of DP-SGD: ours | published | difference")
    private = means[means["noise_multiplier"] > 0]
    ends = private["noise_multiplier"].agg(["min", "max"])
    without = [means[means["noise_multiplier"] == 0].assign(noise_multiplier=end) for end in ends]

    figure = panels.curves(
        pd.concat([private.assign(who="DP-SGD"), *(end.assign(who="no DP") for end in without)]),
        "noise_multiplier",
        PANELS,
        "who",
        title="The noise of DP-SGD: distances, attack, accuracy",
        x_label="noise multiplier sigma",
        log=["noise_multiplier"],
        published=published_points(),
    )
    paper.save(out, "regularisers_figure_1", means, figure)


if __name__ == "__main__":
    main()
