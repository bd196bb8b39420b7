"""TRADES against its formula, and what makes it TRADES."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from holdfast.attacks import PGD, Gaussian, Margin, Uniform, Zero
from holdfast.errors import InvalidInput
from holdfast.methods import TRADES, Batch, Progress
from holdfast.noise import Noise
from holdfast.threat import Linf


def adversary(bench, steps: int = 10, size: float = 0.025) -> torch.Tensor:
    """Sign ascent on KL(p(x) || p(x_adv)) from x + 0.001 N(0, 1)."""
    x = bench.batch.x
    with torch.no_grad():
        p = bench.model(x).softmax(dim=1)
    point = x + 0.001 * bench.noise.normal((10,)).double()
    for _ in range(steps):
        gradient = bench.gradient(point, lambda logits: F.kl_div(logits.log_softmax(1), p, reduction="sum"))
        point = bench.step(point, size, gradient=gradient)
    return point


@pytest.mark.parametrize("beta", [0.0, 1.0, 6.0])
def test_loss(bench, beta: float) -> None:
    x = bench.batch.x
    expected = bench.cross_entropy(x) + beta * bench.kl(x, adversary(bench))
    assert bench.value(TRADES(beta=beta)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("steps", "size", "beta", "value", "norms"),
    [
        (10, 0.25, 6.0, 6.542463548967314, (2.2584312772920074, 1.293854558826767)),
        (3, 0.4, 1.0, 4.956836020112261, (3.093396426568173, 1.689928475053785)),
    ],
)
def test_loss_is_that_of_the_reference_code(
    bench, steps: int, size: float, beta: float, value: float, norms: tuple[float, float]
) -> None:
    """Golden numbers: `trades_loss` of yaodongyu/TRADES 6e8e11b, trades.py, run in float64 on this network with epsilon
    0.1 and this noise in place of `randn`, and the norms of its gradients towards the two weights."""
    method = TRADES(beta, PGD(steps=steps, step_size=size, initial=Gaussian(0.001)))
    loss = bench.loss(method).value
    assert loss.item() == pytest.approx(value, rel=1e-12)
    gradients = torch.autograd.grad(loss, list(bench.model.parameters()))
    assert [gradient.norm().item() for gradient in gradients] == pytest.approx(norms, rel=1e-12)


def outer(bench, x_adv: torch.Tensor, detach: bool) -> torch.Tensor:
    clean, attacked = bench.model(bench.batch.x), bench.model(x_adv)
    p = clean.detach() if detach else clean
    robust = F.kl_div(attacked.log_softmax(1), p.log_softmax(1), reduction="batchmean", log_target=True)
    return F.cross_entropy(clean, bench.batch.y) + 6.0 * robust


def test_gradients_flow_into_the_clean_prediction(bench) -> None:
    """T8: detaching p(x) is another method."""
    parameters = list(bench.model.parameters())
    x_adv = adversary(bench)
    ours = torch.autograd.grad(bench.loss(TRADES()).value, parameters)
    whole = torch.autograd.grad(outer(bench, x_adv, detach=False), parameters)
    detached = torch.autograd.grad(outer(bench, x_adv, detach=True), parameters)
    for a, b, c in zip(ours, whole, detached, strict=True):
        assert torch.allclose(a, b, atol=1e-12)
        assert (a - c).norm() > 0.05 * a.norm()


def test_without_noise_there_is_nothing_to_climb(bench) -> None:
    """T8: at x itself the divergence has no gradient, which is why the search begins beside it."""
    with torch.no_grad():
        reference = bench.model(bench.batch.x)
    gradient = bench.gradient(
        bench.batch.x,
        lambda logits: F.kl_div(logits.log_softmax(1), reference.log_softmax(1), reduction="sum", log_target=True),
    )
    assert gradient.abs().max() < 1e-14
    one_step = TRADES(inner=PGD(steps=1, step_size=1.0, initial=Gaussian(0.001)))
    assert bench.loss(one_step).parts["robust_loss"] > 1e-3
    still = TRADES(inner=PGD(steps=1, step_size=1e-3, initial=Zero()))
    assert bench.loss(still).parts["robust_loss"] < 1e-5


def test_the_search_climbs_the_divergence_whatever_criterion_it_had(bench) -> None:
    assert bench.value(TRADES(inner=replace(TRADES().inner, criterion=Margin()))) == bench.value(TRADES())
    assert bench.value(TRADES(inner=replace(TRADES().inner, initial=Uniform()))) != bench.value(TRADES())


def test_the_reference_is_the_prediction_of_the_mode_that_searches(bn_cnn, images, labels) -> None:
    """In eval mode the clean prediction that the search leaves must be that of eval mode too: one clean pass without a
    graph, k attacked ones and two outer ones, of which the last two alone are in train mode."""
    with torch.no_grad():
        evaluated = copy.deepcopy(bn_cnn).eval()(images)
    seen = []
    hook = bn_cnn.register_forward_hook(lambda module, asked, logits: seen.append((module.training, asked[0], logits)))
    batch, progress = Batch(images, labels, torch.arange(12)), Progress(0.5, 0, 5, 10)
    short = TRADES(inner=PGD(steps=2, initial=Gaussian(0.001)))
    short.loss(bn_cnn, batch, Linf(0.05), None, progress, Noise.of(0, torch.arange(12)))
    hook.remove()
    assert [training for training, _, _ in seen] == [False, False, False, True, True]
    assert torch.equal(seen[0][1], images)
    assert torch.allclose(seen[0][2], evaluated, atol=1e-6)
    assert not seen[0][2].requires_grad
    assert torch.equal(seen[3][1], images)


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"beta is -1\.0"):
        TRADES(beta=-1.0)
