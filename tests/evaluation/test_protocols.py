"""What the names of protocols stand for, and that they work with few classes and for randomised models."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from holdfast.attacks import (
    APGD,
    APGDL1,
    DLR,
    FAB,
    PGD,
    SPSA,
    Adam,
    Attack,
    CrossEntropy,
    MultiTargeted,
    Square,
    Steepest,
    TargetedDLR,
)
from holdfast.data import ImageSet
from holdfast.errors import InvalidInput
from holdfast.evaluation import PROTOCOLS, Protocol, evaluate, protocol
from holdfast.models import BlackBox
from holdfast.noise import Noise
from holdfast.results import Severity
from holdfast.threat import L1, L2, Linf, ThreatModel

THREATS = (Linf("8/255"), L2(0.5), L1(12.0))


@pytest.mark.parametrize("threat", [Linf("8/255"), L2(0.5)], ids=str)
def test_autoattack_is_the_standard_version(threat: ThreatModel) -> None:
    """Numbers of auto-attack a392200, version="standard"."""
    found = protocol("autoattack", threat)
    entropy, targeted, boundary, square = found.attacks
    assert [attack.name for attack in found.attacks] == ["apgd-ce", "apgd-t", "fab-t", "square"]
    assert str(found) == "autoattack@standard-2021.09"
    assert entropy == APGD(steps=100, criterion=CrossEntropy(), restarts=1, rho=0.75, momentum=0.25, passes=1)
    assert targeted == APGD(steps=100, criterion=TargetedDLR(), target_classes=9, restarts=1)
    backward = 0.9 if threat.norm == "Linf" else 0.7  # see FAB's docstring
    assert boundary == FAB(steps=100, target_classes=9, bias=0.1, overshoot=1.05, backward=backward, restarts=1)
    assert square == Square(queries=5000, share=0.8, restarts=1)


def test_autoattack_in_l1_has_its_own_numbers() -> None:
    entropy, targeted, boundary, square = protocol("autoattack", L1(12.0)).attacks
    stages = ((3.0, 0.3), (2.0, 0.3), (1.0, 0.4))
    assert entropy == APGDL1(steps=100, restarts=5, stages=stages)
    assert targeted == APGDL1(steps=100, criterion=TargetedDLR(), target_classes=5, stages=stages)
    assert boundary == FAB(backward=0.7)
    assert square == Square()


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_rand_averages_gradients_over_twenty_passes(threat: ThreatModel) -> None:
    found = protocol("rand", threat)
    assert [attack.name for attack in found.attacks] == ["apgd-ce", "apgd-dlr"]
    assert [attack.passes for attack in found.attacks] == [20, 20]
    assert [attack.criterion for attack in found.attacks] == [CrossEntropy(), DLR()]


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_quick_is_the_beginning_of_autoattack(threat: ThreatModel) -> None:
    assert protocol("quick", threat).attacks == protocol("autoattack", threat).attacks[:2]


def test_papers_steps_are_absolute() -> None:
    """Step sizes in units of eps times eps are those of the papers' codes."""
    threat = Linf("8/255")
    weak, margin, targeted = protocol("llr", threat).attacks
    assert weak == PGD(steps=20)
    assert isinstance(margin.rule, Adam)
    assert math.isclose(margin.step_size * threat.eps, 0.1)
    assert isinstance(targeted, MultiTargeted)
    assert math.isclose(targeted.step_size * threat.eps, 0.1)
    for attack, steps in zip(protocol("sprout", threat).attacks, (20, 20, 500), strict=True):
        assert attack.steps == steps
        assert math.isclose(attack.step_size * threat.eps, 0.007)
    first, aimed, long, *rest = protocol("adr", threat).attacks
    assert math.isclose(first.step_size * threat.eps, 2 / 255)
    assert math.isclose(aimed.step_size * threat.eps, 2 / 255)
    assert isinstance(aimed.rule, Steepest)
    assert math.isclose(long.step_size * 0.031, 0.007)
    assert math.isclose(protocol("adr", Linf(0.3)).attacks[2].step_size * 0.3, 0.01)
    assert tuple(rest) == protocol("autoattack", threat).attacks


@pytest.mark.parametrize("name", ["llr", "adr", "sprout"])
def test_papers_protocols_are_for_linf(name: str) -> None:
    for threat in (L2(0.5), Linf(0.0)):
        with pytest.raises(InvalidInput, match=f"{name}.*for Linf with eps above 0.*use autoattack"):
            protocol(name, threat)


def test_every_protocol_has_a_name_of_its_own() -> None:
    found = {name: protocol(name, Linf("8/255")) for name in PROTOCOLS}
    assert {name: made.name for name, made in found.items()} == {name: name for name in PROTOCOLS}


def few_classes(classes: int) -> tuple[nn.Module, ImageSet]:
    """A linear model of few classes and images that it gets right, some of them near its boundaries."""
    with torch.random.fork_rng(devices=[]):
        layer = nn.Linear(36, classes)
    layer.weight.data = Noise.of(1, torch.arange(classes)).normal((36,))
    layer.bias.data = torch.zeros(classes)
    model = nn.Sequential(nn.Flatten(), layer)
    x = Noise.of(2, torch.arange(20)).uniform((1, 6, 6), 0.2, 0.8)
    with torch.no_grad():
        y = model(x).argmax(dim=1)
    return model, ImageSet(x, y, tuple("abc"[:classes]), "few/test")


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("threat", [Linf(0.08), L2(0.4), L1(1.3)], ids=str)
def test_few_classes_are_attacked_by_every_attack(classes: int, threat: ThreatModel) -> None:
    """Each attack alone breaks nearly all that can be broken; Square, blind and cut short here, a third of it."""
    model, images = few_classes(classes)
    weight, bias = model[1].weight.detach(), model[1].bias.detach()
    logits = images.images.flatten(1) @ weight.T + bias
    gap = logits.gather(1, images.labels[:, None]) - logits
    order = {"Linf": 1, "L2": 2, "L1": torch.inf}[threat.norm]
    slope = torch.linalg.vector_norm(weight[images.labels][:, None] - weight[None], order, dim=2)
    own = nn.functional.one_hot(images.labels, classes).bool()
    breakable = (gap < 0.95 * threat.eps * slope).masked_fill(own, False).any(dim=1)
    assert 3 < breakable.sum() < 17, "the fixture must have both outcomes"
    told = []
    for attack in protocol("autoattack", threat).attacks:
        short = Square(queries=300) if isinstance(attack, Square) else attack
        alone = Protocol("alone", "1", (short,))
        result = evaluate(model, images, threat, alone, with_curves=False, progress=False)
        missed = breakable & torch.from_numpy(result.verdicts.robust)
        allowed = 2 * int(breakable.sum()) // 3 if isinstance(attack, Square) else 2
        assert missed.sum() <= allowed, f"{attack.name} missed {int(missed.sum())} of {int(breakable.sum())}"
        told += [(attack.name, found.severity) for found in result.findings if found.kind == "few_classes"]
    assert told == [("apgd-t", Severity.INFO), ("fab-t", Severity.INFO)]


def test_what_few_classes_change_is_told(model: nn.Module, images: ImageSet) -> None:
    def told(model: nn.Module, images: ImageSet, *attacks: Attack[Any]) -> list[str]:
        found = evaluate(model, images, Linf(0.05), Protocol("p", "1", attacks), with_curves=False, progress=False)
        return [finding.evidence for finding in found.findings if finding.kind == "few_classes"]

    targeted = APGD(steps=2, criterion=TargetedDLR(), target_classes=9)
    few = few_classes(3)
    assert told(*few, targeted) == [
        "With 3 classes the DLR loss of apgd-t takes the logits that there are; targets are all other classes "
        "(apgd-t 2 of 9)."
    ]
    assert told(*few, FAB(steps=2, target_classes=2), APGD(steps=2)) == []
    assert told(model, images, targeted) == []


class Noisy(nn.Module):
    """Logits of the model at an input with noise on it, another one at every call."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.calls = model, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.model(x + 0.3 * Noise.of(7, torch.arange(len(x)), self.calls).normal(x.shape[1:]))


def test_rand_sees_through_noise_that_hides_the_gradient() -> None:
    """On cos(40 z) the gradient of one noisy pass points anywhere; its average points where the mean falls."""
    direction = Noise.of(3, torch.arange(1)).normal((36,))[0]

    class Wavy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            z = (x.flatten(1) - 0.5) @ direction
            return torch.stack([torch.zeros_like(z), z + 0.5 * torch.cos(40 * z) - 1.0], dim=1)

    x = torch.full((8, 1, 6, 6), 0.5)
    y, noise = torch.zeros(8).long(), Noise.of(1, torch.arange(8))
    right = direction.sign().reshape(1, 1, 6, 6)
    agreement = []
    for passes in (1, 20):
        attack = APGD(passes=passes)
        state = attack.start(Linf(0.05), x, y, noise)
        gradient = attack.ask(Noisy(Wavy()), state).gradient
        agreement.append(float((gradient * right).flatten(1).sum(dim=1).sign().mean()))
    assert agreement[1] > agreement[0] + 0.4


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_gradient_free_asks_for_logits_alone(threat: ThreatModel) -> None:
    found = protocol("gradient_free", threat)
    assert str(found) == "gradient_free@1"
    assert found.attacks == (Square(queries=5000), SPSA(steps=100, samples=128))
    assert all(attack.gradient_free for attack in found.attacks)
    assert sum(attack.budget * (attack.passes or 0) for attack in found.attacks) == 17_901


def test_a_black_box_falls_to_what_needs_no_gradient_and_is_refused_to_others(
    model: nn.Module, images: ImageSet, robust: Tensor
) -> None:
    box, threat = BlackBox(model, "box", b"digest", takes_tensors=True), Linf(0.05)
    attacks = Square(queries=200), SPSA(steps=10, samples=32)
    found = evaluate(box, images, threat, Protocol("brief", "1", attacks), gallery=0, progress=False)
    assert [finding.kind for finding in found.findings] == ["no_gradient"]
    assert found.curves == ()
    assert found.verdicts.robust_accuracy >= robust.float().mean()
    assert found.verdicts.robust_accuracy < robust.float().mean() + 0.1
    with pytest.raises(InvalidInput, match=r"apgd-ce, apgd-t of protocol quick need its gradients"):
        evaluate(nn.Sequential(box), images, threat, protocol("quick", threat), progress=False)
