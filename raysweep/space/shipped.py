"""Find the spaces that come with raysweep: in a checkout, or where pip has put them."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

FOLDER = "search_spaces"


def shipped_spaces() -> dict[str, Path]:
    """Return the spaces that come with raysweep: name, such as ``quickstart``, -> file."""
    checkout = Path(__file__).parents[2] / FOLDER
    paths = sorted(checkout.rglob("*.yaml")) or _installed()
    return {_name(path): path for path in paths}


def _installed() -> list[Path]:
    try:
        found = files("raysweep") or []
    except PackageNotFoundError:
        return []
    spaces = [Path(str(file.locate())) for file in found if file.suffix == ".yaml"]
    return sorted(path for path in spaces if FOLDER in path.parts)


def _name(path: Path) -> str:
    """Return the name of a shipped space: its path below the folder, without the suffix."""
    below = path.parts[path.parts[::-1].index(FOLDER) * -1 :]
    return "/".join(below).removesuffix(".yaml")


def find_space(path: str | Path) -> Path:
    """Return the file at ``path``, or the shipped space of that name if there is no such file."""
    given = Path(path).expanduser()
    return given if given.exists() else shipped_spaces().get(str(path), given)
