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
    """Print the table; draw accuracy and attack accuracy."""
    (results,), out = paper.open_results(__doc__, nasr.STORE)

    print(paper.scale_line(results))
    table = nasr.attack_table(results)
    means = nasr.setting_means(table[table["adversarial_regularisation"] == 0]).sort_values("l2")

    rows = [
        {"L2": f"{row['l2']:g}", **nasr.table_cells(row, PUBLISHED.get(row["l2"], nasr.UNKNOWN))}
        for row in means.to_dict("records")
    ]
    paper.print_table(pd.DataFrame(rows), "Table 6, %: ours | published | difference")

    figure = panels.points(
        means.assign(strength=[f"L2 {x:g}" for x in means["l2"]]),
        "accuracy",
        "attack_accuracy",
        "strength",
        title=f"L2 in place of the defence{nasr.data_note(means)}",
        labels=nasr.FIGURES,
        published=pd.DataFrame(list(PUBLISHED.values()), columns=list(nasr.FIGURES)),
    )
    paper.save(out, "adversarial_regularisation_table_6", means, figure)


if __name__ == "__main__":
    main()
