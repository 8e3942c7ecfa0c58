"""Hosts for a real `ray up` on one machine: each is a network, a process and a mount namespace.

A host has its own address, SSH server, name, home and /tmp. All of its processes end with the first
one, and they cannot reach another Ray on this machine. Needs root and Debian's iproute2,
openssh-server, rsync and sshfs. Names contain the process id, so that two test runs do not collide.
"""

import contextlib
import ctypes.util
import itertools
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOOLS = ("ip", "rsync", "ssh", "ssh-keygen", "sshfs", "unshare")
SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
LETTERS = itertools.cycle("abcdefgh")  # tells the sets of hosts of one process apart
BOOT = """
mount --make-rprivate / && mount -t tmpfs tmp /tmp && mount --bind {passwd} /etc/passwd
hostname {name}
mkdir -p {prefix} && mount -c --bind . {prefix}
exec {sshd} -D -e -f {config}
"""
SSHD_CONFIG = """
Port 22
ListenAddress {address}
HostKey {folder}/hostkey
PermitRootLogin yes
UsePAM no
StrictModes no
PasswordAuthentication no
PidFile none
AuthorizedKeysFile {folder}/id.pub
Subsystem sftp internal-sftp
MaxSessions 50
"""


def unmet():
    """Return why such hosts cannot be made on this machine, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing or SSHD is None or ctypes.util.find_library("c") is None:
        names = ", ".join([*missing, *([] if SSHD else ["sshd"])])
        return f"{names} missing: apt-get install iproute2 openssh-server rsync sshfs"
    probe = subprocess.run(
        ["unshare", "-n", "-m", "-u", "-p", "-f", "ip", "link", "add", "rsprobe", "type", "bridge"],
        capture_output=True,
        text=True,
        check=False,
    )
    return f"no namespaces or bridges here: {probe.stderr.strip()}" if probe.returncode else None


def ip(*args):
    subprocess.run(["ip", *args], check=True, capture_output=True)


class Hosts:
    """``n`` hosts; the first is at ``addresses[0]``."""

    def __init__(self, n):
        self.token = f"{os.getpid() % 100000}{next(LETTERS)}"
        self.folder = Path(tempfile.mkdtemp(prefix="rshosts-", dir="/var/tmp"))
        self.bridge = f"rsb{self.token}"
        self.subnet = _free_subnet()
        self.addresses = [f"{self.subnet}.{i + 2}" for i in range(n)]
        self.homes = [self.folder / f"home{i}" for i in range(n)]
        self._first = [None] * n

    def __enter__(self):
        try:
            for key in ("id", "hostkey"):
                command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / key]
                subprocess.run(command, check=True)
            Path("/run/sshd").mkdir(exist_ok=True)
            ip("link", "add", self.bridge, "type", "bridge")
            ip("addr", "add", f"{self.subnet}.1/24", "dev", self.bridge)
            ip("link", "set", self.bridge, "up")
            for i in range(len(self.addresses)):
                self._plug(i)
                self.boot(i)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for i in range(len(self.addresses)):
            self.die(i)
            for thing in (("link", "del", f"rsv{self.token}x{i}"), ("netns", "del", self.name(i))):
                subprocess.run(["ip", *thing], capture_output=True, check=False)
        subprocess.run(["ip", "link", "del", self.bridge], capture_output=True, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def name(self, i):
        return f"rs{self.token}h{i}"

    def _plug(self, i):
        name, cable = self.name(i), f"rsv{self.token}x{i}"
        ip("netns", "add", name)
        ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("link", "set", cable, "master", self.bridge, "up")
        ip("-n", name, "addr", "add", f"{self.addresses[i]}/24", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        ip("-n", name, "link", "set", "lo", "up")
        ip("-n", name, "route", "add", "default", "via", f"{self.subnet}.1")
        shutil.copytree("/etc/skel", self.homes[i])
        passwd = Path("/etc/passwd").read_text().splitlines()
        root = next(line for line in passwd if line.startswith("root:")).split(":")
        entry = ":".join([*root[:5], str(self.homes[i]), "/bin/bash"])
        lines = [entry, *(line for line in passwd if not line.startswith("root:"))]
        (self.folder / f"passwd{i}").write_text("\n".join(lines) + "\n")
        config = SSHD_CONFIG.format(address=self.addresses[i], folder=self.folder)
        (self.folder / f"sshd{i}.conf").write_text(config)

    def boot(self, i):
        """Start host ``i`` and wait until its SSH server answers."""
        script = BOOT.format(
            passwd=self.folder / f"passwd{i}",
            name=f"host{i}",
            prefix=sys.prefix,  # keeps its path even below /tmp
            sshd=SSHD,
            config=self.folder / f"sshd{i}.conf",
        )
        inside = ["unshare", "-m", "-u", "-p", "-f", "--kill-child", "--mount-proc"]
        with (self.folder / f"host{i}.log").open("ab") as log:
            self._first[i] = subprocess.Popen(
                ["ip", "netns", "exec", self.name(i), *inside, "bash", "-ec", script],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=sys.prefix,
                start_new_session=True,
            )
        deadline = time.monotonic() + 20
        while self.run(i, "true", check=False).returncode:
            assert time.monotonic() < deadline, (self.folder / f"host{i}.log").read_text()
            time.sleep(0.2)

    def die(self, i):
        """Kill every process of host ``i``, like a power failure."""
        if self._first[i] is not None:
            self._first[i].kill()
            self._first[i].wait()
            self._first[i] = None
        for pid in self.pids(i):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def pids(self, i):
        listed = subprocess.run(
            ["ip", "netns", "pids", self.name(i)], capture_output=True, text=True, check=False
        )
        return [int(pid) for pid in listed.stdout.split()]

    def kill(self, i, name, number=signal.SIGKILL):
        """Send a signal to the processes of host ``i`` whose command line holds ``name``."""
        killed = []
        for pid in self.pids(i):
            with contextlib.suppress(OSError):
                command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                if name in command:
                    os.kill(pid, number)
                    killed.append(command)
        return killed

    def commands(self, i):
        """Return the command line of every process on host ``i``."""
        commands = []
        for pid in self.pids(i):
            with contextlib.suppress(OSError):
                commands.append(Path(f"/proc/{pid}/cmdline").read_bytes().decode())
        return commands

    def cut(self, i):
        """Take host ``i`` off the network."""
        ip("link", "set", f"rsv{self.token}x{i}", "down")

    def mend(self, i):
        """Connect host ``i`` to the network again."""
        ip("link", "set", f"rsv{self.token}x{i}", "up")

    def _ssh(self, i, *more):
        options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"]
        options += ["ConnectTimeout=5", "BatchMode=yes", "ServerAliveInterval=5"]
        flags = [part for option in options for part in ("-o", option)]
        return ["ssh", "-i", self.folder / "id", *flags, f"root@{self.addresses[i]}", *more]

    def run(self, i, command, *, check=True, timeout=300):
        """Run ``command`` on host ``i`` over SSH, in a login shell."""
        return subprocess.run(
            self._ssh(i, f"bash --login -ic {shlex.quote(command)}"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=check,
            timeout=timeout,
        )

    def start(self, i, command):
        """Start ``command`` on host ``i``; return the process of the connection."""
        return subprocess.Popen(
            self._ssh(i, f"bash --login -ic {shlex.quote(command)}"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    @contextlib.contextmanager
    def tunnel(self, i, port):
        """Yield a port of this machine that leads to ``port`` on host ``i``'s own loopback."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            near = free.getsockname()[1]
        command = self._ssh(i, "-N", "-L", f"127.0.0.1:{near}:127.0.0.1:{port}")
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 20
            while True:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", near)) == 0:
                        break
                assert time.monotonic() < deadline
                time.sleep(0.2)
            yield near
        finally:
            process.terminate()
            process.wait()


def _free_subnet():
    used = subprocess.run(["ip", "-o", "addr"], capture_output=True, text=True, check=True).stdout
    return next(f"10.77.{n}" for n in range(1, 250) if f"10.77.{n}." not in used)
