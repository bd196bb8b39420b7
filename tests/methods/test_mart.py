"""MART against its reference code, and what makes it MART."""

import pytest
import torch
import torch.nn.functional as F

from holdfast.attacks import PGD, Gaussian
from holdfast.errors import InvalidInput
from holdfast.methods import MART
from holdfast.methods.mart import _boosted_cross_entropy


@pytest.mark.parametrize(
    ("beta", "steps", "size", "value", "norms"),
    [
        (5.0, 10, 7 / 31, 12.5389002900446, (3.623028099004746, 3.35661400649729)),
        (6.0, 10, 7 / 31, 12.671683826784216, (3.7304220996991723, 3.254706658541173)),
        (6.0, 2, 0.5, 12.719846941930705, (3.791461100422491, 3.2765687717290417)),
    ],
)
def test_loss_and_gradient_are_those_of_the_reference_code(
    bench, beta: float, steps: int, size: float, value: float, norms: tuple[float, float]
) -> None:
    """Golden numbers: `mart_loss` of YisenWang/MART 2d83e17, mart.py, run in float64 on this network and batch, with
    this batch's noise in place of `torch.randn`; the norms are of the gradients of the two layers' weights."""
    loss = bench.loss(MART(beta, PGD(steps=steps, step_size=size, initial=Gaussian(0.001)))).value
    assert loss.item() == pytest.approx(value, rel=1e-12)
    gradients = torch.autograd.grad(loss, list(bench.model.parameters()))
    assert [gradient.norm().item() for gradient in gradients] == pytest.approx(norms, rel=1e-11)


def test_the_runner_up_is_never_the_label() -> None:
    """T18: whether the label is the greatest logit or the least, the second logarithm is of another class."""
    logits = torch.tensor([[5.0, 1.0, 0.0], [0.0, 1.0, 5.0]], dtype=torch.float64)
    q = logits.softmax(dim=1)
    runner_up = torch.stack([q[0, 1], q[1, 2]])
    expected = F.cross_entropy(logits, torch.zeros(2, dtype=torch.long), reduction="none") - (1.0001 - runner_up).log()
    assert torch.allclose(_boosted_cross_entropy(logits, torch.zeros(2, dtype=torch.long)), expected, atol=1e-12)


def test_a_certain_wrong_prediction_has_a_finite_loss() -> None:
    """The runner-up's probability rounds to 1 and the label's to 0."""
    logits = torch.tensor([[-200.0, 200.0, 0.0]], requires_grad=True)
    value = _boosted_cross_entropy(logits, torch.tensor([0])).sum()
    (gradient,) = torch.autograd.grad(value, logits)
    assert value.item() == pytest.approx(400.0 + 9.21, abs=0.1)
    assert gradient.isfinite().all()


def test_the_weight_is_differentiated_too(bench) -> None:
    x, y = bench.batch.x, bench.batch.y
    method = MART(inner=PGD(steps=1, step_size=1e-9, initial=Gaussian(0.001)))
    x_adv = (x + 0.001 * bench.noise.normal((10,)).double()).clamp(0, 1)
    x_adv = bench.step(x_adv, 1e-10)
    gradients = []
    for detach in (False, True):
        clean, attacked = bench.model(x), bench.model(x_adv)
        weight = 1.0000001 - clean.softmax(1).gather(1, y[:, None])[:, 0]
        kl = F.kl_div(attacked.log_softmax(1), clean.log_softmax(1), reduction="none", log_target=True).sum(1)
        robust = ((weight.detach() if detach else weight) * kl).mean()
        gradients.append(torch.autograd.grad(robust, list(bench.model.parameters())))
    part = bench.loss(method).parts["robust_loss"].item()
    assert part == pytest.approx(robust.item(), rel=1e-6)
    ours = torch.autograd.grad(
        bench.loss(method).value - bench.loss(MART(0.0, method.inner)).value, list(bench.model.parameters())
    )
    for a, whole, detached in zip(ours, *gradients, strict=True):
        assert torch.allclose(a, 6.0 * whole, rtol=1e-4, atol=1e-9)
        assert not torch.allclose(a, 6.0 * detached, rtol=1e-2, atol=1e-9)


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"beta is -1\.0"):
        MART(beta=-1.0)
