"""MMA: max-margin adversarial training (Ding, Sharma, Lui and Huang, ICLR 2020, arXiv:1812.02637; mma_training
328e2e5)."""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from holdfast import losses, modes
from holdfast.attacks import PGD, Initial, SoftMargin, Zero, run
from holdfast.attacks.base import rows
from holdfast.attacks.pgd import PGDState
from holdfast.errors import InvalidInput
from holdfast.methods.base import Batch, Loss, Method, Progress, Task, accuracy, mean
from holdfast.noise import Noise
from holdfast.threat import ThreatModel
from holdfast.typing import Classifier, Images, Labels, Logits, Mask, PerExample

_BEYOND = 1.05  # the line search reaches this far beyond the hinge, as in the reference code


class _Radii(nn.Module):
    """Each training example's distance from the boundary when it was last seen, 0 where it was misclassified."""

    radius: Tensor

    def __init__(self, examples: int) -> None:
        super().__init__()
        self.register_buffer("radius", torch.zeros(examples))


@dataclass(frozen=True)
class MMA(Method):
    """c * CE(x) + (1 - c) * MMA, which widens each example's margin up to a hinge; k + 2 + 10/3 passes.

    MMA is the mean over the batch of CE(x + e u) for the rightly classified examples with e < max_radius, of CE(x) for
    the misclassified, and of 0 for the others. u is the direction that the inner search took in a ball of the example's
    own radius (its e of the last epoch, at least min_radius), and e the length at which the soft margin changes its
    sign along u, by bisection (AN-PGD). Right and wrong are the soft margin's, logsumexp_{j != y} z_j < z_y. So most
    losses are taken at the boundary, in the ball of max_radius, and not in that of eps. Equation numbers: not known.

    "adversary_accuracy" is the share of examples with e >= eps, "mean_radius" the mean of e.

    Deviations from the reference code. The search asks all examples and drops what it found for the misclassified; the
    values are the same and shapes do not depend on data. The line search is in eval mode like the ascent, there in
    train mode, and ends before a last pass that nothing reads. x + e u is clipped to the box, as it was in the line
    search. OMMA's clean pass (c = 0) leaves running statistics alone.

    Args:
        max_radius: d_max, in units of eps: 0.45 at eps 0.3 on MNIST; 12/255, 20/255 and 32/255 on CIFAR-10.
        min_radius: least radius of a search, in units of eps: 0.1 on MNIST, 0.005 on CIFAR-10.
        clean_weight: c, in [0, 1); 0 gives OMMA.
        inner: the search; its step size is in units of each example's radius (2.5 / k).
        bisections: of the line search, at least 1.

    Raises:
        InvalidInput: not 0 < min_radius <= max_radius, a clean_weight outside [0, 1), or bisections below 1.
    """

    max_radius: float = 1.5
    min_radius: float = 0.005 * 255 / 8
    clean_weight: float = 1.0 / 3.0
    inner: PGD = PGD(steps=10, step_size=0.25, criterion=SoftMargin())
    bisections: int = 10

    def __post_init__(self) -> None:
        if not 0.0 < self.min_radius <= self.max_radius:
            raise InvalidInput(
                f"min_radius is {self.min_radius} and max_radius {self.max_radius}, but 0 < min_radius <= max_radius; "
                "their unit is eps (try 0.16 and 1.5)"
            )
        if not 0.0 <= self.clean_weight < 1.0:
            raise InvalidInput(f"clean_weight is {self.clean_weight}, but it must lie in [0, 1); the paper takes 1/3")
        if self.bisections < 1:
            raise InvalidInput(
                f"bisections is {self.bisections}, but a line search takes at least 1; the paper takes 10"
            )

    @property
    def passes(self) -> float:
        clean = 1.0 if self.clean_weight else 1.0 / 3.0
        return self.inner.budget + self.bisections / 3.0 + clean + 1.0

    def init(self, model: nn.Module, task: Task) -> nn.Module:
        return _Radii(task.examples)

    def loss(
        self,
        model: nn.Module,
        batch: Batch,
        threat: ThreatModel,
        state: nn.Module | None,
        progress: Progress,
        noise: Noise,
    ) -> Loss:
        assert isinstance(state, _Radii)
        x, y = batch.x, batch.y
        clean = self._clean_logits(model, x)
        right = _right(clean.detach(), y)
        start = state.radius[batch.index].to(x.dtype).clamp(min=self.min_radius * threat.eps)
        with modes.searching(model, batch_statistics=False) as asked:
            ball = _OwnBalls(**vars(replace(self.inner, initial=Zero())), radii=start, begin=self.inner.initial)
            x_adv = run(ball, threat, asked, x, y, noise).x_adv
            direction = (x_adv - x) / rows(start + 1e-12, x)
            radius = self._boundary(threat, asked, x, y, direction, start)
        radius = torch.where(right, radius, 0.0)
        state.radius[batch.index] = radius.to(state.radius.dtype)

        points = torch.where(rows(right, x), _along(threat, x, direction, radius), x)
        values = losses.cross_entropy(losses.precise(model(points)), y)
        counted = ~right | (radius < self.max_radius * threat.eps)
        margin_loss = mean(torch.where(counted, values, 0.0))
        clean_loss = mean(losses.cross_entropy(clean, y))
        # Without the clean term there is no graph behind it.
        value = margin_loss
        if self.clean_weight:
            value = (1.0 - self.clean_weight) * margin_loss + self.clean_weight * clean_loss
        return Loss(
            value,
            {
                "margin_loss": margin_loss.detach(),
                "mean_radius": mean(radius),
                "clean_accuracy": accuracy(clean, y),
                "adversary_accuracy": (right & (radius >= threat.eps)).float().mean(),
            },
        )

    def _clean_logits(self, model: nn.Module, x: Images) -> Logits:
        if self.clean_weight:
            return losses.precise(model(x))
        with modes.searching(model, batch_statistics=True) as asked, torch.no_grad():
            return losses.precise(asked(x))

    @torch.no_grad()
    def _boundary(
        self, threat: ThreatModel, asked: Classifier, x: Images, y: Labels, direction: Images, start: PerExample
    ) -> PerExample:
        """[B] length at which the prediction along `direction` turns wrong, by bisection that begins at `start`."""
        low = torch.zeros_like(start)
        high = torch.full_like(start, _BEYOND * self.max_radius * threat.eps)
        radius = start
        for _ in range(self.bisections):
            right = _right(losses.precise(asked(_along(threat, x, direction, radius))), y)
            low, high = torch.where(right, radius, low), torch.where(right, high, radius)
            radius = (low + high) / 2.0
        return radius


def _right(logits: Logits, y: Labels) -> Mask:
    return losses.soft_margin(logits, y) > 0.0


def _along(threat: ThreatModel, x: Images, direction: Images, radius: PerExample) -> Images:
    return (x + rows(radius, x) * direction).clamp(threat.low, threat.high)


@dataclass(frozen=True)
class _OwnBalls(PGD):
    """PGD in a ball of its own for each row: row i has radii[i] in place of eps.

    Args:
        radii: [B], above 0 unless eps is 0.
        begin: where the search begins, asked as in a ball of radius 1.
    """

    radii: PerExample = field(kw_only=True)
    begin: Initial = field(kw_only=True)

    def start(self, threat: ThreatModel, x: Images, y: Labels, noise: Noise, target: Labels | None = None) -> PGDState:
        state = super().start(threat, x, y, noise, target)
        change = self.begin(threat.unit, torch.zeros_like(x), noise)
        point = (x + rows(self.radii, x) * change).clamp(threat.low, threat.high)
        return replace(state, point=point, x_adv=point)

    def constrain(self, threat: ThreatModel, x: Images, moved: Images) -> Images:
        return threat.project_rows(x, moved - x, self.radii)

    def _length(self, threat: ThreatModel, state: PGDState) -> Tensor:
        return rows(self.radii, state.x) * super()._length(threat.unit, state)
