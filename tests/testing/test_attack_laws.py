"""check_attack must refuse an attack that breaks a law, and name the law."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from holdfast import losses
from holdfast.attacks import FGSM, FGSMRS, NFGSM, PGD, State, Zero
from holdfast.testing import check_attack
from holdfast.threat import L1, Linf, ThreatModel


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
