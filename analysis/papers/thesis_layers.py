"""Giammarresi 2021: inversion layer by layer, against the baseline.

python analysis/papers/thesis_layers.py [RESULTS ...] [--out figures]

Shown is the error of the image rebuilt from each of the nine layers. The thesis publishes no
numbers for it. It says that DP worsens the last three layers, L2 protects the output, and dropout
protects the layers in between.
"""

from __future__ import annotations

import comparison
import pandas as pd
import panels
import paper
import thesis

CLAIMED = {  # + more resistance, - less, 0 no better
    "dp_eps2": {"flatten": "-", "dense": "-", "output": "-"},
    "l2": {"output": "+"},
    "dropout": {**dict.fromkeys(thesis.INTERMEDIATE, "+"), "output": "0"},
    "l2_dropout": {**dict.fromkeys(thesis.INTERMEDIATE, "+"), "output": "+"},
}


def main() -> None:
    """Print each layer's error and its change; write and draw the changes."""
    (results,), out = paper.open_results(__doc__, thesis.SMALL)
    table = thesis.changes(thesis.layer_table(results), thesis.LAYERS)
    floors = results.attacks.query("family == 'inversion'")["floor_mean"].mean()

    print(paper.scale_line(results))
    rows, text = [], []
    for scenario, name in thesis.SCENARIOS.items():
        trials = table[table["scenario"] == scenario]
        line = {"scenario": name}
        for layer in thesis.LAYERS:
            error, _, n = comparison.mean_interval(trials[layer])
            change, half, _ = comparison.mean_interval(trials[f"change_{layer}"])
            rows.append(
                {"scenario": name, "layer": layer, "mse": error, "change": change}
                | {"change_pm": half, "n": n, "claimed": CLAIMED.get(scenario, {}).get(layer)}
            )
            at_first = scenario == "baseline"
            line[layer] = f"{error:.4f}" if at_first else paper.interval_text(change, half, "+.0f")
        text.append(line)
    title = "MSE of the baseline, changes in % (more = more private)"
    title += f"; the mean image, which sees no model: {floors:.3f}"
    paper.print_table(pd.DataFrame(text), title)
    claimed = pd.DataFrame(rows).dropna(subset=["claimed", "change"])
    claimed["published"] = claimed["claimed"].map({"+": "rises", "-": "falls", "0": "no rise"})
    paper.print_table(
        claimed[["scenario", "layer", "published", "change", "change_pm"]].round(1),
        "Where words are published",
    )
    changes = pd.DataFrame(rows)
    shown = changes[changes["scenario"].isin(["DP ε=2", "L2", "dropout", "L2 + dropout"])]

    figure = panels.dots(
        shown.dropna(subset="change"),
        "layer",
        {"change": "change of the rebuilt image's MSE, %"},
        hue="scenario",
        title="Right of the line a layer resists inversion better",
    )
    paper.save(out, "thesis_layers", changes, figure)


if __name__ == "__main__":
    main()
