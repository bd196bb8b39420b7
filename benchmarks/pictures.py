"""Pictures of measurements as SVG files: the report's line charts on one sheet, and bars."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree as xml

from holdfast.report.charts import HEIGHT, WIDTH, Axis, Chart, Scale, Series

GAP, LEGEND, COLUMNS = 34.0, 22.0, 2
BAR, NAMES, LONGEST = 17.0, 170.0, 480.0
PAINTS = ("#2563a8", "#b4540a", "#3b7d3b", "#7a3e9d", "#555555", "#9a8a00")
_STYLE = """
svg { background: #ffffff; font-family: sans-serif; }
text { font-size: 12px; fill: #333333; } .title { font-size: 14px; font-weight: bold; }
.base { stroke: #888888; } .grid { stroke: #dddddd; } .line { fill: none; stroke-width: 2; }
.band { opacity: 0.15; stroke: none; } .whisker { stroke: #777777; }
""" + "".join(
    f".paint{i} {{ fill: {colour}; }} .line.paint{i} {{ fill: none; stroke: {colour}; }}\n"
    for i, colour in enumerate(PAINTS)
)

Points = Mapping[float, tuple[float, float, float]]  # x to (median, low, high)


def line_chart(title: str, x: str, y: str, lines: Mapping[str, Points], logarithmic: bool = True) -> Chart:
    """A chart of lines with their spread; axes begin and end near the values."""
    xs = [value for points in lines.values() for value in points]
    ys = [value for points in lines.values() for spread in points.values() for value in spread]
    scale = Scale.LOGARITHMIC if logarithmic else Scale.LINEAR
    ends = (min(ys) / 1.3, max(ys) * 1.3) if logarithmic else (0.0, max(ys) * 1.1)
    series = tuple(
        Series(
            label,
            f"paint{number}",
            tuple(points),
            *(tuple(spread[i] for spread in points.values()) for i in range(3)),
        )
        for number, (label, points) in enumerate(lines.items())
    )
    low, high = (min(xs), max(xs)) if logarithmic else (0.0, max(xs))
    return Chart(title, title, Axis(x, low, high, scale=scale), Axis(y, *ends, scale=scale), series)


def sheet(charts: Sequence[Chart], path: Path) -> None:
    """Write charts side by side, each with its title and the names of its lines."""
    tall = HEIGHT + GAP + LEGEND
    rows = -(-len(charts) // COLUMNS)
    root = _root(COLUMNS * (WIDTH + GAP), rows * tall + 2 * GAP)
    for number, chart in enumerate(charts):
        left, top = GAP / 2 + number % COLUMNS * (WIDTH + GAP), GAP + number // COLUMNS * (tall + GAP / 2)
        _text(root, left, top - 14, chart.title, "title")
        drawn = xml.fromstring(chart.svg())
        drawn.attrib |= {
            "x": f"{left:g}",
            "y": f"{top:g}",
            "width": f"{WIDTH:g}",
            "height": f"{HEIGHT:g}",
            "overflow": "visible",
        }
        root.append(drawn)
        place = left + 40
        for series in chart.series:
            _text(root, place, top + HEIGHT + 16, series.label, series.paint)
            place += 8.0 * len(series.label) + 20
    _write(root, path)


def bars(groups: Mapping[str, Mapping[str, float]], unit: str, path: Path) -> None:
    """Write groups of bars: group to name to length. A name keeps its colour in all groups."""
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    paints = {name: f"paint{number % len(PAINTS)}" for number, name in enumerate(names)}
    greatest = max(value for group in groups.values() for value in group.values())
    tall = sum(len(group) * BAR + GAP for group in groups.values())
    root, top = _root(NAMES + LONGEST + 90, tall + GAP), GAP
    for title, group in groups.items():
        _text(root, 8, top - 8, f"{title} ({unit})", "title")
        for name, value in group.items():
            size = {"height": f"{BAR - 4:g}", "width": f"{value / greatest * LONGEST:.1f}"}
            xml.SubElement(root, "rect", {"x": f"{NAMES:g}", "y": f"{top:g}", "class": paints[name], **size})
            _text(root, NAMES - 6, top + BAR - 7, name, "name", "end")
            _text(root, NAMES + value / greatest * LONGEST + 5, top + BAR - 7, f"{value:.2f}", "value")
            top += BAR
        top += GAP
    _write(root, path)


def _root(wide: float, tall: float) -> xml.Element:
    root = xml.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {wide:g} {tall:g}"})
    xml.SubElement(root, "style").text = _STYLE
    xml.SubElement(root, "rect", {"width": "100%", "height": "100%", "fill": "#ffffff"})
    return root


def _text(root: xml.Element, x: float, y: float, text: str, kind: str, anchor: str = "start") -> None:
    place = {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor, "class": kind}
    xml.SubElement(root, "text", place).text = text


def _write(root: xml.Element, path: Path) -> None:
    xml.indent(root, " ")
    path.write_text(xml.tostring(root, encoding="unicode") + "\n")
