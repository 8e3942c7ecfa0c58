"""Compare raysweep's attacks with ART's, and with plain loops where ART has none.

python -m benchmarks.attacks [--json] [--repeats 5] [--only membership]: real Fashion-MNIST, one
thread, fp32, the same model and examples for both sides, which run in turn. A ratio is the median
over the repeats; each divides the two times of one turn. Every repeat has a seed of its own for
split, target, shadow and known examples. Seconds are processor time of the one thread, so that
other work on the machine does not count. Measured from the trained target (and shadow) to the last
score or image:

- `shadow_speedup`, `supervised_speedup`: an overfitted mlp, ART's MembershipInferenceBlackBox with
  its default network, on posteriors like ours. Its other models, and labels, are also measured.
- `mi_face_speedup`: softmax regression, ten classes, from black, equal steps of equal size,
  clipped; in `mi_face_speedup_stopping` ours stops at the posterior of .99, the limit that both
  are given (ART 1.20 continues).
- `dtc_speedup`: an overfitted thesis_cnn, against PGD that runs each batch until all of it
  is confident.
- `decoder_speedup`, `kernel_speedup`, `convolutional_speedup`: decoders of all nine layers of
  thesis_cnn, by ridge, by a kernel, and by the thesis' network, against that network in torch's
  textbook loop.
"""

from __future__ import annotations

import itertools
import logging
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from benchmarks import rivals
from benchmarks.common import finish, options, spread
from raysweep import data
from raysweep.attacks import INVERSION, MEMBERSHIP, metrics
from raysweep.attacks.contract import Knowledge, Known, Observed, draw_known
from raysweep.attacks.inversion.convolutional import fit_convolutional
from raysweep.attacks.inversion.kernel import fit_kernel
from raysweep.attacks.inversion.ridge import fit_ridge
from raysweep.attacks.membership.distances import distances
from raysweep.attacks.shadows import train_shadows
from raysweep.config import Training
from raysweep.data import Split, Splits, concatenate
from raysweep.models import NamedModel
from raysweep.training.loop import train
from raysweep.training.recipe import Recipe, plain_recipe
from raysweep.training.target import TrainedTarget
from raysweep.trial import face_recogniser

CPU = torch.device("cpu")
LAYERS = ("conv1", "pool1", "conv2", "pool2", "conv3", "pool3", "flatten", "dense", "output")
STEPS, STEP_SIZE = 1000, 5.0
JUDGED, BATCH = 96, 128
EPOCHS = 4

Turn = dict[str, dict[str, float]]


def deal(seed: int, **sizes: int) -> Splits:
    """Return the splits of real Fashion-MNIST."""
    rest = {"validation": 200, "test": 200, **sizes}
    return data.load({"name": "fashion_mnist", **rest}, seed=seed)


def recipe(model: dict[str, Any], **training: Any) -> Recipe:
    """Return an undefended recipe."""
    return plain_recipe(NamedModel.parse(model).model.build, Training(**training))


def time_call(run: Callable[..., Any], *arguments: Any, **given: Any) -> tuple[float, Any]:
    """Return the processor seconds of ``run`` in this process, and its result."""
    start = time.process_time()
    result = run(*arguments, **given)
    return time.process_time() - start, result


def membership(seed: int) -> Turn:
    """Return seconds and AUC of the shadow and supervised attacks, ours and ART's."""
    plan = recipe({"name": "mlp", "hidden": [128], "activation": "relu"}, epochs=40)
    splits = deal(seed, members=1000, nonmembers=1000, pool=2000)
    target = train(plan, splits.members, seed=seed, device=CPU)
    (shadow,) = train_shadows(plan, splits.pool, 1000, [0], seed=seed, device=CPU)
    known = draw_known(splits.members, splits.nonmembers, 0.5, seed=seed)
    knowledge = Knowledge(
        pool=splits.pool, train_shadows=lambda _numbers, _dataset: [shadow], known=known
    )
    judged = knowledge.exclude_known(splits.members, splits.nonmembers)
    examples, truth = concatenate(*judged), np.repeat([True, False], [len(x) for x in judged])
    lessons = {
        "supervised": (target, known),
        "shadow": (shadow.target, Known(members=shadow.members, nonmembers=shadow.nonmembers)),
    }

    turn: Turn = {}
    for name, (teacher, lesson) in lessons.items():
        target._cached_logits.clear()  # empty the cache of logits
        teacher._cached_logits.clear()
        seconds, scores = time_call(
            MEMBERSHIP[name]().score, target, examples, knowledge, seed=seed
        )
        turn[name] = {"seconds": seconds, "auc": metrics.auc(scores.values, truth)}
        for kind, labels in itertools.product(("nn", "rf", "lr"), (False, True)):
            label = f"{name}_art_{kind}{'_labels' if labels else ''}"
            sides = teacher, lesson, target, examples
            seconds, values = time_call(rivals.art_membership, *sides, kind=kind, labels=labels)
            turn[label] = {"seconds": seconds, "auc": metrics.auc(values, truth)}

    return turn


def mi_face(seed: int) -> Turn:
    """Return seconds, recognition rate and mean cost of MI-Face, ours and ART's."""
    splits = deal(seed, members=1000, nonmembers=1000, pool=100)
    target = train(recipe({"name": "softmax"}), splits.members, seed=seed, device=CPU)
    classes = np.arange(target.n_classes)
    recogniser = face_recogniser.fit(splits.members.pixels(), splits.members.labels)
    knowledge = Knowledge(pool=splits.pool)
    seen = Observed(layer=None, activations=None, labels=classes)
    given: dict[str, Any] = {"steps": STEPS, "step_size": STEP_SIZE}
    stopping = INVERSION["mi_face"](**given)
    endless = INVERSION["mi_face"](**given, tolerance=0.0, patience=STEPS + 1)
    ways: dict[str, Callable[[], Any]] = {
        "mi_face": lambda: endless.reconstruct(target, seen, knowledge, seed=seed).images,
        "mi_face_stopping": lambda: stopping.reconstruct(target, seen, knowledge, seed=seed).images,
        "mi_face_art": lambda: rivals.art_mi_face(target, splits.pool.shape, **given),
    }

    turn: Turn = {}
    for name, way in ways.items():
        seconds, images = time_call(way)
        with torch.no_grad():
            posteriors = target.model(torch.from_numpy(images)).softmax(dim=1).numpy()
        turn[name] = {
            "seconds": seconds,
            "recognition_rate": float((recogniser.names(images) == classes).mean()),
            "cost": float(1 - posteriors[classes, classes].mean()),
        }

    return turn


def dtc(seed: int) -> Turn:
    """Return seconds and AUC of the distances to confident, ours and the plain loop's."""
    plan = recipe({"name": "thesis_cnn"}, epochs=20, batch_size=32)
    splits = deal(seed, members=500, nonmembers=500, pool=100)
    target = train(plan, splits.members, seed=seed, device=CPU)
    rows = np.random.default_rng(seed).permutation(2 * JUDGED)
    first = np.arange(JUDGED)
    both = concatenate(splits.members.rows(first), splits.nonmembers.rows(first))
    examples, truth = both.rows(rows), rows < JUDGED
    given: dict[str, Any] = {"threshold": target.member_loss[1], "step": 0.001, "steps": 100}
    plain = rivals.plain_model(target.model)
    ours, (moved, reached) = time_call(distances, target.model, examples, **given)
    theirs, slow = time_call(rivals.plain_distances, plain, examples, **given, batch=BATCH)
    fast = np.where(reached, np.clip(moved, 0.001, 0.1), 0.1)
    knowledge = Knowledge(pool=splits.pool)
    by_loss = MEMBERSHIP["loss"]().score(target, examples, knowledge, seed=seed).values

    figures = {
        "equal": float((np.abs(fast - slow) < 1e-5).mean()),
        "largest_difference": float(np.abs(fast - slow).max()),
        "mean_steps": float(fast.mean() / 0.001),
        "auc": metrics.auc(-fast, truth),
        "auc_loss": metrics.auc(by_loss, truth),
    }
    return {"dtc": {"seconds": ours, **figures}, "dtc_plain": {"seconds": theirs}}


def decoders(seed: int) -> Turn:
    """Return seconds and mean MSE over the layers of each decoder, and of the textbook loop."""
    plan = recipe({"name": "thesis_cnn"}, epochs=5, batch_size=32)
    splits = deal(seed, members=500, nonmembers=500, pool=640)
    target = train(plan, splits.members, seed=seed, device=CPU)
    pool, members = splits.pool, splits.members
    held_out = np.random.default_rng(seed).random(len(pool)) < 0.2
    plain = rivals.plain_model(target.model)
    data_and_split = pool, members, held_out

    turn: Turn = {}
    for layer in LAYERS:
        depth = [name for name, _ in target.model.named_children()].index(layer) + 1
        timings = {}
        for name in DECODERS:
            target._cached_logits.clear()
            timings[name] = time_call(rebuild, name, target, layer, *data_and_split, seed=seed)
        timings["decoder_plain"] = time_call(
            rivals.plain_decoder, plain, depth, *data_and_split, epochs=EPOCHS, seed=seed
        )
        for name, (seconds, images) in timings.items():
            error = metrics.mean_squared_error(images, members.pixels().reshape(images.shape))
            sums = turn.setdefault(name, {"seconds": 0.0, "mse": 0.0})
            sums["seconds"] += seconds
            sums["mse"] += error / len(LAYERS)

    return turn


DECODERS = ("ridge", "kernel", "convolutional")


def rebuild(
    name: str,
    target: TrainedTarget,
    layer: str,
    pool: Split,
    members: Split,
    held_out: Any,
    *,
    seed: int,
) -> Any:
    """Return the members that our decoder called ``name`` rebuilds."""
    seen, images = target.activations(pool, layer), pool.pixels().reshape(len(pool), -1)
    if name == "convolutional":
        given: dict[str, Any] = {"epochs": EPOCHS, "seed": seed, "device": CPU}
        decoder: Any = fit_convolutional(seen, images, held_out, pool.shape, **given)
    else:
        fit = {"ridge": fit_ridge, "kernel": fit_kernel}[name]
        decoder = fit(seen, images, held_out, seed=seed)
    return decoder.decode(target.activations(members, layer))


PARTS: dict[str, Callable[[int], Turn]] = {
    "membership": membership,
    "mi_face": mi_face,
    "dtc": dtc,
    "decoders": decoders,
}
SPEEDUPS = {  # figure -> seconds of the other side / seconds of ours
    "shadow_speedup": ("shadow_art_nn", "shadow"),
    "supervised_speedup": ("supervised_art_nn", "supervised"),
    "mi_face_speedup": ("mi_face_art", "mi_face"),
    "mi_face_speedup_stopping": ("mi_face_art", "mi_face_stopping"),
    "dtc_speedup": ("dtc_plain", "dtc"),
    "decoder_speedup": ("decoder_plain", "ridge"),
    "kernel_speedup": ("decoder_plain", "kernel"),
    "convolutional_speedup": ("decoder_plain", "convolutional"),
}


def summary(turns: list[Turn]) -> dict[str, Any]:
    """Return the ratios, and the figures that both sides reached, over the repeats."""
    result: dict[str, Any] = {}
    for key, (theirs, ours) in SPEEDUPS.items():
        if ours in turns[0]:
            ratios = spread([turn[theirs]["seconds"] / turn[ours]["seconds"] for turn in turns])
            result |= {key: ratios["median"], f"{key}_spread": ratios}
    result["reached"] = {
        name: {key: spread([turn[name][key] for turn in turns]) for key in figures}
        for name, figures in turns[0].items()
    }
    return result


def main() -> None:
    """Run both sides in turn, and print the ratios."""
    parser = options(__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", choices=list(PARTS))
    arguments = parser.parse_args()
    logging.getLogger("art").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    chosen = {arguments.only: PARTS[arguments.only]} if arguments.only else PARTS
    turns: list[Turn] = []

    with threadpool_limits(1):
        mi_face(arguments.repeats)  # import ART before the clock starts
        for number in range(arguments.repeats):
            turns.append({k: v for part in chosen.values() for k, v in part(number).items()})
            seconds = {name: round(figures["seconds"], 3) for name, figures in turns[-1].items()}
            print(f"repeat {number + 1} of {arguments.repeats}: {seconds}", file=sys.stderr)

    finish(summary(turns), as_json=arguments.json)


if __name__ == "__main__":
    main()
