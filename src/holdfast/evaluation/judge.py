"""The attack proposes, the evaluator disposes: every candidate is predicted and measured again."""

from typing import NamedTuple

import torch

from holdfast import losses
from holdfast.errors import ThreatModelViolation
from holdfast.evaluation.examples import Counted
from holdfast.threat import ThreatModel
from holdfast.typing import Images, Labels, Mask, PerExample


class Judgement(NamedTuple):
    """What the evaluator found of [B] candidates."""

    broken: Mask  # the model is wrong at the candidate
    prediction: torch.Tensor
    distance: PerExample  # in the threat model's norm
    margin: PerExample  # of the logits; the less, the stronger the candidate


def judge(model: Counted, threat: ThreatModel, attack: str, x: Images, y: Labels, x_adv: Images) -> Judgement:
    """Predict the candidates in float32 and measure their distance; no attack's own claim is recorded.

    One rule everywhere, on clean inputs as under attack: the prediction is argmax of the logits, also where the two
    greatest tie (torch then takes one of them), and an example is broken where that is not its label.

    Raises:
        ThreatModelViolation: a candidate is not in S(x), or not finite.
    """
    allowed = threat.contains(x, x_adv)
    distance = threat.distance(x, x_adv)
    if not allowed.all():
        worst = int((~allowed).nonzero()[0])
        raise ThreatModelViolation(
            f"attack {attack!r} proposed an input at {threat.norm} distance {float(distance[worst]):.6g} with values "
            f"in [{float(x_adv[worst].amin()):.6g}, {float(x_adv[worst].amax()):.6g}]; allowed are {threat.eps:.6g} "
            f"({threat.eps_text}) and [{threat.low:g}, {threat.high:g}]. Project its results before handing them over"
        )
    with torch.no_grad():
        logits = model(x_adv)
    prediction = logits.argmax(dim=1)
    return Judgement(prediction != y, prediction, distance, losses.margin(logits, y))
