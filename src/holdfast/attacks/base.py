"""What an attack is: a search inside S(x), written per example as a pair of functions.

`start` makes the state of a search and touches no model; `step` does one iteration with one forward and backward pass
at `state.point`. Row i of the state depends on example i alone: its own iteration, step size and random numbers. So a
driver may pack rows of different age into one batch, drop rows that are done and fill in waiting ones, and every row
still takes the path it would have taken alone. An attack is a frozen value of numbers; the threat model is given to
it, because a run has one threat model, and eps warm-up and curves over eps then need no copies of the attack.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Generic, NamedTuple, Self, TypeVar

import torch
from torch import Tensor

from holdfast import losses
from holdfast.attacks.criteria import Criterion, Query
from holdfast.attacks.tape import played
from holdfast.errors import InvalidInput
from holdfast.noise import Noise
from holdfast.threat import ThreatModel
from holdfast.threat import rows as rows  # those who write attacks look for it here
from holdfast.typing import Classifier, Images, Labels, Logits, Mask, PerExample


@dataclass
class State:
    """A search under way; every field has the examples first.

    Attributes:
        x: the clean inputs.
        y: [B] their labels.
        target: [B] the class that a targeted search aims at, -1 where there is none.
        noise: the rows' random numbers.
        iteration: [B] int64, steps done.
        point: where the model is asked next.
        x_adv: the input that the attack would hand over now.
        success: [B] bool, the model was seen to be wrong at `x_adv`.
    """

    x: Images
    y: Labels
    target: Labels
    noise: Noise
    iteration: torch.Tensor
    point: Images
    x_adv: Images
    success: Mask

    def select(self, index: torch.Tensor) -> Self:
        """The rows that `index` ([M] int64 or [B] bool) picks."""
        picked: dict[str, Any] = {}
        for entry in fields(self):
            value = getattr(self, entry.name)
            picked[entry.name] = value.select(index) if isinstance(value, Noise) else value[index]
        return type(self)(**picked)

    @classmethod
    def concat(cls, states: Sequence[Self]) -> Self:
        """The rows of several states of one attack, one after the other."""
        joined: dict[str, Any] = {"noise": Noise(torch.cat([state.noise.keys for state in states]))}
        for entry in fields(cls):
            if entry.name not in joined:
                joined[entry.name] = torch.cat([getattr(state, entry.name) for state in states])
        return cls(**joined)


S = TypeVar("S", bound=State)


@dataclass(frozen=True)
class Attack(ABC, Generic[S]):
    """A search for an input of S(x) that the model gets wrong.

    Args:
        restarts: independent searches an example; used by the evaluator, each with its own random numbers.
    """

    restarts: int = field(default=1, kw_only=True)  # PGD(20) means 20 steps

    def __post_init__(self) -> None:
        if self.restarts < 1:
            raise InvalidInput(f"restarts is {self.restarts}, but an attack runs at least once; give 1 or more")

    @property
    def name(self) -> str:
        """The attack's name in tables; unique within a protocol."""
        return type(self).__name__.lower()

    @property
    def targets(self) -> int:
        """How many runner-up classes to aim at, one search each; 0 for an untargeted attack."""
        return 0

    @property
    def gradient_free(self) -> bool:
        """Needs no gradient of the model under attack; what it finds beyond the others is evidence of masking."""
        return False

    @property
    def hands_over_unseen(self) -> bool:
        """The point handed over at the end was never shown to the model, so whoever judges must show it."""
        return False

    @property
    def passes(self) -> int | None:
        """How often a step asks the model at a row, at most; None where nobody knows, as with foreign code."""
        return 1

    @property
    @abstractmethod
    def budget(self) -> int:
        """Steps of one search."""

    @abstractmethod
    def start(self, threat: ThreatModel, x: Images, y: Labels, noise: Noise, target: Labels | None = None) -> S:
        """The state before the first step. x lies in the threat model's box; no model is touched."""

    @abstractmethod
    def step(self, threat: ThreatModel, model: Classifier, state: S) -> S:
        """One iteration: at most `passes` forward and backward passes of the rows in `state`."""

    def leap(self, threat: ThreatModel, model: Classifier, state: S, most: int) -> S:
        """One to `most` iterations of every row, with the result of as many steps, in fewer and larger passes where an
        attack knows how. Rows need not take equally many; one that has budget left is not taken beyond it."""
        return self.step(threat, model, state)


_GREATEST = 1e18  # of a gradient's entries and of values, so that differences and squares stay finite


class Evaluated(NamedTuple):
    """What a forward and backward pass at a state's point gave, without a graph."""

    logits: Logits
    value: PerExample  # the criterion; finite
    gradient: Images  # of each row's criterion with respect to the row's point; finite
    wrong: Mask


def finite(numbers: Tensor, instead: float) -> Tensor:
    """`instead` for what is no number, and for what is infinite the greatest or least that a search can work with."""
    return numbers.nan_to_num(instead, _GREATEST, -_GREATEST)


def opening(x: Images, y: Labels, noise: Noise, target: Labels | None, point: Images) -> State:
    """The fields that every attack's state begins with."""
    untargeted = torch.full_like(y, -1)
    return State(
        x=x,
        y=y,
        target=untargeted if target is None else target,
        noise=noise,
        iteration=torch.zeros_like(y),
        point=point,
        x_adv=point,
        success=torch.zeros_like(y, dtype=torch.bool),
    )


def evaluate(model: Classifier, criterion: Criterion, state: State) -> Evaluated:
    """Ask the model once at `state.point` for logits and the criterion's gradient.

    `autograd.grad` towards the input alone: parameters get no gradient, neither computed nor stored. The sum over rows
    gives per-example gradients as long as the model treats its rows separately. Whether a row is `wrong` is for argmax
    to say, as for the evaluator's judge: at a tie of logits a margin of 0 is no success.

    Raises:
        InvalidInput: the graph of the logits does not contain the input.
    """
    with torch.enable_grad():
        point = state.point.detach().requires_grad_()
        logits = losses.precise(model(point))
        value = criterion(logits, Query(state.x, state.y, state.target, point))
        gradient = torch.autograd.grad(value.sum(), point, allow_unused=True)[0] if value.requires_grad else None
    if gradient is None:
        raise InvalidInput(
            "no gradient reaches the model's input (look for torch.no_grad, detach or numpy in it); attack it with "
            "Square, SPSA or Transfer, or measure it by holdfast.evaluate, which says so and goes on"
        )
    # Where it is no number there is no direction either; otherwise the point would be none from then on.
    if not (gradient.device.type == "cpu" and bool(gradient.sum().isfinite())):
        gradient = finite(gradient, 0.0)
    logits = logits.detach()
    return Evaluated(logits, finite(value.detach(), -_GREATEST), gradient, logits.argmax(dim=1) != state.y)


def picked(mask: Mask, one: Images, other: Images) -> Images:
    """Rows of `one` where the [B] mask is set, else of `other`; both finite. On CPUs four times as fast as
    `torch.where`."""
    return other.lerp(one, rows(mask, one).to(one.dtype))


def surely_none(mask: Mask) -> bool:
    """No row is set, as far as that can be known without waiting for an accelerator."""
    return mask.device.type == "cpu" and not bool(mask.any())


def run(
    attack: Attack[S],
    threat: ThreatModel,
    model: Classifier,
    x: Images,
    y: Labels,
    noise: Noise,
    target: Labels | None = None,
) -> S:
    """Run one search for each example to its end. The result is `state.x_adv`, detached.

    This is the loop of every method's inner search, so a wrapper may have its results replayed (`Tape`). Restarts and
    targets are the evaluator's.

    Raises:
        InvalidInput: the attack aims at a class, and no `target` is given.
    """
    if attack.targets and target is None:
        raise InvalidInput(f"{attack.name} aims at a class; give run a target for each example")

    def search() -> S:
        state = attack.start(threat, x.detach(), y, noise, target)
        for _ in range(attack.budget):
            state = attack.step(threat, model, state)
        return replace(state, x_adv=state.x_adv.detach())

    return played(x, search)
