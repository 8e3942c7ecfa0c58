"""Show a results folder in optuna-dashboard."""

from __future__ import annotations

import yaml

from raysweep.driver.study import Search
from raysweep.errors import SpaceError
from raysweep.records.results import load, records
from raysweep.space.parsing import parse_space


def serve_dashboard(folder: str, *, port: int) -> None:
    """Show a results folder in optuna-dashboard, on this machine only.

    Raises:
        StoreError: ``folder`` is not a results folder.
        SpaceError: optuna-dashboard is not installed, or ``port`` cannot be used.

    """
    results = load(folder)
    try:
        from optuna_dashboard import run_server
    except ImportError:
        raise SpaceError(
            "optuna-dashboard is not installed", remedy="pip install 'raysweep[dashboard]'"
        ) from None

    space = parse_space(yaml.safe_dump(results.documents[0]), f"{folder}/space.yaml")
    rows = records(results.trials)
    largest = max(1, len(rows))
    search = Search(space, rows, seed=space.seed, records={}, n_before=0, largest=largest)
    print(f"http://127.0.0.1:{port}")
    try:
        run_server(search.study._storage, host="127.0.0.1", port=port)
    except (OSError, OverflowError) as error:
        raise SpaceError(f"--port {port} cannot be used ({error})", remedy="give another") from None
