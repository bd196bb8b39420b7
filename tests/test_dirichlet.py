"""Dirichlet samples have the distribution's moments and gradients, and belong to their rows."""

import pytest
import torch
from torch import Tensor

from holdfast.dirichlet import dirichlet
from holdfast.noise import Noise

MANY = 20000
NOISE = Noise.of(1, torch.arange(MANY))


@pytest.mark.parametrize(
    "concentration", [(11.0, 1.0, 1.0, 1.0), (0.2, 0.2), (0.5, 3.0, 20.0), (0.05, 1.0)], ids=lambda c: f"{c}"
)
def test_moments(concentration: tuple[float, ...]) -> None:
    c = torch.tensor(concentration, dtype=torch.float64)
    sample = dirichlet(c.expand(MANY, -1), NOISE)
    total = c.sum()
    mean, variance = c / total, c * (total - c) / (total.square() * (total + 1.0))
    assert torch.allclose(sample.sum(dim=1), torch.ones(MANY, dtype=torch.float64), atol=1e-9)
    assert ((sample.mean(dim=0) - mean).abs() < 4.0 * (variance / MANY).sqrt()).all()
    squares = (sample - mean).square()
    assert ((squares.mean(dim=0) - variance).abs() < 4.0 * squares.std(dim=0) / MANY**0.5).all()


def test_pathwise_gradient() -> None:
    """The mean of the samples' gradients is the gradient of the mean: d E[Y_i] / d c_j = (1_ij - E[Y_i]) / total."""
    c = torch.tensor([4.0, 0.8, 2.0], dtype=torch.float64, requires_grad=True)
    weights = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    (gradient,) = torch.autograd.grad((dirichlet(c.expand(MANY, -1), NOISE).mean(dim=0) * weights).sum(), c)
    mean = (c / c.sum()).detach()
    expected = (weights - (weights * mean).sum()) / c.sum().item()
    assert torch.allclose(gradient, expected, atol=0.01)


def test_the_gradient_is_torch_s_own() -> None:
    """That of `torch.distributions.Dirichlet.rsample`, with its sample put in the place of ours."""
    c = torch.tensor([[11.0, 1.0, 0.4], [0.2, 3.0, 7.0]], dtype=torch.float64, requires_grad=True)
    weights = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    ours = dirichlet(c, Noise.of(2, torch.arange(2)))
    (gradient,) = torch.autograd.grad((ours * weights).sum(), c)
    given = torch.distributions.dirichlet._Dirichlet_backward(ours.detach(), c.detach(), weights.expand(2, -1))
    torch.testing.assert_close(gradient, given)


def test_rows_are_their_own(images: Tensor) -> None:
    c = images.flatten(1)[:, :5] + 0.1
    noise = Noise.of(3, torch.arange(12))
    whole = dirichlet(c, noise)
    order = torch.arange(12).flip(0)
    assert torch.equal(dirichlet(c[order], noise.select(order)), whole[order])
    assert torch.equal(dirichlet(c, noise), whole)
    assert not torch.allclose(dirichlet(c, noise.fold(1)), whole)


def test_the_least_concentrations_give_finite_samples_and_gradients() -> None:
    c = torch.full((200, 10), 1e-3, requires_grad=True)
    sample = dirichlet(c, Noise.of(5, torch.arange(200)))
    (gradient,) = torch.autograd.grad(sample.square().sum(), c)
    assert sample.isfinite().all()
    assert gradient.isfinite().all()
    assert torch.allclose(sample.sum(dim=1), torch.ones(200), atol=1e-4)
