"""Line charts as inline SVG: no colours of their own, only classes that the page's style sheet paints."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import ceil, floor, isfinite, log2, log10, sqrt
from xml.etree import ElementTree as xml

from holdfast.report.text import significant

WIDTH, HEIGHT = 440.0, 270.0
LEFT, RIGHT, TOP, BOTTOM = 38.0, 10.0, 26.0, 40.0
NEAREST_TICKS = 0.07  # of the axis
LETTER = 0.016  # of the axis, the width of a letter
VISIBLE_DOTS, HIDDEN_DOTS = 15, 60  # longer lines show their dots only under the pointer, or have none


class Scale(StrEnum):
    """How values spread along an axis."""

    LINEAR = "linear"
    ROOT = "root"  # distances shrink as the square root does: room for the small, a place for 0
    LOGARITHMIC = "logarithmic"


@dataclass(frozen=True)
class Axis:
    """A scale from `low` to `high`; values are shown divided by `unit` (1/255, 0.01 for percent).

    names: what the values 0, 1, 2, ... are called, where they are no quantities.
    """

    label: str
    low: float
    high: float
    unit: float = 1.0
    scale: Scale = Scale.LINEAR
    names: tuple[str, ...] = ()

    def place(self, value: float) -> float:
        """Where `value` lies between the ends, 0 to 1."""
        if self.scale is Scale.LOGARITHMIC:
            return log10(value / self.low) / log10(self.high / self.low)
        share = (value - self.low) / (self.high - self.low)
        return sqrt(max(0.0, share)) if self.scale is Scale.ROOT else share

    def ticks(self) -> list[float]:
        """Round values between the ends, about five; of names, as many as there is room for."""
        if self.names:
            return self._named()
        slack = 1e-9 * abs(self.high - self.low)
        first, *others = [value for value in self._candidates() if self.low - slack <= value <= self.high + slack]
        kept: list[float] = []
        for value in reversed(others):
            spaces = [self.place(value) - self.place(first), *(self.place(k) - self.place(value) for k in kept[-1:])]
            if min(spaces) >= NEAREST_TICKS:
                kept.append(value)
        return [first, *reversed(kept)]

    def _named(self) -> list[float]:
        kept, end = [], -1.0
        for position, name in enumerate(self.names):
            half = LETTER * len(name) / 2
            if self.place(position) - half >= end:
                kept.append(float(position))
                end = self.place(position) + half + LETTER
        return kept

    def _candidates(self) -> list[float]:
        low, high = self.low / self.unit, self.high / self.unit
        if self.scale is Scale.ROOT:
            return [low * self.unit, *(self.unit * 2.0**k for k in range(floor(log2(high)) - 8, ceil(log2(high)) + 1))]
        if self.scale is Scale.LOGARITHMIC:
            steps = (1, 2, 5) if high / low < 1000 else (1,)
            decades = range(floor(log10(low)), ceil(log10(high)) + 1)
            return [self.unit * step * 10.0**decade for decade in decades for step in steps]
        step = nice_step(high - low)
        return [k * step * self.unit for k in range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)]

    def text(self, value: float) -> str:
        """The value as it is written at the axis."""
        if self.names:
            return self.names[round(value)]
        return significant(round(value / self.unit, 12), 4)


@dataclass(frozen=True)
class Series:
    """One line. `paint` is the class that gives its colour; low and high, where given, bound its interval."""

    label: str
    paint: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


@dataclass(frozen=True)
class Chart:
    """A figure: lines over one pair of axes. mark: a vertical line at a value of x with its name."""

    key: str
    title: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    mark: tuple[float, str] | None = None
    note: str = ""

    @property
    def numbers(self) -> list[tuple[float, list[tuple[Series, int] | None]]]:
        """The values as a table: for each x, for each series, (series, position) or None where it has no value."""
        positions = [{x: i for i, x in enumerate(s.x) if isfinite(s.y[i])} for s in self.series]
        xs = sorted({x for known in positions for x in known})
        return [
            (x, [(s, known[x]) if x in known else None for s, known in zip(self.series, positions, strict=True)])
            for x in xs
        ]

    def svg(self) -> str:
        """The chart as an SVG element, to be put into the page as it is."""
        return draw(self)


def nice_step(span: float) -> float:
    """A step of 1, 2 or 5 times a power of ten that divides `span` into three to eight."""
    raw = span / 5
    power = 10.0 ** floor(log10(raw))
    return next(step * power for step in (1, 2, 5, 10) if raw <= step * power * 1.5)


def draw(chart: Chart) -> str:
    """Draw the chart: hairlines, the mark, intervals, lines, dots with their values as tool tips."""
    svg = xml.Element(
        "svg",
        {"viewBox": f"0 0 {WIDTH:g} {HEIGHT:g}", "role": "img", "class": "chart", "aria-label": _description(chart)},
    )
    _draw_axes(svg, chart)
    if chart.mark is not None:
        _draw_mark(svg, chart, *chart.mark)
    for series in chart.series:
        _draw_interval(svg, chart, series)
    for series in chart.series:
        _draw_line(svg, chart, series)
    return xml.tostring(svg, encoding="unicode")


def _description(chart: Chart) -> str:
    ends = []
    for series in chart.series:
        known = [(x, y) for x, y in zip(series.x, series.y, strict=True) if isfinite(y)]
        if known:
            (x0, y0), (x1, y1) = known[0], known[-1]
            ends.append(
                f"{series.label}: {chart.y.text(y0)} at {chart.x.text(x0)}, {chart.y.text(y1)} at {chart.x.text(x1)}"
            )
    return f"{chart.title}. {chart.y.label} against {chart.x.label}. {'; '.join(ends)}."


def _x(chart: Chart, value: float) -> float:
    return LEFT + chart.x.place(value) * (WIDTH - LEFT - RIGHT)


def _y(chart: Chart, value: float) -> float:
    return HEIGHT - BOTTOM - chart.y.place(value) * (HEIGHT - TOP - BOTTOM)


def _draw_axes(svg: xml.Element, chart: Chart) -> None:
    for value in chart.y.ticks():
        y = _y(chart, value)
        _line(svg, "grid" if value > chart.y.low else "base", LEFT, y, WIDTH - RIGHT, y)
        _text(svg, chart.y.text(value), LEFT - 7, y + 4.5, "tick", "end")
    for value in chart.x.ticks():
        x = _x(chart, value)
        _line(svg, "base", x, HEIGHT - BOTTOM, x, HEIGHT - BOTTOM + 4)
        _text(svg, chart.x.text(value), x, HEIGHT - BOTTOM + 18, "tick", "middle")
    _text(svg, chart.y.label, 0, 13, "axis", "start")
    _text(svg, chart.x.label, WIDTH - RIGHT, HEIGHT - 5, "axis", "end")


def _draw_mark(svg: xml.Element, chart: Chart, value: float, name: str) -> None:
    if not chart.x.low <= value <= chart.x.high:
        return
    x = _x(chart, value)
    _line(svg, "mark", x, TOP - 6, x, HEIGHT - BOTTOM)
    right = chart.x.place(value) < 0.7
    _text(svg, name, x + (5 if right else -5), TOP + 4, "axis", "start" if right else "end")


def _draw_interval(svg: xml.Element, chart: Chart, series: Series) -> None:
    if not series.low:
        return
    if len(series.x) == 1:
        x, ends = _x(chart, series.x[0]), (_y(chart, series.low[0]), _y(chart, series.high[0]))
        _line(svg, f"whisker {series.paint}", x, ends[0], x, ends[1])
        return
    upper = [f"{_x(chart, x):.1f},{_y(chart, h):.1f}" for x, h in zip(series.x, series.high, strict=True)]
    lower = [f"{_x(chart, x):.1f},{_y(chart, v):.1f}" for x, v in zip(series.x, series.low, strict=True)]
    xml.SubElement(svg, "polygon", {"class": f"band {series.paint}", "points": " ".join(upper + lower[::-1])})


def _draw_line(svg: xml.Element, chart: Chart, series: Series) -> None:
    path, pen_down = [], False
    known = [(x, y) for x, y in zip(series.x, series.y, strict=True) if isfinite(y)]
    for x, y in zip(series.x, series.y, strict=True):
        if isfinite(y):
            path.append(f"{'L' if pen_down else 'M'}{_x(chart, x):.1f} {_y(chart, y):.1f}")
        pen_down = isfinite(y)
    xml.SubElement(svg, "path", {"class": f"line {series.paint}", "d": " ".join(path)})
    kind = "dot" if len(known) <= VISIBLE_DOTS else "dot faint"
    if len(known) <= HIDDEN_DOTS:
        for x, y in known:
            place = {"cx": f"{_x(chart, x):.1f}", "cy": f"{_y(chart, y):.1f}", "r": "3"}
            dot = xml.SubElement(svg, "circle", {"class": f"{kind} {series.paint}", **place})
            title = xml.SubElement(dot, "title")
            title.text = f"{series.label}: {chart.y.text(y)} at {chart.x.label} {chart.x.text(x)}"


def _line(svg: xml.Element, kind: str, x1: float, y1: float, x2: float, y2: float) -> None:
    ends = {"x1": f"{x1:.1f}", "y1": f"{y1:.1f}", "x2": f"{x2:.1f}", "y2": f"{y2:.1f}"}
    xml.SubElement(svg, "line", {"class": kind, **ends})


def _text(svg: xml.Element, text: str, x: float, y: float, kind: str, anchor: str) -> None:
    place = {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor}
    xml.SubElement(svg, "text", {"class": kind, **place}).text = text


def legend(charts: Sequence[Chart]) -> tuple[Series, ...]:
    """One series for each label in the charts, in order of appearance: what a common legend has to explain."""
    found: dict[str, Series] = {}
    for chart in charts:
        for series in chart.series:
            found.setdefault(series.label, series)
    return tuple(found.values())
