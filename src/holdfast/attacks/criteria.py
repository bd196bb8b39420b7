"""What an attack climbs: functions of the logits and of the place they were taken at, one value an example."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch

from holdfast import losses
from holdfast.errors import InvalidInput
from holdfast.typing import Images, Labels, Logits, PerExample


class Query(NamedTuple):
    """The question that the logits answer."""

    x: Images  # the clean inputs
    y: Labels
    target: Labels  # -1 where there is none
    x_adv: Images  # where the model was asked; part of the graph


class Criterion(Protocol):
    """A per-example value for an attack to raise; greater is worse for the model."""

    def __call__(self, logits: Logits, query: Query) -> PerExample: ...


@dataclass(frozen=True)
class CrossEntropy:
    """Cross-entropy with the label."""

    def __call__(self, logits: Logits, query: Query) -> PerExample:
        return losses.cross_entropy(logits, query.y)


@dataclass(frozen=True)
class Margin:
    """max_{j != y} z_j - z_y, the loss of Carlini and Wagner (2017) without its floor."""

    def __call__(self, logits: Logits, query: Query) -> PerExample:
        return -losses.margin(logits, query.y)


@dataclass(frozen=True)
class SoftMargin:
    """logsumexp_{j != y} z_j - z_y, the smooth margin that MMA climbs (Ding et al., ICLR 2020)."""

    def __call__(self, logits: Logits, query: Query) -> PerExample:
        return -losses.soft_margin(logits, query.y)


@dataclass(frozen=True)
class DLR:
    """Difference of logits ratio (Croce and Hein 2020): the margin, made free of the logits' scale."""

    def __call__(self, logits: Logits, query: Query) -> PerExample:
        return losses.dlr(logits, query.y)


@dataclass(frozen=True)
class TargetedDLR:
    """Difference of logits ratio towards the search's target class."""

    def __call__(self, logits: Logits, query: Query) -> PerExample:
        return losses.targeted_dlr(logits, query.y, query.target)


@dataclass(frozen=True)
class TargetedMargin:
    """z_target - z_y: positive where the search's target class is preferred to the label."""

    def __call__(self, logits: Logits, query: Query) -> PerExample:
        both = logits.gather(1, torch.stack([query.target, query.y], dim=1))
        return both[:, 0] - both[:, 1]


def check_targets(criterion: Criterion, target_classes: int) -> None:
    """Refuse a loss that aims at a class in a search that has none to aim at, and the other way round.

    Raises:
        InvalidInput: they do not fit.
    """
    if isinstance(criterion, (TargetedDLR, TargetedMargin)) != (target_classes > 0):
        raise InvalidInput(
            f"criterion {type(criterion).__name__} and target_classes {target_classes} do not fit: a targeted one "
            "needs at least one target class (AutoAttack takes 9) and the others take none"
        )


@dataclass(frozen=True)
class Divergence:
    """KL(p_reference || p): how far the prediction has moved from the one at the clean input (TRADES).

    Args:
        reference: [B, K] logits at the clean inputs, detached.
    """

    reference: Logits

    def __call__(self, logits: Logits, query: Query) -> PerExample:
        return losses.kl(self.reference, logits)


@dataclass(frozen=True)
class LinearityGap:
    """|l(x') - l(x) - <x' - x, grad l(x)>|, l being the cross-entropy: what its tangent at x misses at x'.

    LLR's g(x' - x; x) (Qin et al., NeurIPS 2019, arXiv:1907.02610, Eq. 5).

    Args:
        loss: [B] l(x).
        gradient: [B, ...] of l at x, a row for each example. With a graph, gradients flow into both.
        exact: climb the gap's own gradient, sign(.) (grad l(x') - grad l(x)). Otherwise the linear term is taken for
            constant, as in LLR's released search (local_linearity_regularizer 0471752), which so climbs
            sign(.) grad l(x'); the value is the same.
    """

    loss: PerExample
    gradient: Images
    exact: bool = True

    def __call__(self, logits: Logits, query: Query) -> PerExample:
        change = (query.x_adv if self.exact else query.x_adv.detach()) - query.x
        return (losses.cross_entropy(logits, query.y) - self.loss - self.linear(change)).abs()

    def linear(self, change: Images) -> PerExample:
        """[B] <change, grad l(x)>."""
        return (change * self.gradient).flatten(1).sum(dim=1)
