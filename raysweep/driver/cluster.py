"""Joining or starting Ray, and the data that its workers share."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, Any

from rich.console import Console

from raysweep import data
from raysweep.driver import user_code as code
from raysweep.driver.designs import DESIGNS
from raysweep.errors import ClusterError
from raysweep.space.axes import grid
from raysweep.space.space import Space

if TYPE_CHECKING:
    from raysweep.data import Splits
    from raysweep.records.trial_config import TrialConfig


ALLOCATION = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**34),
    "MALLOC_TOP_PAD_": str(2**26),
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "32",
}
"""What a worker's memory takes: glibc keeps what a step frees (the page faults cost a third of a
private step) in one arena (every trial has its own thread, and an arena of its own would keep
100 MiB a trial), and oneDNN keeps few plans (Poisson batches have hundreds of sizes)."""

MOST_DEALS = 32
"""How many deals of data a sweep shares; an axis over more lets every worker deal for itself."""


def _deals(space: Space, splits: Splits) -> dict[str, Any]:
    """Put one copy of every deal that the axes can ask for where all workers see it."""
    import ray

    baseline = space.baseline()
    deals = {data.deal_key(baseline.dataset, baseline.seed): ray.put(splits)}
    _add_deals(deals, baseline)
    axes = {k: a for k, a in space.axes.items() if k == "seed" or k.startswith("dataset.")}
    choices = [axis.choices() for axis in axes.values()]
    if None in choices or prod(len(c or ()) for c in choices) > MOST_DEALS:
        return deals
    for values in grid(axes):
        _add_deals(deals, space.config(values))
    return deals


def _add_deals(deals: dict[str, Any], config: TrialConfig) -> None:
    """Add the deals of every data set that a trial of ``config`` reads."""
    import ray

    for dataset in (config.dataset, *config.attacks.other_datasets(config.dataset)):
        key = data.deal_key(dataset, config.seed)
        if key not in deals:
            deals[key] = ray.put(data.load(dataset, seed=config.seed))


@contextlib.contextmanager
def _ray(address: str | None, space: Space, console: Console) -> Iterator[float]:
    """Join the cluster at ``address``, or start Ray on this machine; yield the GPU share to ask."""
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
    os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "inf")  # a sweep continues from its records
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")  # relative paths mean the user's folder
    if address is not None:  # what waits is what an autoscaler sees
        learns = space.sampler.name not in DESIGNS
        os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", "4" if learns else "64")
    import ray

    started = not ray.is_initialized()
    if started or address is not None:
        _start(address, space, console)
    try:
        ours = started and address is None
        yield _gpu_share(space, console) if ours else space.resources.gpu
    finally:
        if started:
            ray.shutdown()


def _start(address: str | None, space: Space, console: Console) -> None:
    """Join the cluster at ``address``, or start a Ray of our own.

    Raises:
        ClusterError: it does not answer, or does not start. Ray has no common error for either.

    """
    import ray

    options: dict[str, Any] = {"address": address, "log_to_driver": False}
    options |= {"logging_level": logging.ERROR}
    if address is None:
        options |= {"address": "local", "include_dashboard": False}
        options |= {"_node_ip_address": "127.0.0.1"}
    doing = "starting Ray on this machine" if address is None else f"joining Ray at {address}"
    with (
        code.environment(space, elsewhere=address is not None) as environment,
        console.status(doing),
        _loopback() if address is None else contextlib.nullcontext(),
    ):
        environment["env_vars"] |= ALLOCATION
        try:
            if address is not None:
                _knock(address)
            ray.init(runtime_env=environment, **options)
        except Exception as error:
            told = str(error).strip().partition("\n")[0] or type(error).__name__
            if address is not None:
                what = f"there is no Ray cluster at {address!r}"
                remedy = "start one with `ray up` or `ray start --head`, or leave --address out"
            else:
                what = "Ray does not start on this machine"
                remedy = "give it memory and time (end what else runs), then the same command again"
            raise ClusterError(f"{what} ({told}); {remedy}") from error


def _knock(address: str) -> None:
    """Raise :class:`OSError` where nothing listens: Ray would try for minutes, and then exit."""
    from ray._private.services import canonicalize_bootstrap_address

    where = None if "://" in address else canonicalize_bootstrap_address(address)
    if where is not None:
        host, _, port = where.rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


@contextlib.contextmanager
def _loopback() -> Iterator[None]:
    """Let Ray take 127.0.0.1 at its word: it would listen on every address of this machine."""
    from ray._private import services

    resolve = services.resolve_ip_for_localhost
    services.resolve_ip_for_localhost = lambda host: host
    try:
        yield
    finally:
        services.resolve_ip_for_localhost = resolve


def _gpu_share(space: Space, console: Console) -> float:
    """Return the share of a GPU to ask for on our own Ray; 0, said once, where there is none."""
    import ray

    asked, has = space.resources, ray.cluster_resources()
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(node.get("CPU", 0) >= asked.cpu for node in nodes):
        most = max(node.get("CPU", 0) for node in nodes)
        remedy = "lower resources.cpu, or give --address of a cluster that has them"
        raise ClusterError(
            f"a trial takes {asked.cpu:g} CPUs and this machine has {most:g}; {remedy}"
        )
    if asked.gpu == 0:
        return 0.0
    if has.get("GPU", 0) == 0:
        console.print("no GPU on this machine: trials run on the CPU, and the records say so")
        return 0.0
    if not any(node.get("GPU", 0) >= asked.gpu for node in nodes):
        remedy = "lower resources.gpu"
        raise ClusterError(f"a trial takes {asked.gpu:g} GPUs and no node has them; {remedy}")
    return asked.gpu
