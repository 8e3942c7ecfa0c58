"""Options, the printed result and the description of the machine for every benchmark."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any


def options(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser with the option that every benchmark has."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--json", action="store_true", help="end with one JSON object on one line")
    return parser


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Return mean, median, minimum, maximum, standard deviation and number of some values."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return {
        "mean": round(statistics.fmean(values), 5),
        "median": round(statistics.median(values), 5),
        "min": round(min(values), 5),
        "max": round(max(values), 5),
        "sd": round(deviation, 5),
        "n": len(values),
    }


def machine() -> dict[str, Any]:
    """Return the hardware and the versions that a figure depends on."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [x for x in cpuinfo.read_text().splitlines() if x.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    packages = ("raysweep", "torch", "opacus", "ray", "optuna", "numpy")
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def finish(result: dict[str, Any], *, as_json: bool) -> None:
    """Print the result, readable or as one line of JSON."""
    result = {**result, "machine": machine()}
    if as_json:
        print(json.dumps(result))
        return
    for key, value in result.items():
        print(f"{key}: {value}")
