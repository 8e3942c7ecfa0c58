"""Write a folder with a search space, a model and data that run as they are."""

from __future__ import annotations

from pathlib import Path

from raysweep.errors import SpaceError
from raysweep.space.parsing import NAME

FILES = ("space.yaml", "my_model.py")

TABLE = "tumours.csv"


def write_starter(folder: str) -> list[Path]:
    """Write the starter's files into ``folder``, which may exist, and return their paths.

    The table is scikit-learn's breast cancer data (569 tumours, 30 measurements; Street et al.
    1993).

    Raises:
        SpaceError: one of the files exists, or the folder cannot be written.

    """
    if not folder.strip():
        raise SpaceError("init needs the folder to write", got=folder, remedy="name a new folder")
    target = Path(folder).expanduser()
    name = target.resolve().name
    if not NAME.fullmatch(name):
        rule = "the folder's name must be letters, digits, dots, dashes and underscores"
        raise SpaceError(rule, got=name, remedy="it becomes the name of the space")
    paths = [target / file for file in (*FILES, TABLE)]
    present = [path.name for path in paths if path.exists() or path.is_symlink()]
    if present:
        raise SpaceError(f"{folder} already has {', '.join(present)}", remedy="name another folder")

    try:
        target.mkdir(parents=True, exist_ok=True)
        for path in paths[:-1]:
            source = Path(__file__).with_name(f"{path.name}.txt")
            text = source.read_text(encoding="utf-8")
            path.write_text(text.replace("NAME", name), encoding="utf-8")
        _write_table(paths[-1])
    except OSError as error:
        reason = error.strerror or error
        raise SpaceError(
            f"{folder} cannot be written ({reason})", remedy="name another folder"
        ) from None
    return paths


def _write_table(path: Path) -> None:
    from raysweep.data.published import read_tumours

    read_tumours().to_csv(path, index=False)
