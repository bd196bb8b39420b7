"""Is the model fit to be attacked? Checks on clean inputs, before any attack."""

import torch
from torch import nn

from holdfast import losses
from holdfast.attacks.initial import check_start
from holdfast.errors import InvalidInput
from holdfast.evaluation.examples import Counted
from holdfast.evaluation.protocols import Protocol
from holdfast.models import Normalize, is_blind
from holdfast.results import Finding, Severity
from holdfast.threat import ThreatModel
from holdfast.typing import Images, Labels, Logits, PerExample

STANDARD_EPS = {"Linf": (0.3, 2 / 255, 4 / 255, 8 / 255, 16 / 255), "L2": (0.5, 1.0, 2.0, 3.0), "L1": (12.0, 75.0)}
ALONE = 8  # inputs shown one by one
VANISHED = 1e-8  # largest entry of an input gradient
FLAT = 6e-8  # cross-entropy of a probability that float32 rounds to 1
CHECKS = (
    "inputs lie in the box, and are normalised once",
    "eval mode was set",
    "the same input gives the same logits",
    "logits do not depend on the rest of the batch",
    "outputs are logits, not probabilities",
    "gradients reach the input, are finite and do not vanish",
    "the softmax is not saturated at float precision",
    "eps is one that the field uses",
)


def check_protocol(network: nn.Module, protocol: Protocol) -> None:
    """Refuse attacks that a black box would only seem to survive.

    Other models without gradients are measured, with a finding: theirs may be an accident that the user should see.

    Raises:
        InvalidInput: the network is a black box, and an attack needs its gradients.
    """
    greedy = [attack.name for attack in protocol.attacks if not attack.gradient_free]
    if greedy and is_blind(network):
        raise InvalidInput(
            f"the model answers with logits alone, but {', '.join(greedy)} of protocol {protocol.name} need its "
            "gradients; use --attacks gradient_free, or PATH.py:FUNCTION for attacks of your own, such as Transfer"
        )


def preflight(
    model: Counted, network: nn.Module, threat: ThreatModel, x: Images, y: Labels, was_training: bool
) -> list[Finding]:
    """Look at the model on a few clean inputs.

    Args:
        model: the model as the attacks see it.
        network: the module itself.
        x: [M, ...] inputs, M >= 1.
        y: [M] labels.
        was_training: the network came in train mode.

    Raises:
        InvalidInput: inputs outside the threat model's box.
    """
    check_start(x, threat)
    with torch.no_grad():
        logits, again = model(x), model(x)
        alone = torch.cat([model(row[None]) for row in x[:ALONE]])
    random = _randomised(logits, again)
    right = logits.argmax(dim=1) == y
    gradient = slope(model, x, y)
    model.blind = gradient is None
    found = [
        _training_mode() if was_training else None,
        _normalised_twice(network),
        _probabilities(logits),
        # A random model gives other logits alone for that reason; one finding says it.
        random or _batch_dependent(logits[: len(alone)], alone),
        _gradients(gradient, right),
        _saturated(losses.cross_entropy(logits, y)[right]),
        _eps(threat),
    ]
    return [finding for finding in found if finding]


def slope(model: Counted, x: Images, y: Labels) -> Images | None:
    """The input gradient of the margin between the logits, or None where the graph does not reach the input.

    Not of cross-entropy, whose gradient is as good as 0 wherever a confident model is right.
    """
    with torch.enable_grad():
        point = x.detach().requires_grad_()
        margin = losses.margin(model(point), y)
        return torch.autograd.grad(margin.sum(), point, allow_unused=True)[0] if margin.requires_grad else None


def _training_mode() -> Finding:
    return Finding(
        "train_mode",
        Severity.INFO,
        "The model came in train mode",
        "model.training was True; the evaluation switched every module to eval mode and back afterwards.",
        "Call model.eval() before you measure anything by hand: dropout and BatchNorm behave differently in training.",
    )


def _normalised_twice(network: nn.Module) -> Finding | None:
    layers = sum(isinstance(module, Normalize) for module in network.modules())
    if layers < 2:
        return None
    return Finding(
        "normalised_twice",
        Severity.WARNING,
        "Inputs are normalised more than once",
        f"The model holds {layers} Normalize layers.",
        "Keep one: twice normalised inputs cost accuracy and make every distance mean something else.",
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
        "One gradient says little about a random model: average gradients over many calls (protocol rand) and judge "
        "candidates by repeated predictions.",
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


def _gradients(gradient: Images | None, right: torch.Tensor) -> Finding | None:
    """Gradients of rightly classified inputs; wrong ones need no attack."""
    advice = (
        "Gradient attacks are blind here. Believe gradient-free and transfer attacks only, or attack through a smooth "
        "stand-in for the step that stops the gradient (BPDA)."
    )
    if gradient is None:
        title = "No gradient reaches the input"
        return Finding(
            "no_gradient", Severity.ALARM, title, "The graph of the loss does not contain the input.", advice
        )
    rows = gradient[right].flatten(1)
    if not torch.isfinite(rows).all():
        broken = int((~torch.isfinite(rows).all(dim=1)).sum())
        evidence = f"{broken} of {len(rows)} rightly classified inputs have an input gradient that is not finite."
        return Finding("gradient_not_finite", Severity.ALARM, "Gradients are not finite", evidence, advice)
    vanished = int((rows.abs().amax(dim=1) < VANISHED).sum()) if len(rows) else 0
    if vanished * 10 <= len(rows):
        return None
    evidence = f"{vanished} of {len(rows)} rightly classified inputs have an input gradient below {VANISHED:.0e}, "
    evidence += "of the margin between their logits."
    return Finding("vanishing_gradient", Severity.ALARM, "Gradients vanish", evidence, advice)


def _saturated(loss: PerExample) -> Finding | None:
    """Confident models have a few such inputs, and an attack's first step leaves the flat spot; most is a mask."""
    flat = int((loss < FLAT).sum())
    if flat * 2 <= len(loss):
        return None
    return Finding(
        "saturated",
        Severity.WARNING,
        "The softmax is saturated at float precision",
        f"{flat} of {len(loss)} rightly classified inputs have a cross-entropy below {FLAT:.0e}, which float32 cannot "
        "tell from 0.",
        "Attacks on cross-entropy see no slope there: trust losses of logit differences (DLR, margin) and "
        "gradient-free attacks, or divide the logits by a constant before attacking.",
    )


def _eps(threat: ThreatModel) -> Finding | None:
    near = [eps for eps in STANDARD_EPS.get(threat.norm, ()) if 1e-6 < abs(threat.eps - eps) / eps < 0.05]
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
