"""Threat models: laws, hand-made numbers, slow independent projections, the distribution of samples, and refusals."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from holdfast.errors import InvalidInput
from holdfast.noise import Noise
from holdfast.testing import check_threat
from holdfast.threat import L1, L2, Linf, ThreatModel, format_eps, parse_eps, threat

pytestmark = pytest.mark.usefixtures("global_state_rests")

KINDS = (Linf, L2, L1)


@pytest.mark.parametrize("shape", [(6,), (3, 4, 5), (2, 3, 2, 2)], ids=["table", "image", "video"])
@pytest.mark.parametrize(
    "model",
    [
        Linf(8 / 255),
        Linf(1.0),
        Linf(0.5, low=-1.0, high=1.0),
        L2(0.5),
        L2(4.0),
        L2(1.0, low=-1.0, high=2.0),
        L1(2.0),
        L1(12.0),
        L1(0.01),
    ],
    ids=str,
)
def test_laws(model: ThreatModel, shape: tuple[int, ...]) -> None:
    check_threat(model, shape)


@pytest.mark.parametrize(
    ("model", "distance", "steepest"),
    [(Linf(0.3), 0.4, [[1.0, -1.0, 0.0]]), (L2(0.3), 0.5, [[0.6, -0.8, 0.0]]), (L1(0.3), 0.7, [[0.0, -1.0, 0.0]])],
    ids=str,
)
def test_hand_made_numbers(model: ThreatModel, distance: float, steepest: list[list[float]]) -> None:
    x = torch.full((1, 3), 0.5)
    assert model.distance(x, x + torch.tensor([[0.3, -0.4, 0.0]])).item() == pytest.approx(distance)
    assert torch.allclose(model.steepest(torch.tensor([[3.0, -4.0, 0.0]])), torch.tensor(steepest))


@pytest.mark.parametrize(
    ("model", "nearest"),
    [
        (Linf(0.2), [0.7, 0.3, 0.3]),
        # Where the first coordinate meets the box at 1, the other two share what is left of the length.
        (L2(0.6), [1.0, 0.5 - math.sqrt(0.11 / 2), 0.5 - math.sqrt(0.11 / 2)]),
        (L1(0.9), [1.0, 0.3, 0.3]),
    ],
    ids=str,
)
def test_hand_made_projections(model: ThreatModel, nearest: list[float]) -> None:
    x, x_adv = torch.full((1, 3), 0.5), torch.tensor([[5.5, -0.5, -0.5]])
    assert torch.allclose(model.project(x, x_adv), torch.tensor([nearest]), atol=1e-6)


def slow_projection(model: ThreatModel, x: list[float], x_adv: list[float]) -> list[float]:
    """The nearest point of ball and box, by bisection on the multiplier of the ball's constraint."""

    def change(at: float) -> list[float]:
        moved = []
        for clean, attacked in zip(x, x_adv, strict=True):
            d = attacked - clean
            if isinstance(model, Linf):
                d = min(max(d, -model.eps), model.eps)
            elif isinstance(model, L2):
                d /= 1.0 + at
            else:
                d = math.copysign(max(abs(d) - at, 0.0), d)
            moved.append(min(max(clean + d, model.low), model.high) - clean)
        return moved

    def length(move: list[float]) -> float:
        return math.hypot(*move) if isinstance(model, L2) else sum(map(abs, move))

    least, most = 0.0, 0.0
    if not isinstance(model, Linf) and length(change(0.0)) > model.eps:
        most = 1.0
        while length(change(most)) > model.eps:
            most *= 2.0
        for _ in range(200):
            middle = (least + most) / 2.0
            least, most = (middle, most) if length(change(middle)) > model.eps else (least, middle)
    return [clean + d for clean, d in zip(x, change(most), strict=True)]


def coordinates(low: float, high: float) -> st.SearchStrategy[list[float]]:
    # Many equal values, zeros and faces of the box: where sorting has ties.
    return st.lists(st.one_of(st.floats(low, high), st.sampled_from([low, high, 0.0, 0.5])), min_size=5, max_size=5)


@pytest.mark.parametrize("kind", KINDS)
@given(x=coordinates(0.0, 1.0), x_adv=coordinates(-3.0, 3.0), eps=st.floats(0.01, 1.0))
def test_projection_equals_a_slow_one(kind: type[ThreatModel], x: list[float], x_adv: list[float], eps: float) -> None:
    model = kind(eps)
    fast = model.project(torch.tensor([x], dtype=torch.float64), torch.tensor([x_adv], dtype=torch.float64))
    slow = torch.tensor([slow_projection(model, x, x_adv)], dtype=torch.float64)
    assert torch.allclose(fast, slow, atol=1e-9), f"{fast} for {slow}"


@pytest.mark.parametrize("kind", KINDS)
@given(x=coordinates(0.0, 1.0), x_adv=coordinates(-3.0, 3.0), eps=st.floats(0.0, 1.0))
def test_projection_stays_inside_in_float32(
    kind: type[ThreatModel], x: list[float], x_adv: list[float], eps: float
) -> None:
    model, clean = kind(eps), torch.tensor([x])
    projected = model.project(clean, torch.tensor([x_adv]))
    assert model.contains(clean, projected).all()
    assert torch.allclose(model.project(clean, projected), projected, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@given(gradient=coordinates(-1e3, 1e3))
def test_steepest_attains_the_dual_norm(kind: type[ThreatModel], gradient: list[float]) -> None:
    g = torch.tensor([gradient], dtype=torch.float64)
    order = {Linf: 1, L2: 2, L1: math.inf}[kind]
    reached = (g * kind(0.1).steepest(g)).sum().item()
    assert reached == pytest.approx(torch.linalg.vector_norm(g, ord=order).item(), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("eps", [0.5, 1.0])
def test_a_change_that_just_fits_is_kept(eps: float) -> None:
    x = torch.zeros(1, 4)
    one = torch.tensor([[eps, 0.0, 0.0, 0.0]])
    for kind in KINDS:
        assert torch.equal(kind(eps).project(x, one), one)
    spread = torch.full((1, 4), eps / 2)
    assert torch.equal(L2(eps).project(x, spread), spread)


def test_a_ball_larger_than_the_box_leaves_the_box() -> None:
    x, x_adv = torch.tensor([[0.25, 0.5]]), torch.tensor([[7.0, -7.0]])
    for model in (Linf(1.0), L2(10.0), L1(10.0)):
        assert torch.equal(model.project(x, x_adv), torch.tensor([[1.0, 0.0]]))


def test_tiny_gradients_keep_their_direction() -> None:
    gradient = torch.tensor([[3e-30, -4e-30]])
    assert torch.allclose(L2(1.0).steepest(gradient), torch.tensor([[0.6, -0.8]]))
    smallest = torch.tensor([[1e-45, 0.0]])
    assert torch.allclose(L2(1.0).steepest(smallest), torch.tensor([[1.0, 0.0]]))


@pytest.mark.parametrize("model", [kind(0.1) for kind in KINDS], ids=str)
def test_no_examples_are_fine(model: ThreatModel) -> None:
    x = torch.zeros(0, 3, 2, 2)
    noise = Noise.of(0, torch.arange(0))
    assert model.project(x, x).shape == model.sample(x, noise).shape == model.steepest(x).shape == x.shape
    assert model.contains(x, x).shape == (0,)


def drawn(model: ThreatModel, rows: int = 3000, features: int = 4) -> Tensor:
    """Perturbations of a point far from the box's faces."""
    x = torch.zeros(rows, features)
    return model.sample(x, Noise.of(11, torch.arange(rows))).double()


def assert_uniform(values: Tensor) -> None:
    """Kolmogorov's test at 1 in 1,000."""
    ordered, n = values.sort().values, len(values)
    steps = torch.arange(n + 1, dtype=torch.float64) / n
    gap = torch.maximum((ordered - steps[:-1]).abs(), (ordered - steps[1:]).abs()).max().item()
    assert gap * math.sqrt(n) < 1.95


@pytest.mark.parametrize("model", [kind(0.5, -5.0, 5.0) for kind in KINDS], ids=str)
def test_samples_are_uniform_in_the_ball(model: ThreatModel) -> None:
    moves = drawn(model)
    # The share of the volume within radius r is (r / eps) ** D in every norm.
    radius = model.distance(torch.zeros_like(moves), moves) / model.eps
    assert_uniform(radius**4)
    # Symmetric in signs, and no coordinate is preferred.
    assert (moves.mean(dim=0).abs() < 4 * moves.std(dim=0) / math.sqrt(len(moves))).all()
    spread = moves.abs().mean(dim=0)
    assert torch.allclose(spread, spread.mean().expand(4), rtol=0.06)
    # Two coordinates lie on either side of one another equally often.
    ahead = (moves[:, 0].abs() > moves[:, 1].abs()).double().mean().item()
    assert abs(ahead - 0.5) < 2 / math.sqrt(len(moves))


def test_linf_samples_have_uniform_independent_coordinates() -> None:
    moves = drawn(Linf(0.5, -5.0, 5.0)) + 0.5
    for coordinate in moves.T:
        assert_uniform(coordinate)
    assert torch.corrcoef(moves.T).fill_diagonal_(0.0).abs().max() < 4 / math.sqrt(len(moves))


def test_l1_samples_weigh_coordinates_like_a_simplex() -> None:
    # |coordinate| / eps is Beta(1, D): its distribution function is 1 - (1 - t) ** D.
    moves = drawn(L1(0.5, -5.0, 5.0)).abs() / 0.5
    for coordinate in moves.T:
        assert_uniform(1 - (1 - coordinate) ** 4)


def test_without_a_box_the_ball_still_bounds() -> None:
    x = torch.zeros(2, 3)
    for model in (Linf(0.1, -math.inf, math.inf), L2(0.1, -math.inf, math.inf), L1(0.1, -math.inf, math.inf)):
        assert not model.contains(x, x + 0.2).any(), str(model)
        assert model.contains(x, x + 0.03).all(), str(model)


def test_contains_allows_rounding_and_no_more() -> None:
    x = torch.full((1, 784), 0.5)
    for model in (Linf(8 / 255), L2(0.5), L1(12.0)):
        step = model.eps / model.distance(x, x + 1.0).item()
        assert model.contains(x, x + step * (1 + 2e-6)).all(), str(model)
        assert not model.contains(x, x + step * (1 + 2e-4)).any(), str(model)


def test_scaled_stops_where_the_ball_holds_the_box() -> None:
    assert Linf(0.3).scaled(2.0) == Linf(0.6)
    assert Linf(0.7).scaled(2.0) == Linf(1.0)
    assert L2(0.7).scaled(2.0) == L2(1.4)
    with pytest.raises(InvalidInput, match=r"eps is -0\.3"):
        Linf(0.3).scaled(-1.0)


@pytest.mark.parametrize(
    ("text", "value"), [("8/255", 8 / 255), (" 8 / 255 ", 8 / 255), ("0.3", 0.3), ("1e-3", 1e-3), (2, 2.0)]
)
def test_eps_is_read_from_text(text: str | float, value: float) -> None:
    assert parse_eps(text) == pytest.approx(value, rel=1e-15)
    assert threat("l2", text) == L2(value)


@pytest.mark.parametrize(
    ("eps", "text"),
    [
        (8 / 255, "8/255"),
        (0.5 / 255, "0.00196078"),
        (0.031, "0.031"),
        (0.3, "0.3"),
        (0.2, "0.2"),
        (1.0, "1"),
        (0.0, "0"),
        (1e-7, "1e-07"),
        (12.0, "12"),
        (128 / 255, "128/255"),
    ],
)
def test_eps_is_written_as_the_field_does(eps: float, text: str) -> None:
    assert format_eps(eps) == text
    assert str(L2(eps)) == f"L2({text})"
    assert parse_eps(text) == pytest.approx(eps, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("eps", [-0.1, math.nan, math.inf])
def test_radii_that_are_none_are_refused(kind: type[ThreatModel], eps: float) -> None:
    with pytest.raises(InvalidInput, match="a finite number of at least 0"):
        kind(eps)


@pytest.mark.parametrize("eps", ["eight", "8/0", "", "8/255/2"])
def test_text_that_is_no_number_is_refused(eps: str) -> None:
    with pytest.raises(InvalidInput, match=r"write it as 0\.03 or as 8/255"):
        parse_eps(eps)


def test_grey_levels_are_refused_with_the_remedy() -> None:
    with pytest.raises(InvalidInput, match="write 8/255"):
        Linf(8)
    with pytest.raises(InvalidInput, match="unit of the inputs"):
        Linf(300)
    assert Linf(8, low=0.0, high=255.0).eps == 8.0


def test_empty_boxes_and_unknown_norms_are_refused() -> None:
    with pytest.raises(InvalidInput, match="low must be less than high"):
        L2(0.1, low=1.0, high=1.0)
    with pytest.raises(InvalidInput, match="did you mean 'Linf'"):
        threat("Linff", 0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_projected_into_balls_of_their_own(kind: type[ThreatModel]) -> None:
    draw, radius = Noise.of(8, torch.arange(5)), torch.tensor([0.0, 0.02, 0.1, 0.5, 3.0])
    x, change = draw.fold(0).uniform((2, 3, 3)), draw.fold(1).normal((2, 3, 3))
    found = kind(0.3).project_rows(x, change, radius)
    for row in range(5):
        alone = slice(row, row + 1)
        ball = kind(float(radius[row]), low=-100.0, high=100.0).project(x[alone], (x + change)[alone])
        torch.testing.assert_close(found[alone], ball.clamp(0.0, 1.0), rtol=1e-5, atol=1e-6)
