"""Run a straightforward sweep with Ray Tune's OptunaSearch, Opacus, DataLoaders, scikit-learn.

A skilled user would write it with the manuals of those libraries and without raysweep. Each trial
does the same work as `benchmarks/spaces/trial_*.yaml` (target, one shadow, four membership attacks
with bootstrap intervals, ridge and kernel regression from the prediction vector).

python -m benchmarks.baseline digits 10: runs 10 trials, two at a time, and prints the time at which
each ended.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
from typing import Any

import numpy as np

TASKS: dict[str, dict[str, Any]] = {
    "digits": {
        "sizes": {"members": 500, "nonmembers": 200, "pool": 700, "validation": 200},
        "epochs": 30,
        "plain": {"batch_size": 32},
        "private": {"batch_size": 128, "lr": 1.0, "momentum": 0.0},
    },
    "fashion_mnist": {
        "sizes": {"members": 1000, "nonmembers": 500, "pool": 1500, "validation": 1000},
        "epochs": 3,
        "plain": {"batch_size": 256},
        "private": {"batch_size": 256, "lr": 0.5, "momentum": 0.9},
    },
}


def dataset(name: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return splits of images (n, 1, h, w) in [0, 1] and labels."""
    if name == "digits":
        from sklearn.datasets import load_digits

        digits = load_digits()
        images, labels = digits.images[:, None] / 16, digits.target
    else:
        import raysweep.data.loading  # only to find the files; the user has arrays

        sizes = {"members": 5000, "nonmembers": 100, "pool": 100, "validation": 100, "test": 100}
        split = raysweep.data.load({"name": name, **sizes}, seed=0).members
        images, labels = split.pixels(), split.labels
    order, splits, start = np.random.default_rng(0).permutation(len(images)), {}, 0
    for split_name, size in TASKS[name]["sizes"].items():
        rows = order[start : start + size]
        splits[split_name] = images[rows].astype(np.float32), labels[rows].astype(np.int64)
        start += size
    return splits


def network(name: str, dropout: float) -> Any:
    """Return the target."""
    from torch import nn

    if name == "digits":
        return nn.Sequential(
            nn.Flatten(), nn.Linear(64, 128), nn.Tanh(), nn.Dropout(dropout), nn.Linear(128, 10)
        )
    layers: list[Any] = []
    channels = 1
    for width in (32, 64, 128):
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(), nn.Dropout(dropout)]
        layers.append(nn.MaxPool2d(2))
        channels = width
    dense = [nn.Flatten(), nn.Linear(1152, 128), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, *dense, nn.Linear(128, 10))


def fit(name: str, config: dict[str, Any], x: Any, y: Any, validation: Any) -> Any:
    """Return a target trained on ``x``, ``y``."""
    import torch
    import torch.nn.functional as F
    from opacus import PrivacyEngine
    from torch.utils.data import DataLoader, TensorDataset

    task = TASKS[name]
    private = math.isfinite(config["epsilon"])
    settings = task["private"] if private else task["plain"]
    model = network(name, config["dropout"])
    decayed = {"params": [model[-1].weight], "weight_decay": 2 * config["l2"]}
    others = {"params": [p for p in model.parameters() if p is not model[-1].weight]}
    optimizer: Any
    if private:
        rate, momentum = settings["lr"], settings["momentum"]
        optimizer = torch.optim.SGD([others, decayed], lr=rate, momentum=momentum)
    else:
        optimizer = torch.optim.Adam([others, decayed], lr=3e-3)
    loader: Any = DataLoader(
        TensorDataset(torch.from_numpy(x), torch.from_numpy(y)),
        batch_size=settings["batch_size"],
        shuffle=True,
    )
    if private:
        model, optimizer, loader = PrivacyEngine().make_private_with_epsilon(
            module=model,
            optimizer=optimizer,
            data_loader=loader,
            target_epsilon=config["epsilon"],
            target_delta=1e-5,
            epochs=task["epochs"],
            max_grad_norm=0.5,
        )
    for _ in range(task["epochs"]):
        model.train()
        for images, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
        float((logits(model, validation[0]).argmax(1) == validation[1]).mean())
    return model


def logits(model: Any, x: Any) -> Any:
    """Return the model's logits."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    model.eval()
    with torch.no_grad():
        parts = [model(part) for (part,) in DataLoader(TensorDataset(torch.from_numpy(x)), 256)]
    return torch.cat(parts).numpy()


def auc_with_interval(truth: Any, score: Any) -> tuple[float, float, float]:
    """Return the AUC and its bootstrap interval."""
    from sklearn.metrics import roc_auc_score

    rng, draws = np.random.default_rng(0), []
    for _ in range(1000):
        rows = rng.integers(len(truth), size=len(truth))
        draws.append(roc_auc_score(truth[rows], score[rows]))
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(roc_auc_score(truth, score)), float(low), float(high)


def membership(name: str, config: dict[str, Any], model: Any, splits: Any) -> float:
    """Return the strongest attack's AUC."""
    from scipy.special import log_softmax, softmax
    from sklearn.neural_network import MLPClassifier
    from sklearn.preprocessing import StandardScaler

    n = TASKS[name]["sizes"]["members"]
    x = np.concatenate([splits["members"][0], splits["nonmembers"][0]])
    y = np.concatenate([splits["members"][1], splits["nonmembers"][1]])
    truth = np.arange(len(x)) < n
    out = logits(model, x)
    p = softmax(out, axis=1)
    rows = np.arange(len(x))
    of_label = p[rows, y]
    entropy = (1 - of_label) * np.log(of_label + 1e-12)
    other = p * np.log(1 - p + 1e-12)
    entropy += other.sum(1) - other[rows, y]
    scores = {"max_posterior": p.max(1), "loss": log_softmax(out, 1)[rows, y], "entropy": entropy}
    pool_x, pool_y = splits["pool"]
    shadow = fit(name, config, pool_x[:n], pool_y[:n], splits["validation"])
    known = np.sort(softmax(logits(shadow, pool_x), axis=1))[:, -3:]
    scaler = StandardScaler().fit(known)
    classifier = MLPClassifier((64,), max_iter=200, random_state=0)
    classifier.fit(scaler.transform(known), np.arange(len(pool_x)) < n)
    top = scaler.transform(np.sort(p)[:, -3:])
    scores["shadow"] = classifier.predict_proba(top)[:, 1]
    return max(auc_with_interval(truth, score)[0] for score in scores.values())


def inversion(name: str, model: Any, splits: Any) -> float:
    """Return the lower of two decoders' errors on the members."""
    from scipy.special import log_softmax
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    pool, members = splits["pool"][0], splits["members"][0]
    seen, target = (
        StandardScaler().fit(log_softmax(logits(model, pool), 1)).transform(log_posteriors)
        for log_posteriors in (log_softmax(logits(model, x), 1) for x in (pool, members))
    )
    wide = PolynomialFeatures(2, include_bias=False)
    scaler = StandardScaler().fit(wide.fit_transform(seen))
    products, wanted = (scaler.transform(wide.transform(x)) for x in (seen, target))

    strengths = 10.0 ** np.arange(-7, 5) * len(pool)
    ridges = [Ridge(strength) for strength in strengths]
    kernels = [
        KernelRidge(alpha=strength, kernel="rbf", gamma=width / seen.shape[1])
        for width in (0.03, 0.1, 0.3, 1, 3)
        for strength in 10.0 ** np.arange(-6, 2)
    ]
    images, truth = (x.reshape(len(x), -1) for x in (pool, members))
    by_ridge = best_guess(ridges, products, wanted, images)
    guesses = by_ridge, best_guess(kernels, seen, target, images)
    return float(min(np.mean((guess - truth) ** 2) for guess in guesses))


def best_guess(regressions: Any, seen: Any, target: Any, images: Any) -> Any:
    """Return what the regression with the least error on held-out images makes of ``target``."""
    cut, mean = int(0.8 * len(images)), images.mean(axis=0)

    def error(regression: Any) -> float:
        guess = regression.fit(seen[:cut], images[:cut] - mean).predict(seen[cut:]) + mean
        return float(np.mean((guess.clip(0, 1) - images[cut:]) ** 2))

    best = min(regressions, key=error)
    return (best.fit(seen, images - mean).predict(target) + mean).clip(0, 1)


def trial(config: dict[str, Any], *, name: str, splits: Any) -> None:
    """Run one trial and report its three figures."""
    import torch
    from ray import tune

    torch.set_num_threads(1)
    if config.pop("private") == 0:
        config["epsilon"] = math.inf
    model = fit(name, config, splits["members"][0], splits["members"][1], splits["validation"])
    x, y = splits["validation"]
    tune.report(
        {
            "accuracy": float((logits(model, x).argmax(1) == y).mean()),
            "attack_auc": membership(name, config, model, splits),
            "inversion_mse": inversion(name, model, splits),
            "ended": time.time(),
        }
    )


def main() -> None:
    """Run the sweep."""
    import ray
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    name, trials = sys.argv[1], int(sys.argv[2])
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=40)
    private = name == "fashion_mnist"
    space = {
        "private": tune.choice([1]) if private else tune.choice([0, 1]),
        "epsilon": tune.choice([8.0]) if private else tune.loguniform(0.5, 16),
        "dropout": tune.uniform(0.0, 0.7),
        "l2": tune.loguniform(1e-5, 1e-1),
    }
    metrics = ["accuracy", "attack_auc", "inversion_mse"]
    results = tune.Tuner(
        tune.with_resources(
            tune.with_parameters(trial, name=name, splits=dataset(name)), {"cpu": 1}
        ),
        param_space=space,
        tune_config=tune.TuneConfig(
            search_alg=OptunaSearch(metric=metrics, mode=["max", "min", "max"], seed=7),
            num_samples=trials,
        ),
        run_config=tune.RunConfig(verbose=0, storage_path=tempfile.mkdtemp()),
    ).fit()
    ends = [float(ended) for ended in results.get_dataframe()["ended"]]
    print(json.dumps(sorted(ends)))


if __name__ == "__main__":
    main()
