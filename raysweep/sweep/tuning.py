"""What raysweep puts into Ray Tune: who proposes, who prunes, who records, who says stop."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.tune import Callback, Stopper
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from raysweep.config import TrialConfig
from raysweep.provenance import failed_record
from raysweep.record import TrialResult
from raysweep.sweep.proposals import Proposals
from raysweep.sweep.pruning import Standings
from raysweep.sweep.table import Progress

PATIENCE = 60.0  # seconds without a running trial before a word is said


class Asking(Searcher):
    """A Tune searcher without a state of its own: the proposals hold it, and they the records."""

    def __init__(self, proposals: Proposals) -> None:
        super().__init__()
        self._proposals = proposals
        self._ids: dict[str, str] = {}

    def suggest(self, trial_id: str) -> Any:
        """Return the next configuration as a mapping, or Tune's word for "there is none"."""
        proposal = self._proposals.next()
        if proposal is None:
            return Searcher.FINISHED
        self._ids[trial_id] = proposal.trial_id
        config = proposal.config.to_json()
        return {"config": config, "number": proposal.number, "scenario": proposal.scenario}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Forget the proposal; the recorder has told the study of every trial with a record."""
        own = self._ids.pop(trial_id, None)
        if own is not None:
            self._proposals.drop(own)

    def save(self, checkpoint_path: str) -> None:
        """Write nothing of use: a sweep continues from its records."""
        Path(checkpoint_path).write_text("")

    def restore(self, checkpoint_path: str) -> None:
        """Refuse: a sweep continues from its records."""
        raise RuntimeError("a sweep continues by running the same command again")

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Pruner(FIFOScheduler):
    """A Tune scheduler that stops the trials that fall behind at a rung; the anchor never does.

    A worker reports at every rung and waits for the answer. Where it is "stop", Tune ends the
    trial's thread at that report, and the worker is free for the next trial.
    """

    _supports_buffered_results = False

    def __init__(self, standings: Standings) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._standings = standings

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Return whether ``trial`` goes on after what it reports."""
        figures = result.get("rung")
        if figures is None:
            return str(Pruner.CONTINUE)
        goes_on = self._standings.goes_on(figures) or trial.config["number"] == 0
        return str(Pruner.CONTINUE if goes_on else Pruner.STOP)

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Recording(Callback):
    """Hands every finished trial to ``record`` before Tune keeps its result."""

    def __init__(self, record: Callable[[TrialResult], None], progress: Progress) -> None:
        self._record, self._progress = record, progress
        self._idle_since = time.monotonic()

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **_: Any
    ) -> None:
        """Take the rows out of the result, so that Tune neither keeps nor stores them.

        At a rung they are those of a trial that stops here: ``done`` when the pruner said so.
        """
        result.pop("rung", None)
        stopped = result.pop("stopped", None)
        rows = stopped if stopped is not None and result.get("done") else result.pop("result", None)
        if rows is not None:
            attempts = 1 + trial.num_failures
            self._record(rows.numbered(attempts=attempts, **_place(trial)))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        """Record a trial whose worker could not even say why it failed."""
        config = TrialConfig.from_json(trial.config["config"])
        result = TrialResult(trial=failed_record(config, _why(trial)))
        attempts = trial.num_failures
        self._record(result.numbered(attempts=attempts, **_place(trial)))

    def on_step_end(self, iteration: int, trials: list[Trial], **_: Any) -> None:
        """Show where the sweep stands."""
        running = sum(trial.status == Trial.RUNNING for trial in trials)
        waiting = [trial for trial in trials if trial.status == Trial.PENDING]
        now = time.monotonic()
        if running or not waiting:
            self._idle_since = now
        elif now - self._idle_since > PATIENCE:
            self._idle_since = now
            factory = waiting[0].placement_group_factory
            asked = factory.required_resources if factory else "it"
            self._progress.say(f"no trial runs: the cluster has no room for {asked} yet")
        self._progress.update(running)

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Stopping(Stopper):
    """Ends the whole sweep when ``should_stop`` says so."""

    def __init__(self, should_stop: Callable[[], bool]) -> None:
        self._should_stop = should_stop

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return False: a single trial ends by itself."""
        return False

    def stop_all(self) -> bool:
        """Return whether the sweep is to end now."""
        return self._should_stop()

    def __getstate__(self) -> dict[str, Any]:
        return {}


def _place(trial: Trial) -> dict[str, Any]:
    """Return a proposal's number and the scenario that it belongs to."""
    return {"number": trial.config["number"], "scenario": trial.config["scenario"]}


def _why(trial: Trial) -> str:
    """Return the last line of what Ray knows of a trial's end."""
    text = ""
    with contextlib.suppress(OSError, TypeError):
        text = Path(trial.error_file).read_text(encoding="utf-8")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    memory = [line for line in lines if "OutOfMemory" in line or "out of memory" in line]
    died = [line for line in lines if "died" in line or "Died" in line]
    told = (memory or died or lines[-1:] or ["unknown"])[-1 if memory else 0]
    return f"the machine failed it {trial.num_failures} times: {told}"
