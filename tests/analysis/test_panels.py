"""Figures of papers, drawn from small tables."""

import numpy as np
import pandas as pd
import panels

from raysweep.report import figures


def a_table():
    rows = [
        {"x": x, "y": x * k, "z": 1.0, "y_pm": 0.1, "which": f"k {k}"}
        for x in (1, 10)
        for k in (1, 2)
    ]
    return pd.DataFrame(rows)


def test_each_panel_has_a_curve_for_each_kind_and_a_star_for_published_values():
    published = pd.DataFrame({"x": [10], "y": [15]})
    figure = panels.curves(
        a_table(),
        "x",
        {"y": "why", "z": "zed"},
        "which",
        title="a title",
        x_label="ex",
        log=["x"],
        published=published,
    )
    first, second = figure.axes
    assert [line.get_label() for line in first.lines] == ["k 1", "k 2"]
    assert [line.get_ydata().tolist() for line in first.lines] == [[1, 10], [2, 20]]
    stars = [c for c in first.collections if c.get_label() == "published"]
    assert stars[0].get_offsets().tolist() == [[10, 15]]
    assert not [c for c in second.collections if c.get_label() == "published"]
    assert (first.get_xscale(), first.get_yscale()) == ("log", "linear")
    assert figures.png(figure).startswith(b"\x89PNG")


def test_infinite_values_are_not_drawn():
    table = a_table().assign(y=[1.0, 2.0, np.inf, np.inf])
    figure = panels.curves(table, "x", {"y": "why"}, "which", title="a title", x_label="ex")
    assert [line.get_ydata().tolist() for line in figure.axes[0].lines] == [[1.0], [2.0]]


def test_a_panel_with_nothing_to_draw_stays_empty():
    table = a_table().assign(z=np.inf)
    figure = panels.curves(
        table, "x", {"y": "why", "z": "zed"}, "which", title="a title", x_label="ex", log=["z"]
    )
    assert [len(line.get_ydata()) for line in figure.axes[1].lines] == [0, 0]
    assert figures.png(figure).startswith(b"\x89PNG")


def test_a_sheet_shows_every_image_once_and_leaves_other_places_empty():
    image = np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3)
    figure = panels.sheet([[image, None], [image, image]], ["a", "b"], ["c", "d"], title="a title")
    assert [len(axes.images) for axes in figure.axes] == [1, 0, 1, 1]
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), image)
    assert figure.axes[0].get_title() == "c"
    assert figure.axes[2].get_ylabel() == "b"


def test_points_are_labelled_with_their_names():
    published = pd.DataFrame({"x": [1.0], "y": [2.0]})
    table = a_table().assign(x_pm=0.1)
    figure = panels.points(
        table,
        "x",
        "y",
        "which",
        title="a title",
        labels={"x": "ex", "y": "why"},
        published=published,
    )
    assert [text.get_text() for text in figure.axes[0].texts] == ["k 1", "k 2", "k 1", "k 2"]
