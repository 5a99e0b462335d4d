"""Charts as inline SVG: lines with shaded intervals and horizontal bars.

Colours are CSS variables of the page, so that one drawing is right in light and in dark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

N_COLOURS = 8

_WIDTH, _HEIGHT = 720, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 68, 24, 16, 56
_BAR_HEIGHT, _BAR_STEP = 20, 34
_CHARACTER = 7.4  # width of a character at the charts' 13 px, generous
_LONGEST_LABEL = 34


@dataclass(frozen=True)
class Point:
    """One measured point; `low` and `high` bound its interval where there is one."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Series:
    """A named line."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class LineChart:
    """Lines over a numeric axis.

    Attributes:
        title: what it shows.
        series: the lines, in legend order; the first one stands out.
        x_label: name and unit of the horizontal axis.
        y_label: name and unit of the vertical axis.
        x_ticks: (position, label) of the horizontal axis; chosen from the data when empty.
        caption: small text below.
    """

    title: str
    series: tuple[Series, ...]
    x_label: str
    y_label: str
    x_ticks: tuple[tuple[float, str], ...] = ()
    caption: str = ""


@dataclass(frozen=True)
class Bar:
    """One bar; `low` and `high` bound its interval where there is one."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class BarChart:
    """Horizontal bars from zero, top to bottom, with their values written out."""

    title: str
    bars: tuple[Bar, ...]
    x_label: str
    digits: int = 4
    caption: str = ""


@dataclass(frozen=True)
class _Axis:
    """Maps values to pixels along one direction."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def nice_ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten) that span low to high."""
    if high <= low:
        high = low + (abs(low) or 1.0)
    rough = (high - low) / max(1, wanted)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(n * step, 12) for n in range(first, last + 1)]


def tick_labels(ticks: Sequence[float]) -> list[str]:
    """The ticks with just as many decimals as tell them apart."""
    step = min((b - a for a, b in pairwise(ticks)), default=1.0)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return [f"{tick:,.{digits}f}" for tick in ticks]


def draw_lines(chart: LineChart) -> str:
    """The chart as a figure with an HTML legend, which wraps where an SVG one would overlap."""
    series = [Series(line.name, _finite(line.points)) for line in chart.series]
    points = [point for line in series for point in line.points]
    if not points:
        return _figure(chart.title, "", '<p class="empty">No data.</p>', chart.caption)
    x, x_ticks = _x_axis(points, chart.x_ticks)
    y, y_ticks = _y_axis(points)
    parts = [
        _grid(y, y_ticks),
        _x_labels(x, x_ticks, _HEIGHT - _BOTTOM),
        _axis_titles(chart),
        *(_band(line, n, x, y) for n, line in enumerate(series)),
        *(_line(line, n, x, y) for n, line in enumerate(series)),
    ]
    legend = "".join(f'<li><i class="key c{n % N_COLOURS}"></i>{escape(s.name)}</li>' for n, s in enumerate(series))
    return _figure(chart.title, f'<ul class="legend">{legend}</ul>', _svg(parts, _HEIGHT, chart.title), chart.caption)


def draw_bars(chart: BarChart) -> str:
    """The chart as a figure; long labels are cut with an ellipsis and shown whole on hover."""
    bars = [bar for bar in chart.bars if math.isfinite(bar.value)]
    if not bars:
        return _figure(chart.title, "", '<p class="empty">No data.</p>', chart.caption)
    ends = [edge for bar in bars for edge in (0.0, bar.value, bar.low or 0.0, bar.high or 0.0)]
    ticks = nice_ticks(min(ends), max(ends))
    left = 16 + _CHARACTER * min(_LONGEST_LABEL, max(len(bar.label) for bar in bars))
    # Room at the right for the written value.
    x = _Axis(ticks[0], ticks[-1], left, _WIDTH - _RIGHT - _CHARACTER * (chart.digits + 4))
    bottom = _TOP + _BAR_STEP * len(bars)
    parts = [
        *(f'<line class="grid" x1="{x.at(t):.1f}" x2="{x.at(t):.1f}" y1="{_TOP}" y2="{bottom}"/>' for t in ticks),
        _x_labels(x, list(zip(ticks, tick_labels(ticks), strict=True)), bottom),
        f'<text class="axis" x="{(x.start + x.end) / 2:.1f}" y="{bottom + 44}" text-anchor="middle">'
        f"{escape(chart.x_label)}</text>",
        *(_bar(bar, _TOP + _BAR_STEP * n, x, chart.digits) for n, bar in enumerate(bars)),
    ]
    return _figure(chart.title, "", _svg(parts, bottom + _BOTTOM, chart.title), chart.caption)


def _finite(points: Sequence[Point]) -> tuple[Point, ...]:
    """Points that can be drawn, left to right."""
    return tuple(sorted((p for p in points if math.isfinite(p.x) and math.isfinite(p.y)), key=lambda p: p.x))


def _x_axis(points: Sequence[Point], given: Sequence[tuple[float, str]]) -> tuple[_Axis, list[tuple[float, str]]]:
    values = sorted({point.x for point in points} | {position for position, _ in given})
    pad = 0.04 * (values[-1] - values[0]) or 1.0
    axis = _Axis(values[0] - pad, values[-1] + pad, _LEFT, _WIDTH - _RIGHT)
    if given:
        return axis, list(given)
    ticks = [tick for tick in nice_ticks(values[0], values[-1], 6) if axis.low <= tick <= axis.high]
    return axis, list(zip(ticks, tick_labels(ticks), strict=True))


def _y_axis(points: Sequence[Point]) -> tuple[_Axis, list[float]]:
    edges = [edge for p in points for edge in (p.y, p.low, p.high) if edge is not None and math.isfinite(edge)]
    ticks = nice_ticks(min(0.0, *edges), max(0.0, *edges))
    return _Axis(ticks[0], ticks[-1], _HEIGHT - _BOTTOM, _TOP), ticks


def _grid(y: _Axis, ticks: Sequence[float]) -> str:
    return "".join(
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y.at(t):.1f}" y2="{y.at(t):.1f}"/>'
        f'<text class="tick" x="{_LEFT - 8}" y="{y.at(t) + 4:.1f}" text-anchor="end">{label}</text>'
        for t, label in zip(ticks, tick_labels(ticks), strict=True)
    )


def _x_labels(x: _Axis, ticks: Sequence[tuple[float, str]], bottom: float) -> str:
    """Tick labels; one that would touch the label before it is left out."""
    drawn, free_from = [], -math.inf
    for position, label in ticks:
        at, half = x.at(position), len(label) * _CHARACTER / 2
        drawn.append(f'<line class="rule" x1="{at:.1f}" x2="{at:.1f}" y1="{bottom}" y2="{bottom + 5}"/>')
        if at - half >= free_from:
            drawn.append(
                f'<text class="tick" x="{at:.1f}" y="{bottom + 20}" text-anchor="middle">{escape(label)}</text>'
            )
            free_from = at + half + 6
    return f'<line class="rule" x1="{x.start}" x2="{x.end}" y1="{bottom}" y2="{bottom}"/>' + "".join(drawn)


def _axis_titles(chart: LineChart) -> str:
    middle = (_TOP + _HEIGHT - _BOTTOM) / 2
    return (
        f'<text class="axis" x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 10}" text-anchor="middle">'
        f"{escape(chart.x_label)}</text>"
        f'<text class="axis" transform="translate(16 {middle}) rotate(-90)" text-anchor="middle">'
        f"{escape(chart.y_label)}</text>"
    )


def _band(line: Series, n: int, x: _Axis, y: _Axis) -> str:
    """Interval of a line: shaded between several points, a bar around a single one."""
    known = [(x.at(p.x), y.at(p.low), y.at(p.high)) for p in line.points if p.low is not None and p.high is not None]
    if not known:
        return ""
    if len(known) == 1:
        at, low, high = known[0]
        return f'<line class="whisker s{n % N_COLOURS}" x1="{at:.1f}" x2="{at:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>'
    edge = [(at, high) for at, _, high in known] + [(at, low) for at, low, _ in reversed(known)]
    return f'<polygon class="band f{n % N_COLOURS}" points="{_path(edge)}"/>'


def _line(line: Series, n: int, x: _Axis, y: _Axis) -> str:
    colour = n % N_COLOURS
    at = [(x.at(point.x), y.at(point.y)) for point in line.points]
    path = f'<polyline class="line s{colour}" points="{_path(at)}"/>' if len(at) > 1 else ""
    dots = (
        f'<circle class="f{colour}" cx="{left:.1f}" cy="{top:.1f}" r="4"><title>{escape(line.name)}: '
        f"{point.y:.4g}</title></circle>"
        for (left, top), point in zip(at, line.points, strict=True)
    )
    return path + "".join(dots)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{left:.1f},{top:.1f}" for left, top in points)


def _bar(bar: Bar, top: float, x: _Axis, digits: int) -> str:
    start, end = sorted((x.at(0.0), x.at(bar.value)))
    middle = top + _BAR_STEP / 2
    label = bar.label if len(bar.label) <= _LONGEST_LABEL else bar.label[: _LONGEST_LABEL - 1].rstrip() + "…"
    whisker, right = "", end
    if bar.low is not None and bar.high is not None:
        low, high = x.at(bar.low), x.at(bar.high)
        whisker = f'<line class="whisker" x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}"/>'
        right = max(end, high)
    return (
        f"<g><title>{escape(bar.label)}</title>"
        f'<text class="label" x="{x.start - 10:.1f}" y="{middle + 4.5}" text-anchor="end">{escape(label)}</text>'
        f'<rect class="f0" x="{start:.1f}" y="{middle - _BAR_HEIGHT / 2}" width="{max(end - start, 1):.1f}" '
        f'height="{_BAR_HEIGHT}" rx="3"/>{whisker}'
        f'<text class="value" x="{right + 8:.1f}" y="{middle + 4.5}">{bar.value:.{digits}f}</text></g>'
    )


def _svg(parts: Sequence[str], height: float, title: str) -> str:
    return (
        f'<div class="scroll"><svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg></div>"
    )


def _figure(title: str, legend: str, body: str, caption: str) -> str:
    below = f'<p class="caption">{escape(caption)}</p>' if caption else ""
    return f'<figure class="chart"><figcaption>{escape(title)}</figcaption>{legend}{body}{below}</figure>'
