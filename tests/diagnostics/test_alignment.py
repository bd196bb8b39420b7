import numpy as np
import pytest
import torch
from torch import Tensor, nn

from holdfast.data import ImageSet
from holdfast.diagnostics import alignment
from holdfast.diagnostics.alignment import cosine, gradient_alignment
from holdfast.noise import Noise
from holdfast.threat import Linf


def test_cosines_by_hand() -> None:
    first = torch.tensor([[1.0, 0.0], [1.0, 1.0], [1e-30, 0.0], [1.0, 1.0], [3.0, 4.0]])
    second = torch.tensor([[0.0, 2.0], [-1.0, -1.0], [1e-38, 1e-38], [0.0, 0.0], [30.0, 40.0]])
    expected = torch.tensor([0.0, -1.0, 0.5**0.5, torch.nan, 1.0], dtype=torch.float64)
    torch.testing.assert_close(cosine(first, second), expected, equal_nan=True)


def test_a_linear_model_of_two_classes_has_one_direction(inner: ImageSet) -> None:
    with torch.random.fork_rng(devices=[]):
        model = nn.Sequential(nn.Flatten(), nn.Linear(72, 2))
    found = gradient_alignment(model, inner, Linf(0.2))
    np.testing.assert_allclose(found.uniform, 1.0, atol=1e-5)
    np.testing.assert_allclose(found.adversarial, 1.0, atol=1e-5)
    assert found.vanished == 0


def test_a_quadratic_loss_has_the_cosine_of_its_gradients(
    quadratic_loss: nn.Module, bend: Tensor, inner: ImageSet
) -> None:
    threat, x = Linf(0.1), inner.images
    found = gradient_alignment(quadratic_loss, inner, threat, seed=2)
    point = threat.sample(x, Noise.of(2, torch.arange(7), alignment._STREAM))
    expected = cosine(bend * (x - 0.5), bend * (point - 0.5))
    np.testing.assert_allclose(found.uniform, expected.numpy(), atol=1e-4)
    # The loss rises away from 0.5 in every pixel, and so does the gradient: at a corner it keeps its signs.
    corner = cosine(bend * (x - 0.5), bend * (x - 0.5 + 0.1 * (x - 0.5).sign()))
    np.testing.assert_allclose(found.adversarial, corner.numpy(), atol=0.05)
    assert found.mean_uniform == pytest.approx(found.uniform.mean())


def test_gradients_that_vanish_are_counted(loss_model: type, inner: ImageSet) -> None:
    model = loss_model(lambda x: 1.0 + 0.0 * x.flatten(1).sum(dim=1))
    found = gradient_alignment(model, inner, Linf(0.1))
    assert found.vanished == 7
    assert np.isnan(found.mean_uniform)


def test_batches_do_not_matter(bn_cnn: nn.Module, some: ImageSet) -> None:
    whole = gradient_alignment(bn_cnn, some, Linf(0.1))
    assert bn_cnn.training
    parts = gradient_alignment(bn_cnn, some, Linf(0.1), batch_size=5)
    np.testing.assert_allclose(parts.uniform, whole.uniform, atol=1e-4)
    np.testing.assert_allclose(parts.adversarial, whole.adversarial, atol=1e-3)
    assert whole != gradient_alignment(bn_cnn, some, Linf(0.1), seed=1)
