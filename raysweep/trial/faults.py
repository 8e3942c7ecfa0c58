"""Tell the errors of a configuration from those of the machine that it ran on."""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch

from raysweep.config.user_errors import text_of
from raysweep.errors import (
    DataError,
    MachineFailure,
    ModelError,
    OutOfMemory,
    PrivacyError,
    RaysweepError,
    SpaceError,
    TrainingDiverged,
)
from raysweep.training.devices import is_lack_of_memory

OF_THE_CONFIGURATION = (
    SpaceError,
    DataError,
    ModelError,
    PrivacyError,
    TrainingDiverged,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NameError,
    RuntimeError,
    StopIteration,
    TypeError,
    ValueError,
)
"""The errors that a configuration causes wherever it runs. All others are the machine's."""

_MACHINE = re.compile(
    r"CUDA error|CUDA driver|cuDNN error|CUDNN_STATUS|CUBLAS_STATUS|NCCL|can't start new thread"
    r"|shared memory|shared object|No space left|Too many open files|Input/output error"
    r"|Stale file handle|Resource temporarily unavailable|Connection (reset|refused)|Broken pipe",
    re.IGNORECASE,
)
"""What torch and Python write in a ``RuntimeError`` when the machine is at fault."""


_OF_MACHINES: tuple[type[Exception], ...] = (
    OSError,
    getattr(torch, "AcceleratorError", OSError),  # before torch 2.8 it is a RuntimeError
)
"""Errors of the machine, though some of them are ValueErrors as well."""


def machine_failure(error: Exception) -> MachineFailure | None:
    """Return an error of a trial as a failure of its machine; None if the configuration caused it.

    An error is the configuration's only if the errors that it followed from are, too: a module that
    cannot be imported because its file is gone is a mistake in a space and a fault of the machine.
    A configuration that is taken for a machine costs three more attempts, and a machine that is
    taken for a configuration costs a result. So what is not known is the machine's.
    """
    chain = list(_chain(error))
    if any(isinstance(link, MachineFailure) for link in chain):
        return error if isinstance(error, MachineFailure) else MachineFailure(reason(error))
    if any(map(is_lack_of_memory, chain)):
        return OutOfMemory(f"out of memory: {text_of(error)}")
    return None if all(map(_is_of_the_configuration, chain)) else MachineFailure(reason(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, then the errors that it followed from, also hidden ones (``from None``)."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def _is_of_the_configuration(error: BaseException) -> bool:
    if isinstance(error, _OF_MACHINES):
        return False
    is_vague = isinstance(error, RuntimeError)
    return isinstance(error, OF_THE_CONFIGURATION) and not (
        is_vague and _MACHINE.search(text_of(error))
    )


def reason(error: BaseException) -> str:
    """Return an error as one line of text for a record."""
    kind = "" if isinstance(error, RaysweepError) else f"{type(error).__name__}: "
    return f"{kind}{text_of(error)}".strip() or type(error).__name__
