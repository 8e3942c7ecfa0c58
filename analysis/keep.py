"""Copy finished trials out of results folders into a small store that can be committed.

    python analysis/keep.py results/face_inversion_dp [MORE ...] analysis/results/face_inversion_dp

Several folders become one store, for example the seeds of a sweep that were run apart. Each table
becomes one file. Scores are left out. Of the reconstructions only the first ``--images`` of each
attack and trial of the first seed are copied, with pixels rounded to 256 greys. ``--labels`` limits
them to some classes. Files that are already in the target are overwritten.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd

import raysweep

MACHINE = ["node", "error", "retries"]  # columns about our machine, which are emptied
FILE = "merged-000001.parquet"  # the name of a file that holds the rows of many trials


def select_images(
    reconstructions: pd.DataFrame, trials: pd.DataFrame, n: int, labels: list[int]
) -> pd.DataFrame:
    """Return the first ``n`` reconstructions of each attack on each trial of the first seed.

    ``labels`` limits them to some classes; an empty list takes all.
    """
    first_seed = trials.loc[trials["seed"] == trials["seed"].min(), "trial_id"]
    images = reconstructions[reconstructions["trial_id"].isin(first_seed)]
    if labels:
        images = images[images["label"].isin(labels)]

    images = images.groupby(["trial_id", "attack", "layer"], dropna=False).head(n)
    return images.assign(
        original=images["original"].map(round_pixels), image=images["image"].map(round_pixels)
    )


def round_pixels(image: np.ndarray) -> np.ndarray:
    """Return pixels in [0, 1] as multiples of 1 / 255, which compress to a byte each."""
    return (np.round(255 * image) / 255).astype(np.float32)


def main() -> None:
    """Write space.yaml and one file for each table, and print how much they hold."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", nargs="+", help="results folders, of equal data and attacks")
    parser.add_argument("target", type=Path, help="folder to write, before --labels")
    parser.add_argument("--images", type=int, default=0, help="of each attack, trial and layer")
    parser.add_argument("--labels", type=int, nargs="*", default=[], help="of these classes")
    arguments = parser.parse_args()

    results = raysweep.load(*arguments.sources)
    trials = results.trials.query("status == 'ok'")
    kept = trials["trial_id"]
    images = select_images(
        results.reconstructions, trials, arguments.images, labels=arguments.labels
    )
    tables = {
        "trials": trials.assign(**dict.fromkeys(MACHINE)),
        "attacks": results.attacks[results.attacks["trial_id"].isin(kept)],
        "epochs": results.epochs[results.epochs["trial_id"].isin(kept)],
        "reconstructions": images,
    }

    for name, table in tables.items():
        (arguments.target / name).mkdir(parents=True, exist_ok=True)
        (arguments.target / name / FILE).unlink(missing_ok=True)
        if len(table):
            table.to_parquet(arguments.target / name / FILE, index=False, compression="zstd")
    with fsspec.open(f"{arguments.sources[0]}/space.yaml", "rb") as file:
        (arguments.target / "space.yaml").write_bytes(file.read())
    print(f"{len(trials)} trials, {len(images)} images: {arguments.target}")


if __name__ == "__main__":
    main()
