"""A fault of the machine is never recorded as the configuration's; a configuration's own is."""

import errno
import os
import pickle
import shutil
import sys
import zipfile

import pytest
import ray
import torch
from conftest import SMALL

from raysweep.driver import worker
from raysweep.errors import DataError, MachineFailure, ModelError, OutOfMemory, SpaceError
from raysweep.space.parsing import parse_space
from raysweep.trial.faults import machine_failure, reason
from raysweep.trial.run import run_recorded

MODEL = """
from torch import nn

def model(shape, n_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, n_classes))
"""


def hidden(outer, inner):
    """Return ``outer`` as it is when raised ``from None`` while ``inner`` is handled."""
    try:
        try:
            raise inner
        except type(inner):
            raise outer from None
    except type(outer) as error:
        return error


OF_MACHINES = [
    *(OSError(number, os.strerror(number)) for number in (errno.ENOSPC, errno.EMFILE, errno.EIO)),
    OSError(errno.ESTALE, "Stale file handle"),
    FileNotFoundError(2, "No such file or directory"),
    ConnectionResetError("Connection reset by peer"),
    EOFError("Ran out of input"),
    ImportError("libcudart.so.12: cannot open shared object file"),
    TimeoutError(),
    zipfile.BadZipFile("File is not a zip file"),
    RuntimeError("can't start new thread"),
    RuntimeError(
        "unable to open shared memory object </torch_1> in read-write mode: No space left"
    ),
    RuntimeError("CUDA error: an illegal memory access was encountered"),
    RuntimeError("CUDNN_STATUS_EXECUTION_FAILED"),
    getattr(torch, "AcceleratorError", RuntimeError)("CUDA error: an ECC error"),
    ray.exceptions.ObjectLostError("ff", None, ""),
    ray.exceptions.OwnerDiedError("ff", None, ""),
    ray.exceptions.RayActorError(),
    ray.exceptions.GetTimeoutError("too late"),
    ray.exceptions.ObjectFetchTimedOutError("ff", None, ""),
    ray.exceptions.RaySystemError("raylet is gone"),
    ray.exceptions.OutOfDiskError("full"),
    hidden(SpaceError("no module named 'mine'"), ModuleNotFoundError("mine")),
    hidden(DataError("there is no file x.npz"), FileNotFoundError(2, "x.npz")),
]

OF_CONFIGURATIONS = [
    SpaceError("a rule"),
    ModelError("a rule"),
    ValueError("a value"),
    IndexError("list index out of range"),
    ZeroDivisionError(),
    RuntimeError("mat1 and mat2 shapes cannot be multiplied (16x64 and 65x10)"),
    NotImplementedError("no backward pass"),
    RecursionError("maximum recursion depth exceeded"),
    hidden(ModelError("a rule"), ValueError("a value")),
]


@pytest.mark.parametrize("error", OF_MACHINES, ids=repr)
def test_a_fault_of_a_machine_is_one_and_says_why(error):
    failure = machine_failure(error)
    assert isinstance(failure, MachineFailure)
    assert reason(error) in str(failure)


@pytest.mark.parametrize("error", OF_CONFIGURATIONS, ids=repr)
def test_a_fault_of_a_configuration_is_not_the_machines(error):
    assert machine_failure(error) is None


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"),
        hidden(ModelError("the model cannot be built"), MemoryError()),
    ],
    ids=repr,
)
def test_want_of_memory_is_told_from_other_faults(error):
    assert isinstance(machine_failure(error), OutOfMemory)


class Undescribed(Exception):
    """An error of a user's own that has no text, and that cannot be sent to another process."""

    def __init__(self, first, second):
        super().__init__(first)
        self.second = second

    def __str__(self):
        raise ValueError


def test_an_error_without_a_text_is_told_by_its_class_and_arguments():
    assert reason(Undescribed("why", 2)) == "Undescribed: why"
    assert str(machine_failure(Undescribed("why", 2))) == "Undescribed: why"


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A configuration with a model of the user's, in a working folder of its own."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "model_in_a_lost_folder.py").write_text(MODEL)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "model_in_a_lost_folder", raising=False)
    text = SMALL.replace("{name: mlp, hidden: [32], activation: tanh}", "{name: 'm:model'}")
    text = text.replace("'m:model'", "'model_in_a_lost_folder:model'").replace(
        "epochs: 4", "epochs: 1"
    )
    text = text.replace("  dropout: {low: 0.0, high: 0.5}\n", "")
    return parse_space(text.replace("  inversion:", "  # inversion:"), "own.yaml").config()


@pytest.fixture
def lose_folder(monkeypatch):
    """A function that removes the working folder; ``again`` makes it anew, as a joining node does."""

    def lose(*, again):
        folder = os.getcwd()
        shutil.copytree(folder, f"{folder}-copy")
        shutil.rmtree(folder)
        if again:
            os.rename(f"{folder}-copy", folder)
        return folder

    return lose


def test_a_trial_outlives_a_working_folder_that_is_made_anew_under_it(config, lose_folder):
    assert run_recorded(config).trial.status == "ok"
    folder = lose_folder(again=True)
    assert run_recorded(config).trial.status == "ok"
    worker._return_to_working_folder()
    assert os.getcwd() == folder


def test_a_module_that_is_gone_with_its_folder_is_a_fault_of_the_machine(config, lose_folder):
    lose_folder(again=False)
    worker._return_to_working_folder()
    with pytest.raises(MachineFailure, match="no module named 'model_in_a_lost_folder'"):
        run_recorded(config)


def test_a_module_that_reads_options_when_imported_is_a_mistake_with_a_remedy(config):
    with open("model_in_a_lost_folder.py", "a") as file:
        file.write("import argparse\nargparse.ArgumentParser().parse_args(['--lr'])\n")
    with pytest.raises(SpaceError, match="raised SystemExit.*__main__"):
        _ = config.model.model.build((1, 8, 8), 10)


def test_an_error_that_cannot_be_sent_is_told_all_the_same(config):
    def load(dataset, *, seed):
        raise Undescribed("why", 2)

    with pytest.raises(MachineFailure, match="Undescribed: why") as raised:
        run_recorded(config, load=load)
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None
    assert str(pickle.loads(pickle.dumps(raised.value))) == "Undescribed: why"
