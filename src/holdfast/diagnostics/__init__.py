"""Diagnostics: how a model's loss, gradients, features and predictions behave around its inputs."""

from holdfast.diagnostics.alignment import gradient_alignment
from holdfast.diagnostics.corruptions import CORRUPTIONS, common_corruptions, published_corruptions
from holdfast.diagnostics.diagnose import ALL, diagnose
from holdfast.diagnostics.features import adversarial_features
from holdfast.diagnostics.invariance import invariance_tests
from holdfast.diagnostics.linearity import local_linearity
from holdfast.diagnostics.surface import loss_surface

__all__ = [
    "ALL",
    "CORRUPTIONS",
    "adversarial_features",
    "common_corruptions",
    "diagnose",
    "gradient_alignment",
    "invariance_tests",
    "local_linearity",
    "loss_surface",
    "published_corruptions",
]
