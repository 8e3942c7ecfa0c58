"""Find the spaces that come with raysweep: in a checkout, or where pip has put them."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

FOLDER = "search_spaces"


def shipped_spaces() -> dict[str, Path]:
    """Return the spaces that come with raysweep: name, such as ``quickstart``, -> file."""
    above = Path(__file__).parents[2]  # the checkout, or the folder of installed packages
    data = (sysconfig.get_path("data"), sysconfig.get_path("data", f"{os.name}_user"))
    roots = [above, *map(Path, data)]
    for folder in (above / FOLDER, *(root / "share" / "raysweep" / FOLDER for root in roots)):
        if paths := sorted(folder.rglob("*.yaml")):
            return {str(path.relative_to(folder))[: -len(".yaml")]: path for path in paths}
    return {}


def find_space(path: str | Path) -> Path:
    """Return the file at ``path``, or the shipped space of that name if there is no such file."""
    given = Path(path).expanduser()
    return given if given.exists() else shipped_spaces().get(str(path), given)
