"""Nasr et al. 2018, Table 6: L2 regularisation instead of the defence, on purchase records.

python analysis/papers/adversarial_regularisation_table_6.py [RESULTS] [--out figures]
"""

from __future__ import annotations

import nasr
import pandas as pd
import panels
import paper

PUBLISHED: dict[float, nasr.Row] = {
    0: (100, 80.1, 67.6),
    0.001: (86, 81.3, 60.0),
    0.005: (74, 70.2, 56.0),
    0.01: (34, 32.1, 50.6),
}


def main() -> None:
    """Print the table; draw what each strength of L2 keeps and leaks."""
    (results,), out = paper.opened(__doc__, nasr.STORE)
    print(paper.scale(results))
    table = nasr.measured(results)
    means = nasr.settings(table[table["adversarial_regularisation"] == 0]).sort_values("l2")
    rows = [
        {"L2": f"{row['l2']:g}", **nasr.cells(row, PUBLISHED.get(row["l2"], nasr.UNKNOWN))}
        for row in means.to_dict("records")
    ]
    paper.told(pd.DataFrame(rows), "Table 6, %: ours | published | difference")
    figure = panels.points(
        means.assign(strength=[f"L2 {x:g}" for x in means["l2"]]),
        "accuracy",
        "attack_accuracy",
        "strength",
        title=f"L2 in place of the defence{nasr.on(means)}",
        labels=nasr.FIGURES,
        published=pd.DataFrame(list(PUBLISHED.values()), columns=list(nasr.FIGURES)),
    )
    paper.written(out, "adversarial_regularisation_table_6", means, figure)


if __name__ == "__main__":
    main()
