"""MultiTargeted against the closed form on a linear model of five classes."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from holdfast.attacks import MultiTargeted, Steepest, run
from holdfast.data import ImageSet
from holdfast.evaluation.examples import Counted, Examples, Subject, look
from holdfast.evaluation.packing import Decision, PackedSearch
from holdfast.noise import Noise
from holdfast.testing import check_attack
from holdfast.threat import Linf

COUNT, FEATURES, CLASSES = 40, 12, 5
EPS = 0.06


@pytest.fixture
def model() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        layer = nn.Linear(FEATURES, CLASSES)
    layer.weight.data = Noise.of(71, torch.arange(CLASSES)).normal((FEATURES,))
    layer.bias.data = torch.zeros(CLASSES)
    return layer.eval()


@pytest.fixture
def x() -> Tensor:
    """Far from the box."""
    return Noise.of(72, torch.arange(COUNT)).uniform((FEATURES,), 0.3, 0.7)


def worst_gaps(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """[N, K] the greatest z_t - z_y within EPS, exactly; -inf at the label."""
    with torch.no_grad():
        logits, weight = model(x), model.weight
        gap = logits - logits.gather(1, y[:, None])
        reach = EPS * (weight[None] - weight[y][:, None]).abs().sum(dim=2)
    return (gap + reach).scatter(1, y[:, None], -torch.inf)


@pytest.mark.parametrize("attack", [MultiTargeted(early_stop=False), MultiTargeted(early_stop=False, rule=Steepest())])
def test_every_search_ends_at_its_optimum(model: nn.Module, x: Tensor, attack: MultiTargeted) -> None:
    y = model(x).argmax(dim=1)
    best = worst_gaps(model, x, y)
    for step in range(1, CLASSES):
        target = (y + step) % CLASSES
        found = run(attack, Linf(EPS), model, x, y, Noise.of(73, torch.arange(COUNT)), target).x_adv
        logits = model(found).detach()
        reached = logits.gather(1, target[:, None]) - logits.gather(1, y[:, None])
        assert torch.allclose(reached, best.gather(1, target[:, None]), atol=1e-4)


def test_the_evaluator_aims_it_at_every_other_class_and_no_more(model: nn.Module, x: Tensor) -> None:
    """Nine targets are asked for and four exist; the verdict is that of the closed form."""
    y = model(x).argmax(dim=1)
    images = ImageSet(x, y, tuple("abcde"), "synthetic/test")
    counted, examples = Counted(model), Examples(images, torch.device("cpu"))
    attack = MultiTargeted(steps=8)
    clean = look(counted, examples, range(COUNT), 64, attack.targets)
    decisions: dict[int, Decision] = {}

    def note(fallen: Sequence[Decision]) -> None:
        decisions.update({decision.example: decision for decision in fallen})

    PackedSearch(attack, Linf(EPS), Subject(counted, examples, clean.ranking, 0, 16), note).run(range(COUNT))
    broken = torch.tensor([decisions[example].prediction >= 0 for example in range(COUNT)])
    expected = worst_gaps(model, x, y).amax(dim=1) > 0
    assert torch.equal(broken, expected)
    assert 0 < expected.sum() < COUNT
    assert {decision.steps for decision in decisions.values() if decision.prediction < 0} == {4 * 8}


def test_laws() -> None:
    check_attack(MultiTargeted(steps=4), random=True)


def test_name_and_targets() -> None:
    assert MultiTargeted(steps=100, restarts=20).name == "multi-targeted-100x20"
    assert MultiTargeted(target_classes=4).targets == 4
