"""Catastrophic overfitting: the training's own adversary is beaten while every other one wins.

Wong, Rice and Kolter (ICLR 2020, arXiv:2001.03994) stop one-step training when robust accuracy under PGD falls by more
than 0.2 from one epoch to the next. Here the fall is measured from the best epoch so far, on held-out images, and it
counts only while the accuracy at the training adversary holds: when both fall, the training merely went badly.
Where robust accuracy is low to begin with, as at a large eps or with many classes, it cannot fall by 0.2; then losing
more than half of it counts, 0.1 at least, while the accuracy at the training adversary grows.

While eps warms up, accuracies at the full eps and at the training's eps are not comparable, and both grow harder from
epoch to epoch. Then the held-out part is also attacked at the training's eps, and an epoch is compared with the one
before it, whose eps was nearly the same: in a sound warm-up both accuracies fall together.

One look an epoch, and none within it: the run goes back to the end of an epoch in any case, so an earlier alarm would
save at most the rest of one epoch, at the price of an attack every few steps of all the others. Where weights are
averaged it is the average that is looked at, so that SWA shows a fall some epochs later.
"""

from dataclasses import asdict, dataclass

FALL = 0.2
LEAST, LEFT = 0.1, 0.5  # of a fall that counts where little was to lose, and of what it leaves
HOLDS = 0.02  # a smaller change of the accuracy at the training adversary is noise

REMEDIES = (
    "more noise before the step (method n_fgsm, if it is another one), a smaller step of the training attack "
    "(--set method.inner.step_size=0.5), a multi-step method (pgd_at, trades), a gradient alignment penalty, "
    "or a smaller learning rate"
)


@dataclass(frozen=True)
class Collapse:
    """Catastrophic overfitting, found at the end of an epoch.

    Attributes:
        epoch: the epoch that fell.
        before: the one it is compared with.
        robust, robust_before: held-out accuracy under the validation attack at the training's eps, in both.
        adversary, adversary_before: accuracy at the training's own adversary, in both.
    """

    epoch: int
    before: int
    robust: float
    robust_before: float
    adversary: float
    adversary_before: float

    def __str__(self) -> str:
        return (
            f"Catastrophic overfitting in epoch {self.epoch + 1}: robust accuracy on the held-out images fell from "
            f"{self.robust_before:.1%} (epoch {self.before + 1}) to {self.robust:.1%}, while the accuracy at the "
            f"training's own adversary went from {self.adversary_before:.1%} to {self.adversary:.1%}: the model has "
            "learnt to beat that adversary and no other. "
            f"Remedies: {REMEDIES}."
        )


@dataclass
class Watch:
    """Compares each epoch with a sound one before it: the best so far, or the last one while eps warms up.

    Attributes:
        epoch, robust, adversary: the epoch to compare with and its accuracies; -1 before the first.
        down: the run has collapsed and not come back, which is told once.
    """

    epoch: int = -1
    robust: float = -1.0
    adversary: float = -1.0
    down: bool = False

    def look(self, epoch: int, robust: float, adversary: float | None, warming: bool = False) -> Collapse | None:
        """Judge an epoch.

        Args:
            epoch: its number, from 0.
            robust: accuracy on the held-out part under the validation attack, at the training's eps.
            adversary: mean accuracy over the epoch at the training's own adversary; a method without one never
                collapses in this sense.
            warming: eps has not reached its full size.

        Returns:
            The collapse, in the epoch in which it is found.
        """
        if adversary is None:
            return None
        if self._fell(robust, adversary):
            found = Collapse(epoch, self.epoch, robust, self.robust, adversary, self.adversary)
            news, self.down = not self.down, True
            return found if news else None
        self.down = self.down and self._lost(robust)
        if robust >= self.robust or (warming and not self.down):
            self.epoch, self.robust, self.adversary = epoch, robust, adversary
        return None

    def _fell(self, robust: float, adversary: float) -> bool:
        grown = adversary - self.adversary
        return self._lost(robust) and grown >= (-HOLDS if self.robust - robust > FALL else HOLDS)

    def _lost(self, robust: float) -> bool:
        lost = self.robust - robust
        return lost > FALL or (lost > LEAST and robust < LEFT * self.robust)

    def state_dict(self) -> dict[str, int | float]:
        """What the next look depends on."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, int | float]) -> None:
        """Go on from there."""
        for name, value in state.items():
            setattr(self, name, value)
