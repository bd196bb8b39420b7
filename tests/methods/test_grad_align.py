"""GradAlign's term against numbers from the authors' code, on top of any method."""

import pytest
import torch
from torch import nn

from holdfast.attacks import FGSM, PGD
from holdfast.errors import InvalidInput
from holdfast.methods import FGSMRSAT, PGDAT, TRADES, Batch, GradAlign, Progress
from holdfast.methods.grad_align import cosines
from holdfast.noise import Noise
from holdfast.threat import Linf

LATE = Progress(fraction=0.9, epoch=9, step=9, steps=10)


def test_loss_and_gradient_of_the_reference_code(bench) -> None:
    """The lines of train.py for --attack fgsm --attack_init zero and get_input_grad of utils.py
    (understanding-fast-adv-training ceed494), on this network in float64 at lambda 0.2, with eta of `bench.noise`."""
    loss = bench.loss(GradAlign())
    loss.value.backward()
    assert loss.value.item() == pytest.approx(6.926135508375161, rel=1e-12)
    assert 0.2 * loss.parts["misalignment"].item() == pytest.approx(0.0012379442327771662, rel=1e-12)
    norms = [bench.model[layer].weight.grad.norm().item() for layer in (0, 2)]
    assert norms == pytest.approx([2.376711248479835, 2.0924495148589415], rel=1e-10)


@pytest.mark.parametrize("inside", [FGSMRSAT(), PGDAT(inner=PGD(steps=2)), TRADES(inner=PGD(steps=2))])
def test_the_term_is_added_to_any_loss(bench, inside) -> None:
    plain, loss = bench.loss(inside), bench.loss(GradAlign(method=inside, weight=3.0))
    expected = plain.value.item() + 3.0 * loss.parts["misalignment"].item()
    assert loss.value.item() == pytest.approx(expected, rel=1e-12)
    assert loss.parts["misalignment"].item() > 1e-3
    assert loss.parts.keys() == {*plain.parts, "misalignment"}
    assert bench.value(GradAlign(method=inside, weight=0.0)) == pytest.approx(plain.value.item(), rel=1e-12)


def test_gradients_of_a_linear_score_are_aligned(linear: nn.Module, images, labels) -> None:
    """T14: with two classes the gradient of a linear model has one direction, whatever the point."""
    two = nn.Sequential(linear, _First())
    batch = Batch(images, labels % 2, torch.arange(12))
    loss = GradAlign().loss(two, batch, Linf(0.3), None, LATE, Noise.of(0, torch.arange(12)))
    assert loss.parts["misalignment"].item() == pytest.approx(0.0, abs=1e-6)


class _First(nn.Module):
    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        return logits[:, :2]


def test_examples_without_gradient_are_left_out(bench) -> None:
    a = torch.tensor([[3.0, 4.0], [0.0, 0.0], [1.0, 0.0]])
    b = torch.tensor([[4.0, 3.0], [1.0, 2.0], [0.0, 0.0]], requires_grad=True)
    cosine, exists = cosines(a, b)
    assert exists.tolist() == [1.0, 0.0, 0.0]
    assert cosine[0].item() == pytest.approx(0.96)
    (cosine * exists).sum().backward()
    assert b.grad is not None
    assert b.grad.isfinite().all()
    with torch.no_grad():
        for parameter in bench.model.parameters():
            parameter.zero_()
    loss = bench.loss(GradAlign())
    assert loss.parts["misalignment"] == 0
    loss.value.backward()
    assert all(p.grad.isfinite().all() for p in bench.model.parameters())


def test_running_statistics_move_in_two_passes(bn_cnn: nn.Module, images, labels) -> None:
    """That of the adversary and that of x + eta, but not that of the constant gradient at x."""
    batch = Batch(images, labels, torch.arange(12))
    GradAlign().loss(bn_cnn, batch, Linf(0.1), None, LATE, Noise.of(0, torch.arange(12)))
    (tracked,) = {int(value) for name, value in bn_cnn.named_buffers() if name.endswith("num_batches_tracked")}
    assert tracked == 2


def test_price_and_default() -> None:
    assert GradAlign().passes == pytest.approx(2 + 10 / 3)
    assert GradAlign(method=PGDAT()).search_passes == 10
    assert GradAlign().method.inner == FGSM()
    with pytest.raises(InvalidInput, match="weight is -1"):
        GradAlign(weight=-1.0)
