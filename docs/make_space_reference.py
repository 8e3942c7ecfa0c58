"""Write docs/space.md, the reference of every key of a search space, from the code.

Run ``make docs`` after a change of a key, its default or its description.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pydantic

from raysweep import defences
from raysweep.attacks import INVERSION, MEMBERSHIP
from raysweep.config import Canaries, Measure, PrivateTraining, Training
from raysweep.config.training import PRIVATE_DEFAULTS
from raysweep.data.deal import PublishedSizes, Sizes
from raysweep.data.sources import SOURCES
from raysweep.models import MODELS
from raysweep.space.axes import Axis
from raysweep.space.schema import DEAL_SEED, schema
from raysweep.space.settings import SAMPLERS, Pruning, Resources, Sampler

PAGE = Path(__file__).with_name("space.md")

OPENING = """\
# Every key of a search space

<!-- Written by docs/make_space_reference.py; change the descriptions in the code, not here. -->

A search space is one YAML file with the blocks below. `raysweep validate SPACE.yaml` checks it,
`raysweep schema` prints the same keys as a JSON Schema for editors, and `--set key=value`
replaces a key on the command line. An unknown key is an error that names the file and the line.
YAML tags and aliases are refused, and `1e-3` and `.inf` are read as numbers. [The
guide](guide.md) shows spaces at work.
"""

SPLIT_TEXT = """\
`split: dealt`, the default, pools all examples and deals them by `seed` into disjoint splits.
Each class has nearly the same share in every split, and groups (one person's images) never
straddle two splits; epsilon stays that of one example, and the column `epsilon_per_group` is that
of all examples of a person, of which `records_per_group` keeps only so many. A size is a whole
number of examples, or a share of the data set below 1.
A size that is stated is kept, and the others follow: nonmembers, validation and test get a tenth
of the data set each and the pool four tenths, or less, in the same proportion, where the stated
sizes leave less. Members without a size get all that is left. A pool without a size holds at
least members + nonmembers, as `shadow` and `rmia` need: it takes what it lacks from a test split
without a size, then from members without one. Of 600 rows, members get 180, nonmembers 60, the
pool 240, validation 60 and test 60 if no size is stated, and 210, 60, 270, 60 and 0 with `test: 0`.

`deal_seed` states the seed of the deal. Sweeps with other seeds then share their splits, as do the
trials of an axis `seed`.
"""

PUBLISHED_TEXT = """\
`split: published` keeps the published training and test set apart. It is possible for `mnist`,
`fashion_mnist`, `cifar10` and `cifar100`. A share is then a share of its own set.
"""

_DEFAULTS = {k: v for k, v in dataclasses.asdict(PRIVATE_DEFAULTS).items() if v is not None}

PRIVATE_TEXT = f"""\
The keys of `training.private` replace those of `training` in trials with DP-SGD, which does best
with large batches and large steps. A key that is left out stays as it is in `training`.

If a space leaves the whole block out, DP-SGD trains with
`{", ".join(f"{key}: {value}" for key, value in _DEFAULTS.items())}`,
which [learns](benchmarks.md#what-dp-sgd-trains-with-by-default) on images and on a table. It does
not do so where `search` or `scenarios` vary one of these keys. `raysweep validate` prints the
settings, and `space.yaml` in the results folder states them. With `private: {{}}` DP-SGD trains
with the settings of `training`.
"""

DEFENCE_TEXT = """\
A key in `defences` has one value for all trials but the undefended baseline, which has every
defence off. The same keys can vary in `search` and in `scenarios`. Distillation and adversarial
regularisation train something on the members without noise, so they are refused beside DP-SGD.

`package.module:Class` is the first parameter of a defence of your own, and
`package.module:Class.parameter` is another one. It is applied after those below and before DP-SGD,
several in the order of their names.
"""

SEARCH_TEXT = """\
Each key of `search` is an axis: a key of a defence, `seed`, or a dotted key below `dataset`,
`model`, `training` or `attacks`, such as `training.epochs`. An axis has `low` and `high`, or
`values`. A range between two whole numbers gives whole numbers where the key counts something.
"""

SCENARIO_TEXT = """\
A scenario has a name and a mapping of axes to a value or to a list of values, which are tried one
by one. Defences that it does not name are as in `defences`; `{}` is a baseline under that name.
Scenarios run before the sampler's own proposals, and the column `scenario` holds their names.
With the sampler `grid` each scenario is repeated for every value of the axes that are not
defences.
"""

ATTACK_TEXT = """\
A list of names takes every parameter at its default; a mapping of names to parameters sets them.
Without this block the attacks are `max_posterior`, `loss`, `entropy`, `shadow`, `rmia` and
`activation_decoder` on the layer `output`, and with `measure` also `lira`. A black-box attack
sees predictions only. A white-box one also uses the weights, and counts in `attack_auc` only when
the space names it there.
`package.module:Class` in place of a name is an attack of your own.
"""

MEASURE_TEXT = """\
With `measure: {models: 16}` every configuration trains 16 models by its whole recipe, and
`accuracy`, `attack_auc` and their intervals are those of [the recipe](figures.md#the-recipe). The
population is the members and as many outsiders, taken from the nonmembers first and then from the
pool. Models come in pairs: one is trained on half of the population, and the other one on the rest.
The first model is that of the trial, and the other halves are random. Without this block a trial
measures its own model alone.

The attacks of the recipe are those of `max_posterior`, `loss`, `entropy`, `rmia` and `lira` that
the space names. The block is part of the configuration, and no axis: trials are compared that were
measured alike. `accuracy_on: test` is for the last look at configurations that were chosen before.

`canaries` trains as many models again on a population in which some examples are replaced by
[canaries](figures.md#canaries): 0 of a kind, or an even number of at least 20, and at most half of
the population, where a duplicated one counts twice. Each model has half of each kind. Figures of
ordinary examples do not change.
"""

OBJECTIVE_TEXT = """\
Without this block the objectives are `accuracy`, `attack_auc` if the space has a membership attack,
and `inversion_mse` if it has an inversion attack. An objective needs an attack that measures it.
Where `attacks.prior` lists several priors, each has an objective named after it, such as
`ppv_at_prior_0.1: min`.
"""

PRUNING_TEXT = """\
At each rung a trial is attacked cheaply and compared, in all objectives, with the trials that
were there before it. It stops unless it is among the better ones. The undefended baseline never
stops.
"""


def page() -> str:
    """Return the whole reference as Markdown."""
    blocks = schema()["properties"]
    parts = [
        OPENING,
        _table("", blocks, _BLOCK_DEFAULTS),
        "## dataset\n",
        _named(
            SOURCES,
            "data set",
            "your own `f(**parameters) -> (features, labels[, groups[, subgroups]])`",
        ),
        _parameters("data set", SOURCES),
        "### Sizes of the splits\n",
        SPLIT_TEXT,
        _table("dataset.", _properties(Sizes) | DEAL_SEED),
        PUBLISHED_TEXT,
        _table("dataset.", _properties(PublishedSizes)),
        "## model\n",
        _named(MODELS, "network", "your own `f(shape, n_classes, **parameters) -> nn.Module`"),
        _parameters("network", MODELS),
        "## training\n",
        _table("training.", _properties(Training)),
        PRIVATE_TEXT,
        _table("training.private.", _properties(PrivateTraining)),
        "## defences\n",
        DEFENCE_TEXT,
        *(_section(", ".join(_properties(kind)), kind) for kind in defences.DEFENCES),
        "## search\n",
        SEARCH_TEXT,
        _table("", _properties(Axis)),
        "## scenarios\n",
        SCENARIO_TEXT,
        "## attacks\n",
        ATTACK_TEXT,
        _table("attacks.", blocks["attacks"]["properties"], _ATTACK_DEFAULTS),
        *(_section(f"attacks.membership.{name}", kind) for name, kind in MEMBERSHIP.items()),
        *(_section(f"attacks.inversion.{name}", kind) for name, kind in INVERSION.items()),
        "## measure\n",
        MEASURE_TEXT,
        _table("measure.", _properties(Measure)),
        _table("measure.canaries.", _properties(Canaries)),
        "## objectives\n",
        OBJECTIVE_TEXT,
        _rows(
            ("objective", "direction", "what it is"),
            (
                (f"`{name}`", f"`{part['const']}`", part["description"])
                for name, part in blocks["objectives"]["properties"].items()
            ),
        ),
        "## sampler\n",
        _table("sampler.", _properties(Sampler)),
        _rows(("sampler", "what it does"), ((f"`{k}`", text) for k, text in SAMPLERS.items())),
        "## pruning\n",
        PRUNING_TEXT,
        _table("pruning.", _properties(Pruning)),
        "## resources\n",
        _table("resources.", _properties(Resources)),
    ]
    return "\n".join(parts)


_BLOCK_DEFAULTS = {"dataset": "required", "model": "required", "seed": "`0`"}

_ATTACK_DEFAULTS = {
    "attack_auc": "`strongest`",
    "inversion_mse": "`output`, else the last layer",
    "known_share": "`0.5` where an attack needs it",
}


def _properties(kind: type[Any]) -> dict[str, Any]:
    found: dict[str, Any] = pydantic.TypeAdapter(kind).json_schema().get("properties", {})
    return found


def _section(heading: str, kind: type[Any]) -> str:
    """Return a heading, the class's docstring and a table of its keys."""
    text = f"### {heading}\n\n{_markdown(inspect.cleandoc(kind.__doc__ or ''))}\n"
    properties = _properties(kind)
    return f"{text}\n{_table('', properties)}" if properties else text


def _named(table: Mapping[str, type[Any]], what: str, own: str) -> str:
    """Return a table of a catalogue's names, and a user's own function as its last row."""
    names = [(f"`{name}`", _markdown(_first_line(kind))) for name, kind in table.items()]
    return _rows(("`name`", what), [*names, ("`package.module:function`", own)])


def _parameters(what: str, table: Mapping[str, type[Any]]) -> str:
    """Return a table of the parameters of all names that have some."""
    header = (what, "key", "type and range", "default", "meaning")
    return _rows(
        header,
        (
            (f"`{name}`", *_cells(key, part))
            for name, kind in table.items()
            for key, part in _properties(kind).items()
        ),
    )


def _table(
    prefix: str, properties: Mapping[str, Any], defaults: Mapping[str, str] | None = None
) -> str:
    header = ("key", "type and range", "default", "meaning")
    return _rows(
        header,
        (_cells(prefix + key, part, (defaults or {}).get(key)) for key, part in properties.items()),
    )


def _cells(key: str, part: Mapping[str, Any], default: str | None = None) -> tuple[str, ...]:
    if default is None:
        default = _default(part)
    return f"`{key}`", _kind(part), default, _markdown(part.get("description", ""))


def _rows(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _default(part: Mapping[str, Any]) -> str:
    if "default" not in part:
        is_block = part.get("type") == "object" or "$ref" in part or "anyOf" in part
        return "" if is_block else "required"
    return f"`{_plain(part['default'])}`"


def _plain(value: Any) -> str:
    """Return a value as YAML writes it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(_plain(item) for item in value)}]"
    return ".inf" if value == float("inf") else str(value)


NOUNS = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "`true` or `false`",
    "object": "mapping",
    "null": "`null`",
}


def _kind(part: Mapping[str, Any]) -> str:
    """Return the type and the range of a value in words."""
    if "$ref" in part:
        return "mapping"
    if "anyOf" in part:
        kinds = list(dict.fromkeys(_kind(each) for each in part["anyOf"]))
        wider = {kind for kind in kinds if not kind.startswith("whole")}
        # Every whole number is a number, so only the wider of the two is named.
        return " or ".join(k for k in kinds if k in wider or k.removeprefix("whole ") not in wider)
    if "enum" in part or "const" in part:
        return ", ".join(f"`{value}`" for value in part.get("enum", [part.get("const")]))
    if part.get("type") == "array":
        items = part.get("items") or (part.get("prefixItems") or [{}])[0]
        count = f" ({part['maxItems']})" if "maxItems" in part else ""
        return f"list{count} of {_kind(items)}" if items else "list"
    return f"{NOUNS.get(part.get('type', ''), 'any value')}{_range(part)}"


def _range(part: Mapping[str, Any]) -> str:
    low, above = part.get("minimum"), part.get("exclusiveMinimum")
    high, below = part.get("maximum"), part.get("exclusiveMaximum")
    has_low, has_high = (low, above) != (None, None), (high, below) != (None, None)
    if has_low and has_high:
        left = f"[{_bound(low)}" if above is None else f"({_bound(above)}"
        right = f"{_bound(high)}]" if below is None else f"{_bound(below)})"
        return f" in {left}, {right}"
    if has_low:
        return f" >= {_bound(low)}" if above is None else f" > {_bound(above)}"
    return ""


def _bound(value: float) -> str:
    """Return the end of a range: 0 for 0.0, which some versions of pydantic write."""
    return f"{value:g}"


def _first_line(kind: type[Any]) -> str:
    return (kind.__doc__ or "").strip().partition("\n")[0]


def _markdown(text: str) -> str:
    """Return a docstring's text with Markdown's code marks in place of reStructuredText's."""
    return re.sub(r":\w+:`~?([^`]*)`", r"`\1`", text).replace("``", "`")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
