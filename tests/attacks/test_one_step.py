"""FGSM, FGSM-RS and N-FGSM: where their one step ends."""

import pytest
import torch
from torch import Tensor, nn

from holdfast.attacks import FGSM, FGSMRS, NFGSM, run
from holdfast.noise import Noise
from holdfast.testing import check_attack
from holdfast.threat import L2, Linf


def test_laws() -> None:
    check_attack(FGSM(), random=False)
    check_attack(FGSMRS(), random=True)
    check_attack(NFGSM(), random=True, leaves_ball=True)


def test_fgsm_is_one_sign_step(cnn: nn.Module, images: Tensor, labels: Tensor) -> None:
    x = images.clone().requires_grad_()
    nn.functional.cross_entropy(cnn(x), labels, reduction="sum").backward(inputs=[x])
    assert x.grad is not None
    expected = (images + 0.1 * x.grad.sign()).clamp(0, 1)
    found = run(FGSM(), Linf(0.1), cnn, images, labels, Noise.of(0, torch.arange(12)))
    assert torch.allclose(found.x_adv, expected, atol=1e-7)


@pytest.fixture
def interior() -> Tensor:
    """Images far enough from the faces of the box for any step of these tests."""
    return Noise.of(8, torch.arange(12)).uniform((2, 6, 6), 0.4, 0.6)


def test_fgsm_rs_ends_on_the_surface(linear: nn.Module, interior: Tensor, labels: Tensor) -> None:
    """T11: inside the ball, and at its faces where the step is twice eps."""
    noise = Noise.of(9, torch.arange(12))
    for attack, least in ((FGSMRS(step_size=2.0), 0.99), (FGSMRS(), 0.55)):
        found = run(attack, Linf(0.1), linear, interior, labels, noise)
        move = (found.x_adv - interior).abs()
        assert move.max() <= 0.1 + 1e-6
        at_face = (move >= 0.1 - 1e-6).float().mean().item()
        assert at_face >= least
        if attack == FGSMRS():
            # From a uniform start u a step of 1.25 eps ends inside the ball exactly where u < -0.25 eps: 3/8 of all.
            assert at_face == pytest.approx(5 / 8, abs=0.06)


def test_fgsm_rs_starts_all_over_the_ball(interior: Tensor, labels: Tensor) -> None:
    start = FGSMRS().start(Linf(0.1), interior, labels, Noise.of(9, torch.arange(12))).point
    move = start - interior
    assert move.abs().max() > 0.099
    assert move.std().item() == pytest.approx(0.2 / 12**0.5, rel=0.1)


def test_n_fgsm_leaves_the_ball_but_not_the_box(linear: nn.Module, interior: Tensor, labels: Tensor) -> None:
    """T12: up to three times eps away."""
    noise = Noise.of(9, torch.arange(12))
    start = NFGSM().start(Linf(0.1), interior, labels, noise).point
    assert 0.19 < (start - interior).abs().max() <= 0.2 + 1e-6
    move = (run(NFGSM(), Linf(0.1), linear, interior, labels, noise).x_adv - interior).abs()
    assert move.max() > 0.25
    assert move.max() <= 0.3 + 1e-6
    # |uniform on (-2, 2) + 1| exceeds 1 for half of all coordinates.
    assert (move > 0.1).float().mean().item() == pytest.approx(0.5, abs=0.06)
    wide = run(NFGSM(), Linf(0.5), linear, interior, labels, noise).x_adv
    assert wide.min() >= 0
    assert wide.max() <= 1
    assert ((wide == 0) | (wide == 1)).float().mean() > 0.4
    # The noise is no wider than the box, and the whole ball of twice eps would be.
    start = NFGSM().start(Linf(0.8), interior, labels, noise).point
    assert start.min() >= 0
    assert start.max() <= 1


def test_in_l2_the_step_has_length_eps(linear: nn.Module, interior: Tensor, labels: Tensor) -> None:
    threat = L2(0.3)
    found = run(FGSM(), threat, linear, interior, labels, Noise.of(9, torch.arange(12)))
    assert torch.allclose(threat.distance(interior, found.x_adv), torch.full((12,), 0.3), atol=1e-6)


def test_names() -> None:
    assert [FGSM().name, FGSMRS().name, NFGSM().name] == ["fgsm", "fgsm-rs", "n-fgsm"]
