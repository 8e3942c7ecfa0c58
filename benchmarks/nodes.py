"""A Ray cluster of several nodes on this machine, whose nodes can be killed one by one."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any

from ray.cluster_utils import Cluster

STORE = {"object_store_memory": 80 * 2**20}  # bytes: the least that Ray takes, nearly


class Nodes:
    """A head without CPUs and ``workers`` nodes of ``cpus`` logical CPUs and ``gpus`` GPUs each."""

    def __init__(self, *, workers: int, cpus: int = 1, gpus: int = 0) -> None:
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # one user, one machine, one benchmark
        os.environ.setdefault("RAY_worker_niceness", "0")  # by itself 15: a busy machine starves it
        self._temporary = tempfile.mkdtemp(prefix="rn", dir="/tmp")  # sockets need short paths
        self._size: dict[str, Any] = {
            "num_cpus": cpus,
            "num_gpus": gpus,
            "object_store_memory": 80 * 2**20,
        }
        self._cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 0,
                "num_gpus": 0,
                **STORE,
                "include_dashboard": False,
                "temp_dir": self._temporary,
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
        shutil.rmtree(self._temporary, ignore_errors=True)

    def add(self) -> None:
        """Let another worker node join."""
        self._workers.append(self._cluster.add_node(**self._size))

    def kill(self, i: int) -> None:
        """SIGKILL worker node ``i``."""
        self._workers.pop(i).kill_all_processes(check_alive=False, allow_graceful=False)

    def kill_head(self) -> None:
        """SIGKILL the head node."""
        assert self._cluster.head_node is not None
        self._cluster.head_node.kill_all_processes(check_alive=False, allow_graceful=False)
