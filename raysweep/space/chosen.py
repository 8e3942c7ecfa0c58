"""The trial that `raysweep best` has chosen: its figures, and a space that runs it again."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import yaml

from raysweep.records.choice import Choice
from raysweep.records.guarantee import choice_line, guarantee_line, neighbours_of
from raysweep.records.results import Results, records
from raysweep.records.trial_config import stored_settings
from raysweep.space.space import fixed_space


@dataclass(frozen=True)
class Chosen:
    """A choice among ``results``, with its whole record."""

    results: Results
    choice: Choice

    @functools.cached_property
    def row(self) -> dict[str, Any]:
        """The record of the trial."""
        return records(self.results.rows(trials={self.choice.row["trial_id"]}))[0]

    def figures(self) -> dict[str, Any]:
        """Return the objectives and the epsilon spent."""
        return {name: self.row[name] for name in (*self.results.objectives.names, "epsilon")}

    def space(self) -> dict[str, Any]:
        """Return a space without axes that runs this configuration, as plain values."""
        name = f"{self.results.documents[0]['name']}-{self.row['trial_id']}"
        settings = stored_settings(self.row["config"])
        return fixed_space(settings, name, self.results.objectives)

    def to_plain(self) -> dict[str, Any]:
        """Return the trial, its figures and its space as plain values."""
        neighbours = neighbours_of(self.row)
        guarantee = {} if neighbours is None else {"neighbours": neighbours}
        choice = {"choice": line} if (line := choice_line(self.results.documents[0])) else {}
        figures = {**self.figures(), **guarantee, **choice}
        return {"trial_id": self.row["trial_id"], **figures, "space": self.space()}

    def to_yaml(self) -> str:
        """Return the space as YAML, under a comment with the figures and what epsilon is for."""
        lines = [str(self), guarantee_line(self.row), choice_line(self.results.documents[0])]
        comment = "".join(f"# {line}\n" for line in lines if line)
        return f"{comment}{yaml.safe_dump(self.space(), sort_keys=False)}"

    def __str__(self) -> str:
        figures = self.figures().items()
        values = ", ".join(f"{k} {'-' if v is None else format(v, '.4g')}" for k, v in figures)
        return f"trial {self.row['trial_id']}: {values}"
