"""Gianitsos, Figure 3: faces recovered by MI-Face from four models of the ORL faces.

python analysis/papers/face_inversion_figure_3.py [results/face_inversion_models] [--out figures]

The paper shows one face a model. Ours adds the share of the 40 people that a face recogniser names
(linear discriminant analysis, trained on real faces): the mean over seeds in the table, and beside
the images that of the drawn trial.
"""

from __future__ import annotations

from typing import Any

import faces
import pandas as pd
import panels
import paper
from comparison import compare
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


def shown_faces(
    results: Results, table: pd.DataFrame, pixels: str
) -> dict[str, list[NDArray[Any]]]:
    """Return label -> images of PEOPLE, from the first trial of each model that stored them.

    The label has the share of people who are named in that trial.
    """
    stored = table[table["trial_id"].isin(results.reconstructions["trial_id"])]
    stored = stored[stored["pixels"] == pixels].drop_duplicates("model")
    images_by_label = {}
    for row in stored.to_dict("records"):
        images = faces.rebuilt_images(results, row["trial_id"], PEOPLE)
        label = f"{row['model']}\n{row[faces.RECOGNISED]:.0f} % named"
        if not any(image.any() for image in images):
            label += "\n(these 4: no)"
        images_by_label[label] = images
    return images_by_label


def main() -> None:
    """Print recognition and accuracy of each model; draw the faces in the published form."""
    (results,), out = paper.open_results(__doc__, STORE)
    table = faces.face_table(results)
    means = faces.seed_means(table, "model", "pixels")
    means["model"] = pd.Categorical(means["model"], list(MODELS), ordered=True)
    means = means.sort_values(["pixels", "model"], ascending=[False, True])

    print(paper.scale_line(results))

    rows = [
        {
            "model": MODELS[row["model"]],
            "form": faces.FORMS[row["pixels"]],
            "recognised": compare(row[faces.RECOGNISED], None, row[f"{faces.RECOGNISED}_pm"], " %"),
            "accuracy": compare(row["accuracy"], None, row["accuracy_pm"], " %"),
        }
        for row in means.to_dict("records")
    ]
    paper.print_table(pd.DataFrame(rows), paper.table_title(["people recognised", "accuracy"]))
    drawn = shown_faces(results, table, "raw")

    figure = panels.sheet(
        [faces.original_images(results, PEOPLE), *drawn.values()],
        ["real face", *drawn],
        [f"person {person + 1}" for person in PEOPLE],
        title="Faces from four models",
    )
    paper.save(out, "face_inversion_figure_3", means, figure)


if __name__ == "__main__":
    main()
