"""CURE's loss against numbers from the authors' repository, and by hand."""

import copy
from dataclasses import replace

import pytest
import torch

from holdfast.errors import InvalidInput
from holdfast.methods import CURE, Batch, Natural, Progress
from holdfast.noise import Noise
from holdfast.threat import Linf

LATE = Progress(fraction=0.9, epoch=9, step=9, steps=10)


@pytest.mark.parametrize(
    ("h", "total", "first", "last"),
    [
        (3.0, 44.96342867615716, 23.932624873976224, 12.08334297037909),
        (0.4, 28.107042002354504, 38.92610073886246, 12.775128422211996),
    ],
)
def test_loss_and_gradient_of_the_reference_code(bench, h: float, total: float, first: float, last: float) -> None:
    """CURELearner.regularizer of CURE_robustness daeef24 (CURE/CURE.py), plus the mean cross-entropy, on this network
    in float64; its criterion sum-reduced, and the calls that today's torch refuses mended (zero_gradients,
    grad_outputs of a scalar). It adds 1e-7 to z and to its length."""
    loss = bench.loss(CURE(weight=4.0, h=h, ramp=0.0)).value
    assert loss.item() == pytest.approx(total, rel=1e-6)
    loss.backward()
    weights = bench.model[0].weight, bench.model[2].weight
    assert [w.grad.norm().item() for w in weights] == pytest.approx([first, last], rel=1e-5)


def by_hand(bench, h: float, power: int) -> float:
    x = bench.batch.x
    here = bench.gradient(x)
    z = h * here.sign() / here.sign().norm(dim=1, keepdim=True)
    return float((bench.gradient(x + z) - here).norm(dim=1).pow(power).mean())


def test_h_rises_and_the_norm_may_be_squared(bench) -> None:
    natural = bench.cross_entropy(bench.batch.x)
    half = Progress(fraction=0.2, epoch=0, step=2, steps=10)  # (0.2 + 0.05) of a ramp of 0.5
    rising = bench.value(CURE(weight=2.0, h=0.4, ramp=0.5), progress=half)
    assert rising == pytest.approx(natural + 2.0 * by_hand(bench, 0.2, 1), rel=1e-9)
    squared = bench.value(CURE(weight=2.0, h=0.4, ramp=0.5, squared=True))
    assert squared == pytest.approx(natural + 2.0 * by_hand(bench, 0.4, 2), rel=1e-9)


def test_training_may_begin_without_the_regulariser(bench) -> None:
    method = CURE(begin=0.5, ramp=0.0)
    early, late = (Progress(fraction, 0, 0, 10) for fraction in (0.49, 0.5))
    assert bench.value(method, progress=early) == bench.value(Natural())
    assert bench.value(method, progress=late) == bench.value(CURE(ramp=0.0))


def test_a_duplicated_batch_has_the_same_loss(bench) -> None:
    """T15: gradients of a batch mean would shrink with the batch, and the regulariser with them."""
    twice = torch.arange(6).repeat(2)
    batch = Batch(bench.batch.x[twice], bench.batch.y[twice], bench.batch.index[twice])
    double = replace(bench, batch=batch, noise=bench.noise.select(twice))
    assert double.value(CURE()) == pytest.approx(bench.value(CURE()), rel=1e-12)


def test_the_regulariser_sees_running_statistics_that_the_step_has_moved(bn_cnn, images, labels) -> None:
    """Cross-entropy in train mode first, then the regulariser in eval mode, as the reference code."""
    moved = copy.deepcopy(bn_cnn)
    modes = []
    bn_cnn.register_forward_hook(lambda module, *_: modes.append(module.training))
    batch = Batch(images, labels, torch.arange(12))
    method = CURE(h=0.3, ramp=0.0)
    parts = method.loss(bn_cnn, batch, Linf(0.1), None, LATE, Noise.of(0, torch.arange(12))).parts
    assert modes == [True, False, False]
    assert bn_cnn.training
    moved(images)
    assert all(torch.equal(*pair) for pair in zip(bn_cnn.buffers(), moved.buffers(), strict=True))
    moved.eval()
    x = images.clone().requires_grad_()

    def gradient(at: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(torch.nn.functional.cross_entropy(moved(at), labels, reduction="sum"), at)[0]

    here = gradient(x)
    z = 0.3 * here.sign() / here.sign().flatten(1).norm(dim=1)[:, None, None, None]
    curvature = (gradient((x + z).detach().requires_grad_()) - here).flatten(1).norm(dim=1).mean()
    assert parts["curvature"].item() == pytest.approx(curvature.item(), rel=1e-4)


def test_examples_without_gradient_do_no_harm(bench) -> None:
    with torch.no_grad():
        for parameter in bench.model.parameters():
            parameter.zero_()
    loss = bench.loss(CURE())
    loss.value.backward()
    assert loss.parts["curvature"] == 0
    assert all(p.grad.isfinite().all() for p in bench.model.parameters())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"weight": -1.0}, "weight is -1"),
        ({"h": 0.0}, "h is 0"),
        ({"ramp": 2.0}, "ramp is 2"),
        ({"begin": -1}, "begin"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options: dict[str, float], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        CURE(**options)
