"""A cluster of three hosts, started by `ray up` once for all tests of this folder."""

import os
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config

from cluster.hosts import Hosts, unmet

ROOT = Path(__file__).parent.parent.parent
RAY = str(Path(sys.executable).parent / "ray")
# Run a command with an empty /tmp of its own; the checkout keeps its path even below /tmp.
PRIVATE = (
    'mount --make-rprivate / && mount --bind "$0" /tmp && mkdir -p "$PWD" && mount -c --bind . "$PWD"'
    ' && cd "$PWD" && exec "$@"'
)


class Cluster:
    """cluster.local.yaml on test hosts; only addresses, keys and sizes are replaced."""

    def __init__(self, hosts):
        self.hosts = hosts
        self.home = hosts.folder / "laptop"
        self.home.mkdir()
        self.temporary = hosts.folder / "tmp"
        self.temporary.mkdir()
        self.file = hosts.folder / "cluster.local.yaml"
        document = yaml.safe_load((ROOT / "cluster.local.yaml").read_text())
        head, *workers = hosts.addresses
        document["provider"] |= {"head_ip": head, "worker_ips": workers}
        document["auth"] = {"ssh_user": "root", "ssh_private_key": str(hosts.folder / "id")}
        base = f"{sys.base_prefix}/bin/python3"
        shared = sysconfig.get_path("purelib")
        install = f"bash ~/raysweep/tests/cluster/install.sh {base} {shared}"
        assert "venv" in document["setup_commands"][0]
        assert "pip install" in document["setup_commands"][1]
        document["setup_commands"][:2] = [install]
        small = " --object-store-memory=150000000"
        document["head_start_ray_commands"][-1] += small
        document["worker_start_ray_commands"][-1] += f"{small} --num-cpus=2 --num-gpus=1"
        self.file.write_text(yaml.safe_dump(document))
        # A second file with autoscaling, as in a cloud, where each machine type states its resources.
        document |= {"min_workers": 0, "idle_timeout_minutes": 0.3}
        document = prepare_config(document)
        document["available_node_types"]["local.cluster.node"]["resources"] = {"CPU": 2, "GPU": 1}
        start = document["head_start_ray_commands"]
        start[-1] = f"unset RAY_OVERRIDE_RESOURCES; {start[-1]}"  # the head has no GPU
        self.elastic = hosts.folder / "elastic.yaml"
        self.elastic.write_text(yaml.safe_dump(document))

    def ray(self, *args, check=True, timeout=240):
        """Run `ray ...` as on a user's laptop, with its own home and /tmp."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY")}
        environment |= {"HOME": str(self.home), "RAY_AUTH_MODE": "token"}
        environment |= {"RAY_USAGE_STATS_ENABLED": "0"}
        environment.pop("PYTHONPATH", None)
        done = subprocess.run(
            ["unshare", "-m", "bash", "-c", PRIVATE, self.temporary, RAY, *map(str, args)],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check:
            assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
        return done

    def up(self, file=None):
        self.ray("up", "-y", "--no-config-cache", file or self.file)

    def head(self, command, **options):
        return self.hosts.run(0, command, **options)

    def workers(self):
        """Return the worker hosts on which Ray runs now."""
        hosts = range(1, len(self.hosts.addresses))
        return [i for i in hosts if any("raylet/raylet" in c for c in self.hosts.commands(i))]

    def wait_for_workers(self, n, seconds=120):
        began = time.monotonic()
        while len(self.workers()) != n:
            assert time.monotonic() - began < seconds, f"{self.workers()}, not {n} workers"
            time.sleep(0.5)
        return time.monotonic() - began


@pytest.fixture(scope="session")
def cluster():
    reason = unmet()
    if reason:
        pytest.skip(f"no cluster on this machine: {reason}")
    with Hosts(3) as hosts:
        cluster = Cluster(hosts)
        cluster.ray("get-auth-token", "--generate")
        cluster.up()
        yield cluster
        cluster.ray("down", "-y", cluster.file, check=False)
