"""Tell an error of a user's own code as theirs, with the file and the line."""

from __future__ import annotations

import traceback
from pathlib import Path


def told(error: BaseException) -> str:
    """Return an error's type and words, and the last line of the user's own that led to it."""
    lines_of_text = [line for line in text_of(error).splitlines() if line.strip()]
    words = ": ".join([type(error).__name__, *(line.strip() for line in lines_of_text[:1])])
    lines = [
        f"{frame.filename}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if _is_users(frame.filename)
    ]
    return f"{words} ({lines[-1]})" if lines else words


def text_of(error: BaseException) -> str:
    """Return the text of an error; of a user's own class that cannot give it, its arguments."""
    try:
        return str(error)
    except Exception:
        return ", ".join(arg for arg in error.args if isinstance(arg, str))


def _is_users(filename: str) -> bool:
    """Return whether a file is neither raysweep's, nor Python's, nor a library's."""
    parts = Path(filename).parts
    is_library = "site-packages" in parts or "dist-packages" in parts or filename.startswith("<")
    return not is_library and not any(filename.startswith(folder) for folder in _FOLDERS)


_FOLDERS = (str(Path(__file__).parents[1]), str(Path(traceback.__file__).parent))
