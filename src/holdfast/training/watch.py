"""Catastrophic overfitting: the training's own adversary is beaten while every other one wins.

Wong, Rice and Kolter (ICLR 2020, arXiv:2001.03994) stop one-step training when robust accuracy under PGD falls by more
than 0.2 from one epoch to the next. Here the fall is measured from the best epoch so far, on held-out images, and it
counts only while the accuracy at the training adversary holds: when both fall, the training merely went badly.

While eps warms up, the robust accuracy at the full eps may fall and the accuracy at the (still small) training eps rise
without harm. Then a fall is only a suspicion, which a second look at the held-out part at the training's eps must
confirm: it does when fewer than half as many are right there as the training's adversary claims.

One look an epoch, and none within it: the run goes back to the end of an epoch in any case, so an earlier alarm would
save at most the rest of one epoch, at the price of an attack every few steps of all the others.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

FALL = 0.2
HOLDS = 0.02  # a smaller change of the accuracy at the training adversary is noise

REMEDIES = (
    "method n_fgsm (noise of twice eps, no clipping), a smaller step of the training attack "
    "(--set method.inner.step_size=0.5), a multi-step method (pgd_at, trades), a gradient alignment penalty, "
    "or a smaller learning rate"
)


@dataclass(frozen=True)
class Collapse:
    """Catastrophic overfitting, found at the end of an epoch.

    Attributes:
        epoch: the epoch that fell.
        best_epoch: the one it is compared with.
        robust_accuracy: held-out accuracy under the validation attack, now.
        best_robust_accuracy: the same at `best_epoch`.
        adversary_accuracy: accuracy at the training's own adversary, now.
        best_adversary_accuracy: the same at `best_epoch`.
    """

    epoch: int
    best_epoch: int
    robust_accuracy: float
    best_robust_accuracy: float
    adversary_accuracy: float
    best_adversary_accuracy: float

    def __str__(self) -> str:
        return (
            f"Catastrophic overfitting in epoch {self.epoch + 1}: robust accuracy on the held-out images fell from "
            f"{self.best_robust_accuracy:.1%} (epoch {self.best_epoch + 1}) to {self.robust_accuracy:.1%}, while the "
            f"accuracy at the training's own adversary went from {self.best_adversary_accuracy:.1%} to "
            f"{self.adversary_accuracy:.1%}: the model has learnt to beat that adversary and no other. "
            f"Remedies: {REMEDIES}."
        )


@dataclass
class Watch:
    """Compares each epoch with the best so far.

    Attributes:
        best_epoch, best_robust, best_adversary: the best epoch by robust accuracy and its figures; -1 before the first.
        down: the run has collapsed and not come back, which is told once.
    """

    best_epoch: int = -1
    best_robust: float = -1.0
    best_adversary: float = -1.0
    down: bool = False

    def look(
        self,
        epoch: int,
        robust_accuracy: float,
        adversary_accuracy: float | None,
        confirm: Callable[[], float] | None = None,
    ) -> Collapse | None:
        """Judge an epoch.

        Args:
            epoch: its number, from 0.
            robust_accuracy: on the held-out part, at the full eps.
            adversary_accuracy: mean over the epoch at the training's own adversary; a method without one never
                collapses in this sense.
            confirm: while eps warms up, measures the robust accuracy at the training's eps; None afterwards.

        Returns:
            The collapse, in the epoch in which it is found.
        """
        if adversary_accuracy is None:
            return None
        fell = self.best_robust - robust_accuracy > FALL
        holds = adversary_accuracy >= self.best_adversary - HOLDS
        if not fell:
            self.down = False
        if fell and holds and not self.down and (confirm is None or confirm() < 0.5 * adversary_accuracy):
            self.down = True
            return Collapse(
                epoch, self.best_epoch, robust_accuracy, self.best_robust, adversary_accuracy, self.best_adversary
            )
        if robust_accuracy >= self.best_robust:
            self.best_epoch, self.best_robust, self.best_adversary = epoch, robust_accuracy, adversary_accuracy
        return None

    def state_dict(self) -> dict[str, int | float]:
        """What the next look depends on."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, int | float]) -> None:
        """Go on from there."""
        for name, value in state.items():
            setattr(self, name, value)
