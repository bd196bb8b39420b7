import numpy as np
import pytest
import torch
from torch import Tensor, nn

from holdfast.data import ImageSet
from holdfast.diagnostics.surface import loss_surface, unit
from holdfast.errors import InvalidInput
from holdfast.noise import Noise
from holdfast.threat import L1, L2, Linf


def test_a_linear_loss_is_a_plane(linear_loss: nn.Module, slope: Tensor, inner: ImageSet) -> None:
    threat = Linf(0.1)
    found = loss_surface(linear_loss, inner, threat, points=5)
    np.testing.assert_allclose(found.offsets, [-0.1, -0.05, 0.0, 0.05, 0.1], rtol=1e-6)
    assert found.offsets[2] == 0.0
    clean = 1.0 + ((inner.images - 0.5) * slope).flatten(1).sum(dim=1)
    # Along the adversarial direction, the sign of the slope, the loss rises by its l1 norm.
    column = clean[:, None] + torch.tensor(found.offsets) * slope.abs().sum()
    np.testing.assert_allclose(found.loss[:, :, 2], column.numpy(), atol=1e-5)
    np.testing.assert_allclose(np.diff(found.loss, n=2, axis=2), 0.0, atol=2e-6)
    assert np.abs(np.diff(found.loss, axis=2)).max() > 1e-4


def test_the_middle_is_the_clean_input(bn_cnn: nn.Module, some: ImageSet) -> None:
    found = loss_surface(bn_cnn, some, Linf(0.2))
    assert bn_cnn.training
    with torch.no_grad():
        logits = bn_cnn.eval()(some.images)
    loss = nn.functional.cross_entropy(logits, some.labels, reduction="none")
    np.testing.assert_allclose(found.loss[:, 8, 8], loss.numpy(), atol=1e-5)
    assert found.prediction[:, 8, 8].tolist() == logits.argmax(dim=1).tolist()
    assert found.example.tolist() == list(range(12))
    assert found.label.tolist() == some.labels.tolist()
    assert (found.loss[:, 16, 8] > found.loss[:, 8, 8]).all()


def test_points_stay_in_the_box(loss_model: type, some: ImageSet) -> None:
    model = loss_model(lambda x: 1.0 + x.clamp(0.0, 1.0).flatten(1).sum(dim=1) / 9)
    outside = loss_model(lambda x: 1.0 + x.flatten(1).sum(dim=1) / 9)
    ones = ImageSet(some.images, torch.zeros(12, dtype=torch.int64), ("a", "b"), "ones")
    assert loss_surface(model, ones, Linf(0.3), points=3) == loss_surface(outside, ones, Linf(0.3), points=3)


@pytest.mark.parametrize("threat", [Linf(0.1), L2(0.5), L1(4.0)])
def test_directions_have_norm_1(threat: Linf | L2 | L1) -> None:
    direction = Noise.of(0, torch.arange(4)).normal((3, 5))
    length = threat.distance(torch.zeros_like(direction), unit(threat, direction))
    torch.testing.assert_close(length, torch.ones(4))
    assert torch.equal(unit(threat, torch.zeros(2, 3)), torch.zeros(2, 3))
    assert (unit(threat, direction) * direction >= 0).all()


def test_batches_do_not_matter(cnn: nn.Module, some: ImageSet) -> None:
    whole = loss_surface(cnn, some, L2(0.5), points=5)
    parts = loss_surface(cnn, some, L2(0.5), points=5, batch_size=7)
    np.testing.assert_allclose(parts.loss, whole.loss, atol=1e-5)
    assert whole != loss_surface(cnn, some, L2(0.5), points=5, seed=1)


@pytest.mark.parametrize("points", [1, 4])
def test_a_grid_needs_a_middle(cnn: nn.Module, some: ImageSet, points: int) -> None:
    with pytest.raises(InvalidInput, match="odd number"):
        loss_surface(cnn, some, Linf(0.1), points=points)
