"""Compare a GPU with the CPU, and ways of filling it: figures first, then speed.

python -m benchmarks.gpu [--device cuda|cpu] [--quick] [--only figures step ...] [--json]

figures   one trial on the device and on the CPU: their figures and whether they agree
step      a DP-SGD step against Opacus' and against a step without DP, and its clipped sum; on a
          GPU also the share of an epoch in which it computed, and how often the CPU waited for it
packed    1, 4, 16 and 64 models of one recipe at once against one after the other
sweeps    1, 2, 4 and 8 trials at once through Ray: trials a minute, load and memory by NVML, and
          trainings a minute against eight packed in one process
memory    whether a trial's share of the memory holds, and what becomes of one that is too small

Real Fashion-MNIST. With ``--device cpu`` all of it runs on the CPU, to test the program: its
figures say nothing of a GPU. ``--quick`` takes small sizes. A table comes last.
"""

from __future__ import annotations

import statistics
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import raysweep
from benchmarks.common import finish, options
from benchmarks.gpu_packed import compare_packed
from benchmarks.gpu_space import MODELS, load, seconds_of, wait_for
from benchmarks.gpu_sweeps import compare_sweeps, limit_memory
from benchmarks.opacus_step import opacus_step, sum_error
from raysweep import data
from raysweep.config import Training
from raysweep.data import Split
from raysweep.defences import Defences
from raysweep.errors import RaysweepError
from raysweep.models import NamedModel
from raysweep.training.loop import Epoch, train
from raysweep.training.recipe import Recipe, plain_recipe
from raysweep.training.target import pixels

Precision = Literal["fp32", "bf16"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")

AGREE = {"accuracy": 0.05, "attack_auc": 0.05, "epsilon": 1e-9, "inversion_mse": 0.01}
"""The largest differences of a GPU's figures from the CPU's that are put down to chance.

Devices draw other noise and other dropout from the same seed. Epsilon does not depend on them.
"""


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


PARTS: dict[str, Callable[..., dict[str, Any]]] = {
    "figures": compare_figures,
    "step": compare_steps,
    "packed": compare_packed,
    "sweeps": compare_sweeps,
    "memory": limit_memory,
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
        if device.type == "cuda":
            torch.cuda.empty_cache()  # what this process keeps would count as the sweeps' memory
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
