"""GradAlign's statistic: do gradients in S(x) point the same way? (Andriushchenko and Flammarion, NeurIPS 2020)."""

import torch
from torch import nn

from holdfast import modes
from holdfast.attacks import CrossEntropy
from holdfast.attacks.base import evaluate, opening, rows
from holdfast.data import ImageSet, ordered_batches
from holdfast.diagnostics.adversary import SEARCH, adversaries
from holdfast.noise import Noise
from holdfast.results import Alignment
from holdfast.threat import ThreatModel
from holdfast.typing import Images, PerExample

_STREAM = 0x616C6967


def cosine(first: Images, second: Images) -> PerExample:
    """[B] cosine of the angle between the rows of two [B, ...] tensors; nan where one of them is 0.

    Rows are scaled by their largest entry first: the gradient of a confident example may be too small to square.
    """
    scaled = [g.double() / rows(g.double().flatten(1).abs().amax(dim=1), g) for g in (first, second)]
    a, b = (nn.functional.normalize(g.flatten(1), dim=1) for g in scaled)
    return (a * b).sum(dim=1).clamp(-1.0, 1.0)


def gradient_alignment(
    model: nn.Module,
    images: ImageSet,
    threat: ThreatModel,
    *,
    seed: int = 0,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
) -> Alignment:
    """Measure the cosine between the gradient of the cross-entropy at x and at two other points of S(x).

    The one drawn uniformly is the statistic of GradAlign (arXiv:2007.02617; understanding-fast-adv-training ceed494,
    train.py, cos_x_eta): in catastrophic overfitting it falls to about 0. Deviation: an example with a gradient that is
    exactly 0 has no cosine and is left out of the mean, where the reference counts it as 1. The other point is an
    adversary, where it matters most whether one step saw what many see.
    """
    uniform, adversarial = [], []
    with modes.inference(model):
        for x, y, index in ordered_batches(images, batch_size, device):
            noise = Noise.of(seed, index, _STREAM)

            def gradient(at: Images, x: Images = x, y: torch.Tensor = y, noise: Noise = noise) -> Images:
                return evaluate(model, CrossEntropy(), opening(x, y, noise, None, at)).gradient

            clean = gradient(x)
            uniform.append(cosine(clean, gradient(threat.sample(x, noise))).cpu())
            x_adv = adversaries(model, threat, x, y, seed, index)
            adversarial.append(cosine(clean, gradient(x_adv)).cpu())
    return Alignment(torch.cat(uniform).numpy(), torch.cat(adversarial).numpy(), repr(SEARCH))
