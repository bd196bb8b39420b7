"""ATLAS: adversarial training via local stability (Lu and Kumar, arXiv:2110.14030), a reconstruction.

The paper's equations were not available to us. This is our reading of its framework, held to its claims by
experiment; no number of the paper is quoted anywhere.

    x'   = inner(x, y)                                          any adversary; one step by default
    x''  = project(x' + rho * steepest(gradient of CE at x'))   the local component's point
    loss = CE(f(x''), y) + beta * KL(p(x) || p(x''))            local component + global component
"""

from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import nn

from holdfast import losses, modes
from holdfast.attacks import FGSMRS, PGD, run
from holdfast.errors import InvalidInput
from holdfast.methods.base import Batch, Loss, Method, Progress, accuracy, full_precision, mean, paired_logits
from holdfast.methods.stability import GlobalComponent, LocalComponent, WorstPoint
from holdfast.noise import Noise
from holdfast.threat import ThreatModel


@dataclass(frozen=True)
class ATLAS(Method):
    """Stability on a ball around each adversary, joined over S(x) by a term that ties predictions to x.

    With the defaults 3 1/3 passes a step: the adversary, its gradient, p(x), and the outer pass at x''. Without local
    component the loss is taken at x' itself, without global component x is not evaluated.

    Args:
        inner: the search for x'; use a rho of about 1/3 with PGD-10.
        local_component: how the ball around x' is made stable; None switches it off.
        global_component: what joins the balls; None switches it off.
        batch_statistics: BatchNorm normalises by the batch during the search, as in one-step ADV.
        together: where p(x) is differentiated, evaluate x and the attacked point in one outer pass (their BatchNorm
            statistics mix).

    Raises:
        InvalidInput: together, with a local component that differentiates its own pass twice and p(x) differentiated.
    """

    inner: PGD = FGSMRS()
    local_component: LocalComponent | None = WorstPoint()
    global_component: GlobalComponent | None = GlobalComponent()
    batch_statistics: bool = True
    together: bool = True

    def __post_init__(self) -> None:
        if self.differentiates_twice and self.together and self._outer_clean:
            raise InvalidInput(
                f"local_component {type(self.local_component).__name__} differentiates its own pass twice and cannot "
                "share it with the clean inputs; set together=False"
            )

    @property
    def differentiates_twice(self) -> bool:
        return self.local_component is not None and not isinstance(self.local_component, WorstPoint)

    @property
    def passes(self) -> float:
        count = self.inner.budget + 1.0
        if self.local_component is not None:
            count += self.local_component.passes
        if self.global_component is not None:
            count += 1.0 / 3.0 if self.global_component.anchored else 1.0
        return count + self._separate_adversary

    @property
    def search_passes(self) -> float:
        return super().search_passes + isinstance(self.local_component, WorstPoint)

    @property
    def _outer_clean(self) -> bool:
        """x has a part in the outer pass."""
        return self.global_component is not None and not self.global_component.anchored

    @property
    def _separate_adversary(self) -> bool:
        """The global component compares with x' while the local loss is taken elsewhere."""
        at_adversary = self.global_component is not None and self.global_component.at_adversary
        return at_adversary and isinstance(self.local_component, WorstPoint)

    def loss(
        self,
        model: nn.Module,
        batch: Batch,
        threat: ThreatModel,
        state: nn.Module | None,
        progress: Progress,
        noise: Noise,
    ) -> Loss:
        x, y = batch.x, batch.y
        local = self.local_component
        radius = 0.0 if local is None else local.radius(threat, progress)
        with modes.searching(model, self.batch_statistics) as asked:
            x_adv = run(self.inner, threat, asked, x, y, noise).x_adv
            point = x_adv if local is None else local.point(threat, asked, x, y, x_adv, radius)
            if self.global_component is not None and self.global_component.anchored:
                with torch.no_grad():
                    clean = losses.precise(asked(x))

        with full_precision(x) if self.differentiates_twice else nullcontext():
            if self._outer_clean:
                clean, attacked = paired_logits(model, x, point, self.together)
            else:
                attacked = losses.precise(model(point))
            at = threat, attacked, y, point, radius
            values = losses.cross_entropy(attacked, y) if local is None else local.loss(*at)
        local_loss = mean(values)
        parts = {"local_loss": local_loss.detach(), "adversary_accuracy": accuracy(attacked, y)}
        if self.global_component is None:
            return Loss(local_loss, parts)

        joined = losses.precise(model(x_adv)) if self._separate_adversary else attacked
        global_loss = mean(self.global_component(clean, joined))
        parts |= {"global_loss": global_loss.detach(), "clean_accuracy": accuracy(clean, y)}
        return Loss(local_loss + self.global_component.beta * global_loss, parts)
