"""Losses of logits, one value an example: [B, K] logits and [B] int64 labels to [B]. K is at least 2.

Nothing is averaged here: an ascent that uses more than the sign of a gradient, and every regulariser of a gradient,
needs per-example values (a batch mean would shrink them by the batch size).
"""

import torch
import torch.nn.functional as F

from holdfast.errors import InvalidInput
from holdfast.typing import Labels, Logits, PerExample


def check_shape(logits: Logits, rows: int, classes: int) -> None:
    """Refuse what a model gives for `rows` inputs if it is not a logit for each class and input.

    Raises:
        InvalidInput: it is not [rows, classes]. More logits have no place either: an adversary may be taken for a
            class that the data do not name.
    """
    if logits.shape != (rows, classes):
        raise InvalidInput(
            f"the model gives a tensor of shape {tuple(logits.shape)} for {rows} inputs; it must give one logit for "
            f"each of the {classes} classes, [{rows}, {classes}]"
        )


def precise(logits: Logits) -> Logits:
    """Lift half-precision logits to float32; a loss at bfloat16 precision would round small differences away."""
    return logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits


def cross_entropy(logits: Logits, y: Labels) -> PerExample:
    """-log softmax(logits)_y."""
    return F.cross_entropy(logits, y, reduction="none")


def kl(p_logits: Logits, q_logits: Logits) -> PerExample:
    """Kullback-Leibler divergence KL(p || q) of the two softmax distributions; gradients flow into both."""
    log_p, log_q = p_logits.log_softmax(dim=1), q_logits.log_softmax(dim=1)
    return (log_p.exp() * (log_p - log_q)).sum(dim=1)


def _true(logits: Logits, y: Labels) -> PerExample:
    return logits.gather(1, y[:, None])[:, 0]


def _without(logits: Logits, y: Labels) -> Logits:
    """The logits with the entry of y pushed below all others."""
    return logits.scatter(1, y[:, None], -torch.inf)


def margin(logits: Logits, y: Labels) -> PerExample:
    """z_y - max_{j != y} z_j: positive where y is predicted, negative where not, 0 at a tie, which argmax decides."""
    return _true(logits, y) - _without(logits, y).amax(dim=1)


def soft_margin(logits: Logits, y: Labels) -> PerExample:
    """z_y - logsumexp_{j != y} z_j: the smooth margin of MMA (Ding et al. 2020), with the sign of `margin`."""
    return _true(logits, y) - _without(logits, y).logsumexp(dim=1)


def dlr(logits: Logits, y: Labels) -> PerExample:
    """Difference of logits ratio, -(z_y - max_{j != y} z_j) / (z_(1) - z_(3)), greater is worse for the classifier.

    Croce and Hein 2020 (AutoAttack), Eq. 6. With two classes there is no third logit and the negative margin is
    returned: it has the same sign and the same ascent direction, only without the ratio's invariance to scale.
    """
    if logits.shape[1] < 3:
        return -margin(logits, y)
    top = logits.topk(3, dim=1).values
    return -margin(logits, y) / (top[:, 0] - top[:, 2] + 1e-12)


def targeted_dlr(logits: Logits, y: Labels, target: Labels) -> PerExample:
    """Targeted difference of logits ratio, -(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2), to be raised.

    Croce and Hein 2020 (AutoAttack), Eq. 7. With three classes z_(4) is left out, with two the plain difference
    z_t - z_y is returned.
    """
    gap = _true(logits, target) - _true(logits, y)
    count = min(logits.shape[1], 4)
    if count < 3:
        return gap
    top = logits.topk(count, dim=1).values
    return gap / (top[:, 0] - top[:, 2:].mean(dim=1) + 1e-12)
