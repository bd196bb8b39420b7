"""Auto-PGD (Croce and Hein, ICML 2020, arXiv:2003.01690, Algorithm 1; reference code auto-attack a392200)."""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

import torch
from torch import Tensor

from holdfast.attacks.base import Attack, Evaluated, State, evaluate, opening, picked, rows, surely_none
from holdfast.attacks.criteria import DLR, Criterion, CrossEntropy, Margin, TargetedDLR, check_targets
from holdfast.attacks.initial import Initial, Sphere
from holdfast.errors import InvalidInput
from holdfast.noise import Noise
from holdfast.threat import Linf, ThreatModel
from holdfast.typing import Classifier, Images, Labels, PerExample


@lru_cache
def checkpoints(steps: int) -> tuple[int, ...]:
    """The iterations at which step sizes are reviewed: for 100 steps 22, 41, 57, 70, 80, 87, 93, 99."""
    interval, shrink, least = max(int(0.22 * steps), 1), max(int(0.03 * steps), 1), max(int(0.06 * steps), 1)
    found, at = [], interval
    while at <= steps:
        found.append(at)
        interval = max(interval - shrink, least)
        at += interval
    return tuple(found)


@lru_cache
def _review_lengths(steps: int, device: torch.device) -> Tensor:
    """[steps + 1] int64: at a checkpoint the length of the interval that ends there, elsewhere 0."""
    lengths = torch.zeros(steps + 1, dtype=torch.int64)
    previous = 0
    for at in checkpoints(steps):
        lengths[at] = at - previous
        previous = at
    return lengths.to(device)


S = TypeVar("S", bound=State)


@dataclass(frozen=True)
class AutoPGD(Attack[S]):
    """What the kinds of Auto-PGD share: `APGD` for Linf and L2, `APGDL1` for L1.

    Args:
        steps: moves of one search.
        criterion: what it climbs; a targeted one needs `target_classes`.
        target_classes: runner-up classes to aim at, one search each.
        initial: the first point.
        passes: forward and backward passes at a point, whose gradients are averaged: 1, or for a randomised model as
            many as its expectation needs (20 in AutoAttack's `rand`). Value and verdict are those of the last pass.
    """

    steps: int = 100
    criterion: Criterion = CrossEntropy()
    target_classes: int = 0
    initial: Initial = Sphere()
    passes: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("steps", "passes"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"{name} is {getattr(self, name)}, but a search takes at least one")
        check_targets(self.criterion, self.target_classes)

    @property
    def name(self) -> str:
        short = {CrossEntropy: "ce", DLR: "dlr", Margin: "margin", TargetedDLR: "t"}
        return f"apgd-{short.get(type(self.criterion), type(self.criterion).__name__.lower())}"

    @property
    def targets(self) -> int:
        return self.target_classes

    def ask(self, model: Classifier, state: State) -> Evaluated:
        """`evaluate`, with the gradient averaged over `passes`."""
        at = evaluate(model, self.criterion, state)
        total = at.gradient
        for _ in range(self.passes - 1):
            at = evaluate(model, self.criterion, state)
            total = total + at.gradient
        return at if self.passes == 1 else at._replace(gradient=total / self.passes)


@dataclass
class APGDState(State):
    """A search of APGD: besides the common fields its momentum, its best point and what the step size review needs."""

    bounds: Tensor  # [B, 2, ...] in Linf: `ThreatModel.hull`; otherwise [B, 0]
    previous: Images  # the iterate before `point`
    best: Images  # of greatest criterion so far
    best_gradient: Images
    best_value: PerExample
    value: PerExample  # at the last iterate
    reviewed_value: PerExample  # `best_value` at the last review
    rises: Tensor  # [B] int64: iterates of this interval whose criterion exceeded the one before
    step_size: PerExample  # in the unit of the inputs
    just_reduced: Tensor  # [B] bool: the last review halved the step size


@dataclass(frozen=True)
class APGD(AutoPGD[APGDState]):
    """Gradient ascent with momentum whose step size halves, from the best point, when progress stalls.

    One search asks the model `steps` + 1 times: at the start and after each move. The result is the last point that
    the model got wrong, or the point of greatest criterion where it was never wrong. Deviations from the reference
    code: the projection onto ball and box together is exact in L2 and L1; the first move's rise is counted against
    the start's criterion instead of against 0.

    Args:
        rho: unless more than this share of an interval's moves raised the criterion, the step size halves.
        momentum: weight of the previous move, 1 - a in the reference.
    """

    rho: float = 0.75
    momentum: float = 0.25

    @property
    def budget(self) -> int:
        return self.steps + 1

    def start(self, threat: ThreatModel, x: Images, y: Labels, noise: Noise, target: Labels | None = None) -> APGDState:
        # The first point may be handed over, so it has to be allowed whatever `initial` gives.
        base = opening(x, y, noise, target, threat.project(x, self.initial(threat, x, noise)))
        lowest = torch.full_like(y, -torch.inf, dtype=torch.promote_types(x.dtype, torch.float32))
        return APGDState(
            **vars(base),
            bounds=torch.stack(threat.hull(x), dim=1) if isinstance(threat, Linf) else x.new_zeros(len(x), 0),
            previous=base.point,
            best=base.point,
            best_gradient=torch.zeros_like(x),
            best_value=lowest,
            # Nothing rises above this, so that the start is not counted as a rise.
            value=torch.full_like(lowest, torch.inf),
            reviewed_value=lowest,
            rises=torch.zeros_like(y),
            step_size=torch.full_like(lowest, 2.0 * threat.eps),
            # A reduction counts as "just made" at first, so that the first review looks at the rises alone.
            just_reduced=torch.ones_like(base.success),
        )

    def step(self, threat: ThreatModel, model: Classifier, state: APGDState) -> APGDState:
        at = self.ask(model, state)
        state = self._record(state, at)
        point, gradient, state = self._review(state, at)
        first = rows(state.iteration == 0, point)
        moved = torch.addcmul(point, rows(state.step_size, point).to(point.dtype), threat.steepest(gradient))
        moved = _project(threat, state, moved)
        last = torch.where(first, 0.0, self.momentum).to(point.dtype)
        moved = _project(threat, state, moved.lerp(point, last).addcmul_(last, point - state.previous))
        return replace(state, previous=point, point=moved, iteration=state.iteration + 1)

    def _record(self, state: APGDState, at: Evaluated) -> APGDState:
        """Remember the best point, and hand over the latest point that fooled the model."""
        better = at.value > state.best_value
        best, success = picked(better, state.point, state.best), state.success | at.wrong
        x_adv = best
        if not surely_none(success):
            x_adv = picked(at.wrong, state.point, picked(state.success, state.x_adv, best))
        return replace(
            state,
            best=best,
            best_gradient=picked(better, at.gradient, state.best_gradient),
            best_value=torch.where(better, at.value, state.best_value),
            rises=state.rises + (at.value > state.value),
            value=at.value,
            x_adv=x_adv,
            success=success,
        )

    def _review(self, state: APGDState, at: Evaluated) -> tuple[Images, Images, APGDState]:
        """At a checkpoint, halve the step size of rows that stall and send them back to their best point."""
        length = _review_lengths(self.steps, state.y.device)[state.iteration.clamp(max=self.steps)]
        due = length > 0
        stalled = state.rises <= self.rho * length
        no_gain = ~state.just_reduced & (state.reviewed_value >= state.best_value)
        reduce = due & (stalled | no_gain)
        point, gradient = state.point, at.gradient
        if not surely_none(reduce):
            point = picked(reduce, state.best, point)
            gradient = picked(reduce, state.best_gradient, gradient)
        state = replace(
            state,
            step_size=torch.where(reduce, state.step_size / 2.0, state.step_size),
            just_reduced=torch.where(due, reduce, state.just_reduced),
            reviewed_value=torch.where(due, state.best_value, state.reviewed_value),
            rises=torch.where(due, 0, state.rises),
        )
        return point, gradient, state


def _project(threat: ThreatModel, state: APGDState, point: Images) -> Images:
    """`threat.project`; in Linf from bounds that were made once, in a fifth of the time."""
    if state.bounds.dim() == 2:
        return threat.project(state.x, point)
    return point.clamp(state.bounds[:, 0], state.bounds[:, 1])
