"""Evaluation: from a model to verdicts that can be believed."""

from holdfast.evaluation.evaluate import evaluate
from holdfast.evaluation.protocols import PROTOCOLS, Protocol, protocol

__all__ = ["PROTOCOLS", "Protocol", "evaluate", "protocol"]
