"""Free adversarial training (Shafahi, Najibi, Ghiasi, Xu, Dickerson, Studer, Davis, Taylor and Goldstein, NeurIPS 2019,
arXiv:1904.12843, Algorithm 1; free_adv_train c42cac2, FreeAdversarialTraining e185c84)."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from holdfast import losses
from holdfast.errors import InvalidInput
from holdfast.methods.base import Batch, Loss, Method, Progress, Task, accuracy, mean
from holdfast.noise import Noise
from holdfast.threat import ThreatModel
from holdfast.typing import Images


class _Carried(nn.Module):
    """A perturbation for each row of the batch, 0 when training begins."""

    perturbation: Tensor

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.register_buffer("perturbation", torch.zeros(task.batch_size, *task.shape))


@dataclass(frozen=True)
class FreeAT(Method):
    """Cross-entropy at x + perturbation, and one backward pass for the weights and for the perturbation; 1 pass.

    Each batch is trained on `replays` times in a row. A step moves the weights at the perturbation that it found, and
    then the perturbation: project(perturbation + step_size * eps * steepest(its gradient)). It is carried over, row by
    row, to the next batch, whose images are others. An epoch has `replays` times the steps of natural training, so the
    paper divides the number of epochs by it.

    "adversary_accuracy" is that of all replays, the first of which meets a perturbation made for another image. In
    other norms than Linf: ours.

    Args:
        replays: m, optimizer steps in a row on each batch: 8 on CIFAR, 4 on ImageNet.
        step_size: in units of eps.
        through_box: the perturbation lies in the ball alone and the gradient goes through the clipping of the image, as
            in the authors' codes: where the box cuts, it is 0 and the perturbation stays. On MNIST, whose pixels lie at
            the edges of the box, nine entries in ten so stand still after a few batches. False: what lies outside the
            box is taken off the perturbation, and the gradient is that at the clipped image (fast_adversarial 54f7287,
            train_free.py, which takes it off after a step only, not when the next batch begins).

    Raises:
        InvalidInput: replays below 1, or a step_size that is not above 0.
    """

    replays: int = 8
    step_size: float = 1.0
    through_box: bool = True

    def __post_init__(self) -> None:
        if self.replays < 1:
            raise InvalidInput(f"replays is {self.replays}, but each batch is seen at least once; the paper takes 8")
        if self.step_size <= 0:
            raise InvalidInput(f"step_size is {self.step_size}, but it must be above 0; its unit is eps (the paper: 1)")

    @property
    def passes(self) -> float:
        return 1.0

    def init(self, model: nn.Module, task: Task) -> nn.Module:
        return _Carried(task)

    def loss(
        self,
        model: nn.Module,
        batch: Batch,
        threat: ThreatModel,
        state: nn.Module | None,
        progress: Progress,
        noise: Noise,
    ) -> Loss:
        assert isinstance(state, _Carried)
        carried, places, x = state.perturbation, batch.places, batch.x
        perturbation = carried[places].to(x.dtype)
        if self.through_box:
            moving = perturbation.requires_grad_()
            point = (x + moving).clamp(threat.low, threat.high)
        else:
            moving = point = threat.project(x, x + perturbation).requires_grad_()

        def ascend(gradient: Images) -> None:
            moved = moving.detach() + self.step_size * threat.eps * threat.steepest(gradient)
            if self.through_box:
                ball = replace(threat, low=-math.inf, high=math.inf)
                moved = ball.project(torch.zeros_like(moved), moved)
            else:
                moved = threat.project(x, moved) - x
            carried[places] = moved.to(carried.dtype)

        # Whoever differentiates the loss towards the weights thereby moves the perturbation.
        moving.register_hook(ascend)  # type: ignore[no-untyped-call]
        logits = losses.precise(model(point))
        return Loss(mean(losses.cross_entropy(logits, batch.y)), {"adversary_accuracy": accuracy(logits, batch.y)})
