"""A TuneController that does not stop workers while they start, and forgets finished trials.

With ``reuse_actors`` Tune gives each worker that has finished a trial the next trial that waits,
even when a second worker is starting for that one. It stops the second worker and gives its place
back, and the next new worker is again the one to be stopped. Where a trial is shorter than the
start of a process, the second core of a laptop or a node that came back would never run a trial.

    the trial that waits has      Tune                         here
    no place yet                  gives the place back         keeps it for the next trial
    a worker that starts          stops that worker            lets it start, asks for another

Tune also keeps all finished trials and walks over them, and fetches the function to run from the
head of the cluster four times a trial. This controller forgets finished trials, and fetches the
function once.
"""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from collections.abc import Iterator
from typing import Any

import ray
import ray.tune.experiment.trial
import ray.tune.tune
from ray.air.execution._internal import RayActorManager
from ray.air.execution._internal.tracked_actor_task import TrackedActorTask
from ray.air.execution.resources import PlacementGroupResourceManager, ResourceRequest
from ray.exceptions import RayActorError, RayTaskError
from ray.tune import Callback, registry
from ray.tune.execution.class_cache import _ActorClassCache
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.progress_reporter import TrialProgressCallback


class Places(PlacementGroupResourceManager):
    """Requests places on nodes, and keeps a place that is given back for the next request."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._spare: Counter[ResourceRequest] = Counter()

    def request_resources(self, resource_request: ResourceRequest) -> None:
        """Request a place, or take one that was given back."""
        if self._spare[resource_request]:
            self._spare[resource_request] -= 1
        else:
            super().request_resources(resource_request)

    def cancel_resource_request(self, resource_request: ResourceRequest) -> None:
        """Keep a place that is given back as a spare one, until :meth:`release`."""
        self._spare[resource_request] += 1

    def release(self) -> None:
        """Cancel the spare places that no request has taken."""
        for request in self._spare.elements():
            super().cancel_resource_request(request)
        self._spare.clear()


class Workers(RayActorManager):
    """Treats every failure of a worker as its death.

    Tune would end the sweep when Ray kills a worker because memory runs out.
    """

    def _actor_task_failed(
        self, tracked_actor_task: TrackedActorTask, exception: Exception
    ) -> None:
        if not isinstance(exception, RayActorError | RayTaskError):
            exception = RayActorError(error_msg=f"{type(exception).__name__}: {exception}")
        super()._actor_task_failed(tracked_actor_task, exception)


class PlainActors(_ActorClassCache):
    """Asks for workers with the variables of Ray's own environment.

    Tune gives its workers some variables of the driver once more. Workers of a Ray that the driver
    has started have them already, and only for workers without variables of their own can those
    that wait be taken.
    """

    def get(self, trainable_cls: type) -> Any:
        """Return the class of the workers that run ``trainable_cls``."""
        if trainable_cls not in self._cache:
            self._cache[trainable_cls] = ray.remote(trainable_cls)
        return self._cache[trainable_cls]


class Controller(TuneController):
    """Gives free workers to trials without one, and requests trials before it stops a worker."""

    is_ray_ours = False

    def __init__(self, *, callbacks: list[Callback], **options: Any) -> None:
        # Tune's own progress report is not shown, and it would keep every trial in memory.
        callbacks = [c for c in callbacks if not isinstance(c, TrialProgressCallback)]
        super().__init__(callbacks=callbacks, **options)
        self._places = Places()
        self._actor_manager = Workers(self._places)
        if self.is_ray_ours:
            self._class_cache = PlainActors()  # type: ignore[no-untyped-call]

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()  # type: ignore[no-untyped-call]
        del state["_places"]
        return state

    def _has_worker(self, trial: Trial) -> bool:
        """Return whether a worker runs, or starts, for a trial that waits."""
        actor = self._trial_to_actor.get(trial)
        return actor is not None and self._actor_manager.is_actor_started(actor)

    def _maybe_reuse_cached_actor(self, trial: Trial) -> bool:
        """Give a free worker to ``trial``, unless another starts for it."""
        if self._has_worker(trial):
            return trial in self._resetting_trials
        return bool(super()._maybe_reuse_cached_actor(trial))

    def _maybe_update_trial_queue(self) -> None:
        """Give free workers to trials, then request as many trials as may wait for a place."""
        # In the order of the proposals. They are few, since on_step_end removes finished ones.
        for trial in self._trials:
            if not self._actor_cache.num_cached_objects:
                break
            if trial in self._pending_trials and trial in self._staged_trials:
                self._maybe_reuse_cached_actor(trial)

        # Trials whose worker starts do not count as waiting.
        max_pending = self._max_pending_trials
        self._max_pending_trials += sum(map(self._has_worker, self._pending_trials))
        super()._maybe_update_trial_queue()  # type: ignore[no-untyped-call]
        self._max_pending_trials = max_pending

    def _maybe_add_actors(self) -> None:
        """Request places for the trials that wait, then cancel those that none of them took."""
        super()._maybe_add_actors()
        self._places.release()

    def on_step_end(self) -> None:
        """Forget the trials that are finished."""
        super().on_step_end()  # type: ignore[no-untyped-call]
        for finished in (self._stopped_trials, self._failed_trials):
            for trial in [*finished]:
                if trial not in self._trial_to_actor:
                    finished.remove(trial)
                    self._trials.remove(trial)
                    self._live_trials.discard(trial)
                    self._trials_to_cache.discard(trial)
                    self._trial_metadata.pop(trial.trial_id, None)

    def _trial_task_failure(self, trial: Trial, exception: Exception) -> None:
        """Try a trial again when its worker dies, even if the worker has not begun it yet.

        Tune itself tries only running trials again. It may report one failure twice: for the worker
        and for the task of the worker.
        """
        if trial.status == Trial.PENDING:
            if trial not in self._resetting_trials:  # the first report has queued it already
                return
            self._set_trial_status(trial, Trial.RUNNING)
            self._unstage_trial_with_resources(trial)
        super()._trial_task_failure(trial, exception)

    def _requeue_trial(self, trial: Trial) -> None:
        """Queue a trial again, even if its worker died before it began the trial."""
        self._resetting_trials.discard(trial)
        super()._requeue_trial(trial)  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def install(is_ray_ours: bool) -> Iterator[None]:
    """Patch Tune, which has no option for it, to use :class:`Controller`.

    With ``is_ray_ours``, Ray was started by this process and has its variables.
    """
    loop: Any = ray.tune.tune
    trial: Any = ray.tune.experiment.trial
    find, check = registry.get_trainable_cls, registry.validate_trainable

    loop.TuneController = type("Controller", (Controller,), {"is_ray_ours": is_ray_ours})
    trial.get_trainable_cls = functools.cache(find)
    trial.validate_trainable = functools.cache(check)
    try:
        yield
    finally:
        loop.TuneController = TuneController
        trial.get_trainable_cls = find
        trial.validate_trainable = check
