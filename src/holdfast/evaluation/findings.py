"""Is this evaluation to be believed? Checks of the model before it is attacked, and of what the attacks found."""

from collections.abc import Sequence

import torch

from holdfast.attacks.initial import check_start
from holdfast.evaluation.examples import Counted
from holdfast.results import Curve, Finding, Severity
from holdfast.threat import ThreatModel
from holdfast.typing import Images, Logits

STANDARD_EPS = {"Linf": (0.3, 2 / 255, 4 / 255, 8 / 255, 16 / 255), "L2": (0.5, 1.0, 2.0, 3.0), "L1": (12.0, 75.0)}
CHECKS = (
    "inputs lie in the box",
    "eval mode was set",
    "the same input gives the same logits",
    "logits do not depend on the rest of the batch",
    "outputs are logits, not probabilities",
    "eps is one that the field uses",
    "accuracy falls to chance at large eps",
)


def preflight(model: Counted, threat: ThreatModel, x: Images, was_training: bool) -> list[Finding]:
    """Look at the model on a few clean inputs [M, ...], M >= 1.

    Raises:
        InvalidInput: inputs outside the threat model's box.
    """
    check_start(x, threat)
    with torch.no_grad():
        logits, again = model(x), model(x)
        alone = torch.cat([model(row[None]) for row in x])
    found = [_training_mode() if was_training else None, _probabilities(logits), _eps(threat)]
    random = _randomised(logits, again)
    # A random model gives other logits alone for that reason; one finding says it.
    found += [random] if random else [_batch_dependent(logits, alone)]
    return [finding for finding in found if finding]


def _training_mode() -> Finding:
    return Finding(
        "train_mode",
        Severity.INFO,
        "The model came in train mode",
        "model.training was True; the evaluation switched every module to eval mode and back afterwards.",
        "Call model.eval() before you measure anything by hand: dropout and BatchNorm behave differently in training.",
    )


def _probabilities(logits: Logits) -> Finding | None:
    sums = logits.sum(dim=1)
    if not ((logits >= 0).all() and torch.allclose(sums, torch.ones_like(sums), atol=1e-4)):
        return None
    return Finding(
        "probabilities",
        Severity.ALARM,
        "The outputs look like probabilities",
        f"All outputs are at least 0 and every row sums to 1 (the largest is {float(logits.max()):.6f}).",
        "Give the logits before the softmax: on probabilities the cross-entropy's gradient vanishes, attacks look weak "
        "and the robust accuracy is too high.",
    )


def _randomised(logits: Logits, again: Logits) -> Finding | None:
    gap = float((logits - again).abs().max())
    if gap <= 1e-5 * max(1.0, float(logits.abs().max())):
        return None
    return Finding(
        "randomised",
        Severity.ALARM,
        "The model is randomised",
        f"The same inputs gave logits that differ by up to {gap:.3g} between two calls.",
        "One gradient says little about a random model: average gradients over many calls (EOT) and judge candidates "
        "by repeated predictions.",
    )


def _batch_dependent(logits: Logits, alone: Logits) -> Finding | None:
    gap = float((logits - alone).abs().max())
    if gap <= 1e-3 * max(1.0, float(logits.abs().max())):
        return None
    return Finding(
        "batch_dependent",
        Severity.ALARM,
        "The prediction of an input depends on the rest of the batch",
        f"Alone, the first {len(logits)} inputs give logits that differ by up to {gap:.3g} from those in one batch.",
        "Look for BatchNorm without running statistics or for layers that mix examples; verdicts of such a model hold "
        "for no single input.",
    )


def _eps(threat: ThreatModel) -> Finding | None:
    near = [eps for eps in STANDARD_EPS[threat.norm] if 1e-6 < abs(threat.eps - eps) / eps < 0.05]
    if not near:
        return None
    exact = type(threat)(near[0]).eps_text
    return Finding(
        "eps_not_standard",
        Severity.WARNING,
        "eps is close to a usual one but not equal to it",
        f"eps is {threat.eps:.6g}; published results use {exact} = {near[0]:.6g}.",
        f"Give --eps {exact} to compare with published numbers; 0.031 and 8/255 are different threat models.",
    )


def after(curves: Sequence[Curve], threat: ThreatModel, classes: int) -> list[Finding]:
    """Look at what the attacks found."""
    return [finding for curve in curves if curve.name == "eps" for finding in _large_eps(curve, threat, classes)]


def _large_eps(curve: Curve, threat: ThreatModel, classes: int) -> list[Finding]:
    """At half the input range an Linf adversary can make every image grey: no model can beat chance there."""
    largest, accuracy = curve.x[-1], curve.accuracy[-1]
    if threat.norm != "Linf" or largest < 0.5 * (threat.high - threat.low) or accuracy <= 1.5 / classes:
        return []
    return [
        Finding(
            "robust_at_large_eps",
            Severity.ALARM,
            "Accuracy does not fall to chance at a radius where it must",
            f"At eps {largest:g}, where every image can be made grey, {100 * accuracy:.1f} % of {curve.n} examples "
            f"stayed right under {curve.attack}; chance is {100 / classes:.1f} %.",
            "The attack fails for a reason other than robustness: the model hides its gradients. Believe only "
            "gradient-free and transfer attacks here.",
        )
    ]
