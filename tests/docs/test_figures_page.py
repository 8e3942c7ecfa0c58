"""docs/figures.md names every column of every table, and no other."""

import re
from pathlib import Path

import pytest

from raysweep.records.tables import SCHEMAS

PAGE = Path(__file__).parents[2] / "docs" / "figures.md"


def documented(table):
    """Return the columns that the page's dictionary of ``table`` names, in order."""
    section = PAGE.read_text().split(f"### {table}: ")[1].split("\n### ")[0]
    return re.findall(r"^\| `(\w+)` \| \S", section, flags=re.MULTILINE)


@pytest.mark.parametrize("table", list(SCHEMAS))
def test_every_column_has_a_meaning(table):
    described, columns = set(documented(table)), set(SCHEMAS[table].names)
    assert not columns - described, f"docs/figures.md, {table}: add {sorted(columns - described)}"
    assert not described - columns, f"docs/figures.md, {table}: no {sorted(described - columns)}"
