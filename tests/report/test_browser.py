"""The report in a browser: what axe-core finds, in both colour schemes, and the printed page."""

import pytest
from report import browser
from report.test_report import change, real, write_folder  # noqa: F401 - a fixture

from raysweep.report import build

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(browser.unmet()), reason=browser.unmet() or "all is installed"),
]

HEADINGS = {
    "At a glance",
    "Before you trust this",
    "The front",
    "What each setting did",
    "What inversion rebuilds",
    "How well members are recognised",
    "What is promised",
    "How to run a configuration again",
    "Words",
    "What was swept",
}


@pytest.fixture(scope="module")
def page(real, tmp_path_factory):  # noqa: F811
    """The report on three trials, one of which collapsed."""
    path = tmp_path_factory.mktemp("browser")
    trials = [*real[1], change(real[1][2], "c" * 16, collapsed=True, number=3)]
    build.write([write_folder(real, path / "out", trials)], path / "report.html")
    return path / "report.html"


@pytest.mark.parametrize("scheme", [browser.LIGHT, browser.DARK], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_and_the_page_does_not_scroll_sideways(page, width, scheme):
    found = browser.axe(page, width=width, scheme=scheme)
    assert found["violations"] == []
    assert found["passes"] > 30
    assert (found["width"], found["dark"]) == (width, scheme == browser.DARK)
    assert found["scrolled"] <= width


def test_axe_finds_what_is_wrong(page, tmp_path):
    broken = tmp_path / "report.html"
    broken.write_text(page.read_text().replace(' alt="', ' title="').replace("<main>", "<div>"))
    rules = [rule for rule, _, _ in browser.axe(broken, width=1280, scheme=1)["violations"]]
    assert "landmark-one-main" in rules


def test_no_printed_page_ends_with_a_heading_and_no_section_is_missing(page):
    sheets = browser.printed(page)
    assert len(sheets) > 1
    assert {line for lines, _ in sheets for line in lines} >= HEADINGS
    for lines, something_below in sheets:
        assert lines or something_below, "an empty sheet"
        assert something_below or lines[-1] not in HEADINGS


def test_a_heading_at_the_end_of_a_printed_page_is_noticed(page, tmp_path):
    broken = tmp_path / "report.html"
    rule = "#settings h2 { break-after: page !important; } h2"
    broken.write_text(page.read_text().replace("h2", rule, 1))
    ends = [lines[-1] for lines, below in browser.printed(broken) if lines and not below]
    assert "What each setting did" in ends
