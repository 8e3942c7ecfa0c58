"""Ray Tune's extension points: the searcher, the scheduler, the callback and the stopper."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.tune import Callback, Stopper
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from raysweep.config.plain_text import counted
from raysweep.driver.attempts import Attempts, lacks_memory
from raysweep.driver.progress import LINE_INTERVAL, Progress
from raysweep.driver.proposals import Proposals
from raysweep.driver.standings import Standings
from raysweep.driver.worker import MEMORY_PARTS, RECORDED
from raysweep.records.columns import BASELINE
from raysweep.records.provenance import failed_record
from raysweep.records.tables import Packed
from raysweep.records.trial_config import TrialConfig

IDLE_LIMIT = 60.0  # seconds without a running trial before a message

COUNT_INTERVAL = 0.5  # seconds between counts of the running trials

SMALLER = 4  # memory_parts of an attempt after one that ran out of memory


class ProposalSearcher(Searcher):
    """A Tune searcher that hands out the proposals and has no state to save."""

    def __init__(self, proposals: Proposals) -> None:
        super().__init__()
        self._proposals = proposals
        self._trial_ids: dict[str, str] = {}  # of Tune -> of the configuration

    def suggest(self, trial_id: str) -> Any:
        """Return the next proposal as a mapping, or Searcher.FINISHED when there is none."""
        proposal = self._proposals.next()
        if proposal is None:
            return Searcher.FINISHED

        self._trial_ids[trial_id] = proposal.config.trial_id
        return {
            "config": proposal.config.to_json(),
            "number": proposal.number,
            "scenario": proposal.scenario,
        }

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Drop a proposal without a record; the sampler has learnt from every record."""
        configuration = self._trial_ids.pop(trial_id, None)
        if configuration is not None:
            self._proposals.drop(configuration)

    def save(self, checkpoint_path: str) -> None:
        """Write an empty file: a sweep continues from its records."""
        Path(checkpoint_path).write_text("")

    def restore(self, checkpoint_path: str) -> None:
        """Refuse: a sweep continues from its records."""
        raise RuntimeError("a sweep continues by running the same command again")

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Pruner(FIFOScheduler):
    """A Tune scheduler that stops trials which fall behind at a rung, but never the baseline.

    A worker reports at every rung and waits for the decision. To stop a trial, Tune ends its
    thread inside that report, and the worker is free for the next trial.
    """

    _supports_buffered_results = False

    def __init__(self, standings: Standings) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._standings = standings

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Return CONTINUE or STOP for a trial that reports ``result``."""
        figures = result.get("rung")
        if figures is None:
            return str(Pruner.CONTINUE)

        goes_on = self._standings.goes_on(figures) or trial.config["number"] == BASELINE
        return str(Pruner.CONTINUE if goes_on else Pruner.STOP)

    def __getstate__(self) -> dict[str, Any]:
        return {}


class RecordCallback(Callback):
    """A Tune callback that passes each finished trial to ``record`` and updates the progress."""

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
        self._last_count = 0.0
        self._last_message = -LINE_INTERVAL

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        """Note when an attempt begins."""
        self._attempts.begin(trial)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **_: Any
    ) -> None:
        """Record the rows in a result, and take them out so that Tune does not keep them.

        A result at a rung holds the rows of a trial that stops there. They count when the pruner
        has stopped it, which sets ``done``.
        """
        result.pop("rung", None)
        stopped = result.pop("stopped", None)
        is_stopped = stopped is not None and result.get("done")
        rows = stopped if is_stopped else result.pop("result", None)
        if rows is not None and not trial.config.get(RECORDED):
            self._record_once(trial, rows, self._attempts.end(trial))

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        """Note why an attempt failed, and give up when memory ran out a second time."""
        failures = self._attempts.fail(trial)
        now = time.monotonic()
        if now - self._last_message > LINE_INTERVAL:
            self._last_message = now
            self._progress.say(f"a trial is tried again: {failures[-1]}")

        n_out_of_memory = sum(lacks_memory(failure) for failure in failures)
        trial.config[MEMORY_PARTS] = SMALLER if n_out_of_memory else 1
        if n_out_of_memory > 1 and not trial.config.get(RECORDED):
            self._give_up(trial)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        """Record a trial whose last attempt ended without a result."""
        self._attempts.fail(trial)
        if not trial.config.get(RECORDED):
            self._give_up(trial)

    def _give_up(self, trial: Trial) -> None:
        """Record a trial as failed because of its machine."""
        *retries, last = self._attempts.end(trial)
        error = f"its machine failed {counted(1 + len(retries), 'time')}: {last}"
        record = failed_record(TrialConfig.from_json(trial.config["config"]), error)
        self._record_once(trial, Packed(trial=record), retries)

    def _record_once(self, trial: Trial, rows: Packed, retries: list[str]) -> None:
        """Record a trial under its number and scenario."""
        # Where Tune starts a trial again that was given up, nothing is left to do.
        trial.config[RECORDED] = True
        number, scenario = trial.config["number"], trial.config["scenario"]
        self._record(rows.with_number(number=number, scenario=scenario, retries=retries))

    def on_step_end(self, iteration: int, trials: list[Trial], **_: Any) -> None:
        """Update the progress, and print a message when no trial has run for a while."""
        now = time.monotonic()
        if now - self._last_count < COUNT_INTERVAL:
            return
        self._last_count = now

        running = sum(trial.status == Trial.RUNNING for trial in trials)
        waiting = [trial for trial in trials if trial.status == Trial.PENDING]
        if running or not waiting:
            self._idle_since = now
        elif now - self._idle_since > IDLE_LIMIT:
            self._idle_since = now
            factory = waiting[0].placement_group_factory
            asked = factory.required_resources if factory else "it"
            self._progress.say(f"no trial runs: the cluster has no room for {asked} yet")
        self._progress.update(running)

    def __getstate__(self) -> dict[str, Any]:
        return {}


class SweepStopper(Stopper):
    """A Tune stopper that ends the whole sweep as soon as ``should_stop`` returns True."""

    def __init__(self, should_stop: Callable[[], bool]) -> None:
        self._should_stop = should_stop

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return False: no single trial is stopped."""
        return False

    def stop_all(self) -> bool:
        """Return whether the sweep is to end now."""
        return self._should_stop()

    def __getstate__(self) -> dict[str, Any]:
        return {}
