"""Projected gradient descent (Madry et al., ICLR 2018, arXiv:1706.06083), for every norm and criterion."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from holdfast.attacks.ascent import Rule, Steepest
from holdfast.attacks.base import Attack, Evaluated, State, evaluate, opening, rows
from holdfast.attacks.criteria import Criterion, CrossEntropy, check_targets
from holdfast.attacks.initial import Initial, Uniform
from holdfast.errors import InvalidInput
from holdfast.noise import Noise
from holdfast.threat import ThreatModel
from holdfast.typing import Classifier, Images, Labels, Mask


@dataclass
class PGDState(State):
    """A search of PGD: besides the common fields, what its rule remembers and what early stopping holds."""

    memory: Tensor  # [B, slots, ...]
    held: Mask  # rows that the last step left where they were, because the model was wrong there


@dataclass(frozen=True)
class PGD(Attack[PGDState]):
    """k times: x_adv <- project(x_adv + step_size * eps * direction), along the gradient of the criterion.

    The result is the last iterate, as in the training codes of Madry, Wong, TRADES and MART.

    Args:
        steps: k, forward and backward passes of one search.
        step_size: in units of eps: 0.25 is 2/255 at eps 8/255.
        initial: where the search begins.
        criterion: what it climbs.
        early_stop: hold a row at the first point where the model is wrong instead of moving on; for evaluation.
        rule: from the gradient to the direction.
        drops: shares of the steps after which the step size falls to a tenth: (0.5, 0.75) takes 0.1, 0.01, 0.001.
        target_classes: runner-up classes to aim at, one search each; for targeted criteria only.
    """

    steps: int = 10
    step_size: float = 0.25
    initial: Initial = Uniform()
    criterion: Criterion = CrossEntropy()
    early_stop: bool = False
    rule: Rule = Steepest()
    drops: tuple[float, ...] = ()
    target_classes: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1:
            raise InvalidInput(f"steps is {self.steps}, but a search takes at least one step")
        if self.step_size <= 0:
            raise InvalidInput(f"step_size is {self.step_size}, but it must be above 0; its unit is eps (try 0.25)")
        if not all(0.0 < drop < 1.0 for drop in self.drops):
            raise InvalidInput(f"drops is {self.drops}, but each is a share of the steps between 0 and 1, e.g. 0.5")
        check_targets(self.criterion, self.target_classes)

    @property
    def name(self) -> str:
        kind = "" if isinstance(self.criterion, CrossEntropy) else f"-{type(self.criterion).__name__.lower()}"
        kind += "" if isinstance(self.rule, Steepest) else f"-{type(self.rule).__name__.lower()}"
        repeats = f"x{self.restarts}" if self.restarts > 1 else ""
        return f"pgd{kind}-{self.steps}{repeats}"

    @property
    def targets(self) -> int:
        return self.target_classes

    @property
    def budget(self) -> int:
        return self.steps

    @property
    def hands_over_unseen(self) -> bool:
        return True

    def start(self, threat: ThreatModel, x: Images, y: Labels, noise: Noise, target: Labels | None = None) -> PGDState:
        point = self.initial(threat, x, noise)
        if self.early_stop:
            # A row may be held at its first point, which therefore has to be allowed already.
            point = self.constrain(threat, x, point)
        memory = x.new_zeros(len(x), self.rule.slots, *x.shape[1:])
        opened = opening(x, y, noise, target, point)
        return PGDState(**vars(opened), memory=memory, held=torch.zeros_like(opened.success))

    def step(self, threat: ThreatModel, model: Classifier, state: PGDState) -> PGDState:
        at = self.look(model, state)
        direction, memory = self.rule(threat, at.gradient, state.memory, state.iteration)
        moved = (self._length(threat, state) * direction).add_(state.point)
        moved = self.constrain(threat, state.x, moved)
        success = held = state.success
        if self.early_stop:
            # What was held and is no success any more was refuted by whoever judges: the search goes on.
            success = held = at.wrong & (state.success | ~state.held)
            moved = torch.where(rows(held, moved), state.point, moved)
        return replace(
            state, point=moved, x_adv=moved, success=success, memory=memory, held=held, iteration=state.iteration + 1
        )

    def look(self, model: Classifier, state: PGDState) -> Evaluated:
        """Ask the model at `state.point` for logits and the criterion's gradient."""
        return evaluate(model, self.criterion, state)

    def constrain(self, threat: ThreatModel, x: Images, moved: Images) -> Images:
        """Bring a moved point back to where the attack is allowed to search."""
        return threat.project(x, moved)

    def _length(self, threat: ThreatModel, state: PGDState) -> float | Tensor:
        """The size of each row's move, in the unit of the inputs."""
        size = self.step_size * threat.eps
        if not self.drops:
            return size
        passed = sum((state.iteration >= drop * self.steps).to(state.x.dtype) for drop in self.drops)
        return size * 0.1 ** rows(torch.as_tensor(passed), state.x)
