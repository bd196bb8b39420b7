"""What must be equal for two evaluations to be parts of one."""

import hashlib
from typing import Any

import torch
from torch import nn

from holdfast.data import ImageSet
from holdfast.evaluation.protocols import Protocol
from holdfast.threat import ThreatModel


def fingerprint(model: nn.Module) -> str:
    """SHA-256, in hexadecimal, of a model's parameters and buffers with their names."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def identity(
    model: nn.Module, images: ImageSet, threat: ThreatModel, protocol: Protocol, seed: int, count: int
) -> dict[str, Any]:
    """Everything that decides the verdicts on the first `count` examples."""
    return {
        "weights": fingerprint(model),
        "data": images.fingerprint,
        "threat": repr(threat),
        "protocol": str(protocol),
        "parameters": [repr(attack) for attack in protocol.attacks],
        "seed": seed,
        "n": count,
    }
