"""Axes with round numbers, and drawings whose parts lie where the numbers say."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from hubspoke.reports.charts import (
    Bar,
    BarChart,
    LineChart,
    Point,
    Series,
    draw_bars,
    draw_lines,
    nice_ticks,
    tick_labels,
)
from hypothesis import assume, given
from hypothesis import strategies as st


def svg_of(html: str) -> ET.Element:
    """The drawing, parsed: malformed markup fails here."""
    return ET.fromstring(re.search(r"<svg.*</svg>", html, re.DOTALL).group())


def lines(*series: Series, **fields: object) -> LineChart:
    return LineChart(title="Launch", series=series, x_label="weeks", y_label="NDCG@10", **fields)


def test_ticks_are_round_and_span_the_data() -> None:
    assert nice_ticks(0, 0.0633) == [0, 0.02, 0.04, 0.06, 0.08]
    assert nice_ticks(0, 12, 6) == [0, 2, 4, 6, 8, 10, 12]
    assert nice_ticks(-3, 41) == [-10, 0, 10, 20, 30, 40, 50]
    assert tick_labels([0, 0.02, 0.04]) == ["0.00", "0.02", "0.04"]
    assert tick_labels([0, 500, 1000]) == ["0", "500", "1,000"]


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_always_hold_the_range_in_few_equal_steps(low: float, span: float) -> None:
    assume(span > 1e-8 * abs(low))  # a range that its own numbers can still tell apart
    ticks = nice_ticks(low, low + span)
    step = ticks[1] - ticks[0]
    assert ticks[0] <= low + 1e-6 * step
    assert ticks[-1] >= low + span - 1e-6 * step
    assert 2 <= len(ticks) <= 8


def test_a_flat_line_has_an_axis_too() -> None:
    assert len(nice_ticks(0.0, 0.0)) >= 2
    svg_of(draw_lines(lines(Series("zero", (Point(0, 0), Point(1, 0))))))


def test_higher_values_are_drawn_higher_and_points_run_left_to_right() -> None:
    drawn = svg_of(draw_lines(lines(Series("spoke", (Point(12, 0.06), Point(0, 0.02), Point(4, 0.03))))))
    points = [tuple(map(float, p.split(","))) for p in drawn.find(".//polyline").get("points").split()]
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert points[0][1] > points[1][1] > points[2][1]


def test_intervals_are_a_band_over_several_points_and_a_whisker_on_one() -> None:
    band = Series("spoke", (Point(0, 0.02, 0.01, 0.03), Point(4, 0.03, 0.02, 0.04)))
    single = Series("cf", (Point(4, 0.03, 0.02, 0.04),))
    bare = Series("hub", (Point(0, 0.01), Point(4, 0.01)))
    drawn = svg_of(draw_lines(lines(band, single, bare)))
    assert len(drawn.findall(".//polygon[@class='band f0']")) == 1
    assert len(drawn.findall(".//line[@class='whisker s1']")) == 1
    assert len(drawn.findall(".//polyline")) == 2


def test_the_legend_names_every_series_and_escapes_it() -> None:
    html = draw_lines(lines(Series("a & <b>", (Point(0, 1), Point(1, 2))), Series("c", (Point(0, 1),))))
    assert "a &amp; &lt;b&gt;</li>" in html
    assert html.count("<li>") == 2


def test_tick_labels_that_would_overlap_are_left_out() -> None:
    ticks = tuple((float(week), f"week number {week}") for week in range(30))
    drawn = svg_of(draw_lines(lines(Series("s", (Point(0, 1), Point(29, 2))), x_ticks=ticks)))
    labels = [text for text in drawn.iter("text") if (text.text or "").startswith("week number")]
    places = [float(text.get("x")) for text in labels]
    assert 2 <= len(places) < 10
    assert min(b - a for a, b in pairwise(places)) > 90


def test_bars_start_at_zero_and_grow_with_their_value() -> None:
    drawn = svg_of(
        draw_bars(BarChart("b", (Bar("text", 0.1), Bar("both", 0.2, 0.15, 0.25), Bar("loss", -0.1)), "NDCG"))
    )
    text, both, loss = drawn.findall(".//rect")
    assert float(both.get("width")) == pytest.approx(2 * float(text.get("width")), abs=0.2)
    assert both.get("x") == text.get("x")
    assert float(loss.get("x")) < float(text.get("x"))
    assert len(drawn.findall(".//line[@class='whisker']")) == 1


def test_long_bar_labels_are_cut_and_kept_whole_on_hover() -> None:
    label = "a label that goes on for much longer than any chart has room for"
    drawn = svg_of(draw_bars(BarChart("b", (Bar(label, 1.0),), "x")))
    assert drawn.find(".//g/title").text == label
    assert len(drawn.find(".//text[@class='label']").text) <= 34


def test_nothing_to_draw_says_so() -> None:
    assert "No data." in draw_lines(lines())
    assert "No data." in draw_lines(lines(Series("s", (Point(0, math.nan),))))
    assert "No data." in draw_bars(BarChart("b", (), "x"))
