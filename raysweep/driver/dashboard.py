"""optuna-dashboard on a results folder."""

from __future__ import annotations

import yaml

from raysweep.driver.proposals import Proposals
from raysweep.errors import SpaceError
from raysweep.records.results import load
from raysweep.space.parsing import parse_space


def serve_dashboard(folder: str, *, port: int) -> None:
    """Show the study of a results folder in optuna-dashboard, on this machine only.

    Raises:
        StoreError: no results folder.
        SpaceError: optuna-dashboard is not installed.

    """
    results = load(folder)
    try:
        from optuna_dashboard import run_server
    except ImportError:
        remedy = "pip install 'raysweep[dashboard]'"
        raise SpaceError(f"optuna-dashboard is not installed: {remedy}") from None
    space = parse_space(yaml.safe_dump(results.documents[0]), f"{folder}/space.yaml")
    trials = results.trials
    proposals = Proposals(space, trials, largest=max(1, len(trials)))
    print(f"http://127.0.0.1:{port}")
    run_server(proposals._study._storage, host="127.0.0.1", port=port)
