"""Transfer: found on the surrogate, judged on the victim."""

import pytest
import torch
from torch import Tensor, nn

from holdfast.attacks import APGD, PGD, TargetedDLR, Transfer, run
from holdfast.data import ImageSet
from holdfast.errors import InvalidInput
from holdfast.evaluation import evaluate
from holdfast.evaluation.protocols import Protocol
from holdfast.noise import Noise
from holdfast.testing import check_attack
from holdfast.testing.subjects import RowExact
from holdfast.threat import Linf

THREAT = Linf(0.15)


class Rounded(nn.Module):
    """A victim whose own gradient is 0 everywhere."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model((x * 15).round() / 15)


@pytest.fixture
def victim(cnn: nn.Module) -> nn.Module:
    return Rounded(cnn).eval()


@pytest.fixture
def split(victim: nn.Module, images: Tensor) -> ImageSet:
    return ImageSet(images, victim(images).argmax(dim=1), tuple("abcde"), "synthetic/test")


def test_the_victim_is_the_judge(victim: nn.Module, cnn: nn.Module, bn_cnn: nn.Module, split: ImageSet) -> None:
    """A near surrogate breaks a victim without gradients, and what fools a foreign one alone does not count."""
    near, foreign = (Transfer(PGD(steps=10), model, label) for model, label in ((cnn, "near"), (bn_cnn, "foreign")))
    masked = evaluate(
        victim,
        split,
        THREAT,
        Protocol("t", "1", (PGD(steps=10, early_stop=True),)),
        with_curves=False,
        gallery=0,
        progress=False,
    )
    outcomes = {}
    for attack in (near, foreign):
        found = evaluate(
            victim, split, THREAT, Protocol("t", "1", (attack,)), with_curves=False, gallery=len(split), progress=False
        )
        assert found.gallery is not None
        x_adv = torch.tensor(found.gallery.x_adv)
        fooled = victim(x_adv).argmax(dim=1) != split.labels
        assert found.verdicts.robust_accuracy == pytest.approx(1.0 - fooled.float().mean().item())
        assert found.passes[attack.name].backward == 0
        assert found.passes[attack.name].forward == len(split), "the judge asks once a search"
        outcomes[attack.label] = found.verdicts.robust_accuracy
    surrogate_fooled = bn_cnn.eval()(x_adv).argmax(dim=1) != split.labels
    assert surrogate_fooled.float().mean() > 1.0 - outcomes["foreign"], "some fool the surrogate alone"
    assert outcomes["near"] < 0.2 < masked.verdicts.robust_accuracy


def test_the_surrogate_is_searched_in_eval_mode_and_left_as_it_was(bn_cnn: nn.Module, images: Tensor) -> None:
    y = torch.zeros(len(images), dtype=torch.int64)
    attack, noise = Transfer(PGD(steps=3), bn_cnn.train()), Noise.of(1, torch.arange(len(images)))
    before = {name: value.clone() for name, value in bn_cnn.state_dict().items()}

    def unasked(x: Tensor) -> Tensor:
        raise AssertionError("the victim was asked")

    found = run(attack, THREAT, unasked, images, y, noise)
    assert all(module.training for module in bn_cnn.modules())
    assert all(torch.equal(value, before[name]) for name, value in bn_cnn.state_dict().items())
    assert all(parameter.grad is None for parameter in bn_cnn.parameters())
    expected = run(PGD(steps=3), THREAT, bn_cnn.eval(), images, y, noise)
    assert torch.equal(found.x_adv, expected.x_adv)
    assert not found.success.any(), "nobody has shown the victim anything"
    assert attack.gradient_free, "of the victim's gradient"


def test_the_record_identifies_the_surrogate(cnn: nn.Module) -> None:
    def same() -> str:
        return repr(Transfer(APGD(), cnn))

    first = same()
    assert first == same()
    assert "0x" not in first
    with torch.no_grad():
        cnn[0].weight[0, 0, 0, 0] += 1e-6
    assert same() != first
    assert Transfer(APGD(), cnn, "natural", restarts=2).name == "transfer-natural-apgd-cex2"
    assert Transfer(APGD(), cnn).name.startswith(f"transfer-{Transfer(APGD(), cnn).weights[:8]}-")


def test_targets_are_passed_on(cnn: nn.Module, images: Tensor) -> None:
    inner = APGD(steps=5, criterion=TargetedDLR(), target_classes=3)
    attack, noise = Transfer(inner, cnn), Noise.of(1, torch.arange(len(images)))
    y = cnn.eval()(images).argmax(dim=1)
    assert attack.targets == 3
    found = run(attack, THREAT, cnn, images, y, noise, (y + 1) % 5)
    assert torch.equal(found.x_adv, run(inner, THREAT, cnn, images, y, noise, (y + 1) % 5).x_adv)


def test_laws() -> None:
    check_attack(Transfer(PGD(steps=4), RowExact((2, 4, 5))), random=True)


def test_a_surrogate_that_is_no_module_needs_a_name(cnn: nn.Module) -> None:
    with pytest.raises(InvalidInput, match="give it a label"):
        Transfer(PGD(), lambda x: cnn(x))
    assert Transfer(PGD(), lambda x: cnn(x), "lambda").name == "transfer-lambda-pgd-10"


def test_restarts_belong_to_the_transfer(cnn: nn.Module) -> None:
    with pytest.raises(InvalidInput, match=r"restarts=5"):
        Transfer(PGD(restarts=5), cnn)
