"""Nasr et al. 2018, Table 7: the defence against the size of its reference set.

python analysis/papers/adversarial_regularisation_table_7.py [RESULTS] [--out figures]

Sizes are shares of the members': the published 1,000 to 30,000 are 0.05 to 1.5 of 20,000.
"""

from __future__ import annotations

import nasr
import pandas as pd
import panels
import paper

PUBLISHED: dict[float, nasr.Row] = {
    0.05: (None, 80.0, 59.2),
    0.25: (None, 77.4, 52.8),
    0.5: (None, 76.8, 52.4),
    1.0: (None, 76.5, 51.6),
    1.5: (None, 76.4, 50.6),
}


def main() -> None:
    """Print the table; draw accuracy and attack over the reference set's size."""
    (results,), out = paper.open_results(__doc__, nasr.STORE)

    print(paper.scale_line(results))
    table = nasr.attack_table(results).query("adversarial_regularisation > 0 and l2 == 0")
    means = nasr.setting_means(table).sort_values(["adversarial_regularisation", "reference_share"])
    sizes = means.groupby("adversarial_regularisation")["reference_share"].transform("nunique")
    means = means[sizes > 1] if (sizes > 1).any() else means  # the others belong to Table 4

    rows = []
    for row in means.to_dict("records"):
        share = round(row["reference_share"], 4)
        label = {"lambda": f"{row['adversarial_regularisation']:g}", "reference / members": share}
        rows.append({**label, **nasr.table_cells(row, PUBLISHED.get(share, nasr.UNKNOWN))})
    paper.print_table(pd.DataFrame(rows), "Table 7, %: ours | published | difference")
    theirs = pd.DataFrame.from_dict(PUBLISHED, "index", columns=list(nasr.FIGURES))
    weights = [f"ours, lambda {x:g}" for x in means["adversarial_regularisation"]]

    figure = panels.curves(
        means.assign(weight=weights),
        "reference_share",
        {name: nasr.FIGURES[name] for name in ("accuracy", "attack_accuracy")},
        "weight",
        title=f"The size of the reference set{nasr.data_note(means)}: what is kept, what leaks",
        x_label="reference records / members",
        published=theirs.rename_axis("reference_share").reset_index(),
    )
    paper.save(out, "adversarial_regularisation_table_7", means, figure)


if __name__ == "__main__":
    main()
