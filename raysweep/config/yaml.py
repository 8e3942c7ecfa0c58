"""Read YAML safely, with the line of every key. Tags, aliases and repeated keys are errors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from raysweep.errors import SpaceError

Path = tuple[str | int, ...]

MAX_CHARACTERS = 2**20

MAX_DEPTH = 100  # mappings and lists inside each other

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C where PyYAML was built with it

_NUMBER = re.compile(r"[-+]?(\d[\d_]*)(\.\d*)?([eE][-+]?\d+)?|[-+]?\.\d+([eE][-+]?\d+)?")

_INFINITY = re.compile(r"[-+]?\.?inf", re.IGNORECASE)

_TAGS = {
    f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq", "str", "int", "float", "bool", "null")
}


class Document:
    """A parsed YAML document: its ``value``, and the line of every place in it.

    ``overridden`` (place -> key) holds the places that were set from outside and have no line.
    """

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        self.overridden: dict[Path, str] = {}
        self._lines: dict[Path, int] = {}
        if len(text) > MAX_CHARACTERS:
            raise SpaceError(f"a search space has at most {MAX_CHARACTERS:,} characters ({name})")

        self._constructor = yaml.constructor.SafeConstructor()
        node = _compose(text, name)
        self.value: Any = None if node is None else self._read(node, ())

    def line(self, path: Path) -> int:
        """Return the line of ``path`` or of the nearest key above; 0 if the text has neither."""
        ends = range(len(path), -1, -1)
        return next((self._lines[path[:end]] for end in ends if path[:end] in self._lines), 0)

    def describe_place(self, path: Path) -> str:
        """Return the file and the line or override of ``path``, or of the nearest key above."""
        if path not in self._lines:  # only an override below it made it
            for overridden, text in self.overridden.items():
                if overridden[: len(path)] == tuple(path):
                    return f"{self.name} with --set {text}"
        for end in range(len(path), -1, -1):
            if path[:end] in self.overridden:
                return f"{self.name} with --set {self.overridden[path[:end]]}"
            if path[:end] in self._lines:
                return f"{self.name}, line {self._lines[path[:end]]}"
        return self.name

    def locate(self, error: SpaceError) -> SpaceError:
        """Return ``error`` with the file and the line of its place in the message."""
        where = self.describe_place(error.place)
        place = ".".join(str(part) for part in error.place)
        message = str(error)
        if place and f"`{place}`" not in message:
            ends = [f"`{'.'.join(map(str, error.place[i:]))}`" for i in range(len(error.place))]
            end = next(filter(message.startswith, ends), "")
            message = f"`{place}`{'' if end else ': '}{message.removeprefix(end)}"
        return SpaceError(f"{message} ({where})", place=error.place)

    def rename_places(self, names: Mapping[str, str]) -> None:
        """Record the line of every place under the new ``names`` (old -> new) of its keys too."""
        older = {*names}
        renamed = {
            tuple(names.get(str(part), part) for part in path): line
            for path, line in self._lines.items()
            if not older.isdisjoint(path)
        }
        self._lines = renamed | self._lines

    def _read(self, node: yaml.Node, path: Path) -> Any:
        """Return the value of ``node``, and record the lines of the places in it."""
        self._lines.setdefault(path, node.start_mark.line + 1)
        if node.tag not in _TAGS:
            raise self.locate(
                SpaceError(f"the tag {node.tag} is not read: write plain values", place=path)
            )

        if isinstance(node, yaml.MappingNode):
            return self._read_mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._read(item, (*path, i)) for i, item in enumerate(node.value)]

        assert isinstance(node, yaml.ScalarNode)
        try:
            return _scalar(node, self._constructor)
        except (ValueError, LookupError) as error:
            reason = str(error).partition(";")[0]
            raise self.locate(
                SpaceError(f"{node.value[:40]!r} cannot be read: {reason}", place=path)
            ) from None

    def _read_mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            place = (*path, key)
            self._lines[place] = key_node.start_mark.line + 1
            if key in result:
                raise self.locate(SpaceError(f"the key {key!r} is given twice", place=place))
            result[key] = self._read(value_node, place)
        return result


def _compose(text: str, name: str) -> yaml.Node | None:
    """Return the root node of ``text``, None if it is empty. Errors name it ``name``."""
    depth = 0
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            if isinstance(event, yaml.AliasEvent):
                raise SpaceError(f"aliases (*name) are not read: write the value out ({name})")
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise SpaceError(f"this is nested too deeply: at most {MAX_DEPTH} levels ({name})")
        return yaml.compose(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or error
        raise SpaceError(f"this is not YAML: {problem} ({name}{line})") from None


def _scalar(node: yaml.ScalarNode, constructor: Any) -> Any:
    """Return the value of a scalar as in YAML, except that ``1e-6`` and ``inf`` are numbers."""
    text = node.value
    if node.tag.endswith(":str") and not node.style:  # plain: not in quotes
        if _NUMBER.fullmatch(text):
            return float(text)
        if _INFINITY.fullmatch(text):
            return float(text.replace(".", ""))
    return constructor.construct_object(node)


def scalar(text: str) -> Any:
    """Return the value of one line of YAML, as in ``--set key=value``.

    >>> scalar("1e-6"), scalar("[output]"), scalar(".inf")
    (1e-06, ['output'], inf)
    """
    return Document(text, "--set").value


def parse_pairs(texts: Sequence[str] | None, option: str) -> dict[str, Any]:
    """Return the KEY=VALUE texts of ``option`` as a mapping, with each value read as YAML."""
    values = {}
    for text in texts or []:
        key, sign, value = text.partition("=")
        if not sign or not key.strip():
            raise SpaceError(f"{option} takes KEY=VALUE", got=text)
        values[key.strip()] = scalar(value)
    return values
