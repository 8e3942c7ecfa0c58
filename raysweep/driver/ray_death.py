"""End a sweep with one message when the Ray of its machine has died."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

from rich.console import Console

from raysweep.errors import ClusterError

STUCK = 15.0  # seconds after a death; a call into Ray that has not come back by then never does


def ray_death() -> ClusterError | None:
    """Return the error that a process of the Ray which this one started has died; None if none has.

    Ray would write many lines of its own and end the driver, after a minute where its head died.
    """
    # The main thread may be importing Ray, which no other thread may do meanwhile.
    node: Any = getattr(sys.modules.get("ray._private.worker"), "_global_node", None)
    dead = {name for name, _ in node.dead_processes()} if node is not None else set()
    part = next((name for name in ("raylet", "gcs_server") if name in dead), None)
    if part is None:
        return None
    return ClusterError(
        f"Ray on this machine has died (its process {part})",
        remedy="give the same command again, which continues; if it dies again, free some memory "
        "or lower --max-concurrent",
    )


@contextlib.contextmanager
def end_with_ray(console: Console) -> Iterator[None]:
    """End this process when Ray has died and the main thread is stuck in a call into it."""
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(1.0):
            error = ray_death()
            if error is not None and not is_over.wait(STUCK):
                console.show_cursor()
                console.print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
                os._exit(2)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        is_over.set()
