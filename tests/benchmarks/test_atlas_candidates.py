"""The components that the ablations try keep the laws of methods, and do what they say."""

import pytest
import torch
from benchmarks.atlas_ablations import ALL, CANDIDATES, COMPONENTS
from benchmarks.atlas_candidates import JacobianAtAdversary, MarginPoint, Remembered, ToTheBoundary
from torch import nn

from holdfast.methods import Batch, Method, Progress, Task
from holdfast.noise import Noise
from holdfast.testing import check_method
from holdfast.threat import Linf

CANDIDATE = pytest.mark.parametrize("method", CANDIDATES.values(), ids=CANDIDATES)
X = Noise.of(1, torch.arange(12)).uniform((20,), 0.3, 0.7)


@pytest.fixture
def linear() -> nn.Module:
    layer = nn.Linear(20, 4)
    layer.weight.data = Noise.of(2, torch.arange(4)).normal((20,))
    return layer.eval()


@CANDIDATE
def test_candidates_keep_the_laws(method: Method) -> None:
    check_method(method, threats=[Linf(0.1)], leaves_ball=method is CANDIDATES["adversary: N-FGSM"])


@CANDIDATE
def test_candidates_take_no_more_than_four_passes_and_what_differentiating_twice_costs(method: Method) -> None:
    assert method.passes <= 4.0 + (4 / 3 if method.differentiates_twice else 0.0)


def test_all_rows_have_names_of_their_own() -> None:
    assert list(ALL)[: len(COMPONENTS)] == list(COMPONENTS)
    assert set(CANDIDATES) < set(ALL)


def test_the_radius_leads_to_the_boundary_and_no_further(linear: nn.Module) -> None:
    y = linear(X).argmax(dim=1)
    point = ToTheBoundary().point(Linf(1.0), linear, X, y, X, radius=1.0)
    inside = (point > 0.0).flatten(1).all(dim=1) & (point < 1.0).flatten(1).all(dim=1)
    top = linear(point).topk(2, dim=1).values
    assert inside.any()
    torch.testing.assert_close(top[inside, 0], top[inside, 1], atol=1e-4, rtol=0)
    near = ToTheBoundary().point(Linf(1.0), linear, X, y, X, radius=1e-3)
    assert float((near - X).abs().max()) <= 1e-3 + 1e-6
    other = (y + 1) % 4
    torch.testing.assert_close(ToTheBoundary().point(Linf(1.0), linear, X, other, X, radius=1.0), X)


def test_the_margin_falls_along_its_own_gradient(linear: nn.Module) -> None:
    y = linear(X).argmax(dim=1)
    point = MarginPoint().point(Linf(0.1), linear, X, y, X, radius=0.01)
    before, after = linear(X), linear(point)
    runner_up = before.scatter(1, y[:, None], -torch.inf).argmax(dim=1, keepdim=True)
    gap = [z.gather(1, y[:, None]) - z.gather(1, runner_up) for z in (before, after)]
    assert (gap[1] < gap[0]).all()


def test_a_search_begins_at_the_last_epoch_s_adversary(linear: nn.Module) -> None:
    method = CANDIDATES["adversary: remembered"]
    assert isinstance(method, Remembered)
    state = method.init(linear, Task(classes=4, examples=30, batch_size=12, shape=(20,)))
    batch = Batch(X, linear(X).argmax(dim=1), torch.arange(12) + 5)
    losses = []
    for epoch in range(3):
        progress = Progress(0.9, epoch, epoch, 10)
        noise = Noise.of(3, torch.arange(12))
        losses.append(float(method.loss(linear, batch, Linf(0.05), state, progress, noise).value.detach()))
    assert losses[0] <= losses[1] <= losses[2]
    assert state.seen.sum() == 12  # type: ignore[union-attr, operator]
    change = state.change[5:17].float() * (0.05 / 127)  # type: ignore[index, union-attr]
    assert float(change.abs().max()) <= 0.05 + 1e-6


def test_a_projection_of_a_linear_network_adds_its_weights_in_the_mean(linear: nn.Module) -> None:
    """Averaged over many directions the penalty is half the weights' squared norm, wherever the adversary lies."""
    x = X[:1].repeat(4000, 1)
    batch = Batch(x, linear(x).argmax(dim=1), torch.arange(4000))
    given = linear, batch, Linf(0.1), None, Progress(0.5, 0, 5, 10), Noise.of(4, batch.index)
    without, added = (JacobianAtAdversary(weight=weight).loss(*given).value.detach() for weight in (0.0, 0.01))
    expected = 0.005 * float(linear.weight.detach().square().sum())
    assert float(added - without) == pytest.approx(expected, rel=0.05)
