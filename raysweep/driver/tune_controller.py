"""Tune's loop, but a worker that starts up keeps the trial that it starts up for.

With ``reuse_actors``, whenever a worker has finished a trial Tune gives it the next one that waits,
even where a second worker is starting up for that one. It is stopped, its place is given back, and
the new one is again the one to be stopped. Where trials are shorter than the start of a process,
neither the second core of a laptop nor a node that came back ever ran a trial.

Trials that are over are forgotten, so that a driver's memory does not grow with them; and what they
all run is looked up once a sweep, where Tune asks the head of the cluster four times a trial.

    the trial that waits has      Tune                         here
    no place yet                  gives the place back         keeps it for the trial asked for next
    a worker that starts up       stops that worker            leaves both alone, asks for another
"""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from collections.abc import Iterator
from typing import Any

import ray.tune.experiment.trial
import ray.tune.tune
from ray.air.execution._internal import RayActorManager
from ray.air.execution._internal.tracked_actor_task import TrackedActorTask
from ray.air.execution.resources import PlacementGroupResourceManager, ResourceRequest
from ray.exceptions import RayActorError, RayTaskError
from ray.tune import Callback, registry
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.progress_reporter import TrialProgressCallback


class Places(PlacementGroupResourceManager):
    """Places on nodes that were asked for; one that is given back waits for the next who asks."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._spare: Counter[ResourceRequest] = Counter()

    def request_resources(self, resource_request: ResourceRequest) -> None:
        """Ask for a place, or take over one that was given back."""
        if self._spare[resource_request]:
            self._spare[resource_request] -= 1
        else:
            super().request_resources(resource_request)

    def cancel_resource_request(self, resource_request: ResourceRequest) -> None:
        """Give a place back."""
        self._spare[resource_request] += 1

    def release(self) -> None:
        """Let go of what nobody has taken over."""
        for request in self._spare.elements():
            super().cancel_resource_request(request)
        self._spare.clear()


class Workers(RayActorManager):
    """Takes whatever ends a worker as its death; a kill for want of memory would end the sweep."""

    def _actor_task_failed(
        self, tracked_actor_task: TrackedActorTask, exception: Exception
    ) -> None:
        if not isinstance(exception, RayActorError | RayTaskError):
            exception = RayActorError(error_msg=f"{type(exception).__name__}: {exception}")
        super()._actor_task_failed(tracked_actor_task, exception)


class Controller(TuneController):
    """Hands finished workers to trials that have none, and asks for trials before it lets go."""

    def __init__(self, *, callbacks: list[Callback], **options: Any) -> None:
        # Tune's own progress, which raysweep does not show, remembers every trial.
        own = [c for c in callbacks if not isinstance(c, TrialProgressCallback)]
        super().__init__(callbacks=own, **options)
        self._places = Places()
        self._actor_manager = Workers(self._places)

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()  # type: ignore[no-untyped-call]
        del state["_places"]
        return state

    def _has_worker(self, trial: Trial) -> bool:
        """Return whether a process is there, or starts up, for a trial that waits."""
        actor = self._trial_to_actor.get(trial)
        return actor is not None and self._actor_manager.is_actor_started(actor)

    def _maybe_reuse_cached_actor(self, trial: Trial) -> bool:
        """Give a finished worker to ``trial``, unless another starts up for it."""
        if self._has_worker(trial):
            return trial in self._resetting_trials
        return bool(super()._maybe_reuse_cached_actor(trial))

    def _maybe_update_trial_queue(self) -> None:
        """Hand finished workers over, then ask for as many trials as may wait for a place."""
        for trial in self._trials:  # in the order in which they were proposed; few, see on_step_end
            if not self._actor_cache.num_cached_objects:
                break
            if trial in self._pending_trials and trial in self._staged_trials:
                self._maybe_reuse_cached_actor(trial)
        waiting = self._max_pending_trials
        self._max_pending_trials += sum(map(self._has_worker, self._pending_trials))
        super()._maybe_update_trial_queue()  # type: ignore[no-untyped-call]
        self._max_pending_trials = waiting

    def _maybe_add_actors(self) -> None:
        """Ask for places for the trials that wait, and let go of those that none of them took."""
        super()._maybe_add_actors()
        self._places.release()

    def on_step_end(self) -> None:
        """Forget the trials that are over: Tune keeps them all, and walks over them again."""
        super().on_step_end()  # type: ignore[no-untyped-call]
        for over in (self._stopped_trials, self._failed_trials):
            for trial in [*over]:
                if trial not in self._trial_to_actor:
                    over.remove(trial)
                    self._trials.remove(trial)
                    self._live_trials.discard(trial)
                    self._trials_to_cache.discard(trial)
                    self._trial_metadata.pop(trial.trial_id, None)

    def _trial_task_failure(self, trial: Trial, exception: Exception) -> None:
        """Try a trial again also when its worker dies while it is being handed over to it.

        Tune tries again only what runs, and may hear of one death twice: of the worker, and of
        what it was asked to do.
        """
        if trial.status == Trial.PENDING:
            if trial not in self._resetting_trials:  # it waits again already
                return
            self._set_trial_status(trial, Trial.RUNNING)
            self._unstage_trial_with_resources(trial)
        super()._trial_task_failure(trial, exception)

    def _requeue_trial(self, trial: Trial) -> None:
        """Let a trial wait again, also one whose worker died while it was being handed over."""
        self._resetting_trials.discard(trial)
        super()._requeue_trial(trial)  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def installed() -> Iterator[None]:
    """Let Tune run by :class:`Controller`; it has no option for that."""
    loop: Any = ray.tune.tune
    trial: Any = ray.tune.experiment.trial
    find, check = registry.get_trainable_cls, registry.validate_trainable
    loop.TuneController = Controller
    trial.get_trainable_cls, trial.validate_trainable = (
        functools.cache(find),
        functools.cache(check),
    )
    try:
        yield
    finally:
        loop.TuneController = TuneController
        trial.get_trainable_cls, trial.validate_trainable = find, check
