"""Components that might gain more than ATLAS's own at no more than four passes a step; `atlas_ablations` tries them."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from holdfast import losses, modes
from holdfast.attacks import FGSM, FGSMRS, PGD, From, Margin, Uniform, run
from holdfast.attacks.base import rows
from holdfast.methods import ATLAS, Method, WorstPoint
from holdfast.methods.base import Batch, Loss, Progress, Task, accuracy, full_precision, mean, paired_logits
from holdfast.methods.jacobian import squared_norm
from holdfast.noise import Noise
from holdfast.threat import Linf, ThreatModel
from holdfast.typing import Classifier, Images, Labels


@dataclass(frozen=True)
class MarginPoint(WorstPoint):
    """The second look follows the gradient of the margin: away from the label, towards the nearest other class."""

    def point(
        self, threat: ThreatModel, model: Classifier, x: Images, y: Labels, x_adv: Images, radius: float
    ) -> Images:
        if radius == 0.0:
            return x_adv
        attack = FGSM(step_size=radius / threat.eps, initial=From(x_adv), criterion=Margin())
        return run(attack, threat, model, x, y, Noise(torch.zeros_like(y))).x_adv


@dataclass(frozen=True)
class ToTheBoundary(WorstPoint):
    """A radius for each example: margin over gradient norm, where the boundary lies to first order, at most rho.

    An adversary that is across it already stays.
    """

    def point(
        self, threat: ThreatModel, model: Classifier, x: Images, y: Labels, x_adv: Images, radius: float
    ) -> Images:
        if radius == 0.0:
            return x_adv
        with torch.enable_grad():
            point = x_adv.detach().requires_grad_()
            margin = losses.margin(losses.precise(model(point)), y)
            (gradient,) = torch.autograd.grad(margin.sum(), point)
        direction = threat.steepest(-gradient)
        slope = -(gradient * direction).flatten(1).sum(dim=1)
        own = (margin.detach() / slope.clamp(min=1e-12)).clamp(0.0, radius)
        return threat.project(x, x_adv + rows(own, x) * direction)


@dataclass(frozen=True)
class Neighbours(Method):
    """Two one-step adversaries of each image: cross-entropy at both, and KL between them instead of to x; 4 passes."""

    inner: PGD = FGSMRS(initial=Uniform(clip=False))
    beta: float = 1.0

    @property
    def passes(self) -> float:
        return 4.0

    @property
    def search_passes(self) -> float:
        return 2.0

    def loss(
        self,
        model: nn.Module,
        batch: Batch,
        threat: ThreatModel,
        state: nn.Module | None,
        progress: Progress,
        noise: Noise,
    ) -> Loss:
        with modes.searching(model, batch_statistics=True) as asked:
            first, second = (
                run(self.inner, threat, asked, batch.x, batch.y, noise.fold(number)).x_adv for number in (0, 1)
            )
        one, other = paired_logits(model, first, second, together=True)
        both = mean(losses.cross_entropy(one, batch.y)) + mean(losses.cross_entropy(other, batch.y))
        joined = mean(losses.kl(one, other))
        return Loss(0.5 * both + self.beta * joined, {"adversary_accuracy": accuracy(other, batch.y)})


@dataclass(frozen=True)
class JacobianAtAdversary(Method):
    """Cross-entropy at a one-step adversary and a projection of the Jacobian there (Hoffman et al. 2019): every logit
    is held still on the local ball, not only the loss; 3 1/3 passes, of which 2 1/3 are double back-propagation.

    Args:
        weight: of half the Jacobian's squared Frobenius norm, estimated from one random direction.
    """

    inner: PGD = FGSMRS(initial=Uniform(clip=False))
    weight: float = 0.01

    @property
    def passes(self) -> float:
        return self.inner.budget + 1.0 + 4.0 / 3.0

    @property
    def differentiates_twice(self) -> bool:
        return True

    def loss(
        self,
        model: nn.Module,
        batch: Batch,
        threat: ThreatModel,
        state: nn.Module | None,
        progress: Progress,
        noise: Noise,
    ) -> Loss:
        with modes.searching(model, batch_statistics=True) as asked:
            x_adv = run(self.inner, threat, asked, batch.x, batch.y, noise.fold(0)).x_adv.requires_grad_()
        with full_precision(x_adv):
            logits = losses.precise(model(x_adv))
            norm = mean(squared_norm(logits, x_adv, 1, noise.fold(1)))
        value = mean(losses.cross_entropy(logits, batch.y)) + self.weight * 0.5 * norm
        return Loss(value, {"adversary_accuracy": accuracy(logits, batch.y)})


class _Changes(nn.Module):
    """Each training image's last change in 127ths of eps, and whether it has been seen."""

    change: Tensor
    seen: Tensor

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.register_buffer("change", torch.zeros(task.examples, *task.shape, dtype=torch.int8))
        self.register_buffer("seen", torch.zeros(task.examples, dtype=torch.bool))


@dataclass(frozen=True)
class Remembered(ATLAS):
    """ATLAS whose search begins where the image's last adversary lay, so that adversaries grow from epoch to epoch.

    After Zheng et al., "Efficient Adversarial Training with Transferable Adversarial Examples", CVPR 2020,
    arXiv:1912.11969. Linf and images without augmentation only.

    Args:
        step_size: of the step from a remembered point, in units of eps.
    """

    step_size: float = 0.5

    def init(self, model: nn.Module, task: Task) -> nn.Module:
        return _Changes(task)

    def loss(
        self,
        model: nn.Module,
        batch: Batch,
        threat: ThreatModel,
        state: nn.Module | None,
        progress: Progress,
        noise: Noise,
    ) -> Loss:
        assert isinstance(state, _Changes)
        assert isinstance(threat, Linf)
        x, y = batch.x, batch.y
        seen = rows(state.seen[batch.index], x)
        last = x + state.change[batch.index].to(x.dtype) * (threat.eps / 127.0)
        fresh = self.inner.initial(threat, x, noise)
        with modes.searching(model, self.batch_statistics) as asked:
            step = FGSM(step_size=self.step_size, initial=From(torch.where(seen, last, fresh)))
            again = run(step, threat, asked, x, y, noise).x_adv
            assert self.local_component is not None
            radius = self.local_component.radius(threat, progress)
            point = self.local_component.point(threat, asked, x, y, again, radius)
        change = (point - x) * (127.0 / max(threat.eps, 1e-12))
        state.change[batch.index] = change.round().clamp(-127, 127).to(torch.int8)
        state.seen[batch.index] = True
        clean, attacked = paired_logits(model, x, point, self.together)
        assert self.global_component is not None
        value = mean(losses.cross_entropy(attacked, y)) + self.global_component.beta * mean(
            self.global_component(clean, attacked)
        )
        return Loss(value, {"adversary_accuracy": accuracy(attacked, y), "clean_accuracy": accuracy(clean, y)})
