"""Gianitsos, Figure 3: faces recovered by MI-Face from four models of the ORL faces.

python analysis/papers/face_inversion_figure_3.py [results/face_inversion_models] [--out figures]

The paper shows one face a model; ours adds whom an independent eye (linear discriminant
analysis of real faces) recognises: the share of the 40 people.
"""

from __future__ import annotations

import faces
import pandas as pd
import paper

from raysweep import panels
from raysweep.comparison import beside
from raysweep.results import Results

STORE = "face_inversion_models"
MODELS = {
    "softmax": "softmax",
    "mlp": "3,000 sigmoid units",
    "conv1": "one convolution, 1 channel",
    "conv3": "one convolution, 3 channels",
}
PEOPLE = [2, 3, 4, 5]


def pictures(results: Results, table: pd.DataFrame, pixels: str) -> pd.DataFrame:
    """Return one row a model with ``images`` of PEOPLE, from the first trial that kept them."""
    kept = table[table["trial_id"].isin(results.reconstructions["trial_id"])]
    kept = kept[kept["pixels"] == pixels].drop_duplicates("model").set_index("model")
    found = {m: faces.rebuilt(results, kept["trial_id"][m], PEOPLE) for m in kept.index}
    return pd.DataFrame({"model": list(found), "images": list(found.values())})


def main() -> None:
    """Print recognition and accuracy of each model; draw the faces in the published form."""
    (results,), out = paper.opened(__doc__, STORE)
    table = faces.measured(results)
    means = faces.by(table, "model", "pixels")
    means["model"] = pd.Categorical(means["model"], list(MODELS), ordered=True)
    means = means.sort_values(["pixels", "model"], ascending=[False, True])
    print(paper.scale(results))
    rows = [
        {
            "model": MODELS[row["model"]],
            "form": faces.FORMS[row["pixels"]],
            "recognised": beside(row[faces.RECOGNISED], None, row[f"{faces.RECOGNISED}_pm"], " %"),
            "accuracy": beside(row["accuracy"], None, row["accuracy_pm"], " %"),
        }
        for row in means.to_dict("records")
    ]
    paper.told(pd.DataFrame(rows), paper.columns(["people recognised", "accuracy"]))
    drawn = pictures(results, table, "raw")
    own = means[means["pixels"] == "raw"].set_index("model")[faces.RECOGNISED]
    figure = panels.sheet(
        [faces.originals(results, PEOPLE), *drawn["images"]],
        ["real face", *(f"{m}\n{own[m]:.0f} % named" for m in drawn["model"])],
        [f"person {person + 1}" for person in PEOPLE],
        title="Faces from four models",
    )
    paper.written(out, "face_inversion_figure_3", means, figure)


if __name__ == "__main__":
    main()
