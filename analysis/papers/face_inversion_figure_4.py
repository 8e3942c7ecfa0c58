"""Gianitsos, Figure 4: faces recovered from a softmax trained with DP-SGD, against epsilon.

python analysis/papers/face_inversion_figure_4.py [results/face_inversion_dp] [--out figures]

Published: at epsilon 430 a face is "almost completely unidentifiable". Ours counts the people whom
a face recogniser names (linear discriminant analysis, trained on real faces). Faces count as gone
when it names fewer than a tenth of the 40. A second figure has that share and the target's accuracy
against epsilon. Also published: DP adds white noise to a face and does not blur it.
"""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

import faces
import numpy as np
import pandas as pd
import panels
import paper
from comparison import compare

from raysweep.records.results import Results
from raysweep.report import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STORE = "face_inversion_dp"
ACCURACY = {0.0: 83.0, 0.4: 79.0}  # published, % by sigma
SHOWN = [0.0, 0.001, 0.01, 0.1, 0.4, 1.1, 1.5, 3.5]
PEOPLE = [2, 3]
GONE = 10.0  # %
PUBLISHED_THRESHOLD = 430


def threshold(means: pd.DataFrame) -> tuple[float, float]:
    """Return the two neighbouring epsilons between which recognition falls below GONE for good.

    At the first and below it all shares are under GONE. The second is the next one measured.
    """
    ordered = means.sort_values("epsilon")
    seen = ordered[faces.RECOGNISED].to_numpy() >= GONE
    first = int(np.argmax(seen)) if seen.any() else len(ordered)
    spent = [0.0, *ordered["epsilon"], inf]
    return spent[first], spent[first + 1]


def shown_trials(results: Results, table: pd.DataFrame) -> pd.DataFrame:
    """Return a row a noise multiplier of SHOWN with ``images`` of PEOPLE in the published form."""
    stored = table[table["trial_id"].isin(results.reconstructions["trial_id"])]
    stored = stored[stored["pixels"] == "raw"].drop_duplicates("noise_multiplier")
    stored = stored[stored["noise_multiplier"].isin(SHOWN)].sort_values("noise_multiplier")
    images = [faces.rebuilt_images(results, trial, PEOPLE) for trial in stored["trial_id"]]
    return stored.assign(images=pd.Series(images, index=stored.index))


def smoothness_table(results: Results, drawn: pd.DataFrame) -> pd.DataFrame:
    """Return the smoothness of the images, means over PEOPLE."""
    real = [faces.smoothness(image) for image in faces.original_images(results, PEOPLE)]
    rows = [{"image": "real face", "correlation": np.mean(real)}]
    for sigma, images in zip(drawn["noise_multiplier"], drawn["images"], strict=True):
        mean = np.mean([faces.smoothness(image) for image in images])
        rows.append({"image": f"rebuilt, sigma {sigma:g}", "correlation": mean})
    return pd.DataFrame(rows).round(2)


def face_sheet(results: Results, stored: pd.DataFrame, means: pd.DataFrame) -> Figure:
    """Return PEOPLE in rows, the real and the rebuilt faces in columns."""
    columns = [faces.original_images(results, PEOPLE), *stored["images"]]
    share = means.query("pixels == 'raw'").set_index("noise_multiplier")[faces.RECOGNISED]
    names = ["real face"]
    for sigma, epsilon in zip(stored["noise_multiplier"], stored["epsilon"], strict=True):
        label = f"eps {epsilon:,.0f}" if epsilon < 1e4 else f"eps {epsilon:.2g}"
        label = label if sigma else "no DP"
        names.append(f"{label}\n{share[sigma]:.0f} % named")
    rows = [list(row) for row in zip(*columns, strict=True)]
    return panels.sheet(
        rows,
        [f"person {p + 1}" for p in PEOPLE],
        names,
        title="More noise: the picture goes first, the name later",
    )


def main() -> None:
    """Print recognition and accuracy over sigma; draw the faces, and both against epsilon."""
    (results,), out = paper.open_results(__doc__, STORE)
    table = faces.face_table(results)
    means = faces.seed_means(table, "pixels", "noise_multiplier")
    means = means.sort_values(["pixels", "noise_multiplier"], ascending=[False, True])

    print(paper.scale_line(results))
    for form, group in means.groupby("pixels", sort=False):
        rows = [
            {
                "sigma": f"{row['noise_multiplier']:g}",
                "epsilon": f"{row['epsilon']:.4g}",
                "recognised": compare(
                    row[faces.RECOGNISED], None, row[f"{faces.RECOGNISED}_pm"], " %"
                ),
                "accuracy": compare(
                    row["accuracy"], ACCURACY.get(row["noise_multiplier"]), row["accuracy_pm"], " %"
                ),
            }
            for row in group.to_dict("records")
        ]
        paper.print_table(
            pd.DataFrame(rows), f"MI-Face {faces.FORMS[str(form)]}: ours | published | difference"
        )
        low, high = threshold(group)
        print(
            f"Fewer than {GONE:.0f} % of the people are recognised from epsilon {low:.3g} down, "
            f"more at {high:.3g} | published {PUBLISHED_THRESHOLD}"
        )
    _write_curves(out, means)
    drawn = shown_trials(results, table)
    title = "Correlation of neighbouring pixels (white noise 0, blur towards 1)"
    paper.print_table(smoothness_table(results, drawn), title)
    paper.save(out, "face_inversion_figure_4", means, face_sheet(results, drawn, means))


def _write_curves(out: Path, means: pd.DataFrame) -> None:
    named = means.assign(form=means["pixels"].map(faces.FORMS))
    published = {"epsilon": [PUBLISHED_THRESHOLD], "accuracy": [ACCURACY[0.4]]}
    published |= {faces.RECOGNISED: [0.0]}

    figure = panels.curves(
        named[np.isfinite(named["epsilon"])],
        "epsilon",
        {faces.RECOGNISED: "people recognised, %", "accuracy": "accuracy (validation), %"},
        "form",
        title="Where faces are gone, so is accuracy",
        x_label="epsilon (smaller = more private)",
        log=["epsilon"],
        published=pd.DataFrame(published),
    )
    print(f"\nFigure: {figures.save(figure, out / 'face_inversion_figure_4_curves.png')}")


if __name__ == "__main__":
    main()
