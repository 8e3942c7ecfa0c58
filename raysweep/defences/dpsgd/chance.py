"""Replace chance by a constant, so that two runs of a model can be compared."""

from __future__ import annotations

import contextlib
import functools
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from raysweep.training.devices import seed_generators

DEVIATE = 0.7  # in place of a draw of mean 0 and variance 1, or of mean 1

INTEGERS = 0x7FFF7FFF7FFF7FFF  # in place of 64 random bits; the largest of each 16


@contextlib.contextmanager
def without_chance(device: torch.device) -> Iterator[None]:
    """Let every draw inside the block be a constant, the same for every example.

    Dropout keeps everything, a uniform draw is the middle of its range, and a permutation is the
    reversal. What cannot be replaced draws from generators with a fixed seed. The state of the
    generators of torch, NumPy and Python is restored.
    """
    devices = [device] if device.type == "cuda" else []
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - a user's own draws
    with torch.random.fork_rng(devices=devices), _Constants():  # type: ignore[no-untyped-call]
        restart_chance(device)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


def restart_chance(device: torch.device) -> None:
    """Seed the generators of torch, NumPy and Python, which a user's model may draw from."""
    seed_generators(0, device)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002


class _Constants(TorchDispatchMode):
    """Calls the entry of REPLACEMENTS in place of an operation that draws."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return False: the wrapper that True asks for imports torch's compiler, which is slow."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        replacement = REPLACEMENTS.get(func._schema.name)
        if replacement is not None:
            kwargs.pop("generator", None)
            return replacement(*args, **kwargs)

        position = _dropout_position(func)
        if position is not None:
            args = tuple(0.0 if i == position else value for i, value in enumerate(args))
        return func(*args, **kwargs)


@functools.cache
def _dropout_position(func: Any) -> int | None:
    """Return the position of the dropout probability of an attention, None of other operations."""
    names = [argument.name for argument in func._schema.arguments]
    return names.index("dropout_p") if "dropout_p" in names else None


def _fill(constant: float) -> Callable[..., Tensor]:
    return lambda x, *_, **__: x.fill_(constant)


def _full(constant: float) -> Callable[..., Tensor]:
    return lambda size, *_, **options: torch.full(size, constant, **_creation(options))


def _full_like(constant: float) -> Callable[..., Tensor]:
    return lambda x, *_, **options: torch.full_like(x, constant, **_creation(options))


def _creation(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a function that creates a tensor, with torch's default dtype."""
    kept = {key: value for key, value in options.items() if value is not None}
    return {key: value for key, value in kept.items() if key in ("dtype", "device")}


def _bernoulli(x: Tensor, p: float | None = None, **_: Any) -> Tensor:
    return x.clone() if p is None else torch.full_like(x, p)


def _bernoulli_(x: Tensor, p: Any = 0.5, **_: Any) -> Tensor:
    return x.copy_(p) if isinstance(p, Tensor) else x.fill_(p)


def _uniform_(x: Tensor, low: float = 0.0, high: float = 1.0, **_: Any) -> Tensor:
    return x.fill_((low + high) / 2)


def _normal_(x: Tensor, mean: float = 0.0, std: float = 1.0, **_: Any) -> Tensor:
    return x.fill_(mean + DEVIATE * std)


def _normal(mean: Any, std: Any = 1.0, size: Any = None, **options: Any) -> Tensor:
    if size is not None:
        return torch.full(size, mean + DEVIATE * std, **_creation(options))
    return torch.as_tensor(mean + DEVIATE * std)


def _random_(x: Tensor, low: int | None = None, high: int | None = None, **_: Any) -> Tensor:
    if high is None and low is not None and low >= 0:  # random_(to)
        low, high = 0, low
    if high is None or low is None:
        return x.fill_(INTEGERS) if x.dtype == torch.int64 else x.fill_(1)
    return x.fill_(low + (high - low) // 2)


def _randint(low: int, high: Any, size: Any = None, **options: Any) -> Tensor:
    if size is None:
        low, high, size = 0, low, high
    dtype = options.pop("dtype", None) or torch.int64
    return torch.full(size, low + (high - low) // 2, dtype=dtype, **_creation(options))


def _randint_like(x: Tensor, low: int, high: int | None = None, **_: Any) -> Tensor:
    low, high = (0, low) if high is None else (low, high)
    return torch.full_like(x, low + (high - low) // 2)


def _randperm(n: int, **options: Any) -> Tensor:
    device = options.get("device")
    return torch.arange(n, device=device, dtype=options.get("dtype") or torch.int64).flip(0)


def _dropout(x: Tensor, p: float, train: bool | None = None) -> tuple[Tensor, Tensor]:
    return x.clone(), torch.ones_like(x, dtype=torch.bool)


def _rrelu(
    x: Tensor, noise: Tensor, low: float = 1 / 8, high: float = 1 / 3, *_: Any, **__: Any
) -> Tensor:
    noise.copy_(torch.where(x <= 0, (low + high) / 2, 1.0))
    return x * noise


def _rrelu_(x: Tensor, noise: Tensor, *rest: Any, **options: Any) -> Tensor:
    return x.copy_(_rrelu(x, noise, *rest, **options))


def _multinomial(p: Tensor, k: int, replacement: bool = False, **_: Any) -> Tensor:
    most = p.argsort(dim=-1, descending=True)
    return most[..., :1].expand(*p.shape[:-1], k).clone() if replacement else most[..., :k]


REPLACEMENTS: dict[str, Callable[..., Any]] = {
    "aten::native_dropout": _dropout,
    "aten::bernoulli": _bernoulli,
    "aten::bernoulli_": _bernoulli_,
    "aten::uniform_": _uniform_,
    "aten::rand": _full(0.5),
    "aten::rand_like": _full_like(0.5),
    "aten::normal_": _normal_,
    "aten::normal": _normal,
    "aten::randn": _full(DEVIATE),
    "aten::randn_like": _full_like(DEVIATE),
    "aten::random_": _random_,
    "aten::randint": _randint,
    "aten::randint_like": _randint_like,
    "aten::randperm": _randperm,
    "aten::multinomial": _multinomial,
    "aten::poisson": lambda rates, *_, **__: rates.clone(),
    "aten::exponential_": _fill(DEVIATE),
    "aten::log_normal_": _fill(DEVIATE),
    "aten::cauchy_": _fill(DEVIATE),
    "aten::geometric_": _fill(1.0),
    "aten::rrelu_with_noise": _rrelu,
    "aten::rrelu_with_noise_": _rrelu_,
}
