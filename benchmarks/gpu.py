"""Compare a GPU with the CPU, and ways of filling it: figures first, then speed.

python -m benchmarks.gpu [--device cuda|cpu] [--quick] [--only figures step packed sweeps] [--json]

figures   one trial on the device and on the CPU: their figures and whether they agree
step      a DP-SGD step against Opacus' and against a step without DP, and its clipped sum; on a
          GPU also the share of an epoch in which it computed, and how often the CPU waited for it
packed    1, 4, 16 and 64 models of one recipe at once against one after the other
sweeps    1, 2, 4 and 8 trials at once through Ray: trials a minute, load and memory by NVML, and
          trainings a minute against eight packed in one process; whether a trial's share of the
          memory holds, and what becomes of a trial whose share is too small

Real Fashion-MNIST. With ``--device cpu`` all of it runs on the CPU, to test the program: its
figures say nothing of a GPU. ``--quick`` takes small sizes. A table comes last.
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import raysweep
from benchmarks.common import finish, options, spread
from benchmarks.opacus_step import opacus_step, sum_error
from benchmarks.trial import trials_per_minute
from raysweep import data
from raysweep.config import Training
from raysweep.data import Split, Splits
from raysweep.defences import Defences
from raysweep.driver.worker import _set_up_device
from raysweep.errors import RaysweepError
from raysweep.models import NamedModel
from raysweep.records.results import records
from raysweep.training.devices import is_lack_of_memory
from raysweep.training.loop import Epoch, train
from raysweep.training.packing import Packing, train_all
from raysweep.training.recipe import Recipe, plain_recipe
from raysweep.training.target import pixels
from raysweep.trial.preflight import recipe_of

RAYSWEEP = str(Path(sys.executable).parent / "raysweep")
SPACE = "benchmarks/spaces/trial_fashion_mnist.yaml"

QUICK = {
    "dataset.members": 100,
    "dataset.nonmembers": 100,
    "dataset.pool": 200,
    "dataset.validation": 100,
    "training.epochs": 1,
}
"""Settings of the space with ``--quick``."""

MODELS: dict[str, dict[str, Any]] = {
    "thesis_cnn": {"name": "thesis_cnn"},
    "vgg4": {"name": "vgg4", "norm": "group"},
    "mlp": {"name": "mlp", "hidden": [128], "activation": "tanh"},
}

Precision = Literal["fp32", "bf16"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")

AGREE = {"accuracy": 0.05, "attack_auc": 0.05, "epsilon": 1e-9, "inversion_mse": 0.01}
"""The largest differences of a GPU's figures from the CPU's that are put down to chance.

Devices draw other noise and other dropout from the same seed. Epsilon does not depend on them.
"""


def load(quick: bool, **more: Any) -> raysweep.Space:
    """Return the space of the benchmark, with ``more`` settings of it."""
    return raysweep.load_space(SPACE, {**(QUICK if quick else {}), **more})


def wait_for(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(task: Callable[[], object], device: torch.device) -> float:
    """Return the seconds that ``task`` takes on the device."""
    wait_for(device)
    start = time.perf_counter()
    task()
    wait_for(device)
    return time.perf_counter() - start


# --- figures


def compare_figures(device: torch.device, *, quick: bool) -> dict[str, Any]:
    """Return the figures of two trials on the device and on the CPU, and whether they agree."""
    found: dict[str, Any] = {}
    private = load(quick).config({"dropout": 0.0, "l2": 0.0})  # at the space's epsilon
    for name, config in {"undefended": load(quick).baseline(), "private": private}.items():
        pair = [raysweep.run_trial(config, device=d).trial for d in (device, torch.device("cpu"))]
        rows = {
            key: [None if getattr(r, key) is None else float(getattr(r, key)) for r in pair]
            for key in AGREE
        }
        found[name] = {
            key: {"device": a, "cpu": b, "agree": a == b or abs(a - b) <= AGREE[key]}
            for key, (a, b) in rows.items()
            if a is not None and b is not None
        }
    return found


# --- step


def recipe_for(model: str, members: Split, *, precision: Precision, private: bool) -> Recipe:
    """Return how ``model`` is trained for two epochs of eight batches or more, at most 256 each."""
    batch_size = min(256, len(members) // 8)
    training = Training(
        epochs=2, batch_size=batch_size, optimizer="sgd", learning_rate=0.1, precision=precision
    )
    recipe = plain_recipe(NamedModel.parse(MODELS[model]).model.build, training)
    if not private:
        return recipe
    return Defences.parse({"noise_multiplier": 1.0}).apply(recipe, members)


def step_seconds(recipe: Recipe, members: Split, device: torch.device) -> float:
    """Return the seconds of a step in the second of two epochs."""
    ends: list[float] = []

    def note(_epoch: Epoch) -> bool:
        wait_for(device)
        ends.append(time.perf_counter())
        return True

    train(recipe, members, seed=0, device=device, on_epoch=note)
    return (ends[1] - ends[0]) / (len(members) / recipe.training.batch_size)


def profile_epoch(recipe: Recipe, members: Split, device: torch.device) -> dict[str, float]:
    """Return the share of the second epoch in which the GPU computed, and the waits for it.

    Two waits read the losses and the right predictions at its end, one copies the batches' rows.
    The profiler slows the epoch down, so the share is at least what is returned.
    """
    profiler, ends = torch.profiler.profile(), []

    def note(epoch: Epoch) -> bool:
        if epoch.number == 1:
            profiler.start()
            wait_for(device)
            torch.cuda.set_sync_debug_mode("warn")
        else:
            torch.cuda.set_sync_debug_mode("default")
            wait_for(device)
        ends.append(time.perf_counter())
        if epoch.number == 2:
            profiler.stop()
        return True

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            train(recipe, members, seed=0, device=device, on_epoch=note)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    on_gpu = [e for e in profiler.key_averages() if e.device_type.name == "CUDA"]
    microseconds = sum(event.self_device_time_total for event in on_gpu)
    waits = sum("called a synchronizing" in str(warning.message) for warning in seen)
    return {"busy_share": microseconds / 1e6 / (ends[1] - ends[0]), "waits_an_epoch": waits}


def batch(members: Split, n: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the pixels and labels of the first ``n`` members."""
    x, y = members.tensors(device)
    return pixels(x[:n], members), y[:n]


def opacus_step_seconds(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Return the median of three steps of Opacus on one batch."""
    hooked, optimizer = opacus_step(model, noise_multiplier=1.0)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(hooked(x), y, reduction="sum").backward()
        optimizer.step()

    step()
    return statistics.median(seconds_of(step, x.device) for _ in range(3))


def compare_steps(device: torch.device, *, quick: bool) -> dict[str, Any]:
    """Return the seconds of a step of each model and precision: ours, plain, Opacus'."""
    sizes = {"members": 128 if quick else 5120, "nonmembers": 10, "pool": 10}
    dataset = {"name": "fashion_mnist", **sizes, "validation": 10, "test": 10}
    members, found = data.load(dataset, seed=0).members, {}

    for model in ("thesis_cnn",) if quick else ("thesis_cnn", "vgg4"):
        x, y = batch(members, min(256, len(members) // 8), device)
        build = NamedModel.parse(MODELS[model]).model.build
        models = [build(members.shape, members.n_classes).to(device) for _ in range(2)]
        for precision in PRECISIONS:
            row: dict[str, Any] = {}
            try:
                for name, private in {"private": True, "plain": False}.items():
                    recipe = recipe_for(model, members, precision=precision, private=private)
                    row[name] = step_seconds(recipe, members, device)
                    if device.type == "cuda":
                        row[f"{name}_epoch"] = profile_epoch(recipe, members, device)
            except RaysweepError as error:  # a CPU without bf16
                found[f"{model}_{precision}"] = {"reason": str(error)}
                continue
            row |= {"private_over_plain": row["private"] / row["plain"]}
            if precision == "fp32":
                opacus = opacus_step_seconds(models[0], x, y)
                row |= {"opacus": opacus, "opacus_over_private": opacus / row["private"]}
                row |= {"relative_error_of_sum": sum_error(models[1], x[:64], y[:64])}
            found[f"{model}_{precision}"] = row
    return found


# --- packed


def compare_packed(device: torch.device, *, quick: bool) -> dict[str, Any]:
    """Return the seconds a model of K models at once, and of at most MOST_ALONE one by one."""
    found = {}
    for model in ("mlp", "thesis_cnn"):
        config = load(quick, model=MODELS[model]).baseline()
        splits = data.load(config.dataset, seed=config.seed)
        recipe = recipe_of(config, splits)
        for k in (1, 4) if quick else (1, 4, 16, 64):
            found[f"{model}_{k}"] = pack(recipe, _halves(splits, k), device)
    return found


MOST_ALONE = 8
"""Most models that are trained one after the other: each takes as long as the one before."""


def pack(recipe: Recipe, members: Sequence[Split], device: torch.device) -> dict[str, Any]:
    """Return the seconds a model one by one, of all at once, and as a sweep would train them."""
    seeds, few = range(len(members)), members[:MOST_ALONE]
    one_by_one = Packing(recipe, few, seeds[: len(few)], device)
    alone = seconds_of(lambda: list(one_by_one.train_one_by_one()), device) / len(few)
    found: dict[str, Any] = {"seconds_a_model_alone": alone, "models_alone": len(few)}

    packing = Packing(recipe, members, seeds, device)
    if not packing.is_possible:
        return found | {"reason": "one model, or layers that cannot be packed: one by one"}
    try:
        together = seconds_of(packing.train, device) / len(members)
        found |= {"seconds_a_model": together, "times_as_fast": alone / together}
    except RuntimeError as error:
        if not is_lack_of_memory(error):
            raise
        found |= {"reason": "the memory is too small for all at once"}

    chosen = seconds_of(lambda: train_all(recipe, members, seeds=seeds, device=device), device)
    return found | {
        "seconds_a_model_of_a_sweep": chosen / len(members),
        "is_chosen": packing.is_faster,
    }


def _halves(splits: Splits, k: int) -> list[Split]:
    """Return ``k`` random sets of as many examples of the pool as there are members."""
    n = min(len(splits.members), len(splits.pool))
    orders = [np.random.default_rng(number).permutation(len(splits.pool)) for number in range(k)]
    return [splits.pool.rows(order[:n]) for order in orders]


# --- sweeps


class Nvml:
    """The load (%) and the used memory (MiB) of the first GPU, read four times a second."""

    def __init__(self) -> None:
        self.load: list[float] = []
        self.memory: list[float] = []

    @contextlib.contextmanager
    def watch(self) -> Iterator[None]:
        """Read until the end of the block."""
        from ray._private.thirdparty import pynvml

        pynvml.nvmlInit()
        gpu, is_over = pynvml.nvmlDeviceGetHandleByIndex(0), threading.Event()

        def read() -> None:
            while not is_over.wait(0.25):
                self.load.append(float(pynvml.nvmlDeviceGetUtilizationRates(gpu).gpu))
                self.memory.append(pynvml.nvmlDeviceGetMemoryInfo(gpu).used / 2**20)

        thread = threading.Thread(target=read)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()
            pynvml.nvmlShutdown()

    def figures(self) -> dict[str, Any]:
        """Return the spread of the load, and the largest memory."""
        return {"load": spread(self.load), "peak_memory_mib": max(self.memory)}


def run_sweep(
    folder: str, device: torch.device, *, gpu: float, trials: int, at_once: int, quick: bool
) -> list[dict[str, Any]]:
    """Run a sweep each of whose trials has the share ``gpu`` of the device; return its records."""
    share = gpu if device.type == "cuda" else 0
    command = [RAYSWEEP, "sweep", SPACE, "--out", folder, "--trials", str(trials)]
    command += ["--max-concurrent", str(at_once), "--set", f"resources.gpu={share}"]
    if quick:
        for key, value in QUICK.items():
            command += ["--set", f"{key}={value}"]
    subprocess.run(command, check=False, capture_output=True)  # fails where all trials did
    return records(raysweep.load(folder).trials)


def sweep_rate(at_once: int, device: torch.device, *, quick: bool) -> dict[str, Any]:
    """Return the trials a minute of a sweep that runs so many at once, and their trainings."""
    trials, nvml = 3 if quick else max(6, 3 * at_once), Nvml()
    with (
        tempfile.TemporaryDirectory() as folder,
        nvml.watch() if device.type == "cuda" else contextlib.nullcontext(),
    ):
        rows = run_sweep(
            folder, device, gpu=1 / at_once, trials=trials, at_once=at_once, quick=quick
        )
        ends = sorted(file.stat().st_mtime for file in Path(folder, "trials").glob("*.parquet"))
    seconds = [row["train_seconds"] for row in rows if row["status"] == "ok"]
    found: dict[str, Any] = {"trials": trials, "failed": trials - len(seconds)}
    found |= {"trials_per_minute": trials_per_minute(ends)}
    found |= {"trainings_per_minute": 60 * at_once / statistics.median(seconds)}
    return found | (nvml.figures() if device.type == "cuda" else {})


def packed_rate(device: torch.device, *, quick: bool) -> dict[str, Any]:
    """Return the trainings a minute of eight such models packed in one process."""
    k, config = 2 if quick else 8, load(quick).config({"dropout": 0.35, "l2": 0.0})
    splits = data.load(config.dataset, seed=config.seed)
    packing = Packing(recipe_of(config, splits), _halves(splits, k), range(k), device)
    packing.train()  # warm up
    return {"models": k, "trainings_per_minute": 60 * k / seconds_of(packing.train, device)}


LITTLE = 64
"""MiB of a GPU in which no trial of the benchmark fits."""


def show_lack_of_memory(device: torch.device, *, quick: bool) -> dict[str, Any]:
    """Return what becomes of a trial whose share of the GPU is LITTLE; a CPU's is not limited."""
    gpu = 0.0
    if device.type == "cuda":
        gpu = LITTLE * 2**20 / torch.cuda.get_device_properties(device).total_memory
    with tempfile.TemporaryDirectory() as folder:
        (row,) = run_sweep(folder, device, gpu=round(gpu, 4), trials=1, at_once=1, quick=quick)
    return {key: row[key] for key in ("status", "error", "attempts", "retries")}


def check_memory_share(device: torch.device) -> dict[str, Any]:
    """Return whether a trial with a tenth of the GPU gets a twentieth and not a fifth of it."""
    if device.type != "cuda":
        return {"reason": "a CPU's memory is not shared out"}
    total = torch.cuda.get_device_properties(device).total_memory
    _set_up_device(0.1)
    found = {}
    for name, share in {"below": 0.05, "above": 0.2}.items():
        try:
            torch.empty(int(total * share), dtype=torch.uint8, device=device)
            found[name] = "given"
        except torch.cuda.OutOfMemoryError:
            found[name] = "refused"
    _set_up_device(1)
    torch.cuda.set_per_process_memory_fraction(1.0)
    return {**found, "holds": found == {"below": "given", "above": "refused"}}


def compare_sweeps(device: torch.device, *, quick: bool) -> dict[str, Any]:
    """Return the rates of sweeps by their trials at once, and what a share of the memory does."""
    at_once: Sequence[int] = (2,) if quick else (1, 2, 4, 8)
    return {
        "at_once": {str(n): sweep_rate(n, device, quick=quick) for n in at_once},
        "packed_in_one_process": packed_rate(device, quick=quick),
        "memory_share": check_memory_share(device),
        "lack_of_memory": show_lack_of_memory(device, quick=quick),
    }


PARTS: dict[str, Callable[..., dict[str, Any]]] = {
    "figures": compare_figures,
    "step": compare_steps,
    "packed": compare_packed,
    "sweeps": compare_sweeps,
}


def main(arguments: list[str] | None = None) -> None:
    """Run the parts, and print a table and the figures."""
    parser = options(__doc__)
    default = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", choices=["cuda", "cpu"], default=default)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="*", choices=list(PARTS), default=list(PARTS))
    given = parser.parse_args(arguments)
    device = torch.device(given.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("torch finds no GPU; --device cpu tests the program")

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    result: dict[str, Any] = {"device": given.device, "card": name}
    for part in given.only:
        start = time.perf_counter()
        try:
            result[part] = PARTS[part](device, quick=given.quick)
        except Exception:  # time on a GPU is scarce: the other parts run all the same
            result[part] = {"failed": traceback.format_exc()}
        result[part]["seconds"] = time.perf_counter() - start
        print(f"{part}: {result[part]['seconds']:.0f} s", file=sys.stderr, flush=True)

    print_table(result)
    if given.json:
        finish(result, as_json=True)
    if any("failed" in result[part] for part in given.only):
        sys.exit(1)


def print_table(result: dict[str, Any], place: str = "") -> None:
    """Print one line for each figure: where it stands in the result, and its value."""
    for key, value in result.items():
        if isinstance(value, dict):
            print_table(value, f"{place}{key} / ")
        else:
            shown = f"{value:.4g}" if isinstance(value, float) else value
            print(f"{place + key:<50} {shown}")


if __name__ == "__main__":
    main()
