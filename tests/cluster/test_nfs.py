"""Results on NFS: run the tests of `on_nfs.py` under User-mode Linux.

User-mode Linux is a kernel that runs as a process. It reads this machine's files and has its own NFS
server and client, which the kernel of a container may lack.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SMALL

from cluster.on_nfs import FIGURES
from raysweep.records.results import load

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1000)]
ROOT = Path(__file__).parent.parent.parent
KERNEL = Path("/usr/lib/uml/modules")
TOOLS = ("linux.uml", "modprobe", "depmod", "rpcbind", "exportfs", "rpc.nfsd", "mount.nfs4")
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
MAPS = Path("/proc/sys/vm/max_map_count")  # every page of a guest's process is one map on its host
INIT = """\
#!/bin/bash
export PATH={path} HOME=/dev/shm TMPDIR=/dev/shm PYTHONDONTWRITEBYTECODE=1
mount -t proc proc /proc && mount -t sysfs sys /sys && mount -t tmpfs run /run
mount -t tmpfs tmp /var/lib/nfs && mount -t tmpfs tmp /mnt && mount -t devtmpfs dev /dev
mkdir -p /dev/shm /dev/pts /run/rpcbind /var/lib/nfs/{{v4recovery,v4root,rpc_pipefs,sm}}
mount -t tmpfs shm /dev/shm && mount -t devpts pts /dev/pts && ip link set lo up
touch /var/lib/nfs/{{etab,rmtab,state}}
for module in nfsd nfs nfsv4; do modprobe -d {modules} $module; done
mount -t nfsd nfsd /proc/fs/nfsd && mount -t rpc_pipefs rpc /var/lib/nfs/rpc_pipefs
echo 10 > /proc/fs/nfsd/nfsv4leasetime; echo 10 > /proc/fs/nfsd/nfsv4gracetime  # seconds
mkdir /mnt/served /mnt/a /mnt/b && mount -t tmpfs served /mnt/served && rpcbind -w
exportfs -o rw,no_root_squash,insecure,fsid=0,no_subtree_check 127.0.0.1:/mnt/served
rpc.mountd -N 2 2> /dev/null; rpc.nfsd -N 3 8
for client in a b; do  # two clients, each with its own cache
  mount -t nfs4 -o vers=4.2,nosharecache 127.0.0.1:/ /mnt/$client
done
cd {root} && {job} 2>&1
halt -f -p
"""


def unmet():
    """Return why this machine cannot run the guest, or None."""
    missing = [tool for tool in TOOLS if shutil.which(tool, path=PATH) is None]
    if os.geteuid() != 0 or missing:
        return "needs root; apt-get install user-mode-linux kmod nfs-kernel-server"
    return None if os.access(MAPS, os.W_OK) else f"{MAPS} cannot be raised"


@pytest.fixture
def many_maps():
    before = MAPS.read_text()
    MAPS.write_text(str(max(int(before), 4_000_000)))
    yield
    MAPS.write_text(before)


def test_results_on_nfs(tmp_path, request):
    if unmet():
        pytest.skip(f"no NFS on this machine: {unmet()}")
    request.getfixturevalue("many_maps")
    (tmp_path / "lib").mkdir()
    shutil.copytree(KERNEL, tmp_path / "lib/modules")
    version = next((tmp_path / "lib/modules").iterdir()).name
    subprocess.run(["depmod", "-b", tmp_path, version], check=True, env={"PATH": PATH})
    options = ("-m", "", "--color=no", "--durations=5", "-s", "-p", "no:cacheprovider")
    job = [sys.executable, "-m", "pytest", *options, "tests/cluster/on_nfs.py"]
    init = tmp_path / "init"
    values = {"path": PATH, "root": ROOT, "modules": tmp_path, "job": shlex.join(job)}
    init.write_text(INIT.format(**values))
    init.chmod(0o755)
    guest = ["linux.uml", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "mem=6G"]
    log = tmp_path / "guest.log"
    with log.open("wb") as console:
        process = subprocess.Popen(
            [*guest, f"init={init}", "con=null", "con0=null,fd:1"],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            env={**os.environ, "TMPDIR": "/dev/shm"},
            start_new_session=True,
        )
        try:
            process.wait(900)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    text = log.read_text(errors="replace").partition("test session starts")[2]
    assert re.search(r"=== \d+ passed in", text), text or log.read_text(errors="replace")
    recorded = json.loads(re.search(r"FOUND (.*)", text)[1])
    (tmp_path / "small.yaml").write_text(SMALL)
    sweep = [Path(sys.executable).parent / "raysweep", "sweep", "small.yaml", "--out", "disk"]
    command = [*sweep, "--trials", str(len(recorded))]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    expected = load(str(tmp_path / "disk")).trials.sort_values("number")
    assert recorded == expected[FIGURES].to_numpy().tolist()
