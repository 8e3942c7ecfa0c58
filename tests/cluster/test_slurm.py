"""Run cluster.slurm.sh as a job of a Slurm with one node (Debian's slurm-wlm)."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from raysweep.records.results import load

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
ROOT = Path(__file__).parent.parent.parent
DAEMONS = ("munged", "slurmctld", "slurmd")
CONF = """
ClusterName=test
SlurmctldHost={name}(127.0.0.1)
SlurmUser=root
AuthInfo=socket={folder}/munge.socket
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdSpoolDir={folder}/spool
StateSaveLocation={folder}/state
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
NodeName={name} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def slurm(tmp_path):
    """A function that runs Slurm's commands; its daemons end with the test."""
    daemons = {d: shutil.which(d, path=f"{os.environ['PATH']}:/usr/sbin") for d in DAEMONS}
    if os.geteuid() != 0 or not all(daemons.values()):
        pytest.skip("no Slurm on this machine: needs root; apt-get install slurm-wlm")
    folder = (
        Path("/run") / f"raysweep-slurm-{os.getpid()}"
    )  # munge refuses folders that everybody can write to
    folder.mkdir()
    key = folder / "key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    name = socket.gethostname().partition(".")[0]
    ports = [free_port(), free_port()]
    conf = folder / "slurm.conf"
    conf.write_text(CONF.format(folder=folder, name=name, ports=ports, cpus=os.cpu_count()))
    files = {"key": key, "socket": folder / "munge.socket", "log": folder / "munged.log"}
    files |= {"pid": folder / "munged.pid", "seed": folder / "munged.seed"}
    munge = [
        f"--{option}{'' if option == 'socket' else '-file'}={f}" for option, f in files.items()
    ]
    commands = [["-F", "--force", *munge], ["-D", "-f", conf], ["-D", "-f", conf]]
    environment = {**os.environ, "SLURM_CONF": str(conf), "HOME": str(tmp_path)}
    environment |= {"RAYSWEEP_VENV": sys.prefix, "RAYSWEEP_RESULTS": str(tmp_path / "results")}
    running = []

    def call(*command):
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    try:
        for daemon, arguments in zip(DAEMONS, commands, strict=True):
            with (folder / f"{daemon}.out").open("wb") as log:
                running.append(
                    subprocess.Popen(
                        [daemons[daemon], *map(str, arguments)],
                        stdout=log,
                        stderr=log,
                        env=environment,
                    )
                )
            time.sleep(1)
        deadline = time.monotonic() + 60
        while "idle" not in call("sinfo", "--noheader", "--format=%T"):
            assert time.monotonic() < deadline, (folder / "slurmd.log").read_text()
            time.sleep(0.5)
        yield call
        call("scancel", "--user=root")
        while call("squeue", "--noheader"):
            time.sleep(0.5)
    finally:
        for process in running[::-1]:
            process.terminate()
            process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def test_a_slurm_job_runs_a_sweep_and_a_second_job_continues_it(slurm, tmp_path):
    def submit(trials):
        job = ("--wait", "--nodes=1", f"--cpus-per-task={os.cpu_count()}", "--gpus-per-node=0")
        job += ("--time=10", "--output=job.out", ROOT / "cluster.slurm.sh")
        space = ROOT / "search_spaces" / "quickstart.yaml"
        cpu = ("--set", "resources.gpu=0")
        slurm("sbatch", *map(str, job), str(space), "--trials", str(trials), *cpu)
        text = (tmp_path / "job.out").read_text()
        assert f"{trials} trials, 0 failed" in text, text
        assert (tmp_path / ".ray" / "auth_token").read_text().strip() not in text
        return load(str(tmp_path / "results" / "quickstart")).trials

    first = submit(3)
    second = submit(5)
    assert len(second) == 5
    assert set(first["started_at"]) < set(second["started_at"])
