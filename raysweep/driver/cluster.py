"""Join or start Ray, and share the data with its workers."""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import re
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from rich.console import Console

from raysweep import data
from raysweep.config.plain_text import one_line
from raysweep.driver.designs import DESIGNS
from raysweep.driver.local_ray import local_processes
from raysweep.driver.surroundings import made_fit, remedy_for
from raysweep.driver.worker_environment import worker_environment
from raysweep.errors import ClusterError
from raysweep.space.axes import grid
from raysweep.space.space import Space

if TYPE_CHECKING:
    from raysweep.data import Splits
    from raysweep.records.trial_config import TrialConfig


RAY_SETTINGS = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "inf",  # a sweep continues from its records
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths start at the user's folder
}
"""Environment variables of the driver. A variable that the user has set keeps its value."""

TOKEN = re.compile("token|unauthenticated|unauthorized", re.IGNORECASE)
"""What Ray writes when a token is missing or wrong."""

GRACE = 20.0  # seconds that nodes of a cluster which lacks a resource have to join

MOST_DEALS = 32
"""The most deals of data that a sweep shares. With more, each worker deals the data itself."""


def put_deals(space: Space, loaded: Mapping[str, Splits]) -> dict[str, Any]:
    """Put every deal of data that the axes can name into Ray's object store, once.

    Deals in ``loaded`` (key -> splits) are not read again. Returns key -> reference.
    """
    deals: dict[str, Any] = {}
    _add_deals(deals, space.baseline(), loaded)

    axes = {k: a for k, a in space.axes.items() if k == "seed" or k.startswith("dataset.")}
    choices = [axis.choices() for axis in axes.values()]
    if None in choices or prod(len(c or ()) for c in choices) > MOST_DEALS:
        return deals
    for values in grid(axes):
        _add_deals(deals, space.config(values), loaded)
    return deals


def _add_deals(deals: dict[str, Any], config: TrialConfig, loaded: Mapping[str, Splits]) -> None:
    """Add the deals of every data set that a trial of ``config`` reads."""
    import ray

    for dataset in (config.dataset, *config.attacks.other_datasets(config.dataset)):
        key = data.deal_key(dataset, config.seed)
        if key not in deals:
            splits = loaded.get(key)
            deals[key] = ray.put(data.load(dataset, seed=config.seed) if splits is None else splits)


@dataclass(frozen=True)
class Session:
    """The Ray of a sweep: the GPU share of a trial, and whether it was started for the sweep."""

    gpu: float
    is_ours: bool


@contextlib.contextmanager
def ray_session(
    address: str | None, space: Space, console: Console, *, at_once: int
) -> Iterator[Session]:
    """Join the cluster at ``address``, or start Ray on this machine for ``at_once`` trials at most.

    If Ray already runs in this process, it is used, and not stopped at the end.

    Raises:
        ClusterError: Ray does not answer or start, or no node has the resources of a trial.

    """
    for name, value in RAY_SETTINGS.items():
        os.environ.setdefault(name, value)
    if address is not None:  # an autoscaler adds nodes for the trials that wait
        learns = space.sampler.name not in DESIGNS
        os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", "4" if learns else "64")
    import ray

    was_running = ray.is_initialized()
    with made_fit(here=address is None and not was_running) as options:
        if not was_running or address is not None:
            console.print("starting Ray" if address is None else "joining the cluster of Ray")
            _start(address, space, console, options, at_once)
        try:
            if address is not None:
                _wait_for_nodes(space, console)
            where = "this machine" if address is None else "the largest node"
            gpu = space.resources.gpu if _may_grow() else _gpu_share(space, console, where)
            yield Session(gpu, is_ours=address is None and not was_running)
        finally:
            if not was_running:
                ray.shutdown()


def _wait_for_nodes(space: Space, console: Console) -> None:
    """Wait a moment for nodes of a cluster that has just been started and lacks a resource."""
    deadline = time.monotonic() + GRACE
    asked = space.resources
    is_told = False
    while time.monotonic() < deadline:
        nodes = _node_resources()
        has_cpus = any(node.get("CPU", 0) >= asked.cpu for node in nodes)
        if (has_cpus and any(node.get("GPU", 0) >= asked.gpu for node in nodes)) or _may_grow():
            return
        if not is_told:
            console.print(
                f"no node has CPU {asked.cpu:g} and GPU {asked.gpu:g}; waiting {GRACE:g} s"
            )
            is_told = True
        time.sleep(1)


def _may_grow() -> bool:
    """Return whether an autoscaler may add nodes to the cluster."""
    from ray._private.state import state
    from ray.experimental.internal_kv import _internal_kv_get

    with contextlib.suppress(Exception):  # private parts of Ray, which may change
        if state.get_max_resources_from_cluster_config() is not None:
            return True
    with contextlib.suppress(Exception):
        report = json.loads(_internal_kv_get("__autoscaling_status") or "{}")
        kinds = (report.get("autoscaler_report") or {}).get("active_nodes") or {}
        # Without an autoscaler, Ray gives each node a kind of its own, node_<id>.
        return any(not kind.startswith("node_") for kind in kinds)
    return False


def _node_resources() -> list[dict[str, float]]:
    """Return the resources of each node that is alive."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _start(
    address: str | None,
    space: Space,
    console: Console,
    options: Mapping[str, Any],
    at_once: int,
) -> None:
    """Join the cluster at ``address``, or start Ray on this machine alone.

    Raises:
        ClusterError: Ray does not answer, or does not start.

    """
    is_local = address is None
    status = "starting Ray on this machine" if is_local else f"joining Ray at {address}"

    with (
        worker_environment(space, elsewhere=not is_local) as environment,
        console.status(status),
        contextlib.ExitStack() as stack,
    ):
        if is_local:
            variables, cpus = environment.pop("env_vars"), space.resources.cpu
            stack.enter_context(local_processes(variables, cpus=cpus, at_once=at_once))
        try:
            _connect(address, environment, options)
        except Exception as error:  # Ray has no common error for what can go wrong here
            raise _explain(error, address) from error


def _explain(error: Exception, address: str | None) -> ClusterError:
    """Return why Ray does not start, or does not answer at ``address``, and what helps."""
    text = one_line(error) or type(error).__name__
    reason = one_line(str(error).strip().partition("\n")[0]) or type(error).__name__
    if address is None:
        rule = f"Ray does not start on this machine ({reason})"
        return ClusterError(rule, remedy=remedy_for(text))
    if re.search("version mismatch", text, re.IGNORECASE):
        rule = f"Ray at {address!r} has other versions than this machine ({text})"
        return ClusterError(rule, remedy="install the same Python and Ray on both sides")
    if TOKEN.search(text):
        rule = f"Ray at {address!r} does not accept the token of this machine"
        remedy = "export RAY_AUTH_MODE=token, and copy ~/.ray/auth_token from its head"
        return ClusterError(rule, remedy=remedy)
    return ClusterError(
        f"there is no Ray cluster at {address!r} ({reason})",
        remedy="start one with `ray up` or `ray start --head`, or leave --address out",
    )


def _connect(address: str | None, environment: dict[str, Any], given: Mapping[str, Any]) -> None:
    import ray

    options: dict[str, Any] = {"address": address}
    if address is None:
        options = {
            **given,
            "address": "local",
            "include_dashboard": False,
            "_node_ip_address": "127.0.0.1",
        }
    else:
        _check_address(address)
    if address is None or "://" not in address:
        options["job_config"] = ray.job_config.JobConfig()
        options["job_config"]._py_driver_sys_path = _Fixed()
    ray.init(runtime_env=environment, log_to_driver=False, logging_level=logging.ERROR, **options)


class _Fixed(list[str]):
    """A list to which nothing is added.

    Ray would add the working folder before all others of a worker's path, where a file of the
    user's, or of whoever made the folder, would take the place of a library of the same name.
    """

    def extend(self, _: object) -> None:
        """Do nothing."""


def _check_address(address: str) -> None:
    """Raise an error when nothing accepts connections at ``address``, or Ray refuses our token.

    ray.init would try for minutes and then exit, or try 20 times and forget the reason.
    """
    from ray._private.services import canonicalize_bootstrap_address

    if address.startswith(":"):
        raise ValueError("it names no host")  # Ray would write a traceback first
    raylet: Any = importlib.import_module("ray._raylet")
    host_port = None if "://" in address else canonicalize_bootstrap_address(address)
    if host_port is None:
        return
    host, _, port = host_port.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()

    if os.environ.get("RAY_AUTH_MODE") == "token":  # without a token the client would exit
        setup: Any = importlib.import_module(
            "ray._private.authentication.authentication_token_setup"
        )
        setup.ensure_token_if_auth_enabled(None, create_token_if_missing=False)
    try:
        with _silent_stderr():
            raylet.GcsClient(address=host_port)
    except Exception as error:  # ray.init says more of others
        if TOKEN.search(str(error)):
            raise


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Keep what Ray's C++ code writes, past Python's sys.stderr, out of the terminal."""
    before = os.dup(2)
    try:
        with open(os.devnull, "w") as null:
            os.dup2(null.fileno(), 2)
            yield
    finally:
        os.dup2(before, 2)
        os.close(before)


def _gpu_share(space: Space, console: Console, where: str) -> float:
    """Return the GPU share of a trial on Ray's nodes; 0, with a message, if none has a GPU.

    Raises:
        ClusterError: every node has too few CPUs or GPUs.

    """
    asked = space.resources
    nodes = _node_resources()
    most_cpus = max((node.get("CPU", 0) for node in nodes), default=0)
    most_gpus = max((node.get("GPU", 0) for node in nodes), default=0)

    if most_cpus < asked.cpu:
        raise ClusterError(
            f"a trial takes CPU {asked.cpu:g} and {where} has {most_cpus:g}",
            remedy="lower resources.cpu, or give the --address of a larger cluster",
        )
    if asked.gpu == 0:
        return 0.0
    if most_gpus == 0:
        console.print(f"no GPU on {where}: trials run on the CPU, and the records say so")
        return 0.0
    if most_gpus < asked.gpu:
        raise ClusterError(
            f"a trial takes GPU {asked.gpu:g} and no node has as much",
            remedy="lower resources.gpu",
        )
    return asked.gpu
