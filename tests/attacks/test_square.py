"""Square's moves against slow ones that slice windows, and its laws."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from holdfast.attacks import Square, run, windows
from holdfast.attacks.square import SquareState
from holdfast.errors import InvalidInput
from holdfast.losses import margin
from holdfast.noise import Noise
from holdfast.testing import check_attack
from holdfast.threat import L1, L2, Linf, ThreatModel
from holdfast.typing import Classifier

THREATS = (Linf(0.1), L2(0.6), L1(2.0))
NOISE = Noise.of(1, torch.arange(12))
LABELS = torch.arange(12) % 5


def test_windows_shrink_as_in_the_reference() -> None:
    """The sides at queries 10, 50, ... of 32 x 32 images, of auto-attack a392200."""
    assert [rows for rows, _ in windows.sides(32, 32, 0.8, False)[:8]] == [29, 20, 14, 10, 7, 5, 4, 3]
    assert [rows for rows, _ in windows.sides(28, 28, 0.8, True)[:8]] == [25, 19, 13, 9, 7, 5, 3, 3]
    query = torch.tensor([0, 10, 11, 50, 51, 200, 201, 4000, 4001, 6000, 6001])
    placed = windows.place(query, torch.zeros(11, 2), 32, 32, 0.8, False)
    assert placed.size.tolist() == [0, 0, 1, 1, 2, 2, 3, 6, 7, 7, 8]
    areas = placed.inside.sum(dim=(1, 2, 3)).tolist()
    assert areas == [float(windows.sides(32, 32, 0.8, False)[size][0] ** 2) for size in placed.size.tolist()]


@pytest.mark.parametrize(("height", "width"), [(1, 20), (3, 40), (30, 2), (1, 1)])
def test_windows_of_narrow_images_keep_their_area(height: int, width: int) -> None:
    for halvings, (rows, columns) in enumerate(windows.sides(height, width, 0.8, False)):
        assert 1 <= rows <= height
        assert 1 <= columns <= width
        area = 0.8 / 2**halvings * height * width
        assert abs(rows * columns - max(area, 1.0)) <= rows + columns - 1


@pytest.mark.parametrize("odd", [False, True])
def test_windows_lie_everywhere_in_the_image(odd: bool) -> None:
    draw = Noise.of(3, torch.arange(4000)).uniform((2,))
    placed = windows.place(torch.full((4000,), 1500), draw, 7, 9, 0.8, odd)
    rows, columns = windows.sides(7, 9, 0.8, odd)[5]
    assert (placed.inside.sum(dim=(1, 2, 3)) == rows * columns).all()
    corners = torch.stack([(placed.row == 0).int().argmax(dim=1), (placed.column == 0).int().argmax(dim=1)], dim=1)
    found, counts = corners.unique(dim=0, return_counts=True)
    places = (7 - rows + 1) * (9 - columns + 1)
    assert len(found) == places
    expected = 4000 / places
    assert (counts - expected).abs().max() < 5 * math.sqrt(expected)


def slow_pyramid(height: int, width: int, power: int) -> np.ndarray:
    """Squares that grow by one pixel on each side, each adding 1 / k**power."""
    steps = np.zeros((height, width))
    for k in range(1, max(height, width) // 2 + 2):
        top, left = max(height // 2 - k + 1, 0), max(width // 2 - k + 1, 0)
        steps[top : height // 2 + k, left : width // 2 + k] += k**-power
    return steps / (np.sqrt((steps**2).sum()) if power == 2 else steps.sum())


@pytest.mark.parametrize("power", [2, 4])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 3), (5, 5), (6, 6), (25, 25), (3, 8), (1, 4)])
def test_patterns_are_two_pyramids(height: int, width: int, power: int) -> None:
    upright, sideways = windows.pattern(height, width, power).double().numpy()
    for pattern, (long, wide) in ((upright, (height, width)), (sideways.T, (width, height))):
        parts = [slow_pyramid(long // 2, wide, power)] if long > 1 else []
        expected = np.concatenate([*parts, -slow_pyramid(long - long // 2, wide, power)])
        expected /= np.sqrt((expected**2).sum()) if power == 2 else np.abs(expected).sum()
        np.testing.assert_allclose(pattern, expected, atol=1e-7)


def slow_move(threat: ThreatModel, x: Tensor, x_adv: Tensor, draw: Tensor, query: int, share: float) -> Tensor:
    """The next point of one image, by slicing, as the reference code does it."""
    channels, height, width = x.shape
    signs = torch.where(draw[5:] < 0.5, 1.0, -1.0)[:, None, None]
    size = sum(query > last for last in (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000))
    side = windows.sides(height, width, share, not isinstance(threat, Linf))[size]

    def window(at: Tensor) -> tuple[slice, ...]:
        corner = [int(u * (extent - s + 1)) for u, extent, s in zip(at, (height, width), side, strict=True)]
        return slice(None), *(slice(c, c + s) for c, s in zip(corner, side, strict=True))

    first, second = window(draw[:2]), window(draw[2:4])
    if isinstance(threat, Linf):
        moved = x_adv.clone()
        moved[first] += 2 * threat.eps * signs
        return torch.minimum(torch.maximum(moved, x - threat.eps), x + threat.eps).clamp(threat.low, threat.high)
    order = 2 if isinstance(threat, L2) else 1
    change = x_adv - x
    covered = torch.zeros_like(x)
    covered[first] = 1
    covered[second] = 1
    held = [float((change[c] * covered[c]).norm(order)) for c in range(channels)]
    spare = max(threat.eps**order - float(change.norm(order)) ** order, 0.0) / channels
    pattern = windows.pattern(*side, 2 if order == 2 else 4)[int(draw[4] < 0.5)]
    fresh = []
    for c in range(channels):
        old = change[first][c]
        new = signs[c] * pattern + old / (old.norm(order) + 1e-12)
        mass = math.sqrt(spare + held[c] ** 2) if order == 2 else (spare + held[c]) * channels
        fresh.append(new / new.norm(order) * mass)
    change[second] = 0
    change[first] = torch.stack(fresh)
    if isinstance(threat, L2):
        return (x + threat.eps * change / change.norm()).clamp(threat.low, threat.high)
    return threat.project(x[None], (x + change)[None])[0]


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.norm)
@pytest.mark.parametrize("shape", [(2, 6, 6), (1, 9, 7), (3, 1, 11)])
def test_moves_are_those_of_the_slow_code(threat: ThreatModel, shape: tuple[int, ...]) -> None:
    """Rows of different age in one batch, each with its own window."""
    x = NOISE.fold(3).uniform(shape, -0.2, 1.2).clamp(0, 1)
    attack, weights = Square(), NOISE.fold(9).normal((5, math.prod(shape)))[0]
    state = attack.start(threat, x, LABELS, NOISE)
    state.iteration = torch.tensor([0, 1, 9, 11, 40, 60, 150, 250, 400, 700, 1500, 3000])
    before = state
    for _ in range(3):
        before, state = state, attack.step(threat, lambda z: z.flatten(1) @ weights.T, state)
    for row, (points, query) in enumerate(zip(state.x_adv, before.iteration.tolist(), strict=True)):
        draw = NOISE.fold(before.iteration + 1).uniform((5 + shape[0],))[row]
        expected = slow_move(threat, x[row], points, draw, query, attack.share)
        torch.testing.assert_close(state.point[row], expected, atol=3e-6, rtol=0)


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.norm)
def test_the_margin_never_rises_and_belongs_to_x_adv(threat: ThreatModel, cnn: nn.Module, images: Tensor) -> None:
    with torch.no_grad():
        labels = cnn(images).argmax(dim=1)
    attack = Square(queries=40)
    state = attack.start(threat, images, labels, NOISE)
    history = [state.least]
    for _ in range(attack.budget):
        state = attack.step(threat, cnn, state)
        history.append(state.least)
        with torch.no_grad():
            torch.testing.assert_close(margin(cnn(state.x_adv), labels), state.least)
        assert (state.success == (state.least < 0)).all()
    falls = torch.stack(history).diff(dim=0)
    assert (falls <= 0).all()
    assert (falls[1:] < 0).any(dim=0).float().mean() > 0.8


def test_the_start_in_linf_is_stripes_at_the_ball_s_corners() -> None:
    x = torch.full((12, 3, 6, 8), 0.5)
    point = Square().start(Linf(0.1), x, LABELS, NOISE).point
    assert torch.equal(point, point[:, :, :1].expand_as(point))
    torch.testing.assert_close((point - x).abs(), torch.full_like(x, 0.1))
    stripes = (point[:, :, 0] > x[:, :, 0]).float()
    assert 0.4 < stripes.mean() < 0.6


@pytest.mark.parametrize("threat", [L2(0.6), L1(2.0)], ids=lambda threat: threat.norm)
@pytest.mark.parametrize(("height", "width"), [(28, 28), (32, 32), (11, 20), (3, 4), (1, 17)])
def test_the_start_elsewhere_is_tiles_that_use_up_the_ball(threat: ThreatModel, height: int, width: int) -> None:
    x = torch.full((12, 2, height, width), 0.5)
    point = Square().start(threat, x, LABELS, NOISE).point
    torch.testing.assert_close(threat.distance(x, point), torch.full((12,), threat.eps))
    if isinstance(threat, L2) and height >= 5:
        tile = (point - x)[:, :, (height % 5) // 2 :, (width % 5) // 2 :][:, :, : height // 5, : width // 5]
        pattern = windows.pattern(height // 5, width // 5, 2)
        likeness = torch.einsum("bchw,phw->bcp", tile, pattern).abs() / tile.norm(dim=(2, 3))[:, :, None]
        torch.testing.assert_close(likeness.amax(dim=2), torch.ones(12, 2))


@pytest.mark.parametrize("shape", [(2, 4, 5), (9,), (2, 9)], ids=["images", "tables", "signals"])
def test_the_laws_of_an_attack(shape: tuple[int, ...]) -> None:
    check_attack(Square(queries=15), shape=shape, random=True)


def test_a_window_that_changes_nothing_asks_nothing(cnn: nn.Module, images: Tensor) -> None:
    """And the search goes the way that it goes when everything is asked."""

    class Everything(Square):
        def _ask(self, model: Classifier, state: SquareState) -> tuple[Tensor, Tensor]:
            logits = model(state.point).detach()
            return margin(logits, state.y), logits.argmax(dim=1) != state.y

    asked = {Square: 0, Everything: 0}
    found = {}
    for kind in asked:

        def model(x: Tensor, kind: type[Square] = kind) -> Tensor:
            asked[kind] += len(x)
            return cnn(x)

        y = cnn(images).argmax(dim=1)
        noise = Noise.of(0, torch.arange(len(images)))
        found[kind] = run(kind(queries=300), Linf(0.02), model, images, y, noise)
    assert asked[Everything] == 301 * len(images)
    assert 0.5 < asked[Square] / asked[Everything] < 0.98
    assert torch.equal(found[Square].x_adv, found[Everything].x_adv)
    assert torch.equal(found[Square].least, found[Everything].least)


def test_a_search_never_needs_gradients(images: Tensor) -> None:
    weight = torch.ones(5, 72, requires_grad=True)
    seen = []

    def model(x: Tensor) -> Tensor:
        logits = x.flatten(1) @ weight.T
        seen.append(logits.requires_grad)
        return logits

    run(Square(queries=3), Linf(0.1), model, images, LABELS, NOISE)
    assert seen == [False] * 4


def test_numbers_without_sense_are_refused() -> None:
    with pytest.raises(InvalidInput, match="queries is 0"):
        Square(queries=0)
    with pytest.raises(InvalidInput, match=r"share is 1\.5"):
        Square(share=1.5)
