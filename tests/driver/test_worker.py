"""GPU memory of a worker, and the driver's message while no trial runs."""

import time

import pytest
import torch
from conftest import SMALL
from ray import tune

from raysweep.driver import tune_hooks, worker
from raysweep.records.columns import TrialResult
from raysweep.records.provenance import failed_record
from raysweep.space.parsing import parse_space


@pytest.mark.parametrize(("share", "capped"), [(0.25, [0.25]), (1.0, []), (0.0, [])])
def test_a_fraction_of_a_gpu_has_that_share_of_its_memory(monkeypatch, share, capped):
    """Without a GPU: torch's functions are replaced."""
    config = parse_space(SMALL, "small.yaml").baseline()
    fractions, reports, devices = [], [], []

    def run_recorded(config, *, device, **_):
        devices.append(device.type)
        return TrialResult(trial=failed_record(config, "not run"))

    monkeypatch.setattr("raysweep.training.devices.default_device", lambda: torch.device("cuda"))
    monkeypatch.setattr("raysweep.trial.run.run_recorded", run_recorded)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", fractions.append)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(tune, "report", reports.append)
    worker.run({"config": config.to_json()}, deals={}, threads=1, gpu=share)
    assert fractions == capped
    assert devices == ["cuda" if share else "cpu"]
    assert reports[0]["result"].trial.trial_id == config.trial_id


def test_a_sweep_that_waits_for_resources_names_them():
    class Progress:
        said, shown = [], []

        def say(self, text):
            self.said.append(text)

        def update(self, running):
            self.shown.append(running)

    class Waiting:
        status = "PENDING"
        placement_group_factory = tune.PlacementGroupFactory([{"CPU": 1, "GPU": 0.25}])

    callback = tune_hooks.RecordCallback(lambda _: None, Progress(), time_limit=None)
    callback.on_step_end(0, [Waiting()])
    assert not Progress.said
    callback._idle_since = callback._last_count = time.monotonic() - tune_hooks.IDLE_LIMIT - 1
    callback.on_step_end(1, [Waiting()])
    (message,) = Progress.said
    assert "no room for" in message
    assert "0.25" in message
    assert Progress.shown == [0, 0]
