from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from holdfast.data import ImageSet
from holdfast.errors import InvalidInput
from holdfast.evaluation.examples import Counted
from holdfast.evaluation.preflight import preflight
from holdfast.models import Normalize
from holdfast.threat import L2, Linf, ThreatModel

THREAT = Linf(8 / 255)


class Wrapped(nn.Module):
    """A model with something before and something after it."""

    def __init__(
        self,
        model: nn.Module,
        after: Callable[[Tensor], Tensor] = lambda z: z,
        before: Callable[[Tensor], Tensor] = lambda x: x,
    ) -> None:
        super().__init__()
        self.model, self.after, self.before = model, after, before

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.model(self.before(x)))


def kinds(model: nn.Module, images: ImageSet, threat: ThreatModel = THREAT, was_training: bool = False) -> list[str]:
    x, y = images.images[:30], images.labels[:30]
    with torch.random.fork_rng(devices=[]):
        found = preflight(Counted(model), model, threat, x, y, was_training)
    assert all(finding.evidence and finding.advice for finding in found)
    return [finding.kind for finding in found]


def test_an_ordinary_model_raises_nothing(model: nn.Module, images: ImageSet) -> None:
    assert kinds(model, images) == []


def test_train_mode_is_told(model: nn.Module, images: ImageSet) -> None:
    assert kinds(model, images, was_training=True) == ["train_mode"]


def test_two_normalisations_are_told(model: nn.Module, images: ImageSet) -> None:
    twice = nn.Sequential(Normalize((0.0,) * 20, (1.0,) * 20), Normalize((0.0,) * 20, (1.0,) * 20), model)
    assert kinds(twice, images) == ["normalised_twice"]


@pytest.mark.parametrize(
    ("after", "kind"),
    [
        (lambda z: z.softmax(dim=1), "probabilities"),
        (lambda z: z + 0.01 * torch.randn_like(z), "randomised"),
        (lambda z: z - 0.1 * z.mean(dim=0), "batch_dependent"),
        (lambda z: 1e-12 * z, "vanishing_gradient"),
        (lambda z: 1000 * z, "saturated"),
    ],
)
def test_outputs_are_looked_at(
    model: nn.Module, images: ImageSet, after: Callable[[Tensor], Tensor], kind: str
) -> None:
    assert kind in kinds(Wrapped(model, after=after), images)


def test_a_confident_model_hides_no_gradient(model: nn.Module, images: ImageSet) -> None:
    """Its cross-entropy is flat where it is right, the margin between its logits is not."""
    found = kinds(Wrapped(model, after=lambda z: 6 * z), images)
    x, y = images.images.requires_grad_(), images.labels
    logits = 6 * model(x)
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(logits, y, reduction="sum"), x)
    right = logits.argmax(dim=1) == y
    flat = (gradient[right].abs().amax(dim=1) < 1e-8).float().mean()
    assert 0.1 < flat < 0.5
    assert found == []


@pytest.mark.parametrize(
    ("before", "kind"),
    [
        (lambda x: (x * 16).round() / 16, "vanishing_gradient"),
        (lambda x: x.detach() * 1.0, "no_gradient"),
        (lambda x: x + 0 * (x - x.detach()).sqrt(), "gradient_not_finite"),
    ],
)
def test_gradients_are_looked_at(
    model: nn.Module, images: ImageSet, before: Callable[[Tensor], Tensor], kind: str
) -> None:
    assert kinds(Wrapped(model, before=before), images) == [kind]


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
