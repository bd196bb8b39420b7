from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from holdfast.data import ImageSet
from holdfast.errors import InvalidInput
from holdfast.evaluation import findings
from holdfast.evaluation.examples import Counted
from holdfast.results import Curve
from holdfast.threat import L2, Linf, ThreatModel


class Wrapped(nn.Module):
    """A model whose logits pass through a function."""

    def __init__(self, model: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.model, self.change = model, change

    def forward(self, x: Tensor) -> Tensor:
        return self.change(self.model(x))


def kinds(model: nn.Module, images: ImageSet, threat: ThreatModel, was_training: bool = False) -> list[str]:
    with torch.random.fork_rng(devices=[]):
        found = findings.preflight(Counted(model), threat, images.images[:8], was_training)
    assert all(finding.evidence and finding.advice for finding in found)
    return [finding.kind for finding in found]


def test_an_ordinary_model_raises_nothing(model: nn.Module, images: ImageSet) -> None:
    assert kinds(model, images, Linf(8 / 255)) == []


def test_train_mode_is_told(model: nn.Module, images: ImageSet) -> None:
    assert kinds(model, images, Linf(0.3), was_training=True) == ["train_mode"]


def test_probabilities_are_found(model: nn.Module, images: ImageSet) -> None:
    assert kinds(Wrapped(model, lambda z: z.softmax(dim=1)), images, Linf(0.3)) == ["probabilities"]


def test_randomness_is_found(model: nn.Module, images: ImageSet) -> None:
    assert kinds(Wrapped(model, lambda z: z + 0.01 * torch.randn_like(z)), images, Linf(0.3)) == ["randomised"]


def test_dependence_on_the_batch_is_found(model: nn.Module, images: ImageSet) -> None:
    assert kinds(Wrapped(model, lambda z: z - 0.1 * z.mean(dim=0)), images, Linf(0.3)) == ["batch_dependent"]


@pytest.mark.parametrize(
    ("threat", "found"),
    [(Linf(0.031), True), (Linf("8/255"), False), (Linf(0.1), False), (L2(0.5), False), (L2(0.51), True)],
)
def test_an_eps_beside_the_usual_one_is_told(
    model: nn.Module, images: ImageSet, threat: ThreatModel, found: bool
) -> None:
    assert kinds(model, images, threat) == (["eps_not_standard"] if found else [])


def test_inputs_outside_the_box_are_refused(model: nn.Module, images: ImageSet) -> None:
    with pytest.raises(InvalidInput, match=r"inputs lie in .*outside the threat model's box \[0, 0.5\]"):
        kinds(model, images, Linf(0.1, high=0.5))


def test_accuracy_that_does_not_fall_at_large_eps_is_an_alarm() -> None:
    masked = Curve("eps", "eps", (0.0, 0.3, 0.5), (90, 80, 70), 100, "pgd-20")
    honest = Curve("eps", "eps", (0.0, 0.3, 0.5), (90, 80, 10), 100, "pgd-20")
    assert [finding.kind for finding in findings.after([masked], Linf(0.3), 10)] == ["robust_at_large_eps"]
    assert findings.after([honest], Linf(0.3), 10) == []
    assert findings.after([masked], L2(0.5), 10) == []
