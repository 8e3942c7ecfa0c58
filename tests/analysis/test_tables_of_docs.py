"""Tables of the documentation can be read."""

from pathlib import Path

import pytest

MOST_WORDS = 25  # longer reasons stand below a table


def long_cells(text):
    rows = [line.strip().strip("|") for line in text.splitlines() if line.startswith("|")]
    cells = [cell.strip() for row in rows for cell in row.split("|")]
    return [cell for cell in cells if len(cell.split()) > MOST_WORDS]


PAGES = sorted(Path("docs").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_no_cell_of_a_table_is_a_paragraph(page):
    assert long_cells(page.read_text()) == []
