"""Projected gradient descent (Madry et al., ICLR 2018, arXiv:1706.06083), for every norm and criterion."""

from dataclasses import dataclass, replace

import torch

from holdfast.attacks.base import Attack, State, evaluate, opening, rows
from holdfast.attacks.criteria import Criterion, CrossEntropy
from holdfast.attacks.initial import Initial, Uniform
from holdfast.errors import InvalidInput
from holdfast.noise import Noise
from holdfast.threat import ThreatModel
from holdfast.typing import Classifier, Images, Labels


@dataclass(frozen=True)
class PGD(Attack[State]):
    """k times: x_adv <- project(x_adv + step_size * eps * steepest(gradient of the criterion)).

    The result is the last iterate, as in the training codes of Madry, Wong, TRADES and MART.

    Args:
        steps: k, forward and backward passes of one search.
        step_size: in units of eps: 0.25 is 2/255 at eps 8/255.
        initial: where the search begins.
        criterion: what it climbs.
        early_stop: hold a row at the first point where the model is wrong instead of moving on; for evaluation.
    """

    steps: int = 10
    step_size: float = 0.25
    initial: Initial = Uniform()
    criterion: Criterion = CrossEntropy()
    early_stop: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1:
            raise InvalidInput(f"steps is {self.steps}, but a search takes at least one step")
        if self.step_size <= 0:
            raise InvalidInput(f"step_size is {self.step_size}, but it must be above 0; its unit is eps (try 0.25)")

    @property
    def name(self) -> str:
        kind = "" if isinstance(self.criterion, CrossEntropy) else f"-{type(self.criterion).__name__.lower()}"
        repeats = f"x{self.restarts}" if self.restarts > 1 else ""
        return f"pgd{kind}-{self.steps}{repeats}"

    @property
    def budget(self) -> int:
        return self.steps

    @property
    def hands_over_unseen(self) -> bool:
        return True

    def start(self, threat: ThreatModel, x: Images, y: Labels, noise: Noise, target: Labels | None = None) -> State:
        point = self.initial(threat, x, noise)
        if self.early_stop:
            # A row may be held at its first point, which therefore has to be allowed already.
            point = self.constrain(threat, x, point)
        return opening(x, y, noise, target, point)

    def step(self, threat: ThreatModel, model: Classifier, state: State) -> State:
        at = evaluate(model, self.criterion, state)
        moved = state.point + self.step_size * threat.eps * threat.steepest(at.gradient)
        moved = self.constrain(threat, state.x, moved)
        success = state.success
        if self.early_stop:
            success = at.wrong
            moved = torch.where(rows(at.wrong, moved), state.point, moved)
        return replace(state, point=moved, x_adv=moved, success=success, iteration=state.iteration + 1)

    def constrain(self, threat: ThreatModel, x: Images, moved: Images) -> Images:
        """Bring a moved point back to where the attack is allowed to search."""
        return threat.project(x, moved)
