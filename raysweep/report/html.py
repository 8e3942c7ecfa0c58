"""HTML that cannot be broken out of: all text is escaped but what this module made itself."""

from __future__ import annotations

import html
from collections.abc import Sequence

VOID = ("img", "meta")


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def element(tag: str, /, *children: object, **attributes: object) -> Html:
    """Return an element; ``class_`` is the attribute class.

    >>> element("p", "1 < 2 ", element("b", "<script>"), class_="told")
    '<p class="told">1 &lt; 2 <b>&lt;script&gt;</b></p>'
    """
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for key, value in attributes.items()
    )
    content = "" if tag in VOID else f"{joined(*children)}</{tag}>"
    return Html(f"<{tag}{told}>{content}")


def joined(*children: object) -> Html:
    """Return children one after the other, escaped where they are no markup."""
    return Html("".join(c if isinstance(c, Html) else html.escape(str(c)) for c in children))


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> Html:
    """Return a table that scrolls by itself where the screen is too narrow for it."""
    head = element("thead", element("tr", *(element("th", heading) for heading in headings)))
    body = (element("tr", *(element("td", cell) for cell in row)) for row in rows)
    return element("div", element("table", head, element("tbody", *body)), class_="wide")
