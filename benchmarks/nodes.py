"""A Ray cluster of several nodes on this machine, whose nodes can be killed one by one."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any

from ray.cluster_utils import Cluster

LEAN = {
    "RAY_AUTH_MODE": "disabled",  # one user, one machine, one benchmark
    "RAY_worker_niceness": "0",  # the default 15 starves workers on a busy machine
    "RAY_prestart_worker_first_driver": "0",  # a process a CPU that no trial ever uses
    "RAY_enable_metrics_collection": "0",
    "RAY_event_stats": "0",
    "REPORTER_UPDATE_INTERVAL_MS": "600000",  # each node's agent counts processes: 2 % of a core
    # Two cores start dozens of workers: one at a time on each node, and none is given up as late.
    "RAY_worker_maximum_startup_concurrency": "1",
    "RAY_worker_register_timeout_seconds": "3600",
    "RAY_idle_worker_killing_time_threshold_ms": "3600000",
    "RAY_health_check_period_ms": "1000",  # a dead node is found after 5 seconds,
    "RAY_health_check_timeout_ms": "60000",  # and a slow one has time to answer
}
"""Environment variables that let a few cores run many nodes."""

STORE = {"object_store_memory": 80 * 2**20}  # bytes: hardly more than the least that Ray takes


class Nodes:
    """A head without CPUs and ``workers`` nodes of ``cpus`` logical CPUs and ``gpus`` GPUs each."""

    def __init__(self, *, workers: int, cpus: int = 1, gpus: int = 0) -> None:
        self._ours = [name for name in LEAN if name not in os.environ]
        os.environ.update({name: LEAN[name] for name in self._ours})
        self._folders: list[str] = []
        self._size: dict[str, Any] = {
            "num_cpus": cpus,
            "num_gpus": gpus,
            "include_log_monitor": False,
            **STORE,
        }
        self._cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 0,
                "num_gpus": 0,
                **STORE,
                "include_dashboard": False,
                "include_log_monitor": False,
                "temp_dir": self._new_folder(),
            },
        )
        self.address: str = self._cluster.address

        self._workers: list[Any] = []
        for _ in range(workers):
            self.add()

    def __enter__(self) -> Nodes:
        return self

    def __exit__(self, *_: object) -> None:
        for node in [*self._workers, self._cluster.head_node]:
            if node is not None:
                node.kill_all_processes(check_alive=False, allow_graceful=False)
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)
        for name in self._ours:  # a Ray that starts later asks for a token again
            del os.environ[name]

    def _new_folder(self) -> str:
        """Return a temporary folder for one node.

        A node that joins deletes the working folder of the other nodes' workers if they share it.
        """
        self._folders.append(tempfile.mkdtemp(prefix="rn", dir="/tmp"))  # sockets need short paths
        return self._folders[-1]

    def add(self) -> None:
        """Add a worker node."""
        self._workers.append(self._cluster.add_node(temp_dir=self._new_folder(), **self._size))

    def kill(self, i: int) -> None:
        """SIGKILL worker node ``i``."""
        self._workers.pop(i).kill_all_processes(check_alive=False, allow_graceful=False)

    def kill_head(self) -> None:
        """SIGKILL the head node."""
        assert self._cluster.head_node is not None
        self._cluster.head_node.kill_all_processes(check_alive=False, allow_graceful=False)
