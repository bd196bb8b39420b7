"""check_method must refuse a method that breaks a law, and name the law."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from holdfast import losses, modes
from holdfast.attacks import FGSMRS, NFGSM, run
from holdfast.methods import FGSMRSAT, PGDAT, Batch, JacobianRegularisation, Loss, Method
from holdfast.methods.base import search
from holdfast.noise import Noise
from holdfast.testing import check_method
from holdfast.threat import Linf, ThreatModel


class Changed(PGDAT):
    """One-step ADV whose loss is changed after the fact."""

    inner = FGSMRS()

    def changed(self, loss: Loss, model: nn.Module, batch: Batch, threat: ThreatModel) -> Loss:
        return loss

    def loss(self, model: nn.Module, batch: Batch, threat: ThreatModel, *rest: Any) -> Loss:
        return self.changed(super().loss(model, batch, threat, *rest), model, batch, threat)


class IsAVector(Changed):
    def changed(self, loss: Loss, *_: Any) -> Loss:
        return replace(loss, value=loss.value[None])


class IsInfinite(Changed):
    def changed(self, loss: Loss, *_: Any) -> Loss:
        return replace(loss, value=loss.value / 0.0)


class IsHalfPrecision(Changed):
    def changed(self, loss: Loss, *_: Any) -> Loss:
        return replace(loss, value=loss.value.bfloat16())


class HasNoGraph(Changed):
    def changed(self, loss: Loss, *_: Any) -> Loss:
        return replace(loss, value=loss.value.detach())


class KeepsTheGraphInItsParts(Changed):
    def changed(self, loss: Loss, *_: Any) -> Loss:
        return replace(loss, parts={"robust_loss": loss.value})


class CountsInPercent(Changed):
    def changed(self, loss: Loss, *_: Any) -> Loss:
        return replace(loss, parts={"clean_accuracy": torch.tensor(97.0)})


class GoesBackwards(Changed):
    def changed(self, loss: Loss, *_: Any) -> Loss:
        loss.value.backward(retain_graph=True)
        return loss


class StaysInEval(Changed):
    def changed(self, loss: Loss, model: nn.Module, *_: Any) -> Loss:
        model.eval()
        return loss


class AddsAFreePass(Changed):
    def changed(self, loss: Loss, model: nn.Module, batch: Batch, *_: Any) -> Loss:
        with modes.inference(model):
            clean = losses.cross_entropy(model(batch.x), batch.y).mean()
        return replace(loss, value=loss.value + clean)


class DrawsFromTheGlobalGenerator(Changed):
    def changed(self, loss: Loss, *_: Any) -> Loss:
        return replace(loss, value=loss.value * (1.0 + 0.1 * torch.rand(())))


class WritesToTheBatch(Changed):
    def changed(self, loss: Loss, model: nn.Module, batch: Batch, *_: Any) -> Loss:
        batch.x.mul_(0.999)
        return loss


class DividesByEps(Changed):
    def changed(self, loss: Loss, model: nn.Module, batch: Batch, threat: ThreatModel) -> Loss:
        return replace(loss, value=loss.value * (torch.tensor(threat.eps) / threat.eps if threat.eps else torch.nan))


class WeighsTheFirstRowMore(PGDAT):
    def loss(self, model: nn.Module, batch: Batch, threat: ThreatModel, *rest: Any) -> Loss:
        logits = model(search(FGSMRS(), threat, model, batch, rest[-1], True))
        values = losses.cross_entropy(logits, batch.y)
        return Loss(values.mean() + values[0])

    @property
    def passes(self) -> float:
        return 2.0


class SearchesInTrainMode(PGDAT):
    def loss(self, model: nn.Module, batch: Batch, threat: ThreatModel, *rest: Any) -> Loss:
        x_adv = run(FGSMRS(), threat, model, batch.x, batch.y, rest[-1]).x_adv
        return Loss(losses.cross_entropy(model(x_adv), batch.y).mean())

    @property
    def passes(self) -> float:
        return 2.0


class ForgetsTheModel(PGDAT):
    def loss(self, model: nn.Module, batch: Batch, threat: ThreatModel, *rest: Any) -> Loss:
        return Loss(sum((p.square().mean() for p in model.parameters()), torch.zeros(())))


class ChargesTooLittle(FGSMRSAT):
    @property
    def passes(self) -> float:
        return 1.0


class ChargesTooMuch(FGSMRSAT):
    @property
    def passes(self) -> float:
        return 2.0 + 1.0 / 3.0


class OfAGradient(JacobianRegularisation):
    """Double back-propagation, at a price of its own."""

    price = 7.0 / 3.0
    twice = True

    @property
    def passes(self) -> float:
        return self.price

    @property
    def differentiates_twice(self) -> bool:
        return self.twice


class ChargesNothingForIt(OfAGradient):
    price = 5.0 / 3.0


class ChargesForItTwice(OfAGradient):
    price = 3.0


class KeepsItToItself(OfAGradient):
    twice = False


class BoastsOfIt(FGSMRSAT):
    @property
    def differentiates_twice(self) -> bool:
        return True


class HooksItself(PGDAT):
    def loss(self, model: nn.Module, *arguments: Any) -> Loss:
        handle = model.register_forward_hook(lambda *_: None)
        found = super().loss(model, *arguments)
        handle.remove()
        return found


class PenalisesHalfAGradient(Changed):
    def changed(self, loss: Loss, model: nn.Module, batch: Batch, *_: Any) -> Loss:
        x = batch.x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(losses.cross_entropy(model(x), batch.y).sum(), x, create_graph=True)
        return replace(loss, value=loss.value + gradient.square().sum())

    @property
    def passes(self) -> float:
        return super().passes + 7.0 / 3.0

    @property
    def differentiates_twice(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("method", "law"),
    [
        (IsAVector, "the loss is a scalar"),
        (IsInfinite, "the loss is finite"),
        (IsHalfPrecision, "the loss is float32"),
        (HasNoGraph, "the loss has a graph"),
        (KeepsTheGraphInItsParts, "the part robust_loss is detached"),
        (CountsInPercent, r"the part clean_accuracy lies in \[0, 1\]"),
        (GoesBackwards, r"keeps its \.grad"),
        (StaysInEval, "every module keeps its mode"),
        (AddsAFreePass, "`passes` is what a step costs; it says 11, counted are 12"),
        (DrawsFromTheGlobalGenerator, "torch's global generator is not touched"),
        (WritesToTheBatch, "the argument x is not modified"),
        (DividesByEps, "the loss is finite; it is nan"),
        (WeighsTheFirstRowMore, "a permuted batch has the same loss"),
        (
            SearchesInTrainMode,
            "running statistics move in the outer passes in train mode alone; they moved 2 times, in 1",
        ),
        (ForgetsTheModel, "the loss comes from the model"),
        (PenalisesHalfAGradient, "a gradient that is differentiated again is computed outside of autocast"),
        (ChargesTooLittle, "`passes` is what a step costs; it says 1, counted are 2"),
        (ChargesTooMuch, "`passes` is what a step costs; it says 2.333, counted are 2"),
        (ChargesNothingForIt, "`passes` is what a step costs; it says 1.667, counted are 2.333"),
        (ChargesForItTwice, "`passes` is what a step costs; it says 3, counted are 2.333"),
        (KeepsItToItself, "`differentiates_twice` is said where a gradient is"),
        (BoastsOfIt, "`differentiates_twice` is said where a gradient is"),
        (HooksItself, "a method whose loss registers hooks is not `compilable`"),
    ],
)
def test_a_broken_method_is_refused(method: type[Method], law: str) -> None:
    with torch.random.fork_rng(devices=[]), pytest.raises(AssertionError, match=law) as caught:
        check_method(method())
    assert str(caught.value).startswith(method.__name__)


def test_points_out_of_the_ball_are_told() -> None:
    with pytest.raises(AssertionError, match=r"outer points lie in S\(x\); distance up to 0\.\d+"):
        check_method(PGDAT(inner=NFGSM()), threats=[Linf(0.1)])


def test_a_parameter_without_gradient_is_told() -> None:
    class WithASpare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used = nn.Parameter(Noise.of(1, torch.tensor([0])).normal((5, 40))[0])
            self.spare = nn.Parameter(torch.zeros(3))

        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1) @ self.used.T

    with pytest.raises(AssertionError, match="the parameter spare gets a gradient"):
        check_method(FGSMRSAT(), model=WithASpare())
