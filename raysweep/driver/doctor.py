"""Look at this machine: versions, devices, Ray, data, and what would stop a sweep."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from raysweep.config.plain_text import counted
from raysweep.config.registry import fields
from raysweep.data.published import data_folders
from raysweep.data.sources import SOURCES
from raysweep.driver import surroundings
from raysweep.training.devices import default_device

PACKAGES = (
    "raysweep",
    "ray",
    "torch",
    "torchvision",
    "opacus",
    "optuna",
    "scikit-learn",
    "pyarrow",
)

EXTRAS = {"optuna_dashboard": "dashboard", "s3fs": "s3", "boto3": "cluster"}

GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the doctor: what was looked at, what was found, and advice if there is any."""

    what: str
    found: str
    advice: str = ""
    is_serious: bool = False


def examine() -> list[Finding]:
    """Return what was found on this machine. A serious finding stops sweeps."""
    return [*_versions(), *_devices(), *_folders(), *_ray(), *_data(), *_extras()]


def _versions() -> Iterator[Finding]:
    yield Finding(what="Python", found=f"{platform.python_version()} on {platform.platform()}")
    for package in PACKAGES:
        try:
            yield Finding(what=package, found=version(package))
        except PackageNotFoundError:
            advice = "pip install raysweep again: it depends on this package"
            yield Finding(what=package, found="missing", advice=advice, is_serious=True)


def _devices() -> Iterator[Finding]:
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    yield Finding(what="CPU", found=f"{counted(cores or 1, 'core')}, {memory:.0f} GiB of memory")

    if default_device().type == "cpu":
        built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "no CUDA"
        found = f"none that PyTorch can use (PyTorch is built with {built})"
        yield Finding(
            what="GPU", found=found, advice="trials run on the CPU; `gpu: ..` is not used"
        )
    for i in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(i)
        size = f"{free / GIB:.0f} of {total / GIB:.0f} GiB free"
        yield Finding(what=f"GPU {i}", found=f"{torch.cuda.get_device_name(i)}, {size}")


def _folders() -> Iterator[Finding]:
    """Look at the folders that Ray and raysweep write to."""
    temporary = surroundings.temporary_folder()
    free = shutil.disk_usage(temporary).free / GIB
    is_long, is_full = surroundings.is_too_long(), free < 1
    advice = ""
    if is_long:
        moves = surroundings.may_move()
        advice = "too long for Ray's sockets: " + (
            "its sessions go to /tmp" if moves else surroundings.REMEDIES["AF_UNIX"]
        )
        is_long = not moves
    if is_full:
        advice = "free some space, or set RAY_TMPDIR: Ray needs about 1 GiB"
    found = f"{temporary}, {free:.0f} GiB free"
    yield Finding(what="TMPDIR", found=found, advice=advice, is_serious=is_long or is_full)

    home = os.path.expanduser("~")
    is_writable = surroundings.is_writable_home()
    advice = "" if is_writable else "Ray's token then stays in the environment of the sweep"
    yield Finding(
        what="HOME", found=home if is_writable else f"{home}, not writable", advice=advice
    )

    shared = Path("/dev/shm")
    if shared.is_dir():
        size = shutil.disk_usage(shared).total / GIB
        advice = "Ray's object store may be slow: start the container with --shm-size=2g"
        found = f"{shared}, {size:.1f} GiB"
        yield Finding(what="shared memory", found=found, advice=advice if size < 0.5 else "")


def _ray() -> Iterator[Finding]:
    address = os.environ.get("RAY_ADDRESS")
    found = f"RAY_ADDRESS is {address}" if address else "none is named; a sweep starts its own"
    yield Finding(what="Ray cluster", found=found)


def _data() -> Iterator[Finding]:
    names = [name for name, kind in SOURCES.items() if "path" not in fields(kind)]
    here = [name for name in names if _is_here(SOURCES[name])]
    yield Finding(what="data found", found=", ".join(here))
    absent = ", ".join(name for name in names if name not in here)
    if absent:
        folders = ", ".join(map(str, data_folders()))
        advice = f"looked in {folders}; RAYSWEEP_DATA adds folders. Some are downloaded when used"
        yield Finding(what="data absent", found=absent, advice=advice)


def _is_here(kind: type[Any]) -> bool:
    return kind().find() is not None


def _extras() -> Iterator[Finding]:
    for module, extra in EXTRAS.items():
        has_it = importlib.util.find_spec(module) is not None
        advice = "" if has_it else f"pip install 'raysweep[{extra}]' if you need it"
        yield Finding(
            what=f"extra {extra}", found="installed" if has_it else "absent", advice=advice
        )


def to_text(findings: Sequence[Finding]) -> str:
    """Return findings as lines for a terminal, each with its advice below it."""
    lines = []
    for finding in findings:
        lines.append(f"{finding.what:16}{finding.found}")
        if finding.advice:
            lines.append(f"{'! ' if finding.is_serious else '':>16}{finding.advice}")
    return "\n".join(lines) + "\n"
