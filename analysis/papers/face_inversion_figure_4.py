"""Gianitsos, Figure 4: faces recovered from a softmax trained with DP-SGD, against epsilon.

python analysis/papers/face_inversion_figure_4.py [results/face_inversion_dp] [--out figures]

Published: at epsilon 430 a face is "almost completely unidentifiable". Ours asks an independent eye
(linear discriminant analysis of real faces) how many of the 40 people it recognises; a face is gone
below a tenth. A second figure has that share and the target's accuracy against epsilon.
Published too: DP adds white noise to a face and does not blur it.
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
from comparison import beside

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
    """Return between which epsilons the share of recognised people falls below GONE, for good.

    The first is the largest below which all are under it, the second the next one measured.
    """
    own = means.sort_values("epsilon")
    seen = own[faces.RECOGNISED].to_numpy() >= GONE
    first = int(np.argmax(seen)) if seen.any() else len(own)
    spent = [0.0, *own["epsilon"], inf]
    return spent[first], spent[first + 1]


def pictures(results: Results, table: pd.DataFrame) -> pd.DataFrame:
    """Return a row a noise multiplier of SHOWN with ``images`` of PEOPLE in the published form."""
    kept = table[table["trial_id"].isin(results.reconstructions["trial_id"])]
    kept = kept[kept["pixels"] == "raw"].drop_duplicates("noise_multiplier")
    kept = kept[kept["noise_multiplier"].isin(SHOWN)].sort_values("noise_multiplier")
    images = [faces.rebuilt(results, trial, PEOPLE) for trial in kept["trial_id"]]
    return kept.assign(images=pd.Series(images, index=kept.index))


def smooth(results: Results, drawn: pd.DataFrame) -> pd.DataFrame:
    """Return how smooth the images are, means over PEOPLE."""
    real = [faces.smoothness(image) for image in faces.originals(results, PEOPLE)]
    rows = [{"image": "real face", "correlation": np.mean(real)}]
    for sigma, images in zip(drawn["noise_multiplier"], drawn["images"], strict=True):
        mean = np.mean([faces.smoothness(image) for image in images])
        rows.append({"image": f"rebuilt, sigma {sigma:g}", "correlation": mean})
    return pd.DataFrame(rows).round(2)


def sheet(results: Results, kept: pd.DataFrame, means: pd.DataFrame) -> Figure:
    """Return PEOPLE in rows, the real face and what was rebuilt in columns."""
    columns = [faces.originals(results, PEOPLE), *kept["images"]]
    share = means.query("pixels == 'raw'").set_index("noise_multiplier")[faces.RECOGNISED]
    names = ["real face"]
    for sigma, epsilon in zip(kept["noise_multiplier"], kept["epsilon"], strict=True):
        told = f"eps {epsilon:,.0f}" if epsilon < 1e4 else f"eps {epsilon:.2g}"
        told = told if sigma else "no DP"
        names.append(f"{told}\n{share[sigma]:.0f} % named")
    rows = [list(row) for row in zip(*columns, strict=True)]
    return panels.sheet(
        rows,
        [f"person {p + 1}" for p in PEOPLE],
        names,
        title="More noise: the picture goes first, the name later",
    )


def main() -> None:
    """Print recognition and accuracy over sigma; draw the faces, and both against epsilon."""
    (results,), out = paper.opened(__doc__, STORE)
    table = faces.measured(results)
    means = faces.by(table, "pixels", "noise_multiplier")
    means = means.sort_values(["pixels", "noise_multiplier"], ascending=[False, True])
    print(paper.scale(results))
    for form, own in means.groupby("pixels", sort=False):
        rows = [
            {
                "sigma": f"{row['noise_multiplier']:g}",
                "epsilon": f"{row['epsilon']:.4g}",
                "recognised": beside(
                    row[faces.RECOGNISED], None, row[f"{faces.RECOGNISED}_pm"], " %"
                ),
                "accuracy": beside(
                    row["accuracy"], ACCURACY.get(row["noise_multiplier"]), row["accuracy_pm"], " %"
                ),
            }
            for row in own.to_dict("records")
        ]
        paper.told(
            pd.DataFrame(rows), f"MI-Face {faces.FORMS[str(form)]}: ours | published | difference"
        )
        low, high = threshold(own)
        print(
            f"Fewer than {GONE:.0f} % of the people are recognised from epsilon {low:.3g} down, "
            f"more at {high:.3g} | published {PUBLISHED_THRESHOLD}"
        )
    _write_curves(out, means)
    drawn = pictures(results, table)
    paper.told(
        smooth(results, drawn), "Correlation of neighbouring pixels (white noise 0, blur towards 1)"
    )
    paper.written(out, "face_inversion_figure_4", means, sheet(results, drawn, means))


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
