"""PGD against a hand-written loop, its early stop and its laws."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from holdfast.attacks import DLR, PGD, CrossEntropy, Divergence, From, Gaussian, Margin, Sphere, Uniform, Zero, run
from holdfast.errors import InvalidInput
from holdfast.losses import kl
from holdfast.noise import Noise
from holdfast.testing import check_attack
from holdfast.threat import L2, Linf


@pytest.mark.parametrize(
    ("attack", "random"),
    [
        (PGD(steps=4), True),
        (PGD(steps=4, initial=Zero(), criterion=DLR()), False),
        (PGD(steps=3, initial=Gaussian(0.01)), True),
        (PGD(steps=4, initial=Sphere(), criterion=Margin(), early_stop=True), True),
        (PGD(steps=4, initial=Gaussian(0.3), criterion=Margin(), early_stop=True), True),
    ],
    ids=["uniform", "zero", "gaussian", "early-stop", "early-stop-from-outside"],
)
def test_laws(attack: PGD, random: bool) -> None:
    check_attack(attack, random=random)


def gradient_of_loss(model: nn.Module, x: Tensor, y: int, loss: str) -> Tensor:
    """Of one example, by plain reverse differentiation."""
    x = x[None].clone().requires_grad_()
    logits = model(x)[0]
    rest = torch.cat([logits[:y], logits[y + 1 :]])
    value = logits.logsumexp(0) - logits[y] if loss == "ce" else rest.max() - logits[y]
    value.backward(inputs=[x])
    assert x.grad is not None
    return x.grad[0]


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("loss", ["ce", "margin"])
def test_every_example_goes_as_in_a_plain_loop(
    cnn: nn.Module, images: Tensor, labels: Tensor, norm: str, loss: str
) -> None:
    model, x, eps = cnn.double(), images.double(), 0.1 if norm == "Linf" else 0.7
    attack = PGD(steps=5, step_size=0.3, criterion=CrossEntropy() if loss == "ce" else Margin())
    threat = Linf(eps) if norm == "Linf" else L2(eps, low=-10.0, high=10.0)
    noise = Noise.of(3, torch.arange(len(x)))
    found = run(attack, threat, model, x, labels, noise).x_adv
    starts = threat.sample(x, noise)
    assert (starts != x).any()
    for i in range(len(x)):
        point = starts[i]
        for _ in range(5):
            gradient = gradient_of_loss(model, point, int(labels[i]), loss)
            if norm == "Linf":
                moved = point + 0.3 * eps * gradient.sign()
                point = torch.min(torch.max(moved, x[i] - eps), x[i] + eps).clamp(0, 1)
            else:
                move = point + 0.3 * eps * gradient / gradient.norm() - x[i]
                point = x[i] + move * min(1.0, eps / move.norm().item())
        assert torch.allclose(found[i], point, atol=1e-9), f"example {i}"


def test_it_climbs_a_divergence_from_given_logits(cnn: nn.Module, images: Tensor, labels: Tensor) -> None:
    with torch.no_grad():
        reference = cnn(images)
    noise, far = Noise.of(3, torch.arange(len(images))), Linf(0.1)
    begin = Gaussian(0.001)(far, images, noise)
    found = run(PGD(steps=5, initial=From(begin), criterion=Divergence(reference)), far, cnn, images, labels, noise)
    with torch.no_grad():
        before, after = kl(reference, cnn(begin)), kl(reference, cnn(found.x_adv))
    assert (after > 100 * before).all()


def line(z: Tensor) -> Tensor:
    """Two logits of one number; label 0 is right exactly below 0.5."""
    return torch.cat([0.5 - z, z - 0.5], dim=1)


def test_early_stop_holds_a_row_where_the_model_is_first_wrong() -> None:
    x, y = torch.tensor([[0.44], [0.1], [0.9]]), torch.zeros(3, dtype=torch.int64)
    noise = Noise.of(0, torch.arange(3))
    held = run(PGD(steps=6, step_size=0.25, initial=Zero(), early_stop=True), Linf(0.2), line, x, y, noise)
    assert held.success.tolist() == [True, False, True]
    assert torch.allclose(held.x_adv, torch.tensor([[0.54], [0.3], [0.9]]))
    full = run(PGD(steps=6, step_size=0.25, initial=Zero()), Linf(0.2), line, x, y, noise)
    assert torch.allclose(full.x_adv, torch.tensor([[0.64], [0.3], [1.0]]))
    assert not full.success.any(), "without early_stop nothing is claimed"


def test_early_stop_holds_no_row_outside_the_ball() -> None:
    x, y = torch.tensor([[0.44]]), torch.zeros(1, dtype=torch.int64)
    attack = PGD(steps=2, initial=From(torch.tensor([[0.99]])), early_stop=True)
    held = run(attack, Linf(0.2), line, x, y, Noise.of(0, torch.arange(1)))
    assert held.x_adv.item() == pytest.approx(0.64)


def test_step_size_is_in_units_of_eps() -> None:
    x, y = torch.full((1, 1), 0.2), torch.zeros(1, dtype=torch.int64)
    for eps in (0.04, 0.4):
        found = run(PGD(steps=1, step_size=0.25, initial=Zero()), Linf(eps), line, x, y, Noise.of(0, torch.arange(1)))
        assert found.x_adv.item() == pytest.approx(0.2 + 0.25 * eps)


def test_names() -> None:
    assert PGD(steps=20, restarts=5).name == "pgd-20x5"
    assert PGD(steps=40, criterion=Margin()).name == "pgd-margin-40"


@pytest.mark.parametrize(
    ("options", "told"),
    [({"steps": 0}, "steps is 0"), ({"step_size": 0.0}, "its unit is eps"), ({"restarts": 0}, "restarts is 0")],
)
def test_settings_that_make_no_sense_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        PGD(**options)


def test_a_uniform_start_needs_a_ball() -> None:
    with pytest.raises(InvalidInput, match=r"use Zero\(\)"):
        Uniform(0.0)


def test_the_first_number_is_that_of_steps() -> None:
    assert PGD(20) == PGD(steps=20, restarts=1)


def test_a_row_whose_success_was_refuted_moves_on(linear: nn.Module, images: Tensor, labels: Tensor) -> None:
    """Whoever judges may see another class than the search did, by rounding; standing still would waste the budget."""
    attack, threat = PGD(steps=3, initial=Zero(), early_stop=True), Linf(0.1)
    wrong = (linear(images).argmax(dim=1) + 1) % 5
    claimed = attack.step(threat, linear, attack.start(threat, images, wrong, Noise.of(0, torch.arange(12))))
    assert claimed.success.all()
    assert torch.equal(attack.step(threat, linear, claimed).point, claimed.point), "what is believed stays"
    refuted = replace(claimed, success=claimed.success & (torch.arange(12) >= 6))
    after = attack.step(threat, linear, refuted)
    moved = (after.point != claimed.point).flatten(1).any(dim=1)
    assert moved.tolist() == [True] * 6 + [False] * 6
    assert after.success.tolist() == [False] * 6 + [True] * 6
    assert attack.step(threat, linear, after).success[:6].any(), "another point may be claimed again"
