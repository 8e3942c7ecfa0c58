"""Measure sweeps of many nodes, trials and records, with trials that return at once.

python -m benchmarks.scale [--shapes 1x2:10000 16x4:1000 64x1:1000] [--records 10000 100000]

A shape is nodes x trials at once on each: trials. The nodes have logical CPUs of
`ray.cluster_utils` on this machine. On each shape a real sweep runs by the random sampler, whose
trials return the rows of one real trial. Printed are trials a minute, and the driver's CPU seconds
a trial and largest memory. The same figures of Ray Tune alone with instant trials on the same nodes
have `tune` in their names. After nine tenths of the trials the sweep is continued, killed, and
continued again: `continue_seconds` is the time from the last command to its first new record.
`read` holds the seconds of `raysweep front`, `best` and `report`, from the prompt, on that many
records, merged as in a long sweep.

64 trials at once need 64 processes. Two cores start them one after the other, and Tune stops those
that are too late for their trial. So few trials are measured there.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import pickle
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.common import finish, options
from benchmarks.nodes import Nodes
from benchmarks.overhead import TEMPLATE, run_instantly

if TYPE_CHECKING:
    import pyarrow as pa

SPACE = "benchmarks/spaces/faults.yaml"
RAYSWEEP = str(Path(sys.executable).parent / "raysweep")


def write_template(file: Path) -> None:
    """Run one real trial and write its rows to ``file``, for all others."""
    import raysweep

    rows = raysweep.run_trial(raysweep.load_space(SPACE).baseline())
    file.write_bytes(pickle.dumps(rows))


def process_cost(began: float) -> dict[str, float]:
    """Return seconds since ``began``, CPU seconds and peak memory of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": round(time.perf_counter() - began, 2),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 2),
        "peak_mib": round(used.ru_maxrss / 1024),
    }


def run_sweep(trials: int, address: str, out: str) -> None:
    """Sweep instant trials in this process, and print the cost."""
    import raysweep
    from raysweep.driver import worker
    from raysweep.driver.sweep import sweep

    worker.run = run_instantly
    began = time.perf_counter()
    sweep(raysweep.load_space(SPACE), out=out, trials=trials, address=address)
    print(json.dumps(process_cost(began)))


def run_tune(trials: int, address: str) -> None:
    """Run instant trials by Tune alone, without proposals, records or progress; print the cost."""
    import ray
    from ray import tune

    def nothing(_config: dict[str, Any]) -> None:
        tune.report({"x": 1})

    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        tune.Tuner(
            tune.with_resources(nothing, {"cpu": 1}),
            param_space={"seed": tune.uniform(0, 1)},
            tune_config=tune.TuneConfig(num_samples=trials, reuse_actors=True),
            run_config=tune.RunConfig(storage_path=scratch, verbose=0),
        ).fit()
    print(json.dumps(process_cost(began)))


def run_child(*arguments: str) -> dict[str, float]:
    """Run one of the two above in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.scale", *arguments],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    cost: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return cost


def first_record_seconds(command: list[str], out: Path) -> float:
    """Return the seconds from a command to the first record that it adds, and SIGKILL it."""
    before = {file.name for file in (out / "trials").iterdir()}
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.scale", *command],
        stdout=subprocess.DEVNULL,
    )

    try:
        while not {f.name for f in (out / "trials").glob("*.parquet")} - before:
            if process.poll() is not None:
                raise RuntimeError(f"the sweep ended with {process.returncode} and no new record")
            time.sleep(0.01)
        return round(time.perf_counter() - began, 2)
    finally:
        process.kill()
        process.wait()


def measure_shape(nodes: int, at_once: int, trials: int, folder: Path) -> dict[str, Any]:
    """Measure a sweep, its continuation, and Tune alone on one shape of cluster."""
    out = folder / f"{nodes}x{at_once}"
    figures: dict[str, Any] = {"nodes": nodes, "at_once": at_once, "trials": trials}
    tenth = trials - trials // 10

    with Nodes(workers=nodes, cpus=at_once) as cluster:
        tune = run_child("--tune", str(trials), cluster.address)
        sweep = run_child("--sweep", str(tenth), cluster.address, str(out))
        more = ["--sweep", str(trials), cluster.address, str(out)]
        first_record_seconds(more, out)
        figures["continue_seconds"] = first_record_seconds(more, out)

    figures["trials_a_minute"] = round(60 * tenth / sweep["seconds"])
    figures["trials_a_minute_tune"] = round(60 * trials / tune["seconds"])
    figures["driver_cpu_seconds_a_trial"] = round(sweep["cpu_seconds"] / tenth, 5)
    figures["driver_cpu_seconds_a_trial_tune"] = round(tune["cpu_seconds"] / trials, 5)
    figures["driver_peak_mib"], figures["tune_peak_mib"] = sweep["peak_mib"], tune["peak_mib"]
    return figures


def fill(out: Path, records: int, template: Path) -> None:
    """Write a results folder of ``records`` trials, 500 a file, with attacks and scores."""
    import numpy as np
    import yaml

    import raysweep
    from raysweep.records.compaction import TOGETHER
    from raysweep.records.store import Store
    from raysweep.records.tables import row_of, tables_of

    store, rng = Store(str(out)), np.random.default_rng(0)
    document = json.loads(json.dumps(raysweep.load_space(SPACE).to_plain()))
    store.folder.write_bytes(yaml.safe_dump(document).encode(), "space.yaml")
    result = pickle.loads(template.read_bytes())
    tables = tables_of(result) | {"trials": row_of(result.trial)}
    one = {name: rows for name, rows in tables.items() if rows}
    for number in range(0, records, TOGETHER):
        ids = [f"{number + i:016x}" for i in range(TOGETHER)]
        accuracy, noise, dropout = rng.random((3, TOGETHER))
        varied = {
            "number": number + np.arange(TOGETHER),
            "accuracy": accuracy,
            "attack_auc": 0.5 + accuracy / 4 + noise / 50,
            "dropout": 0.7 * dropout,
        }
        for name, rows in one.items():
            columns = {"trial_id": np.repeat(ids, len(rows))}
            if name == "trials":
                columns |= varied
            part = _copies(rows, columns)
            store.write_table(part, name, f"merged-{1 + number // TOGETHER:06d}")


def _copies(rows: pa.Table, columns: dict[str, Any]) -> pa.Table:
    """Return ``rows`` TOGETHER times, with the values of ``columns`` in their place."""
    import pyarrow as pa

    from raysweep.records.compaction import TOGETHER

    copies = pa.concat_tables([rows] * TOGETHER)
    for name, values in columns.items():
        place = rows.schema.get_field_index(name)
        copies = copies.set_column(place, name, pa.array(values, rows.schema.field(name).type))
    return copies


def read_seconds(out: Path) -> dict[str, float]:
    """Return the seconds of the reading commands from the prompt, the median of three runs."""
    commands = {
        "front": ["front", str(out)],
        "best": ["best", str(out), "--where", "accuracy>0.5"],
        "report": ["report", str(out), "--out", str(out.parent / "report.html")],
    }
    seconds = {}
    for name, command in commands.items():
        times = []
        for _ in range(3):
            began = time.perf_counter()
            subprocess.run([RAYSWEEP, *command], check=True, stdout=subprocess.DEVNULL)
            times.append(time.perf_counter() - began)
        seconds[name] = round(sorted(times)[1], 2)
    return seconds


def main() -> None:
    """Measure every shape and every number of records, and print the figures."""
    parser = options(__doc__)
    parser.add_argument("--shapes", nargs="*", default=["1x2:10000", "16x4:1000", "64x1:1000"])
    parser.add_argument("--records", nargs="*", type=int, default=[10_000, 100_000])
    parser.add_argument("--sweep", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--tune", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.sweep:
        trials, address, out = arguments.sweep
        return run_sweep(int(trials), address, out)
    if arguments.tune:
        return run_tune(int(arguments.tune[0]), arguments.tune[1])

    with tempfile.TemporaryDirectory(prefix="scale-") as temporary:
        folder = Path(temporary)
        write_template(folder / "template.pickle")
        os.environ[TEMPLATE] = str(
            folder / "template.pickle"
        )  # workers inherit it from their nodes
        sweeps = []
        for shape in arguments.shapes:
            nodes, at_once, trials = map(int, re.split("[x:]", shape))
            sweeps.append(measure_shape(nodes, at_once, trials, folder))
            print(sweeps[-1], file=sys.stderr, flush=True)
        read = {}
        for records in arguments.records:
            fill(folder / str(records), records, folder / "template.pickle")
            read[str(records)] = read_seconds(folder / str(records))

    return finish({"sweeps": sweeps, "read": read}, as_json=arguments.json)


if __name__ == "__main__":
    main()
