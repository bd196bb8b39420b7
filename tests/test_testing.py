"""The conformance checks must refuse what breaks a law, and name the law."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from holdfast import losses, modes
from holdfast.attacks import FGSM, FGSMRS, NFGSM, PGD, State, Zero, run
from holdfast.methods import FGSMRSAT, PGDAT, Batch, Loss
from holdfast.methods.base import search
from holdfast.noise import Noise
from holdfast.testing import check_attack, check_method, check_threat
from holdfast.threat import L1, L2, Linf, ThreatModel

# ---------------------------------------------------------------- threat models


class ForgetsTheBox(Linf):
    def project(self, x: Tensor, x_adv: Tensor) -> Tensor:
        return torch.maximum(torch.minimum(x_adv, x + self.eps), x - self.eps)


class ClipsAfterScaling(L2):
    """The usual two projections in a row: inside, but not nearest."""

    def project(self, x: Tensor, x_adv: Tensor) -> Tensor:
        move = x_adv - x
        length = move.flatten(1).norm(dim=1).clamp(min=1e-12).reshape(-1, *[1] * (x.dim() - 1))
        return (x + move * (self.eps / length).clamp(max=1.0)).clamp(self.low, self.high)


class GoesHalfWay(Linf):
    def project(self, x: Tensor, x_adv: Tensor) -> Tensor:
        return (x + super().project(x, x_adv)) / 2


class WritesToItsArgument(Linf):
    def project(self, x: Tensor, x_adv: Tensor) -> Tensor:
        return x_adv.copy_(super().project(x, x_adv))


class SamplesFromOutside(L2):
    def sample(self, x: Tensor, noise: Noise) -> Tensor:
        return Linf(min(self.eps, 1.0)).sample(x, noise)


class SamplesGlobally(Linf):
    def sample(self, x: Tensor, noise: Noise) -> Tensor:
        return self.project(x, x + self.eps * (2 * torch.rand_like(x) - 1))


class SamplesForTheWholeBatch(Linf):
    def sample(self, x: Tensor, noise: Noise) -> Tensor:
        return super().sample(x, replace(noise, keys=noise.keys + noise.keys.cumsum(0)))


class SamplesTheSameForAll(Linf):
    def sample(self, x: Tensor, noise: Noise) -> Tensor:
        return self.project(x, x + self.eps / 2)


class FollowsTheGradient(L2):
    def steepest(self, gradient: Tensor) -> Tensor:
        return gradient


class FollowsTheSigns(L2):
    def steepest(self, gradient: Tensor) -> Tensor:
        return gradient.sign() / gradient[0].numel() ** 0.5


class SquaresSmallGradients(L2):
    def steepest(self, gradient: Tensor) -> Tensor:
        length = gradient.flatten(1).square().sum(dim=1).sqrt().clamp(min=1e-12)
        return gradient / length.reshape(-1, *[1] * (gradient.dim() - 1))


class HoldsWhatIsOutsideTheBox(Linf):
    def contains(self, x: Tensor, x_adv: Tensor) -> Tensor:
        return self.distance(x, x_adv) <= self.eps + 1e-6


class HoldsNaN(Linf):
    def contains(self, x: Tensor, x_adv: Tensor) -> Tensor:
        outside = ((x_adv < self.low - 1e-6) | (x_adv > self.high + 1e-6)).flatten(1).any(dim=1)
        return ~((self.distance(x, x_adv) > self.eps + 1e-6) | outside)


class HoldsTooLittle(L2):
    def contains(self, x: Tensor, x_adv: Tensor) -> Tensor:
        return super().contains(x, x_adv) & (self.distance(x, x_adv) <= self.eps / 2)


class MeasuresSquares(L2):
    def distance(self, x: Tensor, x_adv: Tensor) -> Tensor:
        return super().distance(x, x_adv).square()


class DoesNotScale(Linf):
    def scaled(self, factor: float) -> "DoesNotScale":
        return self


@pytest.mark.parametrize(
    ("threat", "law"),
    [
        (ForgetsTheBox(0.1), r"the projection lies in S\(x\)"),
        (ClipsAfterScaling(1.0), r"the projection is the nearest point of S\(x\)"),
        (GoesHalfWay(0.1), "projecting twice is projecting once"),
        (WritesToItsArgument(0.1), "the argument x_adv is not modified"),
        (SamplesFromOutside(0.5), r"a sample lies in S\(x\)"),
        (SamplesGlobally(0.1), "torch's global generator is not touched"),
        (SamplesForTheWholeBatch(0.1), "a row's sample depends on its own key alone"),
        (SamplesTheSameForAll(0.1), "other keys give another sample"),
        (FollowsTheGradient(0.5), "the steepest direction has norm 1"),
        (FollowsTheSigns(0.5), "no direction of norm 1 grows faster"),
        (SquaresSmallGradients(0.5), "the steepest direction has no scale"),
        (HoldsWhatIsOutsideTheBox(0.1), r"S\(x\) ends at the box"),
        (HoldsNaN(0.1), r"NaN lies in no S\(x\)"),
        (HoldsTooLittle(0.5), r"S\(x\) reaches to eps"),
        (MeasuresSquares(0.5), "distance is a norm"),
        (DoesNotScale(0.1), "scaled multiplies eps"),
        (Linf(0.0), "eps above 0"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, ThreatModel) else "",
)
def test_a_broken_threat_model_is_refused(threat: ThreatModel, law: str) -> None:
    with torch.random.fork_rng(devices=[]), pytest.raises(AssertionError, match=law) as caught:
        check_threat(threat)
    assert str(caught.value).startswith(str(threat))


# ---------------------------------------------------------------- attacks


@dataclass(frozen=True)
class Quiet(PGD):
    """PGD from x in three steps: what the broken ones are made from."""

    steps: int = 3
    initial: Any = Zero()


class Wanders(Quiet):
    def constrain(self, threat: ThreatModel, x: Tensor, moved: Tensor) -> Tensor:
        return moved.clamp(threat.low, threat.high)


class Descends(Quiet):
    def step(self, threat: ThreatModel, model: Any, state: State) -> State:
        stepped = super().step(threat, model, state)
        moved = threat.project(state.x, 2 * state.point - stepped.point)
        return replace(stepped, point=moved, x_adv=moved)


class SharesAMean(Quiet):
    def step(self, threat: ThreatModel, model: Any, state: State) -> State:
        stepped = super().step(threat, model, state)
        moved = threat.project(state.x, stepped.point + 1e-3 * (stepped.point - state.x).mean(dim=0))
        return replace(stepped, point=moved, x_adv=moved)


class SharesAClock(Quiet):
    """The step size falls with the age of the batch instead of that of the row."""

    def step(self, threat: ThreatModel, model: Any, state: State) -> State:
        stepped = super().step(threat, model, state)
        share = 1.0 / (1.0 + state.iteration.double().mean().item())
        moved = state.point + share * (stepped.point - state.point)
        return replace(stepped, point=moved, x_adv=moved)


class GoesBackwardsIntoTheWeights(Quiet):
    def step(self, threat: ThreatModel, model: Any, state: State) -> State:
        with torch.enable_grad():
            losses.cross_entropy(model(state.point), state.y).sum().backward()
        return super().step(threat, model, state)


class SwitchesToEval(Quiet):
    def step(self, threat: ThreatModel, model: Any, state: State) -> State:
        model.eval()
        return super().step(threat, model, state)


class SwitchesToTrainAndBack(Quiet):
    def step(self, threat: ThreatModel, model: Any, state: State) -> State:
        before = model.training
        model.train()
        stepped = super().step(threat, model, state)
        model.train(before)
        return stepped


class AsksTwice(Quiet):
    def step(self, threat: ThreatModel, model: Any, state: State) -> State:
        with torch.no_grad():
            model(state.x)
        return super().step(threat, model, state)


class ForgetsToCount(Quiet):
    @property
    def budget(self) -> int:
        return 1

    def step(self, threat: ThreatModel, model: Any, state: State) -> State:
        return replace(super().step(threat, model, state), iteration=state.iteration + 2)


class ClaimsEverything(Quiet):
    def step(self, threat: ThreatModel, model: Any, state: State) -> State:
        return replace(super().step(threat, model, state), success=torch.ones_like(state.success))


class HandsOverUnseen(Quiet):
    @property
    def hands_over_unseen(self) -> bool:
        return False


class KeepsItsGraph(Quiet):
    def step(self, threat: ThreatModel, model: Any, state: State) -> State:
        stepped = super().step(threat, model, state)
        return replace(stepped, point=stepped.point.requires_grad_())


class DrawsGlobally(Quiet):
    def start(self, threat: ThreatModel, x: Tensor, *rest: Any) -> State:
        torch.rand(1)
        return super().start(threat, x, *rest)


class WritesToX(Quiet):
    def start(self, threat: ThreatModel, x: Tensor, *rest: Any) -> State:
        return super().start(threat, x.mul_(0.5), *rest)


@pytest.mark.parametrize(
    ("attack", "law"),
    [
        (Wanders(step_size=1.0), r"x_adv lies in S\(x\)"),
        (NFGSM(), r"x_adv lies in S\(x\)"),
        (Descends(), "the criterion rises on average"),
        (SharesAMean(), "a row's result is the same in a smaller batch"),
        (SharesAClock(), r"a row goes on in mid-search as it would have gone on alone \(select and concat\)"),
        (GoesBackwardsIntoTheWeights(), r"keeps its \.grad"),
        (SwitchesToEval(), "every module keeps its mode"),
        (SwitchesToTrainAndBack(), "running statistics"),
        (AsksTwice(), "2 forward and 1 backward passes in a step"),
        (ForgetsToCount(), "iteration counts the steps"),
        (ClaimsEverything(), "success is claimed only where the model is wrong"),
        (HandsOverUnseen(), "x_adv was shown to the model"),
        (KeepsItsGraph(), "a state carries no graph from step to step"),
        (DrawsGlobally(), "torch's global generator is not touched"),
        (WritesToX(), "the argument x is not modified"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, PGD) else "",
)
def test_a_broken_attack_is_refused(attack: PGD, law: str) -> None:
    with torch.random.fork_rng(devices=[]), pytest.raises(AssertionError, match=law) as caught:
        check_attack(attack, threats=[Linf(0.1)])
    assert f"{attack.name} under Linf(0.1)" in str(caught.value)


def test_an_attack_is_as_random_as_it_says() -> None:
    with pytest.raises(AssertionError, match="other keys give another result"):
        check_attack(FGSM(), random=True)
    with pytest.raises(AssertionError, match="other keys give the same result"):
        check_attack(FGSMRS(), random=False)


def test_out_of_the_box_is_too_far_for_any_attack() -> None:
    class LeavesTheBox(Quiet):
        def constrain(self, threat: ThreatModel, x: Tensor, moved: Tensor) -> Tensor:
            return moved

    with pytest.raises(AssertionError, match="x_adv lies in the box"):
        check_attack(LeavesTheBox(step_size=1.0), leaves_ball=True)


def test_a_model_of_the_users_own(cnn: nn.Module) -> None:
    check_attack(PGD(steps=2), threats=[Linf(0.05), L1(1.0)], model=cnn.eval(), shape=(2, 6, 6))
    assert all(p.requires_grad and p.grad is None for p in cnn.parameters())


# ---------------------------------------------------------------- methods


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
        (ChargesTooLittle, "`passes` is what a step costs; it says 1, counted are 2"),
    ],
)
def test_a_broken_method_is_refused(method: type[PGDAT], law: str) -> None:
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
