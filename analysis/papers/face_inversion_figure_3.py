"""Gianitsos, Figure 3: faces recovered by MI-Face from four models of the ORL faces.

python analysis/papers/face_inversion_figure_3.py [results/face_inversion_models] [--out figures]

The paper shows one face a model; ours adds whom an independent eye (linear discriminant
analysis of real faces) recognises: the share of the 40 people, in the mean of the seeds printed,
of the one trial that is drawn beside its faces.
"""

from __future__ import annotations

from typing import Any

import faces
import pandas as pd
import panels
import paper
from comparison import beside
from numpy.typing import NDArray

from raysweep.records.results import Results

STORE = "face_inversion_models"
MODELS = {
    "softmax": "softmax",
    "mlp": "3,000 sigmoid units",
    "conv1": "one convolution, 1 channel",
    "conv3": "one convolution, 3 channels",
}
PEOPLE = [2, 3, 4, 5]


def pictures(results: Results, table: pd.DataFrame, pixels: str) -> dict[str, list[NDArray[Any]]]:
    """Return label -> images of PEOPLE, from the first trial of each model that kept them.

    The label has the share of people who are named in that very trial.
    """
    kept = table[table["trial_id"].isin(results.reconstructions["trial_id"])]
    kept = kept[kept["pixels"] == pixels].drop_duplicates("model")
    found = {}
    for row in kept.to_dict("records"):
        images = faces.rebuilt(results, row["trial_id"], PEOPLE)
        label = f"{row['model']}\n{row[faces.RECOGNISED]:.0f} % named"
        if not any(image.any() for image in images):
            label += "\n(these 4: no)"
        found[label] = images
    return found


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
    figure = panels.sheet(
        [faces.originals(results, PEOPLE), *drawn.values()],
        ["real face", *drawn],
        [f"person {person + 1}" for person in PEOPLE],
        title="Faces from four models",
    )
    paper.written(out, "face_inversion_figure_3", means, figure)


if __name__ == "__main__":
    main()
