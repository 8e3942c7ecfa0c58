"""Build HTML in which all text is escaped, except the markup that this module made itself."""

from __future__ import annotations

import html
from collections.abc import Sequence

from raysweep.config.plain_text import printable

VOID = ("img", "meta")


class Html(str):
    """Text that is markup already and must not be escaped."""

    __slots__ = ()


def element(tag: str, /, *children: object, **attributes: object) -> Html:
    """Return an element; the argument ``class_`` becomes the attribute class.

    >>> element("p", "1 < 2 ", element("b", "<script>"), class_="note")
    '<p class="note">1 &lt; 2 <b>&lt;script&gt;</b></p>'
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(printable(value, most=None))}"'
        for key, value in attributes.items()
    )
    content = "" if tag in VOID else f"{join(*children)}</{tag}>"
    return Html(f"<{tag}{written}>{content}")


def join(*children: object) -> Html:
    """Return the children one after the other; those that are not markup are escaped."""
    return Html(
        "".join(
            c if isinstance(c, Html) else html.escape(printable(c, most=None)) for c in children
        )
    )


def table(label: str, headings: Sequence[str], rows: Sequence[Sequence[object]]) -> Html:
    """Return a table that scrolls sideways, by keyboard too, on a screen too narrow for it.

    ``label`` says what it lists. The first cell of a row is its heading.
    """
    head = element("tr", *(element("th", heading, scope="col") for heading in headings))
    body = (
        element(
            "tr",
            element("th", cells[0], scope="row"),
            *(element("td", cell) for cell in cells[1:]),
        )
        for cells in rows
    )
    whole = element("table", element("thead", head), element("tbody", *body))
    return element("div", whole, class_="wide", role="region", aria_label=label, tabindex="0")
