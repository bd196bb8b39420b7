"""LLR against its formula, worked out here, and what makes it LLR."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from holdfast.attacks import PGD, Adam, CrossEntropy, LinearityGap
from holdfast.attacks.base import evaluate, opening
from holdfast.errors import InvalidInput
from holdfast.methods import LLR, Batch, Progress
from holdfast.noise import Noise
from holdfast.threat import Linf

SIGNS = PGD(steps=3, step_size=0.25)


def each(bench, x: Tensor) -> Tensor:
    """[B] cross-entropies."""
    return F.cross_entropy(bench.model(x), bench.batch.y, reduction="none")


def residual(bench, x_adv: Tensor, gradient: Tensor) -> Tensor:
    x = bench.batch.x
    return each(bench, x_adv) - each(bench, x) - ((x_adv - x) * gradient).sum(dim=1)


def ascent(bench, point: Tensor, exact: bool) -> Tensor:
    """The direction that the search climbs: sign(r) grad l(x'), less sign(r) grad l(x) if exact."""
    here = bench.gradient(bench.batch.x)
    sign = residual(bench, point, here).detach().sign()[:, None]
    return sign * (bench.gradient(point) - (here if exact else 0.0))


def value(bench, x_adv: Tensor, clean: float, gap: float, mu: float) -> Tensor:
    """The loss at the end of a search, the input gradient in its graph."""
    x = bench.batch.x.clone().requires_grad_()
    losses = F.cross_entropy(bench.model(x), bench.batch.y, reduction="none")
    (gradient,) = torch.autograd.grad(losses.sum(), x, create_graph=True)
    linear = ((x_adv - bench.batch.x) * gradient).sum(dim=1)
    rest = each(bench, x_adv) - losses - linear
    return clean * losses.mean() + gap * rest.abs().mean() + mu * linear.abs().mean()


@pytest.mark.parametrize("exact", [False, True])
def test_loss_with_sign_steps(bench, exact: bool) -> None:
    point = bench.threat.sample(bench.batch.x, bench.noise)
    for _ in range(3):
        point = bench.step(point, 0.025, gradient=ascent(bench, point, exact))
    expected = value(bench, point, 2.0, 4.0, 1.2).item()
    assert bench.value(LLR(inner=SIGNS, exact_gradient=exact)) == pytest.approx(expected, rel=1e-12)
    assert bench.value(LLR(inner=SIGNS, exact_gradient=not exact)) != pytest.approx(expected, rel=1e-6)


def test_loss_with_the_release_s_search(bench) -> None:
    """Ten steps of torch's Adam, each row by its own gradient, clipped to the ball and to the box."""
    x = bench.batch.x
    change = (bench.threat.sample(x, bench.noise) - x).requires_grad_()
    optimizer = torch.optim.Adam([change], lr=0.1 * 0.1 * 255 / 8, eps=1e-9, maximize=True)
    for _ in range(10):
        change.grad = ascent(bench, x + change.detach(), exact=False)
        optimizer.step()
        change.data = (x + change.data.clamp(-0.1, 0.1)).clamp(0, 1) - x
    expected = value(bench, x + change.detach(), 2.0, 4.0, 1.2).item()
    assert bench.value(LLR()) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("steps", "value", "norms"),
    [
        (10, 12.139244648012284, (6.031379835157079, 3.8320467999615526)),
        (2, 12.639285310755156, (7.006985116032796, 4.504679810003099)),
    ],
)
def test_loss_is_that_of_the_reference_code(bench, steps: int, value: float, norms: tuple[float, float]) -> None:
    """Golden numbers: `local_linearity` of google-deepmind/local_linearity_regularizer 0471752, with `pgd_attack` and
    `UnrolledAdam` of interval-bound-propagation 217a14d, under TensorFlow in float64 with epsilon 0.1 and
    smoothing_factor 0.3, on this network and from this start in place of `random_uniform`; 2 CE + 4 times its value,
    and the norms of the gradients. Its Adam is given the batch mean's gradients, a sixth of ours, to which the floor of
    1e-9 is not as small: hence the tolerance."""
    loss = bench.loss(LLR(inner=PGD(steps=steps, step_size=1.0, rule=Adam()))).value
    assert loss.item() == pytest.approx(value, rel=1e-8)
    gradients = torch.autograd.grad(loss, list(bench.model.parameters()))
    assert [gradient.norm().item() for gradient in gradients] == pytest.approx(norms, rel=1e-8)


def test_weights(bench) -> None:
    x_adv = bench.threat.sample(bench.batch.x, bench.noise)
    for _ in range(3):
        x_adv = bench.step(x_adv, 0.025, gradient=ascent(bench, x_adv, exact=False))
    for clean, gap, mu in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)):
        expected = value(bench, x_adv, clean, gap, mu).item()
        assert bench.value(LLR(clean, gap, mu, SIGNS)) == pytest.approx(expected, rel=1e-12)


def test_a_linear_loss_has_no_gap() -> None:
    """T1."""

    class Linear(nn.Module):
        """Cross-entropy with class 0 is 1 + <w, x>."""

        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.tensor([0.3, -0.2, 0.1, 0.5], dtype=torch.float64))

        def forward(self, x: Tensor) -> Tensor:
            z = -(1.0 + x @ self.w).expm1().log()
            return torch.stack([z, torch.zeros_like(z)], dim=1)

    x = Noise.of(1, torch.arange(3)).uniform((4,)).double()
    batch = Batch(x, torch.zeros(3, dtype=torch.long), torch.arange(3))
    loss = LLR(0.0, 1.0, 0.0).loss(Linear(), batch, Linf(0.2), None, Progress(0.5, 0, 0, 1), Noise.of(2, batch.index))
    assert loss.value.item() < 1e-14
    assert loss.parts["linear_change"] > 1e-3


def regulariser(bench) -> LLR:
    return LLR(clean_weight=0.0, gap_weight=1.0, mu=0.3, inner=SIGNS)


def test_the_input_gradient_stays_in_the_graph(bench) -> None:
    """T2, on the regulariser alone: the whole loss would hide what detaching does."""
    parameters = list(bench.model.parameters())
    ours = torch.autograd.grad(bench.loss(regulariser(bench)).value, parameters)
    point = bench.threat.sample(bench.batch.x, bench.noise)
    for _ in range(3):
        point = bench.step(point, 0.025, gradient=ascent(bench, point, exact=False))
    whole = torch.autograd.grad(value(bench, point, 0.0, 1.0, 0.3), parameters)
    here = bench.gradient(bench.batch.x)
    linear = ((point - bench.batch.x) * here).sum(dim=1)
    detached = (each(bench, point) - each(bench, bench.batch.x) - linear).abs().mean()
    detached_gradients = torch.autograd.grad(detached, parameters)
    for a, b, c in zip(ours, whole, detached_gradients, strict=True):
        assert torch.allclose(a, b, atol=1e-12)
        assert (a - c).norm() > 0.1 * a.norm()


def test_doubling_the_batch_changes_nothing(bn_cnn: nn.Module, images: Tensor, labels: Tensor) -> None:
    """T3: gradients belong to examples, not to a batch mean; also where BatchNorm takes the batch's statistics."""
    model, images = bn_cnn.double(), images.double()
    values = []
    for copies in (1, 2):
        batch = Batch(images.repeat(copies, 1, 1, 1), labels.repeat(copies), torch.arange(12).repeat(copies))
        progress, noise = Progress(0.5, 0, 5, 10), Noise.of(0, batch.index)
        loss = LLR(inner=SIGNS).loss(copy.deepcopy(model), batch, Linf(0.05), None, progress, noise)
        values.append([loss.value.item(), *(part.item() for part in loss.parts.values())])
    assert values[0] == pytest.approx(values[1], rel=1e-9)
    assert values[0][1] > 1e-4


def test_what_the_search_climbs(bench) -> None:
    """T4: at x the residual's exact gradient is 0 and the released one is that of the loss."""
    x, y, noise = bench.batch.x, bench.batch.y, bench.noise
    clean = evaluate(bench.model, CrossEntropy(), opening(x, y, noise, None, x))
    moved = bench.threat.sample(x, noise)
    there = evaluate(bench.model, CrossEntropy(), opening(x, y, noise, None, moved))
    for exact in (True, False):
        # Lowered by 1, l(x) makes the residual positive, so that its absolute value has its gradient at x too.
        lowered = LinearityGap(clean.value - 1.0, clean.gradient, exact)
        at_x = evaluate(bench.model, lowered, opening(x, y, noise, None, x)).gradient
        torch.testing.assert_close(at_x, torch.zeros_like(x) if exact else clean.gradient)
        found = evaluate(
            bench.model, LinearityGap(clean.value, clean.gradient, exact), opening(x, y, noise, None, moved)
        )
        sign = residual(bench, moved, clean.gradient).detach().sign()[:, None]
        torch.testing.assert_close(found.gradient, sign * (there.gradient - (clean.gradient if exact else 0.0)))


def test_all_points_are_normalised_by_the_clean_batch(bn_cnn: nn.Module, images: Tensor, labels: Tensor) -> None:
    """With the clean batch's statistics as its running ones, a network in eval mode gives every pass's logits."""
    frozen = copy.deepcopy(bn_cnn)
    norms = [layer for layer in frozen.modules() if isinstance(layer, nn.BatchNorm2d)]
    for layer in norms:
        layer.momentum = 1.0
    with torch.no_grad():
        frozen(images)
    for layer, numbers in zip(norms, (12 * 36, 12 * 4), strict=True):
        layer.running_var *= (numbers - 1) / numbers  # running averages are of the unbiased variance
    frozen.eval()
    asked: list[tuple[Tensor, Tensor]] = []
    bn_cnn.register_forward_hook(lambda module, x, logits: asked.append((x[0].detach(), logits.detach())))
    batch, progress, noise = Batch(images, labels, torch.arange(12)), Progress(0.5, 0, 5, 10), Noise.of(0, labels)
    LLR(inner=SIGNS).loss(bn_cnn, batch, Linf(0.05), None, progress, noise)
    assert len(asked) == 5
    for x, logits in asked:
        with torch.no_grad():
            torch.testing.assert_close(logits, frozen(x), atol=1e-5, rtol=1e-4)
    assert [int(layer.num_batches_tracked) for layer in bn_cnn.modules() if isinstance(layer, nn.BatchNorm2d)] == [1, 1]


def test_dropout_is_no_curvature(bench) -> None:
    dropping = nn.Sequential(bench.model[0], nn.Tanh(), nn.Dropout(0.5), bench.model[2])
    loss = LLR(inner=SIGNS).loss(dropping, bench.batch, bench.threat, None, bench.progress, bench.noise)
    assert loss.value.item() == pytest.approx(bench.value(LLR(inner=SIGNS)), rel=1e-12)
    assert dropping[2].training


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"mu is -1\.0"):
        LLR(mu=-1.0)
