"""Jacobian regularisation against numbers from the authors' code and against the exact norm."""

import pytest
import torch

from holdfast.errors import InvalidInput
from holdfast.methods import JacobianRegularisation
from holdfast.methods.jacobian import squared_norm
from holdfast.noise import Noise


@pytest.mark.parametrize(
    ("projections", "total", "first"),
    [(1, 17.18091897197852, 9.326762034423243), (3, 15.13395831754639, 7.848506754756104)],
)
def test_loss_and_gradient_of_the_reference_code(bench, projections: int, total: float, first: float) -> None:
    """Mean cross-entropy + 0.1 * JacobianReg(n) of jacobian_regularizer 32bb044 (jacobian/jacobian.py), on this network
    in float64, its random vectors replaced by those of `bench.noise`."""
    loss = bench.loss(JacobianRegularisation(weight=0.1, projections=projections)).value
    assert loss.item() == pytest.approx(total, rel=1e-12)
    loss.backward()
    assert bench.model[0].weight.grad.norm().item() == pytest.approx(first, rel=1e-10)


def test_many_projections_give_the_exact_norm(bench) -> None:
    """T13. The exact norm is also the reference's, with n=-1: 2 * 99.93001801133934 in the mean."""
    rows = [torch.autograd.functional.jacobian(bench.model, row[None])[0, :, 0] for row in bench.batch.x]
    exact = torch.stack([row.square().sum() for row in rows])
    assert exact.mean().item() / 2 == pytest.approx(99.93001801133934, rel=1e-12)
    x = bench.batch.x.repeat(2000, 1).requires_grad_()
    estimate = squared_norm(bench.model(x), x, 5, Noise.of(3, torch.arange(len(x)))).detach().reshape(2000, 6).mean(0)
    assert estimate == pytest.approx(exact.numpy(), rel=0.01)


def test_directions_belong_to_examples(bench) -> None:
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    x = bench.batch.x.clone().requires_grad_()
    y = bench.batch.x[order].requires_grad_()
    values = squared_norm(bench.model(x), x, 2, bench.noise)
    permuted = squared_norm(bench.model(y), y, 2, bench.noise.select(order))
    torch.testing.assert_close(permuted, values[order])


def test_the_caller_keeps_its_images(bench) -> None:
    bench.loss(JacobianRegularisation())
    assert not bench.batch.x.requires_grad


@pytest.mark.parametrize(
    ("options", "told"), [({"weight": -0.1}, "weight is -0.1"), ({"projections": 0}, "projections is 0")]
)
def test_settings_that_make_no_sense_are_refused(options: dict[str, float], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        JacobianRegularisation(**options)
