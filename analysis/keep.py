"""Copy finished trials out of results folders into a small store that can be committed.

python analysis/keep.py results/face_inversion_dp [MORE...] analysis/results/face_inversion_dp

Several folders become one store: the seeds of a sweep that were run apart, say. Each table becomes
one file; scores stay behind, and so do reconstructions but for ``--images`` of each attack and
trial of the first seed (of ``--labels`` alone), their pixels rounded to 256 greys. What is there is
written over.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
import pyarrow as pa

import raysweep
from raysweep.records.compaction import FIRST
from raysweep.records.folder import SPACE
from raysweep.records.results import Results
from raysweep.records.store import Store
from raysweep.records.tables import SCHEMAS

PRIVATE = ["node", "error", "retries"]  # the machine's own business


def images(results: Results, trials: pd.DataFrame, n: int, labels: list[int]) -> pd.DataFrame:
    """Return the first ``n`` reconstructions of each attack on each trial of the first seed."""
    first = trials.loc[trials["seed"] == trials["seed"].min(), "trial_id"]
    found = results.reconstructions
    found = found[found["trial_id"].isin(first) & (found["label"].isin(labels) | (not labels))]
    found = found.groupby(["trial_id", "attack", "layer"], dropna=False).head(n)
    pixels = {name: found[name].map(rounded) for name in ("original", "image")}
    return found.assign(**pixels)


def rounded(image: np.ndarray) -> np.ndarray:
    """Return pixels in [0, 1] as multiples of 1 / 255: they compress to a byte each."""
    return (np.round(255 * image) / 255).astype(np.float32)


def main() -> None:
    """Write space.yaml and a file a table; print what they hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", nargs="+", help="results folders, of equal data and attacks")
    parser.add_argument("target", help="folder to write, before --labels")
    parser.add_argument("--images", type=int, default=0, help="of each attack, trial and layer")
    parser.add_argument("--labels", type=int, nargs="*", default=[], help="of these classes")
    arguments = parser.parse_args()
    results = raysweep.load(*arguments.sources)
    trials = results.trials.query("status == 'ok'").assign(**dict.fromkeys(PRIVATE))
    pictures = images(results, trials, arguments.images, arguments.labels)
    tables = {"trials": trials, "reconstructions": pictures}
    for name in ("attacks", "epochs"):
        frame: pd.DataFrame = getattr(results, name)
        tables[name] = frame[frame["trial_id"].isin(trials["trial_id"])]
    store = Store(arguments.target)
    store.folder.write_bytes(results.stores[0].folder.read_bytes(SPACE), SPACE)
    for name, frame in tables.items():
        rows = pa.Table.from_pandas(frame, schema=SCHEMAS[name], preserve_index=False)
        store.write_table(rows, name, FIRST)
    print(f"{len(trials)} trials, {len(pictures)} images: {arguments.target}")


if __name__ == "__main__":
    main()
