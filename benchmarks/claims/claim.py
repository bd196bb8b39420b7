"""What a claim is, and how the numbers judge it."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from holdfast.comparison import Contender
from holdfast.recipe import Recipe
from holdfast.results import Comparison, Contrast, Entrant, Outcome, contrast, holm

Kind = Literal["higher", "comparable"]
Of = Literal["robust", "clean", "hidden", "quarter"]
MARGINS: dict[Of, float] = {"robust": 0.02, "clean": 0.005}  # "comparable": no more than so much below
FLOOR = 0.01  # where both are below this, nothing can be compared
LEVEL = 0.05
QUARTER = "quarter.json"  # beside a run: which test images withstand a quarter of eps


@dataclass(frozen=True)
class Claim:
    """That one method is better than another, or comparable with it.

    Args:
        paper: whose claim; "control" is ours.
        text: in words.
        first, second: labels of the methods.
        kind: "higher", or "comparable": not below by more than two points.
        of: which accuracy; "hidden" is the share of examples that stands under APGD on cross-entropy and falls under
            the rest of AutoAttack, "quarter" robust accuracy at a quarter of eps.
        but: runs with this outcome are left out.
    """

    paper: str
    text: str
    first: str
    second: str
    kind: Kind = "higher"
    of: Of = "robust"
    but: str = ""


@dataclass(frozen=True)
class Setting:
    """A page of claims: what is trained on which terms, the most important first.

    `quarter` names the methods that are attacked at a quarter of eps too; `note` says how often the test images were
    met.
    """

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
    quarter: tuple[str, ...] = ()
    note: str = "The test images were met once."


@dataclass(frozen=True)
class Judged:
    """A claim with what was found; `found` is None where one of the two was not run."""

    claim: Claim
    found: Contrast | None
    p: float = 1.0
    seeds: tuple[int, int] = (0, 0)
    values: tuple[float, float] = (0.0, 0.0)

    @property
    def verdict(self) -> str:
        """Computed from the numbers alone."""
        if self.found is None:
            return "not run"
        # `contrast` would lend a single seed the other method's spread; one that collapses in some seeds has more.
        if min(self.seeds) < 2:
            return "not decidable here (one seed)"
        if self.claim.of in ("robust", "quarter") and max(self.values) < FLOOR:
            return "not decidable here (nothing stands)"
        if self.claim.kind == "comparable":
            margin = MARGINS[self.claim.of]
            return (
                "met" if self.found.low > -margin else "not met" if self.found.high < -margin else "not decidable here"
            )
        if self.found.difference > 0 and self.p < LEVEL:
            return "met"
        # Where the other is ahead beyond noise, or no advantage of a point is left within the interval.
        opposite = self.found.difference < 0 and self.p < LEVEL
        return "not met" if opposite or self.found.high < 0.01 else "not decidable here"


def judge(claims: Sequence[Claim], comparison: Comparison) -> list[Judged]:
    """All claims; the p-values of those of kind "higher" are corrected together."""
    of = {entrant.label: entrant for entrant in comparison.entrants}
    judged = []
    for claim in claims:
        labels = [label for label in (claim.first, claim.second) if label in of]
        tables = [rows for label in labels if len(rows := right(of[label], claim.of, claim.but))]
        if len(tables) < 2:
            judged.append(Judged(claim, None))
            continue
        found = contrast(*tables)
        first, second = tables
        means = float(first.mean()), float(second.mean())
        judged.append(Judged(claim, found, found.p, (len(first), len(second)), means))
    tested = [k for k, one in enumerate(judged) if one.claim.kind == "higher" and one.found is not None]
    for k, p in zip(tested, holm([judged[k].p for k in tested]), strict=True):
        judged[k] = replace(judged[k], p=p)
    return judged


def right(entrant: Entrant, of: Of, but: str = "") -> NDArray[np.bool_]:
    """[S, N], a row for each seed: what an accuracy counts. `but`: without the runs of this outcome."""
    cells = [cell for cell in entrant.cells if cell.outcome != but]
    if of == "quarter":
        files = [Path(cell.run) / QUARTER for cell in cells]
        return np.array([json.loads(file.read_bytes()) for file in files if file.exists()], dtype=np.bool_)
    kept = replace(entrant, cells=tuple(cells))
    if of != "hidden":
        return kept.right(of)
    tables = [evaluation.verdicts for evaluation in kept.evaluations]
    # Stands under the first attack, falls under another.
    return np.array([(v.outcome[:, 0] == Outcome.SURVIVED) & ~v.robust for v in tables], dtype=np.bool_)
