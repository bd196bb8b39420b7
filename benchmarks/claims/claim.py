"""What a claim is, and how the numbers judge it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from holdfast.comparison import Contender
from holdfast.recipe import Recipe
from holdfast.results import Comparison, Contrast, Entrant, Outcome, contrast, holm

Kind = Literal["higher", "comparable"]
Of = Literal["robust", "clean", "hidden"]
MARGIN = 0.02  # "comparable": no more than so much below
LEVEL = 0.05


@dataclass(frozen=True)
class Claim:
    """That one method is better than another, or comparable with it.

    Args:
        paper: whose claim; "control" is ours.
        text: in words.
        first, second: labels of the methods.
        kind: "higher", or "comparable": not below by more than two points.
        of: which accuracy; "hidden" is the share of examples that stands under APGD on cross-entropy and falls under
            the rest of AutoAttack.
    """

    paper: str
    text: str
    first: str
    second: str
    kind: Kind = "higher"
    of: Of = "robust"


@dataclass(frozen=True)
class Setting:
    """A page of claims: what is trained on which terms, the most important first."""

    title: str
    base: Callable[[], Recipe]
    budget: str
    n: int
    trials: int
    trial_share: float
    seeds: tuple[int, ...]
    main: tuple[Contender, ...]
    others: tuple[Contender, ...]
    claims: tuple[Claim, ...]


@dataclass(frozen=True)
class Judged:
    """A claim with what was found; `found` is None where one of the two was not run."""

    claim: Claim
    found: Contrast | None
    p: float
    seeds: tuple[int, int]

    @property
    def verdict(self) -> str:
        """Computed from the numbers alone."""
        if self.found is None:
            return "not run"
        if not self.found.of_methods:
            return "not decidable here (one seed each)"
        if self.claim.kind == "comparable":
            return (
                "met" if self.found.low > -MARGIN else "not met" if self.found.high < -MARGIN else "not decidable here"
            )
        if self.found.difference > 0 and self.p < LEVEL:
            return "met"
        # Where the other is ahead beyond noise, or no advantage of a point is left within the interval.
        opposite = self.found.difference < 0 and self.p < LEVEL
        return "not met" if opposite or self.found.high < 0.01 else "not decidable here"


def judge(claims: Sequence[Claim], comparison: Comparison) -> list[Judged]:
    """All claims; the p-values of those of kind "higher" are corrected together."""
    of = {entrant.label: entrant for entrant in comparison.entrants if entrant.evaluations}
    found = [_contrast(claim, of) for claim in claims]
    tested = [k for k, claim in enumerate(claims) if claim.kind == "higher" and found[k] is not None]
    corrected = dict(zip(tested, holm([c.p for k in tested if (c := found[k]) is not None]), strict=True))
    return [
        Judged(claim, found[k], corrected.get(k, 1.0), (_seeds(of, claim.first), _seeds(of, claim.second)))
        for k, claim in enumerate(claims)
    ]


def hidden(entrant: Entrant) -> NDArray[np.bool_]:
    """[S, N]: stands under the first attack, falls under another."""
    tables = [evaluation.verdicts for evaluation in entrant.evaluations]
    return np.array([(v.outcome[:, 0] == Outcome.SURVIVED) & ~v.robust for v in tables], dtype=np.bool_)


def _contrast(claim: Claim, of: dict[str, Entrant]) -> Contrast | None:
    if claim.first not in of or claim.second not in of:
        return None
    first, second = (
        hidden(e) if claim.of == "hidden" else e.right(claim.of) for e in (of[claim.first], of[claim.second])
    )
    return contrast(first, second)


def _seeds(of: dict[str, Entrant], label: str) -> int:
    return len(of[label].evaluations) if label in of else 0
