"""APGD against a slow reference: Algorithm 1 of Croce and Hein (2020), one example at a time, in plain control flow."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from holdfast.attacks import APGD, DLR, CrossEntropy, From, Gaussian, Margin, TargetedDLR, run
from holdfast.attacks.apgd import checkpoints
from holdfast.errors import InvalidInput
from holdfast.noise import Noise
from holdfast.testing import check_attack
from holdfast.threat import L2, Linf, ThreatModel

COUNT, FEATURES, CLASSES = 10, 12, 5


def test_checkpoints() -> None:
    assert checkpoints(100) == (22, 41, 57, 70, 80, 87, 93, 99)
    assert checkpoints(1) == (1,)
    for steps in (5, 10, 20, 50, 300):
        found = checkpoints(steps)
        assert found == tuple(sorted(set(found)))
        assert found[0] == max(int(0.22 * steps), 1)
        assert found[-1] <= steps
        lengths = [b - a for a, b in zip((0, *found), found, strict=False)]
        assert lengths == sorted(lengths, reverse=True)


@dataclass
class Searched:
    """What the reference found for one example, and which of its rules were at work."""

    x_adv: Tensor
    success: bool
    best: float
    oscillations: int
    standstills: int


class Reference:
    """Algorithm 1 with the step size, checkpoint and return rules of its authors' code (a rise count of exactly
    rho * interval halves the step size, and the first checkpoint looks at the rises alone)."""

    def __init__(self, model: nn.Module, threat: ThreatModel, rho: float) -> None:
        self.model, self.threat, self.rho = model, threat, rho

    def project(self, x: Tensor, z: Tensor) -> Tensor:
        eps = self.threat.eps
        if isinstance(self.threat, L2):  # the box is far away
            length = (z - x).norm().item()
            return x + (z - x) * min(1.0, eps / length) if length else x
        return torch.min(torch.max(z, x - eps), x + eps).clamp(0.0, 1.0)

    def direction(self, gradient: Tensor) -> Tensor:
        return gradient / gradient.norm() if isinstance(self.threat, L2) else gradient.sign()

    def ask(self, point: Tensor, y: int) -> tuple[float, Tensor, bool]:
        point = point.clone().requires_grad_()
        logits = self.model(point[None])[0]
        loss = torch.logsumexp(logits, 0) - logits[y]
        loss.backward(inputs=[point])
        assert point.grad is not None
        return loss.item(), point.grad, int(logits.argmax()) != y

    def search(self, x: Tensor, start: Tensor, y: int) -> Searched:
        point, previous = start, start
        loss, gradient, wrong = self.ask(point, y)
        best_point, best_loss, best_gradient = point, loss, gradient
        fooling = point if wrong else None
        history = [loss]
        step_size, reduced, best_at_checkpoint = 2 * self.threat.eps, True, loss
        last_checkpoint, oscillations, standstills = 0, 0, 0
        for k in range(1, 101):
            trial = self.project(x, point + step_size * self.direction(gradient))
            if k > 1:
                trial = self.project(x, point + 0.75 * (trial - point) + 0.25 * (point - previous))
            previous, point = point, trial
            loss, gradient, wrong = self.ask(point, y)
            history.append(loss)
            if wrong:
                fooling = point
            if loss > best_loss:
                best_point, best_loss, best_gradient = point, loss, gradient
            if k in (22, 41, 57, 70, 80, 87, 93, 99):
                rises = sum(history[i] > history[i - 1] for i in range(last_checkpoint + 1, k + 1))
                oscillating = rises <= self.rho * (k - last_checkpoint)
                standing = not reduced and best_loss <= best_at_checkpoint
                oscillations += oscillating
                standstills += standing and not oscillating
                reduced, best_at_checkpoint, last_checkpoint = oscillating or standing, best_loss, k
                if reduced:
                    step_size /= 2
                    point, gradient = best_point, best_gradient
        handed = best_point if fooling is None else fooling
        return Searched(handed, fooling is not None, best_loss, oscillations, standstills)


@pytest.fixture
def network() -> nn.Module:
    """A rough function, on which ascent overshoots."""
    draw = Noise.of(41, torch.tensor([0]))
    with torch.random.fork_rng(devices=[]):
        first, last = nn.Linear(FEATURES, 24, bias=False).double(), nn.Linear(24, CLASSES, bias=False).double()
    first.weight.data = 3.0 * draw.fold(0).normal((24, FEATURES))[0].double()
    last.weight.data = 0.6 * draw.fold(1).normal((CLASSES, 24))[0].double()
    return nn.Sequential(first, nn.Tanh(), last)


@pytest.mark.parametrize("threat", [Linf(0.12), L2(0.5, low=-50.0, high=50.0)], ids=str)
@pytest.mark.parametrize("rho", [0.75, 0.5])
def test_every_example_goes_as_in_the_slow_reference(network: nn.Module, threat: ThreatModel, rho: float) -> None:
    x = Noise.of(42, torch.arange(COUNT)).uniform((FEATURES,)).double()
    with torch.no_grad():
        y = network(x).argmax(dim=1)
    attack, noise = APGD(steps=100, rho=rho), Noise.of(43, torch.arange(COUNT))
    found = run(attack, threat, network, x, y, noise)
    starts = attack.start(threat, x, y, noise).point
    reference = Reference(network, threat, rho)
    expected = [reference.search(x[i], starts[i], int(y[i])) for i in range(COUNT)]
    for i, slow in enumerate(expected):
        assert found.success[i].item() == slow.success, f"example {i}"
        assert torch.allclose(found.x_adv[i], slow.x_adv, atol=1e-9), f"example {i}"
        assert found.best_value[i].item() == pytest.approx(slow.best, abs=1e-9)
    # The rules were at work and both outcomes occurred, or the comparison would show little.
    assert 0 < sum(slow.success for slow in expected) < COUNT
    assert sum(slow.oscillations for slow in expected) > 5
    if rho < 0.75:
        assert sum(slow.standstills for slow in expected) > 2


@pytest.mark.parametrize(
    "attack",
    [
        APGD(steps=10),
        APGD(steps=6, criterion=Margin(), initial=Gaussian(0.1)),
        APGD(steps=6, criterion=DLR()),
        APGD(steps=6, criterion=TargetedDLR(), target_classes=3),
    ],
    ids=lambda attack: attack.name,
)
def test_laws(attack: APGD) -> None:
    check_attack(attack, random=True)


def test_names_and_targets() -> None:
    names = [APGD(criterion=c, target_classes=t).name for c, t in [(CrossEntropy(), 0), (DLR(), 0), (TargetedDLR(), 9)]]
    assert names == ["apgd-ce", "apgd-dlr", "apgd-t"]
    assert APGD(criterion=TargetedDLR(), target_classes=9).targets == 9
    assert APGD(steps=100).budget == 101


def line(z: Tensor) -> Tensor:
    """Two logits of one number; label 0 is right exactly below 0.5 and its loss falls beyond 0.9."""
    rising = torch.where(z < 0.9, z, 1.8 - z)
    return torch.cat([0.5 - rising, rising - 0.5], dim=1)


def test_it_hands_over_the_last_fooling_point_and_else_the_best() -> None:
    y = torch.zeros(2, dtype=torch.int64)
    x = torch.tensor([[0.45], [0.1]])
    found = run(APGD(steps=20, initial=From(x)), Linf(0.2), line, x, y, Noise.of(0, torch.arange(2)))
    assert found.success.tolist() == [True, False]
    assert found.x_adv[0].item() > 0.5
    assert found.x_adv[1].item() == pytest.approx(0.3)
    assert found.best[1].item() == pytest.approx(0.3)


def test_a_start_of_the_callers_own_is_brought_into_the_ball() -> None:
    x = torch.full((1, 1), 0.1)
    start = APGD(initial=From(x + 0.7)).start(Linf(0.2), x, torch.zeros(1, dtype=torch.int64), Noise(torch.zeros(1)))
    assert start.point.item() == pytest.approx(0.3)


def test_a_targeted_search_ends_in_its_own_class(network: nn.Module) -> None:
    x = Noise.of(44, torch.arange(COUNT)).uniform((FEATURES,)).double()
    with torch.no_grad():
        y = network(x).argmax(dim=1)
    attack, noise = APGD(steps=30, criterion=TargetedDLR(), target_classes=4), Noise.of(43, torch.arange(COUNT))
    ended = torch.zeros(CLASSES)
    for step in range(1, CLASSES):
        found = run(attack, Linf(0.6), network, x, y, noise, (y + step) % CLASSES)
        with torch.no_grad():
            ended += ((network(found.x_adv).argmax(dim=1) - y - step) % CLASSES).bincount(minlength=CLASSES)
    # ended[0] counts searches that reached their target; chance would give each of the other classes its share.
    assert ended[0] > 2 * ended[1:].max()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"restarts": 0}, "restarts is 0"),
        ({"criterion": TargetedDLR()}, "needs at least one target class"),
        ({"target_classes": 3}, "the others take none"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        APGD(**options)
