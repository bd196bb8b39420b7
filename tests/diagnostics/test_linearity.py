import numpy as np
import pytest
import torch
from torch import Tensor, nn

from holdfast.attacks import CrossEntropy, LinearityGap, Query
from holdfast.attacks.base import evaluate, opening
from holdfast.data import ImageSet
from holdfast.diagnostics.linearity import linearity_gap, local_linearity
from holdfast.noise import Noise
from holdfast.threat import L2, Linf


def test_a_linear_loss_has_no_gap(linear_loss: nn.Module, inner: ImageSet) -> None:
    found = local_linearity(linear_loss, inner, Linf(0.2))
    assert found.gamma.max() < 1e-6
    assert found.linear.shape == (7,)


def test_a_quadratic_loss_has_the_gap_of_the_corners(quadratic_loss: nn.Module, bend: Tensor, inner: ImageSet) -> None:
    found = local_linearity(quadratic_loss, inner, Linf(0.1))
    np.testing.assert_allclose(found.gamma, 0.5 * 0.1**2 * float(bend.sum()), rtol=1e-4)
    # |<d, grad>| at a corner is at most eps times the gradient's l1 norm, grad = bend * (x - 0.5).
    most = 0.1 * (bend * (inner.images - 0.5)).abs().flatten(1).sum(dim=1)
    assert (found.linear <= most.numpy() + 1e-6).all()
    assert (found.linear > 0).all()


def test_the_gap_of_an_even_bend_in_l2(loss_model: type, inner: ImageSet) -> None:
    model = loss_model(lambda x: 1.0 + 3.0 * (x - 0.5).square().flatten(1).sum(dim=1))
    found = local_linearity(model, inner, L2(0.4))
    np.testing.assert_allclose(found.gamma, 3.0 * 0.4**2, rtol=1e-4)


def test_the_search_climbs_the_exact_gradient(cnn: nn.Module, images: Tensor, labels: Tensor) -> None:
    cnn, x, noise = cnn.double(), images.double(), Noise.of(0, torch.arange(12))
    moved = Linf(0.1).sample(x, noise)
    clean = evaluate(cnn, CrossEntropy(), opening(x, labels, noise, None, x))
    there = evaluate(cnn, CrossEntropy(), opening(x, labels, noise, None, moved))
    gap = evaluate(cnn, LinearityGap(clean.value, clean.gradient), opening(x, labels, noise, None, moved))
    rise = there.value - clean.value - ((moved - x) * clean.gradient).flatten(1).sum(dim=1)
    torch.testing.assert_close(gap.value, rise.abs())
    torch.testing.assert_close(gap.gradient, rise.sign()[:, None, None, None] * (there.gradient - clean.gradient))


def test_no_point_of_the_ball_shows_more_than_gamma(cnn: nn.Module, images: Tensor, labels: Tensor) -> None:
    threat, noise = Linf(0.15), Noise.of(0, torch.arange(12))
    gamma, _ = linearity_gap(cnn, threat, images, labels, noise)
    clean = evaluate(cnn, CrossEntropy(), opening(images, labels, noise, None, images))
    gap = LinearityGap(clean.value, clean.gradient)
    for draw in range(50):
        point = threat.sample(images, noise.fold(1, draw))
        with torch.no_grad():
            assert (gap(cnn(point), Query(images, labels, labels, point)) <= gamma + 1e-5).all()


def test_neither_batches_nor_the_model_s_mode_matter(bn_cnn: nn.Module, some: ImageSet) -> None:
    whole = local_linearity(bn_cnn, some, Linf(0.1), seed=3)
    assert bn_cnn.training
    parts = local_linearity(bn_cnn.eval(), some, Linf(0.1), seed=3, batch_size=5)
    np.testing.assert_allclose(parts.gamma, whole.gamma, rtol=1e-3)
    assert whole == local_linearity(bn_cnn, some, Linf(0.1), seed=3)
    assert whole != local_linearity(bn_cnn, some, Linf(0.1), seed=4)
    assert whole.mean == pytest.approx(whole.gamma.mean())
