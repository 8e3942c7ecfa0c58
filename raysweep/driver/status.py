"""Say how far the sweep in a results folder is, from its files alone."""

from __future__ import annotations

from collections import Counter
from typing import Any

from raysweep.config.plain_text import counted
from raysweep.driver.lock import Lock
from raysweep.records.guarantee import is_private_choice
from raysweep.records.results import Results
from raysweep.records.seeds import average_seeds


def status(results: Results) -> dict[str, Any]:
    """Return the counts of a sweep's trials, its best figures, and whether a driver writes to it.

    ``missing`` counts what the space asks for and no record holds; a sweep that was started with
    --trials may end at another number. ``driver`` says who holds the lock, None if nobody does.
    """
    trials = results.measured(["started_at"])
    count = Counter(trials["status"])
    document = results.documents[0]
    asked = 1 if is_private_choice(document) else int(document["sampler"]["trials"])
    front = results.objectives.front(average_seeds(trials))
    best = {
        name: (front[name].max() if direction == "max" else front[name].min())
        for name, direction in results.objectives.to_plain().items()
        if len(front)
    }

    return {
        "folder": results.stores[0].path,
        "name": results.documents[0]["name"],
        "trials": len(trials),
        "missing": max(0, asked - len(trials)),
        "ok": count["ok"],
        "pruned": count["pruned"],
        "failed": count["failed"],
        "collapsed": int(trials["collapsed"].fillna(False).astype(bool).sum()),
        "front": len(front),
        "best": best,
        "last_started": None if trials.empty else str(trials["started_at"].max()),
        "driver": Lock(results.stores[0]).holder(),
    }


def to_text(state: dict[str, Any]) -> str:
    """Return a status as lines for a terminal."""
    of = state["trials"] + state["missing"]
    counts = ", ".join(f"{state[k]} {k}" for k in ("ok", "pruned", "failed", "collapsed"))
    best = ", ".join(f"{name} {value:.4g}" for name, value in state["best"].items()) or "none yet"
    return "\n".join(
        [
            f"{state['name']}: {state['trials']} of {counted(of, 'trial')} ({counts})",
            f"  front: {counted(state['front'], 'trial')}; best figures, which may be of different "
            f"trials: {best}",
            f"  last trial started: {state['last_started'] or '-'}",
            f"  {state['driver'] or 'no driver writes to this folder'}",
        ]
    )
