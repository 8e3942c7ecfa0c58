"""What raysweep puts into Ray Tune: who proposes, who prunes, who records, who says stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.tune import Callback, Stopper
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from raysweep.driver.attempts import Attempts, lacks_memory
from raysweep.driver.progress import QUIET, Progress
from raysweep.driver.proposals import Proposals
from raysweep.driver.standings import Standings
from raysweep.driver.worker import MEMORY_PARTS, RECORDED
from raysweep.records.columns import BASELINE
from raysweep.records.provenance import failed_record
from raysweep.records.tables import Packed
from raysweep.records.trial_config import TrialConfig

PATIENCE = 60.0  # seconds without a running trial before a word is said

LOOK = 0.5  # seconds between looks at all trials

FEWER = 4  # how many times smaller a physical batch is after a lack of memory


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
        goes_on = self._standings.goes_on(figures) or trial.config["number"] == BASELINE
        return str(Pruner.CONTINUE if goes_on else Pruner.STOP)

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Recording(Callback):
    """Hands every finished trial to ``record`` before Tune keeps its result."""

    def __init__(
        self,
        record: Callable[[Packed], None],
        progress: Progress,
        *,
        time_limit: float | None,
    ) -> None:
        self._record, self._progress = record, progress
        self._attempts = Attempts(time_limit)
        self._idle_since = time.monotonic()
        self._looked = 0.0
        self._told = -QUIET

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        """Note when an attempt begins."""
        self._attempts.begin(trial)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **_: Any
    ) -> None:
        """Take the rows out of the result, so that Tune neither keeps nor stores them.

        At a rung they are those of a trial that stops here: ``done`` when the pruner said so.
        """
        result.pop("rung", None)
        stopped = result.pop("stopped", None)
        rows = stopped if stopped is not None and result.get("done") else result.pop("result", None)
        if rows is not None and not trial.config.get(RECORDED):
            self._keep(trial, rows, self._attempts.end(trial))

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        """Note why an attempt failed; a second lack of memory is the last."""
        failures = self._attempts.failed(trial)
        now = time.monotonic()
        if now - self._told > QUIET:
            self._told = now
            self._progress.say(f"a trial is tried again: {failures[-1]}")
        lacks = sum(lacks_memory(failure) for failure in failures)
        trial.config[MEMORY_PARTS] = FEWER if lacks else 1
        if lacks > 1 and not trial.config.get(RECORDED):
            self._give_up(trial)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        """Record a trial whose worker could not even say why it failed."""
        self._attempts.failed(trial)
        if not trial.config.get(RECORDED):
            self._give_up(trial)

    def _give_up(self, trial: Trial) -> None:
        *retries, last = self._attempts.end(trial)
        told = f"the machine failed it {1 + len(retries)} times: {last}"
        record = failed_record(TrialConfig.from_json(trial.config["config"]), told)
        self._keep(trial, Packed(trial=record), retries)

    def _keep(self, trial: Trial, rows: Packed, retries: list[str]) -> None:
        trial.config[RECORDED] = True  # should its worker die now, the next one has nothing to do
        self._record(rows.numbered(retries=retries, **_place(trial)))

    def on_step_end(self, iteration: int, trials: list[Trial], **_: Any) -> None:
        """Show where the sweep stands."""
        now = time.monotonic()
        if now - self._looked < LOOK:  # `trials` are all that ever were
            return
        self._looked = now
        running = sum(trial.status == Trial.RUNNING for trial in trials)
        waiting = [trial for trial in trials if trial.status == Trial.PENDING]
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
