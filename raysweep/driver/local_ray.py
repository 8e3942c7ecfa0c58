"""A Ray on this machine alone, with no process that a sweep does not need."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

UNUSED = ("start_monitor", "start_log_monitor", "start_api_server")
"""Methods of Ray's node that start the autoscaler, the log monitor and the dashboard's server.

Nothing of a sweep asks them, and they take a third of Ray's start and most of its end.
"""

PRESTARTED = "--num_prestart_python_workers="
"""The option of a raylet that says how many workers start with it: one for each core by default."""

EARLY_WORKERS = {
    "RAY_preload_python_modules": "raysweep.driver.preloaded",
    "RAY_idle_worker_killing_time_threshold_ms": "60000",
}
"""Variables in which Ray reads what workers import as they start, and how long they may wait.

After one second, its default, Ray would end a worker between the moment in which Tune reserves a
core and the moment in which its trial asks for a worker, and start another.
"""


@contextlib.contextmanager
def local_processes(variables: Mapping[str, str], *, cpus: float, at_once: int) -> Iterator[None]:
    """Patch Ray so that it binds to 127.0.0.1 only, in a process group of its own.

    Otherwise Ray replaces that address by the machine's address in its network, and other machines
    can connect. A SIGTERM to the driver's group, as `timeout` and batch systems send it, would end
    Ray first, and the driver would wait a minute for it. Where the kernel ends Ray with the driver,
    nothing is left behind.

    Ray's processes get the environment ``variables``. Workers can then start, and import what a
    trial needs, before the first trial asks for one. Those with variables of a runtime environment
    cannot. As many start as trials of ``cpus`` cores run at the same time, at most ``at_once``.
    """
    from ray._private import node, utils

    services: Any = importlib.import_module("ray._private.services")
    with contextlib.ExitStack() as stack:
        stack.enter_context(_environment({**variables, **EARLY_WORKERS}))
        stack.enter_context(_replaced(services, "resolve_ip_for_localhost", lambda host: host))
        options = {"process_group": 0} if utils.detect_fate_sharing_support() else {}

        def start(command: list[str], *arguments: Any, **given: Any) -> Any:
            command = [_limit_workers(part, cpus, at_once) for part in command]
            return popen(command, *arguments, **given, **options)

        popen = services.ConsolePopen
        stack.enter_context(_replaced(services, "ConsolePopen", start))
        for name in UNUSED:
            stack.enter_context(_replaced(node.Node, name, lambda *_, **__: None))
        yield


def _limit_workers(argument: str, cpus: float, at_once: int) -> str:
    """Return an argument of one of Ray's processes, with no more workers than trials need."""
    option, _, n_cores = argument.rpartition("=")
    if f"{option}=" != PRESTARTED:
        return argument
    return f"{PRESTARTED}{min(at_once, int(int(n_cores) / cpus))}"


@contextlib.contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Replace an attribute of a part of Ray; leave alone what another version does not have."""
    if not hasattr(owner, name):
        yield
        return

    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables of this process, and put back what was there."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
