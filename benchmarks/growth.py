"""Measure how a sweep scales with its workers, models, members and number of trials.

python -m benchmarks.growth [--json] [--repeats 5] [--full] [--figure benchmarks/growth.png]

- `workers`: trials a minute of benchmarks/spaces/growth.yaml (the thesis CNN at epsilon 8; every
  trial costs the same) with one and with two at once, in turn, counted as in `benchmarks.trial`.
- `models`: seconds of one trial of the quickstart, in one thread, with a single model and with
  ensembles of 4, 16 and 64, undefended and at epsilon 8.
- `members`: seconds of one trial (an epoch of plain training of the thesis CNN, one thread; three
  membership attacks) for 1,000 to 60,000 members of Fashion-MNIST.
- `trials`: seconds a trial of sweeps of 100 and 1,000 trials that do nothing, as
  `benchmarks.overhead` measures them. `--full` adds 10,000 and takes longer than ten minutes.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from benchmarks.common import finish, options, spread
from benchmarks.overhead import run_in_process
from benchmarks.trial import trials_per_minute

RAYSWEEP = str(Path(sys.executable).parent / "raysweep")
WORKERS = "benchmarks/spaces/growth.yaml"
QUICKSTART = Path("search_spaces/quickstart.yaml")
MODELS = (1, 4, 16, 64)
EPSILONS = {"undefended": float("inf"), "epsilon 8": 8.0}
MEMBERS = (1_000, 5_000, 20_000, 60_000)
TRIALS = (100, 1_000)
SPACE = """
name: growth
dataset:
  {{name: fashion_mnist, members: {n}, nonmembers: 1000, pool: 10, validation: 1000, test: 0}}
model: {{name: thesis_cnn}}
training: {{epochs: 1, batch_size: 64}}
search: {{l2: {{low: 1e-5, high: 1e-1, log: true}}}}
attacks: {{membership: [max_posterior, loss, entropy], inversion: {{}}}}
objectives: {{accuracy: max, attack_auc: min}}
"""


def trials_a_minute(at_once: int, trials: int) -> float:
    """Return the rate of a real sweep with ``at_once`` trials at a time."""
    with tempfile.TemporaryDirectory() as folder:
        command = [RAYSWEEP, "sweep", WORKERS, "--out", folder, "--trials", str(trials)]
        subprocess.run(
            [*command, "--max-concurrent", str(at_once)], check=True, capture_output=True
        )
        ends = sorted(file.stat().st_mtime for file in Path(folder, "trials").glob("*.parquet"))
    return trials_per_minute(ends)


def measure_workers(repeats: int) -> dict[str, Any]:
    """Return the rates with one and two workers, and their ratio."""
    turns = []
    for number in range(repeats):
        turns.append((trials_a_minute(1, 8), trials_a_minute(2, 16)))  # as long, each
        print(f"workers {number + 1} of {repeats}: {turns[-1]}", file=sys.stderr)
    return {
        "trials_a_minute_1": spread([one for one, _ in turns]),
        "trials_a_minute_2": spread([two for _, two in turns]),
        "ratio": spread([two / one for one, two in turns]),
    }


def trial_seconds(text: str, values: dict[str, Any]) -> float:
    """Return the seconds of one trial in this process, after its data are loaded."""
    import torch

    import raysweep
    from raysweep.space.parsing import parse_space

    torch.set_num_threads(1)
    config = parse_space(text, "growth.yaml").config(values)
    splits = raysweep.data.load(config.dataset, seed=config.seed)
    began = time.perf_counter()
    raysweep.run_trial(config, load=lambda _dataset, *, seed: splits)
    return time.perf_counter() - began


def quickstart_with(models: int) -> str:
    """Return the quickstart's space with so many models for each configuration."""
    document = yaml.safe_load(QUICKSTART.read_text(encoding="utf-8"))
    document["measure"] = {"models": models}
    if models == 1:
        del document["measure"]
    return yaml.safe_dump(document)


def measure_models(repeats: int) -> dict[str, Any]:
    """Return the seconds of a trial for each number of models, in turns, by privacy."""
    times: dict[str, dict[int, list[float]]] = {name: {n: [] for n in MODELS} for name in EPSILONS}
    trial_seconds(quickstart_with(MODELS[1]), {"target_epsilon": 8.0})  # imports
    for number in range(repeats):
        for name, epsilon in EPSILONS.items():
            for n in MODELS:
                seconds = trial_seconds(quickstart_with(n), {"target_epsilon": epsilon})
                times[name][n].append(seconds)
            took = {n: round(seconds[-1], 2) for n, seconds in times[name].items()}
            print(f"models, {name}, {number + 1} of {repeats}: {took}", file=sys.stderr)
    return {
        name: {str(n): spread(seconds) for n, seconds in by_models.items()}
        for name, by_models in times.items()
    }


def measure_members(repeats: int) -> dict[str, Any]:
    """Return the seconds of a trial for each number of members, in turns."""

    def seconds_of(n: int) -> float:
        return trial_seconds(SPACE.format(n=n), {"l2": 1e-3})

    seconds_of(MEMBERS[0])  # imports, and the set-up of libraries
    times: dict[int, list[float]] = {n: [] for n in MEMBERS}
    for number in range(repeats):
        for n in MEMBERS:
            times[n].append(seconds_of(n))
        took = {n: round(seconds[-1], 2) for n, seconds in times.items()}
        print(f"members {number + 1} of {repeats}: {took}", file=sys.stderr)
    return {str(n): spread(seconds) for n, seconds in times.items()}


def measure_trials(counts: tuple[int, ...]) -> dict[str, Any]:
    """Return the seconds a trial of sweeps that do nothing, and the driver's memory at their end.

    `last` is the median of the last 100 gaps between records.
    """
    figures = {}
    for n in counts:
        run = run_in_process(n)
        mean, last = statistics.fmean(run["gaps"]), statistics.median(run["gaps"][-100:])
        figures[str(n)] = {
            "mean": round(mean, 4),
            "last": round(last, 4),
            "driver_mib": run["memory"][str(n)],
        }
        print(f"trials {n}: {figures[str(n)]}", file=sys.stderr)
    return figures


def draw(result: dict[str, Any], path: Path) -> None:
    """Draw the four measurements as one figure."""
    import seaborn as sns
    from matplotlib.figure import Figure

    from raysweep.report import figures

    with sns.axes_style("whitegrid"), sns.plotting_context("notebook"):
        figure = Figure(figsize=(10.5, 8.6), layout="constrained")
        (workers, models), (members, trials) = figure.subplots(2, 2)
        rates = [result["workers"][f"trials_a_minute_{n}"]["median"] for n in (1, 2)]
        sns.barplot(x=["1", "2"], y=rates, color="#4c72b0", width=0.5, ax=workers)
        workers.axhline(2 * rates[0], color="grey", linestyle="--", label="twice one worker")
        workers.set(xlabel="trials at once, two cores", ylabel="trials a minute")
        workers.set_ylim(top=2.5 * rates[0])  # room for the legend
        workers.set_title(f"{result['workers']['ratio']['median']:.2f} x with two workers")
        workers.legend(loc="upper left")

        for name, marker in zip(EPSILONS, "os", strict=True):
            medians = [times["median"] for times in result["models"][name].values()]
            sns.lineplot(x=MODELS, y=medians, marker=marker, label=name, ax=models)
        first = result["models"]["undefended"]["1"]["median"]
        models.plot(MODELS, [first * n for n in MODELS], "--", color="grey", label="proportional")
        models.set(xscale="log", yscale="log", xlabel="models", ylabel="seconds a trial")
        models.set_xticks(MODELS, [str(n) for n in MODELS])
        models.set_title("The quickstart's trial, with its attacks")
        models.legend(loc="upper left")

        sizes = [int(n) for n in result["members"]]
        seconds = [times["median"] for times in result["members"].values()]
        sns.lineplot(x=sizes, y=seconds, marker="o", ax=members)
        unit = seconds[-1] / sizes[-1]
        proportional = [unit * n for n in sizes]
        members.plot(sizes, proportional, color="grey", linestyle="--", label="proportional")
        members.set(xscale="log", yscale="log", xlabel="members", ylabel="seconds a trial")
        members.set_title("One epoch and three attacks")
        members.legend(loc="upper left")

        counts = [int(n) for n in result["trials"]]
        costs = [1000 * cost["last"] for cost in result["trials"].values()]
        sns.lineplot(x=counts, y=costs, marker="o", ax=trials)
        trials.set(xscale="log", xlabel="trials in the sweep", ylabel="ms a trial, the last 100")
        trials.set_ylim(bottom=0)
        trials.set_title("What a trial that does nothing costs")
    figures.save(figure, path)


def main() -> None:
    """Measure the four, draw them and print the figures."""
    parser = options(__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--full", action="store_true", help="10,000 instant trials as well")
    parser.add_argument("--figure", type=Path, default=Path("benchmarks/growth.png"))
    arguments = parser.parse_args()
    counts = (*TRIALS, 10_000) if arguments.full else TRIALS
    result = {
        "workers": measure_workers(arguments.repeats),
        "models": measure_models(arguments.repeats),
        "members": measure_members(arguments.repeats),
        "trials": measure_trials(counts),
    }
    draw(result, arguments.figure)
    finish(result, as_json=arguments.json)


if __name__ == "__main__":
    main()
