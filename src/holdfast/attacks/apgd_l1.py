"""Auto-PGD in L1 (Croce and Hein, ICML 2021, arXiv:2103.01208; code auto-attack a392200)."""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from holdfast.attacks.apgd import AutoPGD
from holdfast.attacks.base import Evaluated, State, opening, picked
from holdfast.attacks.selection import greatest
from holdfast.errors import InvalidInput
from holdfast.noise import Noise
from holdfast.threat import L1, ThreatModel
from holdfast.typing import Classifier, Images, Labels, PerExample

_SPARSER = 0.95  # a best point with fewer changed entries than this share of the last review's counts as sparser
_SHRINK = 1.5  # divides the step size where it is not; and the changed entries, for the entries to move
_LEAST = 0.1  # least step size, in radii


@dataclass
class APGDL1State(State):
    """A search of APGD in L1; what is best is so within the stage."""

    best: Images
    best_gradient: Images
    best_value: PerExample
    changed: PerExample  # entries in which `best` differed from x at the last review
    step_size: PerExample  # in the unit of the inputs


class _Plan(NamedTuple):
    """What happens at each pass of a search, [steps + stages] each."""

    radius: Tensor  # of the stage, in units of eps
    next_radius: Tensor  # of the pass that follows
    first: Tensor  # bool: the pass looks at the stage's first point
    last: Tensor  # bool: and at its last
    review: Tensor  # bool: afterwards the step size is reviewed


@lru_cache
def _plan(steps: int, stages: tuple[tuple[float, float], ...], device: torch.device) -> _Plan:
    moves = [-int(-share * steps // 1) for _, share in stages]
    moves[-1] = steps - sum(moves[:-1])
    radius, first, last, review = [], [], [], []
    for (factor, _), count in zip(stages, moves, strict=True):
        interval = max(int(0.04 * count), 1)
        radius += [factor] * (count + 1)
        first += [True] + [False] * count
        last += [False] * count + [True]
        review += [False] + [move % interval == 0 for move in range(1, count + 1)]
    columns = radius, [*radius[1:], radius[-1]], first, last, review
    return _Plan(*(torch.tensor(column, device=device) for column in columns))


@dataclass(frozen=True)
class APGDL1(AutoPGD[APGDL1State]):
    """Ascent along the signs of the steepest entries only, first in larger balls that shrink to the real one.

    A move changes as many entries as the best point so far has changed ones, divided by 1.5. At each review a best
    point that became sparser is gone back to and the step size starts anew; otherwise the step size shrinks. Each
    stage begins at the best point of the one before, brought into its ball. A search makes `steps` + one pass a stage.
    A point counts as soon as it lies within eps, in whatever stage.

    Args:
        stages: radius in units of eps, and share of the moves made within it; the last radius is 1.
    """

    stages: tuple[tuple[float, float], ...] = ((3.0, 0.3), (2.0, 0.3), (1.0, 0.4))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < len(self.stages):
            raise InvalidInput(f"steps is {self.steps}, but each of the {len(self.stages)} stages takes at least one")
        if not self.stages or self.stages[-1][0] != 1.0 or abs(sum(share for _, share in self.stages) - 1.0) > 1e-6:
            raise InvalidInput(
                f"stages are {self.stages}; the last radius must be 1 (in units of eps) and the shares sum to 1"
            )

    @property
    def budget(self) -> int:
        return self.steps + len(self.stages)

    def start(
        self, threat: ThreatModel, x: Images, y: Labels, noise: Noise, target: Labels | None = None
    ) -> APGDL1State:
        if not isinstance(threat, L1):
            raise InvalidInput(f"APGDL1 moves sparsely and is made for L1, not for {threat}; use APGD there")
        first = threat.scaled(self.stages[0][0])
        base = opening(x, y, noise, target, first.project(x, self.initial(first, x, noise)))
        base.x_adv = x
        return APGDL1State(
            **vars(base),
            best=base.point,
            best_gradient=torch.zeros_like(x),
            best_value=torch.full_like(y, -torch.inf, dtype=torch.promote_types(x.dtype, torch.float32)),
            changed=torch.zeros_like(y, dtype=x.dtype),
            step_size=torch.zeros_like(y, dtype=x.dtype),
        )

    def step(self, threat: ThreatModel, model: Classifier, state: APGDL1State) -> APGDL1State:
        at = self.ask(model, state)
        plan = _plan(self.steps, self.stages, state.y.device)
        now = state.iteration.clamp(max=self.budget - 1)
        radius, following, first = plan.radius[now], plan.next_radius[now], plan.first[now]
        state = self._record(threat, state, at, first, final=radius == 1.0)
        point, gradient, state = self._review(threat, state, at, radius, first, plan.review[now])
        moved = point + _sparse_step(gradient, state.changed / _SHRINK, state.step_size)
        # Where the stage ends, its best point takes the place of another move.
        moved = picked(plan.last[now], state.best, moved)
        return replace(state, point=self._project(threat, state.x, moved, following), iteration=state.iteration + 1)

    def _record(
        self, threat: ThreatModel, state: APGDL1State, at: Evaluated, first: Tensor, final: Tensor
    ) -> APGDL1State:
        """Remember the stage's best point, and hand over the latest point within eps that fooled the model."""
        better = first | (at.value > state.best_value)
        best = picked(better, state.point, state.best)
        counts = at.wrong & threat.contains(state.x, state.point)
        handed = picked(final & ~state.success, best, state.x_adv)
        return replace(
            state,
            best=best,
            best_gradient=picked(better, at.gradient, state.best_gradient),
            best_value=torch.where(better, at.value, state.best_value),
            x_adv=picked(counts, state.point, handed),
            success=state.success | counts,
        )

    def _review(
        self, threat: ThreatModel, state: APGDL1State, at: Evaluated, radius: Tensor, first: Tensor, due: Tensor
    ) -> tuple[Images, Images, APGDL1State]:
        """Set the step size, and send rows whose best point became sparser back to it."""
        changed = (state.best != state.x).flatten(1).sum(dim=1).to(state.changed.dtype)
        sparser = due & (changed < _SPARSER * state.changed)
        largest = (radius * threat.eps).to(state.step_size.dtype)
        shrunk = torch.maximum(state.step_size / _SHRINK, _LEAST * largest)
        step_size = torch.where(first | sparser, largest, torch.where(due, shrunk, state.step_size))
        state = replace(state, changed=torch.where(first | due, changed, state.changed), step_size=step_size)
        return (
            picked(sparser, state.best, state.point),
            picked(sparser, state.best_gradient, at.gradient),
            state,
        )

    def _project(self, threat: ThreatModel, x: Images, moved: Images, radius: Tensor) -> Images:
        """Bring each row into the ball of its own stage's radius."""
        projected, host = torch.empty_like(moved), radius.cpu()  # of an accelerator one look serves all stages
        for factor in {factor for factor, _ in self.stages}:
            index = (host == factor).nonzero()[:, 0].to(radius.device)
            if len(index):
                projected[index] = threat.scaled(factor).project(x[index], moved[index])
        return projected


def _sparse_step(gradient: Images, entries: PerExample, size: PerExample) -> Images:
    """A change of L1 norm `size`, shared equally by the given number of steepest entries of each row."""
    flat = gradient.flatten(1)
    steepness = flat.abs()
    certain, last = greatest(steepness, torch.ones_like(steepness), entries.ceil().clamp(min=1.0)[:, None])
    direction = flat.sign().mul_(certain.add_(last))
    return (direction * (size / (direction.abs().sum(dim=1) + 1e-10))[:, None]).reshape(gradient.shape)
