"""A gallery of defences that hide their gradients: each must be found out, and honest robustness must not be doubted.

All stand on one naturally trained network for digits, which has next to no robustness at this eps.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from holdfast import losses
from holdfast.attacks import APGD, PGD, Square, TargetedDLR, Transfer
from holdfast.data import Digits, ImageSet
from holdfast.evaluation import Protocol, evaluate
from holdfast.methods import PGDAT, Batch, Loss, Natural, Progress
from holdfast.methods.base import mean
from holdfast.models import WongCNN
from holdfast.noise import Noise
from holdfast.recipe import Adam, OneCycle, Recipe
from holdfast.results import Evaluation, Severity
from holdfast.threat import Linf, ThreatModel
from holdfast.training import train

THREAT = Linf(0.15)
# AutoAttack's order with fewer steps and queries, so that the suite stays quick; the findings are the same.
SUITE = Protocol(
    "short", "1", (APGD(steps=30), APGD(steps=30, criterion=TargetedDLR(), target_classes=3), Square(queries=400))
)
DOUBTS = {Severity.WARNING, Severity.ALARM}


class Smoothing(Natural):
    """SPROUT-like: strong label smoothing and Gaussian noise instead of attacks."""

    def loss(
        self,
        model: nn.Module,
        batch: Batch,
        threat: ThreatModel,
        state: nn.Module | None,
        progress: Progress,
        noise: Noise,
    ) -> Loss:
        logits = model(batch.x + 0.1 * noise.normal(batch.x.shape[1:]))
        true, uniform = losses.cross_entropy(logits, batch.y), -logits.log_softmax(dim=1).mean(dim=1)
        return Loss(mean(0.5 * true + 0.5 * uniform))


def recipe(method: Natural | PGDAT) -> Recipe:
    return Recipe(
        method=method,
        threat=THREAT,
        data=Digits(),
        model=WongCNN(),
        optimizer=Adam(lr=5e-3),
        schedule=OneCycle(),
        epochs=12,
        batch_size=64,
        eps_warmup=0.3,
        precision="float32",
        channels_last=False,
        compile=False,
    )


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return Digits().load("test")


@pytest.fixture(scope="module")
def natural(tmp_path_factory: pytest.TempPathFactory) -> nn.Module:
    return train(recipe(Natural()), tmp_path_factory.mktemp("natural") / "run", progress=False).load()


class Defence(nn.Module):
    """A network with something before and after it."""

    def __init__(
        self,
        network: nn.Module,
        before: Callable[[Tensor], Tensor] = lambda x: x,
        after: Callable[[Tensor], Tensor] = lambda z: z,
    ) -> None:
        super().__init__()
        self.network, self.before, self.after = network, before, after

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.network(self.before(x)))


def median(x: Tensor) -> Tensor:
    """A 3 x 3 median filter written outside of torch's graph."""
    padded = nn.functional.pad(x.detach(), (1, 1, 1, 1), mode="replicate")
    return padded.unfold(2, 3, 1).unfold(3, 3, 1).flatten(4).median(dim=4).values


MASKS: dict[str, tuple[Callable[[nn.Module], nn.Module], str]] = {
    "input quantisation": (lambda f: Defence(f, before=lambda x: (x * 7).round() / 7), "vanishing_gradient"),
    "temperature": (lambda f: Defence(f, after=lambda z: 1e4 * z), "saturated"),
    "saturating activation": (lambda f: Defence(f, after=lambda z: (20 * z).sigmoid() * 50), "vanishing_gradient"),
    "random noise": (lambda f: Defence(f, before=lambda x: x + 0.1 * torch.randn_like(x)), "randomised"),
    "non-differentiable preprocessing": (lambda f: Defence(f, before=median), "no_gradient"),
}


def measure(model: nn.Module, images: ImageSet) -> Evaluation:
    with torch.random.fork_rng(devices=[]):
        return evaluate(model.eval(), images, THREAT, SUITE, n=100, progress=False, gallery=0)


@pytest.mark.parametrize("name", MASKS)
def test_masked_gradients_are_found_out(natural: nn.Module, images: ImageSet, name: str) -> None:
    build, kind = MASKS[name]
    evaluation = measure(build(natural), images)
    found = {finding.kind: finding for finding in evaluation.findings}
    assert kind in found, found
    assert found[kind].severity in DOUBTS


def test_adversaries_of_another_model_are_evidence(natural: nn.Module, images: ImageSet) -> None:
    masked, suite = MASKS["input quantisation"][0](natural), (APGD(steps=10), Transfer(PGD(20), natural))
    with torch.random.fork_rng(devices=[]):
        found = evaluate(masked.eval(), images, THREAT, Protocol("t", "1", suite), n=100, progress=False, gallery=0)
    assert "transfer_beats_gradients" in [finding.kind for finding in found.findings]


def test_robustness_by_label_smoothing_is_doubted(images: ImageSet, tmp_path: Path) -> None:
    model = train(recipe(Smoothing()), tmp_path / "run", progress=False).load()
    evaluation = measure(model, images)
    assert any(finding.severity in DOUBTS for finding in evaluation.findings), evaluation.verdicts.cumulated()


def test_honest_models_are_not_doubted(natural: nn.Module, images: ImageSet, tmp_path: Path) -> None:
    robust = train(recipe(PGDAT(inner=replace(PGDAT().inner, steps=5))), tmp_path / "run", progress=False).load()
    for model, least in ((robust, 0.4), (natural, 0.0)):
        evaluation = measure(model, images)
        assert evaluation.verdicts.robust_accuracy >= least
        assert [finding.kind for finding in evaluation.findings] == []
