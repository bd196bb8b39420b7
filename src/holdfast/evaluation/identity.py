"""What must be equal for two evaluations to be parts of one."""

from typing import Any

from torch import nn

from holdfast.data import Split
from holdfast.evaluation.protocols import Protocol
from holdfast.provenance import fingerprint
from holdfast.speed import Passes
from holdfast.threat import ThreatModel


def identity(
    model: nn.Module, images: Split, threat: ThreatModel, protocol: Protocol, seed: int, count: int, passes: Passes
) -> dict[str, Any]:
    """Everything that decides the verdicts on the first `count` examples."""
    rounded = {} if passes.plain else {"passes": str(passes)}
    return rounded | {
        "weights": fingerprint(model),
        "data": images.fingerprint,
        "threat": repr(threat),
        "protocol": str(protocol),
        "parameters": [repr(attack) for attack in protocol.attacks],
        "seed": seed,
        "n": count,
    }
