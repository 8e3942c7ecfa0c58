"""Models as users write them: each is the smallest of its kind. ``f(shape, n_classes)``."""

import contextlib
import math
import random
import warnings

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


@contextlib.contextmanager
def quiet():
    """Leave out torch's words on what it will remove."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


class Two(nn.Module):
    """Two dense layers; ``hidden`` says what is between them."""

    def __init__(self, shape, n):
        super().__init__()
        self.a, self.b = nn.Linear(math.prod(shape), 16), nn.Linear(16, n)

    def hidden(self, h):
        return h

    def forward(self, x):
        return self.b(self.hidden(torch.tanh(self.a(x.flatten(1)))))


def two(hidden, name="Two"):
    """Return the function of a model with ``hidden(self, h)`` between its layers."""
    return type(name, (Two,), {"hidden": hidden})


def convolution(i, o):
    return nn.Conv2d(i, o, 3, padding=1)


def prelu_cnn(shape, n):
    layers = [convolution(shape[0], 8), nn.PReLU(), nn.MaxPool2d(2), convolution(8, 12), nn.PReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, n))


def paddings(mode):
    def build(shape, n):
        first = nn.Conv2d(shape[0], 6, 3, padding=1, padding_mode=mode)
        second = nn.Conv2d(6, 4, 3, padding="same", stride=1)
        return nn.Sequential(
            first, nn.ReLU(), second, nn.Flatten(), nn.Linear(4 * math.prod(shape[1:]), n)
        )

    return build


def weight_norm_old(shape, n):
    with quiet():
        first = nn.utils.weight_norm(nn.Linear(math.prod(shape), 16))
    return nn.Sequential(nn.Flatten(), first, nn.Tanh(), nn.Linear(16, n))


def weight_norm(shape, n):
    first = nn.utils.parametrizations.weight_norm(nn.Linear(math.prod(shape), 16))
    return nn.Sequential(nn.Flatten(), first, nn.Tanh(), nn.Linear(16, n))


def pruned(shape, n):
    from torch.nn.utils import prune

    first = nn.Linear(math.prod(shape), 16)
    prune.l1_unstructured(first, "weight", 0.3)
    return nn.Sequential(nn.Flatten(), first, nn.Tanh(), nn.Linear(16, n))


class Cosine(Two):
    def forward(self, x):
        h = F.normalize(torch.tanh(self.a(x.flatten(1))), dim=1)
        return 10 * self.b(h) / self.b.weight.norm(dim=1)


class Tied(Two):
    def __init__(self, shape, n):
        super().__init__(shape, n)
        self.c, self.d = nn.Linear(16, 16), nn.Linear(16, 16)
        self.d.weight = self.c.weight

    def hidden(self, h):
        return torch.tanh(self.d(torch.tanh(self.c(h))))


class Functional(Two):
    """Uses a layer's weight by F.linear, never the layer."""

    def hidden(self, h):
        return h + F.linear(h, self.b.weight[:1].T @ self.b.weight[:1])


class FunctionalAlone(Two):
    def forward(self, x):
        h = torch.tanh(F.linear(x.flatten(1), self.a.weight, self.a.bias))
        return self.b(h)


class Embeds(nn.Module):
    """Bins of pixels, of which the first is padding."""

    def __init__(self, shape, n):
        super().__init__()
        self.e, self.f = nn.Embedding(8, 5, padding_idx=0), nn.Linear(5, n)

    def forward(self, x):
        bins = (x.flatten(1) * 7).round().long()
        return self.f(torch.tanh(self.e(bins)).mean(1))


class ViewCnn(nn.Module):
    def __init__(self, shape, n):
        super().__init__()
        self.c, self.f = convolution(shape[0], 4), nn.Linear(4 * math.prod(shape[1:]), n)

    def forward(self, x):
        return self.f(torch.tanh(self.c(x)).view(x.size(0), -1))


class ViewMlp(Two):
    def forward(self, x):
        return self.b(torch.tanh(self.a(x.view(x.size(0), -1))))


class Squeezes(nn.Module):
    def __init__(self, shape, n):
        super().__init__()
        self.c, self.f = nn.Conv2d(shape[0], 6, shape[1:]), nn.Linear(6, n)

    def forward(self, x):
        return self.f(torch.tanh(self.c(x).squeeze(-1).squeeze(-1)))


class Recurrent(nn.Module):
    def __init__(self, shape, n):
        from opacus.layers import DPLSTM

        super().__init__()
        self.l, self.o = DPLSTM(shape[-1], 6, batch_first=True), nn.Linear(6, n)

    def forward(self, x):
        return self.o(self.l(x.squeeze(1))[0][:, -1])


class KeywordCall(Two):
    def forward(self, x):
        return self.b(input=torch.tanh(self.a(x.flatten(1))))


class Unused(Two):
    def __init__(self, shape, n):
        super().__init__(shape, n)
        self.extra = nn.Linear(4, 4)


class StopGradient(Two):
    def __init__(self, shape, n):
        super().__init__(shape, n)
        self.c = nn.Linear(16, 16)

    def hidden(self, h):
        return h + self.c(h).detach()


class NanBuffer(Two):
    def __init__(self, shape, n):
        super().__init__(shape, n)
        self.register_buffer("unused", torch.tensor(float("nan")))


class ClassToken(nn.Module):
    def __init__(self, shape, n):
        super().__init__()
        self.token, self.scale = nn.Parameter(torch.ones(1, 1, 8)), nn.Parameter(torch.ones(8))
        self.i, self.q, self.k = nn.Linear(shape[-1], 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.norm, self.o = nn.LayerNorm(8), nn.Linear(8, n)

    def forward(self, x):
        rows = self.i(x.squeeze(1))
        h = torch.cat([self.token.expand(len(x), -1, -1), rows], dim=1)
        h = h + self.scale * F.scaled_dot_product_attention(self.q(h), self.k(h), h)
        return self.o(self.norm(h)[:, 0])


class FrozenFirst(Two):
    def __init__(self, shape, n):
        super().__init__(shape, n)
        self.a.requires_grad_(False)
        self.b.bias.requires_grad_(False)


class DataDependent(Two):
    """Python asks an example for a number, which vmap cannot answer."""

    def hidden(self, h):
        return torch.stack([row * (2.0 if float(row.detach().sum()) > 0 else 1.0) for row in h])


class HookChangesOutput(Two):
    def __init__(self, shape, n):
        super().__init__(shape, n)
        self.a.register_forward_hook(lambda _m, _i, output: 3 * output)


class Subclassed(nn.Sequential):
    """A sequence that is none."""

    def __init__(self, shape, n):
        super().__init__(nn.Flatten(), nn.Linear(math.prod(shape), 16), nn.Linear(16, n))

    def forward(self, x):
        return self[2](torch.tanh(self[1](self[0](x))) * 2)


class Deep(nn.Module):
    def __init__(self, shape, n):
        super().__init__()
        self.c = nn.Conv1d(shape[1], 4, 3, padding=1)
        self.t = nn.ConvTranspose1d(4, 3, 2, stride=2)
        self.norm, self.f = nn.InstanceNorm1d(3, affine=True), nn.LazyLinear(n)
        self(torch.zeros(2, *shape))

    def forward(self, x):
        return self.f(self.norm(torch.relu(self.t(self.c(x.flatten(1, 2))))).flatten(1))


def scripted(shape, n):
    with quiet():
        return torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), n)))


def reused(shape, n):
    inner = nn.Linear(16, 16)
    layers = [nn.Flatten(), nn.Linear(math.prod(shape), 16), nn.Tanh()]
    return nn.Sequential(*layers, inner, nn.Tanh(), inner, nn.Tanh(), nn.Linear(16, n))


def grouped(shape, n):
    first = nn.Linear(math.prod(shape), 16)
    return nn.Sequential(nn.Flatten(), first, nn.GroupNorm(4, 16), nn.ReLU(), nn.Linear(16, n))


class Residual(nn.Module):
    def __init__(self, shape, n):
        super().__init__()
        self.i, self.c = convolution(shape[0], 8), convolution(8, 8)
        self.n1, self.n2 = nn.GroupNorm(2, 8), nn.GroupNorm(2, 8)
        self.r, self.f = nn.ReLU(inplace=True), nn.Linear(8, n)

    def forward(self, x):
        h = self.r(self.n1(self.i(x)))
        out = self.n2(self.c(h))
        out += h
        return self.f(self.r(out).mean((2, 3)))


RIGHT = {
    "prelu_cnn": prelu_cnn,
    "reflect": paddings("reflect"),
    "circular": paddings("circular"),
    "replicate": paddings("replicate"),
    "weight_norm_old": weight_norm_old,
    "weight_norm": weight_norm,
    "pruned": pruned,
    "reused": reused,
    "grouped": grouped,
    "scripted": scripted,
    **{
        c.__name__: c
        for c in (
            *(Cosine, Tied, Functional, FunctionalAlone, Embeds, ViewCnn, ViewMlp, Squeezes),
            *(Recurrent, KeywordCall, Unused, StopGradient, NanBuffer, ClassToken, FrozenFirst),
            *(DataDependent, HookChangesOutput, Subclassed, Deep, Residual),
        )
    },
}


def drop_path(self, h):
    if not self.training:
        return h
    return h * (torch.rand(len(h), 1) < 0.7) / 0.7


def layer_drop(self, h):
    return h if self.training and random.random() < 0.5 else torch.tanh(h)


STOCHASTIC = {
    "dropout": two(lambda self, h: F.dropout(h, 0.3, training=self.training)),
    "feature dropout": two(
        lambda self, h: F.dropout1d(h[..., None], 0.3, training=self.training)[..., 0]
    ),
    "drop path": two(drop_path),
    "RReLU": two(lambda self, h: F.rrelu(h, training=self.training)),
    "noise": two(lambda self, h: h + 0.1 * torch.randn_like(h) if self.training else h),
    "bernoulli": two(
        lambda self, h: h * h.new_empty(len(h), 1).bernoulli_(0.8) if self.training else h
    ),
    "gumbel": two(lambda self, h: F.gumbel_softmax(h, dim=1) if self.training else h.softmax(1)),
    "layer drop": two(layer_drop),
    "NumPy noise": two(lambda self, h: h * np.random.rand() if self.training else h),
}


def attention(self, h):
    return h + 0.1 * (h @ h.T).softmax(1) @ h


class Statistics(Two):
    """BatchNorm of the user's own, with its statistics in an attribute."""

    mean = 0.0

    def hidden(self, h):
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * h.mean(0).detach()
        return h - self.mean


class Counter(Two):
    def __init__(self, shape, n):
        super().__init__(shape, n)
        self.register_buffer("calls", torch.tensor(0))

    def forward(self, x):
        self.calls += self.training
        return super().forward(x)


class Bank(Two):
    """Keeps the mean of its batches in a frozen parameter that nothing reads."""

    def __init__(self, shape, n):
        super().__init__(shape, n)
        self.bank = nn.Parameter(torch.zeros(16), requires_grad=False)

    def hidden(self, h):
        if self.training:
            self.bank.data = 0.9 * self.bank.data + 0.1 * h.detach().mean(0)
        return h


class Prototype(Bank):
    """The same, in a parameter that is trained and that evaluation reads."""

    def __init__(self, shape, n):
        super().__init__(shape, n)
        self.bank.requires_grad_(True)

    def hidden(self, h):
        return super().hidden(h) if self.training else h - self.bank


class ActNorm(Two):
    """Sets its first values by the first batch that it sees in training."""

    is_set = False

    def __init__(self, shape, n):
        super().__init__(shape, n)
        self.shift = nn.Parameter(torch.zeros(16))

    def hidden(self, h):
        if self.training and not self.is_set:
            self.shift.data, self.is_set = -h.detach().mean(0), True
        return h + self.shift


class MinMax(Two):
    def forward(self, x):
        return super().forward((x - x.min()) / (x.max() - x.min() + 1e-6))


MIXES = {
    "the smallest and largest pixel": MinMax,
    "the largest activation": two(lambda self, h: h / h.abs().max()),
    "the mean": two(lambda self, h: h - h.mean(0)),
    "the norm": two(lambda self, h: h / h.norm()),
    "a softmax over the batch": two(lambda self, h: h.softmax(0)),
    "sorting": two(lambda self, h: h.sort(0).values),
    "a running sum": two(lambda self, h: h.cumsum(0)),
    "attention": two(attention),
    "pairs": two(lambda self, h: h + 0.1 * h.roll(1, 0)),
    "only in training": two(lambda self, h: h - h.mean(0) if self.training else h),
    "only in evaluation": two(lambda self, h: h if self.training else h - h.mean(0)),
    "only in large batches": two(lambda self, h: h - h.mean(0) if len(h) > 100 else h),
    "a permutation": two(lambda self, h: 0.5 * h + 0.5 * h[torch.randperm(len(h))]),
    "very little": two(lambda self, h: h + 1e-5 * h.mean(0)),
    "its gradient": two(lambda self, h: h + h.mean(0) - h.mean(0).detach()),
    "statistics of its own": two(lambda self, h: F.layer_norm(h.T, h.T.shape[1:]).T),
    "the last example": two(lambda self, h: torch.cat([h[:-1], h[:1]])),
    "ranks": two(lambda self, h: h + h.argsort(0).argsort(0) / 16),
}

KEEPS = {
    "statistics in an attribute": Statistics,
    "a counter in a buffer": Counter,
    "a mean in a frozen parameter": Bank,
    "a mean in a trained parameter": Prototype,
    "the first batch in a parameter": ActNorm,
}
