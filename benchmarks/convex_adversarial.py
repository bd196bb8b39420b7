"""Networks that others trained and published, for `autoattack_parity.py` and `holdfast evaluate`.

    git clone https://github.com/locuslab/convex_adversarial        # at 2cd8149
    CONVEX_ADVERSARIAL=convex_adversarial holdfast evaluate benchmarks/convex_adversarial.py:mnist_0_3 \\
        --data mnist --eps 0.3 --attacks autoattack

The provably robust networks of Wong and Kolter (ICML 2018, arXiv:1711.00851) and Wong et al. (NeurIPS 2018,
arXiv:1805.12514). Where a file holds a cascade of several networks the first one is taken, which is a classifier by
itself.
"""

import os
from pathlib import Path

import torch
from torch import nn

from holdfast.models import Normalize


def mnist_0_1() -> nn.Module:
    """Trained for Linf 0.1."""
    return _load("models/mnist.pth", channels=1, side=7)


def mnist_0_3() -> nn.Module:
    """Trained for Linf 0.3."""
    return _load("models_scaled/mnist_small_0_3.pth", channels=1, side=7)


def cifar10_8_255() -> nn.Module:
    """Trained for Linf 8/255."""
    return nn.Sequential(_normalize(), _load("models_scaled/cifar_small_8px.pth", channels=3, side=8))


def cifar10_l2_36_255() -> nn.Module:
    """Trained for L2 36/255."""
    return nn.Sequential(_normalize(), _load("models_scaled_l2/cifar_small_36px.pth", channels=3, side=8))


def _normalize() -> Normalize:
    return Normalize((0.485, 0.456, 0.406), (0.225, 0.225, 0.225))


def _load(file: str, channels: int, side: int) -> nn.Module:
    """The network that examples/problems.py calls mnist_model or cifar_model, with the weights of this file."""
    network = nn.Sequential(
        nn.Conv2d(channels, 16, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * side * side, 100),
        nn.ReLU(),
        nn.Linear(100, 10),
    )
    kept = torch.load(Path(os.environ["CONVEX_ADVERSARIAL"]) / file, map_location="cpu", weights_only=True)
    weights = kept.get("state_dict", kept)
    network.load_state_dict(weights[0] if isinstance(weights, list) else weights)
    return network.eval()
