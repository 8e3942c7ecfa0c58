"""Sweeps on a cluster of three hosts that lose workers, network and head (`make test-cluster`)."""

import bisect
import json
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import ClassVar

import pandas as pd
import pytest

from raysweep.records.results import load

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500)]
ROOT = Path(__file__).parent.parent.parent
RAYSWEEP = Path(sys.executable).parent / "raysweep"

SMALL = """\
name: small
dataset: {name: digits, members: 120, nonmembers: 60, pool: 200, validation: 100, test: 100}
model: {name: mlp, hidden: [32], activation: tanh}
training: {epochs: 4, batch_size: 16, learning_rate: 1e-2}
search: {dropout: {low: 0.0, high: 0.5}}
attacks: {membership: [max_posterior, loss], inversion: {activation_decoder: {decoders: [ridge]}}}
sampler: {name: random, trials: 8}
resources: {cpu: 0.5, gpu: 0.25}
seed: 3
"""

SLOW = """
import time
from helper_of_mine import output

def slow(shape, n_classes, seconds=0.0):
    time.sleep(seconds)
    return output(shape, n_classes)
"""

HELPER = """
from torch import nn

def output(shape, n_classes):
    model = nn.Sequential(nn.Flatten())
    model.add_module("output", nn.Linear(64, n_classes))
    return model
"""

SLOW_SPACE = SMALL.replace(
    "name: mlp, hidden: [32], activation: tanh", "name: 'slow_model:slow', seconds: 1.5"
)
SLOW_SPACE = SLOW_SPACE.replace(
    "dropout: {low: 0.0, high: 0.5}", "training.learning_rate: {low: 1e-3, high: 1e-1}"
)
SLOW_SPACE = SLOW_SPACE.replace(
    "inversion: {activation_decoder: {decoders: [ridge]}}", "inversion: {}"
)
SLOW_SPACE = SLOW_SPACE.replace("seed: 3", "objectives: {accuracy: max, attack_auc: min}\nseed: 3")


READ = {}  # files that were read already: reading must not slow the sweep down


def written(cluster, out):
    """Return the files of records that a sweep left on the head, and when each was written."""
    files = sorted((cluster.hosts.homes[0] / out / "trials").glob("*.parquet"))
    return {file: file.stat().st_mtime_ns for file in files}


def records(cluster, out, columns=None):
    """Return the records that a sweep left on the head, and when each was written."""
    times = written(cluster, out)
    for file in times.items():
        if file not in READ:
            READ[file] = pd.read_parquet(file[0])
    tables = [READ[file] if columns is None else READ[file][columns] for file in times.items()]
    return pd.concat(tables) if tables else None, {file.name: t for file, t in times.items()}


def began(cluster, out, *, after, node=None):
    """Return when the recorded trials began (on a node), those later than ``after``, sorted."""
    found = records(cluster, out, ["node", "started_at"])[0]
    times = pd.to_datetime(found["started_at"]).map(pd.Timestamp.timestamp)
    return sorted(times[(times > after) & (found["node"].eq(node) | (node is None))])


WINDOW = 20  # seconds


def windows(cluster, out, *, after):
    """Return when trials began later than ``after``, and how many did in ``WINDOW`` from then on."""
    times = began(cluster, out, after=after)
    return [(t, bisect.bisect(times, t + WINDOW) - i) for i, t in enumerate(times)]


def lost_attempts(found):
    """Return why trials were tried again: each time, that their worker or its node was gone."""
    reasons = [reason for text in found["retries"].dropna() for reason in json.loads(text)]
    assert all(re.search("died|dead|lost|unavailable", reason) for reason in reasons), reasons
    return reasons


@pytest.fixture
def user_code(cluster):
    """A folder on the head with a user's own model, which takes a while to build."""
    folder = cluster.hosts.homes[0] / "mine"
    folder.mkdir(exist_ok=True)
    (folder / "slow_model.py").write_text(SLOW)
    (folder / "helper_of_mine.py").write_text(HELPER)
    (folder / "slow.yaml").write_text(SLOW_SPACE)
    yield folder
    while Running.alive:  # a failed test may have left its sweep running
        process = Running.alive.pop()
        process.kill()
        process.wait()
        cluster.hosts.kill(0, "raysweep sweep")


class Running:
    """`raysweep sweep slow.yaml --address auto` in a shell on the head."""

    alive: ClassVar[list] = []

    def __init__(self, cluster, out, trials, kept=None):
        self.cluster, self.kept = cluster, kept or out
        sweep = f"raysweep sweep slow.yaml --address auto --out ~/{out} --trials {trials}"
        log = f"{Path(out).name}.log"
        self.log = cluster.hosts.homes[0] / log
        command = f"cd ~/mine && nohup {sweep} > ~/{log} 2>&1; echo EXIT $? >> ~/{log}"
        self.process = cluster.hosts.start(0, command)
        self.alive.append(self.process)

    def wait_for(self, n, seconds=500):
        deadline = time.monotonic() + seconds
        while len(written(self.cluster, self.kept)) < n:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.2)

    def end(self, seconds=700):
        self.process.wait(seconds)
        text = self.log.read_text()
        assert "Traceback" not in text, text
        return int(re.findall(r"EXIT (\d+)", text)[-1]), text


COMPARED = 150  # trials


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The first trials of slow.yaml, run on one machine without any failure."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "slow_model.py").write_text(SLOW)
    (folder / "helper_of_mine.py").write_text(HELPER)
    (folder / "slow.yaml").write_text(SLOW_SPACE.replace("seconds: 1.5", "seconds: 0"))
    command = [RAYSWEEP, "sweep", "slow.yaml", "--out", "out", "--trials", str(COMPARED)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return load(folder / "out")


def check_equal(found, undisturbed):
    """Compare figures and front with those of the undisturbed sweep."""
    found = found[found["number"] < COMPARED].sort_values("number", ignore_index=True)
    expected = undisturbed.trials.sort_values("number", ignore_index=True)
    expected = expected[expected["number"].isin(found["number"])].reset_index(drop=True)
    figures = ["number", "accuracy", "attack_auc"]
    pd.testing.assert_frame_equal(found[figures], expected[figures])
    fronts = [undisturbed.objectives.front(trials)["number"] for trials in (found, expected)]
    assert fronts[0].tolist() == fronts[1].tolist() != []


def check(cluster, out, n, before):
    """Check that every trial is recorded once and that the files of ``before`` are unchanged."""
    found, now = records(cluster, out)
    assert {name: now.get(name) for name in before} == before
    assert sorted(found["number"]) == list(range(n))
    assert found["status"].eq("ok").all(), found["error"].tolist()
    return found


def test_ray_submit_runs_a_sweep_that_packs_its_trials_on_the_workers(cluster):
    cluster.wait_for_workers(2)
    long_enough_to_overlap = SMALL.replace("epochs: 4", "epochs: 300")
    (cluster.hosts.homes[0] / "raysweep/small.yaml").write_text(long_enough_to_overlap)
    script = ROOT / "sweep_on_cluster.py"
    done = cluster.ray("submit", cluster.file, script, "small.yaml", "--trials", "16")
    assert "16 trials, 0 failed" in done.stdout
    found = check(cluster, "results/small", 16, {})
    assert set(found["node"]) == {"host1", "host2"}  # the head trains nothing
    began = pd.to_datetime(found["started_at"])
    seconds = found["train_seconds"] + found["attack_seconds"]
    ended = began + pd.to_timedelta(seconds, unit="s")
    at_once = [(found["node"].eq("host1") & (began <= t) & (ended > t)).sum() for t in began]
    assert 2 <= max(at_once) <= 4  # four quarters of a GPU on each host


def test_a_job_brings_its_own_code_and_needs_the_token(cluster, user_code):
    with cluster.hosts.tunnel(0, 8265) as port:
        address = f"http://127.0.0.1:{port}"
        job = ("job", "submit", "--address", address)
        sweep = "raysweep sweep slow.yaml --address auto --out ~/results/job --trials 4"
        folder = ("--working-dir", user_code)
        done = cluster.ray(*job, *folder, "--", "bash", "-lic", sweep)
        assert "4 trials, 0 failed" in done.stdout
        token = cluster.home / ".ray" / "auth_token"
        kept = token.read_text()
        refused = []
        try:
            for change in (lambda: token.write_text("0" * 64), token.unlink):
                change()
                refused.append(cluster.ray(*job, "--", "touch", "/tmp/owned", check=False))
        finally:
            token.write_text(kept)
            token.chmod(0o600)
        for done in refused:
            assert done.returncode != 0
            assert re.search("unauthenticated|token", done.stdout + done.stderr, re.IGNORECASE)
        for page in ("api/jobs/", "nodes?view=summary", "api/v0/actors", "api/version"):
            with pytest.raises(urllib.error.HTTPError, match="401|403"):
                urllib.request.urlopen(f"{address}/{page}", timeout=20)
    check(cluster, "results/job", 4, {})
    wrong = "RAY_AUTH_MODE=disabled raysweep sweep mine/slow.yaml --address auto --out ~/no"
    done = cluster.head(f"cd ~/mine && {wrong}".replace("mine/slow", "slow"), check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    logs = cluster.head(f"grep -rl {kept.strip()} /tmp/ray ~/results", check=False)
    assert logs.stdout == ""


def test_a_worker_host_whose_ray_is_killed_returns_to_full_speed(cluster, user_code, undisturbed):
    cluster.wait_for_workers(2)
    sweep = Running(cluster, "raylet", 2000)
    sweep.wait_for(8)
    time.sleep(WINDOW + 5)
    token = (cluster.home / ".ray" / "auth_token").read_text().strip()
    for host in range(3):
        commands = cluster.hosts.commands(host)
        assert any("raylet/raylet" in command for command in commands)
        assert not [command for command in commands if token in command]
    usual = max(n for _, n in windows(cluster, "raylet", after=time.time() - WINDOW - 5))
    _, before = records(cluster, "raylet")
    assert cluster.hosts.kill(1, "raylet/raylet")
    died = time.time()
    cluster.wait_for_workers(1, seconds=60)
    cluster.wait_for_workers(2, seconds=200)
    came = time.time()
    full = []
    while not full:
        assert time.time() - came < 60 + WINDOW, (usual, sweep.log.read_text())
        time.sleep(1)
        full = [t for t, n in windows(cluster, "raylet", after=came) if n >= 0.9 * usual]
    first = began(cluster, "raylet", after=died, node="host1")[0] - came
    text = f"back after {came - died:.0f} s, first trial {first:.1f} s later"
    print(f"{text}, as many as before ({usual} in {WINDOW} s) from {full[0] - came:.0f} s on")  # noqa: T201
    assert full[0] - came < 60
    assert lost_attempts(records(cluster, "raylet")[0])
    assert cluster.hosts.kill(0, "bin/raysweep sweep", signal.SIGINT)
    code, text = sweep.end(60)
    assert code == 130, text
    now = records(cluster, "raylet")[1]
    assert {name: now.get(name) for name in before} == before
    check_equal(records(cluster, "raylet")[0], undisturbed)


def test_results_on_a_share_survive_a_minute_without_it_and_are_read_on_another_host(
    cluster, user_code, undisturbed
):
    """SFTP reports errors at once; NFS, in `test_nfs.py`, makes the caller wait."""
    cluster.wait_for_workers(2, seconds=200)
    served = cluster.hosts.folder / "served"
    served.mkdir()
    options = f"IdentityFile={cluster.hosts.folder}/id,StrictHostKeyChecking=no"
    mount = f"mkdir -p ~/share && sshfs -o {options} {cluster.hosts.addresses[2]}:{served} ~/share"
    cluster.head(mount)
    sweep = Running(cluster, "share/out", 24, kept=served / "out")
    sweep.wait_for(4)
    cluster.head("fusermount3 -uz ~/share")
    time.sleep(60)
    assert not list(
        (cluster.hosts.homes[0] / "share").iterdir()
    )  # the driver wrote nothing below the mount point
    cluster.head(mount)
    cluster.hosts.run(1, mount)
    text = cluster.hosts.run(1, "raysweep front ~/share/out").stdout
    assert "accuracy" in text
    code, text = sweep.end()
    assert code == 0, text
    assert "cannot be written" in text
    check_equal(check(cluster, served / "out", 24, {}), undisturbed)
    for host in (0, 1):
        cluster.hosts.run(host, "fusermount3 -u ~/share")


def test_trials_of_a_host_without_network_are_tried_again_and_the_host_returns(
    cluster, user_code, undisturbed
):
    cluster.wait_for_workers(2, seconds=200)
    sweep = Running(cluster, "cut", 400)
    sweep.wait_for(4)
    while not began(cluster, "cut", after=0, node="host2"):
        sweep.wait_for(len(records(cluster, "cut")[1]) + 1)
    _, before = records(cluster, "cut")
    cluster.hosts.cut(2)
    time.sleep(60)
    cluster.hosts.mend(2)
    mended = time.time()
    code, text = sweep.end()
    assert code == 0, text
    found = check(cluster, "cut", 400, before)
    check_equal(found, undisturbed)
    again = began(cluster, "cut", after=mended, node="host2")
    assert again, text
    reasons = lost_attempts(found)
    print(f"first trial {again[0] - mended:.0f} s after the cable is back; {len(reasons)} again")  # noqa: T201
    assert reasons


def test_finished_trials_survive_the_death_of_the_head(cluster, user_code, undisturbed):
    cluster.wait_for_workers(2, seconds=200)
    sweep = Running(cluster, "head", 24)
    sweep.wait_for(6)
    cluster.hosts.die(0)
    sweep.process.wait(60)
    _, before = records(cluster, "head")
    cluster.hosts.boot(0)
    cluster.up()
    cluster.wait_for_workers(2, seconds=200)
    sweep = Running(cluster, "head", 24)
    code, text = sweep.end()
    assert code == 0, text
    check_equal(check(cluster, "head", 24, before), undisturbed)


def test_workers_start_with_a_sweep_and_stop_after_it(cluster, user_code, undisturbed):
    cluster.ray("down", "-y", cluster.file)
    cluster.up(cluster.elastic)
    assert cluster.workers() == []
    sweep = Running(cluster, "elastic", 24)
    cluster.wait_for_workers(2, seconds=200)  # both at once: the waiting trials request them
    code, text = sweep.end()
    assert code == 0, text
    check_equal(check(cluster, "elastic", 24, {}), undisturbed)
    cluster.wait_for_workers(0, seconds=200)


def test_ray_down_stops_every_ray_process(cluster):
    cluster.ray("down", "-y", cluster.elastic)
    deadline = time.monotonic() + 60
    while cluster.workers() or any("raylet" in c for c in cluster.hosts.commands(0)):
        assert time.monotonic() < deadline
        time.sleep(1)


def test_hosts_clean_up_processes_files_and_networks():
    from cluster.hosts import Hosts, unmet

    if unmet():
        pytest.skip(unmet())
    with Hosts(1) as hosts:
        hosts.run(0, "nohup sleep 1000 > /dev/null 2>&1 &")
        pids, folder = hosts.pids(0), hosts.folder
        names = [hosts.name(0), hosts.bridge]
    assert pids
    deadline = time.monotonic() + 10
    while [pid for pid in pids if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert not folder.exists()
    shown = subprocess.run(
        "ip netns; ip link", shell=True, capture_output=True, text=True, check=True
    )
    assert not [name for name in names if name in shown.stdout]
