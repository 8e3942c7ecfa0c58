"""Sweeps on a real cluster: three hosts, `ray up`, real digits, real kills. `make test-cluster`."""

from pathlib import Path

import pandas as pd
import pytest

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
ROOT = Path(__file__).parent.parent.parent

SMALL = """\
name: small
dataset: {name: digits, members: 120, nonmembers: 60, pool: 200, validation: 100, test: 100}
model: {name: mlp, hidden: [32], activation: tanh}
training: {epochs: 4, batch_size: 16, learning_rate: 1e-2}
search: {dropout: {low: 0.0, high: 0.5}}
attacks: {membership: [max_posterior, loss], inversion: {activation_decoder: {decoders: [ridge]}}}
sampler: {name: random, trials: 8}
resources: {cpu: 0.5, gpu: 0.25}
seed: 3
"""


def trials(cluster, out):
    """Return the records that a sweep left on the head, and when each was written."""
    folder = cluster.hosts.homes[0] / out / "trials"
    files = sorted(folder.glob("*.parquet"))
    return pd.concat([pd.read_parquet(f) for f in files]), {
        f.name: f.stat().st_mtime_ns for f in files
    }


def write(cluster, name, text):
    (cluster.hosts.homes[0] / name).write_text(text)


def test_a_sweep_starts_with_no_worker_packs_its_trials_and_ends_with_none(cluster):
    assert cluster.workers() == []
    write(cluster, "raysweep/small.yaml", SMALL)
    script = ROOT / "sweep_on_cluster.py"
    done = cluster.ray("submit", cluster.file, script, "small.yaml", "--trials", "12")
    assert "12 trials, 0 failed" in done.stdout
    found, _ = trials(cluster, "results/small")
    assert len(found) == 12
    assert set(found["node"]) <= {"host1", "host2"}  # the head trains nothing
    cluster.wait_for_workers(0, seconds=180)
