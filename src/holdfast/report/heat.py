"""A loss surface as a heat map: every grid value a cell, lines of equal loss, borders of the predicted classes."""

from collections.abc import Iterator, Sequence
from math import ceil, isfinite, log10
from xml.etree import ElementTree as xml

import numpy as np
from numpy.typing import NDArray

from holdfast.report.charts import Axis, Scale
from holdfast.report.text import MISSING
from holdfast.results import Surface

SIDE, LEFT, TOP, BELOW = 200.0, 40.0, 8.0, 36.0
NEAREST = 0.1  # of the scale, between two lines of equal loss
BANDS = 32  # shades that the eye is asked to tell apart
LEAST_REGION = 0.04  # of the plane; a smaller region of a class is bordered, but not named

Grid = NDArray[np.float64]
Point = tuple[float, float]


def loss_scale(surfaces: Sequence[Surface]) -> Axis:
    """One scale from 0 to the highest loss of all: the same shade is the same loss wherever it stands on the page."""
    highest = max((float(np.nanmax(s.loss)) for s in surfaces if np.isfinite(s.loss).any()), default=1.0)
    return Axis("loss", 0.0, highest or 1.0, scale=Scale.ROOT)


def levels(scale: Axis) -> list[float]:
    """Round losses, from the highest down to where their lines would crowd: 2, 1, 0.5, 0.2, ..."""
    power = ceil(log10(scale.high))
    kept: list[float] = []
    for value in (step * 10.0**k for k in range(power, power - 4, -1) for step in (5, 2, 1)):
        if value <= scale.high and (kept[-1:] == [] or scale.place(kept[-1]) - scale.place(value) >= NEAREST):
            kept.append(value)
    return [value for value in reversed(kept) if scale.place(value) >= NEAREST]


def draw(surface: Surface, position: int, scale: Axis, classes: Sequence[str]) -> str:
    """The surface of one example as an SVG element; the axes are in units of eps, the example is in the middle."""
    loss, prediction = surface.loss[position], surface.prediction[position]
    shape = f"0 0 {LEFT + SIDE + 10:g} {TOP + SIDE + BELOW:g}"
    svg = xml.Element("svg", {"viewBox": shape, "role": "img", "class": "chart heat"})
    svg.set("aria-label", _description(surface, position, classes))
    _draw_cells(svg, loss, scale)
    for level in levels(scale):
        _path(svg, "level", (f"M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}" for (x0, y0), (x1, y1) in _contour(loss, level)))
    _path(svg, "border", _borders(prediction))
    _draw_names(svg, prediction, classes)
    _draw_axes(svg)
    return xml.tostring(svg, encoding="unicode")


def right_share(surface: Surface, position: int) -> float:
    """On what part of the plane the prediction is the true class."""
    return float((surface.prediction[position] == surface.label[position]).mean())


def _description(surface: Surface, position: int, classes: Sequence[str]) -> str:
    middle = len(surface.offsets) // 2
    here, there = (scale_text(float(surface.loss[position, row, middle])) for row in (middle, -1))
    return (
        f"Loss around example {surface.example[position]}, {classes[int(surface.label[position])]}: "
        f"{here} at the example, {there} at eps along the adversarial direction; the "
        f"prediction is right on {100 * right_share(surface, position):.0f} % of the plane."
    )


def scale_text(loss: float) -> str:
    """A loss as the page writes it: two decimals suffice, but small is not nothing."""
    return MISSING if not isfinite(loss) else "<0.01" if 0 < loss < 0.005 else f"{max(0.0, loss):.2f}"


def _draw_cells(svg: xml.Element, loss: Grid, scale: Axis) -> None:
    bands: dict[int, list[str]] = {}
    cell = SIDE / len(loss)
    for (i, j), value in np.ndenumerate(loss):
        if isfinite(value):
            x, y = LEFT + j * cell, TOP + SIDE - (i + 1) * cell
            # A little wider than the cell, so that no ground shines through between two of them.
            square = f"M{x:.1f} {y:.1f}h{cell + 0.3:.1f}v{cell + 0.3:.1f}h-{cell + 0.3:.1f}z"
            bands.setdefault(ceil(BANDS * scale.place(float(value))), []).append(square)
    for band, squares in sorted(bands.items()):
        path = xml.SubElement(svg, "path", {"class": "shade", "d": "".join(squares)})
        path.set("style", f"--share:{100 * band / BANDS:g}%")


def _place(i: float, j: float, side: int) -> Point:
    """The middle of cell (i, j); rows rise, because the adversarial offset does."""
    cell = SIDE / side
    return LEFT + (j + 0.5) * cell, TOP + SIDE - (i + 0.5) * cell


def _contour(loss: Grid, level: float) -> Iterator[tuple[Point, Point]]:
    """Pieces of the line where the loss, linear between grid points, is `level` (marching squares)."""
    side = len(loss)
    for i in range(side - 1):
        for j in range(side - 1):
            corners = ((i, j), (i, j + 1), (i + 1, j + 1), (i + 1, j))
            crossings = []
            for (a, b), (c, d) in zip(corners, corners[1:] + corners[:1], strict=True):
                one, other = float(loss[a, b]), float(loss[c, d])
                if (one < level) != (other < level) and isfinite(one + other):
                    share = (level - one) / (other - one)
                    crossings.append(_place(a + share * (c - a), b + share * (d - b), side))
            yield from zip(crossings[::2], crossings[1::2], strict=False)


def _borders(prediction: NDArray[np.int64]) -> Iterator[str]:
    """The sides of cells across which the predicted class changes."""
    cell = SIDE / len(prediction)
    for i, j in np.argwhere(prediction[:, 1:] != prediction[:, :-1]):
        yield f"M{LEFT + (j + 1) * cell:.1f} {TOP + SIDE - (i + 1) * cell:.1f}v{cell:.1f}"
    for i, j in np.argwhere(prediction[1:] != prediction[:-1]):
        yield f"M{LEFT + j * cell:.1f} {TOP + SIDE - (i + 1) * cell:.1f}h{cell:.1f}"


def _path(svg: xml.Element, kind: str, pieces: Iterator[str]) -> None:
    if line := "".join(pieces):
        xml.SubElement(svg, "path", {"class": kind, "d": line})


def _draw_names(svg: xml.Element, prediction: NDArray[np.int64], classes: Sequence[str]) -> None:
    """Name each region where it is; the middle of the plane is kept free for the mark of the example."""
    found, counts = np.unique(prediction, return_counts=True)
    side = len(prediction)
    for given in found[counts >= LEAST_REGION * prediction.size] if len(found) > 1 else []:
        cells = np.argwhere(prediction == given)
        inside = cells[np.abs(cells[:, 0] - side // 2) > 1]
        cells = inside if len(inside) else cells
        i, j = cells[np.abs(cells - cells.mean(axis=0)).sum(axis=1).argmin()]
        x, y = _place(float(i), float(j), side)
        _text(svg, classes[int(given)], min(max(x, LEFT + 24), LEFT + SIDE - 24), y + 4, "region", "middle")


def _draw_axes(svg: xml.Element) -> None:
    bottom = TOP + SIDE
    frame = {"x": f"{LEFT:g}", "y": f"{TOP:g}", "width": f"{SIDE:g}", "height": f"{SIDE:g}"}
    xml.SubElement(svg, "rect", {"class": "frame", **frame})
    for share, name in ((0.0, "\N{MINUS SIGN}1"), (0.5, "0"), (1.0, "1")):
        x, y = LEFT + share * SIDE, bottom - share * SIDE
        _text(svg, name, x, bottom + 14, "tick", "middle")
        _text(svg, name, LEFT - 5, y + 4, "tick", "end")
    _text(svg, "random direction, eps", LEFT + SIDE / 2, bottom + 29, "axis", "middle")
    turned = _text(svg, "adversarial direction, eps", 0, 0, "axis", "middle")
    turned.set("transform", f"translate(11 {TOP + SIDE / 2:g}) rotate(-90)")
    x, y = LEFT + SIDE / 2, bottom - SIDE / 2
    xml.SubElement(svg, "circle", {"class": "here", "cx": f"{x:g}", "cy": f"{y:g}", "r": "3.5"})


def _text(svg: xml.Element, text: str, x: float, y: float, kind: str, anchor: str) -> xml.Element:
    element = xml.SubElement(svg, "text", {"class": kind, "x": f"{x:g}", "y": f"{y:g}", "text-anchor": anchor})
    element.text = text
    return element
